//! Requests at a fixed rate, whatever becomes of those before: orders placed, and orders read. Each is sent once: the client
//! repeats nothing.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::header::LOCATION;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::{Apart, CUSTOMER, Shop};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use workflows::Role;

/// How long a request may take. A placement is answered within 10 s even where it is not decided.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long anything that is bound to happen may take, once all is well.
const ALL_PATIENCE: Duration = Duration::from_mins(3);
const PAUSE: Duration = Duration::from_millis(200);

/// Somebody who asks the entry.
#[derive(Clone)]
pub struct Caller {
    client: reqwest::Client,
    entry: String,
    token: String,
}

impl Caller {
    pub fn new(system: &Apart, role: Role, subject: &str) -> Self {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        let token = system.jumun.token(role, subject, None);
        Self { client, entry: system.jumun.ready.api.clone(), token }
    }

    /// One request; why there is no answer.
    pub async fn ask(&self, method: Method, path: &str, place: Option<(&str, &Value)>) -> Result<(u16, Value), String> {
        let mut request = self.client.request(method, format!("{}{path}", self.entry)).bearer_auth(&self.token);
        if let Some((key, order)) = place {
            request = request.header("idempotency-key", key).json(order);
        }
        let answer = request.send().await.map_err(told)?;
        let status = answer.status().as_u16();
        let location =
            answer.headers().get(LOCATION).and_then(|path| Some(path.to_str().ok()?.rsplit_once('/')?.1.to_owned()));
        let text = answer.text().await.map_err(told)?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        // An order that is not decided may not be there to be shown yet.
        let body = if let (202, Some(id)) = (status, location) { json!({ "id": id }) } else { body };
        Ok((status, body))
    }

    /// The body of a success, asked for again and again: for when the load is over.
    pub async fn certain(&self, method: Method, path: &str) -> Result<Value, String> {
        let began = Instant::now();
        loop {
            let answer = self.ask(method.clone(), path, None).await;
            if let Ok((status, body)) = &answer
                && StatusCode::from_u16(*status).is_ok_and(|status| status.is_success())
            {
                return Ok(body.clone());
            }
            if began.elapsed() > ALL_PATIENCE {
                return Err(format!("{method} {path}: {answer:?}"));
            }
            sleep(PAUSE).await;
        }
    }
}

/// The error with what it came from.
fn told(error: reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = &error.without_url();
    let mut text = cause.to_string();
    while let Some(source) = cause.source() {
        cause = source;
        text = format!("{text}: {cause}");
    }
    text
}

/// An order that was acknowledged.
#[derive(Clone, Debug)]
pub struct Placed {
    pub id: String,
    /// Whether its customer was told that it stands (201), or that it is not decided yet (202).
    pub stands: bool,
}

impl Placed {
    /// What an answer to a placement acknowledges.
    pub fn of(status: u16, body: &Value) -> Option<Self> {
        let id = body["id"].as_str()?;
        matches!(status, 201 | 202).then(|| Self { id: id.to_owned(), stands: status == 201 })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Place,
    Read,
}

/// A request and what became of it.
#[derive(Clone, Debug)]
pub struct Request {
    pub what: What,
    /// Since the load began.
    pub at: Duration,
    pub took: Duration,
    /// The status, or why there is none.
    pub answer: Result<u16, String>,
    /// What else was answered, where it failed.
    pub problem: Option<String>,
    pub order: Option<Placed>,
}

impl Request {
    pub fn failed(&self) -> bool {
        let expected: &[u16] = if self.what == What::Place { &[201, 202] } else { &[200] };
        !self.answer.as_ref().is_ok_and(|status| expected.contains(status))
    }
}

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Requests a second.
    pub requests: f64,
    /// How many of a hundred of them place an order.
    pub placements: u32,
}

/// Requests that are being sent.
pub struct Load {
    pub began: Instant,
    acknowledged: Arc<Mutex<Vec<Placed>>>,
    stop: CancellationToken,
    sending: JoinHandle<Vec<Request>>,
}

impl Load {
    /// `placed`: orders that are there already, to be read.
    pub fn begin(system: &Apart, shop: &Shop<'_>, rate: Rate, placed: Vec<Placed>) -> Self {
        let caller = Caller::new(system, Role::Customer, CUSTOMER);
        let (acknowledged, ending) = (Arc::new(Mutex::new(placed)), CancellationToken::new());
        let began = Instant::now();
        let sender = Sender { caller, order: shop.request("tok_ok", 1), acknowledged: acknowledged.clone(), began };
        let sending = tokio::spawn(send(Arc::new(sender), rate, ending.clone()));
        Self { began, acknowledged, stop: ending, sending }
    }

    /// The orders that were acknowledged so far.
    pub fn acknowledged(&self) -> Vec<Placed> {
        self.acknowledged.lock().expect("no panic").clone()
    }

    /// Waits until it has gone on for so long.
    pub async fn reaches(&self, time: Duration) {
        sleep_until((self.began + time).into()).await;
    }

    /// Sends no more, and waits for the last answer: what became of all requests, and the orders that were acknowledged.
    pub async fn end(self) -> (Vec<Request>, Vec<Placed>) {
        self.stop.cancel();
        let requests = self.sending.await.expect("no panic");
        (requests, self.acknowledged.lock().expect("no panic").clone())
    }
}

struct Sender {
    caller: Caller,
    order: Value,
    acknowledged: Arc<Mutex<Vec<Placed>>>,
    began: Instant,
}

async fn send(sender: Arc<Sender>, rate: Rate, stop: CancellationToken) -> Vec<Request> {
    let pause = Duration::from_secs_f64(1.0 / rate.requests);
    let mut sent = JoinSet::new();
    for n in 0_u32.. {
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep_until((sender.began + pause * n).into()) => {}
        }
        // Spread evenly: request n places an order where the share of placements passes another whole number.
        let places =
            u64::from(n + 1) * u64::from(rate.placements) / 100 > u64::from(n) * u64::from(rate.placements) / 100;
        let sender = sender.clone();
        sent.spawn(async move { if places { sender.place().await } else { sender.read(&sender.any_order()).await } });
    }
    sent.join_all().await
}

impl Sender {
    /// One of those that stand. One that is not decided may not be there to be shown yet.
    fn any_order(&self) -> String {
        let acknowledged = self.acknowledged.lock().expect("no panic");
        let any = &acknowledged[rand::random_range(0..acknowledged.len())];
        if any.stands { any.id.clone() } else { acknowledged[0].id.clone() }
    }

    async fn place(&self) -> Request {
        let key = uuid::Uuid::now_v7().to_string();
        let request = self.timed(What::Place, Method::POST, "/v1/orders", Some((&key, &self.order))).await;
        self.acknowledged.lock().expect("no panic").extend(request.order.clone());
        request
    }

    async fn read(&self, id: &str) -> Request {
        self.timed(What::Read, Method::GET, &format!("/v1/orders/{id}"), None).await
    }

    async fn timed(&self, what: What, method: Method, path: &str, place: Option<(&str, &Value)>) -> Request {
        let began = Instant::now();
        let (answer, body) = match self.caller.ask(method, path, place).await {
            Ok((status, body)) => (Ok(status), body),
            Err(why) => (Err(why), Value::Null),
        };
        let at = began - self.began;
        let mut request = Request { what, at, took: began.elapsed(), answer, problem: None, order: None };
        if request.failed() {
            request.problem = (!body.is_null()).then(|| body.to_string());
        } else if what == What::Place {
            request.order = request.answer.as_ref().ok().and_then(|status| Placed::of(*status, &body));
        }
        request
    }
}

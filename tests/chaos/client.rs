//! A client as a careful app has it: every request under a key of its own, and asked again until it is answered. It notes
//! what it was told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tests::Answer;
use tokio::time::sleep;
use workflows::Role;

use crate::model::{Known, Told};
use crate::plan::Script;
use crate::shops::{PLENTY, PRICE, SCARCE, Shop, whose};
use crate::system::System;

/// How long one request may take before it is taken for lost.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long anything that is bound to happen may take, faults and all.
pub const ALL_PATIENCE: Duration = Duration::from_mins(5);
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What was sent.
#[derive(Default)]
pub struct Sent {
    pub requests: AtomicUsize,
    /// Copies of a request beside the first.
    pub duplicates: AtomicUsize,
    /// Commands before their time.
    pub reordered: AtomicUsize,
    /// Requests that got no answer, or 503, and were sent again.
    pub repeated: AtomicUsize,
}

pub struct Client<'a> {
    pub system: &'a System,
    pub sent: &'a Sent,
}

/// One request for an order, and what is known of it.
pub struct Request {
    pub known: Mutex<Known>,
    script: Script,
    /// What was wrong while it lived.
    wrong: Mutex<Vec<String>>,
}

impl Request {
    pub fn new(key: String, script: &Script) -> Self {
        let known = Known {
            key,
            shop: script.shop,
            total: PRICE * i64::from(script.quantity),
            told: Vec::new(),
            commands: [].into(),
            buttons: 0,
        };
        Self { known: Mutex::new(known), script: script.clone(), wrong: Mutex::default() }
    }

    pub fn shop(&self) -> Shop {
        self.script.shop
    }

    pub fn known(&self) -> Known {
        self.known.lock().expect("no panic").clone()
    }

    fn learn(&self, note: impl FnOnce(&mut Known)) {
        note(&mut self.known.lock().expect("no panic"));
    }

    pub fn complain(&self, wrong: String) {
        self.wrong.lock().expect("no panic").push(wrong);
    }

    pub fn complaints(&self) -> Vec<String> {
        self.wrong.lock().expect("no panic").clone()
    }

    fn body(&self) -> Value {
        let Script { shop, scarce, quantity, card, .. } = &self.script;
        let payment = if shop.by_deposit() {
            json!({ "method": "deposit" })
        } else {
            json!({ "method": "card", "card_token": card })
        };
        json!({
            "merchant_id": shop.merchant_id(),
            "customer": { "name": "Kim", "phone": "010-1234-5678", "address": "1 Sejong-daero, Seoul" },
            "lines": [{ "sku": if *scarce { SCARCE } else { PLENTY }, "quantity": quantity }],
            "payment": payment,
            "note": self.known.lock().expect("no panic").key,
        })
    }
}

/// Asks again and again, with longer and longer pauses; `None` when it takes too long.
pub async fn patiently<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return Some(answer);
        }
        let waited = start.elapsed();
        if waited > ALL_PATIENCE {
            return None;
        }
        sleep((waited / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)).await;
    }
}

impl Client<'_> {
    /// Sends as many copies of the request as its script has, each until it is decided; the order, if it stands.
    pub async fn place(&self, request: &Request) -> Option<String> {
        let copies = request.script.copies;
        self.sent.duplicates.fetch_add(copies - 1, Ordering::Relaxed);
        let body = request.body();
        futures::future::join_all((0..copies).map(|_| self.place_one(request, &body))).await;
        request.known.lock().expect("no panic").order_id().map(str::to_owned)
    }

    async fn place_one(&self, request: &Request, body: &Value) {
        let key = request.known.lock().expect("no panic").key.clone();
        let decided = patiently(async || {
            let answer = self.answer(Role::Customer, None, Method::POST, "/v1/orders", |place| {
                let place = place.header("idempotency-key", &key).json(body);
                match request.script.wait {
                    Some(wait) => place.header("prefer", format!("wait={wait}")),
                    None => place,
                }
            });
            let answer = answer.await?;
            match answer.status {
                201 => {
                    let id = text(&answer.body, "id");
                    Some(Told::Stands { id, body: answer.body.to_string() })
                }
                402 | 409 => {
                    let id = answer.body["order_id"].as_str().map(str::to_owned);
                    Some(Told::Refused { id, problem: text(&answer.body, "type") })
                }
                // Not decided yet: the same request gets the same order.
                202 => None,
                _ => {
                    request.complain(format!("placed, and answered {} {}", answer.status, answer.body));
                    Some(Told::Refused { id: None, problem: answer.status.to_string() })
                }
            }
        });
        match decided.await {
            Some(told) => request.learn(|known| known.told.push(told)),
            None => request.complain("it was never decided whether it stands".to_owned()),
        }
    }

    /// Asks a command until it is answered; whether it was accepted.
    pub async fn command(&self, request: &Request, id: &str, command: &'static str) -> bool {
        let path = format!("/v1/orders/{id}/{command}");
        let (by, of) = (whose(command), request.shop());
        let answered = patiently(async || {
            let mut answer = self.answer(by, Some(of), Method::POST, &path, |ask| ask).await;
            // An order that is not to be picked up or brought is none of a courier's.
            if let Some(answer) = answer.as_mut().filter(|answer| by == Role::Courier && answer.status == 404) {
                answer.status = 409;
            }
            let status = answer.as_ref().map(|answer| answer.status);
            request.learn(|known| {
                let asked = known.commands.entry(command).or_default();
                match status {
                    Some(200) => asked.accepted += 1,
                    Some(409) => asked.refused += 1,
                    _ => asked.unanswered += 1,
                }
            });
            answer
        });
        match answered.await {
            Some(Answer { status: 200, .. }) => true,
            Some(Answer { status: 409, .. }) => false,
            Some(Answer { status, body, .. }) => {
                request.complain(format!("{command} was answered {status} {body}"));
                false
            }
            None => {
                request.complain(format!("{command} was never answered"));
                false
            }
        }
    }

    /// Presses the engine's cancel button.
    pub async fn press_cancel(&self, request: &Request, id: &str) {
        // Whatever is heard of it.
        request.learn(|known| known.buttons += 1);
        if patiently(async || self.system.press_cancel(id).await).await.is_none() {
            request.complain("the engine's cancel button could not be pressed".to_owned());
        }
    }

    /// The order as it is read; it was acknowledged, so it is there.
    pub async fn order(&self, request: &Request, id: &str) -> Option<Value> {
        let answer = self.read(&format!("/v1/orders/{id}")).await;
        match answer {
            Some(Answer { status: 200, body, .. }) => Some(body),
            Some(Answer { status, body, .. }) => {
                request.complain(format!("read, and answered {status} {body}"));
                None
            }
            None => {
                request.complain("could not be read".to_owned());
                None
            }
        }
    }

    /// Waits until the order takes the command; false where it is over before.
    pub async fn takes(&self, request: &Request, id: &str, command: &str) -> bool {
        let (path, by) = (format!("/v1/orders/{id}"), whose(command));
        let took = patiently(async || {
            // As the one who is to ask it sees the order, if at all.
            let answer = self.answer(by, Some(request.shop()), Method::GET, &path, |read| read).await?;
            let takes = answer.body["allowed_commands"].as_array();
            if answer.status == 200 && takes.is_some_and(|takes| takes.contains(&json!(command))) {
                return Some(true);
            }
            let Some(order) = self.order(request, id).await else { return Some(false) };
            is_final(order["status"].as_str()?).then_some(false)
        });
        took.await.unwrap_or_else(|| {
            request.complain(format!("it never took {command}"));
            false
        })
    }

    /// An answer that is neither 503 nor none.
    pub async fn read(&self, path: &str) -> Option<Answer> {
        patiently(async || self.answer(Role::Operator, None, Method::GET, path, |read| read).await).await
    }

    async fn answer(
        &self,
        by: Role,
        of: Option<Shop>,
        method: Method,
        path: &str,
        complete: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Option<Answer> {
        let jumun = self.system.jumun();
        self.sent.requests.fetch_add(1, Ordering::Relaxed);
        let merchant_id = of.filter(|_| by == Role::Merchant).map(Shop::merchant_id);
        let token = jumun.token(by, by.as_str(), merchant_id.as_deref());
        let request = complete(jumun.anonymous(method, path).bearer_auth(token).timeout(PATIENCE));
        let answer = jumun.try_send(request).await.ok().filter(|answer| answer.status != 503);
        if answer.is_none() {
            self.sent.repeated.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }
}

pub fn is_final(status: &str) -> bool {
    matches!(status, "closed" | "cancelled" | "rejected")
}

pub fn text(json: &Value, member: &str) -> String {
    json[member].as_str().unwrap_or_default().to_owned()
}

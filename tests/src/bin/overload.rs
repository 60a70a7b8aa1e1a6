//! Offers jumun three times the orders that it can take, and reports what became of every one: the numbers in the README's
//! section "Reliability". It starts a jumun of its own, with its real engine, and stops it.
//!
//! `cargo build --workspace --bins && target/debug/overload`

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use futures::StreamExt;
use futures::stream::iter;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Jumun, Shop, expect_order};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};
use workflows::Role;

/// How much more is offered than can be taken.
const OVERLOAD: u32 = 3;
/// How many wait for an answer at a time while it is found out how much can be taken.
const WORKERS: usize = 32;
/// How many of the acknowledged orders are looked after at a time, afterwards.
const AUDITORS: usize = 16;
/// So many that none of them asks too often, where it is not the point that somebody does.
const CROWD: usize = 200;
const READ_EVERY: Duration = Duration::from_millis(100);
/// How long orders that have piled up may take to be brought on their way.
const PILE_GONE_WITHIN: Duration = Duration::from_mins(10);
/// Everything is as ever once so many in a row are placed in no more than so many times what one takes at rest.
const IN_A_ROW: u32 = 5;
const AS_EVER: u32 = 3;

/// Offers jumun three times the orders that it can take, and reports what became of every one.
#[derive(Parser)]
struct Settings {
    /// For how long, in seconds, it is found out how much can be taken
    #[arg(long, default_value_t = 15)]
    warm_up: u32,
    /// For how long, in seconds, three times as much is offered
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// How many modest callers share one half of the load; the other half is one greedy caller's
    #[arg(long, default_value_t = 8)]
    callers: usize,
}

/// Who asks.
#[derive(Clone)]
struct Caller {
    client: reqwest::Client,
    api: String,
    token: String,
}

/// What became of one request.
struct Sample {
    status: u16,
    took: Duration,
    says_when: bool,
    body: Value,
}

impl Caller {
    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Sample {
        let mut request = self.client.request(method, format!("{}{path}", self.api)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let began = Instant::now();
        let (status, says_when, body) = match request.send().await {
            Ok(answer) => {
                let (status, says_when) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
                (status, says_when, answer.json().await.unwrap_or(Value::Null))
            }
            Err(_) => (0, false, Value::Null),
        };
        Sample { status, took: began.elapsed(), says_when, body }
    }

    /// What is there, once it can be told.
    async fn get(&self, path: &str) -> Value {
        let began = Instant::now();
        loop {
            let sample = self.ask(Method::GET, path, None).await;
            if sample.status == 200 {
                return sample.body;
            }
            assert!(matches!(sample.status, 0 | 429 | 503), "{path}: {} {}", sample.status, sample.body);
            assert!(began.elapsed() < PILE_GONE_WITHIN, "{path} is not told");
            sleep(READ_EVERY).await;
        }
    }

    async fn place(&self, order: &Value) -> Sample {
        self.ask(Method::POST, "/v1/orders", Some(order)).await
    }
}

/// Many of one role, who take turns.
struct Crowd {
    callers: Vec<Caller>,
    turns: AtomicUsize,
}

impl Crowd {
    fn new(jumun: &Jumun, role: Role, name: &str, size: usize) -> Arc<Self> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1)).build().expect("a client");
        let caller = |n| Caller {
            client: client.clone(),
            api: jumun.ready.api.clone(),
            token: jumun.token(role, &format!("{name}-{n}"), None),
        };
        Arc::new(Self { callers: (0..size).map(caller).collect(), turns: AtomicUsize::new(0) })
    }

    fn next(&self) -> &Caller {
        &self.callers[self.turns.fetch_add(1, Ordering::Relaxed) % self.callers.len()]
    }
}

#[tokio::main]
async fn main() {
    let settings = Settings::parse();
    let (rest, rate) = sustainable(&settings).await;
    println!("One order at rest: {}. Sustainable: {rate:.0} orders a second, all the way to the courier.", ms(rest));
    overload(&settings, rest, rate).await;
}

/// A shop that does not run out.
async fn shop(jumun: &Jumun) -> Shop<'_> {
    let shop = Shop::open(jumun).await;
    shop.put_product("chili", 9_000, 1_000_000).await;
    shop
}

/// How long one order takes at rest; and how many a second get all the way to the courier, as fast as they are taken from
/// a few who wait for each.
async fn sustainable(settings: &Settings) -> (Duration, f64) {
    let jumun = Jumun::ephemeral().await;
    let shop = shop(&jumun).await;
    let order = Arc::new(shop.request("tok_ok", 1));
    let customers = Crowd::new(&jumun, Role::Customer, "customer", WORKERS);
    let mut alone = Vec::new();
    for _ in 0..30 {
        let sample = customers.next().place(&order).await;
        assert_eq!(sample.status, 201, "{}", sample.body);
        alone.push(sample);
    }
    let began = Instant::now();
    let end = began + Duration::from_secs(settings.warm_up.into());
    let mut workers = JoinSet::new();
    for caller in &customers.callers {
        let (caller, order) = (caller.clone(), order.clone());
        workers.spawn(async move {
            let mut placed: u32 = 0;
            while Instant::now() < end {
                placed += u32::from(caller.place(&order).await.status == 201);
            }
            placed
        });
    }
    let placed: u32 = workers.join_all().await.into_iter().sum();
    all_on_their_way(&shop, &Crowd::new(&jumun, Role::Operator, "operator", 1)).await;
    (quantile(&mut alone, 0.5), f64::from(placed) / began.elapsed().as_secs_f64())
}

async fn overload(settings: &Settings, rest: Duration, rate: f64) {
    // Each may send a quarter of what can be taken.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are small and positive")]
    let fair = (rate / 4.0).ceil().max(1.0) as u32;
    let (rate_limit, burst) = (fair.to_string(), (fair * 2).to_string());
    let jumun = Jumun::limited(&[("REQUESTS_PER_SECOND", &rate_limit), ("BURST", &burst)]).await;
    let shop = shop(&jumun).await;
    let order = Arc::new(shop.request("tok_ok", 1));
    let modest = Crowd::new(&jumun, Role::Customer, "modest", settings.callers);
    let greedy = Crowd::new(&jumun, Role::Customer, "greedy", 1);
    let operators = Crowd::new(&jumun, Role::Operator, "operator", CROWD);

    // In an open loop: what is offered does not wait for what is answered.
    let (began, pause) = (Instant::now(), Duration::from_secs_f64(1.0 / (rate * f64::from(OVERLOAD))));
    let end = began + Duration::from_secs(settings.seconds.into());
    let reading = tokio::spawn(read(operators.clone(), end));
    let (mut many, mut one) = (JoinSet::new(), JoinSet::new());
    for n in 0_u32.. {
        let at = began + pause * n;
        if at >= end {
            break;
        }
        sleep_until(at.into()).await;
        let (order, who, whose) =
            if n % 2 == 0 { (order.clone(), &modest, &mut many) } else { (order.clone(), &greedy, &mut one) };
        let caller = who.next().clone();
        whose.spawn(async move { caller.place(&order).await });
    }
    let over = Instant::now();
    let later = Crowd::new(&jumun, Role::Customer, "later", CROWD);
    let (recovered, placed_later) = as_ever(&later, &order, rest, over).await;
    let (many, one) = (many.join_all().await, one.join_all().await);
    let mut reads = reading.await.expect("no panic");

    println!(
        "\nOffered for {} s: {:.0} orders a second, one half by {} customers, the other by one; each may send {fair}.\n",
        settings.seconds,
        rate * f64::from(OVERLOAD),
        settings.callers
    );
    println!("| | requests | half within | 99 of 100 within | longest |\n| --- | --- | --- | --- | --- |");
    let mut acknowledged: Vec<String> =
        many.iter().chain(&one).filter(|sample| matches!(sample.status, 201 | 202)).map(order_of).collect();
    acknowledged.extend(placed_later);
    let mut turned_away = many.iter().chain(&one).filter(|sample| matches!(sample.status, 429 | 503));
    assert!(turned_away.all(|sample| sample.says_when), "who is turned away is told when to come back");
    report("orders of the many", many);
    report("orders of the one", one);
    report("lists read meanwhile", std::mem::take(&mut reads));
    println!("\nPlaced as ever {:.1} s after the end.", recovered.as_secs_f64());
    audit(&jumun, &shop, &operators, acknowledged).await;
}

fn order_of(sample: &Sample) -> String {
    expect_order(&sample.body)
}

/// Reads the list of orders until then.
async fn read(operators: Arc<Crowd>, end: Instant) -> Vec<Sample> {
    let mut reads = Vec::new();
    while Instant::now() < end {
        reads.push(operators.next().ask(Method::GET, "/v1/orders?limit=20", None).await);
        sleep(READ_EVERY).await;
    }
    reads
}

/// How long after `over` orders are placed as they are at rest, and which were placed to find that out.
async fn as_ever(later: &Crowd, order: &Value, rest: Duration, over: Instant) -> (Duration, Vec<String>) {
    let (mut in_a_row, mut since, mut placed) = (0, over, Vec::new());
    while in_a_row < IN_A_ROW {
        assert!(over.elapsed() < PILE_GONE_WITHIN, "it does not recover");
        let began = Instant::now();
        let sample = later.next().place(order).await;
        if matches!(sample.status, 201 | 202) {
            placed.push(order_of(&sample));
        }
        if sample.status == 201 && sample.took <= rest * AS_EVER {
            (since, in_a_row) = (if in_a_row == 0 { began } else { since }, in_a_row + 1);
        } else {
            in_a_row = 0;
            sleep(READ_EVERY).await;
        }
    }
    (since - over, placed)
}

/// Waits until every order is with the courier, or rejected.
async fn all_on_their_way(shop: &Shop<'_>, operators: &Crowd) {
    let dashboard = format!("/v1/dashboard?merchant_id={}", shop.merchant_id);
    let began = Instant::now();
    loop {
        let statuses = operators.next().get(&dashboard).await["statuses"].clone();
        let arrived = |tally: &Value| matches!(tally["status"].as_str(), Some("in_delivery" | "rejected"));
        if statuses.as_array().is_some_and(|statuses| statuses.iter().all(arrived)) {
            return;
        }
        assert!(began.elapsed() < PILE_GONE_WITHIN, "they do not arrive: {statuses}");
        sleep(READ_EVERY).await;
    }
}

/// Every acknowledged order ends as it should, and there are no others.
async fn audit(jumun: &Jumun, shop: &Shop<'_>, operators: &Crowd, acknowledged: Vec<String>) {
    let began = Instant::now();
    all_on_their_way(shop, operators).await;
    println!("All that was acknowledged was with the courier {:.1} s later.", began.elapsed().as_secs_f64());
    let couriers = Crowd::new(jumun, Role::Courier, "courier", CROWD);
    let (operators, couriers) = (&operators, &couriers);
    let ended = iter(&acknowledged).map(async |id| {
        let order = operators.next().get(&format!("/v1/orders/{id}")).await;
        let payments = operators.next().get(&format!("/v1/payments?order_id={id}")).await;
        let entries = payments["items"][0]["entries"].as_array().map_or(0, Vec::len);
        if order["status"] == "rejected" {
            assert_eq!(entries, 0, "rejected and charged: {payments}");
            return false;
        }
        let path = format!("/v1/orders/{id}/complete-delivery");
        let closed = couriers.next().ask(Method::POST, &path, None).await;
        assert_eq!((&closed.body["status"], entries), (&json!("closed"), 1), "{id}: {}, {payments}", closed.body);
        true
    });
    let ended: Vec<bool> = ended.buffer_unordered(AUDITORS).collect().await;
    let closed = ended.iter().filter(|closed| **closed).count();
    let dashboard = operators.next().get(&format!("/v1/dashboard?merchant_id={}", shop.merchant_id)).await;
    let orders = |status: &str| {
        let tallies = dashboard["statuses"].as_array().into_iter().flatten();
        tallies.filter(|tally| tally["status"] == status).filter_map(|tally| tally["orders"].as_u64()).sum::<u64>()
    };
    println!(
        "{} orders were acknowledged; {closed} of them are closed and charged once, {} were rejected and charged nothing.",
        ended.len(),
        ended.len() - closed
    );
    println!("The shop has {} closed orders and {} that were rejected.", orders("closed"), orders("rejected"));
    assert_eq!(orders("closed"), closed as u64, "an order that nobody was told of");
}

fn report(what: &str, mut samples: Vec<Sample>) {
    let mut statuses: Vec<u16> = samples.iter().map(|sample| sample.status).collect();
    statuses.sort_unstable();
    statuses.dedup();
    for status in statuses {
        let (mut these, others): (Vec<_>, Vec<_>) = samples.into_iter().partition(|sample| sample.status == status);
        let [half, most, longest] = [0.5, 0.99, 1.0].map(|share| ms(quantile(&mut these, share)));
        println!("| {what}: {status} | {} | {half} | {most} | {longest} |", these.len());
        samples = others;
    }
}

/// The time that so large a share of the samples took at most.
fn quantile(samples: &mut [Sample], share: f64) -> Duration {
    samples.sort_by_key(|sample| sample.took);
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "few")]
    let index = (samples.len().saturating_sub(1) as f64 * share).round() as usize;
    samples.get(index).map_or(Duration::ZERO, |sample| sample.took)
}

fn ms(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}

//! Offers jumun three times the orders that it can take, and reports what became of every one: the numbers in the README's
//! section "Reliability". It starts a jumun of its own, with its real engine, and stops it.
//!
//! `cargo build --workspace --bins && target/debug/overload`

#![allow(clippy::missing_panics_doc, reason = "a panic is how it fails")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use futures::StreamExt;
use futures::stream::iter;
use reqwest::{Client, Method};
use serde_json::Value;
use tests::{Jumun, Shop, expect_order};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

/// How much more is offered than can be taken.
const OVERLOAD: u32 = 3;
/// How many wait for an answer at a time while it is found out how much can be taken.
const WORKERS: usize = 32;
/// How many of the acknowledged orders are looked after at a time, afterwards.
const AUDITORS: usize = 8;
const PILE_GONE_WITHIN: Duration = Duration::from_mins(10);
const READ_EVERY: Duration = Duration::from_millis(100);
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

/// Who asks, over connections of their own.
#[derive(Clone)]
struct Caller {
    client: Client,
    api: String,
    token: Option<String>,
}

/// What became of one request.
struct Sample {
    status: u16,
    took: Duration,
    retry_after: bool,
    body: Value,
}

impl Caller {
    fn new(jumun: &Jumun) -> Self {
        let client = Client::builder().no_proxy().timeout(Duration::from_mins(1)).build().expect("a client");
        Self { client, api: jumun.ready.api.clone(), token: None }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Sample {
        let mut request = self.client.request(method, format!("{}{path}", self.api));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let began = Instant::now();
        let answer = request.send().await;
        let (status, retry_after, body) = match answer {
            Ok(answer) => {
                let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
                (status, headers.contains_key("retry-after"), answer.json().await.unwrap_or(Value::Null))
            }
            Err(_) => (0, false, Value::Null),
        };
        Sample { status, took: began.elapsed(), retry_after, body }
    }

    async fn place(&self, order: &Value) -> Sample {
        self.ask(Method::POST, "/v1/orders", Some(order)).await
    }
}

#[tokio::main]
async fn main() {
    let settings = Settings::parse();
    let (rest, rate) = sustainable(&settings).await;
    println!("One order at rest: {} ms. Sustainable: {rate:.0} orders a second, all the way to the courier.", ms(rest));
    overload(&settings, rest, rate).await;
}

/// A shop that does not run out.
async fn shop(jumun: &Jumun) -> Shop<'_> {
    let shop = Shop::open(jumun).await;
    shop.put_product("chili", 9_000, 1_000_000).await;
    shop
}

/// How long one order takes at rest; and how many orders a second get all the way to the courier, as fast as they are
/// taken one after another by a few.
async fn sustainable(settings: &Settings) -> (Duration, f64) {
    let jumun = Jumun::ephemeral().await;
    let shop = shop(&jumun).await;
    let order = Arc::new(shop.request("tok_ok", 1));
    let caller = Caller::new(&jumun);
    let mut alone = Vec::new();
    for _ in 0..30 {
        let sample = caller.place(&order).await;
        assert_eq!(sample.status, 201, "{}", sample.body);
        alone.push(sample);
    }
    let began = Instant::now();
    let end = began + Duration::from_secs(settings.warm_up.into());
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
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
    all_with_the_courier(&shop).await;
    (quantile(&mut alone, 0.5), f64::from(placed) / began.elapsed().as_secs_f64())
}

async fn overload(settings: &Settings, rest: Duration, rate: f64) {
    // A caller may send a quarter of what can be taken.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are small and positive")]
    let fair = (rate / 4.0).ceil() as u32;
    let (rate_limit, burst) = (fair.to_string(), (fair * 2).to_string());
    let jumun = Jumun::limited(&[("REQUESTS_PER_SECOND", &rate_limit), ("BURST", &burst)]).await;
    let shop = shop(&jumun).await;
    let order = Arc::new(shop.request("tok_ok", 1));
    let modest: Vec<_> = (0..settings.callers).map(|_| Caller::new(&jumun)).collect();
    let greedy = Caller::new(&jumun);

    // In an open loop: what is offered does not wait for what is answered.
    let (began, pause) = (Instant::now(), Duration::from_secs_f64(1.0 / (rate * f64::from(OVERLOAD))));
    let end = began + Duration::from_secs(settings.seconds.into());
    let reading = tokio::spawn(read(Caller::new(&jumun), end));
    let (mut ours, mut theirs) = (JoinSet::new(), JoinSet::new());
    for n in 0_u32.. {
        let at = began + pause * n;
        if at >= end {
            break;
        }
        sleep_until(at.into()).await;
        let order = order.clone();
        if n % 2 == 0 {
            let caller = modest[n as usize / 2 % modest.len()].clone();
            ours.spawn(async move { caller.place(&order).await });
        } else {
            let caller = greedy.clone();
            theirs.spawn(async move { caller.place(&order).await });
        }
    }
    let over = Instant::now();
    let normal = normal_again(&Caller::new(&jumun), &order, rest, over).await;
    let (ours, theirs) = (ours.join_all().await, theirs.join_all().await);
    let mut reads = reading.await.expect("no panic");

    println!(
        "\nOffered for {} s: {:.0} orders a second, one half by {} callers, the other by one; each may send {fair}.\n",
        settings.seconds,
        rate * f64::from(OVERLOAD),
        settings.callers
    );
    println!("| | requests | p50 | p99 | longest |\n| --- | --- | --- | --- | --- |");
    let acknowledged: Vec<String> =
        ours.iter().chain(&theirs).filter(|sample| matches!(sample.status, 201 | 202)).map(order_of).collect();
    assert!(
        ours.iter().chain(&theirs).filter(|sample| matches!(sample.status, 429 | 503)).all(|sample| sample.retry_after)
    );
    report("of the many", ours);
    report("of the greedy one", theirs);
    println!("{}", row("orders read meanwhile: 200", &mut reads));
    println!(
        "\nAs ever again {:.1} s after the end: {IN_A_ROW} in a row placed in {} ms each.",
        normal.0.as_secs_f64(),
        ms(normal.1)
    );
    audit(&shop, &acknowledged, normal.2).await;
}

fn order_of(sample: &Sample) -> String {
    expect_order(&sample.body)
}

/// Reads the list of orders until then. That it is answered is what counts.
async fn read(caller: Caller, end: Instant) -> Vec<Sample> {
    let mut reads = Vec::new();
    while Instant::now() < end {
        reads.push(caller.ask(Method::GET, "/v1/orders?limit=20", None).await);
        sleep(READ_EVERY).await;
    }
    let refused = reads.iter().filter(|read| read.status != 200).count();
    assert_eq!(refused, 0, "reading was refused");
    reads
}

/// How long after `over` orders are placed as they are at rest; how long the slowest of them took; and how many that was.
async fn normal_again(
    caller: &Caller,
    order: &Value,
    rest: Duration,
    over: Instant,
) -> (Duration, Duration, Vec<String>) {
    let (mut in_a_row, mut since, mut slowest, mut placed) = (0, over, Duration::ZERO, Vec::new());
    while in_a_row < IN_A_ROW {
        assert!(over.elapsed() < Duration::from_mins(2), "it does not recover");
        let began = Instant::now();
        let sample = caller.place(order).await;
        if matches!(sample.status, 201 | 202) {
            placed.push(order_of(&sample));
        }
        if sample.status == 201 && sample.took <= rest * AS_EVER {
            (since, in_a_row) = (if in_a_row == 0 { began } else { since }, in_a_row + 1);
            slowest = slowest.max(sample.took);
        } else {
            (in_a_row, slowest) = (0, Duration::ZERO);
            sleep(Duration::from_millis(100)).await;
        }
    }
    (since - over, slowest, placed)
}

/// Waits until every order is with the courier, or rejected. They may have piled up, so that takes a while.
async fn all_with_the_courier(shop: &Shop<'_>) {
    let dashboard = format!("/v1/dashboard?merchant_id={}", shop.merchant_id);
    let began = Instant::now();
    loop {
        let statuses = shop.jumun.get(&dashboard).await.ok()["statuses"].clone();
        let arrived = |tally: &Value| matches!(tally["status"].as_str(), Some("in_delivery" | "rejected"));
        if statuses.as_array().is_some_and(|statuses| statuses.iter().all(arrived)) {
            return;
        }
        assert!(began.elapsed() < PILE_GONE_WITHIN, "they do not arrive: {statuses}");
        sleep(READ_EVERY).await;
    }
}

/// Every acknowledged order ends as it should, and there are no others.
async fn audit(shop: &Shop<'_>, acknowledged: &[String], later: Vec<String>) {
    let began = Instant::now();
    all_with_the_courier(shop).await;
    println!("The last acknowledged order was with the courier {:.1} s later.", began.elapsed().as_secs_f64());
    let ended = iter(acknowledged.iter().chain(&later)).map(async |id| {
        let order = shop.jumun.order(id).await;
        if order["status"] == "in_delivery" {
            shop.jumun.ask(id, "complete-delivery").await;
            assert_eq!(shop.jumun.entries(id).await, ["charge"], "{id}");
        }
        shop.jumun.settles(id).await;
        order["status"] == "in_delivery"
    });
    let ended: Vec<bool> = ended.buffer_unordered(AUDITORS).collect().await;
    let closed = ended.iter().filter(|closed| **closed).count();
    let dashboard = shop.jumun.get(&format!("/v1/dashboard?merchant_id={}", shop.merchant_id)).await.ok();
    let tallies = dashboard["statuses"].as_array().expect("a list");
    let all: i64 = tallies.iter().filter_map(|tally| tally["orders"].as_i64()).sum();
    println!(
        "Acknowledged: {}; closed: {closed}, charged once each; orders that nobody was told of: {}.",
        ended.len(),
        usize::try_from(all).expect("positive") - ended.len()
    );
}

fn report(who: &str, samples: Vec<Sample>) {
    let mut statuses: Vec<u16> = samples.iter().map(|sample| sample.status).collect();
    statuses.sort_unstable();
    statuses.dedup();
    let mut samples = samples;
    for status in statuses {
        let (mut these, others): (Vec<_>, Vec<_>) = samples.into_iter().partition(|sample| sample.status == status);
        println!("{}", row(&format!("{who}: {status}"), &mut these));
        samples = others;
    }
}

fn row(name: &str, samples: &mut [Sample]) -> String {
    let count = samples.len();
    let [p50, p99, longest] = [0.5, 0.99, 1.0].map(|share| ms(quantile(samples, share)));
    format!("| {name} | {count} | {p50} ms | {p99} ms | {longest} ms |")
}

/// The time that so large a share of the samples took at most.
fn quantile(samples: &mut [Sample], share: f64) -> Duration {
    samples.sort_by_key(|sample| sample.took);
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "few")]
    let index = (samples.len().saturating_sub(1) as f64 * share).round() as usize;
    samples.get(index).map_or(Duration::ZERO, |sample| sample.took)
}

fn ms(time: Duration) -> String {
    format!("{:.0}", time.as_secs_f64() * 1000.0)
}

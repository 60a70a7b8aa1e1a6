//! The storm: orders come in waves, and in the middle of each wave something breaks. How long it takes until what was broken
//! does its work again is measured with an order that needs it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::StreamExt;
use indicatif::ProgressBar;
use tokio::sync::watch;
use tokio::time::sleep;
use workflows::Context;

use crate::client::{Client, Request, patiently};
use crate::life::{Duels, Life};
use crate::plan::{Blow, Fault, Plan, Script, Target, probe};

/// What comes of a storm.
pub struct Storm {
    pub requests: Vec<Request>,
    /// By what broke: how long it took each time.
    pub recoveries: BTreeMap<String, Vec<Duration>>,
}

struct Weather<'a> {
    client: &'a Client<'a>,
    duels: &'a Duels,
    bar: &'a ProgressBar,
    /// How many orders there will be.
    all: usize,
    /// How many were begun.
    orders: watch::Sender<usize>,
    /// How many faults were made.
    faults: watch::Sender<usize>,
    probes: Mutex<Vec<Request>>,
    recoveries: Mutex<BTreeMap<String, Vec<Duration>>>,
}

/// Places all orders, so many at once, and makes all faults.
pub async fn rage(client: &Client<'_>, plan: &Plan, at_once: usize, duels: &Duels, bar: &ProgressBar) -> Storm {
    let weather = Weather {
        client,
        duels,
        bar,
        all: plan.scripts.len(),
        orders: watch::Sender::new(0),
        faults: watch::Sender::new(0),
        probes: Mutex::default(),
        recoveries: Mutex::default(),
    };
    let requests: Vec<_> = plan
        .scripts
        .iter()
        .enumerate()
        .map(|(number, script)| Request::new(format!("order-{number}"), script))
        .collect();
    let waves = plan.faults.len() + 1;
    let (wave, weather_) = (plan.scripts.len().div_ceil(waves).max(1), &weather);
    let orders = futures::stream::iter(plan.scripts.iter().zip(&requests).enumerate())
        .map(|(number, (script, request))| weather_.order(number / wave, script, request))
        .buffer_unordered(at_once)
        .collect::<()>();
    futures::join!(orders, weather.faults(&plan.faults, wave));
    let probes = std::mem::take(&mut *weather.probes.lock().expect("no panic"));
    let recoveries = std::mem::take(&mut *weather.recoveries.lock().expect("no panic"));
    Storm { requests: requests.into_iter().chain(probes).collect(), recoveries }
}

impl Weather<'_> {
    async fn order(&self, wave: usize, script: &Script, request: &Request) {
        self.faults.subscribe().wait_for(|made| *made >= wave).await.expect("it lives as long as this");
        self.orders.send_modify(|begun| *begun += 1);
        Life { client: self.client, request, script, duels: self.duels }.live().await;
        self.bar.inc(1);
    }

    async fn faults(&self, faults: &[Fault], wave: usize) {
        for (number, fault) in faults.iter().enumerate() {
            // As many orders before it as its place in its wave says.
            let before = (number * wave + wave * fault.at / 100).min(self.all.saturating_sub(1));
            self.orders.subscribe().wait_for(|begun| *begun > before).await.expect("it lives as long as this");
            let blows = [Some(fault.blow), fault.along].into_iter().flatten().enumerate();
            let made = async || self.faults.send_modify(|made| *made += 1);
            let strike = blows.map(|(which, blow)| self.strike(format!("probe-{number}-{which}"), blow));
            futures::join!(futures::future::join_all(strike), made());
        }
    }

    /// Breaks it, mends it, and meanwhile tries whether it is there again.
    async fn strike(&self, key: String, blow: Blow) {
        let client = self.client;
        client.system.break_it(blow).await;
        let since = Instant::now();
        self.bar.set_message(blow.name());
        let mend = async {
            sleep(blow.lasts).await;
            client.system.mend(blow).await;
        };
        let script = probe(blow.target);
        let request = Request::new(key, &script);
        let recover = async {
            let Some(id) = client.place(&request).await else {
                return request.complain(format!("after {} no order stands", blow.name()));
            };
            if self.does_its_work(blow.target, &id).await {
                self.recovered(blow, since.elapsed());
            } else {
                request.complain(format!("after {} it never did its work again", blow.name()));
            }
        };
        futures::join!(mend, recover);
        self.probes.lock().expect("no panic").push(request);
    }

    fn recovered(&self, blow: Blow, after: Duration) {
        self.recoveries.lock().expect("no panic").entry(blow.name()).or_default().push(after);
    }

    /// Waits until it has done for the order what only it can do.
    async fn does_its_work(&self, target: Target, id: &str) -> bool {
        let (path, mark) = match target {
            Target::Provider(Context::Kitchen) => (format!("/v1/orders/{id}/events"), "order_offered"),
            Target::Provider(Context::Promotion) => (format!("/v1/orders/{id}/events"), "coupon_issued"),
            Target::Provider(Context::Delivery) => (format!("/v1/orders/{id}/events"), "delivery_requested"),
            Target::Provider(Context::Notification) => (format!("/v1/notifications?order_id={id}"), "order_placed"),
            // To place it was all that it takes.
            _ => return true,
        };
        let seen = patiently(async || {
            let answer = self.client.read(&path).await?;
            let items = answer.body["items"].as_array()?;
            items.iter().any(|item| item["type"] == mark).then_some(())
        });
        seen.await.is_some()
    }
}

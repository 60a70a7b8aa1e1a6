//! `restart` and `start`: how long a system takes to come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::gate::place_many;
use super::{Bench, Trade};
use crate::api::Caller;
use crate::load::{Done, Outcome};
use crate::report::{self, Figures, seconds};
use crate::shop::{SPREAD, Shop};

/// How long one order may take to go on after a restart.
const PATIENCE: Duration = Duration::from_mins(5);
const POLL: Duration = Duration::from_millis(10);
const PAUSE: Duration = Duration::from_millis(100);
/// How often it is started.
const STARTS: usize = 3;

/// `kill -9` while many orders wait; then every order is delivered, from the moment at which the API says that it is ready.
pub(super) async fn restart(bench: &Bench) -> Result<Figures> {
    let mut system = bench.own_system().await?;
    let (shop, load) = (Shop::open(&system, SPREAD).await?, bench.load(&system));
    let orders = bench.settings.killed();
    let (ids, _) = place_many(&load, &shop, orders).await?;
    system.kill().await?;
    let began = Instant::now();
    system.start_again().await?;
    let (shop, load) = (shop.within(&system)?, bench.load(&system));
    ready(&shop.operator).await?;
    let api_ready = began.elapsed();
    let going = load
        .each("delivering", ids.into_iter(), move |id: String| {
            let courier = shop.courier.clone();
            async move { until_it_goes_on(&courier, &id).await }
        })
        .await;
    let all_going = began.elapsed();
    let mut figures = Figures::of("restart", &going);
    figures.tell("orders", orders);
    figures.tell("api_ready_s", seconds(api_ready));
    figures.tell("all_going_s", seconds(all_going));
    Ok(figures)
}

/// Asks until the order is closed. What failed before counts as errors.
async fn until_it_goes_on(courier: &Caller, id: &str) -> Outcome {
    let (began, mut failures) = (Instant::now(), Vec::new());
    loop {
        match courier.complete_delivery(id).await {
            Ok(()) => return Ok(Done { failures, ..Done::default() }),
            Err(failed) if began.elapsed() > PATIENCE => return Err(failed),
            Err(failed) => failures.push(failed),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Starts on nothing, and then again and again on what a while of orders has left.
pub(super) async fn start(bench: &Bench) -> Result<Figures> {
    let began = Instant::now();
    let mut system = bench.own_system().await?;
    let fresh = began.elapsed();
    let trade = Trade::open(&system, SPREAD).await?;
    let live = trade.clone();
    let lived = bench.load(&system).closed(move || live.live()).await;
    drop(trade);
    let (mut starts, mut stops) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let began = Instant::now();
        system.stop().await?;
        stops.push(began.elapsed());
        let began = Instant::now();
        system.start_again().await?;
        ready(&Caller::new(&system.api, &system.tokens.operator, Arc::default())?).await?;
        starts.push(began.elapsed());
    }
    let reading = system.meter().read().await;
    let mut figures = Figures { scenario: "start", errors: lived.recorded.error_count(), ..Figures::default() };
    figures.rss_mb = reading.rss.map(report::mb);
    figures.tell("orders", lived.recorded.count());
    figures.tell("cold_start_s", seconds(median(&mut starts)));
    figures.tell("fresh_start_s", seconds(fresh));
    figures.tell("stop_s", seconds(median(&mut stops)));
    Ok(figures)
}

/// Waits until the API answers that it is ready.
async fn ready(anybody: &Caller) -> Result<()> {
    let began = Instant::now();
    while !anybody.is_ready().await {
        ensure!(began.elapsed() < PATIENCE, "the API is not ready");
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

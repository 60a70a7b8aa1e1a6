//! `waiting` and `wake`: many orders at their gate, and all of them called on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::Bench;
use crate::load::{Done, Load, Measure};
use crate::report::{Figures, digits, float, mb};
use crate::shop::{SPREAD, Shop};

/// How long orders are left alone at their gate before it is looked what they take: three times as long as the engine keeps one
/// in memory to which nothing happens.
const LEFT_ALONE: Duration = Duration::from_secs(15);

/// Places many orders, lets them wait, and, where asked, has all of them delivered.
pub(super) async fn waiting(bench: &Bench, wake: bool) -> Result<Vec<Figures>> {
    let system = bench.system().await?;
    let (shop, load) = (Shop::open(&system, SPREAD).await?, bench.load(&system));
    let orders = bench.settings.waiting();
    let before = load.meter.read().await;
    let (ids, placing) = place_many(&load, &shop, orders).await?;

    let using = load.meter.clone().begin().await;
    load.progress.pass("left alone", LEFT_ALONE).await;
    let alone = using.end().await;
    let mut figures = Figures::of("waiting", &placing);
    figures.rss_mb = alone.last().rss.map(mb);
    figures.tell("orders", orders);
    figures.tell("rss_before_mb", before.rss.map(mb));
    let grown = alone.last().rss.zip(before.rss).map(|(after, before)| float(after.saturating_sub(before)));
    figures.tell("rss_bytes_per_order", grown.map(|bytes| digits(bytes / float(orders))));
    let idle = alone.cpu().map(|cpu| cpu.as_secs_f64() / LEFT_ALONE.as_secs_f64());
    figures.tell("idle_cpu_percent", idle.map(|share| digits(share * 100.0)));
    let mut all = vec![figures];

    if wake {
        load.progress.scenario("wake");
        let waking = load
            .each("delivering", ids.into_iter(), move |id: String| {
                let courier = shop.courier.clone();
                async move { courier.complete_delivery(&id).await.map(|()| Done::default()) }
            })
            .await;
        let mut figures = Figures::of("wake", &waking);
        figures.tell("orders", orders);
        all.push(figures);
    }
    Ok(all)
}

/// Places so many orders, and waits until all of them are at their gate. What is counted is whole only then, so the time until
/// then counts.
pub(super) async fn place_many(load: &Load, shop: &Shop, orders: u64) -> Result<(Vec<String>, Measure)> {
    let ids = Arc::new(Mutex::new(Vec::new()));
    let using = load.meter.clone().begin().await;
    let (kept, placing) = (ids.clone(), shop.clone());
    let began = std::time::Instant::now();
    let mut placed = load
        .each("placing", 0..usize::try_from(orders)?, move |_| {
            let (shop, kept) = (placing.clone(), kept.clone());
            async move {
                let placed = shop.place().await?;
                let done = Done { undecided: !placed.stands, ..Done::default() };
                kept.lock().expect("no panic").push(placed.id);
                Ok(done)
            }
        })
        .await;
    let ids = std::mem::take(&mut *ids.lock().expect("no panic"));
    ensure!(!ids.is_empty(), "no order was placed: {:?}", placed.recorded.errors);
    shop.wait_at_the_gate(ids.len() as u64, &load.progress).await?;
    placed.recorded.span = began.elapsed();
    placed.used = using.end().await;
    Ok((ids, placed))
}

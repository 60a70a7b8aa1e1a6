//! `place`, `lifecycle` and `hot-sku`: orders under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;

use super::{Bench, Trade};
use crate::load::Measure;
use crate::report::{Figures, digits, float};
use crate::shop::{SPREAD, Shop};
use crate::system::System;

/// Orders at a steady rate. Behind the answers they go on to their gate, where they stay.
pub(super) async fn place(bench: &Bench) -> Result<Figures> {
    let system = bench.system().await?;
    let shop = Shop::open(&system, SPREAD).await?;
    let rate = bench.settings.rate;
    let measure = bench.load(&system).open(rate, || shop.clone().place_only()).await;
    let mut figures = Figures::of("place", &measure);
    figures.tell("rate", rate);
    Ok(figures)
}

/// Whole lives of orders, spread over many products.
pub(super) async fn lifecycle(bench: &Bench) -> Result<Figures> {
    let system = bench.system().await?;
    let trade = Trade::open(&system, SPREAD).await?;
    let (measure, requests) = lives(bench, &system, &trade).await;
    let mut figures = Figures::of("lifecycle", &measure);
    figures.tell("callers", bench.settings.callers_at_full_load());
    figures.tell("requests_per_order", requests);
    Ok(figures)
}

/// The same with all orders for one product, after orders for many products in the same system.
pub(super) async fn hot_sku(bench: &Bench) -> Result<Figures> {
    let system = bench.system().await?;
    let spread = Trade::open(&system, SPREAD).await?;
    let (spread, _) = lives(bench, &system, &spread).await;
    let hot = Trade::open(&system, 1).await?;
    let (hot, _) = lives(bench, &system, &hot).await;
    let mut figures = Figures::of("hot-sku", &hot);
    figures.tell("callers", bench.settings.callers_at_full_load());
    figures.tell("spread_per_second", digits(spread.recorded.rate()));
    figures.tell("spread_p50_ms", spread.recorded.took.ms(50.0).map(digits));
    figures.tell("spread_p99_ms", spread.recorded.took.ms(99.0).map(digits));
    figures.tell("ratio_to_spread", digits(hot.recorded.rate() / spread.recorded.rate().max(f64::MIN_POSITIVE)));
    figures.errors += spread.recorded.error_count();
    Ok(figures)
}

/// Lives of orders, and how many requests each of them took, with those of the warm-up.
async fn lives(bench: &Bench, system: &System, trade: &Trade) -> (Measure, f64) {
    let closed = Arc::new(AtomicU64::new(0));
    let (asked_before, all, living) = (trade.shop.asked(), closed.clone(), trade.clone());
    let work = move || {
        let (life, all) = (living.live(), all.clone());
        async move {
            let outcome = life.await;
            all.fetch_add(u64::from(outcome.is_ok()), Ordering::Relaxed);
            outcome
        }
    };
    let measure = bench.full_load(system).closed(work).await;
    let closed = closed.load(Ordering::Relaxed).max(1);
    (measure, digits(float(trade.shop.asked() - asked_before) / float(closed)))
}

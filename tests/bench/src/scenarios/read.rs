//! `read`: order pages and lists, on one pool of connections.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use super::Bench;
use super::gate::place_many;
use crate::load::{self, Done, Measure, Recorder};
use crate::report::{Figures, digits};
use crate::shop::{SPREAD, Shop};

/// How many orders there are to be read at first.
const ORDERS: u64 = 500;
/// A page of the list, as a console shows it.
const LIST: &str = "/v1/orders?limit=50";
/// So many times less is written than `place` writes.
const FEWER: f64 = 10.0;

/// Pages while nothing is written, pages while orders are placed, and lists while orders are placed: as fast as they come, by
/// all callers. The figures are those of pages while orders are placed.
pub(super) async fn read(bench: &Bench) -> Result<Figures> {
    let system = bench.system().await?;
    let (shop, load) = (Shop::open(&system, SPREAD).await?, bench.load(&system));
    let (ids, _) = place_many(&load, &shop, ORDERS).await?;
    let ids: Arc<[String]> = ids.into();
    let reader = shop.customer.clone();
    let page = move || {
        let path = format!("/v1/orders/{}", ids[rand::random_range(0..ids.len())]);
        let reader = reader.clone();
        async move { reader.read(&path).await.map(|()| Done::default()) }
    };
    let reader = shop.customer.clone();
    let list = move || {
        let reader = reader.clone();
        async move { reader.read(LIST).await.map(|()| Done::default()) }
    };
    let rate = bench.settings.rate / FEWER;
    let quiet = load.closed(page.clone()).await;
    let pages = writing(&shop, rate, load.closed(page)).await;
    let lists = writing(&shop, rate, load.closed(list)).await;

    let mut figures = Figures::of("read", &pages);
    figures.is_about("page");
    figures.tell("placed_per_second", rate);
    for (name, Measure { recorded, .. }) in [("quiet", &quiet), ("list", &lists)] {
        figures.tell(&format!("{name}_per_second"), digits(recorded.rate()));
        figures.tell(&format!("{name}_p50_ms"), recorded.took.ms(50.0).map(digits));
        figures.tell(&format!("{name}_p99_ms"), recorded.took.ms(99.0).map(digits));
        figures.errors += recorded.error_count();
    }
    Ok(figures)
}

/// The same while orders are placed at a steady rate.
async fn writing<T>(shop: &Shop, rate: f64, work: impl Future<Output = T>) -> T {
    let (over, unheard) = (CancellationToken::new(), Arc::new(Recorder::default()));
    let writing = async {
        while !over.is_cancelled() {
            load::send(rate, Duration::from_secs(1), &unheard, &|| shop.clone().place_only()).await;
        }
    };
    let work = async {
        let done = work.await;
        over.cancel();
        done
    };
    tokio::join!(work, writing).0
}

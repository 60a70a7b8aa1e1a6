//! `soak`: lives of orders for a long time.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::{Bench, Trade};
use crate::load::{Measure, Recorded};
use crate::report::{self, Figures, digits, float};
use crate::shop::SPREAD;
use crate::usage::Used;

const POLL: Duration = Duration::from_millis(100);

/// Lives of orders until the time is over or there are as many as asked for, leaf by leaf of so many orders: what the last leaf
/// has is compared with what the first has, and with what a fresh system has right afterwards, since the machine may be another one
/// than it was when it began.
pub(super) async fn soak(bench: &Bench) -> Result<Figures> {
    let Lived { all, used, leaves } = live(bench, bench.settings.goal()).await?;
    let mut figures = Figures::of("soak", &Measure { recorded: all, used });
    if let ([first, .., last], None) = (leaves.as_slice(), &bench.elsewhere) {
        let fresh = live(bench, Goal::Orders(bench.settings.soak_leaf)).await?;
        figures.errors += fresh.all.error_count();
        for (name, other) in [("first", Some(first)), ("fresh", fresh.leaves.first())] {
            let Some(other) = other else { continue };
            figures.tell(&format!("{name}_per_second"), digits(other.rate));
            figures.tell(&format!("{name}_cpu_ms_per_order"), other.cpu_ms.map(digits));
            figures.tell(&format!("ratio_to_{name}"), digits(last.rate / other.rate));
        }
        figures.tell("last_per_second", digits(last.rate));
        figures.tell("last_cpu_ms_per_order", last.cpu_ms.map(digits));
    }
    figures.curves.growth = leaves.iter().map(|leaf| (float(leaf.orders), leaf.rate)).collect();
    figures.tell("orders_per_leaf", bench.settings.soak_leaf);
    figures.tell("leaves", leaves.into_iter().map(|leaf| leaf.told).collect::<Vec<_>>());
    Ok(figures)
}

/// What became of a fresh system.
struct Lived {
    all: Recorded,
    used: Used,
    leaves: Vec<Leaf>,
}

struct Leaf {
    /// How many there were by then.
    orders: u64,
    /// How many a second.
    rate: f64,
    /// Processor time for each; absent where nobody can tell.
    cpu_ms: Option<f64>,
    told: Value,
}

async fn live(bench: &Bench, goal: Goal) -> Result<Lived> {
    let system = bench.system().await?;
    let (trade, load) = (Trade::open(&system, SPREAD).await?, bench.full_load(&system));
    let closed = load.begin(move || trade.live());
    load.progress.pass("warm-up", load.warm_up).await;
    load.progress.count("measuring", usize::try_from(goal.length())?);
    let using = load.meter.clone().begin().await;
    closed.recorder.begin();
    let (began, mut before) = (Instant::now(), load.meter.read().await);
    let (mut all, mut leaves) = (Recorded::default(), Vec::new());
    loop {
        tokio::time::sleep(POLL).await;
        let orders = all.count() + closed.recorder.count();
        load.progress.reach(goal.reached(began.elapsed(), orders));
        if closed.recorder.count() >= bench.settings.soak_leaf {
            let leaf = closed.recorder.turn();
            let reading = load.meter.read().await;
            let cpu = reading.cpu.zip(before.cpu).map(|(now, then)| now.saturating_sub(then));
            let cpu_ms = cpu.map(|cpu| cpu.as_secs_f64() * 1000.0 / float(leaf.count().max(1)));
            let orders = all.count() + leaf.count();
            let told = report::leaf(orders, &leaf, cpu_ms, &reading);
            leaves.push(Leaf { orders, rate: leaf.rate(), cpu_ms, told });
            all.follow(leaf);
            before = reading;
        }
        if goal.is_reached(began.elapsed(), orders) {
            break;
        }
    }
    all.follow(closed.recorder.end());
    let used = using.end().await;
    closed.stop().await;
    Ok(Lived { all, used, leaves })
}

/// When it is enough.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    After(Duration),
    Orders(u64),
}

impl Goal {
    /// How far it is, in seconds or orders.
    const fn length(self) -> u64 {
        match self {
            Self::After(time) => time.as_secs(),
            Self::Orders(orders) => orders,
        }
    }

    fn reached(self, time: Duration, orders: u64) -> u64 {
        match self {
            Self::After(_) => time.as_secs(),
            Self::Orders(_) => orders,
        }
    }

    fn is_reached(self, time: Duration, orders: u64) -> bool {
        match self {
            Self::After(enough) => time >= enough,
            Self::Orders(enough) => orders >= enough,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_a_time_or_a_number_of_orders() {
        let minute = Duration::from_mins(1);
        assert!(Goal::After(minute).is_reached(minute, 0) && !Goal::After(minute).is_reached(Duration::ZERO, 99));
        assert!(Goal::Orders(9).is_reached(Duration::ZERO, 9) && !Goal::Orders(9).is_reached(minute, 8));
    }
}

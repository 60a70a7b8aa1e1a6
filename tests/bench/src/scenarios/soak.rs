//! `soak`: lives of orders for a long time.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Bench, Trade};
use crate::load::{Measure, Recorded};
use crate::report::{self, Figures, digits, float};
use crate::shop::SPREAD;

const POLL: Duration = Duration::from_millis(100);

/// Lives of orders until the time is over or there are as many as asked for, leaf by leaf of so many orders: what the last leaf
/// has is compared with what the first has.
pub(super) async fn soak(bench: &Bench) -> Result<Figures> {
    let system = bench.system().await?;
    let (trade, load) = (Trade::open(&system, SPREAD).await?, bench.full_load(&system));
    let goal = bench.settings.goal();
    let closed = load.begin(move || trade.live());
    load.progress.pass("warm-up", load.warm_up).await;
    load.progress.count("measuring", usize::try_from(goal.length())?);
    let using = load.meter.clone().begin().await;
    closed.recorder.begin();
    let began = Instant::now();
    let (mut all, mut leaves, mut growth) = (Recorded::default(), Vec::new(), Vec::new());
    loop {
        tokio::time::sleep(POLL).await;
        let orders = all.count() + closed.recorder.count();
        load.progress.reach(goal.reached(began.elapsed(), orders));
        if closed.recorder.count() >= bench.settings.soak_leaf {
            let leaf = closed.recorder.turn();
            let reading = load.meter.read().await;
            leaves.push(report::leaf(all.count() + leaf.count(), &leaf, &reading));
            all.follow(leaf.clone());
            growth.push((float(all.count()), leaf.rate()));
        }
        if goal.is_reached(began.elapsed(), orders) {
            break;
        }
    }
    all.follow(closed.recorder.end());
    let used = using.end().await;
    closed.stop().await;

    let mut figures = Figures::of("soak", &Measure { recorded: all, used });
    if let (Some((_, first)), Some((_, last))) = (growth.first(), growth.last())
        && growth.len() > 1
    {
        figures.tell("first_per_second", digits(*first));
        figures.tell("last_per_second", digits(*last));
        figures.tell("ratio_to_first", digits(last / first));
    }
    figures.curves.growth = growth;
    figures.tell("orders_per_leaf", bench.settings.soak_leaf);
    figures.tell("leaves", leaves);
    Ok(figures)
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

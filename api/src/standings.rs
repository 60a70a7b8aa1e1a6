//! How the orders stand, as gauges: from the read model alone, so that every instance tells the same.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use metrics::{describe_gauge, gauge};
use tokio::sync::Mutex;
use tokio::time::Instant;
use workflows::order::{Dashboard, DashboardQuery, OrderBook};
use workflows::{Status, Step};

use crate::ask::ask_within;
use crate::dashboard::stuck_since_before;
use crate::metrics::{Metrics, number};

/// However often somebody looks, the book is asked no more often.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// Who looks has other things to see, too.
const PATIENCE: Duration = Duration::from_secs(2);
/// Stand for lifecycles of merchants' own, and for what fails at no step.
const OWN: &str = "own";
const NO_STEP: &str = "none";

pub(crate) fn describe() {
    describe_gauge!("jumun_orders", "Orders, by lifecycle and status.");
    describe_gauge!("jumun_orders_stuck", "Orders that are stuck, by the step that fails.");
    describe_gauge!(
        "jumun_orders_oldest_retry_age_seconds",
        "For how long the step has failed that has failed longest."
    );
    describe_gauge!("jumun_read_model_up", "Whether the read model answered when it was asked last: 1 or 0.");
}

/// The gauges.
pub(crate) struct Standings {
    orders: Arc<dyn OrderBook>,
    stuck_after: Duration,
    shown: Mutex<Shown>,
}

/// What was told last. Where orders were once and are no more, there are none: that is told, too.
#[derive(Default)]
struct Shown {
    at: Option<Instant>,
    standings: BTreeSet<(String, Status)>,
    stuck: BTreeSet<&'static str>,
}

impl Standings {
    pub(crate) fn new(orders: Arc<dyn OrderBook>, stuck_after: Duration) -> Self {
        Self { orders, stuck_after, shown: Mutex::default() }
    }

    /// Asks how the orders stand, unless that was asked a moment ago.
    pub(crate) async fn refresh(&self, metrics: &Metrics) {
        // Those who look at the same time are told the same.
        let mut shown = self.shown.lock().await;
        if shown.at.is_some_and(|at| at.elapsed() < FRESH_FOR) {
            return;
        }
        let now = Utc::now();
        let stuck_since_before = stuck_since_before(now, self.stuck_after);
        let query = DashboardQuery { merchant_id: None, since: now, stuck_since_before };
        let dashboard = ask_within(PATIENCE, "orders.dashboard", self.orders.dashboard(&query)).await.ok();
        shown.at = Some(Instant::now());
        metrics.within(|| {
            gauge!("jumun_read_model_up").set(f64::from(u8::from(dashboard.is_some())));
            if let Some(dashboard) = dashboard {
                shown.tell(dashboard, now);
            }
        });
    }
}

impl Shown {
    fn tell(&mut self, dashboard: Dashboard, now: DateTime<Utc>) {
        for (lifecycle, status) in &self.standings {
            gauge!("jumun_orders", "lifecycle" => lifecycle.clone(), "status" => status.as_str()).set(0.0);
        }
        for standing in dashboard.standings {
            let lifecycle = standing.lifecycle.unwrap_or_else(|| OWN.to_owned());
            let orders = gauge!("jumun_orders", "lifecycle" => lifecycle.clone(), "status" => standing.status.as_str());
            orders.set(number(usize::try_from(standing.orders).unwrap_or_default()));
            self.standings.insert((lifecycle, standing.status));
        }
        // So that there is one to be seen while nothing is stuck.
        self.stuck.insert(NO_STEP);
        for step in &self.stuck {
            gauge!("jumun_orders_stuck", "step" => *step).set(0.0);
        }
        for at in dashboard.stuck_at {
            let step = at.step.map_or(NO_STEP, Step::name);
            gauge!("jumun_orders_stuck", "step" => step).set(number(usize::try_from(at.orders).unwrap_or_default()));
            self.stuck.insert(step);
        }
        let failing_for = dashboard.failing_since.map(|since| (now - since).to_std().unwrap_or_default());
        gauge!("jumun_orders_oldest_retry_age_seconds").set(failing_for.unwrap_or_default().as_secs_f64());
    }
}

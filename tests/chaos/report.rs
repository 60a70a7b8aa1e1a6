//! What a run tells: to people as text, to programs as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;

use crate::client::Sent;
use crate::life::Duels;
use crate::plan::{Plan, Size};
use crate::quiet::{Ends, Violation};

/// How many violations are shown whole. The JSON has them all.
const SHOWN: usize = 10;
const WIDTH: usize = 160;

#[derive(Serialize)]
pub struct Report {
    pub seed: u64,
    /// `one engine` or `three engine nodes`.
    pub system: &'static str,
    pub seconds: u64,
    /// Orders that the server has in the end, by shop and end. One that was turned away for a moment counts, too.
    pub orders: Ends,
    pub faults: usize,
    /// By what broke.
    pub recoveries: BTreeMap<String, Recovery>,
    pub requests: usize,
    /// Sent again, after no answer or 503.
    pub repeated: usize,
    /// Copies that were sent at the same time.
    pub duplicates: usize,
    /// Commands that were sent before their time.
    pub reordered: usize,
    pub duels: Vec<DuelScore>,
    pub double_cancels: usize,
    pub violations: Vec<Violation>,
}

/// How often something broke, and how long it took until it did its work again.
#[derive(Serialize)]
pub struct Recovery {
    pub faults: usize,
    pub p50_ms: u64,
    pub max_ms: u64,
}

#[derive(Serialize)]
pub struct DuelScore {
    pub duel: String,
    /// How often the command won, and how often what was against it.
    pub wins: [usize; 2],
}

impl Report {
    pub fn new(
        size: &Size,
        plan: &Plan,
        took: Duration,
        (orders, violations): (Ends, Vec<Violation>),
        recoveries: BTreeMap<String, Vec<Duration>>,
        sent: &Sent,
        duels: &Duels,
    ) -> Self {
        let recovery = |(what, mut times): (String, Vec<Duration>)| {
            times.sort();
            let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            let (middle, last) = (times[(times.len() - 1) / 2], times[times.len() - 1]);
            (what, Recovery { faults: times.len(), p50_ms: ms(middle), max_ms: ms(last) })
        };
        let duels_held = duels.wins().into_iter().map(|(duel, wins)| DuelScore { duel: duel.name(), wins });
        Self {
            seed: size.seed,
            system: if size.cluster { "three engine nodes" } else { "one engine" },
            seconds: took.as_secs(),
            orders,
            faults: plan.faults.iter().map(|fault| 1 + usize::from(fault.along.is_some())).sum(),
            recoveries: recoveries.into_iter().map(recovery).collect(),
            requests: sent.requests.load(Ordering::Relaxed),
            repeated: sent.repeated.load(Ordering::Relaxed),
            duplicates: sent.duplicates.load(Ordering::Relaxed),
            reordered: sent.reordered.load(Ordering::Relaxed),
            duels: duels_held.collect(),
            double_cancels: duels.double_cancels(),
            violations,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: usize = self.orders.values().flat_map(BTreeMap::values).sum();
        writeln!(f, "seed {}, {}, {} s", self.seed, self.system, self.seconds)?;
        writeln!(f, "\n{total} orders")?;
        for (shop, ends) in &self.orders {
            let ends: Vec<_> = ends.iter().map(|(end, orders)| format!("{orders} {end}")).collect();
            writeln!(f, "  {shop:<14} {}", ends.join(", "))?;
        }
        let Self { faults, requests, repeated, duplicates, reordered, double_cancels, .. } = self;
        writeln!(
            f,
            "\n{requests} requests: {repeated} sent again unanswered, {duplicates} copies, {reordered} too early"
        )?;
        writeln!(
            f,
            "\n{faults} faults, and how long until what broke did its work again (half of the times, longest)"
        )?;
        for (what, Recovery { faults, p50_ms, max_ms }) in &self.recoveries {
            writeln!(f, "  {faults:>3} × {what:<38} {p50_ms:>6} ms {max_ms:>6} ms")?;
        }
        if !self.duels.is_empty() {
            let held: usize = self.duels.iter().flat_map(|score| score.wins).sum();
            writeln!(f, "\n{held} opposed pairs, and how often each side won")?;
            for DuelScore { duel, wins: [command, against] } in &self.duels {
                writeln!(f, "  {command:>3} : {against:<3} {duel}")?;
            }
        }
        if *double_cancels > 0 {
            writeln!(f, "\n{double_cancels} cancels, each twice through the API and once in the engine")?;
        }
        writeln!(f, "\n{} violations", self.violations.len())?;
        for Violation { of, what, picture } in self.violations.iter().take(SHOWN) {
            writeln!(f, "  {of}: {what}")?;
            for line in picture.iter().flat_map(|picture| picture.lines()) {
                writeln!(f, "      {}", line.chars().take(WIDTH).collect::<String>())?;
            }
        }
        Ok(())
    }
}

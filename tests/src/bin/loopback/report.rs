//! What is told in the end: a table for people, JSON for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::audit::Audit;
use crate::load::{Placed, Request, What};

/// What holds, or does not.
#[derive(Clone, Debug, Serialize)]
pub struct Claim {
    pub what: String,
    pub holds: bool,
}

/// What a scenario came to.
#[derive(Debug, Default, Serialize)]
pub struct Outcome {
    pub scenario: &'static str,
    pub seconds: f64,
    pub requests: usize,
    /// Neither 200, 201 nor 202, or without an answer. None of them was sent again.
    pub failed: usize,
    /// How they failed, and how many.
    pub failures: BTreeMap<String, usize>,
    /// Acknowledged with 201 or 202.
    pub orders: usize,
    /// Those of them that were acknowledged before it was decided whether they stand.
    pub undecided: usize,
    /// What is wrong with acknowledged orders.
    pub lost: Vec<String>,
    /// Orders whose placement had failed, and which went their way all the same.
    pub untold: usize,
    pub place_ms: Quantiles,
    pub read_ms: Quantiles,
    /// How long after the load's end the last order was with the courier.
    pub settled_after_s: f64,
    /// The share of the processors' time that was used, of a hundred.
    pub busy_percent: f64,
    pub notes: Vec<String>,
    pub claims: Vec<Claim>,
}

/// In milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Quantiles {
    pub half: f64,
    pub most: f64,
    pub longest: f64,
}

impl Outcome {
    pub fn of(scenario: &'static str, requests: &[Request], acknowledged: &[Placed], audit: Audit) -> Self {
        let mut failures = BTreeMap::new();
        for request in requests.iter().filter(|request| request.failed()) {
            let what = if request.what == What::Place { "placing" } else { "reading" };
            let how = match (&request.answer, &request.problem) {
                (Ok(status), Some(problem)) => {
                    format!("{what}: {status} {}", problem.chars().take(120).collect::<String>())
                }
                (Ok(status), None) => format!("{what}: {status}"),
                (Err(why), _) => format!("{what}: {why}"),
            };
            *failures.entry(how).or_default() += 1;
        }
        let end = requests.iter().map(|request| request.at + request.took).max().unwrap_or_default();
        Self {
            scenario,
            seconds: end.as_secs_f64(),
            requests: requests.len(),
            failed: requests.iter().filter(|request| request.failed()).count(),
            failures,
            orders: acknowledged.len(),
            undecided: acknowledged.iter().filter(|placed| !placed.stands).count(),
            lost: audit.lost,
            untold: audit.untold,
            place_ms: Quantiles::of(requests, What::Place),
            read_ms: Quantiles::of(requests, What::Read),
            settled_after_s: audit.settled.as_secs_f64(),
            ..Self::default()
        }
    }

    pub fn claim(&mut self, what: impl Into<String>, holds: bool) {
        self.claims.push(Claim { what: what.into(), holds });
    }

    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub fn holds(&self) -> bool {
        self.claims.iter().all(|claim| claim.holds)
    }
}

impl Quantiles {
    fn of(requests: &[Request], what: What) -> Self {
        let mut times: Vec<_> =
            requests.iter().filter(|request| request.what == what).map(|request| request.took).collect();
        times.sort_unstable();
        let [half, most, longest] = [0.5, 0.99, 1.0].map(|share| ms(quantile(&times, share)));
        Self { half, most, longest }
    }
}

/// The time that so large a share of them took at most.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "few")]
    let index = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

/// What all scenarios came to.
#[derive(Debug, Serialize)]
pub struct Report {
    pub requests_per_second: f64,
    /// Of a hundred requests.
    pub placements: u32,
    pub program: PathBuf,
    pub outcomes: Vec<Outcome>,
}

impl Report {
    pub fn holds(&self) -> bool {
        self.outcomes.iter().all(Outcome::holds)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} requests a second, {} of a hundred of them place an order; the program is {}.\n",
            self.requests_per_second,
            self.placements,
            self.program.display()
        )?;
        writeln!(
            f,
            "| scenario | s | requests | failed | orders | lost | placing: half, 99 of 100 within | reading | busy |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
        )?;
        for outcome in &self.outcomes {
            let Outcome { scenario, seconds, requests, failed, orders, lost, place_ms, read_ms, busy_percent, .. } =
                outcome;
            writeln!(
                f,
                "| {scenario} | {seconds:.0} | {requests} | {failed} | {orders} | {} | {:.0}, {:.0} ms | {:.0}, {:.0} ms | \
                 {busy_percent:.0} % |",
                lost.len(),
                place_ms.half,
                place_ms.most,
                read_ms.half,
                read_ms.most,
            )?;
        }
        for outcome in &self.outcomes {
            writeln!(f, "\n{}:", outcome.scenario)?;
            outcome.claims.iter().try_for_each(|Claim { what, holds }| {
                writeln!(f, "  {} {what}", if *holds { "ok   " } else { "WRONG" })
            })?;
            outcome.notes.iter().try_for_each(|note| writeln!(f, "        {note}"))?;
            outcome.failures.iter().try_for_each(|(how, times)| writeln!(f, "        {times} x {how}"))?;
            outcome.lost.iter().take(10).try_for_each(|lost| writeln!(f, "        {lost}"))?;
        }
        Ok(())
    }
}

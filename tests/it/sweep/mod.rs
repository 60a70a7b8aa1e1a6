//! The sweep: every lifecycle, every step that it takes, forward and back, and everything that can go wrong there. After
//! each case the order is final and nothing is left behind. The cases follow from the lifecycles and the rules
//! (`cases.rs`), so that a new step takes part without anything new here. The idea is oxidecomputer's, whose sagas are
//! swept the same way.
//!
//! Usually each step meets each trouble once, spread over the lifecycles and courses that take it; `JUMUN_TEST_ROUNDS=2`
//! plays it in every one of them. `JUMUN_TEST_SWEEP=street12` plays all cases in whose names that stands, and no others.

mod cases;
mod play;

use std::collections::BTreeMap;
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::{FutureExt, StreamExt};
use tests::{Books, Faults, Jumun, Receiver, Setup};
use workflows::MerchantId;

use cases::{Case, Trouble};
use play::{Played, Stage};

/// How many orders live at once.
const AT_ONCE: usize = 24;
/// How many orders one kill meets.
const AT_ONE_KILL: usize = 160;
/// The engine puts every workflow aside at each of its steps, and has it replayed: what is not deterministic shows.
const SUSPENDING: &str = "[worker.invoker]\ninactivity-timeout = \"0s\"\n";

fn cases_to_play() -> Vec<Case> {
    let mut cases: Vec<_> = cases::lifecycles().iter().flat_map(cases::cases).collect();
    let rounds = std::env::var("JUMUN_TEST_ROUNDS").map(|rounds| rounds.parse::<usize>().expect("a number"));
    match (std::env::var("JUMUN_TEST_SWEEP"), rounds) {
        (Ok(wanted), _) => {
            cases.retain(|case| case.to_string().contains(&wanted));
            cases
        }
        (Err(_), Ok(2..)) => cases,
        _ => cases::spread(cases),
    }
}

fn is_kill(case: &Case) -> bool {
    matches!(case.trouble, Trouble::Kill(..))
}

/// A merchant for each case, named after where it stands.
fn named(cases: Vec<Case>) -> Vec<(MerchantId, Case)> {
    let name = |number| format!("swept-{number}").parse().expect("a merchant id");
    cases.into_iter().enumerate().map(|(number, case)| (name(number), case)).collect()
}

/// How a sweep went.
struct Report {
    what: &'static str,
    start: Instant,
    by_lifecycle: BTreeMap<String, usize>,
    failures: Vec<String>,
}

impl Report {
    fn of(what: &'static str, cases: &[(MerchantId, Case)]) -> Self {
        let mut by_lifecycle = BTreeMap::new();
        for (_, case) in cases {
            *by_lifecycle.entry(case.of.clone()).or_default() += 1;
        }
        Self { what, start: Instant::now(), by_lifecycle, failures: Vec::new() }
    }

    fn failed(&mut self, case: &Case, why: &str) {
        self.failures.push(format!("{case}: {why}"));
    }

    /// Prints the count, and fails where anything has failed.
    fn close(self) {
        let count: usize = self.by_lifecycle.values().sum();
        let by: Vec<_> = self.by_lifecycle.iter().map(|(lifecycle, count)| format!("{lifecycle} {count}")).collect();
        let (what, seconds, failed) = (self.what, self.start.elapsed().as_secs(), self.failures.len());
        // Past the test harness, which shows nothing of a test that passes.
        let line = format!("sweep, {what}: {count} cases in {seconds} s, {failed} failures ({})\n", by.join(", "));
        let _ = std::io::stderr().write_all(line.as_bytes());
        assert!(self.failures.is_empty(), "{failed} of {count} cases failed:\n{}", self.failures.join("\n"));
    }
}

/// What comes of it, or the text of its panic: one case that fails is in no other's way.
async fn alone<T>(case: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(case).catch_unwind().await.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_else(|| "it panicked".to_owned())
    })
}

/// Plays all cases that kill nothing in one system, whose store and worker are in this process.
async fn sweep(what: &'static str, setup: Setup, cases: Vec<Case>) {
    let cases = named(cases.into_iter().filter(|case| !is_kill(case)).collect());
    let mut report = Report::of(what, &cases);
    let faults = Arc::new(Faults::default());
    let (jumun, books) = Jumun::faulted_on(setup, &faults).await;
    let receiver = Receiver::start().await;
    let stage = Stage { jumun: &jumun, faults: &faults, receiver: &receiver };
    let play = async |(merchant_id, case): &(MerchantId, Case)| {
        let order_id = alone(Box::pin(stage.play(case, merchant_id))).await?;
        Ok::<_, String>(Played { case: case.clone(), merchant_id: merchant_id.clone(), order_id })
    };
    let outcomes: Vec<_> = futures::stream::iter(&cases).map(play).buffered(AT_ONCE).collect().await;
    for row in play::rest(&jumun).await {
        report.failures.push(format!("the engine is still at {row}"));
    }
    for ((_, case), outcome) in cases.iter().zip(&outcomes) {
        match outcome {
            Ok(played) => {
                let mut findings = play::findings(played, &books, &faults, &receiver).await;
                findings.extend(play::strayed(played, &faults.called(&played.merchant_id)));
                for finding in &findings {
                    report.failed(case, finding);
                }
            }
            Err(panic) => report.failed(case, panic),
        }
    }
    report.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_nothing_is_left_behind() {
    Box::pin(sweep("as usual", Setup::new(), cases_to_play())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspended_and_replayed_at_every_step_nothing_is_left_behind() {
    Box::pin(sweep("suspending at every step", Setup::new().tuned(SUSPENDING), cases_to_play())).await;
}

/// `kill -9` of jumun with many orders in the middle of as many steps: before, inside and after each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_step_nothing_is_left_behind() {
    let cases = named(cases_to_play().into_iter().filter(is_kill).collect());
    let mut report = Report::of("killed", &cases);
    let (setup, faults, receiver) = (Setup::new(), Faults::default(), Receiver::start().await);
    let (mut alive, mut outcomes) = (Vec::<Played>::new(), Vec::<Played>::new());
    for batch in cases.chunks(AT_ONE_KILL).map(Some).chain([None]) {
        let scripts: Vec<_> = batch.into_iter().flatten().map(|(id, case)| (id.clone(), case.script())).collect();
        faults.write_down(&scripts);
        let jumun = setup.start_faulted(&faults).await;
        let stage = Stage { jumun: &jumun, faults: &faults, receiver: &receiver };
        // Those who were killed go on, while the next ones come to where they are killed.
        let going_on = futures::stream::iter(std::mem::take(&mut alive)).map(async |played| {
            let outcome = alone(stage.go_on(&played)).await;
            (played, outcome)
        });
        let coming = futures::stream::iter(batch.into_iter().flatten())
            .map(async |(merchant_id, case)| (case, Box::pin(alone(stage.play_until_killed(case, merchant_id))).await));
        let (gone_on, come) = futures::join!(
            going_on.buffer_unordered(AT_ONCE).collect::<Vec<_>>(),
            coming.buffer_unordered(AT_ONCE).collect::<Vec<_>>()
        );
        for (played, outcome) in gone_on {
            match outcome {
                Ok(()) => outcomes.push(played),
                Err(why) => report.failed(&played.case, &why),
            }
        }
        for (case, outcome) in come {
            match outcome {
                Ok(played) => alive.push(played),
                Err(why) => report.failed(case, &why),
            }
        }
        if batch.is_some() {
            jumun.kill();
        } else {
            for row in play::rest(&jumun).await {
                report.failures.push(format!("the engine is still at {row}"));
            }
            assert_eq!(jumun.stop(), Some(0));
        }
    }
    let books = Books::of(setup.store().await).await;
    for played in &outcomes {
        for finding in play::findings(played, &books, &faults, &receiver).await {
            report.failed(&played.case, &finding);
        }
    }
    report.close();
}

//! Load, and what is recorded of it. In an open loop a request is sent when it is due, whatever became of those before, and its
//! time counts from then: a system that stands still for a second is charged for everything that was due in that second. In a
//! closed loop so many callers each wait for their answer before they go on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::Failed;
use crate::progress::Progress;
use crate::usage::{Meter, Used};

/// Before a caller goes on that got no good answer, as callers are asked to.
const PAUSE: Duration = Duration::from_millis(100);
/// Three digits of every time are right.
const DIGITS: u8 = 3;

/// What became of something that was done.
#[derive(Default)]
pub struct Done {
    /// How long each part of it took.
    pub parts: Vec<(&'static str, Duration)>,
    /// Whether it was left open what becomes of it.
    pub undecided: bool,
    /// What went wrong on the way, before it went well.
    pub failures: Vec<Failed>,
}

pub type Outcome = Result<Done, Failed>;

/// Everything that was recorded in a stretch of time.
#[derive(Clone)]
pub struct Recorded {
    pub span: Duration,
    /// Microseconds.
    pub took: Times,
    pub parts: BTreeMap<&'static str, Times>,
    /// How much was done in each second.
    pub per_second: Vec<u32>,
    pub errors: BTreeMap<Failed, u64>,
    pub undecided: u64,
}

/// How long things took.
#[derive(Clone)]
pub struct Times(Histogram<u64>);

/// Takes down what is done, from when it is told to begin until it is told to end.
#[derive(Default)]
pub struct Recorder(Mutex<Option<(Instant, Recorded)>>);

/// What was recorded, and what the system took for it.
pub struct Measure {
    pub recorded: Recorded,
    pub used: Used,
}

/// How a system is loaded and watched.
#[derive(Clone)]
pub struct Load {
    pub callers: usize,
    /// What a closed loop does first is not counted: for so long connections are made, and memory that stays is taken.
    pub warm_up: Duration,
    pub span: Duration,
    pub meter: Meter,
    pub progress: Progress,
}

/// A closed loop that goes on until it is stopped.
pub struct Closed {
    pub recorder: Arc<Recorder>,
    callers: JoinSet<()>,
    stop: CancellationToken,
}

impl Load {
    /// `work` again and again by all callers, recorded after the warm-up and for as long as the load lasts.
    pub async fn closed<F>(&self, work: impl Fn() -> F + Clone + Send + 'static) -> Measure
    where
        F: Future<Output = Outcome> + Send,
    {
        let closed = self.begin(work);
        self.progress.pass("warm-up", self.warm_up).await;
        let using = self.meter.clone().begin().await;
        closed.recorder.begin();
        self.progress.pass("measuring", self.span).await;
        let recorded = closed.recorder.end();
        let used = using.end().await;
        closed.stop().await;
        Measure { recorded, used }
    }

    /// The same without an end, and recorded when its recorder is told so.
    pub fn begin<F>(&self, work: impl Fn() -> F + Clone + Send + 'static) -> Closed
    where
        F: Future<Output = Outcome> + Send,
    {
        let (recorder, stop) = (Arc::new(Recorder::default()), CancellationToken::new());
        let mut callers = JoinSet::new();
        for _ in 0..self.callers {
            let (recorder, stop, work) = (recorder.clone(), stop.clone(), work.clone());
            callers.spawn(async move {
                while !stop.is_cancelled() {
                    recorder.record(work()).await;
                }
            });
        }
        Closed { recorder, callers, stop }
    }

    /// `work` once for each item, by all callers, and recorded from the first to the last.
    pub async fn each<T, F>(
        &self,
        message: &'static str,
        items: impl ExactSizeIterator<Item = T> + Send + 'static,
        work: impl Fn(T) -> F + Clone + Send + 'static,
    ) -> Measure
    where
        T: Send,
        F: Future<Output = Outcome> + Send,
    {
        self.progress.count(message, items.len());
        let (recorder, items) = (Arc::new(Recorder::default()), Arc::new(Mutex::new(items)));
        let using = self.meter.clone().begin().await;
        recorder.begin();
        let mut callers = JoinSet::new();
        for _ in 0..self.callers {
            let (recorder, items, work, progress) =
                (recorder.clone(), items.clone(), work.clone(), self.progress.clone());
            callers.spawn(async move {
                while let Some(item) = next(&items) {
                    recorder.record(work(item)).await;
                    progress.one_more();
                }
            });
        }
        callers.join_all().await;
        let all = recorder.end();
        Measure { recorded: all, used: using.end().await }
    }

    /// `work` so many times a second, first for the warm-up and then recorded until the last is answered.
    pub async fn open<F>(&self, rate: f64, work: impl Fn() -> F) -> Measure
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let unheard = Arc::new(Recorder::default());
        tokio::join!(self.progress.pass("warm-up", self.warm_up), send(rate, self.warm_up, &unheard, &work));
        let recorder = Arc::new(Recorder::default());
        let using = self.meter.clone().begin().await;
        recorder.begin();
        tokio::join!(self.progress.pass("measuring", self.span), send(rate, self.span, &recorder, &work));
        let all = recorder.end();
        Measure { recorded: all, used: using.end().await }
    }
}

/// The next item, if there is one.
fn next<T>(items: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    items.lock().expect("no panic").next()
}

/// Sends when it is time, and waits for the last answer in the end.
pub async fn send<F>(rate: f64, span: Duration, recorder: &Arc<Recorder>, work: &impl Fn() -> F)
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let (began, pause) = (Instant::now(), Duration::from_secs_f64(1.0 / rate));
    let mut sent = JoinSet::new();
    for n in 0_u32.. {
        let due = began + pause * n;
        if due >= began + span {
            break;
        }
        tokio::time::sleep_until(due.into()).await;
        let (recorder, working) = (recorder.clone(), work());
        sent.spawn(async move {
            let outcome = working.await;
            recorder.add(due.elapsed(), outcome);
        });
    }
    sent.join_all().await;
}

impl Closed {
    /// Lets every caller come to its end.
    pub async fn stop(self) {
        self.stop.cancel();
        self.callers.join_all().await;
    }
}

impl Recorder {
    pub fn begin(&self) {
        *self.0.lock().expect("no panic") = Some((Instant::now(), Recorded::default()));
    }

    /// What there is so far; from now on nothing is taken down.
    pub fn end(&self) -> Recorded {
        let taken = self.0.lock().expect("no panic").take();
        taken.map_or_else(Recorded::default, |(began, recorded)| Recorded { span: began.elapsed(), ..recorded })
    }

    /// What there is so far; from now on a new page is written.
    pub fn turn(&self) -> Recorded {
        let now = Instant::now();
        let taken = self.0.lock().expect("no panic").replace((now, Recorded::default()));
        taken.map_or_else(Recorded::default, |(began, recorded)| Recorded { span: now - began, ..recorded })
    }

    /// How much was done on this page.
    pub fn count(&self) -> u64 {
        self.0.lock().expect("no panic").as_ref().map_or(0, |(_, recorded)| recorded.count())
    }

    async fn record(&self, work: impl Future<Output = Outcome>) {
        let began = Instant::now();
        let outcome = work.await;
        let failed = outcome.is_err();
        self.add(began.elapsed(), outcome);
        if failed {
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn add(&self, took: Duration, outcome: Outcome) {
        if let Some((began, recorded)) = &mut *self.0.lock().expect("no panic") {
            recorded.add(began.elapsed(), took, outcome);
        }
    }
}

impl Default for Recorded {
    fn default() -> Self {
        Self {
            span: Duration::ZERO,
            took: Times::default(),
            parts: BTreeMap::new(),
            per_second: Vec::new(),
            errors: BTreeMap::new(),
            undecided: 0,
        }
    }
}

impl Recorded {
    fn add(&mut self, at: Duration, took: Duration, outcome: Outcome) {
        let done = match outcome {
            Ok(done) => done,
            Err(failed) => {
                *self.errors.entry(failed).or_default() += 1;
                return;
            }
        };
        self.took.add(took);
        self.undecided += u64::from(done.undecided);
        for failed in done.failures {
            *self.errors.entry(failed).or_default() += 1;
        }
        for (part, took) in done.parts {
            self.parts.entry(part).or_default().add(took);
        }
        let second = usize::try_from(at.as_secs()).unwrap_or(usize::MAX);
        if self.per_second.len() <= second {
            self.per_second.resize(second + 1, 0);
        }
        self.per_second[second] += 1;
    }

    /// What follows right after this.
    pub fn follow(&mut self, later: Self) {
        let whole = usize::try_from(self.span.as_secs()).unwrap_or(usize::MAX);
        self.per_second.resize(whole.max(self.per_second.len()), 0);
        self.per_second.extend(later.per_second);
        self.span += later.span;
        self.took.follow(&later.took);
        for (part, took) in later.parts {
            self.parts.entry(part).or_default().follow(&took);
        }
        for (failed, count) in later.errors {
            *self.errors.entry(failed).or_default() += count;
        }
        self.undecided += later.undecided;
    }

    pub fn count(&self) -> u64 {
        self.took.0.len()
    }

    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// How much was done in a second.
    pub fn rate(&self) -> f64 {
        if self.span.is_zero() { 0.0 } else { crate::report::float(self.count()) / self.span.as_secs_f64() }
    }
}

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new(DIGITS).expect("three digits are possible"))
    }
}

impl Times {
    fn add(&mut self, took: Duration) {
        self.0.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)).expect("it grows as needed");
    }

    fn follow(&mut self, later: &Self) {
        self.0.add(&later.0).expect("it grows as needed");
    }

    /// The time that so many of a hundred took at most, in milliseconds; none if nothing was done.
    pub fn ms(&self, percentile: f64) -> Option<f64> {
        let micros = crate::report::float(self.0.value_at_percentile(percentile));
        (!self.0.is_empty()).then_some(micros / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn recorded(took: impl IntoIterator<Item = u64>) -> Recorded {
        let mut recorded = Recorded { span: ms(2_000), ..Recorded::default() };
        for (n, took) in took.into_iter().enumerate() {
            recorded.add(ms(20 * n as u64), ms(took), Ok(Done::default()));
        }
        recorded
    }

    #[test]
    fn percentiles_are_right_to_three_digits() {
        let recorded = recorded(1..=100);
        for (percentile, expected) in [(50.0, 50.0), (99.0, 99.0), (100.0, 100.0)] {
            let told = recorded.took.ms(percentile).expect("something was done");
            assert!((told - expected).abs() < 0.1, "{percentile}: {told}");
        }
        assert_eq!(Times::default().ms(50.0), None);
        assert_eq!(recorded.per_second, [50, 50]);
        assert!((recorded.rate() - 50.0).abs() < 0.01);
    }

    #[test]
    fn what_follows_is_counted_with_what_was() {
        let mut first = recorded([1, 2]);
        let mut second = recorded([3]);
        second.add(ms(0), ms(1), Err(Failed::Status(503)));
        first.follow(second);
        assert_eq!((first.count(), first.error_count(), first.span), (3, 1, ms(4_000)));
        assert_eq!(first.per_second, [2, 0, 1]);
    }

    #[tokio::test]
    async fn an_open_loop_waits_for_nobody_and_counts_from_when_it_was_due() {
        let recorder = Arc::new(Recorder::default());
        recorder.begin();
        let slow = || async {
            tokio::time::sleep(ms(200)).await;
            Ok(Done::default())
        };
        let began = Instant::now();
        send(50.0, ms(400), &recorder, &slow).await;
        assert!(began.elapsed() >= ms(500));
        let all = recorder.end();
        assert_eq!(all.count(), 20);
        assert!(all.took.ms(0.0).expect("something was done") >= 199.0);
    }
}

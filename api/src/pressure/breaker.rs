//! The circuit breaker on card payments. It hears how the payments of placements went; where too many of the last ones
//! failed or were slow it opens, and card orders are turned away without being tried. After a while it lets a few through
//! (half open), and what becomes of them closes or opens it again. Bank transfers do not pass it: they are taken whatever
//! payment does.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::counter;
use tracing::{info, warn};

use crate::kind::Kind;
use crate::metrics::Metrics;
use crate::problem::Problem;

/// In how many parts the window moves on.
const SLICES: u32 = 10;
/// How soon to ask again while others find out whether payment works again.
const PROBING: Duration = Duration::from_secs(1);

/// When the breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerLimits {
    /// It opens when so many of a hundred payments failed or were slow, …
    pub failures_percent: u32,
    /// … of at least so many …
    pub samples: u32,
    /// … in the last so long.
    pub window: Duration,
    /// A payment that takes longer counts as failed, whatever came of it.
    pub slow_after: Duration,
    /// For how long it stays open before it lets a few through.
    pub open_for: Duration,
    /// How many it lets through then. It closes when all of them went well.
    pub probes: u32,
}

impl Default for BreakerLimits {
    fn default() -> Self {
        Self {
            failures_percent: 50,
            samples: 20,
            window: Duration::from_secs(30),
            slow_after: Duration::from_secs(5),
            open_for: Duration::from_secs(10),
            probes: 3,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BreakerState {
    Closed,
    Open,
    HalfOpen,
}

impl BreakerState {
    pub(crate) const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// How a payment went, as far as its provider is concerned: a declined card went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good,
    Bad,
}

/// The breaker itself. It has no clock: it is told what time it is, which never goes back.
#[derive(Debug)]
pub(super) struct Breaker {
    limits: BreakerLimits,
    phase: Phase,
    /// Counts the phases, so that what began in one is not counted in another.
    round: u64,
}

#[derive(Debug)]
enum Phase {
    Closed(Window),
    Open { until: Instant },
    HalfOpen { open_probes: u32, good: u32 },
}

impl Breaker {
    pub(super) const fn new(limits: BreakerLimits) -> Self {
        Self { limits, phase: Phase::Closed(Window::new(limits.window)), round: 0 }
    }

    /// Lets a payment through, or says how long to wait. The round is to be given back with what became of it.
    pub(super) fn admit(&mut self, now: Instant) -> Result<u64, Duration> {
        self.advance(now);
        match &mut self.phase {
            Phase::Closed(_) => Ok(self.round),
            Phase::Open { until } => Err(until.saturating_duration_since(now)),
            Phase::HalfOpen { open_probes, good } if *open_probes + *good < self.limits.probes => {
                *open_probes += 1;
                Ok(self.round)
            }
            Phase::HalfOpen { .. } => Err(PROBING),
        }
    }

    /// Hears what became of a payment that was let through; `None` where it was never asked for, after all.
    pub(super) fn hear(&mut self, round: u64, outcome: Option<Outcome>, now: Instant) {
        self.advance(now);
        if round != self.round {
            return;
        }
        match (&mut self.phase, outcome) {
            (Phase::Closed(window), Some(outcome)) => {
                window.add(outcome, now);
                let Tally { good, bad } = window.tally(now);
                let enough = outcome == Outcome::Bad && good + bad >= self.limits.samples;
                if enough && bad * 100 >= (good + bad) * self.limits.failures_percent {
                    self.open(now);
                }
            }
            (Phase::HalfOpen { open_probes, .. }, None) => *open_probes -= 1,
            (Phase::HalfOpen { open_probes, good }, Some(Outcome::Good)) => {
                (*open_probes, *good) = (*open_probes - 1, *good + 1);
                if *good >= self.limits.probes {
                    self.turn(Phase::Closed(Window::new(self.limits.window)));
                }
            }
            (Phase::HalfOpen { .. }, Some(Outcome::Bad)) => self.open(now),
            (Phase::Closed(_), None) | (Phase::Open { .. }, _) => {}
        }
    }

    pub(super) fn state(&mut self, now: Instant) -> BreakerState {
        self.advance(now);
        match self.phase {
            Phase::Closed(_) => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    #[cfg(test)]
    pub(super) const fn round(&self) -> u64 {
        self.round
    }

    /// What time alone changes.
    fn advance(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Open { until } if until <= now) {
            self.turn(Phase::HalfOpen { open_probes: 0, good: 0 });
        }
    }

    fn open(&mut self, now: Instant) {
        self.turn(Phase::Open { until: now + self.limits.open_for });
    }

    fn turn(&mut self, phase: Phase) {
        self.phase = phase;
        self.round += 1;
    }
}

/// How the payments of the last time went, by slices of it.
#[derive(Debug)]
struct Window {
    length: Duration,
    slices: VecDeque<(Instant, Tally)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    good: u32,
    bad: u32,
}

impl Window {
    const fn new(length: Duration) -> Self {
        Self { length, slices: VecDeque::new() }
    }

    fn add(&mut self, outcome: Outcome, now: Instant) {
        let slice = self.length / SLICES;
        if self.slices.back().is_none_or(|(began, _)| *began + slice <= now) {
            self.slices.push_back((now, Tally::default()));
        }
        if let Some((_, tally)) = self.slices.back_mut() {
            match outcome {
                Outcome::Good => tally.good += 1,
                Outcome::Bad => tally.bad += 1,
            }
        }
    }

    fn tally(&mut self, now: Instant) -> Tally {
        while self.slices.front().is_some_and(|(began, _)| *began + self.length <= now) {
            self.slices.pop_front();
        }
        let sum =
            |sum: Tally, (_, slice): &(Instant, Tally)| Tally { good: sum.good + slice.good, bad: sum.bad + slice.bad };
        self.slices.iter().fold(Tally::default(), sum)
    }
}

/// The breaker of this process.
pub(crate) struct PaymentBreaker {
    limits: BreakerLimits,
    breaker: Mutex<Breaker>,
    metrics: Metrics,
}

impl PaymentBreaker {
    pub(super) fn new(limits: BreakerLimits, metrics: Metrics) -> Self {
        Self { limits, breaker: Mutex::new(Breaker::new(limits)), metrics }
    }

    /// Lets a card payment through, or turns it away.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<Asked, Problem> {
        match self.turning(Breaker::admit) {
            Ok(round) => Ok(Asked { breaker: self.clone(), round, told: false }),
            Err(wait) => {
                self.metrics.within(|| counter!("jumun_shed_total", "what" => "card_payments").increment(1));
                let detail = "Card payments do not work right now. No order was placed and no money moved: repeat the \
                              request after Retry-After.";
                Err(Problem::new(Kind::TryAgainLater, detail).after(wait))
            }
        }
    }

    pub(crate) fn state(&self) -> BreakerState {
        self.turning(Breaker::state)
    }

    /// Does something with the breaker, and tells if it came to another state.
    fn turning<T>(&self, act: impl FnOnce(&mut Breaker, Instant) -> T) -> T {
        let mut breaker = self.locked();
        let (now, before) = (Instant::now(), breaker.round);
        let done = act(&mut breaker, now);
        let turned = (breaker.round != before).then(|| breaker.state(now));
        drop(breaker);
        if let Some(state) = turned {
            self.tell(state);
        }
        done
    }

    fn locked(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, state: BreakerState) {
        self.metrics.within(|| counter!("jumun_breaker_transitions_total", "to" => state.as_str()).increment(1));
        match state {
            BreakerState::Open => warn!("card payments fail or are slow: they are turned away for a while"),
            BreakerState::HalfOpen => info!("card payments are tried again"),
            BreakerState::Closed => info!("card payments work again"),
        }
    }
}

/// A card payment that was let through. Dropped without a word, it was never asked for.
pub(crate) struct Asked {
    breaker: Arc<PaymentBreaker>,
    round: u64,
    told: bool,
}

impl Asked {
    /// After how long it counts as failed.
    pub(crate) fn slow_after(&self) -> Duration {
        self.breaker.limits.slow_after
    }

    pub(crate) fn went(mut self, outcome: Outcome) {
        self.tell(Some(outcome));
    }

    fn tell(&mut self, outcome: Option<Outcome>) {
        if !std::mem::replace(&mut self.told, true) {
            let round = self.round;
            self.breaker.turning(|breaker, now| breaker.hear(round, outcome, now));
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.tell(None);
    }
}

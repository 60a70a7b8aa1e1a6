//! The breaker by itself, at times of the test's choosing.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::breaker::{Breaker, BreakerLimits, BreakerState, Outcome};

const LIMITS: BreakerLimits = BreakerLimits {
    failures_percent: 50,
    samples: 4,
    window: Duration::from_secs(10),
    slow_after: Duration::from_secs(1),
    open_for: Duration::from_secs(5),
    probes: 2,
};

/// A breaker and its clock.
struct Bench {
    breaker: Breaker,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { breaker: Breaker::new(LIMITS), now: Instant::now() }
    }

    /// One that has just opened.
    fn opened() -> Self {
        let mut bench = Self::new();
        bench.payments(&[Outcome::Bad; 4]);
        assert_eq!(bench.state(), BreakerState::Open);
        bench
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn admit(&mut self) -> Result<u64, Duration> {
        self.breaker.admit(self.now)
    }

    fn hear(&mut self, round: u64, outcome: Option<Outcome>) {
        self.breaker.hear(round, outcome, self.now);
    }

    fn payments(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            let round = self.admit().expect("is let through");
            self.hear(round, Some(*outcome));
        }
    }

    fn state(&mut self) -> BreakerState {
        self.breaker.state(self.now)
    }
}

#[test]
fn it_opens_when_half_of_enough_payments_fail() {
    use Outcome::{Bad, Good};
    for (outcomes, state) in [
        (&[Bad, Bad, Bad][..], BreakerState::Closed),
        (&[Bad, Bad, Bad, Bad], BreakerState::Open),
        (&[Good, Bad, Good, Bad], BreakerState::Open),
        (&[Good, Good, Good, Bad, Bad], BreakerState::Closed),
    ] {
        let mut bench = Bench::new();
        bench.payments(outcomes);
        assert_eq!(bench.state(), state, "{outcomes:?}");
    }
}

#[test]
fn what_is_long_past_does_not_count() {
    let mut bench = Bench::new();
    bench.payments(&[Outcome::Bad; 3]);
    bench.pass(LIMITS.window);
    bench.payments(&[Outcome::Bad; 3]);
    assert_eq!(bench.state(), BreakerState::Closed);
    bench.payments(&[Outcome::Bad]);
    assert_eq!(bench.state(), BreakerState::Open);
}

#[test]
fn open_it_says_how_long_to_wait_and_half_opens_by_itself() {
    let mut bench = Bench::opened();
    assert_eq!(bench.admit(), Err(LIMITS.open_for));
    bench.pass(Duration::from_secs(3));
    assert_eq!(bench.admit(), Err(Duration::from_secs(2)));
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.state(), BreakerState::HalfOpen);
    // A few are let through, and no more until it is known what became of them.
    let probes = [bench.admit(), bench.admit()].map(|probe| probe.expect("is let through"));
    assert!(bench.admit().is_err());
    bench.hear(probes[0], Some(Outcome::Good));
    assert_eq!((bench.state(), bench.admit().is_err()), (BreakerState::HalfOpen, true));
    bench.hear(probes[1], Some(Outcome::Good));
    assert_eq!(bench.state(), BreakerState::Closed);
    // With a clean slate.
    bench.payments(&[Outcome::Bad; 3]);
    assert_eq!(bench.state(), BreakerState::Closed);
}

#[test]
fn a_probe_that_fails_opens_it_again() {
    let mut bench = Bench::opened();
    bench.pass(LIMITS.open_for);
    let probes = [bench.admit(), bench.admit()].map(|probe| probe.expect("is let through"));
    bench.hear(probes[0], Some(Outcome::Bad));
    assert_eq!(bench.admit(), Err(LIMITS.open_for));
    // The other one went out before, and says nothing of the time since.
    bench.hear(probes[1], Some(Outcome::Good));
    assert_eq!(bench.state(), BreakerState::Open);
}

#[test]
fn a_probe_that_was_not_asked_for_makes_room_for_another() {
    let mut bench = Bench::opened();
    bench.pass(LIMITS.open_for);
    let probes = [bench.admit(), bench.admit()].map(|probe| probe.expect("is let through"));
    bench.hear(probes[0], None);
    assert!(bench.admit().is_ok() && bench.admit().is_err());
}

#[test]
fn what_was_let_through_before_it_opened_counts_no_more() {
    let mut bench = Bench::new();
    let late = bench.admit().expect("is let through");
    bench.payments(&[Outcome::Bad; 4]);
    bench.pass(LIMITS.open_for);
    assert_eq!(bench.state(), BreakerState::HalfOpen);
    bench.hear(late, Some(Outcome::Bad));
    assert_eq!(bench.state(), BreakerState::HalfOpen);
    let probe = bench.admit().expect("is let through");
    bench.hear(late, Some(Outcome::Good));
    bench.hear(late, None);
    bench.hear(probe, Some(Outcome::Good));
    assert_eq!(bench.state(), BreakerState::HalfOpen, "one good probe of two");
}

/// What happens to a breaker.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Ask,
    /// The oldest payment that is under way ends so.
    End(Option<Outcome>),
    /// Milliseconds.
    Pass(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => Just(Happening::Ask),
        2 => Just(Happening::End(Some(Outcome::Good))),
        2 => Just(Happening::End(Some(Outcome::Bad))),
        1 => Just(Happening::End(None)),
        2 => (0_u64..6000).prop_map(Happening::Pass),
    ]
}

proptest! {
    /// Whatever happens: open, it lets nothing through before its time; half open, only so many at a time; closed,
    /// everything; and it never stays shut for good.
    #[test]
    fn it_keeps_its_word(happenings in prop::collection::vec(happening(), 0..200)) {
        let mut bench = Bench::new();
        let mut under_way = std::collections::VecDeque::new();
        let mut heard: u32 = 0;
        for happening in happenings {
            let before = bench.state();
            match happening {
                Happening::Ask => {
                    let probes = under_way.iter().filter(|round| **round == bench.breaker.round()).count();
                    let admitted = bench.admit();
                    match (before, admitted) {
                        (BreakerState::Closed, Err(_)) => prop_assert!(false, "closed, it lets everything through"),
                        (BreakerState::Open, Ok(_)) => prop_assert!(false, "open, it lets nothing through"),
                        (BreakerState::Open, Err(wait)) => prop_assert!(!wait.is_zero() && wait <= LIMITS.open_for),
                        (BreakerState::HalfOpen, Ok(_)) => prop_assert!(probes < LIMITS.probes as usize),
                        _ => {}
                    }
                    under_way.extend(admitted.ok());
                }
                Happening::End(outcome) => {
                    let Some(round) = under_way.pop_front() else { continue };
                    heard += u32::from(outcome.is_some());
                    bench.hear(round, outcome);
                    if before == BreakerState::Closed && bench.state() == BreakerState::Open {
                        prop_assert!(outcome == Some(Outcome::Bad) && heard >= LIMITS.samples);
                    }
                }
                Happening::Pass(milliseconds) => bench.pass(Duration::from_millis(milliseconds)),
            }
        }
        // Once everything under way has ended and payments go well again, it closes.
        for round in under_way {
            bench.hear(round, None);
        }
        bench.pass(LIMITS.open_for);
        bench.payments(&[Outcome::Good; 2]);
        prop_assert_eq!(bench.state(), BreakerState::Closed);
    }
}

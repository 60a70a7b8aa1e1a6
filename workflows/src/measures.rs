//! What is measured of steps, with the macros of the `metrics` crate: whoever hosts the workflows installs a recorder, and
//! without one nothing is counted.

use std::time::Instant;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::Step;

const IN_FLIGHT: &str = "jumun_worker_attempts_in_flight";
const ATTEMPTS: &str = "jumun_step_attempts_total";
const DURATION: &str = "jumun_step_duration_seconds";

/// Tells the recorder what the measures mean.
pub fn describe() {
    describe_gauge!(IN_FLIGHT, "Attempts at steps that are being made now.");
    describe_counter!(ATTEMPTS, "Attempts at steps, by step and by how they ended: done, failed, timed_out, impossible.");
    describe_histogram!(DURATION, Unit::Seconds, "How long attempts at steps took, by step.");
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ended {
    Done,
    Failed,
    TimedOut,
    Impossible,
}

impl Ended {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Impossible => "impossible",
        }
    }
}

/// An attempt at a step, in flight until dropped.
pub(crate) struct InFlight {
    step: Step,
    began: Instant,
}

impl InFlight {
    pub(crate) fn begin(step: Step) -> Self {
        gauge!(IN_FLIGHT).increment(1);
        Self { step, began: Instant::now() }
    }

    pub(crate) fn end(self, ended: Ended) {
        counter!(ATTEMPTS, "step" => self.step.name(), "ended" => ended.as_str()).increment(1);
        histogram!(DURATION, "step" => self.step.name()).record(self.began.elapsed());
    }
}

impl Drop for InFlight {
    /// Also of an attempt that is cut off, which ends in no way of its own.
    fn drop(&mut self) {
        gauge!(IN_FLIGHT).decrement(1);
    }
}

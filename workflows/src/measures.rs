//! What is measured of orders and their steps, with the macros of the `metrics` crate: whoever hosts the workflows installs a recorder, and
//! without one nothing is counted.

use std::time::{Duration, Instant};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::Step;
use crate::order::Gate;

const IN_FLIGHT: &str = "jumun_worker_attempts_in_flight";
const WAITING: &str = "jumun_worker_attempts_waiting";
const ATTEMPTS: &str = "jumun_step_attempts_total";
const DURATION: &str = "jumun_step_duration_seconds";
const UNDOS: &str = "jumun_undos_total";
const WAITS: &str = "jumun_gate_wait_seconds";
const WEBHOOKS: &str = "jumun_webhook_attempts_total";

/// The histogram of waits at gates, which last from seconds to weeks: upper bounds of its buckets, in seconds.
pub const GATE_WAITS: (&str, [f64; 10]) =
    (WAITS, [1.0, 10.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0, 259_200.0, 604_800.0]);

/// Tells the recorder what the measures mean.
pub fn describe() {
    describe_gauge!(IN_FLIGHT, "Attempts at steps that are being made now.");
    describe_gauge!(WAITING, "Attempts at steps that wait for a place: the worker makes as many as it may.");
    describe_counter!(
        ATTEMPTS,
        "Attempts at steps, by step and by how they ended: done, failed, timed_out, impossible."
    );
    describe_histogram!(DURATION, Unit::Seconds, "How long attempts at steps took, by step.");
    describe_counter!(UNDOS, "Steps that were undone, by the step that undid them.");
    describe_histogram!(WAITS, Unit::Seconds, "How long orders waited at gates, by gate.");
    describe_counter!(WEBHOOKS, "Attempts to call merchants' webhooks, by how they ended: delivered, failed.");
}

/// A worker is there, also before it has anything to do: what watches it finds it.
pub(crate) fn worker_is_there() {
    for gauge in [IN_FLIGHT, WAITING] {
        gauge!(gauge).increment(0.0);
    }
}

/// An order has left a gate.
pub fn left_gate(gate: Gate, waited: Duration) {
    histogram!(WAITS, "gate" => gate.as_str()).record(waited);
}

/// A webhook was called.
pub(crate) fn called_webhook(delivered: bool) {
    counter!(WEBHOOKS, "ended" => if delivered { "delivered" } else { "failed" }).increment(1);
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

/// An attempt that waits for a place until this is dropped.
pub(crate) struct Waiting(());

impl Waiting {
    pub(crate) fn begin() -> Self {
        gauge!(WAITING).increment(1);
        Self(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        gauge!(WAITING).decrement(1);
    }
}

/// An attempt at a step, in flight until dropped.
pub(crate) struct InFlight {
    step: Step,
    began: Instant,
}

impl InFlight {
    #[allow(clippy::disallowed_methods, reason = "it is measured while the step is done, which no replay does")]
    pub(crate) fn begin(step: Step) -> Self {
        gauge!(IN_FLIGHT).increment(1);
        Self { step, began: Instant::now() }
    }

    pub(crate) fn end(self, ended: Ended) {
        if matches!(ended, Ended::Done) && self.step.is_undo() {
            counter!(UNDOS, "step" => self.step.name()).increment(1);
        }
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

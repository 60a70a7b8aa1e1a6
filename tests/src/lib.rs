//! What the tests share: a jumun process with its real engine and store, driven over HTTP as a user would.

#![allow(clippy::missing_panics_doc, reason = "a panic is how a test fails")]

mod answer;
mod faults;
mod process;
mod shop;

pub use answer::Answer;
pub use faults::{Fault, Faults, Place};
pub use process::{Jumun, Ready, Setup, binary};
pub use shop::{Shop, expect_order};

use std::time::{Duration, Instant};

/// How long anything that is bound to happen may take, on a busy machine.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// Asks until there is an answer, at most for `DEADLINE`.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

//! What the tests share: a jumun process with its real engine and store, driven over HTTP as a user would.

#![allow(clippy::missing_panics_doc, reason = "a panic is how a test fails")]

mod answer;
mod apart;
mod books;
mod breaks;
mod client;
mod cluster;
mod faults;
mod feed;
mod fleet;
mod held;
mod journals;
mod orders;
mod ports;
mod postgres;
mod process;
pub mod protocol;
mod providers;
mod proxy;
mod receiver;
mod script;
mod setup;
mod shop;
mod surreal;
mod systems;

pub use answer::Answer;
pub use apart::{Apart, PLACES, Part, Plan};
pub use books::{Books, status_changes};
pub use breaks::breaks;
pub use client::{CUSTOMER, Client, Jumun, Ready};
pub use cluster::{Cluster, NODES};
pub use faults::{Fault, Faults, Place, Planned, faulted, forbidden_ports};
pub use feed::{Feed, Told};
pub use fleet::Worker;
pub use journals::{Journal, Recorder};
pub use orders::Looked;
pub use postgres::{Postgres, Scratch};
pub use process::{binary, say_to};
pub use providers::{Provider, Providers};
pub use receiver::{Received, Receiver};
pub use setup::{Setup, store_of};
pub use shop::{Shop, expect_order, life, preset, variant};
pub use surreal::Surreal;
pub use systems::{Lent, Shape, Systems};

use std::time::{Duration, Instant};

/// How long anything that is bound to happen may take, on a busy machine.
pub const DEADLINE: Duration = Duration::from_mins(2);
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Asks until there is an answer, at most for `DEADLINE`: often at first, and then less and less, so that many who wait
/// do not keep the system from what they wait for.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        let waited = start.elapsed();
        assert!(waited < DEADLINE, "waited {DEADLINE:?} for {what}");
        tokio::time::sleep((waited / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)).await;
    }
}

//! Behaviour over HTTP, against the real engine and the embedded store. Tests that break nothing share one system;
//! each that takes a provider or a process down has a system of its own.

mod bad_input;
mod cancel;
mod commands;
mod contract;
mod crash;
mod failures;
mod faults;
mod food_delivery;
mod idempotency;
mod listings;
mod merchants;
mod pizza;
mod placing;
mod shopping_mall;
mod start;
mod street12;
mod structure;
mod sweep;

use tests::Jumun;
use tokio::sync::OnceCell;

/// The system that tests share. It stops when the test process ends.
async fn shared() -> &'static Jumun {
    static SHARED: OnceCell<Jumun> = OnceCell::const_new();
    SHARED.get_or_init(Jumun::ephemeral).await
}

//! The log's lines.

use super::*;
use std::fmt::Write as _;
use std::sync::Mutex;

/// The order that no other test of this process has.
const MINE: u128 = 0x1099;

#[tokio::test]
async fn the_log_has_one_line_for_each_change_without_personal_data() {
    let notifications = notifications().await;
    // For the whole process: which of its tests logs first would decide otherwise whether this one hears anything.
    let lines = Lines::default();
    tracing::subscriber::set_global_default(lines.clone()).expect("no other test listens");
    tracing::callsite::rebuild_interest_cache();
    for _ in 0..3 {
        notifications.send(&notice(order(MINE))).await.expect("sends");
    }
    let line = |number: u32, status: &str| {
        format!("message=new status; order_id={}; status=\"{status}\"; number={number}; ", order(MINE))
    };
    let mut heard = lines.0.lock().expect("no holder panics").clone();
    heard.retain(|line| line.contains(order(MINE).as_str()));
    assert_eq!(heard, [line(1, "placed"), line(3, "paid")]);
}

/// What is logged with the target `notification`.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "notification"
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = String::new();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            let _ = write!(line, "{field}={value:?}; ");
        });
        self.0.lock().expect("no holder panics").push(line);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

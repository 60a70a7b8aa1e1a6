//! The log's lines.

use super::*;
use std::fmt::Write as _;
use std::sync::Mutex;

#[tokio::test]
async fn the_log_has_one_line_for_each_change_without_personal_data() {
    let notifications = notifications().await;
    // Once a line was logged, every new subscriber is asked whether it wants it. Before, whether it is heard at all
    // would depend on which of the tests logs it first.
    notifications.send(&notice(order(2))).await.expect("sends");
    let lines = Lines::default();
    let listening = tracing::subscriber::set_default(lines.clone());
    for _ in 0..3 {
        notifications.send(&notice(order(1))).await.expect("sends");
    }
    drop(listening);
    let line = |number: u32, status: &str| {
        format!("message=new status; order_id={}; status=\"{status}\"; number={number}; ", order(1))
    };
    assert_eq!(*lines.0.lock().expect("no holder panics"), [line(1, "placed"), line(3, "paid")]);
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

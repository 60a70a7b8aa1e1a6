//! What has become true of an order and is still to be made known.

use super::{Event, Language, Order};
use crate::notification::{Notice, NoticedEvent};

/// Events that nobody has been told of yet. Kept back only as long as the next status change, or the next wait, takes.
#[derive(Clone, Default)]
pub(super) struct News(Vec<NoticedEvent>);

impl News {
    /// The order's first event.
    pub(super) fn of(order: &Order) -> Self {
        let mut news = Self::default();
        let at = order.placed_at;
        news.push("order_placed", 1, at, order, true);
        news
    }

    /// What the order does not know yet of its events; it knows it afterwards.
    pub(super) fn learn(&mut self, order: &mut Order, events: &[Event]) {
        for event in events {
            if event.number > order.version {
                let status = order.status;
                order.learn(event);
                self.push(event.fact.name(), event.number, event.at, order, order.status != status);
            }
        }
    }

    fn push(&mut self, kind: &str, number: u32, at: chrono::DateTime<chrono::Utc>, order: &Order, changed: bool) {
        self.0.push(NoticedEvent {
            number,
            kind: kind.to_owned(),
            at,
            status: order.status,
            status_changed: changed,
            status_label: order.label(Language::Korean).to_owned(),
            reason: order.reason.clone(),
        });
    }

    /// Everything so far, if there is anything.
    pub(super) fn take(&mut self, order: &Order) -> Option<Notice> {
        let events = std::mem::take(&mut self.0);
        (!events.is_empty()).then(|| Notice {
            order_id: order.id.clone(),
            merchant_id: order.merchant_id.clone(),
            total: order.total,
            recipient: order.customer.name.clone(),
            phone: order.customer.phone.clone(),
            events,
        })
    }
}

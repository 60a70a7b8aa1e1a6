//! What has become of one order of the demo: its events, the status after each, and whether it all went as planned.
//! Pure.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use workflows::order::{Event, Fact, Language};
use workflows::{Order, OrderId, Status, Step};

use super::plan::{End, Plan};

/// An order as its events tell it.
#[derive(Debug)]
pub struct Story {
    pub plan: &'static Plan,
    /// How the order is known among all events.
    pub note: String,
    order: Option<Order>,
    pub told: Vec<Told>,
    /// Why it could not be placed.
    pub not_placed: Option<String>,
}

/// An event, and the order's status after it.
#[derive(Clone, Debug)]
pub struct Told {
    pub event: Event,
    pub status: Status,
    pub label: &'static str,
}

/// How an order did not go as planned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Off {
    #[error("it was not placed: {0}")]
    NotPlaced(String),
    #[error("it was placed, and nothing was heard of it")]
    Unheard,
    #[error("it is still {0}")]
    NotAtItsEnd(&'static str),
    #[error("it ended as {found}, not {planned}")]
    EndedOtherwise { planned: &'static str, found: &'static str },
    #[error("it was rejected, though not for its card")]
    NotDeclined,
    #[error("{} was undone in that order, not {}", .found.join(", "), .planned.join(", "))]
    UndoneOtherwise { planned: Vec<&'static str>, found: Vec<&'static str> },
}

impl Story {
    pub fn new(plan: &'static Plan, note: String) -> Self {
        Self { plan, note, order: None, told: Vec::new(), not_placed: None }
    }

    /// Takes in an event that is the next of this order; `None` for all others, such as those that are told again.
    pub fn hear(&mut self, event: &Event) -> Option<&Told> {
        match (&self.order, &event.fact) {
            (None, Fact::OrderPlaced(placement)) if placement.note.as_deref() == Some(&self.note) => {}
            (Some(order), _) if order.id == event.order_id && order.version + 1 == event.number => {}
            _ => return None,
        }
        self.order = Order::after(self.order.take(), event);
        let order = self.order.as_ref()?;
        let (status, label) = (order.status, order.label(Language::English));
        self.told.push(Told { event: event.clone(), status, label });
        self.told.last()
    }

    pub fn order_id(&self) -> Option<&OrderId> {
        self.order.as_ref().map(|order| &order.id)
    }

    pub fn status(&self) -> Option<Status> {
        self.order.as_ref().map(|order| order.status)
    }

    /// Whether nothing more will be heard of it.
    pub fn is_over(&self) -> bool {
        self.status().map_or(self.not_placed.is_some(), Status::is_final)
    }

    fn has(&self, is_it: impl Fn(&Fact) -> bool) -> bool {
        self.told.iter().any(|told| is_it(&told.event.fact))
    }

    /// What was undone, in that order.
    pub fn undone(&self) -> Vec<&'static str> {
        self.told.iter().filter_map(|told| undone(&told.event.fact)).collect()
    }

    /// How long it took so far, in milliseconds, by the time of its events.
    pub fn took_ms(&self) -> i64 {
        let at = |told: &Told| told.event.at;
        let (first, last) = (self.told.first().map(at), self.told.last().map(at));
        first.zip(last).map_or(0, |(first, last)| (last - first).num_milliseconds())
    }

    /// What did not go as planned.
    pub fn off(&self) -> Option<Off> {
        let planned = self.plan.end.status();
        let found = match (self.status(), &self.not_placed) {
            (None, Some(why)) => return Some(Off::NotPlaced(why.clone())),
            (None, None) => return Some(Off::Unheard),
            (Some(status), _) => status,
        };
        if !found.is_final() {
            return Some(Off::NotAtItsEnd(found.as_str()));
        }
        if found != planned {
            // Why it was refused says more than that it was.
            let otherwise = Off::EndedOtherwise { planned: planned.as_str(), found: found.as_str() };
            return Some(self.not_placed.clone().map_or(otherwise, Off::NotPlaced));
        }
        match self.plan.end {
            End::Cancelled { undoes, .. } if self.undone() != undoes => {
                Some(Off::UndoneOtherwise { planned: undoes.to_vec(), found: self.undone() })
            }
            End::Rejected if !self.has(|fact| matches!(fact, Fact::PaymentDeclined { .. })) => Some(Off::NotDeclined),
            End::Closed | End::Cancelled { .. } | End::Rejected => None,
        }
    }
}

/// What a fact says was undone, in the words of a lifecycle's `unwind`.
const fn undone(fact: &Fact) -> Option<&'static str> {
    match fact {
        Fact::PaymentCancelled { .. } => Some("payment"),
        Fact::CouponCancelled => Some("coupon"),
        Fact::DeliveryCancelled => Some("delivery"),
        Fact::StockReleased => Some("stock"),
        _ => None,
    }
}

/// An event as the API writes it.
#[derive(Deserialize)]
struct Written {
    order_id: OrderId,
    number: u32,
    at: Value,
    step: Step,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    data: Map<String, Value>,
}

/// Reads an event of the API.
pub fn read(json: &str) -> serde_json::Result<Event> {
    let Written { order_id, number, at, step, kind, mut data } = serde_json::from_str(json)?;
    if kind == "order_placed" {
        // The API keeps it to itself, and no reader needs it.
        data.entry("request_digest").or_insert_with(|| "".into());
    }
    let fact = if data.is_empty() { json!({ "type": kind }) } else { json!({ "type": kind, "data": data }) };
    let event = json!({ "order_id": order_id, "number": number, "at": at, "step": step, "fact": fact });
    serde_json::from_value(event)
}

#[cfg(test)]
pub mod tests {
    use workflows::Lifecycle;

    use super::*;
    use crate::demo::plan::PLANS;

    pub const ID: &str = "ord_0123456789abcdef0123456789abcdef";

    /// An event as the API writes it.
    pub fn written(number: u32, kind: &str, data: &Value) -> String {
        let at = format!("2026-11-20T22:31:{number:02}.126392Z");
        json!({
            "id": format!("{ID}/{number}"), "order_id": ID, "number": number, "type": kind, "at": at,
            "step": "order.place", "data": data, "position": 7,
        })
        .to_string()
    }

    fn placed(plan: &Plan, note: &str) -> String {
        let total = json!({ "amount": 25_000, "currency": "KRW" });
        let data = json!({
            "merchant_id": plan.shop,
            "customer": { "name": "Kim", "phone": "010", "address": "Seoul" },
            "lines": [
                { "sku": plan.sku, "name": "A", "unit_price": total, "quantity": 1, "line_total": total },
            ],
            "total": total,
            "payment_method": "card",
            "note": note,
            "lifecycle": Lifecycle::preset(plan.shop).expect("a preset"),
        });
        written(1, "order_placed", &data)
    }

    /// The story of the order of `plan` that these events tell.
    pub fn story(plan: &'static Plan, events: &[(&str, Value)]) -> Story {
        let mut story = Story::new(plan, "a demo".to_owned());
        let rest = (2..).zip(events).map(|(number, (kind, data))| written(number, kind, data));
        for event in std::iter::once(placed(plan, "a demo")).chain(rest) {
            story.hear(&read(&event).expect("is an event")).expect("is the next");
        }
        story
    }

    fn cancelled(undone: &[&str]) -> Story {
        let plan = PLANS.iter().find(|plan| plan.end.status() == Status::Cancelled).expect("is planned");
        let undone = undone.iter().map(|event| match *event {
            "payment_cancelled" => (*event, json!({ "refunded": true })),
            event => (event, json!({})),
        });
        let asked = ("cancellation_requested", json!({ "by": "customer", "reason": null }));
        let events: Vec<_> = [("order_paid", json!({})), ("delivery_started", json!({})), asked]
            .into_iter()
            .chain(undone)
            .chain([("order_cancelled", json!({}))])
            .collect();
        story(plan, &events)
    }

    #[test]
    fn the_status_follows_from_the_events() {
        let story = story(&PLANS[0], &[("stock_reserved", json!({})), ("order_paid", json!({}))]);
        let statuses: Vec<_> = story.told.iter().map(|told| (told.status, told.label)).collect();
        assert_eq!(statuses, [(Status::Placed, "Placed"), (Status::Placed, "Placed"), (Status::Paid, "Paid")]);
        assert_eq!((story.took_ms(), story.is_over()), (2_000, false));
        assert_eq!(story.off(), Some(Off::NotAtItsEnd("paid")));
    }

    #[test]
    fn only_the_next_event_of_its_own_order_is_heard() {
        let mut story = Story::new(&PLANS[0], "mine".to_owned());
        let of_another = read(&placed(&PLANS[0], "yours")).expect("is an event");
        assert!(story.hear(&of_another).is_none() && story.order_id().is_none());
        let first = read(&placed(&PLANS[0], "mine")).expect("is an event");
        assert!(story.hear(&first).is_some() && story.hear(&first).is_none());
        assert_eq!(story.order_id().map(OrderId::as_str), Some(ID));
        let skipping = read(&written(3, "order_paid", &json!({}))).expect("is an event");
        assert!(story.hear(&skipping).is_none());
    }

    #[test]
    fn a_cancel_has_to_undo_everything_in_its_order() {
        let undone = ["payment_cancelled", "coupon_cancelled", "delivery_cancelled", "stock_released"];
        assert_eq!(cancelled(&undone).off(), None);
        let off = cancelled(&["coupon_cancelled", "payment_cancelled", "delivery_cancelled", "stock_released"]).off();
        assert!(matches!(off, Some(Off::UndoneOtherwise { .. })), "{off:?}");
    }

    #[test]
    fn what_is_off_is_said() {
        let rejected = ("order_rejected", json!({ "rejection": { "kind": "not_accepted" } }));
        let off = story(&PLANS[0], std::slice::from_ref(&rejected)).off().expect("is off");
        assert_eq!(off.to_string(), "it ended as rejected, not closed");
        let declined = PLANS.iter().find(|plan| plan.end == End::Rejected).expect("is planned");
        assert_eq!(story(declined, std::slice::from_ref(&rejected)).off(), Some(Off::NotDeclined));
        let of_card = ("payment_declined", json!({ "payment_id": ID.replace("ord", "pay"), "reason": "no" }));
        assert_eq!(story(declined, &[of_card, rejected]).off(), None);
        let mut story = Story::new(&PLANS[0], "x".to_owned());
        assert_eq!(story.off(), Some(Off::Unheard));
        story.not_placed = Some("503 Try again later".to_owned());
        assert!(story.is_over());
        assert_eq!(story.off().expect("is off").to_string(), "it was not placed: 503 Try again later");
    }
}

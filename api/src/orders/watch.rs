//! Watching an order until it is decided whether it stands, also when its caller was answered before or has gone: until
//! then it keeps its place among the open placements, and the breaker waits to hear how its payment went.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use workflows::lifecycle::StockTake;
use workflows::order::{Event, Fact, OrderBook, Rejection};
use workflows::{Context, Order, OrderId};

use super::feed::OfOrder;
use crate::ask::ask;
use crate::pressure::{Asked, Outcome, Place};

/// More events than an order has when it is decided whether it stands.
pub(super) const EVENTS_TO_STAND: u32 = 50;
/// An order whose stock and payment both take as long as they may is decided after this time.
const WATCH_FOR: Duration = Duration::from_secs(30);
/// How often an order is looked at of which nothing is heard.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// An order that the engine has.
pub(super) struct Watch {
    pub orders: Arc<dyn OrderBook>,
    pub id: OrderId,
    /// Listened to since before it was handed over, if it is new.
    pub heard: OfOrder,
    pub is_new: bool,
    /// It is watched at least until then.
    pub until: Instant,
    /// Its place, where it is new.
    pub _place: Option<Place>,
    /// Its card payment, if it is this request's.
    pub asked: Option<Asked>,
}

impl Watch {
    /// The order as it was decided, if it was. What is heard of a new order is all there is to know; nothing is read.
    pub(super) async fn run(mut self) -> Option<Order> {
        let began = Instant::now();
        let until = self.until.max(began + WATCH_FOR);
        let mut events =
            if self.is_new { Vec::new() } else { stored(&self.orders, &self.id).await.unwrap_or_default() };
        loop {
            self.tell(&events);
            if let Some(order) = as_decided(&events).filter(|order| order.decided) {
                return Some(order);
            }
            if Instant::now() >= until {
                return None;
            }
            let known = events.last().map_or(0, |event| event.number);
            let mut next = self.heard.next(self.look_at(began).min(until)).await;
            let is_silent = next.is_empty();
            next.retain(|event| event.number > known);
            match next.first() {
                Some(first) if first.number == known + 1 => events.extend(next),
                None if !is_silent => {}
                // Before it was listened to, or unheard.
                _ => events = stored(&self.orders, &self.id).await.unwrap_or(events),
            }
        }
    }

    /// When it is looked at if nothing is heard: also when its payment begins to count as slow.
    fn look_at(&self, began: Instant) -> Instant {
        let now = Instant::now();
        let slow_at = self.asked.as_ref().map(|asked| began + asked.slow_after()).filter(|slow_at| *slow_at > now);
        let look_at = now + LOOK_EVERY;
        slow_at.map_or(look_at, |slow_at| slow_at.min(look_at))
    }

    /// Tells the breaker how the payment went, once that is known.
    fn tell(&mut self, events: &[Event]) {
        if let Some(slow_after) = self.asked.as_ref().map(Asked::slow_after)
            && let Some(outcome) = payment_outcome(events, self.orders.now(), slow_after)
            && let Some(asked) = self.asked.take()
        {
            asked.went(outcome);
        }
    }
}

/// The order's events until it is decided.
async fn stored(orders: &Arc<dyn OrderBook>, id: &OrderId) -> Option<Vec<Event>> {
    ask("orders.events", orders.events(id, 0, EVENTS_TO_STAND)).await.ok()
}

/// How the card payment of an order went or goes, if it was asked for.
fn payment_outcome(events: &[Event], now: DateTime<Utc>, slow_after: Duration) -> Option<Outcome> {
    let since = |at: DateTime<Utc>, then: DateTime<Utc>| (then - at).to_std().unwrap_or_default();
    let mut ready = None;
    for event in events {
        match &event.fact {
            Fact::OrderPlaced(placement) if placement.lifecycle.stock.take != StockTake::OnPlacement => {
                ready = Some(event.at);
            }
            Fact::StockReserved => ready = Some(event.at),
            Fact::PaymentApproved { .. } | Fact::PaymentDeclined { .. } => {
                let slow = ready.is_some_and(|ready| since(ready, event.at) > slow_after);
                return Some(if slow { Outcome::Bad } else { Outcome::Good });
            }
            Fact::OrderRejected { rejection: Rejection::Unavailable { context: Context::Payment } } => {
                return Some(Outcome::Bad);
            }
            Fact::OrderRejected { .. } | Fact::OrderCancelled | Fact::CancellationRequested { .. } => return None,
            _ => {}
        }
    }
    ready.filter(|ready| since(*ready, now) >= slow_after).map(|_| Outcome::Bad)
}

/// The order as it was when it was decided whether it stands, so that everybody who asks is answered the same.
pub(super) fn as_decided(events: &[Event]) -> Option<Order> {
    // A rejection decides, also of an order whose payment went through too late to count.
    let rejected = events
        .iter()
        .position(|event| matches!(&event.fact, Fact::OrderRejected { rejection } if rejection.is_of_placement()));
    let told = rejected.map_or(events, |rejected| &events[..=rejected]);
    let mut order = None;
    for event in told {
        order = Order::after(order, event);
        let decided = order.as_ref().is_some_and(|order| order.decided);
        if decided && rejected.is_none() {
            break;
        }
    }
    order
}

/// Longer and longer pauses between attempts.
pub(super) struct Pauses {
    until: Instant,
    pause: Duration,
}

impl Pauses {
    pub(super) fn until(until: Instant) -> Self {
        Self { until, pause: FIRST_PAUSE }
    }

    /// Pauses, and says whether there is time for another attempt.
    pub(super) async fn next(&mut self) -> bool {
        if Instant::now() + self.pause >= self.until {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = LONGEST_PAUSE.min(self.pause * 2);
        true
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use workflows::order::{Customer, Placement};
    use workflows::{Currency, Lifecycle, Money, PaymentMethod, Step};

    use super::*;
    use crate::testing::at;

    const SLOW_AFTER: Duration = Duration::from_secs(5);

    fn placement(lifecycle: Lifecycle) -> Placement {
        let currency = Currency::KRW;
        Placement {
            merchant_id: "shop".parse().expect("a merchant id"),
            customer: Customer { name: "K".to_owned(), phone: "1".to_owned(), address: "S".to_owned() },
            customer_id: None,
            lines: Vec::new(),
            total: Money::new(0, currency),
            payment_method: PaymentMethod::Card,
            note: None,
            lifecycle,
            request_digest: String::new(),
        }
    }

    /// How the payment went of an order to which these happened, each so many seconds after it was placed.
    fn outcome(lifecycle: &str, facts: &[(i64, Fact)], now: i64) -> Option<Outcome> {
        let id = OrderId::from_bits(1);
        let lifecycle = Lifecycle::preset(lifecycle).expect("a preset");
        let placed = Fact::OrderPlaced(Box::new(placement(lifecycle.clone())));
        let facts = std::iter::once((0, placed)).chain(facts.iter().cloned());
        let event = |((seconds, fact), number)| Event {
            order_id: id.clone(),
            number,
            at: at() + TimeDelta::seconds(seconds),
            step: Step::OrderPlace,
            by: None,
            fact,
        };
        let events: Vec<_> = facts.zip(1..).map(event).collect();
        payment_outcome(&events, at() + TimeDelta::seconds(now), SLOW_AFTER)
    }

    #[test]
    fn only_what_payment_did_or_did_not_do_counts() {
        use Outcome::{Bad, Good};
        let payment_id = OrderId::from_bits(1).payment();
        let approved = Fact::PaymentApproved { payment_id: payment_id.clone() };
        let declined = Fact::PaymentDeclined { payment_id, reason: "no".to_owned() };
        let unavailable = |context| Fact::OrderRejected { rejection: Rejection::Unavailable { context } };
        for (lifecycle, facts, now, expected) in [
            // Stock took its time, payment did not.
            ("sauce-shop", &[(8, Fact::StockReserved), (9, approved.clone())][..], 9, Some(Good)),
            ("sauce-shop", &[(1, Fact::StockReserved), (7, approved.clone())], 7, Some(Bad)),
            ("sauce-shop", &[(1, Fact::StockReserved), (2, declined.clone())], 9, Some(Good)),
            ("sauce-shop", &[(1, Fact::StockReserved), (7, declined)], 9, Some(Bad)),
            ("sauce-shop", &[(1, Fact::StockReserved), (2, unavailable(Context::Payment))], 2, Some(Bad)),
            ("sauce-shop", &[(6, unavailable(Context::Stock))], 6, None),
            // Not yet.
            ("sauce-shop", &[(1, Fact::StockReserved)], 5, None),
            ("sauce-shop", &[(1, Fact::StockReserved)], 6, Some(Bad)),
            ("sauce-shop", &[], 60, None),
            // Where stock is not asked, payment is the first to be.
            ("pizza", &[], 4, None),
            ("pizza", &[], 5, Some(Bad)),
            ("pizza", &[(4, approved)], 9, Some(Good)),
            ("pizza", &[(2, Fact::CancellationRequested { by: None, reason: None })], 60, None),
        ] {
            assert_eq!(outcome(lifecycle, facts, now), expected, "{lifecycle}: {facts:?} at {now}");
        }
    }
}

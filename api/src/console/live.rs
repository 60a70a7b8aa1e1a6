//! `/live`: tells a page that what it shows has changed, and nothing else; the page asks again for what it may see. At most
//! so often, however much happens, so that a busy board stays readable.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use poem::http::header;
use poem::{Body, Response};
use tokio::time::{Instant, sleep_until, timeout_at};
use workflows::order::OrderBook;
use workflows::{OrderId, Role};

use super::client::{Told, escaped};
use super::views::Order;
use super::visit::Visit;
use super::{Answer, Console, nothing_here};
use crate::access::Caller;
use crate::orders::{Change, Changes};

/// What happens within this time is told together.
const GATHER: Duration = Duration::from_millis(50);
/// A page is not told more often; one that takes longer to make, less often still.
const PAUSE: Duration = Duration::from_millis(250);
const CALM_PAUSE: Duration = Duration::from_secs(5);
/// How often a stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Of how many orders it is looked up whose they are, before the page is told anyway.
const LOOKED_UP: usize = 20;

const CHANGED: &str = "event: changed\ndata: 1\n\n";
const COMMENT: &str = ":\n\n";

struct Watch {
    changes: Changes,
    orders: Arc<dyn OrderBook>,
    caller: Caller,
    /// The only order that matters, if it is only one.
    only: Option<OrderId>,
    /// The page is not told more often.
    pause: Duration,
    /// When it was written to last.
    written: Instant,
    /// Until when the caller's token is good.
    until: Instant,
    told: Option<Instant>,
}

pub(super) async fn stream(console: &Console, visit: &Visit) -> Answer {
    let api = console.api(visit)?;
    let only = match visit.query.given("order") {
        Some(id) => {
            // Whoever may not see it is told so.
            api.get::<Order>(&format!("/v1/orders/{}", escaped(id))).await?;
            Some(id.parse().map_err(|_| nothing_here(visit))?)
        }
        None => None,
    };
    let changes = match console.live.changes().await {
        Ok(changes) => changes,
        Err(problem) => return Err(Told::read(poem::IntoResponse::into_response(problem)).await.into()),
    };
    let until = Instant::now() + api.caller.good_for();
    let pause = if visit.query.has("calm") { CALM_PAUSE } else { PAUSE };
    let (orders, written) = (console.orders.clone(), Instant::now());
    let watch = Watch { changes, orders, caller: api.caller, only, pause, written, until, told: None };
    let messages = stream::unfold(watch, |mut watch| async move {
        let message = watch.next().await?;
        watch.written = Instant::now();
        Some((Ok::<_, std::io::Error>(message), watch))
    });
    Ok(Response::builder()
        .content_type("text/event-stream")
        .header(header::CACHE_CONTROL, "no-store")
        // Some proxies would hold it back otherwise.
        .header("x-accel-buffering", "no")
        .body(Body::from_bytes_stream(messages)))
}

/// What has changed of late.
#[derive(Default)]
struct Seen {
    ids: BTreeSet<OrderId>,
    /// Whether there was more: whatever it was, the page asks again.
    missed: bool,
}

impl Seen {
    fn add(&mut self, change: Change) {
        match change {
            Change::Of(id) => drop(self.ids.insert(id)),
            Change::Missed => self.missed = true,
        }
    }
}

impl Watch {
    /// What the page is told next; nothing more where the stream ends.
    async fn next(&mut self) -> Option<&'static str> {
        if self.told.is_none() {
            // What happened since the page was made, it has not seen.
            self.told = Some(Instant::now());
            return Some(CHANGED);
        }
        loop {
            let changed = tokio::select! {
                changed = self.changes.next() => changed?,
                () = sleep_until(self.written + KEEP_ALIVE) => return Some(COMMENT),
                () = sleep_until(self.until) => return None,
            };
            let mut seen = Seen::default();
            seen.add(changed);
            let earliest = self.told.map_or_else(Instant::now, |told| told + self.pause);
            let gathered = earliest.max(Instant::now() + GATHER);
            while let Ok(changed) = timeout_at(gathered, self.changes.next()).await {
                seen.add(changed?);
            }
            if seen.missed || self.concerns(&seen.ids).await {
                self.told = Some(Instant::now());
                return Some(CHANGED);
            }
        }
    }

    /// Whether the caller sees one of them. For couriers an order may also have gone from their sight.
    async fn concerns(&self, ids: &BTreeSet<OrderId>) -> bool {
        if let Some(only) = &self.only {
            return ids.contains(only);
        }
        if matches!(self.caller.role(), Role::Operator | Role::Courier) || ids.len() > LOOKED_UP {
            return true;
        }
        for id in ids {
            // Where it cannot be read, asking again does no harm.
            let found = self.orders.order(id).await;
            let sees = found.map_or(true, |order| order.is_some_and(|order| self.caller.sees(&order)));
            if sees {
                return true;
            }
        }
        false
    }
}

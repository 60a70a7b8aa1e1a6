//! Following the feed of all events. One reader follows the book of orders for all who listen, to all orders or to one, and
//! only while somebody does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};
use std::time::Duration;

use poem_openapi::types::ToJSON;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use workflows::order::{Event, OrderBook, Positioned};
use workflows::{OrderId, ProviderError, Role};

use super::json::EventJson;
use crate::ask::ask;
use crate::metrics::Metrics;

/// How far who listens to all orders may fall behind before something is missed, in events.
const BACKLOG: usize = 1024;
/// How many events are read at once.
pub(super) const PAGE: u32 = 200;
/// How long what other processes write may go unseen, and how long while somebody waits for one order.
const POLL: Duration = Duration::from_millis(250);
const POLL_FOR_ONE: Duration = Duration::from_millis(100);
/// What other processes write within this time is read together.
const GATHER: Duration = Duration::from_millis(10);
/// How long the store is left alone after it did not answer.
const RECOVERY: Duration = Duration::from_secs(1);
/// How long the feed is followed after the last who listened has gone.
const LINGER: Duration = Duration::from_secs(1);

/// The feed as this process follows it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Feed(Arc<Shared>);

struct Shared {
    orders: Arc<dyn OrderBook>,
    metrics: Metrics,
    told: broadcast::Sender<Arc<Told>>,
    /// Those who listen to one order. What was written together they hear together.
    listeners: Lock<Listeners>,
    /// Who follows the feed, if somebody does.
    follower: Mutex<Option<JoinHandle<()>>>,
}

type Listeners = HashMap<OrderId, Vec<mpsc::UnboundedSender<Vec<Event>>>>;

/// An event, written down once for all who listen.
pub(super) struct Told {
    pub order_id: OrderId,
    pub number: u64,
    pub position: u64,
    pub text: Text,
}

pub(super) struct Text {
    pub kind: &'static str,
    pub data: String,
    /// The same for those who are not told who it was, where somebody asked for it.
    pub data_for_others: Option<String>,
}

impl Feed {
    pub(crate) fn new(orders: Arc<dyn OrderBook>, metrics: Metrics) -> Self {
        Self(Arc::new(Shared {
            orders,
            metrics,
            told: broadcast::Sender::new(BACKLOG),
            listeners: Lock::default(),
            follower: Mutex::default(),
        }))
    }

    /// All events that are written from now on.
    pub(super) async fn listen(&self) -> Result<broadcast::Receiver<Arc<Told>>, ProviderError> {
        self.join(|shared| shared.told.subscribe()).await
    }

    /// The events of one order that are written from now on.
    pub(super) async fn listen_to(&self, id: &OrderId) -> Result<OfOrder, ProviderError> {
        let of_order = |shared: &Arc<Shared>| {
            let (tell, heard) = mpsc::unbounded_channel();
            shared.listeners().entry(id.clone()).or_default().push(tell);
            OfOrder { shared: shared.clone(), id: id.clone(), heard }
        };
        self.join(of_order).await
    }

    /// Has somebody listen, and the feed followed for them.
    async fn join<T>(&self, listen: impl FnOnce(&Arc<Shared>) -> T) -> Result<T, ProviderError> {
        let shared = &self.0;
        let mut follower = shared.follower.lock().await;
        let listens = listen(shared);
        if follower.as_ref().is_none_or(JoinHandle::is_finished) {
            // In this order: what is written in between comes both ways, and not neither.
            let written = shared.orders.written();
            let last = shared.orders.last_position().await?;
            *follower = Some(tokio::spawn(shared.clone().follow(written, last)));
        }
        Ok(listens)
    }
}

impl Shared {
    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_left_alone(&self) -> bool {
        self.told.receiver_count() == 0 && self.listeners().is_empty()
    }

    /// Tells what is written after a position, until nobody listens any more. What this process writes is handed on; it reads
    /// what others may have written before that, or at all.
    async fn follow(self: Arc<Self>, mut written: Receiver<Arc<[Positioned]>>, mut after: u64) {
        let (mut listened, mut reads) = (Instant::now(), true);
        loop {
            if reads {
                match ask("orders.feed", self.orders.feed(after, PAGE)).await {
                    Ok(events) => {
                        reads = !events.is_empty();
                        self.tell_all(&events, &mut after);
                    }
                    Err(_) => sleep(RECOVERY).await,
                }
            }
            let wait = match (reads, self.listeners().is_empty()) {
                (true, _) => GATHER,
                (false, true) => POLL,
                (false, false) => POLL_FOR_ONE,
            };
            match timeout(wait, written.recv()).await {
                // Where there is a gap, it is read together with what came after it.
                Ok(Ok(events)) => {
                    let follows = events.first().is_some_and(|first| first.position <= after + 1);
                    if follows {
                        self.tell_all(&events, &mut after);
                    }
                    reads |= !follows;
                }
                // Nothing is written any more in this process.
                Ok(Err(RecvError::Closed)) => {
                    sleep(wait).await;
                    reads = true;
                }
                Ok(Err(RecvError::Lagged(_))) | Err(_) => reads = true,
            }
            let mut follower = self.follower.lock().await;
            if !self.is_left_alone() {
                listened = Instant::now();
            } else if listened.elapsed() > LINGER {
                *follower = None;
                return;
            }
        }
    }

    /// Tells those after a position, which is that of the last of them then.
    fn tell_all(&self, events: &[Positioned], after: &mut u64) {
        let new = &events[events.partition_point(|event| event.position <= *after)..];
        for of_order in new.chunk_by(|one, next| one.event.order_id == next.event.order_id) {
            self.tell(of_order);
        }
        *after = events.last().map_or(*after, |last| last.position.max(*after));
    }

    /// Tells events of one order.
    fn tell(&self, told: &[Positioned]) {
        let Some(first) = told.first() else { return };
        for told in told {
            self.metrics.told_of(told.event.at);
        }
        if let Some(listeners) = self.listeners().get(&first.event.order_id) {
            for listener in listeners {
                // It may go at this moment.
                let _ = listener.send(told.iter().map(|told| told.event.clone()).collect());
            }
        }
        if self.told.receiver_count() > 0 {
            for told in told {
                let _ = self.told.send(Arc::new(Told::from(told.clone())));
            }
        }
    }
}

impl From<Positioned> for Told {
    fn from(Positioned { position, event }: Positioned) -> Self {
        let (order_id, number) = (event.order_id.clone(), event.number.into());
        Self { order_id, number, position, text: Text::of(event) }
    }
}

impl Text {
    pub(super) fn of(event: Event) -> Self {
        let of = |event, reader| EventJson::new(event, reader).to_json_string();
        Self {
            kind: event.fact.name(),
            data_for_others: event.by.is_some().then(|| of(event.clone(), Role::Customer)),
            data: of(event, Role::Operator),
        }
    }
}

/// Listens to one order.
pub(super) struct OfOrder {
    shared: Arc<Shared>,
    id: OrderId,
    heard: mpsc::UnboundedReceiver<Vec<Event>>,
}

impl OfOrder {
    /// The order's next events, with all that was written along with them; none where the time is over first.
    pub(super) async fn next(&mut self, until: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        let _ = timeout_at(until, self.heard.recv_many(&mut events, PAGE as usize)).await;
        events.into_iter().flatten().collect()
    }
}

impl Drop for OfOrder {
    fn drop(&mut self) {
        self.heard.close();
        let mut listeners = self.shared.listeners();
        if let Some(of_order) = listeners.get_mut(&self.id) {
            of_order.retain(|listener| !listener.is_closed());
            if of_order.is_empty() {
                listeners.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Failing, World, order};
    use workflows::Step;
    use workflows::order::Fact;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A world, an order of it, and who listens to that.
    async fn listening() -> (World, OrderId, OfOrder) {
        let world = World::new().await;
        let id = world.placed(order()).await;
        let feed = Feed::new(world.state.clone(), Metrics::new());
        let heard = feed.listen_to(&id).await.expect("the store is there");
        (world, id, heard)
    }

    fn fact() -> [(Step, Fact); 1] {
        [(Step::KitchenOffer, Fact::OrderOffered)]
    }

    /// The numbers of the next events: so many, and no more for now.
    async fn numbers(heard: &mut OfOrder, count: usize) -> Vec<u32> {
        let mut events = Vec::new();
        while events.len() < count {
            let next = heard.next(Instant::now() + PATIENCE).await;
            assert!(!next.is_empty(), "only {events:?}");
            events.extend(next.into_iter().map(|event| event.number));
        }
        events
    }

    #[tokio::test]
    async fn what_this_process_writes_is_handed_on_and_not_read() {
        let (world, id, mut heard) = listening().await;
        let last = world.state.last_of(&id);
        world.fail(Failing::StoreAway);
        world.state.write(&id, fact());
        world.state.write(&id, fact());
        assert_eq!(numbers(&mut heard, 2).await, [last + 1, last + 2]);
    }

    #[tokio::test]
    async fn what_is_written_together_is_heard_together() {
        let (world, id, mut heard) = listening().await;
        world.state.write(&id, [fact(), fact()].concat());
        // In one piece, so that nobody can come between.
        let piece = timeout_at(Instant::now() + PATIENCE, heard.heard.recv()).await.expect("in time");
        assert_eq!(piece.expect("a listener").len(), 2);
    }

    #[tokio::test]
    async fn what_others_write_comes_before_what_follows_it() {
        let (world, id, mut heard) = listening().await;
        let last = world.state.last_of(&id);
        for n in 0..5 {
            let first = last + 1 + 3 * n;
            world.state.write(&id, fact());
            world.state.write_elsewhere(&id, fact());
            world.state.write(&id, fact());
            assert_eq!(numbers(&mut heard, 3).await, [first, first + 1, first + 2]);
        }
    }

    #[tokio::test]
    async fn whoever_falls_behind_misses_nothing() {
        let (world, id, mut heard) = listening().await;
        let last = world.state.last_of(&id);
        // More than are kept for those who are slow.
        for _ in 0..100 {
            world.state.write(&id, fact());
        }
        assert_eq!(numbers(&mut heard, 100).await, (last + 1..=last + 100).collect::<Vec<_>>());
    }
}

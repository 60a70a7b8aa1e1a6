//! Live streams of events (server-sent events). A stream listens to the feed first, then reads what is stored, and then goes
//! on with what it hears: so it has every event once, in order, whatever is written meanwhile.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use poem::http::header;
use poem::{Body, IntoResponse, Response};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use tokio::io::{AsyncRead, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, oneshot, watch};
use tokio::time::{Instant, interval_at, sleep, timeout};
use workflows::OrderId;
use workflows::order::OrderBook;

use super::feed::{Feed, PAGE, Text, Told};
use super::json::{EventJson, is_told_who};
use crate::access::Caller;
use crate::ask::{Unanswered, ask};
use crate::kind::Kind;
use crate::problem::Problem;

/// How many streams may be open at a time.
const MOST_STREAMS: usize = 1000;
/// How often a stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a reader may not read while something waits for it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Means nothing to the reader.
const COMMENT: &[u8] = b":\n\n";
/// How many bytes may wait for a slow reader.
const BUFFER: usize = 16 * 1024;

/// The streams of this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Live(Arc<Shared>);

struct Shared {
    orders: Arc<dyn OrderBook>,
    feed: Feed,
    slots: Arc<Semaphore>,
    ending: watch::Sender<bool>,
}

/// Which events a stream has. They are numbered by order, or else by position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Order(OrderId),
    AllOrders,
}

impl Live {
    pub(crate) fn new(orders: Arc<dyn OrderBook>, feed: Feed) -> Self {
        Self(Arc::new(Shared {
            orders,
            feed,
            slots: Arc::new(Semaphore::new(MOST_STREAMS)),
            ending: watch::Sender::new(false),
        }))
    }

    pub(crate) fn feed(&self) -> &Feed {
        &self.0.feed
    }

    /// A stream of the subject's events after the one of that number, for as long as its reader's token is good.
    pub(crate) async fn stream(&self, subject: Subject, after: u64, reader: &Caller) -> Result<EventStream, Problem> {
        let (good_for, told_who) = (reader.good_for(), is_told_who(reader.role()));
        let slot = self.0.slots.clone().try_acquire_owned().map_err(|_| too_many())?;
        let heard = ask("orders.last_position", self.0.feed.listen()).await?;
        let (reader, pipe) = tokio::io::duplex(BUFFER);
        let (reading, gone) = oneshot::channel();
        let mut ending = self.0.ending.subscribe();
        let stream = Stream { shared: self.0.clone(), subject, told_who, after, heard, pipe };
        tokio::spawn(async move {
            let _slot = slot;
            tokio::select! {
                _ = gone => {},
                _ = ending.wait_for(|ending| *ending) => {},
                () = sleep(good_for) => {},
                // Its reader asks again, from where it was.
                _ = stream.run() => {},
            }
        });
        Ok(EventStream(Body::from_async_read(Reader { pipe: reader, _reading: reading })))
    }

    /// The orders of which something becomes true from now on, whosever they are.
    pub(crate) async fn changes(&self) -> Result<Changes, Problem> {
        let slot = self.0.slots.clone().try_acquire_owned().map_err(|_| too_many())?;
        let heard = ask("orders.last_position", self.0.feed.listen()).await?;
        Ok(Changes { heard, ending: self.0.ending.subscribe(), _slot: slot })
    }

    /// Ends all streams, and those to come: the server stops.
    pub(crate) fn end(&self) {
        self.0.ending.send_replace(true);
    }
}

/// Orders, as they change.
pub(crate) struct Changes {
    heard: broadcast::Receiver<Arc<Told>>,
    ending: watch::Receiver<bool>,
    _slot: OwnedSemaphorePermit,
}

/// That something became true.
pub(crate) enum Change {
    /// Of this order.
    Of(OrderId),
    /// Of orders that nobody can tell any more: there were too many.
    Missed,
}

impl Changes {
    /// The next change, until the server stops.
    pub(crate) async fn next(&mut self) -> Option<Change> {
        tokio::select! {
            _ = self.ending.wait_for(|ending| *ending) => None,
            heard = self.heard.recv() => match heard {
                Ok(told) => Some(Change::Of(told.order_id.clone())),
                Err(RecvError::Lagged(_)) => Some(Change::Missed),
                Err(RecvError::Closed) => None,
            },
        }
    }
}

fn too_many() -> Problem {
    Problem::new(Kind::TryAgainLater, "Too many streams are open. Please open this one after Retry-After.")
}

/// Why a stream ends before its reader has gone: what it has not sent is in the store.
enum Ended {
    Unanswered,
    NotRead,
}

impl From<Unanswered> for Ended {
    fn from(_: Unanswered) -> Self {
        Self::Unanswered
    }
}

impl From<std::io::Error> for Ended {
    fn from(_: std::io::Error) -> Self {
        Self::NotRead
    }
}

struct Stream {
    shared: Arc<Shared>,
    subject: Subject,
    /// Whether its reader is told who it was that asked for something.
    told_who: bool,
    /// The number of the last event that was sent.
    after: u64,
    heard: broadcast::Receiver<Arc<Told>>,
    pipe: DuplexStream,
}

impl Stream {
    async fn run(mut self) -> Result<(), Ended> {
        // So that whatever is in between passes the head of the answer on.
        self.write(COMMENT).await?;
        let mut keep_alive = interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        loop {
            self.catch_up().await?;
            let mut complete = true;
            while complete {
                tokio::select! {
                    heard = self.heard.recv() => complete = self.go_on(heard).await?,
                    _ = keep_alive.tick() => self.write(COMMENT).await?,
                }
            }
        }
    }

    /// Sends everything that is stored.
    async fn catch_up(&mut self) -> Result<(), Ended> {
        loop {
            let stored = self.stored().await?;
            if stored.is_empty() {
                return Ok(());
            }
            for (number, text) in stored {
                self.send(number, &text).await?;
            }
        }
    }

    async fn stored(&self) -> Result<Vec<(u64, Text)>, Unanswered> {
        let orders = &self.shared.orders;
        match &self.subject {
            Subject::Order(id) => {
                let after = u32::try_from(self.after).unwrap_or(u32::MAX);
                let events = ask("orders.events", orders.events(id, after, PAGE)).await?;
                Ok(events.into_iter().map(|event| (event.number.into(), Text::of(event))).collect())
            }
            Subject::AllOrders => {
                let events = ask("orders.feed", orders.feed(self.after, PAGE)).await?;
                Ok(events.into_iter().map(|told| (told.position, Text::of(told.event))).collect())
            }
        }
    }

    /// Sends what was heard if it is the next; `false` where something before it was missed.
    async fn go_on(&mut self, heard: Result<Arc<Told>, RecvError>) -> Result<bool, Ended> {
        let Ok(told) = heard else { return Ok(false) };
        let number = match &self.subject {
            Subject::Order(id) if told.order_id != *id => return Ok(true),
            Subject::Order(_) => told.number,
            Subject::AllOrders => told.position,
        };
        if number == self.after + 1 {
            self.send(number, &told.text).await?;
        }
        Ok(number <= self.after)
    }

    async fn send(&mut self, number: u64, text: &Text) -> Result<(), Ended> {
        let Text { kind, data, data_for_others } = text;
        let data = data_for_others.as_ref().filter(|_| !self.told_who).unwrap_or(data);
        self.write(format!("id: {number}\nevent: {kind}\ndata: {data}\n\n").as_bytes()).await?;
        self.after = number;
        Ok(())
    }

    /// A reader that has stopped reading does not keep its place for ever.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        timeout(PATIENCE, self.pipe.write_all(bytes)).await.map_err(|_| Ended::NotRead)??;
        Ok(())
    }
}

/// The reader's end of a stream. When it is dropped, nobody reads any more.
struct Reader {
    pipe: DuplexStream,
    _reading: oneshot::Sender<()>,
}

impl AsyncRead for Reader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(cx, buf)
    }
}

/// Events as they happen.
pub(crate) struct EventStream(Body);

impl Payload for EventStream {
    const CONTENT_TYPE: &'static str = "text/event-stream";

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            items: Some(Box::new(EventJson::schema_ref())),
            ..MetaSchema::new_with_format("array", "event-stream")
        }))
    }

    fn register(registry: &mut Registry) {
        EventJson::register(registry);
    }
}

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        Response::builder()
            .content_type(Self::CONTENT_TYPE)
            .header(header::CACHE_CONTROL, "no-store")
            // Some proxies would hold it back otherwise.
            .header("x-accel-buffering", "no")
            .body(self.0)
    }
}

//! The events of one order and of all: as pages, or as a live stream where the caller accepts one.

use std::sync::Arc;

use poem::http::HeaderMap;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi, ResponseContent};
use workflows::order::{OrderBook, Positioned};
use workflows::{OrderId, Role};

use super::json::EventJson;
use super::live::{EventStream, Live, Subject};
use super::read::find;
use crate::access::Caller;
use crate::ask::ask;
use crate::headers::{LastEventId, prefers_stream};
use crate::problem::{Refused, refusals};
use crate::tags::Tag;
use crate::value::{Checked, EventNumber, Limit, Position};

pub(crate) struct EventsApi {
    pub orders: Arc<dyn OrderBook>,
    pub live: Live,
}

refusals! {
    ListOrderEvents: InvalidRequest, NotFound, TryAgainLater;
    ListEvents: InvalidRequest, Forbidden, TryAgainLater;
}

/// A page of an order's events, oldest first.
#[derive(Object)]
struct EventPage {
    /// The events.
    items: Vec<EventJson>,
    /// The `after` of the next page; null on the last page.
    #[oai(nullable)]
    next_after: Option<u32>,
}

/// A page of the events of all orders, oldest first.
#[derive(Object)]
struct FeedPage {
    /// The events.
    items: Vec<PositionedEvent>,
    /// The `after` of the next page; null on the last page.
    #[oai(nullable)]
    next_after: Option<u64>,
}

/// A fact about an order, with its place among those about all orders.
#[derive(Object)]
struct PositionedEvent {
    /// Its place, from 1 without gaps, in the order of writing.
    position: u64,
    #[oai(flatten)]
    event: EventJson,
}

#[derive(ResponseContent)]
enum OrderEvents {
    Page(Json<EventPage>),
    Stream(EventStream),
}

#[derive(ResponseContent)]
enum AllEvents {
    Page(Json<FeedPage>),
    Stream(EventStream),
}

#[derive(ApiResponse)]
enum OrderEventsFound {
    /// A page of events; or, for a caller who accepts `text/event-stream`, a stream that stays open.
    #[oai(status = 200)]
    Found(OrderEvents),
}

#[derive(ApiResponse)]
enum EventsFound {
    /// A page of events; or, for a caller who accepts `text/event-stream`, a stream that stays open.
    #[oai(status = 200)]
    Found(AllEvents),
}

#[OpenApi(prefix_path = "/v1", tag = "Tag::Orders")]
impl EventsApi {
    /// List an order's events
    ///
    /// Everything that became true of the order, in the order in which it did, numbered from 1 without gaps. With
    /// `Accept: text/event-stream` the answer is a stream of server-sent events that goes on as more becomes true: `id` is
    /// the event's number, `event` its type, `data` the event itself. A stream that broke off goes on after
    /// `Last-Event-ID`.
    #[oai(path = "/orders/:order_id/events", method = "get", operation_id = "list_order_events")]
    async fn of_order(
        &self,
        caller: Caller,
        headers: &HeaderMap,
        /// The order's id.
        order_id: Path<Checked<OrderId>>,
        /// Only events with a greater number.
        #[oai(default = "EventNumber::none")]
        after: Query<Checked<EventNumber>>,
        /// How many events a page may have; a stream has no end.
        #[oai(default = "Limit::of_200")]
        limit: Query<Checked<Limit>>,
        /// For a stream: the `id` of the last event that the caller has. Goes before `after`.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<Checked<LastEventId>>>,
    ) -> Result<OrderEventsFound, Refused<ListOrderEvents>> {
        let Checked(id) = order_id.0;
        let (Checked(EventNumber(after)), Checked(Limit(limit))) = (after.0, limit.0);
        if prefers_stream(headers) {
            find(&*self.orders, &caller, &id).await?;
            let after = resumed(last_event_id.0).unwrap_or(after.into());
            let stream = self.live.stream(Subject::Order(id), after, &caller).await?;
            return Ok(OrderEventsFound::Found(OrderEvents::Stream(stream)));
        }
        find(&*self.orders, &caller, &id).await?;
        // One more tells whether there is another page.
        let mut events = ask("orders.events", self.orders.events(&id, after, limit + 1)).await?;
        let more = events.len() > limit as usize;
        events.truncate(limit as usize);
        let next_after = events.last().filter(|_| more).map(|event| event.number);
        let page = EventPage {
            items: events.into_iter().map(|event| EventJson::new(event, caller.role())).collect(),
            next_after,
        };
        Ok(OrderEventsFound::Found(OrderEvents::Page(Json(page))))
    }

    /// List all events
    ///
    /// Everything that became true of any order, in one order for all readers: no event is ever seen before one with a
    /// smaller `position`. With `Accept: text/event-stream` the answer is a stream of server-sent events that goes on as
    /// more becomes true: `id` is the event's position, `event` its type, `data` the event itself. A stream that broke off
    /// goes on after `Last-Event-ID`.
    #[oai(path = "/events", method = "get", operation_id = "list_events")]
    async fn of_all(
        &self,
        caller: Caller,
        headers: &HeaderMap,
        /// Only events with a greater position.
        #[oai(default = "Position::none")]
        after: Query<Checked<Position>>,
        /// How many events a page may have; a stream has no end.
        #[oai(default = "Limit::of_200")]
        limit: Query<Checked<Limit>>,
        /// For a stream: the `id` of the last event that the caller has. Goes before `after`.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<Checked<LastEventId>>>,
    ) -> Result<EventsFound, Refused<ListEvents>> {
        caller.must_be(&[Role::Operator])?;
        let (Checked(Position(after)), Checked(Limit(limit))) = (after.0, limit.0);
        if prefers_stream(headers) {
            let after = resumed(last_event_id.0).unwrap_or(after);
            let stream = self.live.stream(Subject::AllOrders, after, &caller).await?;
            return Ok(EventsFound::Found(AllEvents::Stream(stream)));
        }
        let mut events = ask("orders.feed", self.orders.feed(after, limit + 1)).await?;
        let more = events.len() > limit as usize;
        events.truncate(limit as usize);
        let next_after = events.last().filter(|_| more).map(|event| event.position);
        let page = FeedPage {
            items: events.into_iter().map(|event| PositionedEvent::new(event, caller.role())).collect(),
            next_after,
        };
        Ok(EventsFound::Found(AllEvents::Page(Json(page))))
    }
}

fn resumed(last_event_id: Option<Checked<LastEventId>>) -> Option<u64> {
    last_event_id.and_then(|Checked(LastEventId(id))| id)
}

impl PositionedEvent {
    fn new(Positioned { position, event }: Positioned, reader: Role) -> Self {
        Self { position, event: EventJson::new(event, reader) }
    }
}

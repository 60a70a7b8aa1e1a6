//! Events as they happen: of one order and of all, from wherever a stream broke off.

use std::sync::Arc;
use std::time::{Duration, Instant};

use poem::http::{Method, StatusCode};
use poem::{Endpoint, Response};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use workflows::order::Fact;
use workflows::{OrderId, Role, Step};

use crate::serve;
use crate::testing::{State, World, deps, order, request, request_as, token};

const PATIENCE: Duration = Duration::from_secs(20);

/// An event of a stream.
#[derive(Debug, PartialEq)]
struct Sent {
    id: u64,
    kind: String,
    data: Json,
}

/// A stream, as its reader has it.
struct Reader(BufReader<Box<dyn AsyncRead + Send + Unpin>>);

impl Reader {
    async fn open(world: &World, path: &str, last_event_id: Option<u64>) -> Self {
        Self::of(open(world, path, last_event_id).await)
    }

    fn of(answer: Response) -> Self {
        assert_eq!((answer.status(), answer.content_type()), (StatusCode::OK, Some("text/event-stream")));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        Self(BufReader::new(Box::new(Box::pin(answer.into_body().into_async_read()))))
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Sent> {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("an event in time")
    }

    async fn read(&mut self) -> Option<Sent> {
        let (mut id, mut kind, mut data) = (None, None, None);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).await.expect("readable") == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("id", text)) => id = text.parse().ok(),
                Some(("event", text)) => kind = Some(text.to_owned()),
                Some(("data", text)) => data = serde_json::from_str(text).ok(),
                _ => {
                    if let (Some(id), Some(kind), Some(data)) = (id.take(), kind.take(), data.take()) {
                        return Some(Sent { id, kind, data });
                    }
                }
            }
        }
    }
}

async fn open(world: &World, path: &str, last_event_id: Option<u64>) -> Response {
    let request = request(Method::GET, path).header("accept", "text/event-stream");
    let request = last_event_id.into_iter().fold(request, |request, id| request.header("last-event-id", id));
    world.app.get_response(request.finish()).await
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn fact() -> [(Step, Fact); 1] {
    [(Step::KitchenOffer, Fact::OrderOffered)]
}

/// Writes so many events about each order, and lets others run in between.
async fn write_about(state: Arc<State>, ids: Vec<OrderId>, count: u64) {
    for n in 0..count {
        for id in &ids {
            if n % 3 == 0 {
                state.write_elsewhere(id, fact());
            } else {
                state.write(id, fact());
            }
            tokio::task::yield_now().await;
        }
        if n % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Reads a stream to its event of number `last`, breaking it off again and again.
async fn read_in_pieces(world: &World, path: &str, last: u64, piece: u64) -> Vec<Sent> {
    let mut all: Vec<Sent> = Vec::new();
    while all.last().is_none_or(|sent| sent.id < last) {
        let mut reader = Reader::open(world, path, all.last().map(|sent| sent.id)).await;
        for _ in 0..piece {
            all.push(reader.next().await.expect("more"));
            if all.last().is_some_and(|sent| sent.id == last) {
                break;
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resumed_streams_have_no_gap_and_no_duplicate_while_events_are_written() {
    let world = World::new().await;
    let ids = vec![world.placed(order()).await, world.placed(order()).await, world.placed(order()).await];
    let each = 500;
    let of_order = each + 5;
    let writing = tokio::spawn(write_about(world.state.clone(), ids.clone(), each));
    let paths = [&ids[0], &ids[1]].map(|id| format!("/v1/orders/{id}/events"));
    let (first, second, all, paged) = tokio::join!(
        read_in_pieces(&world, &paths[0], of_order, 7),
        read_in_pieces(&world, &paths[1], of_order, 160),
        read_in_pieces(&world, "/v1/events", of_order * 3, 91),
        read_in_pieces(&world, "/v1/events", of_order * 3, u64::MAX),
    );
    writing.await.expect("no panic");
    for (sent, path) in [(&first, &paths[0]), (&second, &paths[1])] {
        assert!((1..=of_order).eq(sent.iter().map(|sent| sent.id)), "{:?}", sent.iter().map(|sent| sent.id));
        let stored = world.get(path).await.body["items"].clone();
        assert!(stored.as_array().expect("items").iter().zip(sent).all(|(item, sent)| *item == sent.data));
        assert!(sent.iter().all(|sent| sent.data["type"] == sent.kind && sent.data["number"] == sent.id));
    }
    assert!((1..=of_order * 3).eq(all.iter().map(|sent| sent.id)));
    assert_eq!(all, paged);
    // Nobody listens any more, so nobody follows.
    until("the feed is left alone", || world.state.followers() == 0).await;
}

#[tokio::test]
async fn a_stream_that_falls_behind_misses_nothing() {
    let world = World::new().await;
    let id = world.placed(order()).await;
    let mut slow = Reader::open(&world, &format!("/v1/orders/{id}/events"), Some(4)).await;
    assert_eq!(slow.next().await.map(|sent| sent.id), Some(5));
    // More than are kept for it, while it does not read.
    write_about(world.state.clone(), vec![id.clone()], 3_000).await;
    for number in 6..=3_005 {
        assert_eq!(slow.next().await.map(|sent| sent.id), Some(number));
    }
}

#[tokio::test]
async fn a_stream_begins_where_it_is_told() {
    let world = World::new().await;
    let id = world.placed(order()).await;
    let path = format!("/v1/orders/{id}/events");
    for (query, last_event_id, first) in
        [("", None, 1), ("?after=3", None, 4), ("?after=3", Some(1), 2), ("?after=3&limit=1", Some(4), 5)]
    {
        let mut reader = Reader::open(&world, &format!("{path}{query}"), last_event_id).await;
        assert_eq!(reader.next().await.map(|sent| sent.id), Some(first), "{query} {last_event_id:?}");
    }
    let mut reader = Reader::open(&world, &path, None).await;
    let placed = reader.next().await.expect("an event");
    assert_eq!((placed.kind.as_str(), &placed.data["id"]), ("order_placed", &json!(format!("{id}/1"))));
    let nobodys = open(&world, &format!("/v1/orders/ord_{:032}/events", 0), None).await;
    assert_eq!(nobodys.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_does_not_ask_for_a_stream_has_pages() {
    let world = World::new().await;
    let id = world.placed(order()).await;
    world.placed(order()).await;
    let page = world.get("/v1/events?after=3&limit=4").await;
    assert_eq!(page.header("vary"), Some("accept, accept-language"));
    let items = page.body["items"].as_array().expect("items");
    let positions: Vec<_> = items.iter().map(|item| item["position"].as_u64().expect("a position")).collect();
    assert_eq!((positions, &page.body["next_after"]), (vec![4, 5, 6, 7], &json!(7)));
    assert_eq!((&items[0]["id"], &items[0]["number"]), (&json!(format!("{id}/4")), &json!(4)));
    assert_eq!(world.get("/v1/events?after=7").await.body["next_after"], Json::Null);
    world.get("/v1/events?after=-1").await.is_problem(400, "invalid-request");
    let head = request(Method::HEAD, "/v1/events").header("accept", "text/event-stream").finish();
    assert_eq!(world.send(head).await.status, StatusCode::OK);
}

#[tokio::test]
async fn only_so_many_streams_are_open_at_a_time() {
    let world = World::new().await;
    let mut open_streams = Vec::new();
    let refused = loop {
        let answer = open(&world, "/v1/events", None).await;
        if answer.status() != StatusCode::OK {
            break answer;
        }
        open_streams.push(answer);
    };
    assert_eq!((open_streams.len(), refused.status()), (1_000, StatusCode::SERVICE_UNAVAILABLE));
    assert!(refused.header("retry-after").is_some());
    open_streams.pop();
    let deadline = Instant::now() + PATIENCE;
    while open(&world, "/v1/events", None).await.status() != StatusCode::OK {
        assert!(Instant::now() < deadline, "a place is free again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_open_stream_does_not_hold_up_the_stop() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/v1/events", listener.local_addr().expect("bound"));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let deps = deps(&Arc::new(State::new()), "http://127.0.0.1:1");
    let serving = tokio::spawn(serve(listener, deps, async { drop(stopped.await) }, Duration::from_mins(10)));
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut answer = client.get(&url).header("accept", "text/event-stream").send().await.expect("an answer");
    assert!(answer.chunk().await.expect("it is open").is_some(), "it shows at once that it lives");
    drop(stop);
    tokio::time::timeout(PATIENCE, serving).await.expect("in time").expect("no panic").expect("served");
    assert_eq!(answer.chunk().await.ok().flatten(), None);
}

#[tokio::test]
async fn who_asked_for_it_is_told_to_those_who_may_know() {
    let world = World::new().await;
    let id = world.placed(order()).await;
    let path = format!("/v1/orders/{id}/events");
    for (role, subject) in
        [(Role::Customer, Json::Null), (Role::Merchant, json!("kim")), (Role::Operator, json!("kim"))]
    {
        let request = || request_as(&token(role, "kim"), Method::GET, &path);
        let page = world.send(request().finish()).await.body;
        let stream = world.app.get_response(request().header("accept", "text/event-stream").finish()).await;
        let mut stream = Reader::of(stream);
        for n in 0..2 {
            let by = if n == 0 { json!({"role": "customer", "subject": subject}) } else { Json::Null };
            let told = stream.next().await.expect("an event").data;
            assert_eq!((&page["items"][n]["by"], &told["by"]), (&by, &by), "{role}");
            // Whose order it is, too.
            let customer = if n == 0 { &subject } else { &Json::Null };
            assert_eq!((&page["items"][n]["data"]["customer_id"], &told["data"]["customer_id"]), (customer, customer));
        }
    }
}

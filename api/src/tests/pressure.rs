//! Under pressure: R18, R26, R34 as far as they need an engine that does as it is told, or a client that does not.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use poem::http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use workflows::order::{Fact, Rejection};
use workflows::{Context, OrderId, Role, Sku, Step};

use crate::testing::{Answer, Fate, State, World, deps, order, request, request_as, token, unlimited};
use crate::{BreakerLimits, Deps, Limits, serve};

const DEADLINE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_millis(200);

async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !ask().await {
        assert!(Instant::now() < deadline, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What `/metrics` says of a metric, which is named with its labels.
async fn metric(world: &World, name: &str) -> Option<f64> {
    let page = world.get("/metrics").await;
    assert_eq!(page.status, 200);
    page.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// The deadline of the wait is far away.
async fn place_and_wait(world: &World) -> Answer {
    world.post("/v1/orders", &[("prefer", "wait=60")], order()).await
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let few = NonZeroU32::new(5).expect("is not zero");
    let world = World::limited(Limits { requests_per_second: NonZeroU32::MIN, burst: few, ..unlimited() }).await;
    // Two were spent on the world, and every answer says how many are left.
    for (path, status) in [("/v1/nothing", 404), ("/v1/orders?limit=0", 400)] {
        let answer = world.get(path).await;
        assert_eq!(answer.status, status);
        assert!(answer.header("ratelimit").is_some_and(|left| left.starts_with("\"principal\";r=")), "{answer:?}");
        assert_eq!(answer.header("ratelimit-policy"), Some("\"principal\";q=5;w=5"));
    }
    let mut placed = 0;
    let refused = loop {
        let answer = world.post("/v1/orders", &[], order()).await;
        if answer.status != 201 {
            break answer;
        }
        placed += 1;
        assert!(placed < 1000, "no end to it");
    };
    refused.is_problem(429, "too-many-requests");
    assert_eq!((refused.header("retry-after"), world.state.placed()), (Some("1"), placed));
    assert_eq!(refused.header("ratelimit"), Some("\"principal\";r=0;t=1"));
    for open in ["/livez", "/readyz", "/metrics", "/docs", "/openapi.json"] {
        let answer = world.get(open).await;
        assert_eq!((answer.status.as_u16(), answer.header("ratelimit")), (200, None), "{open}");
    }
    assert_eq!(metric(&world, "jumun_rate_limited_total{who=\"principal\"}").await, Some(1.0));
    // Another role of the same name, and another customer, are others.
    assert_eq!(world.get("/v1/lifecycles").await.status, 200);
    let other = request_as(&token(Role::Customer, "lee"), Method::GET, "/v1/lifecycles").finish();
    assert_eq!(world.send(other).await.status, 200);
    until("the bucket to fill", async || world.post("/v1/orders", &[], order()).await.status == 201).await;
}

#[tokio::test]
async fn a_flood_of_bad_tokens_from_one_address_is_told_to_slow_down() {
    let few = NonZeroU32::new(5).expect("is not zero");
    let address = serving(Limits { requests_per_second: NonZeroU32::MIN, burst: few, ..unlimited() }).await;
    let ask = async |token: &str| {
        let head = format!("GET /v1/lifecycles HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
        exchange(&mut connect(address).await, &head).await
    };
    let mut refused = 0;
    let last = loop {
        let answer = ask("a.b.c").await;
        if !answer.starts_with("HTTP/1.1 401") {
            break answer;
        }
        refused += 1;
        assert!(refused < 1000, "no end to it");
    };
    assert!(last.starts_with("HTTP/1.1 429") && last.contains("retry-after: 1") && refused >= 5, "{last}");
    // Others may come from there, too.
    assert!(ask(&token(Role::Customer, "kim")).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn placing_is_shed_while_reading_goes_on() {
    let world = Arc::new(World::limited(Limits { open_placements: 2, ..unlimited() }).await);
    world.set_fate(Fate::Waits);
    // One caller waits, the other was answered before anything was decided: both orders are open.
    let waiting = tokio::spawn({
        let world = world.clone();
        async move { place_and_wait(&world).await }
    });
    until("an order", async || world.state.placed() == 1).await;
    let undecided = world.post("/v1/orders", &[("prefer", "wait=0")], order()).await;
    assert_eq!(undecided.status, 202, "{undecided:?}");
    assert_eq!(metric(&world, "jumun_open_placements").await, Some(2.0));
    let refused = world.post("/v1/orders", &[], order()).await;
    refused.is_problem(503, "try-again-later");
    assert!(refused.header("retry-after").is_some());
    assert_eq!((world.state.placed(), world.get("/v1/orders").await.status.as_u16()), (2, 200));
    assert_eq!(metric(&world, "jumun_shed_total{what=\"placements\"}").await, Some(1.0));

    for item in world.get("/v1/orders").await.body["items"].as_array().expect("a list") {
        let id: OrderId = item["id"].as_str().and_then(|id| id.parse().ok()).expect("an order id");
        world.state.write(&id, [(Step::PaymentCharge, Fact::OrderPaid)]);
    }
    assert_eq!(waiting.await.expect("no panic").status, 201, "what was taken is answered");
    world.set_fate(Fate::Stands);
    until("a place", async || world.post("/v1/orders", &[], order()).await.status == 201).await;
    until("all places", async || metric(&world, "jumun_open_placements").await == Some(0.0)).await;
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_the_order_in_its_place() {
    let world = Arc::new(World::limited(Limits { open_placements: 1, ..unlimited() }).await);
    world.set_fate(Fate::Waits);
    let waiting = tokio::spawn({
        let world = world.clone();
        async move { place_and_wait(&world).await }
    });
    // It was submitted, and is waited for.
    until("an order", async || world.state.placed() == 1 && world.state.has_watched()).await;
    waiting.abort();
    assert!(waiting.await.is_err(), "gone");
    world.post("/v1/orders", &[], order()).await.is_problem(503, "try-again-later");
}

#[tokio::test]
async fn requests_of_one_order_have_one_place() {
    let world = Arc::new(World::limited(Limits { open_placements: 1, ..unlimited() }).await);
    world.set_fate(Fate::Waits);
    let requests: Vec<_> = (0..8)
        .map(|_| {
            let world = world.clone();
            let headers = [("idempotency-key", "k-1"), ("prefer", "wait=60")];
            tokio::spawn(async move { world.post("/v1/orders", &headers, order()).await })
        })
        .collect();
    until("an order", async || world.get("/v1/orders").await.body["items"][0]["id"].is_string()).await;
    world.post("/v1/orders", &[], order()).await.is_problem(503, "try-again-later");
    let item = world.get("/v1/orders").await.body["items"][0]["id"].clone();
    let id: OrderId = item.as_str().and_then(|id| id.parse().ok()).expect("an order id");
    world.state.write(&id, [(Step::PaymentCharge, Fact::OrderPaid)]);
    for request in requests {
        let answer = request.await.expect("no panic");
        assert_eq!((answer.status.as_u16(), &answer.body["id"]), (201, &item), "{answer:?}");
    }
}

#[tokio::test]
async fn more_requests_than_are_taken_on_are_turned_away_at_once() {
    let world = Arc::new(World::limited(Limits { open_requests: 1, ..unlimited() }).await);
    world.set_fate(Fate::Waits);
    let waiting = tokio::spawn({
        let world = world.clone();
        async move { place_and_wait(&world).await }
    });
    until("an order", async || world.state.placed() == 1).await;
    let refused = world.get("/v1/orders").await;
    refused.is_problem(503, "try-again-later");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(metric(&world, "jumun_open_requests").await, Some(1.0));
    assert_eq!(world.get("/livez").await.status, 200);
    waiting.abort();
    until("a place", async || world.get("/v1/orders").await.status == 200).await;
}

const BREAKER: BreakerLimits = BreakerLimits {
    failures_percent: 50,
    samples: 3,
    window: Duration::from_mins(1),
    slow_after: Duration::from_mins(1),
    open_for: Duration::from_secs(2),
    probes: 1,
};

async fn breaker(world: &World) -> String {
    world.get("/v1/dashboard").await.body["breaker"].as_str().expect("a state").to_owned()
}

#[tokio::test]
async fn the_breaker_opens_when_payment_fails_and_closes_by_itself() {
    let world = World::limited(Limits { breaker: BREAKER, ..unlimited() }).await;
    assert_eq!(breaker(&world).await, "closed");
    world.set_fate(Fate::Rejected(Rejection::Unavailable { context: Context::Payment }));
    for _ in 0..3 {
        world.post("/v1/orders", &[], order()).await.is_problem(503, "try-again-later");
    }
    assert_eq!((breaker(&world).await.as_str(), world.state.placed()), ("open", 3));
    for (state, value) in [("closed", 0.0), ("open", 1.0), ("half_open", 0.0)] {
        let name = format!("jumun_breaker_state{{state=\"{state}\"}}");
        assert_eq!(metric(&world, &name).await, Some(value), "{name}");
    }
    // The engine is not asked.
    let refused = world.post("/v1/orders", &[("idempotency-key", "k-1")], order()).await;
    refused.is_problem(503, "try-again-later");
    assert!(matches!(refused.header("retry-after"), Some("1" | "2")), "{refused:?}");
    assert_eq!(world.state.placed(), 3);
    assert_eq!(metric(&world, "jumun_shed_total{what=\"card_payments\"}").await, Some(1.0));

    // It half-opens by itself, and opens again while payment does not work.
    until("half open", async || breaker(&world).await == "half_open").await;
    world.post("/v1/orders", &[], order()).await.is_problem(503, "try-again-later");
    assert_eq!((breaker(&world).await.as_str(), world.state.placed()), ("open", 4));

    // Bank transfers are taken all the while.
    world.set_fate(Fate::Stands);
    let mall = json!({"name": "M", "currency": "KRW", "lifecycle": "shopping-mall"});
    world.put("/v1/merchants/mall", mall).await;
    let price = json!({"amount": 500, "currency": "KRW"});
    let product = json!({"name": "Lamp", "unit_price": price, "on_hand": 10});
    world.put("/v1/merchants/mall/products/lamp", product).await;
    let mut deposit = order();
    deposit["merchant_id"] = json!("mall");
    deposit["lines"][0]["sku"] = json!("lamp");
    deposit["payment"] = json!({"method": "deposit"});
    let placed = world.post("/v1/orders", &[], deposit).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    assert_ne!(breaker(&world).await, "closed");

    until("a card order", async || world.post("/v1/orders", &[], order()).await.status == 201).await;
    assert_eq!(breaker(&world).await, "closed");
    for (state, times) in [("open", 2.0), ("half_open", 2.0), ("closed", 1.0)] {
        let name = format!("jumun_breaker_transitions_total{{to=\"{state}\"}}");
        assert_eq!(metric(&world, &name).await, Some(times), "{name}");
    }
}

#[tokio::test]
async fn an_order_that_stands_is_told_again_while_card_payments_are_turned_away() {
    let world = World::limited(Limits { breaker: BREAKER, ..unlimited() }).await;
    let key = [("idempotency-key", "k-1")];
    let placed = world.post("/v1/orders", &key, order()).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    world.set_fate(Fate::Rejected(Rejection::Unavailable { context: Context::Payment }));
    for _ in 0..2 {
        world.post("/v1/orders", &[], order()).await.is_problem(503, "try-again-later");
    }
    assert_eq!(breaker(&world).await, "open");
    let again = world.post("/v1/orders", &key, order()).await;
    assert_eq!((again.status, &again.body), (placed.status, &placed.body));
    let mut other = order();
    other["lines"][0]["quantity"] = json!(3);
    world.post("/v1/orders", &key, other).await.is_problem(422, "idempotency-key-reused");
    assert_eq!(world.state.placed(), 3);
}

#[tokio::test]
async fn the_breaker_does_not_mind_what_is_not_the_payment_providers_fault() {
    let world = World::limited(Limits { breaker: BREAKER, ..unlimited() }).await;
    let sku: Sku = "gochujang".parse().expect("a SKU");
    for (rejection, status) in [
        (Rejection::PaymentDeclined { reason: "card_declined".to_owned() }, 402),
        (Rejection::OutOfStock { sku, available: 0 }, 409),
        (Rejection::Unavailable { context: Context::Stock }, 503),
    ] {
        world.set_fate(Fate::Rejected(rejection));
        for _ in 0..5 {
            assert_eq!(world.post("/v1/orders", &[], order()).await.status, status);
        }
    }
    let mut unknown = order();
    unknown["merchant_id"] = json!("nobody");
    for _ in 0..5 {
        world.post("/v1/orders", &[], unknown.clone()).await.is_problem(422, "unknown-merchant");
    }
    world.set_fate(Fate::Fails);
    let key = |n| format!("k-{n}");
    for n in 0..5 {
        let headers = [("prefer", "wait=0"), ("idempotency-key", &key(n))];
        world.post("/v1/orders", &headers, order()).await.is_problem(503, "try-again-later");
    }
    assert_eq!(breaker(&world).await, "closed");
}

#[tokio::test]
async fn a_head_is_of_bounded_size() {
    let world = World::new().await;
    let long = request(Method::GET, "/v1/orders").header("x-long", "x".repeat(17 * 1024)).finish();
    let url = request(Method::GET, &format!("/v1/orders?cursor={}", "x".repeat(17 * 1024))).finish();
    let many = (0..65).fold(request(Method::GET, "/v1/orders"), |many, n| many.header(format!("x-{n}"), "x")).finish();
    for too_large in [long, url, many] {
        world.send(too_large).await.is_problem(431, "head-too-large");
    }
}

#[tokio::test]
async fn requests_are_counted_by_operation_and_status() {
    let world = World::new().await;
    let id = world.placed(order()).await;
    world.get(&format!("/v1/orders/{id}")).await;
    world.get(&format!("/v1/orders/ord_{}", "0".repeat(32))).await.is_problem(404, "not-found");
    world.get("/v1/nothing").await.is_problem(404, "not-found");
    for (labels, times) in [
        ("operation=\"place_order\",status=\"201\"", 1.0),
        ("operation=\"get_order\",status=\"200\"", 1.0),
        ("operation=\"get_order\",status=\"404\"", 1.0),
        ("operation=\"other\",status=\"404\"", 1.0),
    ] {
        assert_eq!(metric(&world, &format!("jumun_http_requests_total{{{labels}}}")).await, Some(times), "{labels}");
    }
    let count = metric(&world, "jumun_http_request_duration_seconds_count{operation=\"get_order\"}").await;
    assert_eq!(count, Some(2.0));
    let page = world.get("/metrics").await;
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")), "{page:?}");
    assert!(!page.text.contains("ord_"), "{}", page.text);
    for line in page.text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        assert!(line.starts_with("jumun_"), "{line}");
    }
}

/// Serves the API on a port of its own, with little patience.
async fn serving(limits: Limits) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let deps = Deps { limits, ..deps(&Arc::new(State::new()), "http://127.0.0.1:1") };
    tokio::spawn(serve(listener, deps, std::future::pending(), Duration::ZERO));
    address
}

fn impatient() -> Limits {
    Limits { head_timeout: PATIENCE, body_timeout: PATIENCE, write_timeout: PATIENCE, ..unlimited() }
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("connects")
}

/// Sends a request, and reads until the end of the answer's head at least.
async fn exchange(stream: &mut TcpStream, head: &str) -> String {
    stream.write_all(head.as_bytes()).await.expect("writes");
    let mut answer = Vec::new();
    while !answer.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let read = tokio::time::timeout(DEADLINE, stream.read_buf(&mut answer)).await.expect("in time").expect("reads");
        assert!(read > 0, "closed before it was answered");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Everything that comes until the connection is closed, which it has to be before long.
async fn rest(mut stream: TcpStream) -> String {
    let mut rest = Vec::new();
    let _reset = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("closed in time");
    String::from_utf8_lossy(&rest).into_owned()
}

#[tokio::test]
async fn a_head_that_never_ends_is_hung_up_on() {
    let address = serving(impatient()).await;
    assert_eq!(rest(connect(address).await).await, "", "a connection that says nothing");
    for before in ["", "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let mut stream = connect(address).await;
        if !before.is_empty() {
            assert!(exchange(&mut stream, before).await.starts_with("HTTP/1.1 200"));
        }
        let (reader, mut writer) = stream.into_split();
        let dribble = tokio::spawn(async move {
            let _ = writer.write_all(b"GET /livez HTTP/1.1\r\n").await;
            // As long as anybody listens.
            while writer.write_all(b"x-a: b\r\n").await.is_ok() {
                tokio::time::sleep(PATIENCE / 10).await;
            }
            writer
        });
        let writer = tokio::time::timeout(DEADLINE, dribble).await.expect("hung up on").expect("no panic");
        let answer = rest(reader.reunite(writer).expect("of one connection")).await;
        assert!(!answer.contains("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn strangers_who_take_their_time_take_no_place_from_others() {
    let address = serving(Limits { open_requests: 8, ..unlimited() }).await;
    let mut slow = connect(address).await;
    slow.write_all(b"POST /sign-in HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n").await.expect("writes");
    let asked = async |head: &str| {
        let answer = exchange(&mut connect(address).await, &format!("GET {head}\r\nhost: x\r\n\r\n")).await;
        answer.split(' ').nth(1).map(str::to_owned)
    };
    until("its place", async || asked("/sign-in HTTP/1.1").await.as_deref() == Some("503")).await;
    let known = format!("/v1/lifecycles HTTP/1.1\r\nauthorization: Bearer {}", token(Role::Customer, "kim"));
    assert_eq!(asked(&known).await.as_deref(), Some("200"));
    assert_eq!(asked("/livez HTTP/1.1").await.as_deref(), Some("200"));
}

#[tokio::test]
async fn a_connection_that_was_answered_may_be_quiet() {
    let address = serving(impatient()).await;
    let mut stream = connect(address).await;
    for _ in 0..3 {
        assert!(exchange(&mut stream, "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.starts_with("HTTP/1.1 200"));
        tokio::time::sleep(PATIENCE * 2).await;
    }
}

#[tokio::test]
async fn a_body_that_dribbles_in_is_refused() {
    let mut stream = connect(serving(impatient()).await).await;
    let head = format!(
        "POST /v1/orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: 1000\r\n\r\n{{",
        token(Role::Customer, "kim")
    );
    let answer = exchange(&mut stream, &head).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn a_huge_head_is_refused_before_it_is_read_to_its_end() {
    let address = serving(impatient()).await;
    for (size, problem) in [(17 * 1024, true), (65 * 1024, false)] {
        let mut stream = connect(address).await;
        let head = format!("GET /v1/orders HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-long: {}", "x".repeat(size));
        let end = if problem { "\r\n\r\n" } else { "" };
        stream.write_all((head + end).as_bytes()).await.expect("writes");
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        assert_eq!(answer.contains("/problems/head-too-large"), problem, "{answer}");
    }
}

#[tokio::test]
async fn a_client_who_does_not_read_is_hung_up_on() {
    let address = serving(impatient()).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut deaf = socket.connect(address).await.expect("connects");
    // More answers than anything in between can hold.
    let asking = tokio::spawn(async move {
        for _ in 0..1000 {
            if deaf.write_all(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n").await.is_err() {
                break;
            }
        }
        deaf
    });
    let connections = async || {
        let mut stream = connect(address).await;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("writes");
        let page = rest(stream).await;
        let open = page.lines().find_map(|line| line.strip_prefix("jumun_open_connections ")).map(str::to_owned);
        open.unwrap_or_else(|| panic!("{page}"))
    };
    until("it to be served", async || connections().await == "2").await;
    until("it to be hung up on", async || connections().await == "1").await;
    drop(asking.await);
}

#[tokio::test]
async fn more_connections_than_are_taken_on_are_closed_at_once() {
    let address = serving(Limits { connections: 1, ..unlimited() }).await;
    let live = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut first = connect(address).await;
    assert!(exchange(&mut first, live).await.starts_with("HTTP/1.1 200"));
    assert_eq!(rest(connect(address).await).await, "");
    assert!(exchange(&mut first, live).await.starts_with("HTTP/1.1 200"));
    drop(first);
    until("a place", async || {
        let mut stream = connect(address).await;
        let _ = stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        rest(stream).await.starts_with("HTTP/1.1 200")
    })
    .await;
}

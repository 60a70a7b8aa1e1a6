//! Under pressure: R18, R26, R34. Callers are turned away for a moment and asked to come back, and what was acknowledged
//! goes on.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use tests::{Answer, Jumun, Shop, expect_order, until};
use workflows::Role;

/// As many requests as a test likes.
const ANY_RATE: (&str, &str) = ("BURST", "1000000");
/// Card orders are turned away after three payments that failed, for two seconds.
const TOUCHY: [(&str, &str); 4] =
    [ANY_RATE, ("BREAKER__SAMPLES", "3"), ("BREAKER__OPEN_FOR", "2s"), ("BREAKER__PROBES", "1")];

impl Under<'_> {
    async fn breaker(&self) -> String {
        self.0.get("/v1/dashboard").await.ok()["breaker"].as_str().expect("a state").to_owned()
    }

    /// What `/metrics` says of a metric, which is named with its labels.
    async fn metric(&self, name: &str) -> f64 {
        let page = self.0.get("/metrics").await.ok();
        let page = page.as_str().expect("text");
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("{name} in {page}"))
    }
}

/// A system under pressure.
struct Under<'a>(&'a Jumun);

/// How many orders the shop has, whatever became of them.
async fn orders(shop: &Shop<'_>) -> usize {
    let listed = shop.jumun.get(&format!("/v1/orders?merchant_id={}&limit=200", shop.merchant_id)).await.ok();
    listed["items"].as_array().expect("a list").len()
}

fn retry_after(answer: &Answer) -> u64 {
    answer.header("retry-after").parse().unwrap_or_else(|_| panic!("seconds in {answer:#?}"))
}

#[tokio::test]
async fn r18_who_asks_too_often_is_told_when_to_come_back() {
    let jumun = Jumun::limited(&[("REQUESTS_PER_SECOND", "10"), ("BURST", "40")]).await;
    let refused = until("too many requests", async || {
        let answers = join_all((0..50).map(|_| jumun.get("/v1/orders"))).await;
        for answer in &answers {
            assert_eq!(answer.header("ratelimit-policy"), "\"principal\";q=40;w=4", "{answer:#?}");
            assert!(answer.header("ratelimit").starts_with("\"principal\";r="), "{answer:#?}");
        }
        answers.into_iter().find(|answer| answer.status != 200)
    })
    .await;
    assert_eq!((refused.header("ratelimit"), retry_after(&refused)), ("\"principal\";r=0;t=1", 1));
    let _ = refused.problem(429, "too-many-requests");
    // Nobody else is, in the same moment, and those who only look after it never are.
    let other = jumun.as_role(Role::Operator, "another", None);
    assert_eq!((other.get("/v1/orders").await.status, jumun.get("/readyz").await.status), (200, 200));
    until("another answer", async || (jumun.get("/v1/orders").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn r26_r34_card_orders_are_turned_away_while_payment_is_down() {
    let jumun = Jumun::limited(&TOUCHY).await;
    let under = Under(&jumun);
    let shop = Shop::open(&jumun).await;
    let mall = Shop::open_with(&jumun, "shopping-mall").await;
    jumun.sandbox("payment", "down").await;
    for refused in join_all((0..3).map(|_| shop.place("tok_ok", 1))).await {
        let _ = refused.problem(503, "try-again-later");
    }
    assert_eq!(under.breaker().await, "open");
    assert!((under.metric("jumun_breaker_state{state=\"open\"}").await - 1.0).abs() < f64::EPSILON);

    // At once, without an order that would have to be called off: not even a rejected one.
    let tried = orders(&shop).await;
    let refused = loop {
        let refused = shop.place("tok_ok", 1).await;
        if under.breaker().await == "open" {
            break refused;
        }
    };
    assert!((1..=2).contains(&retry_after(&refused)), "{refused:#?}");
    let _ = refused.problem(503, "try-again-later");
    assert!(orders(&shop).await <= tried + 1, "one to try whether payment works, at most");
    // Bank transfers are taken around the clock: R17.
    let deposit = mall.placed().await;
    assert_eq!(jumun.order(&deposit).await["status"], "placed");

    // It half-opens and closes by itself, and its own attempts are all that it lets through before.
    jumun.sandbox("payment", "up").await;
    let placed = until("a card order", async || {
        let answer = shop.place("tok_ok", 1).await;
        (answer.status == 201).then_some(answer.body)
    })
    .await;
    assert_eq!(under.breaker().await, "closed");
    shop.reaches(&expect_order(&placed), "in_delivery").await;
    assert!(under.metric("jumun_breaker_transitions_total{to=\"half_open\"}").await >= 1.0);
    assert!((under.metric("jumun_breaker_transitions_total{to=\"closed\"}").await - 1.0).abs() < f64::EPSILON);
    jumun.ask(&deposit, "confirm-deposit").await;
}

#[tokio::test]
async fn r34_a_payment_provider_that_is_slow_is_left_alone_too() {
    let settings: Vec<_> = TOUCHY.into_iter().chain([("BREAKER__SLOW_AFTER", "1s")]).collect();
    let jumun = Jumun::limited(&settings).await;
    let under = Under(&jumun);
    let shop = Shop::open(&jumun).await;
    let slow = json!({ "mode": "slow", "delay_ms": 1500 });
    let _ = jumun.put("/v1/sandbox/payment", &slow).await.ok();
    let placed = join_all((0..3).map(|_| shop.place("tok_ok", 1))).await;
    assert_ne!(under.breaker().await, "closed");
    // What was let through stands all the same.
    for answer in placed {
        shop.reaches(&expect_order(&answer.ok()), "in_delivery").await;
    }
    jumun.sandbox("payment", "up").await;
    until("a card order", async || (shop.place("tok_ok", 1).await.status == 201).then_some(())).await;
    until("the breaker to close", async || (under.breaker().await == "closed").then_some(())).await;
}

#[tokio::test]
async fn slow_stock_does_not_open_the_breaker_on_payments() {
    let settings: Vec<_> = TOUCHY.into_iter().chain([("BREAKER__SLOW_AFTER", "1s")]).collect();
    let jumun = Jumun::limited(&settings).await;
    let shop = Shop::open(&jumun).await;
    let _ = jumun.put("/v1/sandbox/stock", &json!({ "mode": "slow", "delay_ms": 1500 })).await.ok();
    for answer in join_all((0..4).map(|_| shop.place("tok_ok", 1))).await {
        assert_eq!(answer.status, 201, "{answer:#?}");
    }
    assert_eq!(Under(&jumun).breaker().await, "closed");
}

#[tokio::test]
async fn r18_placing_is_shed_while_reading_goes_on_and_what_stands_finishes() {
    let jumun = Jumun::limited(&[ANY_RATE, ("OPEN_PLACEMENTS", "3")]).await;
    let under = Under(&jumun);
    let shop = Shop::open(&jumun).await;
    let slow = join_all((0..3).map(|_| shop.place("tok_slow_3000", 1)));
    let others = async {
        until("three open placements", async || (under.metric("jumun_open_placements").await > 2.5).then_some(()))
            .await;
        let tried = join_all((0..10).map(|_| shop.place("tok_ok", 1))).await;
        // While they wait, everything else is answered.
        until("three orders", async || (orders(&shop).await == 3).then_some(())).await;
        assert_eq!(jumun.get("/readyz").await.status, 200);
        tried
    };
    let (slow, others) = futures::join!(slow, others);
    for refused in others {
        assert!(retry_after(&refused) > 0);
        let _ = refused.problem(503, "try-again-later");
    }
    for answer in slow {
        let id = expect_order(&answer.ok());
        jumun.drive(&id, "closed").await;
        jumun.settles(&id).await;
    }
    assert_eq!(orders(&shop).await, 3, "nothing was placed that was refused");
    assert_eq!(shop.shelf("chili").await, (97, 0, 97));
}

#[tokio::test]
async fn r18_many_more_orders_than_can_be_taken_leave_each_taken_or_refused() {
    let jumun = Jumun::limited(&[ANY_RATE, ("OPEN_PLACEMENTS", "4")]).await;
    let shop = Shop::open(&jumun).await;
    shop.put_product("chili", 9_000, 1000).await;
    let (mut taken, mut refused) = (Vec::new(), 0);
    for _ in 0..5 {
        for answer in join_all((0..30).map(|_| shop.place("tok_ok", 1))).await {
            if answer.status == 503 {
                refused += 1;
                let _ = answer.problem(503, "try-again-later");
            } else {
                taken.push(expect_order(&answer.ok()));
            }
        }
    }
    assert!(refused > 0 && taken.len() >= 20, "{refused} refused, {} taken", taken.len());
    assert_eq!(orders(&shop).await, taken.len());
    for id in &taken {
        jumun.drive(id, "closed").await;
        jumun.each_fact_once(id).await;
    }
    // As if nothing had been.
    tokio::time::timeout(Duration::from_mins(1), async { shop.placed().await }).await.expect("is placed as ever");
}

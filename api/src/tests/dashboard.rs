//! How the orders stand, and which of them are stuck.

use poem::http::Method;
use serde_json::json;
use workflows::order::{Dashboard, StuckAt, Takings, Tally, Trouble};
use workflows::{Currency, DeliveryState, PaymentState, Status, Step};

use crate::testing::{World, at, locked, order, request};

fn takings(hour: &str, currency: Currency, revenue: i64) -> Takings {
    Takings {
        hour: hour.parse().expect("a time"),
        currency,
        placed: 2,
        revenue,
        refunds: 1_000,
        paid: 4,
        paid_ms: 2_000,
        delivered: 0,
        delivered_ms: 0,
    }
}

#[tokio::test]
async fn the_dashboard_tells_counts_values_and_takings() {
    let world = World::new().await;
    let (krw, eur) = (Currency::KRW, Currency::EUR);
    *locked(&world.state.dashboard) = Dashboard {
        statuses: vec![Tally { what: Status::Paid, currency: krw, orders: 3, value: 36_000 }],
        payments: vec![Tally { what: PaymentState::Approved, currency: krw, orders: 3, value: 36_000 }],
        deliveries: vec![Tally { what: DeliveryState::Requested, currency: eur, orders: 1, value: 500 }],
        hours: vec![
            takings("2026-01-31T08:00:00Z", krw, 12_000),
            takings("2026-01-31T09:00:00Z", eur, 500),
            takings("2026-01-31T09:00:00Z", krw, 24_000),
        ],
        standings: Vec::new(),
        failing_since: None,
        stuck: 4,
        stuck_at: vec![StuckAt { step: Some(Step::DeliveryRequest), orders: 3 }, StuckAt { step: None, orders: 1 }],
    };
    let korean = request(Method::GET, "/v1/dashboard").header("accept-language", "ko").finish();
    let money = |amount: i64, currency: &str| json!({"amount": amount, "currency": currency});
    let hour = |hour: &str, currency: &str, revenue: i64| {
        json!({
            "hour": hour, "currency": currency, "placed": 2,
            "revenue": money(revenue, currency), "refunds": money(1_000, currency),
            "paid": 4, "time_to_paid_ms": 500, "delivered": 0, "time_to_delivered_ms": null,
        })
    };
    let expected = json!({
        "statuses": [{
            "status": "paid", "label": "결제완료", "currency": "KRW", "orders": 3, "value": money(36_000, "KRW"),
        }],
        "payments": [{"state": "approved", "currency": "KRW", "orders": 3, "value": money(36_000, "KRW")}],
        "deliveries": [{"state": "requested", "currency": "EUR", "orders": 1, "value": money(500, "EUR")}],
        "stuck": 4,
        "stuck_at": [{"step": "delivery.request", "orders": 3}, {"step": null, "orders": 1}],
        "breaker": "closed",
        "today": [
            {
                "currency": "EUR", "placed": 2, "revenue": money(500, "EUR"), "refunds": money(1_000, "EUR"),
                "paid": 4, "time_to_paid_ms": 500, "delivered": 0, "time_to_delivered_ms": null,
            },
            {
                "currency": "KRW", "placed": 4, "revenue": money(36_000, "KRW"), "refunds": money(2_000, "KRW"),
                "paid": 8, "time_to_paid_ms": 500, "delivered": 0, "time_to_delivered_ms": null,
            },
        ],
        "hours": [
            hour("2026-01-31T08:00:00Z", "KRW", 12_000),
            hour("2026-01-31T09:00:00Z", "EUR", 500),
            hour("2026-01-31T09:00:00Z", "KRW", 24_000),
        ],
        "since": "2026-01-31T00:00:00Z",
    });
    assert_eq!(world.send(korean).await.body, expected);
}

#[tokio::test]
async fn takings_count_from_a_whole_hour_of_the_last_days() {
    let world = World::new().await;
    // The clock of this world stands at half past nine.
    for (query, since, merchant) in [
        ("", "2026-01-31T00:00:00Z", None),
        ("?since=2026-01-31T08:59:59Z", "2026-01-31T08:00:00Z", None),
        ("?since=2026-01-30T09:00:00%2B09:00&merchant_id=sauce-shop", "2026-01-30T00:00:00Z", Some("sauce-shop")),
        ("?since=2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z", None),
    ] {
        let answer = world.get(&format!("/v1/dashboard{query}")).await;
        assert_eq!((answer.status.as_u16(), &answer.body["since"]), (200, &json!(since)), "{query}");
        let asked = locked(&world.state.dashboard_query).take().expect("asked");
        assert_eq!(
            (json!(asked.since), asked.merchant_id.map(|id| id.to_string()).as_deref()),
            (json!(since), merchant)
        );
        assert_eq!(asked.stuck_since_before, at() - chrono::TimeDelta::seconds(30));
    }
    for since in ["2025-12-31T09:00:00Z", "1970-01-01T00:00:00Z", "-262143-01-01T00:00:00Z", "yesterday"] {
        let answer = world.get(&format!("/v1/dashboard?since={since}")).await;
        answer.is_problem(400, "invalid-request");
        assert!(answer.detail().contains("`since`"), "{answer:?}");
    }
    world.get("/v1/dashboard?merchant_id=No!").await.is_problem(400, "invalid-request");
}

#[tokio::test]
async fn stuck_orders_can_be_listed_and_left_out() {
    let world = World::new().await;
    let (stuck, other) = (world.placed(order()).await, world.placed(order()).await);
    let trouble = Trouble { step: Step::DeliveryRequest, since: at(), failures: 1, at: at(), why: "down".to_owned() };
    locked(&world.state.troubles).insert(stuck.clone(), trouble);
    for (query, id) in [("stuck=true", &stuck), ("stuck=false", &other)] {
        let items = world.get(&format!("/v1/orders?{query}")).await.body["items"].clone();
        assert_eq!((items.as_array().map(Vec::len), &items[0]["id"]), (Some(1), &json!(id)), "{query}");
    }
}

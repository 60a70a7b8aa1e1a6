//! The parts in processes of their own, over a store that they share. With `JUMUN_TEST_STORE`, which names a SurrealDB server:
//! `tests/surreal` starts one. haproxy has to be there (Debian: `apt-get install haproxy`).

use tests::{Apart, Part, Plan, Shop, Surreal, expect_order};

#[tokio::test]
async fn parts_serve_alone_and_say_how_they_are() {
    let Some(store) = Surreal::named() else {
        eprintln!("skipped: JUMUN_TEST_STORE names no SurrealDB server (tests/surreal starts one)");
        return;
    };
    let system = Apart::start_on(store, Plan { workers: 1, ..Plan::default() }).await;
    let shop = Shop::open(&system.jumun).await;
    let id = expect_order(&shop.place("tok_ok", 1).await.ok());
    system.jumun.drive(&id, "closed").await;
    system.jumun.settles(&id).await;
    system.jumun.each_fact_once(&id).await;

    for (part, number) in [(Part::Api, 0), (Part::Api, 1), (Part::Worker, 0)] {
        for probe in ["/livez", "/readyz", "/metrics"] {
            assert_eq!(system.probe(part, number, probe).await, Some(200), "{part:?} {number} {probe}");
        }
        assert_eq!(system.probe(part, number, "/nowhere").await, Some(404), "{part:?} {number}");
    }
    let attempts = system.measure(Part::Worker, 0, "jumun_step_attempts_total", "done").await;
    assert!(attempts >= 5.0, "{attempts} attempts, and an order has more steps");
    let waiting = system.measure(Part::Worker, 0, "jumun_worker_attempts_waiting", "").await;
    assert!(waiting.abs() < 0.5, "{waiting} attempts wait");

    system.sicken(Part::Worker, 0).await;
    assert_eq!(system.probe(Part::Worker, 0, "/livez").await, Some(500), "whoever looks restarts it");
    assert_eq!(system.probe(Part::Worker, 0, "/readyz").await, Some(200), "and until then it works");
    system.remove(Part::Api, 0).await;
    assert_eq!(system.jumun.get(&format!("/v1/orders/{id}")).await.status, 200, "the other API is there");
    // A worker waits out its drain, and ends.
    system.remove(Part::Worker, 0).await;
}

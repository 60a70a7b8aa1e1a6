//! An engine that others run, of three nodes: jumun uses it as it is, and any single node may go.

use reqwest::Method;
use tests::{Cluster, Jumun, NODES, Shop, expect_order, until};

/// Places an order as an app does: again under the same key, until it stands.
async fn placed(shop: &Shop<'_>, key: &str) -> String {
    until("an order that stands", async || {
        let place = shop.jumun.request(Method::POST, "/v1/orders").header("idempotency-key", key);
        let answer = shop.jumun.send(place.json(&shop.request_one())).await;
        match answer.status {
            201 => Some(expect_order(&answer.body)),
            202 | 503 => None,
            _ => panic!("{answer:#?}"),
        }
    })
    .await
}

#[tokio::test]
async fn orders_go_on_whichever_node_is_dead() {
    let cluster = Cluster::start().await;
    let arguments = cluster.arguments();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).chain(["--ephemeral"]).collect();
    let jumun = Jumun::spawn(&arguments).await;
    assert_eq!(jumun.ready.engine_pid, None, "it has no engine of its own");
    let shop = Shop::open(&jumun).await;
    let mut ids = Vec::new();
    for node in 0..NODES {
        ids.push(placed(&shop, &format!("before-{node}")).await);
        cluster.kill(node);
        ids.push(placed(&shop, &format!("during-{node}")).await);
        // One that was placed before goes on, too.
        jumun.drive(&ids[ids.len() - 2], "closed").await;
        cluster.restart(node).await;
    }
    for id in &ids {
        jumun.drive(id, "closed").await;
        jumun.settles(id).await;
        jumun.each_fact_once(id).await;
    }
    let sold = i64::try_from(ids.len()).expect("few");
    assert_eq!(shop.shelf("chili").await, (100 - sold, 0, 100 - sold));
}

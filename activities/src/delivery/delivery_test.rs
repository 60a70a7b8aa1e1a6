use super::*;
use crate::Store;
use futures::future::join_all;
use workflows::DeliveryState;

async fn deliveries() -> BuiltIn {
    let store = Store::open("mem://").await.expect("opens");
    let database = store.database("deliveries").await.expect("opens");
    BuiltIn::open(database, Arc::new(Modes::default())).await.expect("defines")
}

fn request(order: &OrderId) -> DeliveryRequest {
    DeliveryRequest {
        delivery_id: order.delivery(),
        order_id: order.clone(),
        merchant_id: "sauce-shop".parse().expect("valid"),
        recipient: "Kim".to_owned(),
        phone: "010-0000-0000".to_owned(),
        address: "Seoul".to_owned(),
    }
}

fn of(order_id: &OrderId) -> OrderRef {
    OrderRef { order_id: order_id.clone(), merchant_id: "sauce-shop".parse().expect("valid") }
}

#[tokio::test]
async fn every_call_can_be_repeated() {
    let deliveries = deliveries().await;
    let order = OrderId::from_bits(1);
    for _ in 0..2 {
        deliveries.request(&request(&order)).await.expect("requests");
    }
    for _ in 0..2 {
        deliveries.start(&of(&order)).await.expect("starts");
    }
    for _ in 0..2 {
        deliveries.complete(&of(&order)).await.expect("completes");
    }
    deliveries.request(&request(&order)).await.expect("was requested");
    let listed = deliveries
        .deliveries(&Listing { order_id: Some(order.clone()), merchant_id: None, limit: 10 })
        .await
        .expect("lists");
    assert_eq!((listed.len(), listed[0].state), (1, DeliveryState::Delivered));
    assert!(deliveries.cancel(&of(&order)).await.is_err(), "what was delivered is not called off");
}

#[tokio::test]
async fn a_cancelled_delivery_never_starts() {
    let deliveries = deliveries().await;
    let order = OrderId::from_bits(1);
    deliveries.request(&request(&order)).await.expect("requests");
    for _ in 0..2 {
        assert_eq!(deliveries.cancel(&of(&order)).await.expect("cancels"), Undo::Undone);
    }
    assert!(deliveries.start(&of(&order)).await.is_err());
    assert!(deliveries.complete(&of(&order)).await.is_err());
}

#[tokio::test]
async fn a_cancel_that_comes_first_keeps_the_request_out() {
    let deliveries = deliveries().await;
    let order = OrderId::from_bits(1);
    for _ in 0..2 {
        assert_eq!(deliveries.cancel(&of(&order)).await.expect("finds nothing"), Undo::Nothing);
    }
    assert!(matches!(deliveries.request(&request(&order)).await, Err(ProviderError::Impossible(_))));
    assert!(
        deliveries
            .deliveries(&Listing { order_id: None, merchant_id: None, limit: 10 })
            .await
            .expect("lists")
            .is_empty()
    );
}

#[tokio::test]
async fn what_is_asked_together_is_answered_to_each() {
    let deliveries = deliveries().await;
    let orders: Vec<_> = (0..41).map(OrderId::from_bits).collect();
    for (n, order) in orders.iter().enumerate().take(20) {
        deliveries.request(&request(order)).await.expect("requests");
        if n >= 10 {
            deliveries.start(&of(order)).await.expect("starts");
        }
    }
    let outcomes = join_all(orders.iter().enumerate().map(async |(n, order)| match n {
        0..10 => deliveries.start(&of(order)).await.is_ok(),
        10..20 => deliveries.complete(&of(order)).await.is_ok(),
        20..30 => deliveries.cancel(&of(order)).await.is_ok_and(|undo| undo == Undo::Nothing),
        30..40 => deliveries.request(&request(order)).await.is_ok(),
        _ => deliveries.start(&of(order)).await.is_err(),
    }));
    assert_eq!(outcomes.await, [true; 41]);
    let all = deliveries.deliveries(&Listing { order_id: None, merchant_id: None, limit: 100 }).await.expect("lists");
    for state in [DeliveryState::InDelivery, DeliveryState::Delivered, DeliveryState::Requested] {
        assert_eq!(all.iter().filter(|delivery| delivery.state == state).count(), 10, "{state:?}");
    }
    assert_eq!(all.len(), 30);
}

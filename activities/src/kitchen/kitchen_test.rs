use super::*;
use crate::Store;

async fn kitchen() -> BuiltIn {
    let store = Store::open("mem://").await.expect("opens");
    let database = store.database("kitchen").await.expect("opens");
    BuiltIn::open(database, Arc::new(Modes::default())).await.expect("defines")
}

fn ticket(order: &OrderId) -> Ticket {
    Ticket {
        order_id: order.clone(),
        merchant_id: "food-delivery".parse().expect("valid"),
        lines: Vec::new(),
        note: None,
    }
}

fn of(order_id: &OrderId) -> OrderRef {
    OrderRef { order_id: order_id.clone(), merchant_id: "food-delivery".parse().expect("valid") }
}

#[tokio::test]
async fn every_call_can_be_repeated() {
    let kitchen = kitchen().await;
    let order = OrderId::from_bits(1);
    for _ in 0..2 {
        kitchen.offer(&ticket(&order)).await.expect("offers");
    }
    for _ in 0..2 {
        kitchen.start(&ticket(&order)).await.expect("starts");
    }
    for _ in 0..2 {
        kitchen.finish(&of(&order)).await.expect("finishes");
    }
    kitchen.offer(&ticket(&order)).await.expect("was offered");
    for _ in 0..2 {
        assert_eq!(kitchen.stop(&of(&order)).await.expect("stops"), Undo::Undone);
        assert_eq!(kitchen.withdraw(&of(&order)).await.expect("finds nothing"), Undo::Nothing);
    }
    assert!(kitchen.start(&ticket(&order)).await.is_err(), "what was stopped is not begun again");
}

#[tokio::test]
async fn an_offer_is_taken_back_and_stays_so() {
    let kitchen = kitchen().await;
    let order = OrderId::from_bits(1);
    kitchen.offer(&ticket(&order)).await.expect("offers");
    for _ in 0..2 {
        assert_eq!(kitchen.withdraw(&of(&order)).await.expect("withdraws"), Undo::Undone);
    }
    assert!(kitchen.offer(&ticket(&order)).await.is_err());
    assert!(kitchen.start(&ticket(&order)).await.is_err());

    // The start may be on its way when it is stopped.
    let order = OrderId::from_bits(2);
    kitchen.offer(&ticket(&order)).await.expect("offers");
    assert_eq!(kitchen.stop(&of(&order)).await.expect("stops"), Undo::Undone);
    assert!(kitchen.start(&ticket(&order)).await.is_err());
    assert_eq!(kitchen.withdraw(&of(&order)).await.expect("finds nothing"), Undo::Nothing);
}

#[tokio::test]
async fn an_undo_that_comes_first_keeps_the_rest_out() {
    let kitchen = kitchen().await;
    let (withdrawn, stopped) = (OrderId::from_bits(1), OrderId::from_bits(2));
    assert_eq!(kitchen.withdraw(&of(&withdrawn)).await.expect("finds nothing"), Undo::Nothing);
    assert!(kitchen.offer(&ticket(&withdrawn)).await.is_err());
    assert_eq!(kitchen.stop(&of(&stopped)).await.expect("finds nothing"), Undo::Nothing);
    assert!(kitchen.start(&ticket(&stopped)).await.is_err());
}

use super::*;
use crate::Store;
use workflows::lifecycle::CouponRule;
use workflows::promotion::CouponState;

async fn promotions() -> BuiltIn {
    let store = Store::open("mem://").await.expect("opens");
    let database = store.database("promotions").await.expect("opens");
    BuiltIn::open(database, Arc::new(Modes::default())).await.expect("defines")
}

fn request(order: &OrderId) -> CouponRequest {
    CouponRequest {
        coupon_id: order.coupon(),
        order_id: order.clone(),
        merchant_id: "street12".parse().expect("valid"),
        kind: CouponRule::BeforeDelivery,
    }
}

fn of(order_id: &OrderId) -> OrderRef {
    OrderRef { order_id: order_id.clone(), merchant_id: "street12".parse().expect("valid") }
}

#[tokio::test]
async fn every_call_can_be_repeated() {
    let promotions = promotions().await;
    let order = OrderId::from_bits(1);
    for _ in 0..2 {
        promotions.issue(&request(&order)).await.expect("issues");
    }
    let listed = promotions
        .coupons(&Listing { order_id: Some(order.clone()), merchant_id: None, limit: 10 })
        .await
        .expect("lists");
    assert_eq!((listed.len(), listed[0].state), (1, CouponState::Issued));
    for _ in 0..2 {
        assert_eq!(promotions.revoke(&of(&order)).await.expect("revokes"), Undo::Undone);
    }
    assert!(promotions.issue(&request(&order)).await.is_err(), "what was revoked is not issued again");
}

#[tokio::test]
async fn a_revocation_that_comes_first_keeps_the_coupon_out() {
    let promotions = promotions().await;
    let order = OrderId::from_bits(1);
    for _ in 0..2 {
        assert_eq!(promotions.revoke(&of(&order)).await.expect("finds nothing"), Undo::Nothing);
    }
    assert!(promotions.issue(&request(&order)).await.is_err());
    assert!(
        promotions.coupons(&Listing { order_id: None, merchant_id: None, limit: 10 }).await.expect("lists").is_empty()
    );
}

//! Journaled types, as they lie in journals that outlive this code. A changed snapshot means that open orders of an
//! older version would not be understood: read old forms too, or drain first.

use chrono::DateTime;
use insta::assert_json_snapshot;
use serde_json::json;

use super::super::attempt::Heard;
use super::super::command::{CancelSlot, CancelVerdict, CommandRequest, Passed, Verdict};
use super::super::{Command, Customer, Line, PlaceOrder, Placement};
use super::*;
use crate::lifecycle::CouponRule;
use crate::payment::{CardToken, SealedCard};
use crate::{Context, Currency, Lifecycle, Money, PaymentMethod};

fn placement() -> Placement {
    let price = Money::new(9_000, Currency::KRW);
    Placement {
        merchant_id: "sauce-shop".parse().expect("valid"),
        customer: Customer { name: "Kim".to_owned(), phone: "010".to_owned(), address: "Seoul".to_owned() },
        customer_id: Some("cus_1".to_owned()),
        lines: vec![Line {
            sku: "chili".parse().expect("valid"),
            name: "Chili".to_owned(),
            unit_price: price,
            quantity: 1,
            line_total: price,
        }],
        total: price,
        payment_method: PaymentMethod::Card,
        note: Some("ring twice".to_owned()),
        lifecycle: Lifecycle::preset("sauce-shop").expect("exists").clone(),
        request_digest: "digest".to_owned(),
    }
}

#[test]
fn the_input_of_a_workflow() {
    let card = SealedCard { key: "0f1e2d3c".to_owned(), sealed: "bm9uY2UgYW5kIGNpcGhlcnRleHQ=".to_owned() };
    let clear = Some(CardToken("tok_ok".to_owned()));
    let input = PlaceOrder {
        placement: placement(),
        by: None,
        card: Some(card),
        card_token: clear,
        followed: true,
        decides: true,
    };
    assert_json_snapshot!(input);
    let as_of_old = json!({ "placement": placement(), "card_token": "tok_ok" });
    let read: PlaceOrder = serde_json::from_value(as_of_old).expect("is still understood");
    assert_eq!((read.card, read.card_token), (None, input.card_token));
}

#[test]
fn the_result_of_a_step() {
    let id = OrderId::from_bits(1);
    let sku = || "chili".parse().expect("valid");
    let facts = [
        Fact::OrderPlaced(Box::new(placement())),
        Fact::StockReserved,
        Fact::StockUnavailable { sku: sku(), available: 1 },
        Fact::PaymentApproved { payment_id: id.payment() },
        Fact::PaymentDeclined { payment_id: id.payment(), reason: "card_declined".to_owned() },
        Fact::DepositRequested { payment_id: id.payment() },
        Fact::DepositConfirmed { payment_id: id.payment() },
        Fact::DepositExpired,
        Fact::ReceiptConfirmed,
        Fact::OrderPaid,
        Fact::StockCommitted,
        Fact::CouponIssued { coupon_id: id.coupon(), kind: CouponRule::BeforeDelivery },
        Fact::CouponCancelled,
        Fact::OrderOffered,
        Fact::OrderAccepted,
        Fact::ProductionStarted,
        Fact::ProductionFinished,
        Fact::DeliveryRequested { delivery_id: id.delivery() },
        Fact::DeliveryStarted,
        Fact::DeliveryCompleted,
        Fact::OrderClosed,
        Fact::CancellationRequested { by: Some(Role::Customer), reason: Some("late".to_owned()) },
        Fact::DeliveryCancelled,
        Fact::PaymentCancelled { refunded: true },
        Fact::StockReleased,
        Fact::OrderCancelled,
        Fact::OrderRejected { rejection: Rejection::PaymentDeclined { reason: "card_declined".to_owned() } },
        Fact::OrderRejected { rejection: Rejection::OutOfStock { sku: sku(), available: 1 } },
        Fact::OrderRejected { rejection: Rejection::Unavailable { context: Context::Payment } },
        Fact::OrderRejected { rejection: Rejection::ByMerchant { reason: Some("closed".to_owned()) } },
        Fact::OrderRejected { rejection: Rejection::NotAccepted },
    ];
    let events: Vec<Event> = (1..)
        .zip(facts)
        .map(|(number, fact)| Event {
            order_id: id.clone(),
            number,
            at: DateTime::UNIX_EPOCH,
            step: Step::OrderPlace,
            by: (number == 1).then(|| Actor { role: Role::Customer, subject: "cus_1".to_owned() }),
            fact,
        })
        .collect();
    assert_json_snapshot!(Heard {
        outcome: Outcome::Done,
        events,
        at: DateTime::UNIX_EPOCH,
        told: None,
        unrecorded: false,
        leaves_verdict: false,
        decides: true
    });
    let outcomes = [
        Outcome::Nothing,
        Outcome::Declined { reason: "card_declined".to_owned() },
        Outcome::OutOfStock { sku: sku(), available: 1 },
    ];
    assert_json_snapshot!("outcomes", outcomes);
    assert_json_snapshot!("steps", Step::ALL);
}

#[test]
fn what_promises_hold() {
    let by = || Actor { role: Role::Customer, subject: "cus_1".to_owned() };
    let request = CommandRequest { command: Command::Cancel, by: by(), reason: Some("late".to_owned()), follows: true };
    let slot = CancelSlot::Asked { by: by(), reason: Some("late".to_owned()), from: "inv_1".to_owned() };
    assert_json_snapshot!((request, slot, CancelSlot::Closed));
    assert_json_snapshot!(
        "promises",
        (
            Passed::By { command: Command::Reject, by: by(), reason: Some("closed".to_owned()) },
            Passed::Deadline,
            Passed::Shut,
            Verdict::Accepted,
            Verdict::NotAllowed,
            CancelVerdict::Accepted,
            CancelVerdict::NotAllowed,
            CancelVerdict::NoMore
        )
    );
}

use super::*;
use crate::Store;
use workflows::payment::CardToken;
use workflows::sandbox::{Mode, Sandbox};
use workflows::{Currency, Money};

async fn payments() -> (BuiltIn, Arc<Modes>) {
    let modes = Arc::new(Modes::default());
    let store = Store::open("mem://").await.expect("opens");
    let database = store.database("payments").await.expect("opens");
    (BuiltIn::open(database, modes.clone()).await.expect("defines"), modes)
}

fn order(n: u128) -> OrderId {
    OrderId::from_bits(n)
}

fn charge_of(order: &OrderId, token: &str) -> Charge {
    Charge {
        payment_id: order.payment(),
        order_id: order.clone(),
        merchant_id: "sauce-shop".parse().expect("valid"),
        amount: Money::new(12_000, Currency::KRW),
        card_token: CardToken(token.to_owned()),
    }
}

fn refund_of(order: &OrderId) -> Due {
    let charge = charge_of(order, "");
    Due {
        method: PaymentMethod::Card,
        payment_id: charge.payment_id,
        order_id: charge.order_id,
        merchant_id: charge.merchant_id,
        amount: charge.amount,
    }
}

async fn entries(payments: &BuiltIn, order: &OrderId) -> Vec<EntryKind> {
    let listed = payments.payments(Some(order), 10).await.expect("lists");
    for entry in listed.iter().flat_map(|payment| &payment.entries) {
        assert_eq!(entry.postings.iter().map(|posting| posting.amount.amount).sum::<i64>(), 0, "{entry:?}");
    }
    listed.into_iter().flat_map(|payment| payment.entries).map(|entry| entry.kind).collect()
}

#[tokio::test]
async fn a_repeated_charge_and_a_repeated_refund_move_money_once() {
    let (payments, _) = payments().await;
    let order = order(1);
    for _ in 0..3 {
        assert_eq!(payments.charge(&charge_of(&order, "tok_ok")).await.expect("answers"), Charged::Approved);
    }
    assert_eq!(entries(&payments, &order).await, [EntryKind::Charge]);
    for _ in 0..3 {
        assert_eq!(payments.refund(&refund_of(&order)).await.expect("answers"), Undo::Undone);
    }
    assert_eq!(entries(&payments, &order).await, [EntryKind::Charge, EntryKind::Refund]);
    assert!(payments.charge(&charge_of(&order, "tok_ok")).await.is_err(), "a refunded payment is not charged again");
}

#[tokio::test]
async fn concurrent_charges_and_refunds_of_one_order_balance() {
    let (payments, _) = payments().await;
    let payments = Arc::new(payments);
    for n in 0..20 {
        let order = order(n);
        let calls = (0..8).map(|call| {
            let (payments, order) = (payments.clone(), order.clone());
            tokio::spawn(async move {
                if call % 2 == 0 {
                    let _ = payments.charge(&charge_of(&order, "tok_ok")).await;
                } else {
                    payments.refund(&refund_of(&order)).await.expect("a refund is never refused");
                }
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.expect("no panic");
        }
        let kinds = entries(&payments, &order).await;
        assert!(kinds.is_empty() || kinds == [EntryKind::Charge, EntryKind::Refund], "{kinds:?}");
    }
}

#[tokio::test]
async fn a_refund_that_comes_first_keeps_the_charge_out() {
    let (payments, _) = payments().await;
    let order = order(1);
    assert_eq!(payments.refund(&refund_of(&order)).await.expect("answers"), Undo::Nothing);
    assert!(matches!(payments.charge(&charge_of(&order, "tok_ok")).await, Err(ProviderError::Impossible(_))));
    assert_eq!(payments.refund(&refund_of(&order)).await.expect("answers"), Undo::Nothing);
    assert!(entries(&payments, &order).await.is_empty());
}

#[tokio::test]
async fn test_cards_behave_as_named() {
    let (payments, modes) = payments().await;
    let declined = payments.charge(&charge_of(&order(1), "tok_declined")).await.expect("answers");
    assert_eq!(declined, Charged::Declined { reason: "card_declined".to_owned() });
    assert!(entries(&payments, &order(1)).await.is_empty());

    for _ in 0..2 {
        assert!(payments.charge(&charge_of(&order(2), "tok_flaky_2")).await.is_err());
    }
    assert_eq!(payments.charge(&charge_of(&order(2), "tok_flaky_2")).await.expect("answers"), Charged::Approved);

    assert!(payments.charge(&charge_of(&order(3), "tok_lost_reply")).await.is_err());
    assert_eq!(entries(&payments, &order(3)).await, [EntryKind::Charge]);
    assert_eq!(payments.charge(&charge_of(&order(3), "tok_lost_reply")).await.expect("answers"), Charged::Approved);
    assert_eq!(entries(&payments, &order(3)).await, [EntryKind::Charge]);

    modes.set_mode(Context::Payment, Mode::Down);
    assert!(payments.charge(&charge_of(&order(4), "tok_ok")).await.is_err());
    assert!(payments.payments(None, 10).await.is_err());
    modes.set_mode(Context::Payment, Mode::Up);
    assert_eq!(payments.payments(None, 10).await.expect("lists").len(), 3);
}

#[tokio::test]
async fn a_slow_card_is_slow_once_however_often_it_is_asked() {
    let (payments, _) = payments().await;
    let charge = charge_of(&order(1), "tok_slow_300");
    let impatient = std::time::Duration::from_millis(100);
    assert!(tokio::time::timeout(impatient, payments.charge(&charge)).await.is_err());
    assert_eq!(payments.charge(&charge).await.expect("answers"), Charged::Approved);
}

fn deposit_of(order: &OrderId) -> Due {
    Due { method: PaymentMethod::Deposit, ..refund_of(order) }
}

#[tokio::test]
async fn a_deposit_is_opened_confirmed_and_refunded_once() {
    let (payments, _) = payments().await;
    let due = deposit_of(&order(1));
    for _ in 0..2 {
        payments.open_deposit(&due).await.expect("opens");
    }
    assert!(entries(&payments, &order(1)).await.is_empty());
    for _ in 0..2 {
        payments.confirm_deposit(&due).await.expect("confirms");
    }
    assert_eq!(payments.close_deposit(&due).await.expect("finds nothing"), Undo::Nothing, "confirmed money stays");
    assert_eq!(entries(&payments, &order(1)).await, [EntryKind::Deposit]);
    for _ in 0..2 {
        assert_eq!(payments.refund(&due).await.expect("refunds"), Undo::Undone);
        assert_eq!(payments.close_deposit(&due).await.expect("finds nothing"), Undo::Nothing);
    }
    assert_eq!(entries(&payments, &order(1)).await, [EntryKind::Deposit, EntryKind::Refund]);
    assert!(payments.confirm_deposit(&due).await.is_err());
}

#[tokio::test]
async fn a_closed_deposit_is_not_confirmed_any_more() {
    let (payments, _) = payments().await;
    let (opened, never) = (deposit_of(&order(1)), deposit_of(&order(2)));
    payments.open_deposit(&opened).await.expect("opens");
    for _ in 0..2 {
        assert_eq!(payments.refund(&opened).await.expect("finds nothing"), Undo::Nothing);
        assert!(payments.confirm_deposit(&opened).await.is_err(), "a late confirmation is refused");
        assert_eq!(payments.close_deposit(&opened).await.expect("closes"), Undo::Undone);
        assert_eq!(payments.close_deposit(&never).await.expect("finds nothing"), Undo::Nothing);
    }
    assert!(payments.confirm_deposit(&opened).await.is_err());
    assert!(payments.open_deposit(&never).await.is_err());
    assert!(entries(&payments, &order(1)).await.is_empty());
}

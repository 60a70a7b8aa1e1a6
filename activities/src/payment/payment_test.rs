use std::time::Duration;

use super::*;
use crate::Store;
use workflows::payment::{CardToken, Claim};
use workflows::sandbox::{Mode, Sandbox};
use workflows::{Currency, OrderId, PaymentState};

/// Each of these is run over both kinds of store.
macro_rules! on_both_stores {
    ($($name:ident,)+) => {
        mod surreal {
            $(#[tokio::test] async fn $name() { super::$name(super::Bench::on_surreal().await).await; })+
        }
        mod postgres {
            $(#[tokio::test] async fn $name() { super::$name(super::Bench::on_postgres().await).await; })+
        }
    };
}

on_both_stores! {
    a_repeated_charge_and_a_repeated_refund_move_money_once,
    concurrent_charges_and_refunds_of_one_order_balance,
    a_refund_that_comes_first_keeps_the_charge_out,
    test_cards_behave_as_named,
    a_slow_card_is_slow_once_however_often_it_is_asked,
    less_than_nothing_is_no_payment,
    a_deposit_is_opened_confirmed_and_refunded_once,
    a_closed_deposit_is_not_confirmed_any_more,
    a_deposit_that_is_confirmed_and_closed_at_once_is_one_of_them,
    a_transfer_that_comes_too_late_is_booked_and_goes_back_once,
    a_transfer_that_came_in_time_is_not_returned,
    a_transfer_that_is_still_expected_is_not_returned_yet,
    a_transfer_for_a_deposit_that_was_called_off_before_it_was_opened_goes_back,
    a_transfer_for_what_is_no_deposit_is_impossible,
    concurrent_returns_and_closes_book_the_late_transfer_once,
    payments_are_listed_newest_first_with_all_that_is_known,
    an_audit_goes_through_all_payments_by_id,
}

struct Bench {
    payments: Arc<BuiltIn>,
    modes: Arc<Modes>,
    /// Dropped last: the database goes with it.
    _database: Option<super::postgres::tests::Scratch>,
}

impl Bench {
    async fn on_surreal() -> Self {
        let store = Store::open("mem://").await.expect("opens");
        let database = store.database("payments").await.expect("opens");
        Self::over(super::surreal::open(database).await.expect("defines"), None)
    }

    async fn on_postgres() -> Self {
        let database = super::postgres::tests::Scratch::create().await;
        Self::over(super::postgres::open(&database.url).await.expect("migrates"), Some(database))
    }

    fn over(book: Arc<dyn Book>, database: Option<super::postgres::tests::Scratch>) -> Self {
        let modes = Arc::new(Modes::default());
        Self { payments: Arc::new(BuiltIn::new(book, modes.clone())), modes, _database: database }
    }

    async fn listed(&self, order: &OrderId) -> Option<Payment> {
        let listing = Listing { order_id: Some(order.clone()), merchant_id: None, limit: 10 };
        let mut listed = self.payments.payments(&listing).await.expect("lists");
        assert!(listed.len() <= 1, "{listed:?}");
        listed.pop()
    }

    /// What is booked for the order.
    async fn entries(&self, order: &OrderId) -> Vec<EntryKind> {
        let entries = self.listed(order).await.map(|payment| payment.entries).unwrap_or_default();
        for entry in &entries {
            assert_eq!(entry.postings.iter().map(|posting| posting.amount.amount).sum::<i64>(), 0, "{entry:?}");
        }
        entries.into_iter().map(|entry| entry.kind).collect()
    }

    async fn state(&self, order: &OrderId) -> Option<PaymentState> {
        self.listed(order).await.map(|payment| payment.state)
    }
}

const ALL: Listing = Listing { order_id: None, merchant_id: None, limit: 10 };

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
    due_of(&charge_of(order, ""))
}

fn deposit_of(order: &OrderId) -> Due {
    Due { method: PaymentMethod::Deposit, ..refund_of(order) }
}

fn is_impossible<T>(answer: &Result<T, ProviderError>) -> bool {
    matches!(answer, Err(ProviderError::Impossible(_)))
}

fn is_unavailable<T>(answer: &Result<T, ProviderError>) -> bool {
    matches!(answer, Err(ProviderError::Unavailable(_)))
}

async fn a_repeated_charge_and_a_repeated_refund_move_money_once(bench: Bench) {
    let (payments, order) = (&bench.payments, order(1));
    for _ in 0..3 {
        assert_eq!(payments.charge(&charge_of(&order, "tok_ok")).await.expect("answers"), Charged::Approved);
    }
    assert_eq!(bench.entries(&order).await, [EntryKind::Charge]);
    for _ in 0..3 {
        assert_eq!(payments.refund(&refund_of(&order)).await.expect("answers"), Undo::Undone);
    }
    assert_eq!(bench.entries(&order).await, [EntryKind::Charge, EntryKind::Refund]);
    let again = payments.charge(&charge_of(&order, "tok_ok")).await;
    assert!(is_impossible(&again), "a refunded payment is not charged again");
}

async fn concurrent_charges_and_refunds_of_one_order_balance(bench: Bench) {
    for n in 0..20 {
        let order = order(n);
        let calls = (0..8).map(|call| {
            let (payments, order) = (bench.payments.clone(), order.clone());
            tokio::spawn(async move {
                if call % 2 == 0 {
                    let charged = payments.charge(&charge_of(&order, "tok_ok")).await;
                    assert!(!is_unavailable(&charged), "{charged:?}");
                } else {
                    payments.refund(&refund_of(&order)).await.expect("a refund is never refused");
                }
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.expect("no panic");
        }
        let kinds = bench.entries(&order).await;
        assert!(kinds.is_empty() || kinds == [EntryKind::Charge, EntryKind::Refund], "{kinds:?}");
    }
}

async fn a_refund_that_comes_first_keeps_the_charge_out(bench: Bench) {
    let (payments, order) = (&bench.payments, order(1));
    assert_eq!(payments.refund(&refund_of(&order)).await.expect("answers"), Undo::Nothing);
    assert!(is_impossible(&payments.charge(&charge_of(&order, "tok_ok")).await));
    assert_eq!(payments.refund(&refund_of(&order)).await.expect("answers"), Undo::Nothing);
    assert!(bench.entries(&order).await.is_empty());
}

async fn test_cards_behave_as_named(bench: Bench) {
    let payments = &bench.payments;
    for _ in 0..2 {
        let declined = payments.charge(&charge_of(&order(1), "tok_declined")).await.expect("answers");
        assert_eq!(declined, Charged::Declined { reason: "card_declined".to_owned() });
    }
    assert!(bench.entries(&order(1)).await.is_empty());

    for _ in 0..2 {
        assert!(is_unavailable(&payments.charge(&charge_of(&order(2), "tok_flaky_2")).await));
    }
    assert_eq!(payments.charge(&charge_of(&order(2), "tok_flaky_2")).await.expect("answers"), Charged::Approved);

    assert!(is_unavailable(&payments.charge(&charge_of(&order(3), "tok_lost_reply")).await));
    assert_eq!(bench.entries(&order(3)).await, [EntryKind::Charge]);
    assert_eq!(payments.charge(&charge_of(&order(3), "tok_lost_reply")).await.expect("answers"), Charged::Approved);
    assert_eq!(bench.entries(&order(3)).await, [EntryKind::Charge]);

    bench.modes.set_mode(Context::Payment, Mode::Down).await.expect("switches");
    assert!(is_unavailable(&payments.charge(&charge_of(&order(4), "tok_ok")).await));
    assert!(is_unavailable(&payments.payments(&ALL).await));
    bench.modes.set_mode(Context::Payment, Mode::Up).await.expect("switches");
    assert_eq!(payments.payments(&ALL).await.expect("lists").len(), 3);
}

async fn a_slow_card_is_slow_once_however_often_it_is_asked(bench: Bench) {
    let charge = charge_of(&order(1), "tok_slow_300");
    let impatient = Duration::from_millis(100);
    assert!(tokio::time::timeout(impatient, bench.payments.charge(&charge)).await.is_err());
    assert_eq!(bench.payments.charge(&charge).await.expect("answers"), Charged::Approved);
}

async fn less_than_nothing_is_no_payment(bench: Bench) {
    let payments = &bench.payments;
    for amount in [-1, i64::MIN] {
        let amount = Money::new(amount, Currency::KRW);
        assert!(is_impossible(&payments.charge(&Charge { amount, ..charge_of(&order(1), "tok_ok") }).await));
        assert!(is_impossible(&payments.open_deposit(&Due { amount, ..deposit_of(&order(1)) }).await));
        assert!(is_impossible(&payments.return_deposit(&Due { amount, ..deposit_of(&order(1)) }).await));
    }
    assert!(payments.payments(&ALL).await.expect("lists").is_empty());
    let amount = Money::new(0, Currency::KRW);
    let free = payments.charge(&Charge { amount, ..charge_of(&order(1), "tok_ok") }).await;
    assert_eq!(free.expect("nothing can be paid"), Charged::Approved);
}

async fn a_deposit_is_opened_confirmed_and_refunded_once(bench: Bench) {
    let (payments, due) = (&bench.payments, deposit_of(&order(1)));
    for _ in 0..2 {
        payments.open_deposit(&due).await.expect("opens");
    }
    assert!(bench.entries(&order(1)).await.is_empty());
    for _ in 0..2 {
        payments.confirm_deposit(&due).await.expect("confirms");
    }
    assert_eq!(payments.close_deposit(&due).await.expect("finds nothing"), Undo::Nothing, "confirmed money stays");
    assert_eq!(bench.entries(&order(1)).await, [EntryKind::Deposit]);
    for _ in 0..2 {
        assert_eq!(payments.refund(&due).await.expect("refunds"), Undo::Undone);
        assert_eq!(payments.close_deposit(&due).await.expect("finds nothing"), Undo::Nothing);
    }
    assert_eq!(bench.entries(&order(1)).await, [EntryKind::Deposit, EntryKind::Refund]);
    assert!(is_impossible(&payments.confirm_deposit(&due).await));
}

async fn a_closed_deposit_is_not_confirmed_any_more(bench: Bench) {
    let payments = &bench.payments;
    let (opened, never) = (deposit_of(&order(1)), deposit_of(&order(2)));
    payments.open_deposit(&opened).await.expect("opens");
    for _ in 0..2 {
        assert_eq!(payments.refund(&opened).await.expect("finds nothing"), Undo::Nothing);
        assert!(is_impossible(&payments.confirm_deposit(&opened).await), "a late confirmation is refused");
        assert_eq!(payments.close_deposit(&opened).await.expect("closes"), Undo::Undone);
        assert_eq!(payments.close_deposit(&never).await.expect("finds nothing"), Undo::Nothing);
    }
    assert!(is_impossible(&payments.confirm_deposit(&opened).await));
    assert!(is_impossible(&payments.open_deposit(&never).await));
    assert!(bench.entries(&order(1)).await.is_empty());
}

async fn a_deposit_that_is_confirmed_and_closed_at_once_is_one_of_them(bench: Bench) {
    for n in 0..20 {
        let due = deposit_of(&order(n));
        bench.payments.open_deposit(&due).await.expect("opens");
        let (confirmed, closed) =
            tokio::join!(bench.payments.confirm_deposit(&due), bench.payments.close_deposit(&due));
        let entries = bench.entries(&order(n)).await;
        match closed.expect("closing is never refused") {
            Undo::Undone => assert!(is_impossible(&confirmed) && entries.is_empty(), "{confirmed:?}, {entries:?}"),
            Undo::Nothing => {
                assert!(confirmed.is_ok() && entries == [EntryKind::Deposit], "{confirmed:?}, {entries:?}");
            }
        }
    }
}

async fn a_transfer_that_comes_too_late_is_booked_and_goes_back_once(bench: Bench) {
    let (payments, due) = (&bench.payments, deposit_of(&order(1)));
    payments.open_deposit(&due).await.expect("opens");
    assert_eq!(payments.close_deposit(&due).await.expect("closes"), Undo::Undone);
    for _ in 0..3 {
        assert_eq!(payments.return_deposit(&due).await.expect("returns"), Undo::Undone);
        assert_eq!(bench.entries(&order(1)).await, [EntryKind::Deposit, EntryKind::Refund]);
        assert_eq!(bench.state(&order(1)).await, Some(PaymentState::Refunded));
        assert_eq!(payments.close_deposit(&due).await.expect("answers as before"), Undo::Undone);
        assert_eq!(payments.refund(&due).await.expect("finds nothing of its own"), Undo::Nothing);
        assert!(is_impossible(&payments.confirm_deposit(&due).await));
        assert!(is_impossible(&payments.open_deposit(&due).await));
    }
}

async fn a_transfer_that_came_in_time_is_not_returned(bench: Bench) {
    let (payments, due) = (&bench.payments, deposit_of(&order(1)));
    payments.open_deposit(&due).await.expect("opens");
    payments.confirm_deposit(&due).await.expect("confirms");
    for _ in 0..2 {
        assert_eq!(payments.return_deposit(&due).await.expect("finds nothing"), Undo::Nothing);
    }
    assert_eq!(bench.entries(&order(1)).await, [EntryKind::Deposit]);
    assert_eq!(payments.refund(&due).await.expect("refunds"), Undo::Undone);
    for _ in 0..2 {
        assert_eq!(payments.return_deposit(&due).await.expect("finds nothing"), Undo::Nothing);
        assert_eq!(payments.refund(&due).await.expect("answers as before"), Undo::Undone);
    }
    assert_eq!(bench.entries(&order(1)).await, [EntryKind::Deposit, EntryKind::Refund]);
}

async fn a_transfer_that_is_still_expected_is_not_returned_yet(bench: Bench) {
    let (payments, due) = (&bench.payments, deposit_of(&order(1)));
    payments.open_deposit(&due).await.expect("opens");
    assert!(is_unavailable(&payments.return_deposit(&due).await));
    assert!(bench.entries(&order(1)).await.is_empty());
    assert_eq!(payments.close_deposit(&due).await.expect("closes"), Undo::Undone);
    assert_eq!(payments.return_deposit(&due).await.expect("returns"), Undo::Undone);
}

async fn a_transfer_for_a_deposit_that_was_called_off_before_it_was_opened_goes_back(bench: Bench) {
    let (payments, due) = (&bench.payments, deposit_of(&order(1)));
    assert_eq!(payments.close_deposit(&due).await.expect("finds nothing"), Undo::Nothing);
    for _ in 0..2 {
        assert_eq!(payments.return_deposit(&due).await.expect("returns"), Undo::Undone);
        assert_eq!(payments.close_deposit(&due).await.expect("answers as before"), Undo::Nothing);
        assert!(is_impossible(&payments.open_deposit(&due).await));
    }
    assert_eq!(bench.entries(&order(1)).await, [EntryKind::Deposit, EntryKind::Refund]);
    assert_eq!(bench.state(&order(1)).await, Some(PaymentState::Refunded));
}

async fn a_transfer_for_what_is_no_deposit_is_impossible(bench: Bench) {
    let payments = &bench.payments;
    assert!(is_impossible(&payments.return_deposit(&deposit_of(&order(1))).await), "it was never opened");
    assert_eq!(bench.state(&order(1)).await, None);
    payments.refund(&refund_of(&order(2))).await.expect("keeps the charge out");
    assert!(is_impossible(&payments.return_deposit(&refund_of(&order(2))).await), "it is paid by card");
    payments.charge(&charge_of(&order(3), "tok_declined")).await.expect("answers");
    assert!(is_impossible(&payments.return_deposit(&deposit_of(&order(3))).await), "it was declined");
}

async fn concurrent_returns_and_closes_book_the_late_transfer_once(bench: Bench) {
    for n in 0..20 {
        let due = deposit_of(&order(n));
        bench.payments.open_deposit(&due).await.expect("opens");
        let calls = (0..8).map(|call| {
            let (payments, due) = (bench.payments.clone(), due.clone());
            tokio::spawn(async move {
                if call % 2 == 0 {
                    let returned = payments.return_deposit(&due).await;
                    assert!(!is_impossible(&returned) && !matches!(returned, Ok(Undo::Nothing)), "{returned:?}");
                } else {
                    assert_eq!(payments.close_deposit(&due).await.expect("closes"), Undo::Undone);
                }
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.expect("no panic");
        }
        assert_eq!(bench.payments.return_deposit(&due).await.expect("returns"), Undo::Undone);
        assert_eq!(bench.entries(&order(n)).await, [EntryKind::Deposit, EntryKind::Refund]);
    }
}

async fn payments_are_listed_newest_first_with_all_that_is_known(bench: Bench) {
    let payments = &bench.payments;
    let before = book::now();
    payments.charge(&charge_of(&order(1), "tok_ok")).await.expect("answers");
    payments.charge(&charge_of(&order(2), "tok_declined")).await.expect("answers");
    payments.open_deposit(&deposit_of(&order(3))).await.expect("opens");
    let listed = payments.payments(&Listing { order_id: None, merchant_id: None, limit: 2 }).await.expect("lists");
    assert_eq!(listed.iter().map(|payment| payment.order_id.clone()).collect::<Vec<_>>(), [order(3), order(2)]);
    assert_eq!((listed[0].method, listed[0].state), (PaymentMethod::Deposit, PaymentState::Pending));
    assert_eq!((listed[1].method, listed[1].state), (PaymentMethod::Card, PaymentState::Declined));
    assert_eq!(listed[1].reason.as_deref(), Some("card_declined"));

    let listed = bench.listed(&order(1)).await.expect("is there");
    let due = refund_of(&order(1));
    assert_eq!((&listed.id, &listed.merchant_id, listed.amount), (&due.payment_id, &due.merchant_id, due.amount));
    assert_eq!(listed.created_at, listed.updated_at);
    assert!(before <= listed.created_at && listed.created_at <= book::now(), "{listed:?}");
    let booked = ledger::entry(EntryKind::Charge, &due, listed.entries[0].at);
    assert_eq!(listed.entries, [booked]);
    assert!(before <= listed.entries[0].at && listed.entries[0].at <= book::now(), "{listed:?}");

    payments.refund(&due).await.expect("refunds");
    let refunded = bench.listed(&order(1)).await.expect("is there");
    assert!(refunded.updated_at > refunded.created_at && refunded.created_at == listed.created_at, "{refunded:?}");
}

async fn an_audit_goes_through_all_payments_by_id(bench: Bench) {
    let payments = &bench.payments;
    // Not in the order of their ids.
    for n in [5, 0xf, 3, 0xa, 1, 7, 2] {
        payments.charge(&charge_of(&order(n), "tok_ok")).await.expect("charges");
    }
    payments.refund(&refund_of(&order(3))).await.expect("refunds");
    payments.charge(&charge_of(&order(4), "tok_declined")).await.expect("declines");
    payments.close_deposit(&deposit_of(&order(6))).await.expect("closes");
    payments.return_deposit(&deposit_of(&order(6))).await.expect("returns");
    let mut audited = Vec::new();
    loop {
        let after = audited.last().map(|last: &Audited| last.id.clone());
        let page = payments.audit(&AuditQuery { only: None, after, limit: 3 }).await.expect("audits");
        assert!(page.len() <= 3, "{page:?}");
        if page.is_empty() {
            break;
        }
        audited.extend(page);
    }
    let expected: Vec<_> = (1..=7).chain([0xa, 0xf]).map(order).collect();
    assert_eq!(audited.len(), expected.len());
    for (audited, order) in audited.iter().zip(&expected) {
        let listed = bench.listed(order).await.expect("is listed");
        let Payment { id, order_id, merchant_id, method, state, amount, mut entries, .. } = listed;
        let mut booked = audited.entries.clone();
        booked.sort_by_key(|entry| entry.kind);
        entries.sort_by_key(|entry| entry.kind);
        let claim = Claim { order_id, merchant_id, method, state, amount };
        assert_eq!((audited.id.as_str(), audited.unreadable), (id.as_str(), 0));
        assert_eq!((audited.payment.as_ref(), booked), (Some(&claim), entries));
        let only = AuditQuery { only: Some(id), after: None, limit: 1 };
        assert_eq!(payments.audit(&only).await.expect("audits"), std::slice::from_ref(audited));
    }
    let nobody = AuditQuery { only: Some(order(0).payment()), after: None, limit: 1 };
    assert_eq!(payments.audit(&nobody).await.expect("audits"), []);
    bench.modes.set_mode(Context::Payment, Mode::Down).await.expect("sets");
    assert!(is_unavailable(&payments.audit(&nobody).await));
}

#[tokio::test]
async fn an_audit_tells_what_makes_no_sense_and_loses_nothing() {
    let store = Store::open("mem://").await.expect("opens");
    let database = store.database("payments").await.expect("opens");
    let bench = Bench::over(super::surreal::open(database.clone()).await.expect("defines"), None);
    for n in 1..=5 {
        bench.payments.charge(&charge_of(&order(n), "tok_ok")).await.expect("charges");
    }
    let change = async |statement: &str, n| {
        database.run(statement, &serde_json::json!({ "id": order(n).payment() })).await.expect("changes");
    };
    change("DELETE type::record('payments', $id)", 2).await;
    change("UPDATE type::record('payments', $id) SET state = 'lost'", 3).await;
    change("UPDATE type::record('ledger', [$id, 'charge']) SET postings = 1", 4).await;
    // More than a payment can have.
    for n in 0..30 {
        change(&format!("CREATE type::record('ledger', [$id, 'x{n:02}'])"), 5).await;
    }
    change("CREATE type::record('payments', 'x')", 5).await;
    for limit in [1, 2, 3, 100] {
        let mut audited: Vec<Audited> = Vec::new();
        loop {
            let after = audited.last().map(|last| last.id.clone());
            let page = bench.payments.audit(&AuditQuery { only: None, after, limit }).await.expect("audits");
            if page.is_empty() {
                break;
            }
            audited.extend(page);
        }
        let found: Vec<_> = audited
            .iter()
            .map(|audited| (&audited.id[..], audited.payment.is_some(), audited.entries.len(), audited.unreadable))
            .collect();
        let ids: Vec<_> = (0..=5).map(|n| order(n).payment()).collect();
        assert_eq!(
            found[..4],
            [
                (ids[1].as_str(), true, 1, 0),
                (ids[2].as_str(), false, 1, 0),
                (ids[3].as_str(), false, 1, 1),
                (ids[4].as_str(), true, 0, 1)
            ]
        );
        assert!(found[4].0 == ids[5].as_str() && found[4].3 >= 3, "{found:?}");
        assert_eq!(found[5..], [("x", false, 0, 1)], "limit {limit}");
    }
}

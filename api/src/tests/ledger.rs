//! The money proof: what is told of books that are right, wrong, or out of reach.

use serde_json::json;
use workflows::payment::{Audited, Claim, EntryKind, LedgerEntry, Posting};
use workflows::{Currency, Money, OrderId, PaymentMethod, PaymentState};

use crate::testing::{World, at, locked, order};

/// An approved payment of the order, with its charge.
fn charged(order: &OrderId) -> Audited {
    let amount = Money::new(24_000, Currency::KRW);
    let posting = |account: &str, amount| Posting { account: account.to_owned(), amount };
    let claim = Claim {
        order_id: order.clone(),
        merchant_id: "sauce-shop".parse().expect("valid"),
        method: PaymentMethod::Card,
        state: PaymentState::Approved,
        amount,
    };
    let credit = Money::new(-amount.amount, amount.currency);
    let postings = vec![posting("card_clearing", amount), posting("merchant:sauce-shop", credit)];
    let charge = LedgerEntry { kind: EntryKind::Charge, at: at(), postings };
    Audited { id: order.payment().to_string(), payment: Some(claim), entries: vec![charge], unreadable: 0 }
}

#[tokio::test]
async fn books_that_are_right_are_clean() {
    let world = World::new().await;
    let id = world.placed(order()).await;
    *locked(&world.state.audited) = vec![charged(&id)];
    let proof = world.get("/v1/ledger/proof").await;
    let expected = json!({
        "clean": true,
        "taken_at": "2026-01-31T09:30:00Z",
        "orders": 1, "payments": 1, "entries": 1,
        "currencies": [{"currency": "KRW", "postings": 2, "debits": 24_000, "credits": -24_000, "total": 0}],
        "unbalanced": {"count": 0, "items": []},
        "disagreements": {"count": 0, "items": []},
    });
    assert_eq!((proof.status.as_u16(), proof.body), (200, expected));
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_order() {
    let world = World::new().await;
    let (changed, unpaid) = (world.placed(order()).await, world.placed(order()).await);
    let mut audited = charged(&changed);
    audited.entries[0].postings[1].amount.amount = i64::MIN;
    *locked(&world.state.audited) = vec![audited];
    let proof = world.get("/v1/ledger/proof").await.body;
    assert_eq!((&proof["clean"], &proof["currencies"][0]["total"]), (&json!(false), &json!(i64::MIN + 24_000)));
    let unbalanced = json!([{
        "payment_id": changed.payment().as_str(), "kind": "charge", "currency": "KRW", "sum": i64::MIN + 24_000,
    }]);
    assert_eq!(proof["unbalanced"], json!({"count": 1, "items": unbalanced}));
    let mut found: Vec<_> = proof["disagreements"]["items"].as_array().expect("a list").clone();
    found.sort_by_key(|found| found["mismatch"].to_string());
    assert_eq!(found.len(), 2, "{proof:#}");
    for (found, id, mismatch, state) in
        [(&found[0], changed, "ledger", "approved"), (&found[1], unpaid, "payment_missing", "none")]
    {
        assert_eq!(found["order_id"], id.as_str());
        assert_eq!(
            (&found["mismatch"], &found["status"], &found["payment_state"]),
            (&json!(mismatch), &json!("paid"), &json!(state))
        );
        assert_ne!(found["expected"], found["found"]);
    }
}

#[tokio::test]
async fn without_the_payments_there_is_no_proof() {
    let world = World::new().await;
    world.put("/v1/sandbox/payment", json!({"mode": "down"})).await;
    let answer = world.get("/v1/ledger/proof").await;
    answer.is_problem(503, "upstream-unavailable");
    assert_eq!(answer.body["context"], "payment");
}

//! The double-entry ledger: money is never made or lost, it only moves between accounts.

use chrono::{DateTime, Utc};
use workflows::payment::{Due, EntryKind, LedgerEntry, Posting};
use workflows::{Money, PaymentMethod};

/// What the card networks owe us.
const CARD_CLEARING: &str = "card_clearing";
/// What lies at the bank.
const BANK: &str = "bank";

/// A payment moves money from the card networks, or the bank, to the merchant; a refund moves it back.
pub fn entry(kind: EntryKind, due: &Due, at: DateTime<Utc>) -> LedgerEntry {
    let source = match due.method {
        PaymentMethod::Card => CARD_CLEARING,
        PaymentMethod::Deposit => BANK,
    };
    let merchant = format!("merchant:{}", due.merchant_id);
    let (debit, credit) = match kind {
        EntryKind::Charge | EntryKind::Deposit => (source.to_owned(), merchant),
        EntryKind::Refund => (merchant, source.to_owned()),
    };
    LedgerEntry {
        kind,
        at,
        postings: vec![
            Posting { account: debit, amount: due.amount },
            Posting { account: credit, amount: Money { amount: -due.amount.amount, ..due.amount } },
        ],
    }
}

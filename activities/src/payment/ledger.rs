//! The double-entry ledger: money is never made or lost, it only moves between accounts.

use chrono::{DateTime, Utc};
use workflows::payment::{EntryKind, LedgerEntry, Posting};
use workflows::{MerchantId, Money};

/// What the card networks owe us.
const CARD_CLEARING: &str = "card_clearing";

/// A charge moves money from the card networks to the merchant; a refund moves it back.
pub fn entry(kind: EntryKind, merchant_id: &MerchantId, amount: Money, at: DateTime<Utc>) -> LedgerEntry {
    let merchant = format!("merchant:{merchant_id}");
    let (debit, credit) = match kind {
        EntryKind::Charge => (CARD_CLEARING.to_owned(), merchant),
        EntryKind::Refund => (merchant, CARD_CLEARING.to_owned()),
    };
    LedgerEntry {
        kind,
        at,
        postings: vec![
            Posting { account: debit, amount },
            Posting { account: credit, amount: Money { amount: -amount.amount, ..amount } },
        ],
    }
}

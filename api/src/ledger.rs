//! `/v1/ledger/proof`: whether the money is all there, and where the orders say that it is.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use poem_openapi::payload::Json;
use poem_openapi::{Enum, Object, OpenApi};
use tracing::warn;
use workflows::order::OrderBook;
use workflows::order::proof::{self, Moment, Unproved};
use workflows::payment::Payments;
use workflows::{Context, Currency, ProviderError, Role};

use crate::access::Caller;
use crate::json::{EntryKindName, PaymentStateName, StatusName};
use crate::problem::{Problem, Refused, refusals};
use crate::tags::Tag;
use crate::value::Checked;

/// How long an order that does not fit its payment is left alone before it is looked at again.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) struct LedgerApi {
    pub orders: Arc<dyn OrderBook>,
    pub payments: Arc<dyn Payments>,
}

refusals! {
    ProveLedger: Forbidden, UpstreamUnavailable, TryAgainLater;
}

/// What the books say.
#[derive(Object)]
struct Proof {
    /// Whether every entry sums to zero, every currency sums to zero, and no order disagrees with its payment.
    clean: bool,
    /// When the proof was begun.
    taken_at: Checked<DateTime<Utc>>,
    /// How many orders were looked at.
    orders: u64,
    /// How many payments.
    payments: u64,
    /// How many entries of the ledger.
    entries: u64,
    /// The sums of all postings, by currency.
    currencies: Vec<Sums>,
    /// Entries that do not sum to zero: must be none.
    unbalanced: UnbalancedEntries,
    /// Orders and payments that do not fit together: must be none.
    disagreements: Disagreements,
}

/// The sums of all postings in one currency, in minor units.
#[derive(Object)]
struct Sums {
    /// The currency.
    currency: Checked<Currency>,
    /// How many postings there are.
    postings: u64,
    /// The sum of those above zero.
    debits: i64,
    /// The sum of those below zero.
    credits: i64,
    /// The sum of both: must be zero.
    total: i64,
}

/// Entries that do not sum to zero.
#[derive(Object)]
struct UnbalancedEntries {
    /// How many there are.
    count: u64,
    /// The first hundred.
    items: Vec<UnbalancedEntry>,
}

/// An entry that does not sum to zero.
#[derive(Object)]
struct UnbalancedEntry {
    /// The payment that it belongs to.
    payment_id: String,
    /// What moved the money.
    kind: EntryKindName,
    /// In which currency it does not.
    currency: Checked<Currency>,
    /// What it sums to, in minor units.
    sum: i64,
}

/// Orders and payments that do not fit together.
#[derive(Object)]
struct Disagreements {
    /// How many there are.
    count: u64,
    /// The first hundred.
    items: Vec<Disagreement>,
}

/// How an order and its payment do not fit together: there is no payment though the status demands one
/// (`payment_missing`), or a payment without an order (`order_missing`); the payment is in a state that the status
/// excludes (`state`), or of another amount, method, merchant or order (`terms`); what is booked is not what the payment
/// says (`ledger`); or something written cannot be read (`unreadable`).
#[derive(Clone, Copy, Enum)]
#[oai(rename = "Mismatch", remote = "proof::Mismatch", rename_all = "snake_case")]
enum MismatchName {
    PaymentMissing,
    OrderMissing,
    State,
    Terms,
    Ledger,
    Unreadable,
}

/// An order and a payment that do not fit together, and did not a few seconds later either.
#[derive(Object)]
struct Disagreement {
    /// In which way.
    mismatch: MismatchName,
    /// The order, as far as it can be told.
    order_id: String,
    /// The order's status; null where there is no order that can be read.
    #[oai(nullable)]
    status: Option<StatusName>,
    /// The payment's state; `none` where there is no payment that can be read.
    payment_state: PaymentStateName,
    /// What is expected.
    expected: String,
    /// What is there.
    found: String,
}

#[OpenApi(prefix_path = "/v1/ledger", tag = "Tag::Ledger")]
impl LedgerApi {
    /// Prove the money
    ///
    /// Sums all postings of the ledger and holds every order against its payment: the books are read through, so it takes
    /// longer the more orders there are. An order that moves meanwhile is looked at again before it is called wrong.
    #[oai(path = "/proof", method = "get", operation_id = "prove_ledger")]
    async fn prove(&self, caller: Caller) -> Result<Json<Proof>, Refused<ProveLedger>> {
        caller.must_be(&[Role::Operator])?;
        let pause = || -> Moment { Box::pin(tokio::time::sleep(PAUSE)) };
        let proof = proof::prove(&*self.orders, &*self.payments, &pause).await;
        let proof = proof.map_err(|unproved| unread(&unproved))?;
        if !proof.is_clean() {
            let (unbalanced, disagreements) = (proof.unbalanced.count, proof.disagreements.count);
            warn!(unbalanced, disagreements, "the money proof found something wrong");
        }
        Ok(Json(proof.into()))
    }
}

fn unread(unproved: &Unproved) -> Problem {
    warn!(error = %unproved, "the money cannot be proved");
    match unproved {
        Unproved::Payments(ProviderError::Unavailable(_)) => Problem::upstream_unavailable(Context::Payment),
        Unproved::Orders(ProviderError::Unavailable(_)) => Problem::try_again_later(),
        Unproved::Payments(ProviderError::Impossible(_)) | Unproved::Orders(ProviderError::Impossible(_)) => {
            Problem::internal()
        }
    }
}

/// Sums that do not fit are told as the nearest that do: they are wrong in any case.
fn minor_units(sum: i128) -> i64 {
    i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX })
}

impl From<proof::Proof> for Proof {
    fn from(proof: proof::Proof) -> Self {
        let clean = proof.is_clean();
        let proof::Proof { taken_at, orders, payments, entries, currencies, unbalanced, disagreements } = proof;
        let sums = currencies.into_iter().map(|sums| Sums {
            currency: Checked(sums.currency),
            postings: sums.postings,
            debits: minor_units(sums.debits),
            credits: minor_units(sums.credits),
            total: minor_units(sums.total()),
        });
        let unbalanced = UnbalancedEntries {
            count: unbalanced.count,
            items: unbalanced.first.into_iter().map(UnbalancedEntry::from).collect(),
        };
        let disagreements = Disagreements {
            count: disagreements.count,
            items: disagreements.first.into_iter().map(Disagreement::from).collect(),
        };
        Self {
            clean,
            taken_at: Checked(taken_at),
            orders,
            payments,
            entries,
            currencies: sums.collect(),
            unbalanced,
            disagreements,
        }
    }
}

impl From<proof::Unbalanced> for UnbalancedEntry {
    fn from(entry: proof::Unbalanced) -> Self {
        let proof::Unbalanced { payment_id, kind, currency, sum } = entry;
        Self { payment_id, kind: kind.into(), currency: Checked(currency), sum: minor_units(sum) }
    }
}

impl From<proof::Disagreement> for Disagreement {
    fn from(disagreement: proof::Disagreement) -> Self {
        let proof::Disagreement { mismatch, order_id, status, payment_state, expected, found } = disagreement;
        Self {
            mismatch: mismatch.into(),
            order_id,
            status: status.map(StatusName::from),
            payment_state: payment_state.into(),
            expected,
            found,
        }
    }
}

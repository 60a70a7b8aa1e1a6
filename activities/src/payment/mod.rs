//! Payment, built in: a sandbox provider that understands test cards, over a book of payments and their ledger. The
//! rules are here, once; where the book is kept makes no difference to them.

mod book;
mod card;
mod ledger;
pub mod postgres;
pub mod surreal;
pub mod vault;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::Utc;
use workflows::payment::{AuditQuery, Audited, Charge, Charged, Due, EntryKind, Payment, Payments};
use workflows::provider::{Listing, Undo};
use workflows::{Context, Money, PaymentId, PaymentMethod, ProviderError};

pub use self::book::Book;
use self::book::{Opening, Standing, State};
use self::card::TestCard;
use crate::Modes;

pub struct BuiltIn {
    book: Arc<dyn Book>,
    modes: Arc<Modes>,
}

impl BuiltIn {
    pub fn new(book: Arc<dyn Book>, modes: Arc<Modes>) -> Self {
        Self { book, modes }
    }

    /// Lets a call through that could be answered. A negative amount would turn a payment into a withdrawal.
    async fn admit(&self, amount: Money) -> Result<(), ProviderError> {
        self.modes.pass(Context::Payment).await?;
        if amount.amount < 0 {
            return Err(ProviderError::impossible(format!("{amount} is less than nothing")));
        }
        Ok(())
    }

    /// Moves the payment together with the entries of the move, where it is in `from`.
    async fn book(
        &self,
        due: &Due,
        from: State,
        to: State,
        kinds: &[EntryKind],
    ) -> Result<Option<Standing>, ProviderError> {
        let at = book::now();
        let entries: Vec<_> = kinds.iter().map(|kind| ledger::entry(*kind, due, at)).collect();
        self.book.advance(&due.payment_id, from, to, &entries).await
    }

    /// Whether the card lets the charge through now. `Err` is what a provider out of order looks like.
    async fn try_card(&self, card: &TestCard, id: &PaymentId) -> Result<(), ProviderError> {
        match card {
            TestCard::Flaky { failures } => {
                let attempt = self.book.attempt(id).await?.count;
                if attempt <= *failures {
                    return Err(ProviderError::unavailable(format!("the provider failed (attempt {attempt})")));
                }
            }
            TestCard::Slow { delay } => {
                let first_at = self.book.attempt(id).await?.first_at;
                let passed = (Utc::now() - first_at).to_std().unwrap_or_default();
                tokio::time::sleep(delay.saturating_sub(passed)).await;
            }
            TestCard::Ok | TestCard::LostReply | TestCard::Declined { .. } => {}
        }
        Ok(())
    }
}

#[async_trait]
impl Payments for BuiltIn {
    async fn charge(&self, charge: &Charge) -> Result<Charged, ProviderError> {
        self.admit(charge.amount).await?;
        let card = TestCard::read(&charge.card_token.0);
        let id = &charge.payment_id;
        // What does not depend on earlier attempts need not ask for them: who was first is seen when it is written.
        let goes_through = !matches!(card, TestCard::Flaky { .. } | TestCard::Slow { .. });
        if goes_through || self.book.find(id).await?.is_none() {
            self.try_card(&card, id).await?;
            let due = due_of(charge);
            let (charged, first) = if let TestCard::Declined { reason } = card {
                let declined = Opening { due: &due, state: State::Declined, void: false, reason: Some(reason) };
                (Charged::Declined { reason: reason.to_owned() }, self.book.create(&declined, None).await?)
            } else {
                let approved = Opening { due: &due, state: State::Approved, void: false, reason: None };
                let entry = ledger::entry(EntryKind::Charge, &due, book::now());
                (Charged::Approved, self.book.create(&approved, Some(&entry)).await?)
            };
            if first && card == TestCard::LostReply {
                return Err(ProviderError::unavailable("the provider's reply was lost"));
            }
            // What was written now is what counts; where it was not, somebody else was first.
            if first {
                return Ok(charged);
            }
        }
        match self.book.find(id).await? {
            Some(Standing { state: State::Approved, .. }) => Ok(Charged::Approved),
            Some(Standing { state: State::Declined, reason, .. }) => {
                Ok(Charged::Declined { reason: reason.unwrap_or_else(|| "declined".to_owned()) })
            }
            standing => Err(contradiction(id, "charged", standing.as_ref())),
        }
    }

    async fn refund(&self, due: &Due) -> Result<Undo, ProviderError> {
        self.admit(due.amount).await?;
        // What is cancelled before it was charged or confirmed is kept: the charge, or its confirmation, may still be on
        // its way.
        match due.method {
            PaymentMethod::Card => {
                let cancelled = Opening { due, state: State::Cancelled, void: false, reason: None };
                self.book.create(&cancelled, None).await?;
            }
            PaymentMethod::Deposit => {
                self.book(due, State::Pending, State::Cancelled, &[]).await?;
            }
        }
        Ok(match self.book(due, State::Approved, State::Refunded, &[EntryKind::Refund]).await? {
            Some(Standing { state: State::Refunded, .. }) => Undo::Undone,
            _ => Undo::Nothing,
        })
    }

    async fn open_deposit(&self, due: &Due) -> Result<(), ProviderError> {
        self.admit(due.amount).await?;
        self.book.create(&Opening { due, state: State::Pending, void: false, reason: None }, None).await?;
        match self.book.find(&due.payment_id).await? {
            Some(Standing { state: State::Pending | State::Approved, .. }) => Ok(()),
            standing => Err(contradiction(&due.payment_id, "opened", standing.as_ref())),
        }
    }

    async fn close_deposit(&self, due: &Due) -> Result<Undo, ProviderError> {
        self.admit(due.amount).await?;
        self.book.create(&Opening { due, state: State::Cancelled, void: true, reason: None }, None).await?;
        Ok(match self.book(due, State::Pending, State::Cancelled, &[]).await? {
            Some(Standing { state: State::Cancelled | State::Returned, void: false, .. }) => Undo::Undone,
            _ => Undo::Nothing,
        })
    }

    async fn confirm_deposit(&self, due: &Due) -> Result<(), ProviderError> {
        self.admit(due.amount).await?;
        match self.book(due, State::Pending, State::Approved, &[EntryKind::Deposit]).await? {
            Some(Standing { state: State::Approved, .. }) => Ok(()),
            standing => Err(contradiction(&due.payment_id, "confirmed", standing.as_ref())),
        }
    }

    async fn return_deposit(&self, due: &Due) -> Result<Undo, ProviderError> {
        self.admit(due.amount).await?;
        if due.method != PaymentMethod::Deposit {
            return Err(ProviderError::impossible(format!("{} is no deposit", due.payment_id)));
        }
        // Also what was called off before it was opened: whoever sent money for it is to have it back.
        let came_and_went = [EntryKind::Deposit, EntryKind::Refund];
        match self.book(due, State::Cancelled, State::Returned, &came_and_went).await? {
            Some(Standing { state: State::Returned, .. }) => Ok(Undo::Undone),
            Some(Standing { state: State::Approved | State::Refunded, .. }) => Ok(Undo::Nothing),
            Some(Standing { state: State::Pending, .. }) => {
                Err(ProviderError::unavailable(format!("{} is still expected", due.payment_id)))
            }
            standing => Err(contradiction(&due.payment_id, "returned", standing.as_ref())),
        }
    }

    async fn payments(&self, listing: &Listing) -> Result<Vec<Payment>, ProviderError> {
        self.modes.pass(Context::Payment).await?;
        self.book.list(listing).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Vec<Audited>, ProviderError> {
        self.modes.pass(Context::Payment).await?;
        self.book.audit(query).await
    }
}

fn contradiction(id: &PaymentId, wanted: &str, standing: Option<&Standing>) -> ProviderError {
    let state = standing.map(|standing| standing.state);
    ProviderError::impossible(format!("{id} cannot be {wanted}: it is {state:?}"))
}

fn due_of(charge: &Charge) -> Due {
    Due {
        payment_id: charge.payment_id.clone(),
        order_id: charge.order_id.clone(),
        merchant_id: charge.merchant_id.clone(),
        method: PaymentMethod::Card,
        amount: charge.amount,
    }
}

#[cfg(test)]
#[path = "payment_test.rs"]
mod tests;

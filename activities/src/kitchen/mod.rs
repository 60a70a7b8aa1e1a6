//! Kitchen, built in: one ticket for each order.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use workflows::kitchen::{Kitchen, Ticket};
use workflows::provider::{OrderRef, Undo};
use workflows::{Context, OrderId, ProviderError};

use crate::Modes;
use crate::progress::Progress;
use crate::store::{Database, StoreError};

/// A ticket's state in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Offered,
    Started,
    Finished,
    Withdrawn,
    Stopped,
    /// Called off before it was offered or begun: what comes later is refused.
    Void,
}

pub struct BuiltIn {
    tickets: Progress,
    modes: Arc<Modes>,
}

impl BuiltIn {
    pub async fn open(database: Database, modes: Arc<Modes>) -> Result<Self, StoreError> {
        Ok(Self { tickets: Progress::open(database, "tickets").await?, modes })
    }

    async fn advance(
        &self,
        order_id: &OrderId,
        from: &'static [&'static str],
        to: &'static str,
    ) -> Result<Option<State>, StoreError> {
        self.tickets.advance(order_id.as_str(), from, to).await
    }
}

#[async_trait]
impl Kitchen for BuiltIn {
    async fn offer(&self, ticket: &Ticket) -> Result<(), ProviderError> {
        self.modes.pass(Context::Kitchen).await?;
        if self.tickets.create(ticket.order_id.as_str(), record(ticket, "offered")).await? {
            return Ok(());
        }
        match self.advance(&ticket.order_id, &[], "offered").await? {
            Some(State::Offered | State::Started | State::Finished) => Ok(()),
            state => Err(contradiction(&ticket.order_id, "offered", state)),
        }
    }

    async fn withdraw(&self, OrderRef { order_id, .. }: &OrderRef) -> Result<Undo, ProviderError> {
        self.modes.pass(Context::Kitchen).await?;
        self.tickets.create(order_id.as_str(), json!({ "state": "void" })).await?;
        match self.advance(order_id, &["offered"], "withdrawn").await? {
            Some(State::Withdrawn) => Ok(Undo::Undone),
            Some(State::Void | State::Stopped) => Ok(Undo::Nothing),
            state => Err(contradiction(order_id, "withdrawn", state)),
        }
    }

    async fn start(&self, ticket: &Ticket) -> Result<(), ProviderError> {
        self.modes.pass(Context::Kitchen).await?;
        if self.tickets.create(ticket.order_id.as_str(), record(ticket, "started")).await? {
            return Ok(());
        }
        match self.advance(&ticket.order_id, &["offered"], "started").await? {
            Some(State::Started | State::Finished) => Ok(()),
            state => Err(contradiction(&ticket.order_id, "started", state)),
        }
    }

    async fn finish(&self, OrderRef { order_id, .. }: &OrderRef) -> Result<(), ProviderError> {
        self.modes.pass(Context::Kitchen).await?;
        match self.advance(order_id, &["started"], "finished").await? {
            Some(State::Finished) => Ok(()),
            state => Err(contradiction(order_id, "finished", state)),
        }
    }

    async fn stop(&self, OrderRef { order_id, .. }: &OrderRef) -> Result<Undo, ProviderError> {
        self.modes.pass(Context::Kitchen).await?;
        self.tickets.create(order_id.as_str(), json!({ "state": "void" })).await?;
        match self.advance(order_id, &["offered", "started", "finished"], "stopped").await? {
            Some(State::Stopped) => Ok(Undo::Undone),
            Some(State::Void | State::Withdrawn) => Ok(Undo::Nothing),
            state => Err(contradiction(order_id, "stopped", state)),
        }
    }
}

fn record(ticket: &Ticket, state: &str) -> Value {
    json!({
        "order_id": ticket.order_id, "merchant_id": ticket.merchant_id, "lines": ticket.lines, "note": ticket.note,
        "state": state,
    })
}

fn contradiction(order_id: &OrderId, wanted: &str, state: Option<State>) -> ProviderError {
    ProviderError::impossible(format!("the ticket of {order_id} cannot be {wanted}: it is {state:?}"))
}

#[cfg(test)]
#[path = "kitchen_test.rs"]
mod tests;

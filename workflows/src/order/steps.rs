//! What each step asks of which port.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Order, OrderBook};
use crate::delivery::{Deliveries, DeliveryRequest};
use crate::kitchen::{Kitchen, Ticket};
use crate::payment::{CardToken, Charge, Charged, Payments, Refund};
use crate::provider::Undo;
use crate::stock::{Reserved, Stock, Wanted};
use crate::{ProviderError, Sku, Step};

/// The ports that the workflow works through.
#[derive(Clone)]
pub struct Ports {
    pub orders: Arc<dyn OrderBook>,
    pub payments: Arc<dyn Payments>,
    pub stock: Arc<dyn Stock>,
    pub deliveries: Arc<dyn Deliveries>,
    pub kitchen: Arc<dyn Kitchen>,
}

/// A provider's answer, journaled. A refusal is an answer too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Done, or undone.
    Done,
    /// There was nothing to undo.
    Nothing,
    Declined {
        reason: String,
    },
    OutOfStock {
        sku: Sku,
        available: i64,
    },
}

impl From<Undo> for Outcome {
    fn from(undo: Undo) -> Self {
        match undo {
            Undo::Undone => Self::Done,
            Undo::Nothing => Self::Nothing,
        }
    }
}

/// Asks the step's provider. Steps of the order itself ask nobody.
pub(super) async fn perform(
    ports: &Ports,
    step: Step,
    order: &Order,
    card_token: &CardToken,
) -> Result<Outcome, ProviderError> {
    let id = &order.id;
    Ok(match step {
        Step::StockReserve => match ports.stock.reserve(id, &order.merchant_id, &wanted(order)).await? {
            Reserved::Held => Outcome::Done,
            Reserved::OutOfStock { sku, available } => Outcome::OutOfStock { sku, available },
        },
        Step::StockRelease => ports.stock.release(id).await?.into(),
        Step::StockCommit => done(ports.stock.commit(id).await?),
        Step::StockRestock => ports.stock.restock(id).await?.into(),
        Step::PaymentCharge => match ports.payments.charge(&charge(order, card_token)).await? {
            Charged::Approved => Outcome::Done,
            Charged::Declined { reason } => Outcome::Declined { reason },
        },
        Step::PaymentRefund => ports.payments.refund(&refund(order)).await?.into(),
        Step::KitchenOffer => done(ports.kitchen.offer(&ticket(order)).await?),
        Step::KitchenWithdraw => ports.kitchen.withdraw(id).await?.into(),
        Step::KitchenStart => done(ports.kitchen.start(&ticket(order)).await?),
        Step::KitchenFinish => done(ports.kitchen.finish(id).await?),
        Step::KitchenStop => ports.kitchen.stop(id).await?.into(),
        Step::DeliveryRequest => done(ports.deliveries.request(&delivery(order)).await?),
        Step::DeliveryStart => done(ports.deliveries.start(id).await?),
        Step::DeliveryComplete => done(ports.deliveries.complete(id).await?),
        Step::DeliveryCancel => ports.deliveries.cancel(id).await?.into(),
        Step::OrderPlace
        | Step::OrderAccept
        | Step::OrderRequestCancellation
        | Step::OrderCancel
        | Step::OrderReject => Outcome::Done,
    })
}

const fn done((): ()) -> Outcome {
    Outcome::Done
}

/// The order's lines, each SKU once.
fn wanted(order: &Order) -> Vec<Wanted> {
    let mut by_sku = BTreeMap::<&Sku, u32>::new();
    for line in &order.lines {
        *by_sku.entry(&line.sku).or_default() += line.quantity;
    }
    by_sku.into_iter().map(|(sku, quantity)| Wanted { sku: sku.clone(), quantity }).collect()
}

fn charge(order: &Order, card_token: &CardToken) -> Charge {
    Charge {
        payment_id: order.payment.id.clone(),
        order_id: order.id.clone(),
        merchant_id: order.merchant_id.clone(),
        amount: order.total,
        card_token: card_token.clone(),
    }
}

fn ticket(order: &Order) -> Ticket {
    Ticket {
        order_id: order.id.clone(),
        merchant_id: order.merchant_id.clone(),
        lines: wanted(order),
        note: order.note.clone(),
    }
}

fn refund(order: &Order) -> Refund {
    Refund {
        payment_id: order.payment.id.clone(),
        order_id: order.id.clone(),
        merchant_id: order.merchant_id.clone(),
        amount: order.total,
    }
}

fn delivery(order: &Order) -> DeliveryRequest {
    DeliveryRequest {
        delivery_id: order.id.delivery(),
        order_id: order.id.clone(),
        merchant_id: order.merchant_id.clone(),
        recipient: order.customer.name.clone(),
        phone: order.customer.phone.clone(),
        address: order.customer.address.clone(),
    }
}

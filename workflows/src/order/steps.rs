//! What each step asks of which port.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tracing::error;

use super::{Order, OrderBook, PlaceOrder};
use crate::delivery::{Deliveries, DeliveryRequest};
use crate::kitchen::{Kitchen, Ticket};
use crate::notification::Notifications;
use crate::payment::{CardToken, Charge, Charged, Due, Payments, StaysSealed, Vault};
use crate::promotion::{CouponRequest, Promotions};
use crate::provider::{OrderRef, Undo};
use crate::stock::{Reservation, Reserved, Stock, Wanted};
use crate::{ProviderError, Sku, Step};

/// The ports that the workflow works through.
#[derive(Clone)]
pub struct Ports {
    pub orders: Arc<dyn OrderBook>,
    pub payments: Arc<dyn Payments>,
    /// Opens the cards that are to be charged.
    pub vault: Arc<dyn Vault>,
    pub stock: Arc<dyn Stock>,
    pub deliveries: Arc<dyn Deliveries>,
    pub kitchen: Arc<dyn Kitchen>,
    pub promotions: Arc<dyn Promotions>,
    /// Beside the orders, in no order's way.
    pub notifications: Arc<dyn Notifications>,
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

/// Asks the step's provider. Steps of the order itself ask nobody, and those beside it are not asked here.
pub(super) async fn perform(
    ports: &Ports,
    step: Step,
    order: &Order,
    input: &PlaceOrder,
) -> Result<Outcome, ProviderError> {
    let of = &OrderRef { order_id: order.id.clone(), merchant_id: order.merchant_id.clone() };
    Ok(match step {
        Step::StockReserve => match ports.stock.reserve(&reservation(order)).await? {
            Reserved::Held => Outcome::Done,
            Reserved::OutOfStock { sku, available } => Outcome::OutOfStock { sku, available },
        },
        Step::StockRelease => ports.stock.release(of).await?.into(),
        Step::StockCommit => done(ports.stock.commit(of).await?),
        Step::StockRestock => ports.stock.restock(of).await?.into(),
        Step::PaymentCharge => match ports.payments.charge(&charge(order, card_token(ports, order, input)?)).await? {
            Charged::Approved => Outcome::Done,
            Charged::Declined { reason } => Outcome::Declined { reason },
        },
        Step::PaymentRefund => ports.payments.refund(&due(order)).await?.into(),
        Step::PaymentOpenDeposit => done(ports.payments.open_deposit(&due(order)).await?),
        Step::PaymentCloseDeposit => ports.payments.close_deposit(&due(order)).await?.into(),
        Step::PaymentConfirmDeposit => done(ports.payments.confirm_deposit(&due(order)).await?),
        Step::PromotionIssue => done(ports.promotions.issue(&coupon(order)?).await?),
        Step::PromotionRevoke => ports.promotions.revoke(of).await?.into(),
        Step::KitchenOffer => done(ports.kitchen.offer(&ticket(order)).await?),
        Step::KitchenWithdraw => ports.kitchen.withdraw(of).await?.into(),
        Step::KitchenStart => done(ports.kitchen.start(&ticket(order)).await?),
        Step::KitchenFinish => done(ports.kitchen.finish(of).await?),
        Step::KitchenStop => ports.kitchen.stop(of).await?.into(),
        Step::DeliveryRequest => done(ports.deliveries.request(&delivery(order)).await?),
        Step::DeliveryStart => done(ports.deliveries.start(of).await?),
        Step::DeliveryComplete => done(ports.deliveries.complete(of).await?),
        Step::DeliveryCancel => ports.deliveries.cancel(of).await?.into(),
        Step::OrderPlace
        | Step::OrderAccept
        | Step::OrderExpire
        | Step::OrderClose
        | Step::OrderRequestCancellation
        | Step::OrderCancel
        | Step::OrderReject
        | Step::PaymentReturnDeposit
        | Step::NotificationSend
        | Step::NotificationDeliver => Outcome::Done,
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

fn reservation(order: &Order) -> Reservation {
    Reservation { order_id: order.id.clone(), merchant_id: order.merchant_id.clone(), lines: wanted(order) }
}

/// The card in clear, for the provider's eyes only. A card that cannot be opened is not declined: a key that is not here
/// yet may come, and until then the charge is as good as out of reach.
fn card_token(ports: &Ports, order: &Order, input: &PlaceOrder) -> Result<CardToken, ProviderError> {
    let card = match (&input.card, &input.card_token) {
        (Some(card), _) => card,
        (None, Some(token)) => return Ok(token.clone()),
        (None, None) => return Err(ProviderError::impossible("there is no card to charge")),
    };
    ports.vault.open(&order.id, card).map_err(|reason| {
        error!(order_id = %order.id, %reason, "a card stays sealed, so it is not charged");
        match reason {
            StaysSealed::UnknownKey(_) => ProviderError::unavailable(reason),
            StaysSealed::Altered => ProviderError::impossible(reason),
        }
    })
}

fn charge(order: &Order, card_token: CardToken) -> Charge {
    Charge {
        payment_id: order.payment.id.clone(),
        order_id: order.id.clone(),
        merchant_id: order.merchant_id.clone(),
        amount: order.total,
        card_token,
    }
}

fn coupon(order: &Order) -> Result<CouponRequest, ProviderError> {
    let kind = order.lifecycle.coupon.ok_or_else(|| ProviderError::impossible("its lifecycle has no coupon"))?;
    Ok(CouponRequest {
        coupon_id: order.id.coupon(),
        order_id: order.id.clone(),
        merchant_id: order.merchant_id.clone(),
        kind,
    })
}

fn ticket(order: &Order) -> Ticket {
    Ticket {
        order_id: order.id.clone(),
        merchant_id: order.merchant_id.clone(),
        lines: wanted(order),
        note: order.note.clone(),
    }
}

/// What the order owes.
#[must_use]
pub fn due(order: &Order) -> Due {
    Due {
        method: order.payment.method,
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

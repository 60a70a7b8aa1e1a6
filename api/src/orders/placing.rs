//! Placing an order: claim its id, price it, hand it to the engine, wait until it is decided, and tell what was
//! decided. What can go wrong with the engine never places an order twice, because the workflow's key is the order's
//! id.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, error, warn};
use uuid::Uuid;
use workflows::merchant::{Merchant, Merchants};
use workflows::order::{self, Fact, Line, OrderBook, Placement, Rejection};
use workflows::payment::CardToken;
use workflows::stock::{Product, Stock};
use workflows::{Money, Order, OrderId, Sku, Status};

use super::key::{IdempotencyKey, digest};
use super::place::{OrderLine, PlaceOrder};
use crate::ask::ask;
use crate::engine::{Engine, EngineError};
use crate::kind::Kind;
use crate::problem::{Members, Problem};
use crate::value::Checked;

/// More events than an order has when it is decided whether it stands.
const EVENTS_TO_STAND: u32 = 50;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// For how long, and how often, an order that is not decided is looked for, so that its `Location` can be read.
const LOOK_FOR: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(10);

pub(crate) struct Placing {
    pub orders: Arc<dyn OrderBook>,
    pub merchants: Arc<dyn Merchants>,
    pub stock: Arc<dyn Stock>,
    pub engine: Engine,
}

/// What became of a request that was not refused.
pub(crate) enum Placed {
    /// The order as it was when it came to stand.
    Stands(Box<Order>),
    Undecided {
        id: OrderId,
        order: Option<Box<Order>>,
    },
}

/// The order that a request is about.
enum Claim {
    New(OrderId),
    /// A request with the same key and body came before.
    Undecided(OrderId),
    Decided(OrderId),
}

impl Placing {
    pub(crate) async fn place(
        &self,
        request: &PlaceOrder,
        key: Option<&IdempotencyKey>,
        wait: Duration,
    ) -> Result<Placed, Problem> {
        let until = Instant::now() + wait;
        let digest = digest(request);
        let claim = self.claim(key, &digest).await?;
        if let Claim::New(id) = &claim {
            let placement = self.price(request, &digest).await?;
            let card_token = CardToken(request.payment.card_token.0.0.clone());
            self.submit(id, &order::workflow::PlaceOrder { placement, card_token }, until).await?;
        }
        let decided = match &claim {
            Claim::New(id) | Claim::Undecided(id) => self.hear(id, until).await,
            Claim::Decided(_) => true,
        };
        let (Claim::New(id) | Claim::Undecided(id) | Claim::Decided(id)) = claim;
        let order = self.look_for(&id).await;
        // Another request with the same key and another body may have been faster.
        if order.as_ref().is_some_and(|order| order.request_digest != digest) {
            return Err(key_reused());
        }
        match order {
            Some(order) if decided && order.status != Status::Placed => stands(order),
            order => Ok(Placed::Undecided { id, order: order.map(Box::new) }),
        }
    }

    /// The id that the key leads to. A request that was answered with 503 left nothing standing, so its key leads on to
    /// another order.
    async fn claim(&self, key: Option<&IdempotencyKey>, digest: &str) -> Result<Claim, Problem> {
        let Some(key) = key else {
            return Ok(Claim::New(OrderId::from_bits(Uuid::now_v7().as_u128())));
        };
        let mut attempt = 0;
        loop {
            let id = key.order_id(attempt);
            match ask("orders.read", self.orders.order(&id)).await? {
                None => return Ok(Claim::New(id)),
                Some(order) if order.request_digest != digest => return Err(key_reused()),
                Some(Order { rejection: Some(Rejection::Unavailable { .. }), .. }) => attempt += 1,
                Some(order) if order.status == Status::Placed => return Ok(Claim::Undecided(id)),
                Some(_) => return Ok(Claim::Decided(id)),
            }
        }
    }

    /// Everything that is settled when the order is placed, at the merchant's prices.
    async fn price(&self, request: &PlaceOrder, digest: &str) -> Result<Placement, Problem> {
        let merchant_id = &request.merchant_id.0;
        let merchant = ask("merchants.read", self.merchants.get(merchant_id)).await?;
        let merchant = merchant.ok_or_else(|| unknown_merchant(request))?;
        let payment_method = request.payment.method.into();
        if payment_method != merchant.lifecycle.payment.method {
            return Err(Problem::new(
                Kind::PaymentMethodNotAccepted,
                format!("Orders of merchant {merchant_id} are paid in another way; see its lifecycle."),
            ));
        }
        let skus: BTreeSet<Sku> = request.lines.iter().map(|line| line.sku.0.clone()).collect();
        let skus = Vec::from_iter(skus);
        let products = ask("stock.products", self.stock.products(merchant_id, &skus)).await?;
        let lines = priced(&request.lines, &products, &merchant)?;
        let total = total(&lines, &merchant)?;
        if request.expected_total.as_ref().is_some_and(|expected| Money::from(expected) != total) {
            let detail = format!("The order costs {total} now. Order again if that is fine.");
            return Err(Problem::new(Kind::PriceChanged, detail)
                .with(Members { total: Some(total.into()), ..Members::default() }));
        }
        Ok(Placement {
            merchant_id: merchant.id,
            customer: request.customer.clone().into(),
            customer_id: None,
            lines,
            total,
            payment_method,
            note: request.note.as_ref().map(|note| note.0.0.clone()),
            lifecycle: merchant.lifecycle,
            request_digest: digest.to_owned(),
        })
    }

    /// Hands the order to the engine, again and again until the time is over. Fails only if the engine certainly does
    /// not have it.
    async fn submit(&self, id: &OrderId, order: &order::workflow::PlaceOrder, until: Instant) -> Result<(), Problem> {
        let mut pauses = Pauses::until(until);
        let mut may_be_taken = false;
        loop {
            let error = match self.engine.submit(id, order).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            may_be_taken |= matches!(error, EngineError::Unanswered(_));
            if pauses.next().await {
                continue;
            }
            warn!(order_id = %id, %error, may_be_taken, "order not handed to the engine");
            return if may_be_taken { Ok(()) } else { Err(Problem::try_again_later()) };
        }
    }

    /// Whether it is decided in time if the order stands.
    async fn hear(&self, id: &OrderId, until: Instant) -> bool {
        let mut pauses = Pauses::until(until);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let Err(error) = self.engine.placement(id, left).await else { return true };
            debug!(order_id = %id, %error, "placement not heard");
            if !pauses.next().await {
                return false;
            }
        }
    }

    /// The order, if it can be read before long: the engine may have it only just now.
    async fn look_for(&self, id: &OrderId) -> Option<Order> {
        let until = Instant::now() + LOOK_FOR;
        loop {
            let order = self.read(id).await;
            if order.is_some() || Instant::now() > until {
                return order;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The order as it was when it was decided whether it stands, so that everybody who asks is answered the same.
    async fn read(&self, id: &OrderId) -> Option<Order> {
        let events = ask("orders.events", self.orders.events(id, 0, EVENTS_TO_STAND)).await.ok()?;
        // A rejection decides, also of an order whose payment went through too late to count.
        let rejected = events.iter().position(|event| matches!(event.fact, Fact::OrderRejected { .. }));
        let told = rejected.map_or(&events[..], |rejected| &events[..=rejected]);
        let mut order = None;
        for event in told {
            order = Order::after(order, event);
            let left_placed = order.as_ref().is_some_and(|order| order.status != Status::Placed);
            if left_placed && rejected.is_none() {
                break;
            }
        }
        order
    }
}

/// The lines at the products' prices.
fn priced(lines: &[OrderLine], products: &[Product], merchant: &Merchant) -> Result<Vec<Line>, Problem> {
    let priced = lines.iter().map(|line| {
        let product = products.iter().find(|product| product.sku == line.sku.0);
        let product = product.ok_or_else(|| unknown_product(&line.sku.0, merchant))?;
        if product.unit_price.currency != merchant.currency {
            return Err(Problem::new(
                Kind::CurrencyMismatch,
                format!(
                    "Product {} is priced in {}, but merchant {} sells in {}. The merchant has to price it again.",
                    product.sku,
                    product.unit_price.currency.code(),
                    merchant.id,
                    merchant.currency.code()
                ),
            ));
        }
        let quantity = line.quantity.0.0;
        let line_total = product.unit_price.times(quantity).ok_or_else(overflow)?;
        let Product { sku, name, unit_price, .. } = product.clone();
        Ok(Line { sku, name, unit_price, quantity, line_total })
    });
    priced.collect()
}

fn total(lines: &[Line], merchant: &Merchant) -> Result<Money, Problem> {
    let nothing = Money::new(0, merchant.currency);
    lines.iter().try_fold(nothing, |total, line| total.plus(line.line_total)).ok_or_else(overflow)
}

/// What is told of an order that is decided.
fn stands(order: Order) -> Result<Placed, Problem> {
    let of_order = || Members { order_id: Some(Checked(order.id.clone())), ..Members::default() };
    Err(match (order.status, &order.rejection) {
        (Status::Rejected, Some(Rejection::PaymentDeclined { reason })) => {
            let detail = format!("The payment was declined: {reason}. Please use another card.");
            Problem::new(Kind::PaymentDeclined, detail).with(Members { reason: Some(reason.clone()), ..of_order() })
        }
        (Status::Rejected, Some(Rejection::OutOfStock { sku, available })) => {
            let detail = match available {
                0 => format!("{sku} is sold out."),
                _ => format!("Only {available} of {sku} can still be ordered. Please order fewer."),
            };
            let (sku, available) = (Some(Checked(sku.clone())), Some(*available));
            Problem::new(Kind::OutOfStock, detail).with(Members { sku, available, ..of_order() })
        }
        (Status::Rejected, Some(Rejection::Unavailable { .. })) => Problem::try_again_later(),
        (Status::Rejected, None) => {
            error!(order_id = %order.id, "rejected without saying why");
            Problem::internal()
        }
        (Status::Cancelling | Status::Cancelled, _) => {
            Problem::new(Kind::OrderCancelled, "The order was cancelled before it stood.").with(of_order())
        }
        _ => return Ok(Placed::Stands(Box::new(order))),
    })
}

fn unknown_merchant(request: &PlaceOrder) -> Problem {
    let merchant_id = &request.merchant_id;
    Problem::new(Kind::UnknownMerchant, format!("There is no merchant {}. Check `merchant_id`.", merchant_id.0))
        .with(Members { merchant_id: Some(merchant_id.clone()), ..Members::default() })
}

fn unknown_product(sku: &Sku, merchant: &Merchant) -> Problem {
    Problem::new(Kind::UnknownProduct, format!("Merchant {} has no product {sku}. Check `lines`.", merchant.id))
        .with(Members { sku: Some(Checked(sku.clone())), ..Members::default() })
}

fn key_reused() -> Problem {
    Problem::new(
        Kind::IdempotencyKeyReused,
        "This Idempotency-Key was used before, with another body. Use a new key for another order.",
    )
}

/// The API's bounds on prices, quantities and lines exclude it.
fn overflow() -> Problem {
    error!("the total of an order does not fit");
    Problem::internal()
}

/// Longer and longer pauses between attempts.
struct Pauses {
    until: Instant,
    pause: Duration,
}

impl Pauses {
    fn until(until: Instant) -> Self {
        Self { until, pause: FIRST_PAUSE }
    }

    /// Pauses, and says whether there is time for another attempt.
    async fn next(&mut self) -> bool {
        if Instant::now() + self.pause >= self.until {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = LONGEST_PAUSE.min(self.pause * 2);
        true
    }
}

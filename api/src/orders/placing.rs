//! Placing an order: claim its id, price it, hand it to the engine, wait until it is decided, and tell what was
//! decided. What can go wrong with the engine never places an order twice, because the workflow's key is the order's
//! id.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, Span, error, info, warn};
use uuid::Uuid;
use workflows::merchant::{Merchant, Merchants};
use workflows::order::{self, Line, OrderBook, Placement, Rejection};
use workflows::payment::{PaymentMethod, Vault};
use workflows::stock::{Product, ProductQuery, Stock};
use workflows::{Money, Order, OrderId, ProviderError, Role, Sku, Status};

use super::feed::Feed;
use super::key::{IdempotencyKey, canonical};
use super::place::{OrderLine, PlaceOrder};
use super::watch::{EVENTS_TO_STAND, Pauses, Watch, as_decided};
use crate::access::Caller;
use crate::ask::{Unanswered, ask_within};
use crate::engine::{Engine, EngineError};
use crate::kind::Kind;
use crate::pressure::{Asked, Place, Pressure};
use crate::problem::{Members, Problem};
use crate::value::Checked;

/// For how long, and how often, an order that is not decided is looked for, so that its `Location` can be read.
const LOOK_FOR: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// However little is left of the caller's wait: less would fail where all is well.
const SHORTEST_CALL: Duration = Duration::from_millis(500);
/// For how long the engine is offered an order that it may have, after the caller was told where it will be.
const GO_ON_FOR: Duration = Duration::from_mins(10);

pub(crate) struct Placing {
    pub orders: Arc<dyn OrderBook>,
    pub merchants: Arc<dyn Merchants>,
    pub stock: Arc<dyn Stock>,
    pub vault: Arc<dyn Vault>,
    pub feed: Feed,
    pub engine: Engine,
    pub pressure: Arc<Pressure>,
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

/// A new order that there is room for.
struct Admitted {
    place: Place,
    /// Its card payment, if it has one.
    asked: Option<Asked>,
}

impl Placing {
    /// Keeps to `wait`, but for a moment: whatever hangs, it answers shortly after.
    pub(crate) async fn place(
        &self,
        caller: &Caller,
        request: &PlaceOrder,
        key: Option<&IdempotencyKey>,
        wait: Duration,
    ) -> Result<Placed, Problem> {
        let until = Instant::now() + wait;
        let card_token = request.payment.card_token()?;
        let text = canonical(request);
        let (id, mut known) = self.claim(caller, key, &text, until).await?;
        Span::current().record("order_id", id.as_str());
        let submitted = known.is_none();
        // What came before is answered as it was, whatever there is no room for now.
        let admitted = if submitted { Some(self.admit(&id, card_token.is_some())?) } else { None };
        // Before anything can become true of it.
        let heard = needed(until, "orders.last_position", self.feed.listen_to(&id)).await?;
        if submitted {
            let placement = self.price(caller, &id, request, &text, until).await?;
            let card = card_token.map(|token| self.vault.seal(&id, &token));
            let order = order::PlaceOrder {
                placement,
                by: Some(caller.actor()),
                card,
                card_token: None,
                followed: true,
                decides: true,
            };
            match submit(&self.engine, &id, &order, until).await {
                Ok(()) => {}
                Err(EngineError::NotTaken(_)) => return Err(Problem::nothing_stands()),
                Err(EngineError::Unanswered(_)) => {
                    known = self.read(&id, until).await;
                    match key {
                        _ if known.is_some() => {}
                        Some(_) => return Err(perhaps_placed()),
                        None => {
                            tokio::spawn(
                                go_on(self.engine.clone(), id.clone(), order, admitted.map(|admitted| admitted.place))
                                    .in_current_span(),
                            );
                            return Ok(Placed::Undecided { id, order: None });
                        }
                    }
                }
            }
        }
        let mut order = None;
        if known.is_none_or(|order| !order.decided) {
            let is_new = admitted.is_some();
            let (place, asked) = admitted.map_or((None, None), |Admitted { place, asked }| (Some(place), asked));
            let watch =
                Watch { orders: self.orders.clone(), id: id.clone(), heard, is_new, until, _place: place, asked };
            // Whoever asks for what came before only looks on: it is watched by whom it was new to.
            order = if is_new {
                timeout_at(until, tokio::spawn(watch.run())).await.ok().and_then(Result::ok).flatten()
            } else {
                timeout_at(until, watch.run()).await.ok().flatten()
            };
        }
        if order.is_none() {
            order = self.look_for(&id, until).await;
        }
        // Another request with the same key and another body may have been faster.
        if let Some(order) = &order {
            self.is_same(order, &text).map_err(|problem| problem.unwrap_or_else(perhaps_placed))?;
        }
        match order {
            Some(order) if order.decided => stands(order),
            order => Ok(Placed::Undecided { id, order: order.map(Box::new) }),
        }
    }

    /// Lets a new order in, if there is room for it.
    fn admit(&self, id: &OrderId, by_card: bool) -> Result<Admitted, Problem> {
        let place = self.pressure.placement(id)?;
        let asked = by_card.then(|| self.pressure.breaker.admit()).transpose()?;
        Ok(Admitted { place, asked })
    }

    /// The id that the key leads to, and what is known of it if a request with the same key and body came before. An
    /// order that a context was not there for left nothing standing, so its key leads on to another order.
    async fn claim(
        &self,
        caller: &Caller,
        key: Option<&IdempotencyKey>,
        text: &str,
        until: Instant,
    ) -> Result<(OrderId, Option<Order>), Problem> {
        let Some(key) = key else {
            return Ok((OrderId::from_bits(Uuid::now_v7().as_u128()), None));
        };
        let mut attempt = 0;
        loop {
            let id = key.order_id(&caller.name(), attempt);
            let Some(order) = needed(until, "orders.read", self.orders.order(&id)).await? else {
                return Ok((id, None));
            };
            self.is_same(&order, text).map_err(|problem| problem.unwrap_or_else(Problem::try_again_later))?;
            match order.rejection {
                Some(Rejection::Unavailable { .. }) => attempt += 1,
                _ => return Ok((id, Some(order))),
            }
        }
    }

    /// Refuses another request than the one that the order was placed with. Without a problem where nobody can say which
    /// it was, until the key is here with which that was written down.
    fn is_same(&self, order: &Order, text: &str) -> Result<(), Option<Problem>> {
        match self.vault.is_digest_of(&order.request_digest, &order.id, text) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Some(key_reused())),
            Err(reason) => {
                error!(order_id = %order.id, %reason, "whether it is the same request cannot be told");
                Err(None)
            }
        }
    }

    /// Everything that is settled when the order is placed, at the merchant's prices.
    async fn price(
        &self,
        caller: &Caller,
        id: &OrderId,
        request: &PlaceOrder,
        text: &str,
        until: Instant,
    ) -> Result<Placement, Problem> {
        let merchant_id = &request.merchant_id.0;
        let merchant = needed(until, "merchants.read", self.merchants.get(merchant_id)).await?;
        let merchant = merchant.ok_or_else(|| unknown_merchant(request))?;
        let payment_method = merchant.lifecycle.payment.method;
        let not_accepted = || {
            Problem::new(
                Kind::PaymentMethodNotAccepted,
                format!("Orders of merchant {merchant_id} are paid in another way; see its lifecycle."),
            )
        };
        if PaymentMethod::from(request.payment.method) != payment_method {
            return Err(not_accepted());
        }
        let skus: BTreeSet<Sku> = request.lines.iter().map(|line| line.sku.0.clone()).collect();
        let query = ProductQuery { merchant_id: merchant_id.clone(), skus: Vec::from_iter(skus) };
        let products = needed(until, "stock.products", self.stock.products(&query)).await?;
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
            // An operator places orders for customers who have no account here.
            customer_id: (caller.role() == Role::Customer).then(|| caller.subject().to_owned()),
            lines,
            total,
            payment_method,
            note: request.note.as_ref().map(|note| note.0.0.clone()),
            lifecycle: merchant.lifecycle,
            request_digest: self.vault.digest(id, text),
        })
    }

    /// The order, if it can be read before long: the engine may have it only just now.
    async fn look_for(&self, id: &OrderId, until: Instant) -> Option<Order> {
        let look_until = Instant::now() + LOOK_FOR;
        loop {
            let order = self.read(id, until).await;
            if order.is_some() || Instant::now() > look_until {
                return order;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The order as it was decided, or as it is so far.
    async fn read(&self, id: &OrderId, until: Instant) -> Option<Order> {
        let events = self.orders.events(id, 0, EVENTS_TO_STAND);
        let events = ask_within(left(until), "orders.events", events).await.ok()?;
        as_decided(&events)
    }
}

/// What is left of the caller's wait, and enough for an answer where there is one.
fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).max(SHORTEST_CALL)
}

/// The answer to a question without which no order is placed.
async fn needed<T>(
    until: Instant,
    step: &'static str,
    answer: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, Problem> {
    ask_within(left(until), step, answer).await.map_err(|unanswered| match unanswered {
        Unanswered::Unavailable => Problem::nothing_stands(),
        Unanswered::Impossible => Problem::internal(),
    })
}

/// Hands the order to the engine, again and again until the time is over. `NotTaken` only if the engine certainly does
/// not have it.
async fn submit(engine: &Engine, id: &OrderId, order: &order::PlaceOrder, until: Instant) -> Result<(), EngineError> {
    let mut pauses = Pauses::until(until);
    let mut unanswered = None;
    loop {
        let Err(error) = engine.submit(id, order, left(until)).await else { return Ok(()) };
        // What it may have taken once, it may have for good.
        let error = unanswered.take().unwrap_or(error);
        if !pauses.next().await {
            warn!(order_id = %id, %error, "order not handed to the engine");
            return Err(error);
        }
        unanswered = Some(error).filter(|error| matches!(error, EngineError::Unanswered(_)));
    }
}

/// Goes on with an order whose caller was told where it will be, and keeps its place.
async fn go_on(engine: Engine, id: OrderId, order: order::PlaceOrder, _place: Option<Place>) {
    match submit(&engine, &id, &order, Instant::now() + GO_ON_FOR).await {
        Ok(()) => info!(order_id = %id, "order handed to the engine after its caller was answered"),
        Err(error) => error!(order_id = %id, %error, "order given up after its caller was answered"),
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
        (Status::Rejected, Some(Rejection::Unavailable { .. })) => Problem::nothing_stands(),
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

/// Only for a request with a key, which the engine may have and may not.
fn perhaps_placed() -> Problem {
    Problem::new(
        Kind::TryAgainLater,
        "The order could not be confirmed. Repeat the request with the same Idempotency-Key after Retry-After: it is \
         not placed twice.",
    )
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

//! Reading orders: from the book of orders alone, so that it works whatever else is down.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use workflows::order::{Language, OrderBook, OrderFilter, Reach, Stuck};
use workflows::{MerchantId, OrderId};

use super::json::Order;
use crate::access::Caller;
use crate::ask::ask;
use crate::cursor;
use crate::dashboard::stuck_since_before;
use crate::headers::{AcceptLanguage, IfNoneMatch};
use crate::json::StatusName;
use crate::problem::{Problem, Refused, refusals};
use crate::tags::Tag;
use crate::value::{Checked, CustomerId, Limit};

pub(crate) struct ReadOrders {
    pub orders: Arc<dyn OrderBook>,
    /// For how long an order has to be without progress to count as stuck.
    pub stuck_after: Duration,
}

refusals! {
    ListOrders: InvalidRequest, InvalidCursor, TryAgainLater;
    GetOrder: NotFound, TryAgainLater;
}

/// A page of orders, newest first.
#[derive(Object)]
struct OrderPage {
    /// The orders.
    items: Vec<Order>,
    /// Where the next page begins; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<String>,
}

#[derive(ApiResponse)]
#[allow(clippy::large_enum_variant, reason = "it is written at once")]
enum OrderFound {
    /// The order.
    #[oai(status = 200)]
    Changed(
        Json<Order>,
        /// The order's version.
        #[oai(header = "ETag")]
        String,
    ),
    /// The order is still the one that `If-None-Match` names.
    #[oai(status = 304)]
    Unchanged(
        /// The order's version.
        #[oai(header = "ETag")]
        String,
    ),
}

#[OpenApi(prefix_path = "/v1/orders", tag = "Tag::Orders")]
impl ReadOrders {
    /// List orders
    ///
    /// Orders that match all of the filters, newest first, one page at a time.
    #[oai(path = "/", method = "get", operation_id = "list_orders")]
    #[allow(clippy::too_many_arguments, reason = "one for each filter")]
    async fn list(
        &self,
        caller: Caller,
        /// Only orders at this status.
        status: Query<Option<StatusName>>,
        /// Only orders of this merchant.
        merchant_id: Query<Option<Checked<MerchantId>>>,
        /// Only orders of this customer.
        customer_id: Query<Option<Checked<CustomerId>>>,
        /// Only orders placed after this time.
        placed_after: Query<Option<Checked<DateTime<Utc>>>>,
        /// Only orders placed before this time.
        placed_before: Query<Option<Checked<DateTime<Utc>>>>,
        /// Only orders that are stuck, or only those that are not. Stuck is an order of which a step keeps failing, or
        /// which waits for nobody and still does not go on, for 30 seconds unless the server is told otherwise.
        stuck: Query<Option<bool>>,
        /// How many orders a page may have.
        #[oai(default = "Limit::of_50")]
        limit: Query<Checked<Limit>>,
        /// The `next_cursor` of the page before.
        #[oai(validator(max_length = 200))]
        cursor: Query<Option<String>>,
        /// The language of `status_label`: `ko` or `en`.
        #[oai(name = "Accept-Language")]
        language: Header<Option<Checked<AcceptLanguage>>>,
    ) -> Result<Json<OrderPage>, Refused<ListOrders>> {
        let Checked(Limit(limit)) = limit.0;
        let beyond = cursor.0.map(|cursor| cursor::read(&cursor).ok_or_else(cursor::invalid)).transpose()?;
        let filter = OrderFilter {
            status: status.0.map(Into::into),
            except: Vec::new(),
            merchant_id: merchant_id.0.map(|Checked(id)| id),
            customer_id: customer_id.0.map(|Checked(id)| id.0),
            courier: None,
            placed_after: placed_after.0.map(|Checked(time)| time),
            placed_before: placed_before.0.map(|Checked(time)| time),
            failing_step: None,
            beyond,
            stuck: stuck
                .0
                .map(|are| Stuck { are, since_before: stuck_since_before(self.orders.now(), self.stuck_after) }),
            // One more tells whether there is another page.
            limit: limit + 1,
        };
        let mut orders = match caller.narrow(filter) {
            Some(filter) => ask("orders.list", self.orders.orders(&filter)).await?,
            // What was asked for is all somebody else's.
            None => Vec::new(),
        };
        let more = orders.len() > limit as usize;
        orders.truncate(limit as usize);
        let last = orders.last().filter(|_| more);
        let next_cursor = last.map(|order| cursor::write(order.placed_at, &order.id));
        let language = language_or_default(language.0);
        let items = orders.into_iter().map(|order| Order::new(order, caller.role(), language)).collect();
        Ok(Json(OrderPage { items, next_cursor }))
    }

    /// Read an order
    ///
    /// The whole picture on one screen: lines, status, payment, delivery, and what can be done next.
    #[oai(path = "/:order_id", method = "get", operation_id = "get_order")]
    async fn get(
        &self,
        caller: Caller,
        /// The order's id.
        order_id: Path<Checked<OrderId>>,
        /// The versions that the caller has: 304 if the order is still one of them.
        #[oai(name = "If-None-Match")]
        known: Header<Option<Checked<IfNoneMatch>>>,
        /// The language of `status_label`: `ko` or `en`.
        #[oai(name = "Accept-Language")]
        language: Header<Option<Checked<AcceptLanguage>>>,
    ) -> Result<OrderFound, Refused<GetOrder>> {
        let Checked(id) = order_id.0;
        let order = find(&*self.orders, &caller, &id).await?;
        let order = Order::new(order, caller.role(), language_or_default(language.0));
        let tag = order.tag();
        let unchanged = known.0.is_some_and(|Checked(known)| known.has(&tag));
        Ok(if unchanged { OrderFound::Unchanged(tag) } else { OrderFound::Changed(Json(order), tag) })
    }
}

/// The order of that id, if it is the caller's to see.
pub(crate) async fn find(orders: &dyn OrderBook, caller: &Caller, id: &OrderId) -> Result<workflows::Order, Problem> {
    let order = ask("orders.read", orders.order(id)).await?;
    order.filter(|order| caller.sees(order)).ok_or_else(|| no_order(id))
}

/// The same, with how it is reached.
pub(crate) async fn find_with_reach(
    orders: &dyn OrderBook,
    caller: &Caller,
    id: &OrderId,
) -> Result<(workflows::Order, Reach), Problem> {
    let order = ask("orders.read", orders.order_with_reach(id)).await?;
    order.filter(|(order, _)| caller.sees(order)).ok_or_else(|| no_order(id))
}

/// The order of that id, whosever it is: only for what its reader was let see before.
pub(crate) async fn known(orders: &dyn OrderBook, id: &OrderId) -> Result<workflows::Order, Problem> {
    ask("orders.read", orders.order(id)).await?.ok_or_else(|| no_order(id))
}

fn no_order(id: &OrderId) -> Problem {
    Problem::not_found(format_args!("order {id}"))
}

pub(crate) fn language_or_default(language: Option<Checked<AcceptLanguage>>) -> Language {
    language.map_or(Language::English, |Checked(AcceptLanguage(language))| language)
}

//! The ports, each faulted at its steps. What reads is never faulted.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::broadcast;
use workflows::delivery::{Deliveries, Delivery, DeliveryRequest};
use workflows::kitchen::{Kitchen, Ticket};
use workflows::notification::{
    AttemptRequest, Attempted, Message, MessageQuery, Notice, Notification, Notifications, Webhook, WebhookPut,
    WebhookQuery, WebhookRef, WebhookSaved,
};
use workflows::order::{
    Dashboard, DashboardQuery, Entry, Event, Fact, Filed, OrderBook, OrderFilter, Positioned, Reach, Recorded, Trouble,
};
use workflows::payment::{AuditQuery, Audited, Charge, Charged, Due, Payment, Payments};
use workflows::promotion::{Coupon, CouponRequest, Promotions};
use workflows::provider::{Listing, OrderRef, Undo};
use workflows::stock::{Product, ProductPut, ProductQuery, Reservation, Reserved, Stock};
use workflows::{MerchantId, MessageId, Order, OrderId, ProviderError, Step};

use super::{Call, Faults, Place};

/// A port, faulted.
pub(super) struct Faulted<P: ?Sized> {
    pub inner: Arc<P>,
    pub faults: Arc<Faults>,
}

impl<P: ?Sized> Faulted<P> {
    async fn asked<T: Debug + PartialEq, F: Future<Output = Result<T, ProviderError>>>(
        &self,
        step: Step,
        of: OrderRef,
        call: impl Fn() -> F,
    ) -> Result<T, ProviderError> {
        let OrderRef { order_id, merchant_id } = of;
        self.faults.around(Call { order_id, merchant_id, step, place: Place::Provider }, call).await
    }
}

/// Which order a request is about.
macro_rules! of {
    ($request:expr) => {
        OrderRef { order_id: $request.order_id.clone(), merchant_id: $request.merchant_id.clone() }
    };
}

/// Whose order the entry is about.
fn merchant_of(entry: &Entry<'_>) -> MerchantId {
    match (entry.before, entry.facts) {
        (Some(order), _) => order.merchant_id.clone(),
        (None, [Fact::OrderPlaced(placement), ..]) => placement.merchant_id.clone(),
        (None, facts) => panic!("an order begins with {facts:?}"),
    }
}

#[async_trait]
impl OrderBook for Faulted<dyn OrderBook> {
    async fn record(&self, entry: Entry<'_>) -> Result<Recorded, ProviderError> {
        // What only makes up for earlier steps belongs to none.
        if entry.facts.is_empty() {
            return self.inner.record(entry).await;
        }
        let (order_id, merchant_id) = (entry.order_id.clone(), merchant_of(&entry));
        let at = Call { order_id, merchant_id, step: entry.step, place: Place::Record };
        self.faults.around(at, || self.inner.record(entry.clone())).await
    }

    async fn settled(&self) {
        self.inner.settled().await;
    }

    fn now(&self) -> DateTime<Utc> {
        self.inner.now()
    }

    async fn events(&self, id: &OrderId, after: u32, limit: u32) -> Result<Vec<Event>, ProviderError> {
        self.inner.events(id, after, limit).await
    }

    async fn feed(&self, after: u64, limit: u32) -> Result<Vec<Positioned>, ProviderError> {
        self.inner.feed(after, limit).await
    }

    async fn last_position(&self) -> Result<u64, ProviderError> {
        self.inner.last_position().await
    }

    fn written(&self) -> broadcast::Receiver<Arc<[Positioned]>> {
        self.inner.written()
    }

    async fn order(&self, id: &OrderId) -> Result<Option<Order>, ProviderError> {
        self.inner.order(id).await
    }

    async fn order_with_reach(&self, id: &OrderId) -> Result<Option<(Order, Reach)>, ProviderError> {
        self.inner.order_with_reach(id).await
    }

    async fn note_awakeable(&self, id: &OrderId, version: u32, awakeable: &str) -> Result<(), ProviderError> {
        self.inner.note_awakeable(id, version, awakeable).await
    }

    async fn orders(&self, filter: &OrderFilter) -> Result<Vec<Order>, ProviderError> {
        self.inner.orders(filter).await
    }

    async fn filed(
        &self,
        only: Option<&OrderId>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Filed>, ProviderError> {
        self.inner.filed(only, after, limit).await
    }

    async fn order_ids(&self, filter: &OrderFilter) -> Result<Vec<OrderId>, ProviderError> {
        self.inner.order_ids(filter).await
    }

    async fn note_failure(&self, id: &OrderId, step: Step, why: &str) -> Result<(), ProviderError> {
        self.inner.note_failure(id, step, why).await
    }

    async fn forget_failures(&self, id: &OrderId) -> Result<(), ProviderError> {
        self.inner.forget_failures(id).await
    }

    async fn trouble(&self, id: &OrderId) -> Result<Option<Trouble>, ProviderError> {
        self.inner.trouble(id).await
    }

    async fn dashboard(&self, query: &DashboardQuery) -> Result<Dashboard, ProviderError> {
        self.inner.dashboard(query).await
    }
}

#[async_trait]
impl Payments for Faulted<dyn Payments> {
    async fn charge(&self, charge: &Charge) -> Result<Charged, ProviderError> {
        self.asked(Step::PaymentCharge, of!(charge), || self.inner.charge(charge)).await
    }

    async fn refund(&self, due: &Due) -> Result<Undo, ProviderError> {
        self.asked(Step::PaymentRefund, of!(due), || self.inner.refund(due)).await
    }

    async fn open_deposit(&self, due: &Due) -> Result<(), ProviderError> {
        self.asked(Step::PaymentOpenDeposit, of!(due), || self.inner.open_deposit(due)).await
    }

    async fn close_deposit(&self, due: &Due) -> Result<Undo, ProviderError> {
        self.asked(Step::PaymentCloseDeposit, of!(due), || self.inner.close_deposit(due)).await
    }

    async fn confirm_deposit(&self, due: &Due) -> Result<(), ProviderError> {
        self.asked(Step::PaymentConfirmDeposit, of!(due), || self.inner.confirm_deposit(due)).await
    }

    async fn return_deposit(&self, due: &Due) -> Result<Undo, ProviderError> {
        self.asked(Step::PaymentReturnDeposit, of!(due), || self.inner.return_deposit(due)).await
    }

    async fn payments(&self, listing: &Listing) -> Result<Vec<Payment>, ProviderError> {
        self.inner.payments(listing).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Vec<Audited>, ProviderError> {
        self.inner.audit(query).await
    }
}

#[async_trait]
impl Stock for Faulted<dyn Stock> {
    async fn reserve(&self, reservation: &Reservation) -> Result<Reserved, ProviderError> {
        self.asked(Step::StockReserve, of!(reservation), || self.inner.reserve(reservation)).await
    }

    async fn release(&self, order: &OrderRef) -> Result<Undo, ProviderError> {
        self.asked(Step::StockRelease, of!(order), || self.inner.release(order)).await
    }

    async fn commit(&self, order: &OrderRef) -> Result<(), ProviderError> {
        self.asked(Step::StockCommit, of!(order), || self.inner.commit(order)).await
    }

    async fn restock(&self, order: &OrderRef) -> Result<Undo, ProviderError> {
        self.asked(Step::StockRestock, of!(order), || self.inner.restock(order)).await
    }

    async fn put_product(&self, product: &Product) -> Result<ProductPut, ProviderError> {
        self.inner.put_product(product).await
    }

    async fn products(&self, query: &ProductQuery) -> Result<Vec<Product>, ProviderError> {
        self.inner.products(query).await
    }
}

#[async_trait]
impl Deliveries for Faulted<dyn Deliveries> {
    async fn request(&self, request: &DeliveryRequest) -> Result<(), ProviderError> {
        self.asked(Step::DeliveryRequest, of!(request), || self.inner.request(request)).await
    }

    async fn start(&self, order: &OrderRef) -> Result<(), ProviderError> {
        self.asked(Step::DeliveryStart, of!(order), || self.inner.start(order)).await
    }

    async fn complete(&self, order: &OrderRef) -> Result<(), ProviderError> {
        self.asked(Step::DeliveryComplete, of!(order), || self.inner.complete(order)).await
    }

    async fn cancel(&self, order: &OrderRef) -> Result<Undo, ProviderError> {
        self.asked(Step::DeliveryCancel, of!(order), || self.inner.cancel(order)).await
    }

    async fn deliveries(&self, listing: &Listing) -> Result<Vec<Delivery>, ProviderError> {
        self.inner.deliveries(listing).await
    }
}

#[async_trait]
impl Kitchen for Faulted<dyn Kitchen> {
    async fn offer(&self, ticket: &Ticket) -> Result<(), ProviderError> {
        self.asked(Step::KitchenOffer, of!(ticket), || self.inner.offer(ticket)).await
    }

    async fn withdraw(&self, order: &OrderRef) -> Result<Undo, ProviderError> {
        self.asked(Step::KitchenWithdraw, of!(order), || self.inner.withdraw(order)).await
    }

    async fn start(&self, ticket: &Ticket) -> Result<(), ProviderError> {
        self.asked(Step::KitchenStart, of!(ticket), || self.inner.start(ticket)).await
    }

    async fn finish(&self, order: &OrderRef) -> Result<(), ProviderError> {
        self.asked(Step::KitchenFinish, of!(order), || self.inner.finish(order)).await
    }

    async fn stop(&self, order: &OrderRef) -> Result<Undo, ProviderError> {
        self.asked(Step::KitchenStop, of!(order), || self.inner.stop(order)).await
    }
}

#[async_trait]
impl Promotions for Faulted<dyn Promotions> {
    async fn issue(&self, request: &CouponRequest) -> Result<(), ProviderError> {
        self.asked(Step::PromotionIssue, of!(request), || self.inner.issue(request)).await
    }

    async fn revoke(&self, order: &OrderRef) -> Result<Undo, ProviderError> {
        self.asked(Step::PromotionRevoke, of!(order), || self.inner.revoke(order)).await
    }

    async fn coupons(&self, listing: &Listing) -> Result<Vec<Coupon>, ProviderError> {
        self.inner.coupons(listing).await
    }
}

#[async_trait]
impl Notifications for Faulted<dyn Notifications> {
    async fn send(&self, notice: &Notice) -> Result<Vec<MessageId>, ProviderError> {
        self.asked(Step::NotificationSend, of!(notice), || self.inner.send(notice)).await
    }

    async fn deliver(&self, request: &AttemptRequest) -> Result<Attempted, ProviderError> {
        let Some(of) = self.faults.order_of(&request.message_id) else { return self.inner.deliver(request).await };
        self.asked(Step::NotificationDeliver, of, || self.inner.deliver(request)).await
    }

    async fn notifications(&self, listing: &Listing) -> Result<Vec<Notification>, ProviderError> {
        self.inner.notifications(listing).await
    }

    async fn put_webhook(&self, put: &WebhookPut) -> Result<WebhookSaved, ProviderError> {
        self.inner.put_webhook(put).await
    }

    async fn webhooks(&self, query: &WebhookQuery) -> Result<Vec<Webhook>, ProviderError> {
        self.inner.webhooks(query).await
    }

    async fn delete_webhook(&self, webhook: &WebhookRef) -> Result<bool, ProviderError> {
        self.inner.delete_webhook(webhook).await
    }

    async fn messages(&self, query: &MessageQuery) -> Result<Vec<Message>, ProviderError> {
        self.inner.messages(query).await
    }
}

//! The ports, each faulted at its steps. What reads is never faulted.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::watch;
use workflows::delivery::{Deliveries, Delivery, DeliveryRequest};
use workflows::kitchen::{Kitchen, Ticket};
use workflows::notification::{
    AttemptRequest, Attempted, Message, MessageQuery, Notice, Notification, Notifications, Webhook, WebhookPut,
    WebhookQuery, WebhookRef, WebhookSaved,
};
use workflows::order::{
    Dashboard, DashboardQuery, Entry, Event, Filed, OrderBook, OrderFilter, Positioned, Recorded, Trouble,
};
use workflows::payment::{AuditQuery, Audited, Charge, Charged, Due, Payment, Payments};
use workflows::promotion::{Coupon, CouponRequest, Promotions};
use workflows::provider::{Listing, OrderRef, Undo};
use workflows::stock::{Product, ProductPut, ProductQuery, Reservation, Reserved, Stock};
use workflows::{MessageId, Order, OrderId, ProviderError, Step};

use super::{Faults, Place};

/// A port, faulted.
pub(super) struct Faulted<P: ?Sized> {
    pub inner: Arc<P>,
    pub faults: Arc<Faults>,
}

impl<P: ?Sized> Faulted<P> {
    async fn asked<T>(
        &self,
        step: Step,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        self.faults.around(step, Place::Provider, call).await
    }
}

#[async_trait]
impl OrderBook for Faulted<dyn OrderBook> {
    async fn record(&self, entry: Entry<'_>) -> Result<Recorded, ProviderError> {
        self.faults.around(entry.step, Place::Record, self.inner.record(entry)).await
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

    fn written(&self) -> watch::Receiver<u64> {
        self.inner.written()
    }

    async fn order(&self, id: &OrderId) -> Result<Option<Order>, ProviderError> {
        self.inner.order(id).await
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
        self.asked(Step::PaymentCharge, self.inner.charge(charge)).await
    }

    async fn refund(&self, due: &Due) -> Result<Undo, ProviderError> {
        self.asked(Step::PaymentRefund, self.inner.refund(due)).await
    }

    async fn open_deposit(&self, due: &Due) -> Result<(), ProviderError> {
        self.asked(Step::PaymentOpenDeposit, self.inner.open_deposit(due)).await
    }

    async fn close_deposit(&self, due: &Due) -> Result<Undo, ProviderError> {
        self.asked(Step::PaymentCloseDeposit, self.inner.close_deposit(due)).await
    }

    async fn confirm_deposit(&self, due: &Due) -> Result<(), ProviderError> {
        self.asked(Step::PaymentConfirmDeposit, self.inner.confirm_deposit(due)).await
    }

    async fn return_deposit(&self, due: &Due) -> Result<Undo, ProviderError> {
        self.asked(Step::PaymentReturnDeposit, self.inner.return_deposit(due)).await
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
        self.asked(Step::StockReserve, self.inner.reserve(reservation)).await
    }

    async fn release(&self, order: &OrderRef) -> Result<Undo, ProviderError> {
        self.asked(Step::StockRelease, self.inner.release(order)).await
    }

    async fn commit(&self, order: &OrderRef) -> Result<(), ProviderError> {
        self.asked(Step::StockCommit, self.inner.commit(order)).await
    }

    async fn restock(&self, order: &OrderRef) -> Result<Undo, ProviderError> {
        self.asked(Step::StockRestock, self.inner.restock(order)).await
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
        self.asked(Step::DeliveryRequest, self.inner.request(request)).await
    }

    async fn start(&self, order: &OrderRef) -> Result<(), ProviderError> {
        self.asked(Step::DeliveryStart, self.inner.start(order)).await
    }

    async fn complete(&self, order: &OrderRef) -> Result<(), ProviderError> {
        self.asked(Step::DeliveryComplete, self.inner.complete(order)).await
    }

    async fn cancel(&self, order: &OrderRef) -> Result<Undo, ProviderError> {
        self.asked(Step::DeliveryCancel, self.inner.cancel(order)).await
    }

    async fn deliveries(&self, listing: &Listing) -> Result<Vec<Delivery>, ProviderError> {
        self.inner.deliveries(listing).await
    }
}

#[async_trait]
impl Kitchen for Faulted<dyn Kitchen> {
    async fn offer(&self, ticket: &Ticket) -> Result<(), ProviderError> {
        self.asked(Step::KitchenOffer, self.inner.offer(ticket)).await
    }

    async fn withdraw(&self, order: &OrderRef) -> Result<Undo, ProviderError> {
        self.asked(Step::KitchenWithdraw, self.inner.withdraw(order)).await
    }

    async fn start(&self, ticket: &Ticket) -> Result<(), ProviderError> {
        self.asked(Step::KitchenStart, self.inner.start(ticket)).await
    }

    async fn finish(&self, order: &OrderRef) -> Result<(), ProviderError> {
        self.asked(Step::KitchenFinish, self.inner.finish(order)).await
    }

    async fn stop(&self, order: &OrderRef) -> Result<Undo, ProviderError> {
        self.asked(Step::KitchenStop, self.inner.stop(order)).await
    }
}

#[async_trait]
impl Promotions for Faulted<dyn Promotions> {
    async fn issue(&self, request: &CouponRequest) -> Result<(), ProviderError> {
        self.asked(Step::PromotionIssue, self.inner.issue(request)).await
    }

    async fn revoke(&self, order: &OrderRef) -> Result<Undo, ProviderError> {
        self.asked(Step::PromotionRevoke, self.inner.revoke(order)).await
    }

    async fn coupons(&self, listing: &Listing) -> Result<Vec<Coupon>, ProviderError> {
        self.inner.coupons(listing).await
    }
}

#[async_trait]
impl Notifications for Faulted<dyn Notifications> {
    async fn send(&self, notice: &Notice) -> Result<Vec<MessageId>, ProviderError> {
        self.asked(Step::NotificationSend, self.inner.send(notice)).await
    }

    async fn deliver(&self, request: &AttemptRequest) -> Result<Attempted, ProviderError> {
        self.asked(Step::NotificationDeliver, self.inner.deliver(request)).await
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

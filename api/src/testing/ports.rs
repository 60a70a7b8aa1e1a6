//! The ports in memory. What only the workflow asks of a port is impossible here, or nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::broadcast;
use workflows::audit::{Act, Audit, AuditEntry, End, TrailQuery};
use workflows::delivery::{Deliveries, Delivery, DeliveryRequest};
use workflows::merchant::{Merchant, MerchantPut, Merchants};
use workflows::notification::{
    AttemptRequest, Attempted, Channel, Message, MessageQuery, Notice, Notification, Notifications, Secret, Webhook,
    WebhookPut, WebhookQuery, WebhookRef, WebhookSaved,
};
use workflows::order::{
    Dashboard, DashboardQuery, Entry, Event, Filed, Gate, OrderBook, OrderFilter, Positioned, Reach, Recorded, Trouble,
};
use workflows::payment::{
    AuditQuery, Audited, CardToken, Charge, Charged, Due, Payment, Payments, SealedCard, StaysSealed, Vault,
};
use workflows::promotion::{Coupon, CouponRequest, Promotions};
use workflows::provider::{Listing, OrderRef, Undo};
use workflows::sandbox::{Mode, Sandbox};
use workflows::stock::{Product, ProductPut, ProductQuery, Reservation, Reserved, Stock};
use workflows::{AuditId, Context, MerchantId, MessageId, Order, OrderId, ProviderError, Step};

use super::{State, at, locked};

#[async_trait]
impl OrderBook for State {
    fn now(&self) -> DateTime<Utc> {
        self.time.fetch_add(1, Ordering::Relaxed);
        at()
    }

    async fn record(&self, _: Entry<'_>) -> Result<Recorded, ProviderError> {
        Err(ProviderError::impossible("the API records nothing"))
    }

    async fn feed(&self, after: u64, limit: u32) -> Result<Vec<Positioned>, ProviderError> {
        self.stored()?;
        let events = locked(&self.feed).clone();
        let positioned = (1..).zip(events).map(|(position, event)| Positioned { position, event });
        Ok(positioned.filter(|positioned| positioned.position > after).take(limit as usize).collect())
    }

    async fn last_position(&self) -> Result<u64, ProviderError> {
        self.stored()?;
        Ok(locked(&self.feed).len() as u64)
    }

    fn written(&self) -> broadcast::Receiver<Arc<[Positioned]>> {
        self.written.subscribe()
    }

    async fn note_failure(&self, _: &OrderId, _: Step, _: &str) -> Result<(), ProviderError> {
        Err(ProviderError::impossible("the API tries no step"))
    }

    async fn forget_failures(&self, _: &OrderId) -> Result<(), ProviderError> {
        Err(ProviderError::impossible("the API tries no step"))
    }

    async fn trouble(&self, id: &OrderId) -> Result<Option<Trouble>, ProviderError> {
        self.stored()?;
        Ok(locked(&self.troubles).get(id).cloned())
    }

    async fn dashboard(&self, query: &DashboardQuery) -> Result<Dashboard, ProviderError> {
        self.stored()?;
        *locked(&self.dashboard_query) = Some(query.clone());
        Ok(locked(&self.dashboard).clone())
    }

    async fn events(&self, id: &OrderId, after: u32, limit: u32) -> Result<Vec<Event>, ProviderError> {
        self.stored()?;
        let events = locked(&self.events).get(id).cloned().unwrap_or_default();
        Ok(events.into_iter().filter(|event| event.number > after).take(limit as usize).collect())
    }

    async fn order_with_reach(&self, id: &OrderId) -> Result<Option<(Order, Reach)>, ProviderError> {
        let mut reach = locked(&self.reach).clone();
        reach.awakeable = reach.awakeable.map(|_| id.to_string());
        Ok(self.order(id).await?.map(|order| (order, reach)))
    }

    async fn note_awakeable(&self, _: &OrderId, _: u32, _: &str) -> Result<(), ProviderError> {
        Err(ProviderError::impossible("the API only reads it"))
    }

    async fn order(&self, id: &OrderId) -> Result<Option<Order>, ProviderError> {
        self.stored()?;
        Ok(locked(&self.events).get(id).and_then(Order::from_events))
    }

    async fn orders(&self, filter: &OrderFilter) -> Result<Vec<Order>, ProviderError> {
        self.stored()?;
        let mut orders: Vec<_> = locked(&self.events).values().filter_map(Order::from_events).collect();
        orders.retain(|order| filter.status.is_none_or(|status| order.status == status));
        orders.retain(|order| filter.customer_id.as_ref().is_none_or(|id| order.customer_id.as_ref() == Some(id)));
        orders.retain(|order| filter.merchant_id.as_ref().is_none_or(|id| order.merchant_id == *id));
        let for_courier = |order: &Order, courier: &String| match &order.courier {
            Some(taken_by) => taken_by == courier,
            None => order.gate.is_some_and(Gate::is_couriers),
        };
        orders.retain(|order| filter.courier.as_ref().is_none_or(|courier| for_courier(order, courier)));
        orders.retain(|order| !filter.except.contains(&order.status));
        let troubles = locked(&self.troubles).clone();
        orders.retain(|order| filter.stuck.is_none_or(|stuck| troubles.contains_key(&order.id) == stuck.are));
        orders.reverse();
        if let Some((_, beyond)) = &filter.beyond {
            orders.retain(|order| order.id < *beyond);
        }
        orders.truncate(filter.limit as usize);
        Ok(orders)
    }

    async fn filed(
        &self,
        only: Option<&OrderId>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Filed>, ProviderError> {
        self.stored()?;
        let wanted = |id: &OrderId| only.is_none_or(|only| id == only) && after.is_none_or(|after| id.as_str() > after);
        let filed = locked(&self.events)
            .iter()
            .filter(|(id, _)| wanted(id))
            .take(limit as usize)
            .map(|(id, events)| Filed { id: id.to_string(), order: Order::from_events(events).map(Box::new) })
            .collect();
        Ok(filed)
    }

    async fn order_ids(&self, filter: &OrderFilter) -> Result<Vec<OrderId>, ProviderError> {
        Ok(self.orders(filter).await?.into_iter().map(|order| order.id).collect())
    }
}

#[async_trait]
impl Audit for State {
    async fn begin(&self, act: &Act) -> Result<AuditId, ProviderError> {
        self.writes_audit()?;
        let mut audit = locked(&self.audit);
        let id = AuditId::from_bits(audit.len() as u128);
        audit.push(AuditEntry { id: id.clone(), at: at(), act: act.clone(), end: None });
        Ok(id)
    }

    async fn end(&self, id: &AuditId, end: &End) -> Result<(), ProviderError> {
        self.writes_audit()?;
        let mut audit = locked(&self.audit);
        audit.iter_mut().find(|entry| entry.id == *id).expect("it was begun").end = Some(end.clone());
        Ok(())
    }

    async fn entries(&self, query: &TrailQuery) -> Result<Vec<AuditEntry>, ProviderError> {
        self.stored()?;
        let audit = locked(&self.audit).clone();
        let older = |entry: &AuditEntry| query.beyond.as_ref().is_none_or(|(_, id)| entry.id < *id);
        let by = |entry: &AuditEntry| query.action.as_ref().is_none_or(|action| entry.act.action == *action);
        let found = audit.into_iter().rev().filter(|entry| older(entry) && by(entry));
        Ok(found.take(query.limit as usize).collect())
    }
}

#[async_trait]
impl Merchants for State {
    async fn put(&self, put: &MerchantPut) -> Result<(Merchant, bool), ProviderError> {
        self.stored()?;
        let MerchantPut { id, name, currency, lifecycle } = put.clone();
        let merchant = Merchant { id, name, currency, lifecycle, created_at: at(), updated_at: at() };
        let before = locked(&self.merchants).insert(merchant.id.clone(), merchant.clone());
        Ok((merchant, before.is_none()))
    }

    async fn get(&self, id: &MerchantId) -> Result<Option<Merchant>, ProviderError> {
        self.stored()?;
        Ok(locked(&self.merchants).get(id).cloned())
    }

    async fn list(&self) -> Result<Vec<Merchant>, ProviderError> {
        self.stored()?;
        Ok(locked(&self.merchants).values().cloned().collect())
    }
}

#[async_trait]
impl Stock for State {
    async fn reserve(&self, _: &Reservation) -> Result<Reserved, ProviderError> {
        Err(ProviderError::impossible("the API reserves nothing"))
    }

    async fn release(&self, _: &OrderRef) -> Result<Undo, ProviderError> {
        Ok(Undo::Nothing)
    }

    async fn commit(&self, _: &OrderRef) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn restock(&self, _: &OrderRef) -> Result<Undo, ProviderError> {
        Ok(Undo::Nothing)
    }

    async fn put_product(&self, product: &Product) -> Result<ProductPut, ProviderError> {
        self.up(Context::Stock)?;
        if product.on_hand.is_some_and(|on_hand| on_hand < 2) {
            return Ok(ProductPut::BelowReserved { reserved: 2 });
        }
        let key = (product.merchant_id.clone(), product.sku.clone());
        locked(&self.products).insert(key, product.clone());
        Ok(ProductPut::Saved(product.clone()))
    }

    async fn products(&self, query: &ProductQuery) -> Result<Vec<Product>, ProviderError> {
        match self.behaves(Context::Stock) {
            Mode::Slow { delay_ms } => tokio::time::sleep(Duration::from_millis(delay_ms.into())).await,
            _ => self.up(Context::Stock)?,
        }
        let products = locked(&self.products).values().cloned().collect::<Vec<_>>();
        let ProductQuery { merchant_id, skus } = query;
        let wanted = |product: &Product| skus.is_empty() || skus.contains(&product.sku);
        Ok(products.into_iter().filter(|product| product.merchant_id == *merchant_id && wanted(product)).collect())
    }
}

#[async_trait]
impl Payments for State {
    async fn charge(&self, _: &Charge) -> Result<Charged, ProviderError> {
        Err(ProviderError::impossible("the API charges nothing"))
    }

    async fn refund(&self, _: &Due) -> Result<Undo, ProviderError> {
        Ok(Undo::Nothing)
    }

    async fn open_deposit(&self, _: &Due) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn close_deposit(&self, _: &Due) -> Result<Undo, ProviderError> {
        Ok(Undo::Nothing)
    }

    async fn confirm_deposit(&self, _: &Due) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn return_deposit(&self, _: &Due) -> Result<Undo, ProviderError> {
        Ok(Undo::Nothing)
    }

    async fn payments(&self, _: &Listing) -> Result<Vec<Payment>, ProviderError> {
        self.up(Context::Payment).map(|()| Vec::new())
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Vec<Audited>, ProviderError> {
        self.up(Context::Payment)?;
        let mut audited = locked(&self.audited).clone();
        audited.retain(|audited| query.only.as_ref().is_none_or(|only| audited.id == only.as_str()));
        audited.retain(|audited| query.after.as_ref().is_none_or(|after| audited.id > *after));
        audited.truncate(query.limit as usize);
        Ok(audited)
    }
}

/// Hides nothing; what is tested here is that it is asked.
impl Vault for State {
    fn seal(&self, order_id: &OrderId, token: &CardToken) -> SealedCard {
        SealedCard { key: "test".to_owned(), sealed: format!("{order_id} {}", token.0) }
    }

    fn open(&self, _: &OrderId, _: &SealedCard) -> Result<CardToken, StaysSealed> {
        Err(StaysSealed::Altered)
    }

    fn digest(&self, order_id: &OrderId, request: &str) -> String {
        format!("{order_id} {request}")
    }

    fn is_digest_of(&self, digest: &str, order_id: &OrderId, request: &str) -> Result<bool, StaysSealed> {
        Ok(digest == self.digest(order_id, request))
    }
}

#[async_trait]
impl Deliveries for State {
    async fn request(&self, _: &DeliveryRequest) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn start(&self, _: &OrderRef) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn complete(&self, _: &OrderRef) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn cancel(&self, _: &OrderRef) -> Result<Undo, ProviderError> {
        Ok(Undo::Nothing)
    }

    async fn deliveries(&self, _: &Listing) -> Result<Vec<Delivery>, ProviderError> {
        self.up(Context::Delivery).map(|()| Vec::new())
    }
}

#[async_trait]
impl Promotions for State {
    async fn issue(&self, _: &CouponRequest) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn revoke(&self, _: &OrderRef) -> Result<Undo, ProviderError> {
        Ok(Undo::Nothing)
    }

    async fn coupons(&self, _: &Listing) -> Result<Vec<Coupon>, ProviderError> {
        self.up(Context::Promotion).map(|()| Vec::new())
    }
}

#[async_trait]
impl Notifications for State {
    async fn send(&self, _: &Notice) -> Result<Vec<MessageId>, ProviderError> {
        Err(ProviderError::impossible("the API sends nothing"))
    }

    async fn deliver(&self, _: &AttemptRequest) -> Result<Attempted, ProviderError> {
        Err(ProviderError::impossible("the API delivers nothing"))
    }

    async fn notifications(&self, listing: &Listing) -> Result<Vec<Notification>, ProviderError> {
        self.up(Context::Notification)?;
        let mut notifications = locked(&self.notifications).clone();
        if let Some(order_id) = &listing.order_id {
            notifications.retain(|notification| notification.order_id == *order_id);
            notifications.reverse();
        }
        notifications.retain(|told| listing.merchant_id.as_ref().is_none_or(|id| told.merchant_id == *id));
        notifications.truncate(listing.limit as usize);
        Ok(notifications)
    }

    async fn put_webhook(&self, put: &WebhookPut) -> Result<WebhookSaved, ProviderError> {
        self.up(Context::Notification)?;
        let WebhookPut { merchant_id, name, url, events } = put.clone();
        let key = (merchant_id.clone(), name.clone());
        let webhook = Webhook { merchant_id, name, url, events, created_at: at(), updated_at: at() };
        let before = locked(&self.webhooks).insert(key, webhook.clone());
        let secret = before.is_none().then(|| Secret("whsec_c2VjcmV0".to_owned()));
        Ok(WebhookSaved { webhook, secret })
    }

    async fn webhooks(&self, query: &WebhookQuery) -> Result<Vec<Webhook>, ProviderError> {
        self.up(Context::Notification)?;
        let mut webhooks: Vec<_> = locked(&self.webhooks).values().cloned().collect();
        webhooks.retain(|webhook| webhook.merchant_id == query.merchant_id);
        webhooks.retain(|webhook| query.name.as_ref().is_none_or(|name| webhook.name == *name));
        Ok(webhooks)
    }

    async fn delete_webhook(&self, webhook: &WebhookRef) -> Result<bool, ProviderError> {
        self.up(Context::Notification)?;
        let WebhookRef { merchant_id, name } = webhook.clone();
        Ok(locked(&self.webhooks).remove(&(merchant_id, name)).is_some())
    }

    async fn messages(&self, query: &MessageQuery) -> Result<Vec<Message>, ProviderError> {
        self.up(Context::Notification)?;
        let mut messages = locked(&self.messages).clone();
        messages.retain(|message| message.merchant_id == query.webhook.merchant_id);
        messages.retain(|message| message.channel == Channel::Webhook(query.webhook.name.clone()));
        messages.retain(|message| query.message_id.as_ref().is_none_or(|id| message.id == *id));
        messages.truncate(query.limit as usize);
        Ok(messages)
    }
}

#[async_trait]
impl Sandbox for State {
    async fn mode(&self, context: Context) -> Result<Mode, ProviderError> {
        self.reach(context).map(|()| self.behaves(context))
    }

    async fn set_mode(&self, context: Context, mode: Mode) -> Result<(), ProviderError> {
        self.reach(context)?;
        locked(&self.modes).insert(context, mode);
        Ok(())
    }
}

impl State {
    fn writes_audit(&self) -> Result<(), ProviderError> {
        let mut left = locked(&self.audit_takes);
        *left = left.checked_sub(1).ok_or_else(|| ProviderError::unavailable("the test says so"))?;
        Ok(())
    }

    fn reach(&self, context: Context) -> Result<(), ProviderError> {
        self.stored()?;
        if locked(&self.gone).contains(&context) {
            Err(ProviderError::unavailable("its process is gone"))
        } else {
            Ok(())
        }
    }
}

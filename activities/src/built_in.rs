//! The built-in providers, each over a database of its own, whether it serves in this process or from one of its own.

use std::sync::Arc;

use workflows::Context;
use workflows::delivery::Deliveries;
use workflows::kitchen::Kitchen;
use workflows::notification::Notifications;
use workflows::payment::Payments;
use workflows::promotion::Promotions;
use workflows::stock::Stock;

use crate::{
    Modes, NotificationSettings, OpenError, Store, StoreError, StoreFailure, delivery, kitchen, notification, payment,
    promotion, stock,
};

/// The name of the context's database.
pub(crate) const fn database(context: Context) -> &'static str {
    match context {
        Context::Payment => "payments",
        Context::Stock => "stock",
        Context::Delivery => "deliveries",
        Context::Kitchen => "kitchen",
        Context::Promotion => "promotions",
        Context::Notification => "notifications",
    }
}

/// A provider's own store.
pub(crate) async fn store(url: &str, failure: &StoreFailure) -> Result<Store, StoreError> {
    Store::open_with(url, failure.clone()).await
}

pub(crate) async fn payments(store: &Store, modes: &Arc<Modes>) -> Result<Arc<dyn Payments>, OpenError> {
    let book = payment::surreal::open(store.database(database(Context::Payment)).await?).await?;
    Ok(Arc::new(payment::BuiltIn::new(book, modes.clone())))
}

/// Payments in a store of their own, which may be PostgreSQL.
pub(crate) async fn payments_at(
    url: &str,
    failure: &StoreFailure,
    modes: &Arc<Modes>,
) -> Result<Arc<dyn Payments>, OpenError> {
    if !is_postgres(url) {
        return payments(&store(url, failure).await?, modes).await;
    }
    let book = payment::postgres::open(url).await?;
    Ok(Arc::new(payment::BuiltIn::new(book, modes.clone())))
}

pub(crate) fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

pub(crate) async fn stock(store: &Store, modes: &Arc<Modes>) -> Result<Arc<dyn Stock>, OpenError> {
    let database = store.database(database(Context::Stock)).await?;
    Ok(Arc::new(stock::BuiltIn::open(database, modes.clone()).await?))
}

pub(crate) async fn deliveries(store: &Store, modes: &Arc<Modes>) -> Result<Arc<dyn Deliveries>, OpenError> {
    let database = store.database(database(Context::Delivery)).await?;
    Ok(Arc::new(delivery::BuiltIn::open(database, modes.clone()).await?))
}

pub(crate) async fn kitchen(store: &Store, modes: &Arc<Modes>) -> Result<Arc<dyn Kitchen>, OpenError> {
    let database = store.database(database(Context::Kitchen)).await?;
    Ok(Arc::new(kitchen::BuiltIn::open(database, modes.clone()).await?))
}

pub(crate) async fn promotions(store: &Store, modes: &Arc<Modes>) -> Result<Arc<dyn Promotions>, OpenError> {
    let database = store.database(database(Context::Promotion)).await?;
    Ok(Arc::new(promotion::BuiltIn::open(database, modes.clone()).await?))
}

pub(crate) async fn notifications(
    store: &Store,
    modes: &Arc<Modes>,
    settings: &NotificationSettings,
) -> Result<Arc<dyn Notifications>, OpenError> {
    let database = store.database(database(Context::Notification)).await?;
    Ok(Arc::new(notification::BuiltIn::open(database, modes.clone(), settings.clone()).await?))
}

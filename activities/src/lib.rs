//! How each step touches the world: the adapters behind the ports of `workflows`. Every write is idempotent by an id
//! that is derived from the order; every context has a database of its own and reads no other.

mod built_in;
mod cache;
mod delivery;
mod kitchen;
mod merchants;
mod modes;
mod notification;
mod orders;
mod payment;
mod progress;
mod promotion;
pub mod provider;
mod setup;
mod stock;
mod store;
mod text;
mod together;

use std::sync::Arc;

use workflows::Context;
use workflows::audit::Audit;
use workflows::delivery::Deliveries;
use workflows::kitchen::Kitchen;
use workflows::merchant::Merchants;
use workflows::notification::Notifications;
use workflows::order::{OrderBook, Ports};
use workflows::payment::{Payments, Vault};
use workflows::promotion::Promotions;
use workflows::sandbox::Sandbox;
use workflows::stock::Stock;

pub use modes::Modes;
pub use orders::examination::{Examination, Fault};
pub use orders::rebuild;
pub use payment::postgres::PostgresError;
pub use payment::vault::{CardKeys, NotACardKey};
pub use setup::{NotificationSettings, Setup, Template, TemplateSettings, WebhooksTo};
pub use store::{Login, NAMESPACE, Store, StoreError, StoreFailure, Within};

use provider::Remotes;

/// The adapters: over our own store, or a client of a provider in a process of its own.
#[derive(Clone)]
pub struct Activities {
    pub orders: Arc<dyn OrderBook>,
    /// Who did what, kept with the orders.
    pub audit: Arc<dyn Audit>,
    pub merchants: Arc<dyn Merchants>,
    pub payments: Arc<dyn Payments>,
    pub vault: Arc<dyn Vault>,
    pub stock: Arc<dyn Stock>,
    pub deliveries: Arc<dyn Deliveries>,
    pub kitchen: Arc<dyn Kitchen>,
    pub promotions: Arc<dyn Promotions>,
    pub notifications: Arc<dyn Notifications>,
    /// Every provider's switch, wherever it is.
    pub sandbox: Arc<dyn Sandbox>,
}

/// Why adapters could not be opened. No URL of a store is told: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    #[error("{url:?} is not the base URL of a {context} provider: it begins with http:// or https:// and has no query")]
    Url { context: Context, url: String },
    #[error("{context} cannot be kept in that kind of store")]
    UnsupportedStore { context: Context },
    #[error("the HTTP client: {0}")]
    Http(#[from] reqwest::Error),
}

impl Activities {
    /// Opens each context's database, defining what is missing in it. A remote provider is not asked before it is
    /// needed: it may come later.
    ///
    /// # Errors
    /// Where a store cannot be reached or refuses a definition, or where a URL is none.
    pub async fn open(setup: &Setup) -> Result<Self, OpenError> {
        let Setup { store, modes, .. } = setup;
        let remotes = Remotes::new(&setup.remote, modes.clone())?;
        let database = store.database("orders").await?;
        let orders = Arc::new(orders::Orders::open(database.clone()).await?);
        Ok(Self {
            orders: orders.clone(),
            audit: orders,
            merchants: Arc::new(merchants::MerchantBook::open(database).await?),
            payments: match (remotes.get(Context::Payment), &setup.payment_store) {
                (Some(remote), _) => remote,
                (None, Some(url)) => built_in::payments_at(url, store.failure(), modes).await?,
                (None, None) => built_in::payments(store, modes).await?,
            },
            vault: Arc::new(setup.card_keys.clone()),
            stock: match remotes.get(Context::Stock) {
                Some(remote) => remote,
                None => built_in::stock(store, modes).await?,
            },
            deliveries: match remotes.get(Context::Delivery) {
                Some(remote) => remote,
                None => built_in::deliveries(store, modes).await?,
            },
            kitchen: match remotes.get(Context::Kitchen) {
                Some(remote) => remote,
                None => built_in::kitchen(store, modes).await?,
            },
            promotions: match remotes.get(Context::Promotion) {
                Some(remote) => remote,
                None => built_in::promotions(store, modes).await?,
            },
            notifications: match remotes.get(Context::Notification) {
                Some(remote) => remote,
                None => built_in::notifications(store, modes, &setup.notifications).await?,
            },
            sandbox: Arc::new(remotes),
        })
    }

    /// What the workflow works through.
    #[must_use]
    pub fn ports(&self) -> Ports {
        Ports {
            orders: self.orders.clone(),
            payments: self.payments.clone(),
            vault: self.vault.clone(),
            stock: self.stock.clone(),
            deliveries: self.deliveries.clone(),
            kitchen: self.kitchen.clone(),
            promotions: self.promotions.clone(),
            notifications: self.notifications.clone(),
        }
    }
}

/// Looks whether the book of orders in a store that nobody writes to is in order.
///
/// # Errors
/// Where the store does not answer, or holds what no book of orders ever held.
pub async fn examine_orders(store: &Store) -> Result<Examination, StoreError> {
    orders::examination::examine(&store.database("orders").await?).await
}

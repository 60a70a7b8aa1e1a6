//! How each step touches the world: the adapters behind the ports of `workflows`. Every write is idempotent by an id
//! that is derived from the order; every context has a database of its own and reads no other.

mod delivery;
mod kitchen;
mod merchants;
mod modes;
mod orders;
mod payment;
mod progress;
mod promotion;
mod stock;
mod store;

use std::sync::Arc;

use workflows::delivery::Deliveries;
use workflows::kitchen::Kitchen;
use workflows::merchant::Merchants;
use workflows::order::{OrderBook, Ports};
use workflows::payment::Payments;
use workflows::promotion::Promotions;
use workflows::stock::Stock;

pub use modes::Modes;
pub use store::{Store, StoreError};

/// The built-in adapters over one store.
#[derive(Clone)]
pub struct Activities {
    pub orders: Arc<dyn OrderBook>,
    pub merchants: Arc<dyn Merchants>,
    pub payments: Arc<dyn Payments>,
    pub stock: Arc<dyn Stock>,
    pub deliveries: Arc<dyn Deliveries>,
    pub kitchen: Arc<dyn Kitchen>,
    pub promotions: Arc<dyn Promotions>,
}

impl Activities {
    /// Opens each context's database, defining what is missing in it. `modes` is the sandbox's switchboard.
    ///
    /// # Errors
    /// Where the store cannot be reached or refuses a definition.
    pub async fn open(store: &Store, modes: Arc<Modes>) -> Result<Self, StoreError> {
        let orders = store.database("orders").await?;
        Ok(Self {
            orders: Arc::new(orders::Orders::open(orders.clone()).await?),
            merchants: Arc::new(merchants::MerchantBook::open(orders).await?),
            payments: Arc::new(payment::BuiltIn::open(store.database("payments").await?, modes.clone()).await?),
            stock: Arc::new(stock::BuiltIn::open(store.database("stock").await?, modes.clone()).await?),
            deliveries: Arc::new(delivery::BuiltIn::open(store.database("deliveries").await?, modes.clone()).await?),
            kitchen: Arc::new(kitchen::BuiltIn::open(store.database("kitchen").await?, modes.clone()).await?),
            promotions: Arc::new(promotion::BuiltIn::open(store.database("promotions").await?, modes).await?),
        })
    }

    /// What the workflow works through.
    #[must_use]
    pub fn ports(&self) -> Ports {
        Ports {
            orders: self.orders.clone(),
            payments: self.payments.clone(),
            stock: self.stock.clone(),
            deliveries: self.deliveries.clone(),
            kitchen: self.kitchen.clone(),
            promotions: self.promotions.clone(),
        }
    }
}

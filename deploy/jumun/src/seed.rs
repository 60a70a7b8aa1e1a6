//! The demo merchants, one for each lifecycle, so that a first order can be placed at once. What is there is never
//! overwritten.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};
use workflows::merchant::{MerchantPut, Merchants};
use workflows::stock::{Product, Stock};
use workflows::{Currency, InvalidId, Lifecycle, MerchantId, Money, ProviderError};

use crate::report;

/// How long a provider in another process may keep a start waiting.
const WITHIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(1);

/// The merchant, and the product, of the first `curl`.
pub const MERCHANT: &str = "sauce-shop";
pub const SKU: &str = "gochujang";

struct Demo {
    /// Also the name of its lifecycle.
    merchant: &'static str,
    name: &'static str,
    /// SKU, name, price in won, pieces where they are counted.
    products: &'static [(&'static str, &'static str, i64, Option<i64>)],
}

const DEMOS: [Demo; 5] = [
    Demo {
        merchant: MERCHANT,
        name: "Sauce shop",
        products: &[
            (SKU, "Gochujang 500 g", 9_000, Some(100)),
            ("doenjang", "Doenjang 500 g", 7_500, Some(100)),
            ("ssamjang", "Ssamjang 450 g", 6_000, Some(100)),
            ("chili-oil", "Chili oil 250 ml", 12_000, Some(50)),
            ("soy-sauce", "Soy sauce 1 l", 8_000, Some(80)),
        ],
    },
    Demo {
        merchant: "shopping-mall",
        name: "Shopping mall",
        products: &[
            ("umbrella", "Umbrella", 15_000, Some(100)),
            ("lamp", "Desk lamp", 39_000, Some(40)),
            ("mug", "Mug", 12_000, Some(200)),
        ],
    },
    Demo {
        merchant: "street12",
        name: "Street 12",
        products: &[
            ("sneakers", "Sneakers", 79_000, Some(50)),
            ("hoodie", "Hoodie", 49_000, Some(80)),
            ("cap", "Cap", 25_000, Some(100)),
        ],
    },
    Demo {
        merchant: "pizza",
        name: "Pizza",
        products: &[
            ("margherita", "Margherita", 16_000, None),
            ("bulgogi", "Bulgogi pizza", 21_000, None),
            ("potato", "Potato pizza", 19_000, None),
        ],
    },
    Demo {
        merchant: "food-delivery",
        name: "Food delivery",
        products: &[
            ("bibimbap", "Bibimbap", 9_500, None),
            ("tteokbokki", "Tteokbokki", 6_000, None),
            ("naengmyeon", "Naengmyeon", 10_000, None),
        ],
    },
];

/// Whether the demo merchant has that product.
#[cfg(test)]
pub fn sells(merchant: &str, sku: &str) -> bool {
    DEMOS.iter().any(|demo| demo.merchant == merchant && demo.products.iter().any(|product| product.0 == sku))
}

#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    #[error("cannot create a demo merchant: {0}")]
    Provider(#[from] ProviderError),
    #[error("a demo merchant is ill-formed: {0}")]
    IllFormed(#[from] InvalidId),
    #[error("a demo merchant's lifecycle, {0}, is no preset")]
    NoPreset(&'static str),
}

/// Where the demo merchants and their products go.
pub struct Seeds {
    pub merchants: Arc<dyn Merchants>,
    pub stock: Arc<dyn Stock>,
}

impl Seeds {
    /// Creates each merchant unless there is one. Its products come first, so that a start which dies in between is made
    /// good by the next.
    pub async fn sow(&self) -> Result<(), SeedError> {
        for demo in &DEMOS {
            let id: MerchantId = demo.merchant.parse()?;
            if self.merchants.get(&id).await?.is_some() {
                continue;
            }
            for product in products(demo, &id)? {
                self.stock.put_product(&product).await?;
            }
            let lifecycle = Lifecycle::preset(demo.merchant).ok_or(SeedError::NoPreset(demo.merchant))?.clone();
            let put = MerchantPut { id, name: demo.name.to_owned(), currency: Currency::KRW, lifecycle };
            self.merchants.put(&put).await?;
        }
        Ok(())
    }

    /// The same where stock is another process, which may come later: whoever is started first does not matter. What
    /// goes on until then ends with what is returned.
    pub async fn sow_or_keep_trying(self) -> Result<Option<AbortOnDropHandle<()>>, SeedError> {
        let Err(cause) = self.sow_in_time().await? else { return Ok(None) };
        report::progress(format_args!(
            "warning: there are no demo merchants yet, since their products cannot be put ({cause}); \
             they come as soon as the stock provider answers"
        ));
        let trying = tokio::spawn(async move {
            loop {
                tokio::time::sleep(PAUSE).await;
                match self.sow_in_time().await {
                    Ok(Ok(())) => return info!("the demo merchants are there"),
                    Ok(Err(cause)) => debug!(%cause, "the demo merchants are tried again"),
                    Err(error) => return warn!(%error, "the demo merchants are given up"),
                }
            }
        });
        Ok(Some(AbortOnDropHandle::new(trying)))
    }

    /// The inner error: not now.
    async fn sow_in_time(&self) -> Result<Result<(), NotNow>, SeedError> {
        match tokio::time::timeout(WITHIN, self.sow()).await {
            Ok(Ok(())) => Ok(Ok(())),
            Ok(Err(SeedError::Provider(cause @ ProviderError::Unavailable(_)))) => Ok(Err(NotNow::Unavailable(cause))),
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(Err(NotNow::Slow)),
        }
    }
}

/// Why there are no demo merchants yet.
#[derive(Debug, thiserror::Error)]
enum NotNow {
    #[error(transparent)]
    Unavailable(ProviderError),
    #[error("no answer within {} s", WITHIN.as_secs())]
    Slow,
}

fn products(demo: &Demo, merchant_id: &MerchantId) -> Result<Vec<Product>, InvalidId> {
    demo.products
        .iter()
        .map(|(sku, name, price, on_hand)| {
            Ok(Product {
                merchant_id: merchant_id.clone(),
                sku: sku.parse()?,
                name: (*name).to_owned(),
                unit_price: Money::new(*price, Currency::KRW),
                on_hand: *on_hand,
                reserved: 0,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_merchants_are_well_formed_and_one_for_each_lifecycle() {
        for demo in &DEMOS {
            let merchant = demo.merchant.parse().expect("a merchant id");
            assert!(!products(demo, &merchant).expect("SKUs").is_empty());
        }
        assert!(DEMOS[0].merchant == MERCHANT && DEMOS[0].products.iter().any(|(sku, ..)| *sku == SKU));
        let lifecycles: Vec<_> = Lifecycle::presets().iter().map(|preset| preset.name.as_str()).collect();
        assert!(lifecycles.iter().all(|name| DEMOS.iter().any(|demo| demo.merchant == *name)), "{lifecycles:?}");
    }
}

//! The demo merchants, one for each lifecycle, so that a first order can be placed at once. What is there is never
//! overwritten.

use workflows::merchant::{MerchantPut, Merchants};
use workflows::stock::{Product, Stock};
use workflows::{Currency, InvalidId, Lifecycle, MerchantId, Money, ProviderError};

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

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("cannot create a demo merchant: {0}")]
    Provider(#[from] ProviderError),
    #[error("a demo merchant is ill-formed: {0}")]
    IllFormed(#[from] InvalidId),
    #[error("a demo merchant's lifecycle, {0}, is no preset")]
    NoPreset(&'static str),
}

/// Creates each merchant unless there is one. Its products come first, so that a start which dies in between is made
/// good by the next.
pub async fn seed(merchants: &dyn Merchants, stock: &dyn Stock) -> Result<(), DemoError> {
    for demo in &DEMOS {
        let id: MerchantId = demo.merchant.parse()?;
        if merchants.get(&id).await?.is_some() {
            continue;
        }
        for product in products(demo, &id)? {
            stock.put_product(&product).await?;
        }
        let lifecycle = Lifecycle::preset(demo.merchant).ok_or(DemoError::NoPreset(demo.merchant))?.clone();
        merchants.put(&MerchantPut { id, name: demo.name.to_owned(), currency: Currency::KRW, lifecycle }).await?;
    }
    Ok(())
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

//! The demo merchant, so that a first order can be placed at once. What is there is never overwritten.

use workflows::merchant::{MerchantPut, Merchants};
use workflows::stock::{Product, Stock};
use workflows::{Currency, InvalidId, Lifecycle, MerchantId, Money, ProviderError};

pub const MERCHANT: &str = "sauce-shop";
/// The product that the first `curl` orders.
pub const SKU: &str = "gochujang";

/// SKU, name, price in won, pieces.
const PRODUCTS: [(&str, &str, i64, i64); 5] = [
    (SKU, "Gochujang 500 g", 9_000, 100),
    ("doenjang", "Doenjang 500 g", 7_500, 100),
    ("ssamjang", "Ssamjang 450 g", 6_000, 100),
    ("chili-oil", "Chili oil 250 ml", 12_000, 50),
    ("soy-sauce", "Soy sauce 1 l", 8_000, 80),
];

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("cannot create the demo merchant: {0}")]
    Provider(#[from] ProviderError),
    #[error("the demo merchant is ill-formed: {0}")]
    IllFormed(#[from] InvalidId),
    #[error("the demo merchant's lifecycle, {MERCHANT}, is no preset")]
    NoPreset,
}

/// Creates the merchant unless there is one. Its products come first, so that a start which dies in between is made
/// good by the next.
pub async fn seed(merchants: &dyn Merchants, stock: &dyn Stock) -> Result<(), DemoError> {
    let id: MerchantId = MERCHANT.parse()?;
    if merchants.get(&id).await?.is_some() {
        return Ok(());
    }
    for product in products(&id)? {
        stock.put_product(&product).await?;
    }
    let lifecycle = Lifecycle::preset(MERCHANT).ok_or(DemoError::NoPreset)?.clone();
    merchants.put(&MerchantPut { id, name: "Sauce shop".to_owned(), currency: Currency::KRW, lifecycle }).await?;
    Ok(())
}

fn products(merchant_id: &MerchantId) -> Result<Vec<Product>, InvalidId> {
    PRODUCTS
        .into_iter()
        .map(|(sku, name, price, on_hand)| {
            Ok(Product {
                merchant_id: merchant_id.clone(),
                sku: sku.parse()?,
                name: name.to_owned(),
                unit_price: Money::new(price, Currency::KRW),
                on_hand: Some(on_hand),
                reserved: 0,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_merchant_is_well_formed() {
        let merchant = MERCHANT.parse().expect("a merchant id");
        assert!(products(&merchant).expect("SKUs").iter().any(|product| product.sku.as_str() == SKU));
        assert!(Lifecycle::preset(MERCHANT).is_some());
    }
}

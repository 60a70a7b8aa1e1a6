//! `/v1/merchants/{merchant_id}/products`: what is sold, at what price, and how much of it there is.

use std::sync::Arc;

use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use workflows::audit::Act;
use workflows::merchant::Merchants;
use workflows::stock::{self, ProductPut, ProductQuery, Stock};
use workflows::{Context, MerchantId, Sku};

use crate::access::Caller;
use crate::ask::{Unanswered, ask};
use crate::audit::Trail;
use crate::body::Body;
use crate::json::{List, Money, UnitPrice};
use crate::kind::Kind;
use crate::merchants;
use crate::problem::{Members, Problem, Refused, refusals};
use crate::tags::Tag;
use crate::value::{Checked, OnHand, ProductName};

pub(crate) struct ProductsApi {
    pub merchants: Arc<dyn Merchants>,
    pub stock: Arc<dyn Stock>,
    pub trail: Trail,
}

refusals! {
    PutProduct: InvalidRequest, Forbidden, NotFound, StockReserved, RequestTimeout, BodyTooLarge, UnsupportedMediaType, CurrencyMismatch,
        TryAgainLater, UpstreamUnavailable;
    ListProducts: NotFound, TryAgainLater, UpstreamUnavailable;
    GetProduct: NotFound, TryAgainLater, UpstreamUnavailable;
}

/// What is said of a product.
#[derive(Object)]
#[oai(deny_unknown_fields)]
struct ProductBody {
    /// What people call it.
    name: Checked<ProductName>,
    /// What one piece costs, in the merchant's currency.
    unit_price: UnitPrice,
    /// How many pieces are in the house, those that are reserved included. Absent where stock is not tracked.
    #[oai(nullable)]
    on_hand: Option<Checked<OnHand>>,
}

/// A product and how much of it there is.
#[derive(Object)]
struct Product {
    /// The merchant that sells it.
    merchant_id: Checked<MerchantId>,
    /// What the merchant numbers it by.
    sku: Checked<Sku>,
    /// What people call it.
    name: String,
    /// What one piece costs.
    unit_price: Money,
    /// Pieces in the house; null where stock is not tracked.
    #[oai(nullable)]
    on_hand: Option<i64>,
    /// Pieces of `on_hand` that are held for open orders.
    reserved: i64,
    /// Pieces that can still be ordered; null where stock is not tracked.
    #[oai(nullable)]
    available: Option<i64>,
}

impl From<stock::Product> for Product {
    fn from(product: stock::Product) -> Self {
        Self {
            available: product.available(),
            merchant_id: Checked(product.merchant_id),
            sku: Checked(product.sku),
            name: product.name,
            unit_price: product.unit_price.into(),
            on_hand: product.on_hand,
            reserved: product.reserved,
        }
    }
}

#[OpenApi(prefix_path = "/v1/merchants", tag = "Tag::Products")]
impl ProductsApi {
    /// Create or replace a product
    ///
    /// What open orders hold of it stays held, at the price at which it was ordered.
    #[oai(path = "/:merchant_id/products/:sku", method = "put", operation_id = "put_product")]
    async fn put(
        &self,
        caller: Caller,
        /// The merchant's id.
        merchant_id: Path<Checked<MerchantId>>,
        /// The product's SKU, which the caller chooses.
        sku: Path<Checked<Sku>>,
        body: Body<ProductBody>,
    ) -> Result<Json<Product>, Refused<PutProduct>> {
        caller.must_act_for(&merchant_id.0.0)?;
        let Body(body) = body;
        let merchant = merchants::find(&*self.merchants, &merchant_id.0.0).await?;
        let unit_price = workflows::Money::from(&body.unit_price);
        if unit_price.currency != merchant.currency {
            let currency = merchant.currency.code();
            return Err(Problem::new(
                Kind::CurrencyMismatch,
                format!("Merchant {} sells in {currency}. Give `unit_price` in {currency}.", merchant.id),
            )
            .into());
        }
        let product = stock::Product {
            merchant_id: merchant.id,
            sku: sku.0.0,
            name: body.name.0.0,
            unit_price,
            on_hand: body.on_hand.map(|Checked(OnHand(pieces))| pieces),
            reserved: 0,
        };
        let act = Act {
            merchant_id: Some(product.merchant_id.clone()),
            target: Some(format!("merchants/{}/products/{}", product.merchant_id, product.sku)),
            ..Act::new(caller.actor(), "put_product")
        };
        let saved = async {
            match ask("stock.put_product", self.stock.put_product(&product)).await.map_err(unavailable)? {
                ProductPut::Saved(product) => Ok(product),
                ProductPut::BelowReserved { reserved } => Err(stock_reserved(reserved)),
            }
        };
        Ok(Json(self.trail.of(act, saved).await?.into()))
    }

    /// List a merchant's products
    ///
    /// All of them, by SKU.
    #[oai(path = "/:merchant_id/products", method = "get", operation_id = "list_products")]
    async fn list(
        &self,
        _caller: Caller,
        /// The merchant's id.
        merchant_id: Path<Checked<MerchantId>>,
    ) -> Result<Json<List<Product>>, Refused<ListProducts>> {
        let merchant = merchants::find(&*self.merchants, &merchant_id.0.0).await?;
        let query = ProductQuery { merchant_id: merchant.id, skus: Vec::new() };
        let products = ask("stock.products", self.stock.products(&query)).await.map_err(unavailable)?;
        Ok(Json(products.into_iter().map(Product::from).collect()))
    }

    /// Read a product
    #[oai(path = "/:merchant_id/products/:sku", method = "get", operation_id = "get_product")]
    async fn get(
        &self,
        _caller: Caller,
        /// The merchant's id.
        merchant_id: Path<Checked<MerchantId>>,
        /// The product's SKU.
        sku: Path<Checked<Sku>>,
    ) -> Result<Json<Product>, Refused<GetProduct>> {
        let merchant = merchants::find(&*self.merchants, &merchant_id.0.0).await?;
        let sku = sku.0.0;
        let query = ProductQuery { merchant_id: merchant.id, skus: vec![sku.clone()] };
        let products = ask("stock.products", self.stock.products(&query)).await.map_err(unavailable)?;
        let product = products.into_iter().next();
        Ok(Json(product.ok_or_else(|| Problem::not_found(format_args!("product {sku}")))?.into()))
    }
}

fn unavailable(unanswered: Unanswered) -> Problem {
    unanswered.by(Context::Stock)
}

fn stock_reserved(reserved: i64) -> Problem {
    let detail =
        format!("Open orders hold {reserved} pieces. Say at least that many `on_hand`, or cancel orders first.");
    Problem::new(Kind::StockReserved, detail).with(Members { reserved: Some(reserved), ..Members::default() })
}

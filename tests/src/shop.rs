//! A merchant of a test's own, so that tests can share a system without seeing each other.

use serde_json::{Value, json};
use workflows::Lifecycle;

use crate::{Answer, Jumun};

pub struct Shop<'a> {
    pub jumun: &'a Jumun,
    pub merchant_id: String,
    /// Whether its customers pay by bank transfer.
    by_deposit: bool,
}

impl<'a> Shop<'a> {
    /// A sauce shop with 100 bottles each of `chili` (9,000 won) and `soy` (4,000 won).
    pub async fn open(jumun: &'a Jumun) -> Self {
        Self::open_with(jumun, "sauce-shop").await
    }

    /// The same with another lifecycle: a preset's name, or a whole document.
    pub async fn open_with(jumun: &'a Jumun, lifecycle: impl Into<Value>) -> Self {
        let merchant_id = format!("shop-{}", uuid::Uuid::now_v7().simple());
        let shop = Self::named(jumun, merchant_id, lifecycle).await;
        shop.put_product("chili", 9_000, 100).await;
        shop.put_product("soy", 4_000, 100).await;
        shop
    }

    /// One of a name of the test's, without any products.
    pub async fn named(jumun: &'a Jumun, merchant_id: impl Into<String>, lifecycle: impl Into<Value>) -> Self {
        let (merchant_id, lifecycle) = (merchant_id.into(), lifecycle.into());
        let document = lifecycle.as_str().map_or_else(|| lifecycle.clone(), preset);
        let shop = Self { jumun, merchant_id, by_deposit: document["payment"]["method"] == "deposit" };
        let merchant = json!({ "name": "A shop", "currency": "KRW", "lifecycle": lifecycle });
        let put = jumun.put(&format!("/v1/merchants/{}", shop.merchant_id), &merchant).await;
        assert_eq!(put.status, 201, "{put:#?}");
        shop
    }

    /// The same shop in a system that was started again.
    #[must_use]
    pub fn within(self, jumun: &Jumun) -> Shop<'_> {
        Shop { jumun, merchant_id: self.merchant_id, by_deposit: self.by_deposit }
    }

    pub async fn put_product(&self, sku: &str, price: i64, on_hand: i64) {
        let product = json!({ "name": sku, "unit_price": { "amount": price, "currency": "KRW" }, "on_hand": on_hand });
        let _ = self.jumun.put(&format!("/v1/merchants/{}/products/{sku}", self.merchant_id), &product).await.ok();
    }

    /// A request for `quantity` bottles of `chili`, paid by `card`.
    #[must_use]
    pub fn request(&self, card: &str, quantity: u32) -> Value {
        json!({
            "merchant_id": self.merchant_id,
            "customer": { "name": "Kim", "phone": "010-1234-5678", "address": "1 Sejong-daero, Seoul" },
            "lines": [{ "sku": "chili", "quantity": quantity }],
            "payment": { "method": "card", "card_token": card },
        })
    }

    /// The same, paid by bank transfer.
    #[must_use]
    pub fn deposit_request(&self, quantity: u32) -> Value {
        let mut request = self.request("", quantity);
        request["payment"] = json!({ "method": "deposit" });
        request
    }

    /// A request for one bottle, paid as the lifecycle has it.
    #[must_use]
    pub fn request_one(&self) -> Value {
        self.request_one_by("tok_ok")
    }

    /// The same, by this card where it is paid by card.
    #[must_use]
    pub fn request_one_by(&self, card: &str) -> Value {
        if self.by_deposit { self.deposit_request(1) } else { self.request(card, 1) }
    }

    pub async fn place(&self, card: &str, quantity: u32) -> Answer {
        self.jumun.post("/v1/orders", &self.request(card, quantity)).await
    }

    /// Places an order that stands, paid as the lifecycle has it; its id.
    pub async fn placed(&self) -> String {
        let answer = self.jumun.post("/v1/orders", &self.request_one()).await;
        assert_eq!(answer.status, 201, "{answer:#?}");
        expect_order(&answer.body)
    }

    /// On hand, reserved and available of `sku`.
    pub async fn shelf(&self, sku: &str) -> (i64, i64, i64) {
        let path = format!("/v1/merchants/{}/products/{sku}", self.merchant_id);
        let product = self.jumun.get(&path).await.ok();
        let number = |name: &str| product[name].as_i64().unwrap_or_else(|| panic!("{name} of {product:#?}"));
        (number("on_hand"), number("reserved"), number("available"))
    }

    /// Waits until the order has `status`, and returns it.
    pub async fn reaches(&self, order_id: &str, status: &str) -> Value {
        self.jumun.reaches(order_id, status).await
    }
}

/// A preset as a document.
#[must_use]
pub fn preset(name: &str) -> Value {
    let preset = Lifecycle::preset(name).unwrap_or_else(|| panic!("{name} is no preset"));
    serde_json::to_value(preset).expect("serialises")
}

/// A preset, changed, under a name of its own.
#[must_use]
pub fn variant(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut document = preset(name);
    document["name"] = json!(format!("a variant of {name}"));
    change(&mut document);
    document
}

/// The statuses of an undisturbed order under a preset.
#[must_use]
pub fn life(preset: &str) -> &'static [&'static str] {
    match preset {
        "sauce-shop" | "street12" => &["placed", "paid", "in_delivery", "delivered", "closed"],
        "shopping-mall" => &["placed", "awaiting_deposit", "paid", "ready", "in_delivery", "delivered", "closed"],
        "food-delivery" => {
            &["placed", "paid", "accepted", "in_production", "ready", "in_delivery", "delivered", "closed"]
        }
        "pizza" => &["placed", "paid", "in_production", "in_delivery", "delivered", "closed"],
        _ => panic!("{preset} is no preset"),
    }
}

/// The id of an order in an answer.
#[must_use]
pub fn expect_order(body: &Value) -> String {
    let id = body["id"].as_str().or(body["order_id"].as_str());
    id.unwrap_or_else(|| panic!("no order in {body:#?}")).to_owned()
}

//! A merchant of a test's own, so that tests can share a system without seeing each other.

use serde_json::{Value, json};

use crate::{Answer, Jumun, until};

pub struct Shop<'a> {
    pub jumun: &'a Jumun,
    pub merchant_id: String,
}

impl<'a> Shop<'a> {
    /// A sauce shop with 100 bottles each of `chili` (9,000 won) and `soy` (4,000 won).
    pub async fn open(jumun: &'a Jumun) -> Self {
        Self::open_with(jumun, "sauce-shop").await
    }

    /// The same with another lifecycle.
    pub async fn open_with(jumun: &'a Jumun, lifecycle: &str) -> Self {
        let merchant_id = format!("shop-{}", uuid::Uuid::now_v7().simple());
        let shop = Self { jumun, merchant_id };
        let merchant = json!({ "name": "A shop", "currency": "KRW", "lifecycle": lifecycle });
        assert_eq!(jumun.put(&format!("/v1/merchants/{}", shop.merchant_id), &merchant).await.status, 201);
        shop.put_product("chili", 9_000, 100).await;
        shop.put_product("soy", 4_000, 100).await;
        shop
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

    pub async fn place(&self, card: &str, quantity: u32) -> Answer {
        self.jumun.post("/v1/orders", &self.request(card, quantity)).await
    }

    /// Places an order that stands; its id.
    pub async fn placed(&self) -> String {
        let answer = self.place("tok_ok", 1).await;
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

/// The id of an order in an answer.
#[must_use]
pub fn expect_order(body: &Value) -> String {
    let id = body["id"].as_str().or(body["order_id"].as_str());
    id.unwrap_or_else(|| panic!("no order in {body:#?}")).to_owned()
}

impl Jumun {
    /// Waits until the order has `status`, and returns it.
    pub async fn reaches(&self, order_id: &str, status: &str) -> Value {
        until(&format!("{order_id} to be {status}"), async || {
            let answer = self.try_get(&format!("/v1/orders/{order_id}")).await.ok()?;
            (answer.status == 200 && answer.body["status"] == status).then_some(answer.body)
        })
        .await
    }

    /// The names of an order's events, in order.
    pub async fn event_names(&self, order_id: &str) -> Vec<String> {
        let events = self.get(&format!("/v1/orders/{order_id}/events")).await.ok();
        let events = events["items"].as_array().expect("a list").clone();
        for (index, event) in events.iter().enumerate() {
            assert_eq!(event["number"], index + 1, "numbered without gaps: {events:#?}");
        }
        events.iter().map(|event| event["type"].as_str().expect("a name").to_owned()).collect()
    }

    /// The kinds of an order's ledger entries, each of which must balance.
    pub async fn entries(&self, order_id: &str) -> Vec<String> {
        let payments = self.get(&format!("/v1/payments?order_id={order_id}")).await.ok();
        let entries: Vec<&Value> = payments["items"]
            .as_array()
            .expect("a list")
            .iter()
            .flat_map(|payment| payment["entries"].as_array().expect("entries"))
            .collect();
        for entry in &entries {
            let postings = entry["postings"].as_array().expect("postings");
            let sum: i64 = postings.iter().map(|posting| posting["amount"]["amount"].as_i64().expect("money")).sum();
            assert!(sum == 0 && postings.len() >= 2, "unbalanced: {entry:#?}");
        }
        entries.iter().map(|entry| entry["kind"].as_str().expect("a kind").to_owned()).collect()
    }

    pub async fn sandbox(&self, context: &str, mode: &str) {
        let _ = self.put(&format!("/v1/sandbox/{context}"), &json!({ "mode": mode })).await.ok();
    }
}

//! A sauce shop, and the people of its orders: a customer places, the card is charged, stock is taken, delivery starts by
//! itself, and the order waits at its only gate until a courier has brought it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::api::{Caller, Failed, Placed};
use crate::feed::Feed;
use crate::load::{Done, Outcome};
use crate::progress::Progress;
use crate::system::System;

/// More than is sold.
const ON_HAND: u64 = 100_000_000;
const PRICE: u64 = 9_000;
const POLL: Duration = Duration::from_millis(100);
/// How long no order may come to its gate while some are not there.
const PATIENCE: Duration = Duration::from_mins(1);

/// How many products orders are spread over, where they are not meant to meet.
pub const SPREAD: usize = 100;

/// A shop in a running system. Cheap to clone.
#[derive(Clone)]
pub struct Shop {
    pub operator: Caller,
    pub customer: Caller,
    pub courier: Caller,
    merchant_id: Arc<str>,
    /// A request for one piece of each product.
    orders: Arc<[String]>,
    asked: Arc<AtomicU64>,
}

impl Shop {
    /// A new one that sells so many products.
    pub async fn open(system: &System, products: usize) -> Result<Self> {
        let merchant_id = format!("bench-{}", uuid::Uuid::now_v7().simple());
        let sku = |n| format!("sauce-{n}");
        let order = |n| {
            json!({
                "merchant_id": merchant_id,
                "customer": { "name": "Kim Minji", "phone": "+82 10 1234 5678", "address": "12 Sejong-daero, Seoul" },
                "lines": [{ "sku": sku(n), "quantity": 1 }],
                "payment": { "method": "card", "card_token": "tok_ok" },
            })
            .to_string()
        };
        let orders = (0..products).map(order).collect();
        let shop = Self::of(system, merchant_id.as_str().into(), orders)?;
        let merchant = json!({ "name": "A shop", "currency": "KRW", "lifecycle": "sauce-shop" });
        shop.operator.put(&format!("/v1/merchants/{merchant_id}"), &merchant).await?;
        for sku in (0..products).map(sku) {
            let price = json!({ "amount": PRICE, "currency": "KRW" });
            let product = json!({ "name": sku, "unit_price": price, "on_hand": ON_HAND });
            shop.operator.put(&format!("/v1/merchants/{merchant_id}/products/{sku}"), &product).await?;
        }
        Ok(shop)
    }

    /// The same shop in a system that was started again.
    pub fn within(&self, system: &System) -> Result<Self> {
        Self::of(system, self.merchant_id.clone(), self.orders.clone())
    }

    fn of(system: &System, merchant_id: Arc<str>, orders: Arc<[String]>) -> Result<Self> {
        let asked = Arc::new(AtomicU64::new(0));
        let caller = |token| Caller::new(&system.api, token, asked.clone());
        let (operator, customer) = (caller(&system.tokens.operator)?, caller(&system.tokens.customer)?);
        let courier = caller(&system.tokens.courier)?;
        Ok(Self { operator, customer, courier, merchant_id, orders, asked })
    }

    /// How many requests were sent.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Places an order for one piece of any product.
    pub async fn place(&self) -> Result<Placed, Failed> {
        let any = rand::random_range(0..self.orders.len());
        self.customer.place(self.orders[any].clone()).await
    }

    /// The same, where nothing more is to become of the order.
    pub async fn place_only(self) -> Outcome {
        let placed = self.place().await?;
        Ok(Done { undecided: !placed.stands, ..Done::default() })
    }

    /// A whole life of an order, until it is closed: two requests, and between them the news that it has come to its gate.
    pub async fn live(self, feed: Arc<Feed>) -> Outcome {
        let began = Instant::now();
        let placed = self.place().await?;
        let (place, began) = (began.elapsed(), Instant::now());
        feed.comes(&placed.id).await?;
        let (gate, began) = (began.elapsed(), Instant::now());
        self.courier.complete_delivery(&placed.id).await?;
        let parts = vec![("place", place), ("gate", gate), ("deliver", began.elapsed())];
        Ok(Done { parts, undecided: !placed.stands, ..Done::default() })
    }

    /// Waits until so many of its orders wait for their courier.
    pub async fn wait_at_the_gate(&self, orders: u64, progress: &Progress) -> Result<()> {
        progress.count("coming to the gate", usize::try_from(orders)?);
        let (mut most, mut since) = (0, Instant::now());
        loop {
            let statuses = self.statuses().await?;
            let here = statuses.get("in_delivery").copied().unwrap_or_default();
            progress.reach(here);
            if here >= orders {
                return Ok(());
            }
            if here > most {
                (most, since) = (here, Instant::now());
            }
            if since.elapsed() > PATIENCE {
                bail!("{here} of {orders} orders have come to their gate, and no more do: {statuses:?}");
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// How many of its orders have each status.
    async fn statuses(&self) -> Result<BTreeMap<String, u64>> {
        let dashboard = self.operator.get(&format!("/v1/dashboard?merchant_id={}", self.merchant_id)).await?;
        let tally = |tally: &Value| Some((tally["status"].as_str()?.to_owned(), tally["orders"].as_u64()?));
        Ok(dashboard["statuses"].as_array().into_iter().flatten().filter_map(tally).collect())
    }
}

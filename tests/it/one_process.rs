//! The scenarios with every provider in jumun's own process.

use tests::{Jumun, Lent, Shape, Systems};

static SYSTEMS: Systems = Systems::new(Shape::OneProcess);

/// The system that tests share.
pub(crate) async fn shared() -> &'static Jumun {
    SYSTEMS.shared().await
}

async fn lent() -> Lent<'static> {
    SYSTEMS.lent().await
}

#[path = "scenarios/failures.rs"]
mod failures;
#[path = "scenarios/food_delivery.rs"]
mod food_delivery;
#[path = "scenarios/pizza.rs"]
mod pizza;
#[path = "scenarios/placing.rs"]
mod placing;
#[path = "scenarios/shopping_mall.rs"]
mod shopping_mall;
#[path = "scenarios/street12.rs"]
mod street12;

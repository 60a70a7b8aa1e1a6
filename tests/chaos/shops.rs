//! The shops that orders are placed with, and what their orders live through: written down here once more, so that the
//! server is not measured against its own rules.

use serde_json::{Value, json};
use tests::variant;
use workflows::Role;

/// What a piece costs.
pub const PRICE: i64 = 9_000;
/// The product that there is enough of, and the one that runs out.
pub const PLENTY: &str = "plenty";
pub const SCARCE: &str = "scarce";
/// How much there is of what there is enough of.
pub const ENOUGH: i64 = 100_000;

/// A merchant with a lifecycle. The hasty ones have deadlines that orders meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shop {
    Sauces,
    ShoppingMall,
    FoodDelivery,
    Street12,
    Pizza,
    HastyMall,
    HastyFood,
}

impl Shop {
    pub const ALL: [Self; 7] = [
        Self::Sauces,
        Self::ShoppingMall,
        Self::FoodDelivery,
        Self::Street12,
        Self::Pizza,
        Self::HastyMall,
        Self::HastyFood,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Sauces => "sauce-shop",
            Self::ShoppingMall => "shopping-mall",
            Self::FoodDelivery => "food-delivery",
            Self::Street12 => "street12",
            Self::Pizza => "pizza",
            Self::HastyMall => "hasty-mall",
            Self::HastyFood => "hasty-food",
        }
    }

    pub fn merchant_id(self) -> String {
        format!("chaos-{}", self.name())
    }

    /// A preset's name, or a document that makes a preset hastier, or more patient.
    pub fn lifecycle(self) -> Value {
        match self {
            Self::HastyMall => {
                variant("shopping-mall", |lifecycle| lifecycle["payment"]["deposit_window"] = json!("3s"))
            }
            Self::HastyFood => variant("food-delivery", |lifecycle| lifecycle["acceptance"]["window"] = json!("3s")),
            // Ten minutes, as the preset has it, are less than a long run: what nobody touched would be rejected by itself.
            Self::FoodDelivery => {
                variant("food-delivery", |lifecycle| lifecycle["acceptance"]["window"] = json!("7days"))
            }
            preset => json!(preset.name()),
        }
    }

    /// Whether its customers pay by bank transfer.
    pub const fn by_deposit(self) -> bool {
        matches!(self, Self::ShoppingMall | Self::HastyMall)
    }

    /// Whether it counts what it has.
    pub const fn counts_stock(self) -> bool {
        matches!(self, Self::Sauces | Self::ShoppingMall | Self::HastyMall | Self::Street12)
    }

    /// What people ask of an order that is to be closed.
    pub const fn commands(self) -> &'static [&'static str] {
        match self {
            Self::Sauces | Self::Street12 => &["complete-delivery"],
            Self::ShoppingMall | Self::HastyMall => &["confirm-deposit", "complete-delivery", "confirm-receipt"],
            Self::FoodDelivery | Self::HastyFood => {
                &["accept", "start-production", "finish-production", "start-delivery", "complete-delivery"]
            }
            Self::Pizza => &["start-production", "start-delivery", "complete-delivery"],
        }
    }

    /// The facts of an order that is closed, in their order. Every other order has the first few of them.
    pub const fn life(self) -> &'static [&'static str] {
        match self {
            Self::Sauces => &[
                "order_placed",
                "stock_reserved",
                "payment_approved",
                "order_paid",
                "stock_committed",
                "delivery_requested",
                "delivery_started",
                "delivery_completed",
                "order_closed",
            ],
            Self::ShoppingMall | Self::HastyMall => &[
                "order_placed",
                "deposit_requested",
                "deposit_confirmed",
                "order_paid",
                "stock_reserved",
                "stock_committed",
                "delivery_requested",
                "delivery_started",
                "delivery_completed",
                "receipt_confirmed",
                "order_closed",
            ],
            Self::FoodDelivery | Self::HastyFood => &[
                "order_placed",
                "payment_approved",
                "order_paid",
                "order_offered",
                "order_accepted",
                "production_started",
                "production_finished",
                "delivery_requested",
                "delivery_started",
                "delivery_completed",
                "order_closed",
            ],
            Self::Street12 => &[
                "order_placed",
                "stock_reserved",
                "payment_approved",
                "order_paid",
                "stock_committed",
                "coupon_issued",
                "delivery_requested",
                "delivery_started",
                "delivery_completed",
                "order_closed",
            ],
            Self::Pizza => &[
                "order_placed",
                "payment_approved",
                "order_paid",
                "production_started",
                "delivery_requested",
                "delivery_started",
                "delivery_completed",
                "coupon_issued",
                "order_closed",
            ],
        }
    }

    /// The order in which what was done is undone, where the shop insists on one.
    pub const fn unwinds(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Street12 => Some(&["payment_cancelled", "coupon_cancelled", "delivery_cancelled", "stock_released"]),
            _ => None,
        }
    }

    /// The status that a fact brings an order to; none where it stays what it was.
    pub fn status(self, fact: &str) -> Option<&'static str> {
        Some(match fact {
            "order_placed" => "placed",
            "deposit_requested" => "awaiting_deposit",
            "order_paid" => "paid",
            "stock_committed" if self.by_deposit() => "ready",
            "order_accepted" => "accepted",
            "production_started" => "in_production",
            "production_finished" => "ready",
            "delivery_started" => "in_delivery",
            "delivery_completed" => "delivered",
            "order_closed" => "closed",
            "cancellation_requested" | "deposit_expired" => "cancelling",
            "order_cancelled" => "cancelled",
            "order_rejected" => "rejected",
            _ => return None,
        })
    }
}

/// Whose command it is.
pub fn whose(command: &str) -> Role {
    match command {
        "confirm-deposit" | "accept" | "reject" | "start-production" | "finish-production" => Role::Merchant,
        "start-delivery" | "complete-delivery" => Role::Courier,
        "confirm-receipt" | "cancel" => Role::Customer,
        _ => panic!("{command} is no command"),
    }
}

/// What a command makes true.
pub fn effect(command: &str) -> &'static str {
    match command {
        "confirm-deposit" => "deposit_confirmed",
        "accept" => "order_accepted",
        "reject" => "order_rejected",
        "start-production" => "production_started",
        "finish-production" => "production_finished",
        "start-delivery" => "delivery_started",
        "complete-delivery" => "delivery_completed",
        "confirm-receipt" => "receipt_confirmed",
        "cancel" => "cancellation_requested",
        _ => panic!("{command} is no command"),
    }
}

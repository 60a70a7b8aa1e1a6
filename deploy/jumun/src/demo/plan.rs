//! What the demo's orders are, how each is to end, and what the people around one do next. Pure.

use serde::Deserialize;
use serde_json::{Value, json};
use workflows::{Command, Status};

/// An order of the demo.
#[derive(Debug)]
pub struct Plan {
    /// The demo merchant, who is named after the lifecycle.
    pub shop: &'static str,
    /// The first of its products.
    pub sku: &'static str,
    pub pay: Pay,
    pub end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pay {
    Card,
    DeclinedCard,
    Deposit,
}

/// How an order is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Closed,
    /// Somebody cancels it at that status, which undoes these, in this order.
    Cancelled {
        at: Status,
        undoes: &'static [&'static str],
    },
    Rejected,
}

impl End {
    pub const fn status(self) -> Status {
        match self {
            Self::Closed => Status::Closed,
            Self::Cancelled { .. } => Status::Cancelled,
            Self::Rejected => Status::Rejected,
        }
    }
}

/// One order of each lifecycle that goes well, one that is cancelled on its way, and one that is not paid.
pub const PLANS: [Plan; 7] = [
    Plan { shop: "sauce-shop", sku: "gochujang", pay: Pay::Card, end: End::Closed },
    Plan { shop: "shopping-mall", sku: "mug", pay: Pay::Deposit, end: End::Closed },
    Plan { shop: "food-delivery", sku: "bibimbap", pay: Pay::Card, end: End::Closed },
    Plan { shop: "street12", sku: "cap", pay: Pay::Card, end: End::Closed },
    Plan { shop: "pizza", sku: "margherita", pay: Pay::Card, end: End::Closed },
    Plan {
        shop: "street12",
        sku: "hoodie",
        pay: Pay::Card,
        end: End::Cancelled { at: Status::InDelivery, undoes: &["payment", "coupon", "delivery", "stock"] },
    },
    Plan { shop: "sauce-shop", sku: "doenjang", pay: Pay::DeclinedCard, end: End::Rejected },
];

/// What the people around an order look at before they do anything.
#[derive(Clone, Debug, Deserialize)]
pub struct OrderNow {
    pub status: Status,
    pub allowed_commands: Vec<Command>,
}

impl Plan {
    /// What the order is about, for people.
    pub fn title(&self) -> String {
        match self.end {
            End::Closed => self.shop.to_owned(),
            End::Cancelled { at, .. } => format!("{}, cancelled at {}", self.shop, at.as_str()),
            End::Rejected => format!("{}, with a declined card", self.shop),
        }
    }

    /// What the customer sends. The note is how the order is known again among all events.
    pub fn request(&self, note: &str) -> Value {
        let payment = match self.pay {
            Pay::Card => json!({ "method": "card", "card_token": "tok_ok" }),
            Pay::DeclinedCard => json!({ "method": "card", "card_token": "tok_declined" }),
            Pay::Deposit => json!({ "method": "deposit" }),
        };
        json!({
            "merchant_id": self.shop,
            "customer": { "name": "Kim Minji", "phone": "+82 10 1234 5678", "address": "12 Sejong-daero, Seoul" },
            "lines": [{ "sku": self.sku, "quantity": 1 }],
            "payment": payment,
            "note": note,
        })
    }

    /// What somebody does with the order as it is now. Nobody cancels or rejects an order unless that is the plan.
    pub fn next(&self, order: &OrderNow) -> Option<Command> {
        if let End::Cancelled { at, .. } = self.end
            && at == order.status
        {
            return order.allowed_commands.contains(&Command::Cancel).then_some(Command::Cancel);
        }
        let moves_on = |command: &Command| !matches!(command, Command::Cancel | Command::Reject);
        order.allowed_commands.iter().copied().find(moves_on)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use workflows::Lifecycle;

    use super::*;
    use crate::seed;

    fn order(status: Status, allowed: &[Command]) -> OrderNow {
        OrderNow { status, allowed_commands: allowed.to_vec() }
    }

    #[test]
    fn every_lifecycle_goes_well_once_one_order_is_cancelled_and_one_rejected() {
        let closed: BTreeSet<_> = PLANS.iter().filter(|plan| plan.end == End::Closed).map(|plan| plan.shop).collect();
        let presets: BTreeSet<_> = Lifecycle::presets().iter().map(|preset| preset.name.as_str()).collect();
        assert_eq!(closed, presets);
        let ends = |status| PLANS.iter().filter(|plan| plan.end.status() == status).count();
        assert_eq!([Status::Closed, Status::Cancelled, Status::Rejected].map(ends), [5, 1, 1]);
    }

    #[test]
    fn what_is_ordered_is_sold_and_paid_as_its_merchant_wants() {
        for plan in &PLANS {
            assert!(seed::sells(plan.shop, plan.sku), "{plan:?}");
            let lifecycle = Lifecycle::preset(plan.shop).expect("a preset");
            let method = plan.request("x")["payment"]["method"].clone();
            assert_eq!(serde_json::to_value(lifecycle.payment.method).expect("is JSON"), method, "{plan:?}");
        }
    }

    #[test]
    fn what_a_cancel_undoes_is_what_the_lifecycle_says() {
        for plan in &PLANS {
            let End::Cancelled { undoes, .. } = plan.end else { continue };
            let lifecycle = Lifecycle::preset(plan.shop).expect("a preset");
            assert_eq!(serde_json::to_value(lifecycle).expect("is JSON")["unwind"], json!(undoes));
        }
    }

    #[test]
    fn people_move_an_order_on_and_never_cancel_or_reject_it() {
        let plan = &PLANS[0];
        let allowed = [Command::Cancel, Command::Reject, Command::Accept];
        assert_eq!(plan.next(&order(Status::Paid, &allowed)), Some(Command::Accept));
        assert_eq!(plan.next(&order(Status::Paid, &[Command::Cancel])), None);
        assert_eq!(plan.next(&order(Status::Closed, &[])), None);
    }

    #[test]
    fn an_order_is_cancelled_where_that_is_the_plan_and_only_there() {
        let plan = PLANS.iter().find(|plan| plan.end.status() == Status::Cancelled).expect("is planned");
        assert_eq!(plan.next(&order(Status::Paid, &[Command::Cancel])), None);
        let allowed = [Command::CompleteDelivery, Command::Cancel];
        assert_eq!(plan.next(&order(Status::InDelivery, &allowed)), Some(Command::Cancel));
        assert_eq!(plan.next(&order(Status::InDelivery, &[Command::CompleteDelivery])), None);
        assert_eq!(plan.next(&order(Status::Cancelling, &[])), None);
    }
}

//! Whose an order is to see.

use workflows::order::{Gate, Order, OrderFilter};
use workflows::{MerchantId, Role};

use super::Caller;

/// The orders that a caller sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    All,
    OfCustomer(String),
    OfMerchant(MerchantId),
    /// Those that wait to be picked up or brought by whoever comes, and those that this courier took.
    OfCourier(String),
    Nothing,
}

impl Sight {
    pub(super) fn of(caller: &Caller) -> Self {
        match (caller.role(), caller.merchant_id()) {
            (Role::Operator, _) => Self::All,
            (Role::Customer, _) => Self::OfCustomer(caller.subject().to_owned()),
            (Role::Courier, _) => Self::OfCourier(caller.subject().to_owned()),
            (Role::Merchant, Some(merchant_id)) => Self::OfMerchant(merchant_id.clone()),
            (Role::Merchant, None) => Self::Nothing,
        }
    }

    pub(super) fn includes(&self, order: &Order) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::OfCustomer(customer) => order.customer_id.as_ref() == Some(customer),
            Self::OfMerchant(merchant_id) => order.merchant_id == *merchant_id,
            Self::OfCourier(courier) => match &order.courier {
                Some(taken_by) => taken_by == courier,
                None => order.gate.is_some_and(Gate::is_couriers),
            },
        }
    }

    pub(super) fn narrow(self, mut filter: OrderFilter) -> Option<OrderFilter> {
        match self {
            Self::All => {}
            Self::Nothing => return None,
            Self::OfCustomer(customer) => {
                if filter.customer_id.as_ref().is_some_and(|asked| *asked != customer) {
                    return None;
                }
                filter.customer_id = Some(customer);
            }
            Self::OfMerchant(merchant_id) => {
                if filter.merchant_id.as_ref().is_some_and(|asked| *asked != merchant_id) {
                    return None;
                }
                filter.merchant_id = Some(merchant_id);
            }
            Self::OfCourier(courier) => filter.courier = Some(courier),
        }
        Some(filter)
    }
}

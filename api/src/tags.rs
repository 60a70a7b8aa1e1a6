//! The chapters of the documentation.

use poem_openapi::Tags;

#[derive(Tags)]
pub(crate) enum Tag {
    /// Place, follow and move orders.
    Orders,
    /// Who sells.
    Merchants,
    /// What is sold, at what price, and how much of it there is.
    Products,
    /// How orders live, as data.
    Lifecycles,
    /// Where a merchant's own system is told what becomes of its orders. Requests are signed as Standard Webhooks has it.
    Webhooks,
    /// The contexts' own data. A context that is down answers 503 here while orders go on.
    Contexts,
    /// How the orders stand.
    Dashboard,
    /// Whether the money is all there, and where it belongs.
    Ledger,
    /// Operators' hands: drive orders on that are held up, command many at once, and read who did what.
    Operations,
    /// How this instance feels.
    Health,
    /// Make built-in providers misbehave. In local mode only.
    Sandbox,
}

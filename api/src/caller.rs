//! Who calls. Until callers bring tokens there is one anonymous caller, and each command is asked in the role that
//! owns it.

use workflows::{Command, Role};

/// Who the caller is: idempotency keys are each caller's own.
pub(crate) const NAME: &str = "anonymous";

/// The role in which the caller asks `command`.
pub(crate) const fn role(command: Command) -> Role {
    match command {
        Command::ConfirmReceipt | Command::Cancel => Role::Customer,
        Command::StartDelivery | Command::CompleteDelivery => Role::Courier,
        Command::ConfirmDeposit
        | Command::Accept
        | Command::Reject
        | Command::StartProduction
        | Command::FinishProduction => Role::Merchant,
    }
}

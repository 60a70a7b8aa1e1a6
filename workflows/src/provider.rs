//! What every context's port has in common: how a call to a provider can fail, and what an undo reports.

/// A context with data of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Context {
    Payment,
    Stock,
    Delivery,
    Kitchen,
    Promotion,
}

impl Context {
    pub const ALL: [Self; 5] = [Self::Payment, Self::Stock, Self::Delivery, Self::Kitchen, Self::Promotion];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Stock => "stock",
            Self::Delivery => "delivery",
            Self::Kitchen => "kitchen",
            Self::Promotion => "promotion",
        }
    }
}

impl std::fmt::Display for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a call to a provider brought no answer. A refusal (declined, out of stock) is an answer, not an error.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// Not reached, or no answer in time: whether it took effect is unknown. Try again.
    #[error("unavailable: {0}")]
    Unavailable(Cause),
    /// Trying again cannot help: the request contradicts what the provider knows.
    #[error("impossible: {0}")]
    Impossible(Cause),
}

impl ProviderError {
    pub fn unavailable(cause: impl Into<Cause>) -> Self {
        Self::Unavailable(cause.into())
    }

    pub fn impossible(cause: impl Into<Cause>) -> Self {
        Self::Impossible(cause.into())
    }
}

/// What an undo found. A repeated undo reports what it reported the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undo {
    /// There was an effect, and it is gone.
    Undone,
    /// There was no effect, and a late one is refused from now on.
    Nothing,
}

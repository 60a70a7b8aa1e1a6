//! The sandbox: how a built-in provider is told to misbehave. Local mode only.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Context, ProviderError};

/// How a built-in provider behaves, for its activities and for its queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum Mode {
    Up,
    Down,
    Slow { delay_ms: u32 },
}

/// The switches. A provider in another process has its switch there.
#[async_trait]
pub trait Sandbox: Send + Sync {
    async fn mode(&self, context: Context) -> Result<Mode, ProviderError>;
    async fn set_mode(&self, context: Context, mode: Mode) -> Result<(), ProviderError>;
}

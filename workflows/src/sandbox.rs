//! The sandbox: how a built-in provider is told to misbehave. Local mode only.

use serde::{Deserialize, Serialize};

use crate::Context;

/// How a built-in provider behaves, for its activities and for its queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum Mode {
    Up,
    Down,
    Slow { delay_ms: u32 },
}

pub trait Sandbox: Send + Sync {
    fn mode(&self, context: Context) -> Mode;
    fn set_mode(&self, context: Context, mode: Mode);
}

//! The sandbox's switchboard: makes a built-in provider misbehave, for its activities and its queries alike.

use std::sync::RwLock;
use std::time::Duration;

use workflows::sandbox::{Mode, Sandbox};
use workflows::{Context, ProviderError};

/// How each built-in provider behaves. All are up until told otherwise.
pub struct Modes {
    modes: RwLock<[Mode; Context::ALL.len()]>,
}

impl Default for Modes {
    fn default() -> Self {
        Self { modes: RwLock::new([Mode::Up; Context::ALL.len()]) }
    }
}

impl Sandbox for Modes {
    fn mode(&self, context: Context) -> Mode {
        self.modes.read().expect("no holder panics")[context as usize]
    }

    fn set_mode(&self, context: Context, mode: Mode) {
        self.modes.write().expect("no holder panics")[context as usize] = mode;
    }
}

impl Modes {
    /// Lets a call through, late where the provider is slow.
    ///
    /// # Errors
    /// Unavailable where the provider is down.
    pub async fn pass(&self, context: Context) -> Result<(), ProviderError> {
        match self.mode(context) {
            Mode::Up => Ok(()),
            Mode::Slow { delay_ms } => {
                tokio::time::sleep(Duration::from_millis(delay_ms.into())).await;
                Ok(())
            }
            Mode::Down => Err(ProviderError::unavailable(format!("{context} is switched off in the sandbox"))),
        }
    }
}

//! The sandbox's switchboard: makes a built-in provider misbehave, for its activities and its queries alike.

use std::sync::RwLock;
use std::time::Duration;

use async_trait::async_trait;
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

#[async_trait]
impl Sandbox for Modes {
    async fn mode(&self, context: Context) -> Result<Mode, ProviderError> {
        Ok(self.current(context))
    }

    async fn set_mode(&self, context: Context, mode: Mode) -> Result<(), ProviderError> {
        self.modes.write().expect("no holder panics")[context as usize] = mode;
        Ok(())
    }
}

impl Modes {
    /// Lets a call through, late where the provider is slow.
    ///
    /// # Errors
    /// Unavailable where the provider is down.
    pub async fn pass(&self, context: Context) -> Result<(), ProviderError> {
        match self.current(context) {
            Mode::Up => Ok(()),
            Mode::Slow { delay_ms } => {
                tokio::time::sleep(Duration::from_millis(delay_ms.into())).await;
                Ok(())
            }
            Mode::Down => Err(ProviderError::unavailable(format!("{context} is switched off in the sandbox"))),
        }
    }

    fn current(&self, context: Context) -> Mode {
        self.modes.read().expect("no holder panics")[context as usize]
    }
}

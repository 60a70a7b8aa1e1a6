//! What is measured: one function for each scenario. Each begins with a fresh system, unless it says otherwise, and knows
//! nothing of it but the public API; only the ceiling asks the engine itself.

mod ceiling;
mod gate;
mod orders;
mod read;
mod restart;
mod soak;

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;

use crate::Settings;
use crate::feed::Feed;
use crate::load::Load;
use crate::progress::Progress;
use crate::report::Figures;
use crate::shop::Shop;
use crate::system::{Launch, System, Tokens};

pub use soak::Goal;

/// A kind of load, and what is looked at under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Scenario {
    /// The engine alone: empty workflows of as many steps as an order has. Measured first, whatever else is
    Ceiling,
    /// Orders placed at a steady rate, whatever becomes of those before
    Place,
    /// Orders lived from placement to their end, by so many callers
    Lifecycle,
    /// Many orders at a gate: what it takes to keep them there
    Waiting,
    /// The same, and then all of them get their command
    Wake,
    /// Lives of orders for one product, and of orders for many
    HotSku,
    /// Order pages and lists read, while orders are placed
    Read,
    /// `kill -9` with many orders at a gate, and how long it takes until all have gone on
    Restart,
    /// Starts on a directory that is there already
    Start,
    /// Lives of orders for a long time: what grows, and what gets slower
    Soak,
    /// All of them
    All,
}

impl Scenario {
    const EACH: [Self; 9] = [
        Self::Place,
        Self::Lifecycle,
        Self::Waiting,
        Self::Wake,
        Self::HotSku,
        Self::Read,
        Self::Restart,
        Self::Start,
        Self::Soak,
    ];

    /// Those that are asked for, each once, in the order in which they are measured.
    pub fn chosen(asked: &[Self]) -> Vec<Self> {
        let is_asked = |scenario: &Self| asked.contains(scenario) || asked.contains(&Self::All);
        let mut chosen: Vec<_> = Self::EACH.into_iter().filter(is_asked).collect();
        // One run measures both.
        if chosen.contains(&Self::Wake) {
            chosen.retain(|scenario| *scenario != Self::Waiting);
        }
        chosen
    }

    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// A run of the bench.
pub struct Bench {
    pub settings: Settings,
    pub launch: Launch,
    /// A system that others run, if it is that which is measured.
    pub elsewhere: Option<(String, Tokens)>,
    pub progress: Progress,
}

impl Bench {
    /// Measures.
    pub async fn measure(&self, scenario: Scenario) -> Result<Vec<Figures>> {
        self.progress.scenario(&scenario.name());
        match scenario {
            Scenario::Ceiling => Ok(vec![ceiling::ceiling(self).await?]),
            Scenario::Place => Ok(vec![orders::place(self).await?]),
            Scenario::Lifecycle => Ok(vec![orders::lifecycle(self).await?]),
            Scenario::Waiting => gate::waiting(self, false).await,
            Scenario::Wake => gate::waiting(self, true).await,
            Scenario::HotSku => Ok(vec![orders::hot_sku(self).await?]),
            Scenario::Read => Ok(vec![read::read(self).await?]),
            Scenario::Restart => Ok(vec![restart::restart(self).await?]),
            Scenario::Start => Ok(vec![restart::start(self).await?]),
            Scenario::Soak => Ok(vec![soak::soak(self).await?]),
            Scenario::All => bail!("all of them are not one"),
        }
    }

    /// A fresh system, or the one elsewhere.
    async fn system(&self) -> Result<System> {
        match &self.elsewhere {
            Some((url, tokens)) => Ok(System::at(url, tokens.clone())),
            None => System::start(&self.launch).await,
        }
    }

    /// A fresh system that can be killed, and whose engine can be asked.
    async fn own_system(&self) -> Result<System> {
        ensure!(self.elsewhere.is_none(), "it needs a system of its own, and is not for one that others run");
        System::start(&self.launch).await
    }

    fn load(&self, system: &System) -> Load {
        Load {
            callers: self.settings.callers(),
            warm_up: self.settings.warm_up(),
            span: self.settings.span(),
            meter: system.meter(),
            progress: self.progress.clone(),
        }
    }

    fn full_load(&self, system: &System) -> Load {
        Load { callers: self.settings.callers_at_full_load(), ..self.load(system) }
    }
}

/// A shop whose orders are lived through.
#[derive(Clone)]
struct Trade {
    shop: Shop,
    feed: Arc<Feed>,
}

impl Trade {
    async fn open(system: &System, products: usize) -> Result<Self> {
        let shop = Shop::open(system, products).await?;
        let feed = Arc::new(Feed::listen(&shop.operator).await?);
        Ok(Self { shop, feed })
    }

    /// One order's life.
    fn live(&self) -> impl Future<Output = crate::load::Outcome> + Send + use<> {
        self.shop.clone().live(self.feed.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_measured_once() {
        use Scenario::{All, Place, Read, Waiting, Wake};
        assert_eq!(Scenario::chosen(&[Read, Place, Read]), [Place, Read]);
        assert_eq!(Scenario::chosen(&[Waiting, Wake]), [Wake]);
        assert_eq!(Scenario::chosen(&[All]).len(), Scenario::EACH.len() - 1);
    }
}

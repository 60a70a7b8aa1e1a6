//! `ceiling`: what all others are compared with.

use anyhow::Result;
use serde_json::json;

use super::{Bench, Trade};
use crate::ceiling::Engine;
use crate::report::Figures;
use crate::system::System;

/// Lives one order to see how many steps that takes, and then has the engine run empty workflows of as many.
pub(super) async fn ceiling(bench: &Bench) -> Result<Figures> {
    let mut system = bench.own_system().await?;
    let (ingress, admin) = system.engine()?;
    let engine = Engine::at(ingress, admin)?;
    let order_id = one_life(&system).await?;
    let steps_by_service = engine.steps_of(&order_id).await?;
    let steps = steps_by_service.iter().map(|of| of.steps).sum();
    let _serving = engine.serve().await?;
    let measure = bench.full_load(&system).closed(move || engine.clone().run(steps)).await;
    let mut figures = Figures::of("ceiling", &measure);
    figures.tell("steps", steps);
    for of in steps_by_service {
        figures.tell(&format!("steps_of_{}", of.service), json!(of.steps));
    }
    Ok(figures)
}

/// The id of an order that is closed.
async fn one_life(system: &System) -> Result<String> {
    let Trade { shop, feed } = Trade::open(system, 1).await?;
    let lived = async {
        let placed = shop.place().await?;
        feed.comes(&placed.id).await?;
        shop.courier.complete_delivery(&placed.id).await?;
        Ok(placed.id)
    };
    lived.await.map_err(|failed: crate::api::Failed| anyhow::anyhow!("an order did not live: {failed}"))
}

//! The REST front. Handlers parse, call and map; what they call are the ports of `workflows` and the engine's ingress.
//! Knows no database and no provider, and decides nothing about an order: that is for the rules and the workflow.

#![allow(clippy::unused_async, reason = "the framework awaits every handler")]

mod ask;
mod body;
mod caller;
mod contexts;
mod document;
mod engine;
mod explain;
mod framework;
mod headers;
mod health;
mod json;
mod kind;
mod limits;
mod merchants;
mod orders;
mod parameters;
mod problem;
mod products;
mod routes;
mod sandbox;
mod serve;
mod tags;
mod value;

use std::sync::Arc;

use poem::endpoint::BoxEndpoint;
use workflows::delivery::Deliveries;
use workflows::merchant::Merchants;
use workflows::order::OrderBook;
use workflows::payment::Payments;
use workflows::promotion::Promotions;
use workflows::sandbox::Sandbox;
use workflows::stock::Stock;

pub use engine::{Engine, InvalidEngine};
pub use serve::serve;

use contexts::ContextsApi;
use document::Document;
use health::HealthApi;
use merchants::{LifecyclesApi, MerchantsApi};
use orders::{CommandOrders, PlaceOrders, ReadOrders};
use products::ProductsApi;
use sandbox::SandboxApi;

/// What the API works through.
pub struct Deps {
    pub orders: Arc<dyn OrderBook>,
    pub merchants: Arc<dyn Merchants>,
    pub payments: Arc<dyn Payments>,
    pub stock: Arc<dyn Stock>,
    pub deliveries: Arc<dyn Deliveries>,
    pub promotions: Arc<dyn Promotions>,
    pub engine: Engine,
    /// Local mode only: without it `/v1/sandbox` does not exist, nor does the document mention it.
    pub sandbox: Option<Arc<dyn Sandbox>>,
}

type Api = (PlaceOrders, ReadOrders, CommandOrders, MerchantsApi, ProductsApi, LifecyclesApi, ContextsApi, HealthApi);
type LocalApi = (Api, SandboxApi);

/// The whole front as one endpoint.
#[must_use]
pub fn app(deps: Deps) -> BoxEndpoint<'static> {
    let sandbox = deps.sandbox.clone();
    let api = api(deps);
    match sandbox {
        Some(sandbox) => routes::mount((api, SandboxApi { sandbox })),
        None => routes::mount(api),
    }
}

/// The OpenAPI document; `local`: with the sandbox.
#[must_use]
pub fn openapi(local: bool) -> String {
    if local { Document::of::<LocalApi>().json } else { Document::of::<Api>().json }
}

fn api(deps: Deps) -> Api {
    let Deps { orders, merchants, payments, stock, deliveries, promotions, engine, sandbox: _ } = deps;
    let placing = orders::Placing {
        orders: orders.clone(),
        merchants: merchants.clone(),
        stock: stock.clone(),
        engine: engine.clone(),
    };
    (
        PlaceOrders { placing },
        ReadOrders { orders: orders.clone() },
        CommandOrders { orders: orders.clone(), engine: engine.clone() },
        MerchantsApi { merchants: merchants.clone() },
        ProductsApi { merchants, stock },
        LifecyclesApi,
        ContextsApi { payments, deliveries, promotions },
        HealthApi { orders, engine },
    )
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

//! The REST front. Handlers parse, call and map; what they call are the ports of `workflows` and the engine's ingress.
//! Knows no database and no provider, and decides nothing about an order: that is for the rules and the workflow.
//! `console/` is the same for people: pages that ask the handlers.

#![allow(clippy::unused_async, reason = "the framework awaits every handler")]

mod access;
mod ask;
mod audit;
mod body;
mod console;
mod contexts;
mod cursor;
mod dashboard;
mod deployments;
mod document;
mod engine;
mod explain;
mod framework;
mod headers;
mod health;
mod json;
mod kind;
mod ledger;
mod lifecycles;
mod limits;
mod merchants;
mod metrics;
mod notifications;
mod operations;
mod orders;
mod parameters;
mod pressure;
mod preview;
mod problem;
mod products;
mod routes;
mod sandbox;
mod serve;
mod standings;
mod tags;
mod trace;
mod value;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use poem::endpoint::BoxEndpoint;
use tokio_util::sync::CancellationToken;
use workflows::audit::Audit;
use workflows::delivery::Deliveries;
use workflows::merchant::Merchants;
use workflows::notification::Notifications;
use workflows::order::OrderBook;
use workflows::payment::{Payments, Vault};
use workflows::promotion::Promotions;
use workflows::sandbox::Sandbox;
use workflows::stock::Stock;

pub use access::{
    AUDIENCE, Access, Algorithm, ISSUER, InvalidJwks, InvalidPrincipal, Key, Principal, ShortKey, TokenKey,
};
pub use engine::{Engine, InvalidEngine};
pub use metrics::Metrics;
pub use pressure::{BreakerLimits, Limits};
pub use serve::serve;

use audit::{AuditApi, Trail};
use console::Console;
use contexts::ContextsApi;
use dashboard::DashboardApi;
use deployments::DeploymentsApi;
use document::Document;
use health::HealthApi;
use ledger::LedgerApi;
use lifecycles::LifecyclesApi;
use merchants::MerchantsApi;
use metrics::MetricsApi;
use notifications::NotificationsApi;
use orders::{
    BulkOrders, CommandOrders, EventsApi, Feed, Live, PlaceOrders, ReadOrders, RetryOrders, Retrying, WorkflowApi,
};
use pressure::Pressure;
use products::ProductsApi;
use sandbox::SandboxApi;
use standings::Standings;
use webhooks::WebhooksApi;

/// What the API works through.
pub struct Deps {
    pub orders: Arc<dyn OrderBook>,
    /// Who did what.
    pub audit: Arc<dyn Audit>,
    pub merchants: Arc<dyn Merchants>,
    pub payments: Arc<dyn Payments>,
    /// Seals the cards that orders are paid by.
    pub vault: Arc<dyn Vault>,
    pub stock: Arc<dyn Stock>,
    pub deliveries: Arc<dyn Deliveries>,
    pub promotions: Arc<dyn Promotions>,
    pub notifications: Arc<dyn Notifications>,
    pub engine: Engine,
    /// Who calls.
    pub access: Arc<Access>,
    /// For how long an order has to be without progress to count as stuck.
    pub stuck_after: Duration,
    pub limits: Limits,
    /// What is told at `/metrics`.
    pub metrics: Metrics,
    /// Local mode only: without it `/v1/sandbox` does not exist, nor does the document mention it.
    pub sandbox: Option<Arc<dyn Sandbox>>,
    /// Cancelled once this instance is on its way out: it is not ready any more, though it still answers.
    pub stopping: CancellationToken,
    /// Local mode only: without it nobody signs in to the console but with a token that they have.
    pub mint: Option<Mint>,
}

/// Makes a token for anybody.
pub type Mint = Arc<dyn Fn(&Principal) -> String + Send + Sync>;

type OrdersApi = (PlaceOrders, ReadOrders, CommandOrders, EventsApi, WorkflowApi, OperatorApi);
type OperatorApi = (RetryOrders, BulkOrders, AuditApi);
type MerchantApi = (MerchantsApi, ProductsApi, LifecyclesApi, WebhooksApi);
type Api = (
    OrdersApi,
    MerchantApi,
    ContextsApi,
    NotificationsApi,
    DashboardApi,
    LedgerApi,
    DeploymentsApi,
    HealthApi,
    MetricsApi,
);
type LocalApi = (Api, SandboxApi);

/// The whole front as one endpoint.
#[must_use]
pub fn app(deps: Deps) -> BoxEndpoint<'static> {
    let pressure = Arc::new(Pressure::new(deps.limits, deps.metrics.clone()));
    let live = live(&deps);
    app_with(deps, live, &pressure)
}

fn live(deps: &Deps) -> Live {
    Live::new(deps.orders.clone(), Feed::new(deps.orders.clone(), deps.metrics.clone()))
}

fn app_with(deps: Deps, live: Live, pressure: &Arc<Pressure>) -> BoxEndpoint<'static> {
    let (sandbox, access, metrics) = (deps.sandbox.clone(), deps.access.clone(), deps.metrics.clone());
    let trail = Trail(deps.audit.clone());
    let (orders, mint, local) = (deps.orders.clone(), deps.mint.clone(), sandbox.is_some());
    let console = {
        let (access, live) = (access.clone(), live.clone());
        move |api| Console { api, access, live, orders, mint, local }
    };
    let api = api(deps, live, pressure.clone());
    match sandbox {
        Some(sandbox) => routes::mount((api, SandboxApi { sandbox, trail }), console, access, pressure, &metrics),
        None => routes::mount(api, console, access, pressure, &metrics),
    }
}

/// The OpenAPI document; `local`: with the sandbox.
#[must_use]
pub fn openapi(local: bool) -> String {
    if local { Document::of::<LocalApi>().json } else { Document::of::<Api>().json }
}

fn api(deps: Deps, live: Live, pressure: Arc<Pressure>) -> Api {
    let Deps {
        orders,
        stopping,
        merchants,
        payments,
        vault,
        stock,
        deliveries,
        promotions,
        notifications,
        engine,
        stuck_after,
        metrics,
        ..
    } = deps;
    let placing = orders::Placing {
        orders: orders.clone(),
        merchants: merchants.clone(),
        stock: stock.clone(),
        vault,
        feed: live.feed().clone(),
        engine: engine.clone(),
        pressure: pressure.clone(),
    };
    let trail = Trail(deps.audit);
    let commands = CommandOrders { orders: orders.clone(), feed: live.feed().clone(), engine: engine.clone() };
    let retrying = Retrying { orders: orders.clone(), engine: engine.clone() };
    let bulk = BulkOrders { commands: commands.clone(), retrying: retrying.clone(), stuck_after, trail: trail.clone() };
    let orders_api = (
        PlaceOrders { placing },
        ReadOrders { orders: orders.clone(), stuck_after },
        commands,
        EventsApi { orders: orders.clone(), live },
        WorkflowApi { orders: orders.clone(), engine: engine.clone() },
        (RetryOrders { retrying, trail: trail.clone() }, bulk, AuditApi { trail: trail.clone() }),
    );
    let webhooks = WebhooksApi {
        merchants: merchants.clone(),
        notifications: notifications.clone(),
        engine: engine.clone(),
        trail: trail.clone(),
    };
    let merchant_api = (
        MerchantsApi { merchants: merchants.clone(), trail: trail.clone() },
        ProductsApi { merchants, stock, trail },
        LifecyclesApi,
        webhooks,
    );
    (
        orders_api,
        merchant_api,
        ContextsApi { payments: payments.clone(), deliveries, promotions },
        NotificationsApi { notifications },
        DashboardApi { orders: orders.clone(), stuck_after, breaker: pressure.breaker.clone() },
        LedgerApi { orders: orders.clone(), payments },
        DeploymentsApi { engine: engine.clone() },
        HealthApi { orders: orders.clone(), engine, stopping },
        MetricsApi { standing: Standings::new(orders, stuck_after), metrics, pressure },
    )
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

//! `/livez` and `/readyz`: whether to restart this instance, and whether to send it requests.

use std::sync::Arc;
use std::time::Duration;

use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use workflows::OrderId;
use workflows::order::OrderBook;

use crate::ask::ask;
use crate::engine::Engine;
use crate::kind::Kind;
use crate::problem::{Problem, Refused, refusals};
use crate::tags::Tag;

/// Probes are asked often and give up early.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) struct HealthApi {
    pub orders: Arc<dyn OrderBook>,
    pub engine: Engine,
    pub stopping: CancellationToken,
}

refusals! {
    Liveness: InvalidRequest;
    Readiness: NotReady;
}

/// How this instance feels.
#[derive(Object)]
struct Health {
    /// Always `ok`.
    status: String,
}

impl Health {
    fn ok() -> Json<Self> {
        Json(Self { status: "ok".to_owned() })
    }
}

#[OpenApi(tag = "Tag::Health")]
impl HealthApi {
    /// Is it alive?
    ///
    /// An instance that does not answer is to be restarted. What others do does not count here.
    #[oai(path = "/livez", method = "get", operation_id = "livez")]
    async fn livez(&self) -> Result<Json<Health>, Refused<Liveness>> {
        Ok(Health::ok())
    }

    /// Is it ready?
    ///
    /// Orders can be read and the engine takes requests.
    #[oai(path = "/readyz", method = "get", operation_id = "readyz")]
    async fn readyz(&self) -> Result<Json<Health>, Refused<Readiness>> {
        if self.stopping.is_cancelled() {
            return Err(Problem::new(Kind::NotReady, "This instance is on its way out.").into());
        }
        let nobody = OrderId::from_bits(0);
        let (orders, engine) = tokio::join!(
            timeout(PATIENCE, ask("orders.read", self.orders.order(&nobody))),
            timeout(PATIENCE, self.engine.health())
        );
        let missing = match (matches!(orders, Ok(Ok(_))), matches!(engine, Ok(Ok(())))) {
            (true, true) => return Ok(Health::ok()),
            (false, true) => "The store of orders does not answer.",
            (true, false) => "The engine does not answer.",
            (false, false) => "Neither the store of orders nor the engine answers.",
        };
        warn!(missing, "not ready");
        Err(Problem::new(Kind::NotReady, missing).into())
    }
}

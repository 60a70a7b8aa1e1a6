//! `/v1/sandbox`: makes built-in providers misbehave, also those in processes of their own. Exists in local mode only.

use std::sync::Arc;

use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{Enum, Object, OpenApi};
use serde_json::json;
use workflows::audit::Act;
use workflows::sandbox::{Mode, Sandbox};
use workflows::{Context, Role};

use crate::access::Caller;
use crate::ask::ask;
use crate::audit::Trail;
use crate::body::Body;
use crate::json::ContextName;
use crate::kind::Kind;
use crate::problem::{Problem, Refused, refusals};
use crate::tags::Tag;
use crate::value::{Checked, DelayMs};

pub(crate) struct SandboxApi {
    pub sandbox: Arc<dyn Sandbox>,
    pub trail: Trail,
}

refusals! {
    GetSandbox: Forbidden;
    PutSandbox: InvalidRequest, Forbidden, NotFound, RequestTimeout, BodyTooLarge, UnsupportedMediaType, TryAgainLater, UpstreamUnavailable;
}

/// How a built-in provider behaves, for its activities and for its queries.
#[derive(Object)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none)]
struct SandboxMode {
    /// Whether and how it answers.
    mode: ModeName,
    /// By how many milliseconds each answer is late. For `slow`, and only there.
    #[oai(nullable)]
    delay_ms: Option<Checked<DelayMs>>,
}

/// Whether and how a provider answers.
#[derive(Enum)]
#[oai(rename = "Mode", rename_all = "snake_case")]
enum ModeName {
    Up,
    Down,
    Slow,
}

/// How each built-in provider behaves; one in a process of its own is absent while it does not say.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
struct SandboxModes {
    /// The payment provider.
    payment: Option<SandboxMode>,
    /// The stock provider.
    stock: Option<SandboxMode>,
    /// The delivery provider.
    delivery: Option<SandboxMode>,
    /// The kitchen provider.
    kitchen: Option<SandboxMode>,
    /// The promotion provider.
    promotion: Option<SandboxMode>,
    /// The notification provider.
    notification: Option<SandboxMode>,
}

#[OpenApi(prefix_path = "/v1/sandbox", tag = "Tag::Sandbox")]
impl SandboxApi {
    /// Read the modes
    #[oai(path = "/", method = "get", operation_id = "get_sandbox")]
    async fn get(&self, caller: Caller) -> Result<Json<SandboxModes>, Refused<GetSandbox>> {
        caller.must_be(&[Role::Operator])?;
        Ok(Json(self.modes().await))
    }

    /// Set a provider's mode
    ///
    /// From now on, until it is set again or the provider's process ends.
    #[oai(path = "/:context", method = "put", operation_id = "put_sandbox")]
    async fn put(
        &self,
        caller: Caller,
        /// Whose provider.
        context: Path<ContextName>,
        body: Body<SandboxMode>,
    ) -> Result<Json<SandboxModes>, Refused<PutSandbox>> {
        caller.must_be(&[Role::Operator])?;
        let (context, mode) = (context.0.into(), Mode::try_from(body.0)?);
        let act = Act {
            target: Some(format!("sandbox/{context}")),
            details: Some(json!(mode)),
            ..Act::new(caller.actor(), "put_sandbox")
        };
        let set = async {
            let set = ask("sandbox.set_mode", self.sandbox.set_mode(context, mode)).await;
            set.map_err(|unanswered| unanswered.by(context))
        };
        self.trail.of(act, set).await?;
        Ok(Json(self.modes().await))
    }
}

impl SandboxApi {
    async fn modes(&self) -> SandboxModes {
        let (payment, stock, delivery, kitchen, promotion, notification) = tokio::join!(
            self.mode(Context::Payment),
            self.mode(Context::Stock),
            self.mode(Context::Delivery),
            self.mode(Context::Kitchen),
            self.mode(Context::Promotion),
            self.mode(Context::Notification)
        );
        SandboxModes { payment, stock, delivery, kitchen, promotion, notification }
    }

    async fn mode(&self, context: Context) -> Option<SandboxMode> {
        ask("sandbox.mode", self.sandbox.mode(context)).await.ok().map(SandboxMode::from)
    }
}

impl TryFrom<SandboxMode> for Mode {
    type Error = Problem;

    fn try_from(wanted: SandboxMode) -> Result<Self, Problem> {
        match (wanted.mode, wanted.delay_ms) {
            (ModeName::Up, None) => Ok(Self::Up),
            (ModeName::Down, None) => Ok(Self::Down),
            (ModeName::Slow, Some(Checked(DelayMs(delay_ms)))) => Ok(Self::Slow { delay_ms }),
            (ModeName::Slow, None) => Err(Problem::new(Kind::InvalidRequest, "Mode `slow` needs `delay_ms`.")),
            (ModeName::Up | ModeName::Down, Some(_)) => {
                Err(Problem::new(Kind::InvalidRequest, "Only mode `slow` takes `delay_ms`."))
            }
        }
    }
}

impl From<Mode> for SandboxMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Up => Self { mode: ModeName::Up, delay_ms: None },
            Mode::Down => Self { mode: ModeName::Down, delay_ms: None },
            Mode::Slow { delay_ms } => Self { mode: ModeName::Slow, delay_ms: Some(Checked(DelayMs(delay_ms))) },
        }
    }
}

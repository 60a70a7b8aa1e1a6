//! `/v1/merchants/{merchant_id}/webhooks`: where a merchant's own system is told what becomes of its orders. Keeps no
//! secret and sends nothing itself.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::registry::MetaSchema;
use poem_openapi::types::ToJSON;
use poem_openapi::{ApiResponse, Object, OpenApi};
use reqwest::Url;
use serde_json::json;
use tracing::warn;
use workflows::audit::Act;
use workflows::merchant::Merchants;
use workflows::notification::{
    self, Message, MessageAttempt, MessageQuery, Notifications, WEBHOOKS_PER_MERCHANT, WebhookPut, WebhookQuery,
    WebhookRef,
};
use workflows::{Context, MerchantId, MessageId, OrderId, WebhookName};

use crate::access::Caller;
use crate::ask::{Unanswered, ask};
use crate::audit::Trail;
use crate::body::Body;
use crate::engine::Engine;
use crate::json::{List, MessageStateName};
use crate::kind::Kind;
use crate::merchants;
use crate::orders::EventType;
use crate::problem::{Problem, Refused, refusals};
use crate::tags::Tag;
use crate::value::{Checked, Limit, Value, Written};

pub(crate) struct WebhooksApi {
    pub merchants: Arc<dyn Merchants>,
    pub notifications: Arc<dyn Notifications>,
    pub engine: Engine,
    pub trail: Trail,
}

refusals! {
    PutWebhook: InvalidRequest, Forbidden, NotFound, RequestTimeout, BodyTooLarge, UnsupportedMediaType, TryAgainLater,
        UpstreamUnavailable;
    ListWebhooks: Forbidden, NotFound, TryAgainLater, UpstreamUnavailable;
    GetWebhook: Forbidden, NotFound, UpstreamUnavailable;
    DeleteWebhook: Forbidden, NotFound, TryAgainLater, UpstreamUnavailable;
    ListWebhookDeliveries: InvalidRequest, Forbidden, NotFound, UpstreamUnavailable;
    ReplayWebhookDelivery: Forbidden, NotFound, TryAgainLater, UpstreamUnavailable;
}

/// What is said of a webhook.
#[derive(Object)]
#[oai(deny_unknown_fields)]
struct WebhookBody {
    /// Where its requests go.
    url: Checked<WebhookUrl>,
    /// The events that it wants; absent or empty: every change of an order's status.
    #[oai(nullable, validator(max_items = 50))]
    events: Option<Vec<EventType>>,
}

/// A webhook. Its secret is not told again.
#[derive(Object)]
struct Webhook {
    /// The merchant whose orders it tells of.
    merchant_id: Checked<MerchantId>,
    /// What the merchant calls it.
    name: Checked<WebhookName>,
    /// Where its requests go.
    url: String,
    /// The events that it wants, by name; empty: every change of an order's status.
    events: Vec<String>,
    /// When it was put first.
    created_at: Checked<DateTime<Utc>>,
    /// When it was put last.
    updated_at: Checked<DateTime<Utc>>,
}

/// A webhook that is new.
#[derive(Object)]
struct NewWebhook {
    #[oai(flatten)]
    webhook: Webhook,
    /// What its requests are signed with, as Standard Webhooks has it. Shown here and never again.
    secret: String,
}

#[derive(ApiResponse)]
enum WebhookSaved {
    /// The webhook was replaced. It keeps its secret, which is not shown again.
    #[oai(status = 200)]
    Replaced(Json<Webhook>),
    /// The webhook is new. Keep its secret.
    #[oai(status = 201)]
    Created(
        Json<NewWebhook>,
        /// Where the webhook can be read.
        #[oai(header = "Location")]
        String,
    ),
}

#[derive(ApiResponse)]
enum WebhookDeleted {
    /// The webhook is gone, and so are its secret and the log of its deliveries. What was still to be delivered is not.
    #[oai(status = 204)]
    Gone,
}

/// What was, or is to be, delivered to a webhook: one event of one order.
#[derive(Object)]
struct WebhookDelivery {
    /// The delivery's id; the requests carry it as `webhook-id`.
    id: Checked<MessageId>,
    /// The event's name, like `order_paid`.
    #[oai(rename = "type")]
    kind: String,
    /// The order that it is about.
    order_id: Checked<OrderId>,
    /// How far it is.
    state: MessageStateName,
    /// Every attempt at it, oldest first.
    attempts: Vec<Attempt>,
    /// When it was first to be delivered.
    created_at: Checked<DateTime<Utc>>,
    /// When it last changed.
    updated_at: Checked<DateTime<Utc>>,
}

/// One attempt at a delivery.
#[derive(Object)]
#[oai(rename = "WebhookAttempt")]
struct Attempt {
    /// When it was made.
    at: Checked<DateTime<Utc>>,
    /// How long it took.
    duration_ms: u32,
    /// The HTTP status of the answer; null where there was none.
    #[oai(nullable)]
    status_code: Option<u16>,
    /// What went wrong; null where nothing did.
    #[oai(nullable)]
    error: Option<String>,
}

#[derive(ApiResponse)]
enum Replayed {
    /// The delivery will be sent once more; the body is the delivery so far.
    #[oai(status = 202)]
    Taken(Json<WebhookDelivery>),
}

#[OpenApi(prefix_path = "/v1/merchants", tag = "Tag::Webhooks")]
impl WebhooksApi {
    /// Create or replace a webhook
    ///
    /// From now on its events are sent to `url`, signed as Standard Webhooks has it, and again on a schedule until they
    /// are answered with a 2xx. A webhook that is new has a `secret` in its answer, and nowhere else: whoever has lost
    /// it deletes the webhook and puts it again.
    #[oai(path = "/:merchant_id/webhooks/:name", method = "put", operation_id = "put_webhook")]
    async fn put(
        &self,
        caller: Caller,
        /// The merchant's id.
        merchant_id: Path<Checked<MerchantId>>,
        /// The webhook's name, which the caller chooses.
        name: Path<Checked<WebhookName>>,
        body: Body<WebhookBody>,
    ) -> Result<WebhookSaved, Refused<PutWebhook>> {
        caller.must_act_for(&merchant_id.0.0)?;
        let Body(body) = body;
        let merchant = merchants::find(&*self.merchants, &merchant_id.0.0).await?;
        let url = body.url.0.0;
        let put = WebhookPut {
            merchant_id: merchant.id,
            name: name.0.0,
            url,
            events: names(&body.events.unwrap_or_default()),
        };
        self.leave_room(&put).await?;
        let act = act(&caller, "put_webhook", &put.merchant_id, &put.name);
        let saved =
            async { ask("notification.put_webhook", self.notifications.put_webhook(&put)).await.map_err(unavailable) };
        let saved = self.trail.of(act, saved).await?;
        let webhook = Webhook::from(saved.webhook);
        Ok(match saved.secret {
            None => WebhookSaved::Replaced(Json(webhook)),
            Some(notification::Secret(secret)) => {
                let location = format!("/v1/merchants/{}/webhooks/{}", put.merchant_id, put.name);
                WebhookSaved::Created(Json(NewWebhook { webhook, secret }), location)
            }
        })
    }

    /// List a merchant's webhooks
    ///
    /// All of them, by name.
    #[oai(path = "/:merchant_id/webhooks", method = "get", operation_id = "list_webhooks")]
    async fn list(
        &self,
        caller: Caller,
        /// The merchant's id.
        merchant_id: Path<Checked<MerchantId>>,
    ) -> Result<Json<List<Webhook>>, Refused<ListWebhooks>> {
        caller.must_act_for(&merchant_id.0.0)?;
        let merchant = merchants::find(&*self.merchants, &merchant_id.0.0).await?;
        let query = WebhookQuery { merchant_id: merchant.id, name: None };
        let webhooks = ask("notification.webhooks", self.notifications.webhooks(&query)).await.map_err(unavailable)?;
        Ok(Json(webhooks.into_iter().map(Webhook::from).collect()))
    }

    /// Read a webhook
    #[oai(path = "/:merchant_id/webhooks/:name", method = "get", operation_id = "get_webhook")]
    async fn get(
        &self,
        caller: Caller,
        /// The merchant's id.
        merchant_id: Path<Checked<MerchantId>>,
        /// The webhook's name.
        name: Path<Checked<WebhookName>>,
    ) -> Result<Json<Webhook>, Refused<GetWebhook>> {
        caller.must_act_for(&merchant_id.0.0)?;
        Ok(Json(self.find(&of(merchant_id, name)).await?.into()))
    }

    /// Delete a webhook
    ///
    /// Nothing is sent to it any more, and the log of its deliveries goes with it.
    #[oai(path = "/:merchant_id/webhooks/:name", method = "delete", operation_id = "delete_webhook")]
    async fn delete(
        &self,
        caller: Caller,
        /// The merchant's id.
        merchant_id: Path<Checked<MerchantId>>,
        /// The webhook's name.
        name: Path<Checked<WebhookName>>,
    ) -> Result<WebhookDeleted, Refused<DeleteWebhook>> {
        caller.must_act_for(&merchant_id.0.0)?;
        let webhook = of(merchant_id, name);
        let act = act(&caller, "delete_webhook", &webhook.merchant_id, &webhook.name);
        let deleted = async {
            let deleted = ask("notification.delete_webhook", self.notifications.delete_webhook(&webhook)).await;
            if deleted.map_err(unavailable)? { Ok(WebhookDeleted::Gone) } else { Err(no_webhook(&webhook)) }
        };
        Ok(self.trail.of(act, deleted).await?)
    }

    /// List a webhook's deliveries
    ///
    /// Newest first, each with every attempt at it.
    #[oai(path = "/:merchant_id/webhooks/:name/deliveries", method = "get", operation_id = "list_webhook_deliveries")]
    async fn deliveries(
        &self,
        caller: Caller,
        /// The merchant's id.
        merchant_id: Path<Checked<MerchantId>>,
        /// The webhook's name.
        name: Path<Checked<WebhookName>>,
        /// How many at most.
        #[oai(default = "Limit::of_50")]
        limit: Query<Checked<Limit>>,
    ) -> Result<Json<List<WebhookDelivery>>, Refused<ListWebhookDeliveries>> {
        caller.must_act_for(&merchant_id.0.0)?;
        let Checked(Limit(limit)) = limit.0;
        let query = MessageQuery { webhook: of(merchant_id, name), message_id: None, limit };
        let messages = self.messages(&query).await?;
        if messages.is_empty() {
            self.find(&query.webhook).await?;
        }
        Ok(Json(messages.into_iter().map(WebhookDelivery::from).collect()))
    }

    /// Replay a delivery
    ///
    /// Sends it once more, whether or not it was delivered before, with the same `webhook-id`. How that went is among
    /// its attempts.
    #[oai(
        path = "/:merchant_id/webhooks/:name/deliveries/:delivery_id/replay",
        method = "post",
        operation_id = "replay_webhook_delivery"
    )]
    async fn replay(
        &self,
        caller: Caller,
        /// The merchant's id.
        merchant_id: Path<Checked<MerchantId>>,
        /// The webhook's name.
        name: Path<Checked<WebhookName>>,
        /// The delivery's id.
        delivery_id: Path<Checked<MessageId>>,
    ) -> Result<Replayed, Refused<ReplayWebhookDelivery>> {
        caller.must_act_for(&merchant_id.0.0)?;
        let Checked(id) = delivery_id.0;
        let query = MessageQuery { webhook: of(merchant_id, name), message_id: Some(id.clone()), limit: 1 };
        let message = self.messages(&query).await?.into_iter().next();
        let message = message.ok_or_else(|| Problem::not_found(format_args!("delivery {id} of that webhook")))?;
        let mut act = act(&caller, "replay_webhook_delivery", &query.webhook.merchant_id, &query.webhook.name);
        act.details = Some(json!({ "delivery_id": id }));
        let replayed = async {
            self.engine.replay(&id).await.map_err(|error| {
                warn!(message_id = %id, %error, "replay not handed to the engine");
                Problem::new(
                    Kind::TryAgainLater,
                    "The replay was not taken. Ask again after Retry-After: at worst the delivery is sent twice.",
                )
            })
        };
        self.trail.of(act, replayed).await?;
        Ok(Replayed::Taken(Json(message.into())))
    }
}

impl WebhooksApi {
    async fn find(&self, webhook: &WebhookRef) -> Result<notification::Webhook, Problem> {
        let WebhookRef { merchant_id, name } = webhook.clone();
        let query = WebhookQuery { merchant_id, name: Some(name) };
        let found = ask("notification.webhooks", self.notifications.webhooks(&query)).await.map_err(unavailable)?;
        found.into_iter().next().ok_or_else(|| no_webhook(webhook))
    }

    async fn messages(&self, query: &MessageQuery) -> Result<Vec<Message>, Problem> {
        ask("notification.messages", self.notifications.messages(query)).await.map_err(unavailable)
    }
}

impl WebhooksApi {
    /// A merchant has so many webhooks at most; replacing one of them makes no difference.
    async fn leave_room(&self, put: &WebhookPut) -> Result<(), Problem> {
        let query = WebhookQuery { merchant_id: put.merchant_id.clone(), name: None };
        let webhooks = ask("notification.webhooks", self.notifications.webhooks(&query)).await.map_err(unavailable)?;
        if webhooks.len() < WEBHOOKS_PER_MERCHANT || webhooks.iter().any(|webhook| webhook.name == put.name) {
            return Ok(());
        }
        let detail = format!("A merchant has {WEBHOOKS_PER_MERCHANT} webhooks at most. Delete one of them first.");
        Err(Problem::new(Kind::InvalidRequest, detail))
    }
}

/// What a caller sets out to do with a webhook.
fn act(caller: &Caller, action: &'static str, merchant_id: &MerchantId, name: &WebhookName) -> Act {
    Act {
        merchant_id: Some(merchant_id.clone()),
        target: Some(format!("merchants/{merchant_id}/webhooks/{name}")),
        ..Act::new(caller.actor(), action)
    }
}

fn of(merchant_id: Path<Checked<MerchantId>>, name: Path<Checked<WebhookName>>) -> WebhookRef {
    WebhookRef { merchant_id: merchant_id.0.0, name: name.0.0 }
}

/// The events' names, each once.
fn names(events: &[EventType]) -> Vec<String> {
    let mut names = Vec::new();
    for name in events.iter().filter_map(ToJSON::to_json).filter_map(|name| name.as_str().map(str::to_owned)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn no_webhook(WebhookRef { merchant_id, name }: &WebhookRef) -> Problem {
    Problem::not_found(format_args!("webhook {name} of merchant {merchant_id}"))
}

fn unavailable(unanswered: Unanswered) -> Problem {
    unanswered.by(Context::Notification)
}

impl From<notification::Webhook> for Webhook {
    fn from(webhook: notification::Webhook) -> Self {
        Self {
            merchant_id: Checked(webhook.merchant_id),
            name: Checked(webhook.name),
            url: webhook.url,
            events: webhook.events,
            created_at: Checked(webhook.created_at),
            updated_at: Checked(webhook.updated_at),
        }
    }
}

impl From<Message> for WebhookDelivery {
    fn from(message: Message) -> Self {
        Self {
            id: Checked(message.id),
            kind: message.kind,
            order_id: Checked(message.order_id),
            state: message.state.into(),
            attempts: message.attempts.into_iter().map(Attempt::from).collect(),
            created_at: Checked(message.created_at),
            updated_at: Checked(message.updated_at),
        }
    }
}

impl From<MessageAttempt> for Attempt {
    fn from(attempt: MessageAttempt) -> Self {
        Self {
            at: Checked(attempt.at),
            duration_ms: attempt.duration_ms,
            status_code: attempt.status_code,
            error: attempt.error,
        }
    }
}

/// Where a webhook's requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebhookUrl(pub String);

impl WebhookUrl {
    const MAX_LENGTH: usize = 2048;
}

impl Value for WebhookUrl {
    const NAME: &'static str = "URL";
    const FORM: &'static str = "an absolute http or https URL of at most 2048 characters, without user and password";

    fn schema() -> MetaSchema {
        MetaSchema {
            max_length: Some(Self::MAX_LENGTH),
            pattern: Some("^https?://".to_owned()),
            example: Some("https://erp.example/jumun".into()),
            ..MetaSchema::new_with_format("string", "uri")
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        // The parser would forgive blanks, backslashes, and slashes that are missing or too many. Names of hosts in other
        // scripts are written as they are looked up (`xn--…`).
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        let well_formed = plain && !rest.starts_with('/') && text.chars().count() <= Self::MAX_LENGTH;
        let url = Url::parse(text).ok().filter(|_| well_formed)?;
        let anonymous = url.username().is_empty() && url.password().is_none();
        (anonymous && url.has_host()).then(|| Self(text.to_owned()))
    }
}

impl Written for WebhookUrl {
    fn to_json(&self) -> serde_json::Value {
        self.0.as_str().into()
    }
}

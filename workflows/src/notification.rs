//! Notification: the vocabulary and the port. The adapter is in `activities/src/notification/`, and what keeps trying is
//! in `notification/workflow.rs`.

pub mod workflow;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::provider::Listing;
use crate::{MerchantId, MessageId, Money, NotificationId, OrderId, ProviderError, Status, WebhookName};

/// So many webhooks a merchant may have.
pub const WEBHOOKS_PER_MERCHANT: usize = 20;

/// What has just become true of an order, in the order in which it did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Notice {
    pub order_id: OrderId,
    pub merchant_id: MerchantId,
    pub total: Money,
    /// Whom a message to the customer goes to.
    pub recipient: String,
    pub phone: String,
    pub events: Vec<NoticedEvent>,
}

/// One event of a notice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NoticedEvent {
    /// Its number among the order's events.
    pub number: u32,
    /// Its name, like `order_paid`.
    #[serde(rename = "type")]
    pub kind: String,
    pub at: DateTime<Utc>,
    /// The order's status after it.
    pub status: Status,
    /// Whether the status was another before. Each such event is one notification.
    pub status_changed: bool,
    /// The status for people, in Korean.
    pub status_label: String,
    /// Why the order was rejected or cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One status change of an order, as it was made known. There is exactly one for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Notification {
    pub id: NotificationId,
    pub order_id: OrderId,
    pub merchant_id: MerchantId,
    /// The number of the event that changed the status.
    pub number: u32,
    #[serde(rename = "type")]
    pub kind: String,
    pub status: Status,
    pub status_label: String,
    /// When the status changed.
    pub at: DateTime<Utc>,
    /// When the notification was recorded.
    pub created_at: DateTime<Utc>,
    /// What goes out by channels that can fail. The log is not among them.
    pub messages: Vec<MessageSummary>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MessageSummary {
    pub id: MessageId,
    pub channel: Channel,
    pub state: MessageState,
}

/// A way to make something known. Written as `log`, `template` or `webhook-NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Channel {
    /// The provider's own log.
    Log,
    /// A message to the customer by template, as `KakaoTalk` has it.
    Template,
    /// An HTTP request to the merchant.
    Webhook(WebhookName),
}

impl Channel {
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        match text {
            "log" => Some(Self::Log),
            "template" => Some(Self::Template),
            _ => text.strip_prefix("webhook-")?.parse().ok().map(Self::Webhook),
        }
    }
}

impl TryFrom<String> for Channel {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::read(&text).ok_or_else(|| format!("`{text}` is no channel"))
    }
}

impl From<Channel> for String {
    fn from(channel: Channel) -> Self {
        channel.to_string()
    }
}

impl std::fmt::Display for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Log => f.write_str("log"),
            Self::Template => f.write_str("template"),
            Self::Webhook(name) => write!(f, "webhook-{name}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// Not there yet; it is tried again.
    Pending,
    Delivered,
    /// Not there, and not tried again by itself.
    Failed,
}

/// What one channel is to deliver of one event, with every attempt at it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    pub id: MessageId,
    pub channel: Channel,
    pub order_id: OrderId,
    pub merchant_id: MerchantId,
    #[serde(rename = "type")]
    pub kind: String,
    pub state: MessageState,
    /// Oldest first.
    pub attempts: Vec<MessageAttempt>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// One attempt at a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MessageAttempt {
    pub at: DateTime<Utc>,
    pub duration_ms: u32,
    /// The HTTP status of the answer; absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    /// What went wrong, in words; absent where nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One attempt to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptRequest {
    pub message_id: MessageId,
    /// How often it has failed by now, which says how long to wait after this one.
    pub failures: u32,
    /// Somebody wants it sent again, whether or not it was delivered before.
    #[serde(default)]
    pub replay: bool,
}

/// How an attempt went. Only an attempt that could not even be made is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Attempted {
    Delivered,
    Failed {
        /// When to try again; absent: not any more.
        retry_in_ms: Option<u64>,
    },
}

/// A merchant's webhook. Its secret is not part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Webhook {
    pub merchant_id: MerchantId,
    pub name: WebhookName,
    pub url: String,
    /// The events that it wants, by name; empty: every change of an order's status.
    pub events: Vec<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What is said of a webhook when it is put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookPut {
    pub merchant_id: MerchantId,
    pub name: WebhookName,
    pub url: String,
    pub events: Vec<String>,
}

/// A webhook that was put.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WebhookSaved {
    pub webhook: Webhook,
    /// The signing secret (`whsec_…`) of a webhook that is new. It is not told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
}

/// A signing secret. Never logged: its `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Which of a merchant's webhooks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookQuery {
    pub merchant_id: MerchantId,
    /// Only the one of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<WebhookName>,
}

/// A webhook, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookRef {
    pub merchant_id: MerchantId,
    pub name: WebhookName,
}

/// Which of a webhook's messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageQuery {
    pub webhook: WebhookRef,
    /// Only that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// At most so many.
    pub limit: u32,
}

/// What the notification workflows and the API ask of the notification context.
#[async_trait]
pub trait Notifications: Send + Sync {
    /// Records a notification for each change of the status, writes it to the log, and answers the messages that are to
    /// be delivered, in the order of their events. Repeating it records nothing and answers the same.
    async fn send(&self, notice: &Notice) -> Result<Vec<MessageId>, ProviderError>;

    /// Makes one attempt to deliver a message, and keeps how it went. One that was delivered before is not sent again,
    /// unless it is a replay.
    async fn deliver(&self, request: &AttemptRequest) -> Result<Attempted, ProviderError>;

    /// Notifications: those of one order in the order in which its status changed, or those of all orders, newest first.
    async fn notifications(&self, listing: &Listing) -> Result<Vec<Notification>, ProviderError>;

    /// Creates or replaces a webhook; its secret is made when it is created, and stays when it is replaced. Impossible
    /// where its URL is none to send to, or where the merchant has [`WEBHOOKS_PER_MERCHANT`] others.
    async fn put_webhook(&self, put: &WebhookPut) -> Result<WebhookSaved, ProviderError>;

    /// A merchant's webhooks, by name.
    async fn webhooks(&self, query: &WebhookQuery) -> Result<Vec<Webhook>, ProviderError>;

    /// Removes a webhook and its secret; `false` where there is none. What is still to be delivered to it fails, and what
    /// was sent to it is not among the messages of a later one of the same name.
    async fn delete_webhook(&self, webhook: &WebhookRef) -> Result<bool, ProviderError>;

    /// Messages to a webhook, newest first.
    async fn messages(&self, query: &MessageQuery) -> Result<Vec<Message>, ProviderError>;
}

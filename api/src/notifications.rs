//! `/v1/notifications`: what was made known of orders, as the notification context tells it through the gateway.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use workflows::notification::{self, MessageSummary, Notifications};
use workflows::{Context, MerchantId, MessageId, NotificationId, OrderId};

use crate::access::Caller;
use crate::ask::ask;
use crate::contexts::listing;
use crate::json::{List, MessageStateName, StatusName};
use crate::problem::{Refused, refusals};
use crate::tags::Tag;
use crate::value::{Checked, Limit};

pub(crate) struct NotificationsApi {
    pub notifications: Arc<dyn Notifications>,
}

refusals! {
    ListNotifications: InvalidRequest, Forbidden, UpstreamUnavailable;
}

/// One change of an order's status, as it was made known.
#[derive(Object)]
struct Notification {
    /// The notification's id.
    id: Checked<NotificationId>,
    /// The order whose status changed.
    order_id: Checked<OrderId>,
    /// Who sells.
    merchant_id: Checked<MerchantId>,
    /// The number of the event that changed the status, among the order's events.
    number: u32,
    /// The event's name, like `order_paid`.
    #[oai(rename = "type")]
    kind: String,
    /// The status since then.
    status: StatusName,
    /// The status for people, in Korean.
    status_label: String,
    /// When the status changed.
    at: Checked<DateTime<Utc>>,
    /// When the notification was recorded.
    created_at: Checked<DateTime<Utc>>,
    /// What went out of it, by channel. Everything is written to the log, which is not listed here.
    messages: Vec<Message>,
}

/// What one channel is to deliver of a notification.
#[derive(Object)]
#[oai(rename = "NotificationMessage")]
struct Message {
    /// The message's id. Of a webhook's message it is the id of the delivery.
    id: Checked<MessageId>,
    /// By which way: `template`, or `webhook-` and the webhook's name.
    channel: String,
    /// How far it is.
    state: MessageStateName,
}

#[OpenApi(prefix_path = "/v1", tag = "Tag::Contexts")]
impl NotificationsApi {
    /// List notifications
    ///
    /// One for each change of an order's status. Those of one order (`order_id`) in the order in which its status
    /// changed; those of all orders newest first.
    #[oai(path = "/notifications", method = "get", operation_id = "list_notifications")]
    async fn notifications(
        &self,
        caller: Caller,
        /// Only the notifications of this order.
        order_id: Query<Option<Checked<OrderId>>>,
        /// How many at most.
        #[oai(default = "Limit::of_50")]
        limit: Query<Checked<Limit>>,
    ) -> Result<Json<List<Notification>>, Refused<ListNotifications>> {
        let listing = listing(&caller, order_id, limit)?;
        let notifications = ask("notification.list", self.notifications.notifications(&listing)).await;
        let notifications = notifications.map_err(|unanswered| unanswered.by(Context::Notification))?;
        Ok(Json(notifications.into_iter().map(Notification::from).collect()))
    }
}

impl From<notification::Notification> for Notification {
    fn from(notification: notification::Notification) -> Self {
        Self {
            id: Checked(notification.id),
            order_id: Checked(notification.order_id),
            merchant_id: Checked(notification.merchant_id),
            number: notification.number,
            kind: notification.kind,
            status: notification.status.into(),
            status_label: notification.status_label,
            at: Checked(notification.at),
            created_at: Checked(notification.created_at),
            messages: notification.messages.into_iter().map(Message::from).collect(),
        }
    }
}

impl From<MessageSummary> for Message {
    fn from(message: MessageSummary) -> Self {
        Self { id: Checked(message.id), channel: message.channel.to_string(), state: message.state.into() }
    }
}

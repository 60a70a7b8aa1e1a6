//! What keeps trying until everybody knows. One queue for each order keeps its notifications in order; one queue for
//! each of its channels keeps that channel's messages in order, so that a dead webhook holds up nobody else.

use std::sync::Arc;
use std::time::Duration;

use restate_sdk::context::HeaderMap;
use restate_sdk::prelude::*;
use restate_sdk::serde::Json;
use tracing::Instrument;

use super::{AttemptRequest, Attempted, Notice, Notifications};
use crate::durable::{self, Failed};
use crate::measures::called_webhook;
use crate::trace::{self, Within};
use crate::{Capacity, MessageId, Step};

/// An order's notifications. Its key is the order's id.
pub struct NotificationQueue {
    pub notifications: Arc<dyn Notifications>,
    pub capacity: Capacity,
}

#[restate_sdk::object(
    name = "notification",
    // What people need to know later is in the history.
    journal_retention = "10 min",
    invocation_retry_policy(
        initial_interval = "100ms",
        factor = 2.0,
        max_interval = "3s",
        max_attempts = 1_000_000_000,
        on_max_attempts = "pause"
    )
)]
impl NotificationQueue {
    /// Makes known what has become true of the order.
    #[handler]
    async fn send(&self, ctx: ObjectContext<'_>, notice: Json<Notice>) -> HandlerResult<()> {
        let Json(notice) = notice;
        let span = trace::handling("notification.send", ctx.key(), ctx.headers());
        let messages = self.make_known(&ctx, &notice).instrument(span).await;
        deliver(&ctx, ctx.headers(), &messages);
        Ok(())
    }
}

/// Puts each message into its queue.
pub(crate) fn deliver<'ctx>(ctx: &impl ContextClient<'ctx>, headers: &HeaderMap, messages: &[MessageId]) {
    for message in messages {
        let queue = ctx.object_client::<MessageQueueClient>(queue_of(message));
        queue.deliver(Json(message.clone())).within(headers).send();
    }
}

impl NotificationQueue {
    /// The messages that somebody is to be sent.
    async fn make_known(&self, ctx: &ObjectContext<'_>, notice: &Notice) -> Vec<MessageId> {
        let step = Step::NotificationSend;
        loop {
            let (notifications, capacity, notice) = (&self.notifications, &self.capacity, notice.clone());
            let policy = step.default_policy();
            let heard = ctx
                .run(move || async move {
                    let asked = notifications.send(&notice);
                    let sent = durable::attempt(capacity, step, policy.attempt_timeout(), asked).await;
                    Ok(Json(sent.map_err(Failed::into_error)?))
                })
                .name(step.name())
                .retry_policy(durable::retries(&policy))
                .await;
            // The engine's cancel button does not keep anybody from knowing.
            if let Ok(Json(messages)) = heard {
                return messages;
            }
        }
    }
}

/// One channel's messages about one order. Its key is both, or the message's id where it is a replay.
pub struct MessageQueue {
    pub notifications: Arc<dyn Notifications>,
    pub capacity: Capacity,
}

#[restate_sdk::object(
    name = "message",
    journal_retention = "10 min",
    invocation_retry_policy(
        initial_interval = "100ms",
        factor = 2.0,
        max_interval = "3s",
        max_attempts = 1_000_000_000,
        on_max_attempts = "pause"
    )
)]
impl MessageQueue {
    /// Tries until the message is delivered or its schedule is at its end. The engine's cancel button cuts a wait short.
    #[handler]
    async fn deliver(&self, ctx: ObjectContext<'_>, message: Json<MessageId>) -> HandlerResult<()> {
        let Json(message_id) = message;
        let span = trace::handling("message.deliver", ctx.key(), ctx.headers());
        self.keep_trying(&ctx, message_id).instrument(span).await;
        Ok(())
    }

    /// Sends the message once more.
    #[handler]
    async fn replay(&self, ctx: ObjectContext<'_>, message: Json<MessageId>) -> HandlerResult<()> {
        let Json(message_id) = message;
        self.attempt(&ctx, AttemptRequest { message_id, failures: 0, replay: true }).await;
        Ok(())
    }
}

impl MessageQueue {
    async fn keep_trying(&self, ctx: &ObjectContext<'_>, message_id: MessageId) {
        for failures in 0.. {
            let request = AttemptRequest { message_id: message_id.clone(), failures, replay: false };
            match self.attempt(ctx, request).await {
                Attempted::Failed { retry_in_ms: Some(delay) } => {
                    let _ = ctx.sleep(Duration::from_millis(delay)).await;
                }
                Attempted::Delivered | Attempted::Failed { retry_in_ms: None } => break,
            }
        }
    }

    /// One attempt that is certain to have been made: an interruption can come instead of it.
    async fn attempt(&self, ctx: &ObjectContext<'_>, request: AttemptRequest) -> Attempted {
        let step = Step::NotificationDeliver;
        let policy = step.default_policy();
        loop {
            let (notifications, capacity, request) = (&self.notifications, &self.capacity, request.clone());
            let attempted = ctx
                .run(move || async move {
                    let attempt = notifications.deliver(&request);
                    let attempted = durable::attempt(capacity, step, policy.attempt_timeout(), attempt).await;
                    if let (Ok(attempted), true) = (&attempted, is_to_webhook(&request.message_id)) {
                        called_webhook(matches!(attempted, Attempted::Delivered));
                    }
                    Ok(Json(attempted.map_err(Failed::into_error)?))
                })
                .name(step.name())
                .retry_policy(durable::retries(&policy))
                .await;
            if let Ok(Json(attempted)) = attempted {
                return attempted;
            }
        }
    }
}

fn is_to_webhook(message: &MessageId) -> bool {
    message.as_str().split_once('.').is_some_and(|(_, channel)| channel.starts_with("webhook-"))
}

/// `ORDER/CHANNEL`: the messages of one channel about one order, one after another.
fn queue_of(message: &MessageId) -> String {
    let (notification, channel) = message.as_str().split_once('.').expect("a message id has a dot");
    let (order, _) = notification.rsplit_once('_').expect("a notification id has a number");
    format!("{}/{channel}", order.replacen("ntf_", "ord_", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_one_channel_about_one_order_share_a_queue() {
        let message: MessageId = format!("ntf_{:032x}_12.webhook-erp", 7).parse().expect("a message id");
        assert_eq!(queue_of(&message), format!("ord_{:032x}/webhook-erp", 7));
    }
}

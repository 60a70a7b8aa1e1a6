//! Notification, built in: the history of what was made known of each order, and one attempt at a time to deliver it by
//! the channels that can fail. What tries again is the workflow; nothing here waits for a second attempt.
//!
//! - **log**: one line for each notification, without personal data, when it is recorded.
//! - **webhook** (`webhook.rs`): a signed request to the merchant, as [Standard Webhooks] has it, to addresses of the internet only
//!   unless settings allow others (`address.rs`).
//! - **template** (`template.rs`): a message to the customer, as `KakaoTalk` has them.
//!
//! [Standard Webhooks]: https://github.com/standard-webhooks/standard-webhooks

mod address;
mod attempt;
mod history;
mod template;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound, Utc};
use tracing::{info, warn};
use workflows::notification::{
    AttemptRequest, Attempted, Channel, Message, MessageQuery, MessageState, Notice, NoticedEvent, Notification,
    Notifications, Webhook, WebhookPut, WebhookQuery, WebhookRef, WebhookSaved,
};
use workflows::provider::Listing;
use workflows::{Context, MessageId, OrderId, ProviderError};

use self::attempt::{Answer, Sender};
use self::history::{History, Letter};
use self::webhook::{Registered, WebhookBook};
use crate::Modes;
use crate::setup::{NotificationSettings, WebhooksTo};
use crate::store::{Database, StoreError};

const GIVEN_UP: Attempted = Attempted::Failed { retry_in_ms: None };

/// The built-in provider, over a database of its own.
pub struct BuiltIn {
    history: History,
    webhooks: WebhookBook,
    to_merchants: Sender,
    to_customers: Sender,
    settings: Arc<NotificationSettings>,
    modes: Arc<Modes>,
}

impl BuiltIn {
    /// # Errors
    /// Where the store refuses a definition.
    pub async fn open(
        database: Database,
        modes: Arc<Modes>,
        settings: NotificationSettings,
    ) -> Result<Self, StoreError> {
        let settings = Arc::new(settings);
        let webhooks = WebhookBook::open(database.clone()).await?;
        Ok(Self {
            history: History::open(database, webhooks.addressees(), settings.clone()).await?,
            webhooks,
            to_merchants: Sender::new(settings.attempt_timeout, settings.webhooks_to.unwrap_or(WebhooksTo::Anywhere)),
            // Where their messages go is ours to say.
            to_customers: Sender::new(settings.attempt_timeout, WebhooksTo::Anywhere),
            settings,
            modes,
        })
    }

    /// One attempt at the letter; `None` where nobody is there to take it any more.
    async fn attempt(&self, letter: &Letter) -> Result<Option<Answer>, StoreError> {
        let Letter { message, webhook, body } = letter;
        let (sender, request) = match &message.channel {
            Channel::Log => return Ok(None),
            Channel::Template => {
                let Some(settings) = &self.settings.template else { return Ok(None) };
                let sender = &self.to_customers;
                (sender, template::request(&sender.client, settings, &message.id, body))
            }
            Channel::Webhook(name) => {
                let target = self.webhooks.target(&message.merchant_id, name, webhook.as_deref()).await?;
                let (Some(target), sender) = (target, &self.to_merchants) else { return Ok(None) };
                (sender, webhook::request(&sender.client, &target, &message.id, body))
            }
        };
        Ok(Some(sender.make(request).await))
    }
}

#[async_trait]
impl Notifications for BuiltIn {
    async fn send(&self, notice: &Notice) -> Result<Vec<MessageId>, ProviderError> {
        self.modes.pass(Context::Notification).await?;
        // What was recorded, also by somebody else at this moment, is what counts. That there is any is rare, so it is only
        // read once something was found to be there, and each turn finds more of it.
        let mut told = BTreeMap::<u32, Vec<MessageId>>::new();
        loop {
            let is_new = |event: &&NoticedEvent| !told.contains_key(&event.number);
            let news: BTreeMap<u32, &NoticedEvent> =
                notice.events.iter().filter(is_new).map(|event| (event.number, event)).collect();
            if news.is_empty() {
                return Ok(notice.events.iter().filter_map(|event| told.remove(&event.number)).flatten().collect());
            }
            let events = news.values().copied().cloned().collect();
            match self.history.record(Notice { events, ..notice.clone() }).await {
                Ok(recorded) => {
                    for event in news.into_values() {
                        log(&notice.order_id, event);
                    }
                    told.extend(recorded);
                }
                Err(StoreError::Exists) => {
                    let known = told.len();
                    told = self.history.told(notice).await?;
                    if told.len() <= known {
                        return Err(ProviderError::unavailable("what was recorded before cannot be read"));
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn deliver(&self, request: &AttemptRequest) -> Result<Attempted, ProviderError> {
        self.modes.pass(Context::Notification).await?;
        let (id, by_itself) = (&request.message_id, !request.replay);
        let Some(letter) = self.history.letter(id).await? else {
            return Ok(GIVEN_UP);
        };
        match letter.message.state {
            MessageState::Delivered if by_itself => return Ok(Attempted::Delivered),
            MessageState::Failed if by_itself => return Ok(GIVEN_UP),
            _ => {}
        }
        let answer = self.attempt(&letter).await?;
        let attempted = match &answer {
            Some(answer) if answer.is_success() => Attempted::Delivered,
            Some(answer) if by_itself => Attempted::Failed {
                retry_in_ms: attempt::retry_in_ms(answer, request.failures, &self.settings.schedule),
            },
            _ => GIVEN_UP,
        };
        let state = match attempted {
            Attempted::Delivered => Some(MessageState::Delivered),
            GIVEN_UP if by_itself => Some(MessageState::Failed),
            // By hand, a message is tried once. Whether it goes on by itself is another matter.
            Attempted::Failed { .. } => None,
        };
        let attempt = answer.map(|answer| answer.attempt);
        match self.history.settle(id, attempt.as_ref(), state).await? {
            // Somebody sent it by hand meanwhile.
            MessageState::Delivered if by_itself => Ok(Attempted::Delivered),
            MessageState::Failed if by_itself => {
                warn!(target: "notification", message_id = %id, "message given up");
                Ok(GIVEN_UP)
            }
            _ => Ok(attempted),
        }
    }

    async fn notifications(&self, listing: &Listing) -> Result<Vec<Notification>, ProviderError> {
        self.modes.pass(Context::Notification).await?;
        Ok(self.history.notifications(listing).await?)
    }

    async fn put_webhook(&self, put: &WebhookPut) -> Result<WebhookSaved, ProviderError> {
        self.modes.pass(Context::Notification).await?;
        self.webhooks.put(put).await
    }

    async fn webhooks(&self, query: &WebhookQuery) -> Result<Vec<Webhook>, ProviderError> {
        self.modes.pass(Context::Notification).await?;
        Ok(self.webhooks.list(query).await?)
    }

    async fn delete_webhook(&self, webhook: &WebhookRef) -> Result<bool, ProviderError> {
        self.modes.pass(Context::Notification).await?;
        Ok(self.webhooks.delete(webhook).await?)
    }

    async fn messages(&self, query: &MessageQuery) -> Result<Vec<Message>, ProviderError> {
        self.modes.pass(Context::Notification).await?;
        match self.webhooks.key(&query.webhook).await? {
            Some(key) => Ok(self.history.messages(&key, query.message_id.as_ref(), query.limit).await?),
            None => Ok(Vec::new()),
        }
    }
}

/// What is to be made known of an event, and to whom, as things are now: to the customer, then to each webhook by its name,
/// which is the order of channels.
fn letters(
    settings: &NotificationSettings,
    notice: &Notice,
    event: &NoticedEvent,
    webhooks: &[Registered],
    at: DateTime<Utc>,
) -> Vec<Letter> {
    let letter = |channel: Channel, webhook: Option<String>, body: String| Letter {
        message: Message {
            id: notice.order_id.notification(event.number).message(&channel),
            channel,
            order_id: notice.order_id.clone(),
            merchant_id: notice.merchant_id.clone(),
            kind: event.kind.clone(),
            state: MessageState::Pending,
            attempts: Vec::new(),
            created_at: at,
            updated_at: at,
        },
        webhook,
        body,
    };
    let templates = settings.template.as_ref().filter(|_| event.status_changed);
    let template = templates.and_then(|settings| settings.templates.get(&event.status));
    let to_customer = template.map(|template| letter(Channel::Template, None, template::body(template, notice, event)));
    let to_merchant = webhooks.iter().filter(|webhook| webhook.wants(event)).map(|webhook| {
        letter(Channel::Webhook(webhook.name.clone()), Some(webhook.key.clone()), webhook::body(notice, event))
    });
    to_customer.into_iter().chain(to_merchant).collect()
}

/// The log's line, where the status changed. Whoever stops between recording and this leaves it out: the history is what
/// counts.
fn log(order_id: &OrderId, event: &NoticedEvent) {
    if event.status_changed {
        info!(target: "notification", %order_id, status = event.status.as_str(), number = event.number, "new status");
    }
}

fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

#[cfg(test)]
#[path = "receiver_test.rs"]
mod receiver;
#[cfg(test)]
#[path = "notification_test.rs"]
mod tests;

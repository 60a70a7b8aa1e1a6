//! Where everything is: what the binary says when it opens the activities.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use workflows::notification::Secret;
use workflows::{Context, Status};

use crate::{CardKeys, Modes, Store};

/// The adapters' places.
pub struct Setup {
    /// The store of orders and merchants, and of every built-in provider that has none of its own.
    pub store: Store,
    /// Where payments are kept, if not in `store`: `postgres://…`, or any URL that [`Store::open`] takes.
    pub payment_store: Option<String>,
    /// With which cards are sealed and opened.
    pub card_keys: CardKeys,
    /// Providers in processes of their own, by base URL. All others are built in.
    pub remote: BTreeMap<Context, String>,
    pub notifications: NotificationSettings,
    /// The sandbox's switchboard for the built-in ones.
    pub modes: Arc<Modes>,
}

/// How messages reach people.
#[derive(Clone, Debug)]
pub struct NotificationSettings {
    /// How long to wait after the first, second, … failed attempt; after the last, a message is given up.
    pub schedule: Vec<Duration>,
    /// How long one request to a webhook or a template service may take.
    pub attempt_timeout: Duration,
    /// Where webhooks may be. Absent: anywhere.
    pub webhooks_to: Option<WebhooksTo>,
    /// Absent: no message goes to customers.
    pub template: Option<TemplateSettings>,
}

/// Where webhooks may be, whatever URL a merchant names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhooksTo {
    /// At addresses of the internet: none of this machine and none of a private network, which merchants are not to look into.
    Public,
    Anywhere,
}

/// A service that sends messages to customers by template, as `KakaoTalk` has them.
#[derive(Clone, Debug)]
pub struct TemplateSettings {
    /// Where messages are posted.
    pub endpoint: String,
    /// Sent as `Authorization: Bearer …`.
    pub api_key: Secret,
    /// Which sender profile messages come from.
    pub sender_key: Secret,
    /// The template of each status. A status without one sends nothing.
    pub templates: BTreeMap<Status, Template>,
}

/// A registered template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// What the service knows it by.
    pub code: String,
    /// The text, with `#{order_id}`, `#{name}`, `#{status}`, `#{total}` and `#{reason}` to be filled in.
    pub text: String,
}

impl Default for NotificationSettings {
    /// The schedule that Standard Webhooks recommends: ten attempts over three days.
    fn default() -> Self {
        let schedule = [
            Duration::from_secs(5),
            Duration::from_mins(5),
            Duration::from_mins(30),
            Duration::from_hours(2),
            Duration::from_hours(5),
            Duration::from_hours(10),
            Duration::from_hours(14),
            Duration::from_hours(20),
            Duration::from_hours(24),
        ];
        Self {
            schedule: schedule.to_vec(),
            attempt_timeout: Duration::from_secs(15),
            webhooks_to: None,
            template: None,
        }
    }
}

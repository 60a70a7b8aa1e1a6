//! Webhooks: where a merchant wants to be told, and the signed request that tells, as Standard Webhooks has it. A secret
//! leaves the store to sign a request, and once to whoever created the webhook; never to a log or a listing.
//!
//! `POST` with the headers `webhook-id` (the message's id, the same for every attempt), `webhook-timestamp` (the attempt's
//! time) and `webhook-signature` (`v1,` and the HMAC-SHA256 of `ID.TIMESTAMP.BODY`), and the body
//! `{"type": "order_paid", "timestamp": …, "data": {"order_id", "merchant_id", "number", "status", "status_changed",
//! "reason", "total"}}`, the same to the byte for every attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::Utc;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, Url};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use workflows::notification::{
    Notice, NoticedEvent, Secret, WEBHOOKS_PER_MERCHANT, Webhook, WebhookPut, WebhookQuery, WebhookRef, WebhookSaved,
};
use workflows::{MerchantId, MessageId, ProviderError, WebhookName};

use super::now;
use crate::cache::Cache;
use crate::store::{Database, StoreError};

const LONGEST_URL: usize = 2048;

/// A webhook, as `send` sees it.
#[derive(Clone, Deserialize)]
pub struct Registered {
    pub name: WebhookName,
    /// Tells it from an earlier or later one of the same name.
    pub key: String,
    events: Vec<String>,
}

impl Registered {
    pub fn wants(&self, event: &NoticedEvent) -> bool {
        if self.events.is_empty() { event.status_changed } else { self.events.contains(&event.kind) }
    }
}

/// Where a message goes, and what signs it.
#[derive(Deserialize)]
pub struct Target {
    url: String,
    secret: Secret,
}

/// Each merchant's webhooks, by name. Every notice asks for them, and few merchants have any.
pub type Addressees = Cache<MerchantId, Arc<[Registered]>>;

pub struct WebhookBook {
    database: Database,
    addressees: Arc<Addressees>,
}

impl WebhookBook {
    pub async fn open(database: Database) -> Result<Self, StoreError> {
        database.define("DEFINE TABLE IF NOT EXISTS webhooks SCHEMALESS").await?;
        Ok(Self { addressees: Arc::new(Cache::of(&database)), database })
    }

    pub fn addressees(&self) -> Arc<Addressees> {
        self.addressees.clone()
    }

    /// Creates or replaces a webhook. The secret and the key are made when it is created, and stay.
    ///
    /// # Errors
    /// Impossible where the URL is none that a message can go to, or the merchant has [`WEBHOOKS_PER_MERCHANT`] already. Two that
    /// are created at the same moment may both be the last.
    pub async fn put(&self, put: &WebhookPut) -> Result<WebhookSaved, ProviderError> {
        #[derive(Deserialize)]
        struct Row {
            #[serde(flatten)]
            webhook: Webhook,
            key: String,
        }
        if !is_target(&put.url) {
            return Err(ProviderError::impossible(
                "a webhook's URL is an absolute one of http or https, without a user",
            ));
        }
        let (secret, key) = (new_secret(), format!("{:032x}", rand::random::<u128>()));
        let statements = "
            BEGIN;
            LET $record = type::record('webhooks', [$merchant_id, $name]);
            LET $before = (SELECT * FROM ONLY $record);
            IF $before = NONE AND array::len((SELECT VALUE name FROM webhooks:[$merchant_id, '']..=[$merchant_id, '~'])) >= $most {
                THROW 'too many webhooks'
            };
            UPSERT $record CONTENT {
                merchant_id: $merchant_id, name: $name, url: $url, events: $events, secret: $before.secret ?? $secret,
                key: $before.key ?? $key, created_at: $before.created_at ?? $now, updated_at: $now
            } RETURN NONE;
            SELECT merchant_id, name, url, events, created_at, updated_at, key FROM ONLY $record;
            COMMIT;
        ";
        let variables = json!({
            "merchant_id": put.merchant_id, "name": put.name, "url": put.url, "events": put.events, "secret": secret.0,
            "key": key, "now": now(), "most": WEBHOOKS_PER_MERCHANT,
        });
        let _changing = self.addressees.changing(put.merchant_id.clone());
        let row: Row = match self.database.run(statements, &variables).await {
            Ok(mut answers) => answers.read(5)?,
            Err(error @ StoreError::Thrown(_)) => return Err(ProviderError::impossible(error)),
            Err(error) => return Err(error.into()),
        };
        let is_new = row.key == key;
        Ok(WebhookSaved { webhook: row.webhook, secret: is_new.then_some(secret) })
    }

    pub async fn list(&self, query: &WebhookQuery) -> Result<Vec<Webhook>, StoreError> {
        let statement = "
            SELECT merchant_id, name, url, events, created_at, updated_at
            FROM webhooks:[$merchant_id, $first]..=[$merchant_id, $last]
        ";
        let (first, last) = query.name.as_ref().map_or(("", "~"), |name| (name.as_str(), name.as_str()));
        let variables = json!({ "merchant_id": query.merchant_id, "first": first, "last": last });
        self.database.run(statement, &variables).await?.read(0)
    }

    /// Removes the webhook and its secret. Messages to it stay, and have nobody to go to.
    pub async fn delete(&self, webhook: &WebhookRef) -> Result<bool, StoreError> {
        let statement = "DELETE type::record('webhooks', [$merchant_id, $name]) RETURN BEFORE";
        let _changing = self.addressees.changing(webhook.merchant_id.clone());
        let before: Vec<IgnoredAny> = self
            .database
            .run(statement, &json!({ "merchant_id": webhook.merchant_id, "name": webhook.name }))
            .await?
            .read(0)?;
        Ok(!before.is_empty())
    }

    pub async fn key(&self, webhook: &WebhookRef) -> Result<Option<String>, StoreError> {
        let statement = "SELECT VALUE key FROM ONLY type::record('webhooks', [$merchant_id, $name])";
        let variables = json!({ "merchant_id": webhook.merchant_id, "name": webhook.name });
        self.database.run(statement, &variables).await?.read(0)
    }

    /// Where messages to the webhook of that name go, if it is still the one of that key.
    pub async fn target(
        &self,
        merchant_id: &MerchantId,
        name: &WebhookName,
        key: Option<&str>,
    ) -> Result<Option<Target>, StoreError> {
        let statement = "
            SELECT url, secret FROM type::record('webhooks', [$merchant_id, $name]) WHERE key = $key
        ";
        let variables = json!({ "merchant_id": merchant_id, "name": name, "key": key });
        let targets: Vec<Target> = self.database.run(statement, &variables).await?.read(0)?;
        Ok(targets.into_iter().next())
    }
}

/// The webhooks of each of those merchants.
pub async fn registered(
    database: &Database,
    addressees: &Addressees,
    merchants: BTreeSet<&MerchantId>,
) -> Result<BTreeMap<MerchantId, Arc<[Registered]>>, StoreError> {
    let since = addressees.since();
    let known = |id: &&MerchantId| Some(((*id).clone(), addressees.get(id)?));
    let mut registered: BTreeMap<_, _> = merchants.iter().filter_map(known).collect();
    let asked: Vec<_> = merchants.into_iter().filter(|id| !registered.contains_key(*id)).collect();
    if !asked.is_empty() {
        let variables: Map<String, Value> =
            asked.iter().enumerate().map(|(n, id)| (format!("of_{n}"), json!(id))).collect();
        let statement = |n| format!("SELECT name, key, events FROM webhooks:[$of_{n}, '']..=[$of_{n}, '~'];");
        let statements: String = (0..asked.len()).map(statement).collect();
        let mut answers = database.run(&statements, &Value::Object(variables)).await?;
        for (n, id) in asked.into_iter().enumerate() {
            let webhooks: Arc<[Registered]> = answers.read::<Vec<_>>(n)?.into();
            addressees.keep(since, id.clone(), webhooks.clone());
            registered.insert(id.clone(), webhooks);
        }
    }
    Ok(registered)
}

/// Whether a message can go there. What is worth telling the caller in detail is told at the edge.
fn is_target(url: &str) -> bool {
    url.len() <= LONGEST_URL
        && Url::parse(url).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
        })
}

/// 256 random bits, written as Standard Webhooks writes them.
fn new_secret() -> Secret {
    Secret(format!("whsec_{}", BASE64_STANDARD.encode(rand::random::<[u8; 32]>())))
}

/// What a webhook is told of an event. No personal data: the merchant has it by the order's id.
pub fn body(notice: &Notice, event: &NoticedEvent) -> String {
    json!({
        "type": event.kind,
        "timestamp": event.at,
        "data": {
            "order_id": notice.order_id,
            "merchant_id": notice.merchant_id,
            "number": event.number,
            "status": event.status,
            "status_changed": event.status_changed,
            "reason": event.reason,
            "total": notice.total,
        },
    })
    .to_string()
}

pub fn request(client: &Client, target: &Target, id: &MessageId, body: &str) -> RequestBuilder {
    let timestamp = Utc::now().timestamp();
    let signature = standardwebhooks::Webhook::new(&target.secret.0)
        .and_then(|webhook| webhook.sign(id.as_str(), timestamp, body.as_bytes()))
        .expect("a secret of our own making signs any text");
    client
        .post(&target.url)
        .header(CONTENT_TYPE, "application/json")
        .header(standardwebhooks::HEADER_WEBHOOK_ID, id.as_str())
        .header(standardwebhooks::HEADER_WEBHOOK_TIMESTAMP, timestamp)
        .header(standardwebhooks::HEADER_WEBHOOK_SIGNATURE, signature)
        .body(body.to_owned())
}

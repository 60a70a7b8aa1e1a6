//! The configuration: defaults, above them a file, above that the environment. It is read once, here; a setting that
//! is wrong is named, together with all others that are.

mod limits;
mod reader;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use activities::{
    CardKeys, Login, NAMESPACE, NotificationSettings, Store, StoreError, Template, TemplateSettings, WebhooksTo, Within,
};
use api::{Algorithm, Limits, TokenKey};
use reqwest::Url;
use worker::IdentityKey;
use workflows::notification::Secret;
use workflows::{Capacity, Context, Status, Step};

use crate::store_url::StoreUrl;
use crate::telemetry::LogFormat;
use reader::{Fault, Reader, Wrong};

const STUCK_AFTER: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_hours(24);
const LONGEST_STUCK_AFTER: Duration = DAY.saturating_mul(365);
const LONGEST_PAUSE: Duration = DAY.saturating_mul(30);
/// Between the end of an attempt to deliver a message, and the end of the step that makes it.
const ATTEMPT_MARGIN: Duration = Duration::from_secs(5);
/// By which published keys sign unless others are named.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::RS256, Algorithm::ES256];
const PLACEHOLDERS: [&str; 5] = ["order_id", "name", "status", "total", "reason"];

/// What the file and the environment say. `deploy/jumun.toml` lists every setting with what it means; each has a
/// variable `JUMUN_SECTION__KEY` too, like `JUMUN_NOTIFICATIONS__TEMPLATE__API_KEY_FILE`, in which a list is separated by
/// commas. Beside a setting that may be secret there is one with `_file` at its end, naming a file that holds it.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Providers in processes of their own. All others are built in.
    pub providers: BTreeMap<Context, HttpUrl>,
    /// Where the built-in payment provider keeps its ledger, if not with everything else.
    pub payment_store: Option<StoreUrl>,
    /// With which cards are sealed. Absent: with the data directory's own key.
    pub card_keys: Option<CardKeys>,
    /// An order that has made no progress for so long counts as stuck.
    pub stuck_after: Duration,
    pub notifications: NotificationSettings,
    pub access: AccessSettings,
    /// How much the API takes on.
    pub limits: Limits,
    /// The engines that the worker answers, besides the one that jumun starts itself.
    pub identity_keys: Vec<IdentityKey>,
    /// How many attempts at steps of each context the worker makes at once.
    pub attempts_at_once: u32,
    /// An engine that runs already. Absent: jumun starts one of its own.
    pub engine: Option<ExistingEngine>,
    pub telemetry: TelemetrySettings,
    /// A store that runs already. Absent: the embedded one, in the data directory.
    pub store: Option<ExistingStore>,
}

/// What jumun says of itself while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TelemetrySettings {
    pub log_format: LogFormat,
    /// Absent: nothing is traced.
    pub traces: Option<TraceSettings>,
}

/// A collector of traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceSettings {
    /// Its base URL, for OpenTelemetry's protocol over HTTP.
    pub url: HttpUrl,
    /// How many of a hundred traces are kept of those that begin here, 0 to 100.
    pub percent: u32,
}

/// A SurrealDB server that others start and stop.
#[derive(Clone, Debug)]
pub struct ExistingStore {
    pub url: StoreUrl,
    /// Under which name everything of this jumun's is.
    pub namespace: String,
    /// Absent: it lets everybody in.
    pub login: Option<Login>,
}

/// Where an engine is that others start and stop: each of its nodes, or whatever stands before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExistingEngine {
    /// Never empty; any of them will do.
    pub ingress: Vec<HttpUrl>,
    /// Likewise.
    pub admin: Vec<HttpUrl>,
}

/// By which keys tokens are read, and what they have to say.
#[derive(Clone, Debug)]
pub struct AccessSettings {
    /// A secret, instead of the local key.
    pub key: Option<TokenKey>,
    /// The keys of an identity provider, instead of a secret.
    pub published: Option<Published>,
    pub issuer: String,
    pub audience: String,
}

/// The published keys of an identity provider.
#[derive(Clone, Debug)]
pub struct Published {
    pub url: Url,
    pub algorithms: Vec<Algorithm>,
}

/// Every setting that is wrong.
#[derive(Debug)]
pub struct InvalidConfiguration(Vec<Fault>);

impl std::error::Error for InvalidConfiguration {}

impl fmt::Display for InvalidConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot be used:")?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl Configuration {
    /// What `file` says, and above it `environment`.
    ///
    /// # Errors
    /// With every setting that is wrong.
    pub fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, InvalidConfiguration> {
        let mut reader = Reader::open(file, environment);
        let configuration = Self {
            providers: providers(&mut reader),
            payment_store: reader.secret("payment.store", |text| Ok(text.parse()?)),
            card_keys: reader.secret("payment.card_key", |text| Ok(text.parse()?)),
            stuck_after: reader.read("orders.stuck_after", stuck_after).unwrap_or(STUCK_AFTER),
            notifications: notifications(&mut reader),
            limits: limits::read(&mut reader),
            access: access(&mut reader),
            identity_keys: reader.list("worker.identity_keys", |text| Ok(text.parse()?)).unwrap_or_default(),
            attempts_at_once: reader.number("worker.attempts_at_once", 1..=limits::MOST).unwrap_or(Capacity::DEFAULT),
            engine: engine(&mut reader),
            telemetry: telemetry(&mut reader),
            store: store(&mut reader),
        };
        let faults = reader.close();
        if faults.is_empty() { Ok(configuration) } else { Err(InvalidConfiguration(faults)) }
    }
}

fn access(reader: &mut Reader) -> AccessSettings {
    let key = reader.secret("access.key", token_key);
    let url = reader.read("access.jwks_url", |text| Ok(http_url(text)?));
    let algorithms = reader.list("access.algorithms", algorithm).filter(|algorithms| !algorithms.is_empty());
    if url.is_some() && key.is_some() {
        reader.refuse("access.jwks_url", Wrong::TwoKeys);
    }
    // Tokens of whoever publishes keys somewhere are not tokens of everybody.
    let issuer =
        if url.is_some() { reader.require("access.issuer", present) } else { reader.read("access.issuer", present) };
    AccessSettings {
        key,
        published: url.map(|url| Published { url, algorithms: algorithms.unwrap_or_else(|| ALGORITHMS.to_vec()) }),
        issuer: issuer.unwrap_or_else(|| api::ISSUER.to_owned()),
        audience: reader.read("access.audience", present).unwrap_or_else(|| api::AUDIENCE.to_owned()),
    }
}

fn token_key(text: &str) -> Result<TokenKey, Wrong> {
    TokenKey::new(text).map_err(|_| Wrong::ShortKey)
}

/// Never a symmetric one: a key that is published is no secret.
fn algorithm(text: &str) -> Result<Algorithm, Wrong> {
    let symmetric = text.starts_with("HS");
    text.parse().ok().filter(|_| !symmetric).ok_or(Wrong::Algorithm)
}

fn providers(reader: &mut Reader) -> BTreeMap<Context, HttpUrl> {
    let url = |context: Context| reader.read(&format!("providers.{context}"), |text| Ok(text.parse::<HttpUrl>()?));
    let urls: Vec<_> = Context::ALL.into_iter().map(url).collect();
    Context::ALL.into_iter().zip(urls).filter_map(|(context, url)| Some((context, url?))).collect()
}

fn engine(reader: &mut Reader) -> Option<ExistingEngine> {
    const ADDRESSES: [&str; 2] = ["engine.ingress", "engine.admin"];
    if !ADDRESSES.iter().any(|name| reader.has(name)) {
        return None;
    }
    let [ingress, admin] = ADDRESSES.map(|name| reader.require_list(name, |text| Ok(text.parse()?)));
    Some(ExistingEngine { ingress: ingress?, admin: admin? })
}

fn telemetry(reader: &mut Reader) -> TelemetrySettings {
    let log_format = reader.read("telemetry.log_format", log_format).unwrap_or_default();
    let percent = reader.number("telemetry.traces_percent", 0..=100).unwrap_or(100);
    let url = reader.read("telemetry.traces_url", |text| Ok(text.parse::<HttpUrl>()?));
    TelemetrySettings { log_format, traces: url.map(|url| TraceSettings { url, percent }) }
}

fn log_format(text: &str) -> Result<LogFormat, Wrong> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(Wrong::LogFormat),
    }
}

fn store(reader: &mut Reader) -> Option<ExistingStore> {
    const LOGIN: [&str; 3] = ["store.username", "store.password", "store.password_file"];
    const PARTS: [&str; 3] = ["store.url", "store.within", "store.namespace"];
    let signs_in = LOGIN.iter().any(|name| reader.has(name));
    if !signs_in && !PARTS.iter().any(|name| reader.has(name)) {
        return None;
    }
    let url = reader.require("store.url", server_url);
    let within = reader.read("store.within", within).unwrap_or(Within::Server);
    let namespace = reader.read("store.namespace", present).unwrap_or_else(|| NAMESPACE.to_owned());
    if !signs_in {
        return Some(ExistingStore { url: url?, namespace, login: None });
    }
    let username = reader.require("store.username", present);
    let password = reader.require_secret("store.password", present);
    Some(ExistingStore {
        url: url?,
        namespace,
        login: Some(Login { username: username?, password: password?, within }),
    })
}

impl ExistingStore {
    /// Connects to it.
    ///
    /// # Errors
    /// As [`Store::connect`].
    pub async fn connect(&self) -> Result<Store, StoreError> {
        Store::connect(self.url.address(), &self.namespace, self.login.as_ref()).await
    }
}

fn server_url(text: &str) -> Result<StoreUrl, Wrong> {
    let url: StoreUrl = text.parse()?;
    if url.is_server() { Ok(url) } else { Err(Wrong::NotAServer) }
}

fn within(text: &str) -> Result<Within, Wrong> {
    match text {
        "server" => Ok(Within::Server),
        "namespace" => Ok(Within::Namespace),
        _ => Err(Wrong::Within),
    }
}

fn notifications(reader: &mut Reader) -> NotificationSettings {
    let defaults = NotificationSettings::default();
    let longest = Step::NotificationDeliver.default_policy().attempt_timeout().saturating_sub(ATTEMPT_MARGIN);
    NotificationSettings {
        schedule: reader.list("notifications.schedule", |text| time(text, LONGEST_PAUSE)).unwrap_or(defaults.schedule),
        attempt_timeout: reader
            .read("notifications.attempt_timeout", |text| time(text, longest))
            .unwrap_or(defaults.attempt_timeout),
        webhooks_to: reader.read("notifications.webhooks_to", webhooks_to),
        template: template(reader),
    }
}

fn webhooks_to(text: &str) -> Result<WebhooksTo, Wrong> {
    match text {
        "public" => Ok(WebhooksTo::Public),
        "anywhere" => Ok(WebhooksTo::Anywhere),
        _ => Err(Wrong::WebhooksTo),
    }
}

fn template(reader: &mut Reader) -> Option<TemplateSettings> {
    const TABLE: &str = "notifications.template";
    if !reader.has_table(TABLE) {
        return None;
    }
    let endpoint = reader.require(&format!("{TABLE}.endpoint"), |text| Ok(http_url(text)?.to_string()));
    let api_key = reader.require_secret(&format!("{TABLE}.api_key"), secret);
    let sender_key = reader.require_secret(&format!("{TABLE}.sender_key"), secret);
    let mut templates = BTreeMap::new();
    for status in Status::ALL {
        let table = format!("{TABLE}.templates.{}", status.as_str());
        if !reader.has_table(&table) {
            continue;
        }
        let code = reader.require(&format!("{table}.code"), present);
        let text = reader.require(&format!("{table}.text"), message);
        if let (Some(code), Some(text)) = (code, text) {
            templates.insert(status, Template { code, text });
        }
    }
    Some(TemplateSettings { endpoint: endpoint?, api_key: api_key?, sender_key: sender_key?, templates })
}

/// How long an order may make no progress before it counts as stuck.
pub fn stuck_after(text: &str) -> Result<Duration, Wrong> {
    time(text, LONGEST_STUCK_AFTER)
}

fn time(text: &str, longest: Duration) -> Result<Duration, Wrong> {
    match humantime::parse_duration(text) {
        Err(_) => Err(Wrong::NotATime),
        Ok(time) if time.is_zero() => Err(Wrong::NoTime),
        Ok(time) if time > longest => Err(Wrong::TooLong(longest)),
        Ok(time) => Ok(time),
    }
}

fn present(text: &str) -> Result<String, Wrong> {
    if text.trim().is_empty() { Err(Wrong::Blank) } else { Ok(text.to_owned()) }
}

fn secret(text: &str) -> Result<Secret, Wrong> {
    present(text).map(Secret)
}

/// The text of a template, in which only known placeholders are to be filled in.
fn message(text: &str) -> Result<String, Wrong> {
    let known =
        |rest: &str| PLACEHOLDERS.iter().any(|name| rest.strip_prefix(name).is_some_and(|rest| rest.starts_with('}')));
    if text.split("#{").skip(1).all(known) { present(text) } else { Err(Wrong::Placeholder) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an absolute http:// or https:// URL")]
pub struct NotAnHttpUrl;

/// The base URL of an HTTP service: absolute, without credentials, query and final slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl(String);

impl FromStr for HttpUrl {
    type Err = NotAnHttpUrl;

    fn from_str(text: &str) -> Result<Self, NotAnHttpUrl> {
        let url = http_url(text)?;
        let plain =
            url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        if plain { Ok(Self(url.as_str().trim_end_matches('/').to_owned())) } else { Err(NotAnHttpUrl) }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn http_url(text: &str) -> Result<Url, NotAnHttpUrl> {
    // A URL without slashes would be read all the same, as somebody's host.
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return Err(NotAnHttpUrl);
    }
    Url::parse(text).map_err(|_| NotAnHttpUrl)
}

#[cfg(test)]
mod tests {
    use api::BreakerLimits;

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn read(file: &str, variables: &[(&str, &str)]) -> Result<Configuration, InvalidConfiguration> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("jumun.toml");
        std::fs::write(&path, file).expect("writes");
        Configuration::read(Some(&path), environment(variables))
    }

    /// The faults, without the directory that is another one each time.
    fn faults(file: &str, variables: &[(&str, &str)]) -> Vec<String> {
        let InvalidConfiguration(faults) = read(file, variables).expect_err("is wrong");
        let shorten = |fault: String| match (fault.split_once(" in /"), fault.split_once("jumun.toml: ")) {
            (Some((name, _)), Some((_, wrong))) => format!("{name}: {wrong}"),
            _ => fault,
        };
        faults.iter().map(|fault| shorten(fault.to_string())).collect()
    }

    const WHOLE: &str = r##"
        [providers]
        payment = "http://127.0.0.1:9101/"
        notification = "https://notify.example/jumun"
        [payment]
        store = "postgres://jumun:pass-word@db/payments"
        [engine]
        ingress = ["http://engine-0:8080", "http://engine-1:8080/"]
        admin = ["http://engine-0:9070"]
        [orders]
        stuck_after = "2m 30s"
        [notifications]
        schedule = ["5s", "5m"]
        attempt_timeout = "3s"
        webhooks_to = "public"
        [worker]
        identity_keys = ["publickeyv1_AfQwmwfgEZhrWpvv8N52SHpRtZqGGaFr4AZN6qtYWSiY"]
        attempts_at_once = 32
        [notifications.template]
        endpoint = "https://kakao.example/send?v=2"
        api_key = "api-key"
        sender_key = "sender-key"
        [notifications.template.templates.paid]
        code = "ORDER_PAID"
        text = "#{name}, #{order_id}: #{status}"
        [notifications.template.templates.in_delivery]
        code = "ON_ITS_WAY"
        text = "On its way"
        [telemetry]
        log_format = "json"
        traces_url = "http://collector:4318/"
        traces_percent = 5
        [limits]
        requests_per_second = 7
        head_timeout = "2s"
        [limits.breaker]
        samples = 3
    "##;

    #[test]
    fn without_a_file_everything_is_built_in() {
        let configuration = Configuration::read(None, environment(&[("JUMUN_DATA_DIR", "x")])).expect("is sound");
        assert!(configuration.providers.is_empty() && configuration.payment_store.is_none());
        assert_eq!(configuration.stuck_after, Duration::from_secs(30));
        assert_eq!(configuration.notifications.schedule, NotificationSettings::default().schedule);
        assert!(configuration.notifications.template.is_none());
    }

    /// The file that lists every setting says what holds without it, and its examples can be used.
    #[test]
    fn the_listed_settings_are_all_there_are() {
        const LISTED: &str = include_str!("../../jumun.toml");
        let listed = read(LISTED, &[]).expect("is sound");
        let without = Configuration::read(None, []).expect("is sound");
        assert_eq!(format!("{listed:?}"), format!("{without:?}"));

        let secrets = tempfile::tempdir().expect("a temporary directory");
        let card_key = &*CardKeys::draw();
        for name in ["template-api-key", "template-sender-key", "store-password"] {
            std::fs::write(secrets.path().join(name), "secret").expect("writes");
        }
        std::fs::write(secrets.path().join("card-key"), card_key).expect("writes");
        let is_setting = |line: &str| line.starts_with('[') || line.contains(" = ") && !line.contains(". ");
        let uncommented =
            LISTED.lines().map(|line| line.strip_prefix("# ").filter(|line| is_setting(line)).unwrap_or(line));
        let examples = uncommented.collect::<Vec<_>>().join("\n");
        let examples = examples.replace("/run/secrets", secrets.path().to_str().expect("is Unicode"));
        let configuration = read(&examples, &[]).expect("is sound");
        assert_eq!(configuration.providers.len(), Context::ALL.len());
        assert!(configuration.card_keys.is_some() && configuration.store.is_some());
        assert!(configuration.payment_store.is_some() && configuration.notifications.template.is_some());
        assert_eq!(configuration.identity_keys.len(), 2);
    }

    #[test]
    fn a_file_says_everything() {
        let configuration = read(WHOLE, &[]).expect("is sound");
        assert_eq!(configuration.providers[&Context::Payment].to_string(), "http://127.0.0.1:9101");
        assert_eq!(configuration.providers[&Context::Notification].to_string(), "https://notify.example/jumun");
        assert!(configuration.payment_store.is_some_and(|store| store.is_postgres()));
        assert_eq!(configuration.stuck_after, Duration::from_secs(150));
        let engine = configuration.engine.expect("is there");
        assert_eq!(
            engine.ingress.iter().map(HttpUrl::to_string).collect::<Vec<_>>(),
            ["http://engine-0:8080", "http://engine-1:8080"]
        );
        assert_eq!(engine.admin.len(), 1);
        let notifications = configuration.notifications;
        assert_eq!(notifications.schedule, [Duration::from_secs(5), Duration::from_mins(5)]);
        assert_eq!(notifications.attempt_timeout, Duration::from_secs(3));
        assert_eq!(notifications.webhooks_to, Some(WebhooksTo::Public));
        let keys: Vec<_> = configuration.identity_keys.iter().map(ToString::to_string).collect();
        assert_eq!(keys, ["publickeyv1_AfQwmwfgEZhrWpvv8N52SHpRtZqGGaFr4AZN6qtYWSiY"]);
        assert_eq!(configuration.attempts_at_once, 32);
        let TelemetrySettings { log_format, traces } = configuration.telemetry;
        let traces = traces.expect("are sent");
        assert_eq!(
            (log_format, &*traces.url.to_string(), traces.percent),
            (LogFormat::Json, "http://collector:4318", 5)
        );
        let template = notifications.template.expect("is there");
        assert_eq!((template.api_key.0.as_str(), template.sender_key.0.as_str()), ("api-key", "sender-key"));
        assert_eq!(template.endpoint, "https://kakao.example/send?v=2");
        assert_eq!(template.templates[&Status::InDelivery].code, "ON_ITS_WAY");
        let limits = configuration.limits;
        assert_eq!((limits.requests_per_second.get(), limits.head_timeout), (7, Duration::from_secs(2)));
        let breaker = BreakerLimits { samples: 3, ..BreakerLimits::default() };
        assert_eq!((limits.breaker, limits.burst), (breaker, Limits::default().burst));
    }

    #[test]
    fn the_environment_is_above_the_file() {
        let variables = [
            ("JUMUN_PROVIDERS__PAYMENT", "http://payment:80"),
            ("JUMUN_PROVIDERS__STOCK", "http://stock"),
            ("JUMUN_ORDERS__STUCK_AFTER", ""),
            ("JUMUN_NOTIFICATIONS__SCHEDULE", "1s, 1m 30s"),
            ("JUMUN_NOTIFICATIONS__TEMPLATE__TEMPLATES__PAID__CODE", "PAID"),
            ("JUMUN_LIMITS__REQUESTS_PER_SECOND", "9"),
            ("JUMUN_LIMITS__BREAKER__OPEN_FOR", "3s"),
            ("JUMUN_ENGINE__ADMIN", "http://a:9070, http://b:9070"),
            ("JUMUN_API_LISTEN", "127.0.0.1:0"),
            ("ANOTHER__PROGRAM", "x"),
        ];
        let configuration = read(WHOLE, &variables).expect("is sound");
        assert_eq!(configuration.providers[&Context::Payment].to_string(), "http://payment");
        assert_eq!(configuration.providers[&Context::Stock].to_string(), "http://stock");
        assert_eq!(configuration.stuck_after, Duration::from_secs(150), "an empty variable says nothing");
        assert_eq!(configuration.engine.map(|engine| (engine.ingress.len(), engine.admin.len())), Some((2, 2)));
        assert_eq!(configuration.notifications.schedule, [Duration::from_secs(1), Duration::from_secs(90)]);
        let template = configuration.notifications.template.expect("is there");
        assert_eq!(template.templates[&Status::Paid].code, "PAID");
        let limits = configuration.limits;
        assert_eq!((limits.requests_per_second.get(), limits.breaker.open_for), (9, Duration::from_secs(3)));
    }

    #[test]
    fn every_fault_is_named() {
        let file = r##"
            colour = "red"
            [providers]
            payment = "127.0.0.1:9101"
            printer = "http://printer"
            stock = 9102
            [engine]
            ingress = []
            [orders]
            stuck_after = "0s"
            [notifications]
            schedule = ["5s", "soon"]
            attempt_timeout = "1h"
            [worker]
            identity_keys = ["AfQwmwfgEZhrWpvv8N52SHpRtZqGGaFr4AZN6qtYWSiY"]
            attempts_at_once = 0
            [notifications.template]
            api_key = "a"
            api_key_file = "b"
            [notifications.template.templates.paid]
            text = "#{nmae}"
            [notifications.template.templates.lost]
            code = "LOST"
            [limits]
            burst = "200"
            connections = 0
            open_requests = 1.5
            [limits.breaker]
            failures_percent = 101
            window = "2h"
        "##;
        let variables = [
            ("JUMUN_PAYMENT__STORE", "mysql://u:hunter2@h/db"),
            ("JUMUN_PROVIDERS__KITCHEN", "ftp://kitchen"),
            ("JUMUN_LIMITS__OPEN_PLACEMENTS", "few"),
        ];
        let mut found = faults(file, &variables);
        found.sort();
        let url = "expected an absolute http:// or https:// URL";
        let mut expected = [
            "JUMUN_PAYMENT__STORE: expected surrealkv://PATH, mem://, postgres://… (payment only), or the URL of a \
             SurrealDB server"
                .to_owned(),
            format!("JUMUN_PROVIDERS__KITCHEN: {url}"),
            "JUMUN_LIMITS__OPEN_PLACEMENTS: expected a whole number from 1 to 1000000".to_owned(),
            "colour: there is no such setting".to_owned(),
            "engine.admin: missing".to_owned(),
            "engine.ingress: it is empty".to_owned(),
            "limits.breaker.failures_percent: expected a whole number from 1 to 100".to_owned(),
            "limits.breaker.window: expected at most 1h".to_owned(),
            "limits.burst: expected a whole number from 1 to 1000000".to_owned(),
            "limits.connections: expected a whole number from 1 to 1000000".to_owned(),
            "limits.open_requests: expected a whole number from 1 to 1000000".to_owned(),
            "notifications.attempt_timeout: expected at most 25s".to_owned(),
            "notifications.schedule: expected a time, like 30s, 5m or 1h 30m".to_owned(),
            "notifications.template.api_key: set either this or the one that names a file, not both".to_owned(),
            "notifications.template.endpoint: missing".to_owned(),
            "notifications.template.sender_key: missing".to_owned(),
            "notifications.template.templates.lost.code: there is no such setting".to_owned(),
            "notifications.template.templates.paid.code: missing".to_owned(),
            "notifications.template.templates.paid.text: it has a placeholder that there is not; there are \
             #{order_id}, #{name}, #{status}, #{total} and #{reason}"
                .to_owned(),
            "orders.stuck_after: expected more than no time".to_owned(),
            format!("providers.payment: {url}"),
            "providers.printer: there is no such setting".to_owned(),
            "providers.stock: expected text, in quotes".to_owned(),
            "worker.identity_keys: expected the public key of an engine: publickeyv1_ and 32 bytes in base58"
                .to_owned(),
            "worker.attempts_at_once: expected a whole number from 1 to 1000000".to_owned(),
        ];
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_file_that_is_none_is_named_and_the_environment_read_all_the_same() {
        let absent = Configuration::read(Some(Path::new("/no/such/jumun.toml")), environment(&[("JUMUN_A__B", "c")]));
        let complaint = absent.expect_err("is absent").to_string();
        assert!(complaint.contains("/no/such/jumun.toml") && complaint.contains("JUMUN_A__B"), "{complaint}");
    }

    #[test]
    fn what_is_wrong_with_a_secret_does_not_tell_it() {
        let complaint = read("[payment]\nstore = \"postgres://u:hunter2@h\n", &[]).expect_err("no TOML").to_string();
        assert!(complaint.contains("line 2") && !complaint.contains("hunter2"), "{complaint}");
        let complaint = read("", &[("JUMUN_PAYMENT__STORE", "mysql://hunter2")]).expect_err("no store");
        assert!(!format!("{complaint} {complaint:?}").contains("hunter2"), "{complaint:?}");
    }

    #[test]
    fn a_secret_is_read_from_its_file_and_never_shown() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("key");
        std::fs::write(&path, "from-file\n").expect("writes");
        let path = path.to_str().expect("is Unicode");
        let file = WHOLE.replace("api_key = \"api-key\"", "");
        let variables = [("JUMUN_NOTIFICATIONS__TEMPLATE__API_KEY_FILE", path)];
        let configuration = read(&file, &variables).expect("is sound");
        let shown = format!("{configuration:?}");
        assert_eq!(configuration.notifications.template.expect("is there").api_key.0, "from-file");
        for secret in ["from-file", "sender-key", "pass-word"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        let found = faults(&file, &[("JUMUN_NOTIFICATIONS__TEMPLATE__API_KEY_FILE", "/no/such/file")]);
        assert!(found.len() == 1 && found[0].contains("cannot read /no/such/file"), "{found:?}");
    }
}

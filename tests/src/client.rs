//! A running jumun, driven over HTTP as its users would.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::{AUDIENCE, Access, ISSUER, Key, Principal, TokenKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use serde_json::Value;
use workflows::{Command, Role};

use crate::process::{Process, child, setting, settings, signal};
use crate::{Answer, Providers, Setup, until};

/// The line of JSON that `jumun --json` prints once it is ready.
#[derive(Clone, Debug, Deserialize)]
pub struct Ready {
    pub api: String,
    pub docs: String,
    pub engine_ui: String,
    pub engine_ingress: String,
    pub engine_admin: String,
    pub worker: String,
    pub data_dir: PathBuf,
    /// None where the engine is not jumun's own.
    pub engine_pid: Option<u32>,
}

/// A running jumun. It stops when this is dropped, or when the test process ends.
pub struct Jumun {
    pub ready: Ready,
    // Dropped in this order: jumun goes before its providers and its directory.
    /// None where this is the entry to many.
    process: Option<Process>,
    /// The providers that are processes of their own, where they are this system's alone.
    pub(crate) providers: Option<Providers>,
    /// The directory and ports, where they are this system's alone.
    pub(crate) setup: Option<Setup>,
    client: reqwest::Client,
    /// With which it reads tokens.
    key: TokenKey,
    /// The merchants of the orders that were seen, who are asked for what merchants do.
    merchants: Mutex<HashMap<String, String>>,
}

/// Who customers are, unless a test says otherwise.
pub const CUSTOMER: &str = "customer";

impl Jumun {
    /// A system that keeps nothing, on free ports.
    pub async fn ephemeral() -> Self {
        Self::spawn(&["--ephemeral"]).await
    }

    /// The same with a configuration file.
    pub async fn configured(toml: &str) -> Self {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), toml).expect("writes");
        Self::spawn(&["--ephemeral", "--config", file.path().to_str().expect("Unicode")]).await
    }

    /// A system with the limits of a real one, but for these, like `("BURST", "10")` or `("BREAKER__SAMPLES", "3")`.
    pub async fn limited(limits: &[(&str, &str)]) -> Self {
        let environment = limits.iter().map(|(key, value)| setting(key, value)).collect();
        let (process, ready) = Process::start_with(&["--ephemeral".to_owned()], environment).await;
        Self::of(process, ready)
    }

    /// The same as `ephemeral` with every provider in a process of its own.
    pub async fn with_providers(providers: Providers) -> Self {
        let arguments = providers.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(["--ephemeral"]).collect();
        Self { providers: Some(providers), ..Self::spawn(&arguments).await }
    }

    /// Starts jumun with `arguments`, and waits until it is ready.
    pub async fn spawn(arguments: &[&str]) -> Self {
        Self::spawn_logging(arguments, None).await
    }

    /// The same, with its log in a file.
    pub(crate) async fn spawn_logging(arguments: &[&str], log: Option<File>) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let (process, ready) = Process::start_logging(&arguments, log).await;
        Self::of(process, ready)
    }

    /// The same with a variable of its own.
    pub(crate) async fn spawn_with(arguments: &[&str], variable: (String, String)) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let environment = settings().into_iter().chain([variable]).collect();
        let (process, ready) = Process::start_with(&arguments, environment).await;
        Self::of(process, ready)
    }

    fn of(process: Process, ready: Ready) -> Self {
        let key = token_key(&ready);
        let process = Some(process);
        Self { ready, process, providers: None, setup: None, client: client(), key, merchants: Mutex::default() }
    }

    /// A system that others have started, by its entry.
    pub(crate) fn at(ready: Ready, key: TokenKey) -> Self {
        Self { ready, process: None, providers: None, setup: None, client: client(), key, merchants: Mutex::default() }
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("a system in a process of its own")
    }

    /// A token that is good for an hour.
    #[must_use]
    pub fn token(&self, role: Role, subject: &str, merchant_id: Option<&str>) -> String {
        let merchant_id = merchant_id.map(|id| id.parse().expect("a merchant id"));
        let principal = Principal::new(role, subject, merchant_id).expect("well formed");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        self.key.mint(&principal, ISSUER, AUDIENCE, now, now + 3_600)
    }

    /// What reads this system's tokens.
    pub(crate) fn access(&self) -> Access {
        Access::new(Key::Secret(self.key.clone()), ISSUER, AUDIENCE).expect("needs nothing")
    }

    /// The same system, as this caller sees it.
    #[must_use]
    pub fn as_role(&self, role: Role, subject: &str, merchant_id: Option<&str>) -> Client<'_> {
        Client { jumun: self, token: self.token(role, subject, merchant_id) }
    }

    /// Who asks for this where a test does not say: the customer places, everybody does what is theirs to do, and the
    /// operator looks and keeps house.
    fn usual_token(&self, method: &Method, path: &str) -> String {
        let path = path.split('?').next().unwrap_or(path);
        let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
        let role = match parts[..] {
            ["v1", "orders"] if method == Method::POST => Role::Customer,
            ["v1", "orders", _, command] if method == Method::POST => {
                let command = Command::ALL.into_iter().find(|known| known.as_str() == command);
                command.and_then(|command| command.roles().first().copied()).unwrap_or(Role::Operator)
            }
            _ => Role::Operator,
        };
        match role {
            Role::Merchant => {
                let merchants = self.merchants.lock().expect("no panic");
                let merchant_id = parts.get(2).and_then(|order_id| merchants.get(*order_id));
                self.token(role, "merchant", Some(merchant_id.map_or("nobody", String::as_str)))
            }
            Role::Customer => self.token(role, CUSTOMER, None),
            _ => self.token(role, role.as_str(), None),
        }
    }

    /// Remembers whose the orders in an answer are.
    fn learn(&self, body: &Value) {
        let items = body["items"].as_array().map_or(std::slice::from_ref(body), Vec::as_slice);
        for order in items {
            if let (Some(id), Some(merchant_id)) = (order["id"].as_str(), order["merchant_id"].as_str())
                && id.starts_with("ord_")
            {
                self.merchants.lock().expect("no panic").insert(id.to_owned(), merchant_id.to_owned());
            }
        }
    }

    /// Its providers in processes of their own.
    #[must_use]
    pub fn providers(&self) -> &Providers {
        self.providers.as_ref().expect("a system in seven processes")
    }

    /// `kill -9`.
    pub fn kill(&self) {
        self.process().kill();
    }

    /// Asks it to stop, and waits until it has; its exit code.
    pub fn stop(&self) -> Option<i32> {
        self.process().stop()
    }

    /// Waits until it has ended by itself; its exit code.
    pub async fn ended(&self) -> Option<i32> {
        self.process().ended().await
    }

    /// Sends a signal (`STOP`, `CONT`) to jumun itself.
    pub fn signal(&self, name: &str) {
        signal(self.process().id(), name);
    }

    /// Sends a signal (`KILL`, `STOP`, `CONT`) to the engine of jumun's own that runs now.
    pub fn signal_engine(&self, name: &str) {
        let first = self.ready.engine_pid.expect("an engine of jumun's own");
        signal(child(self.process().id(), "restate-server").unwrap_or(first), name);
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.expect("jumun answers")
    }

    /// # Errors
    /// Where jumun does not answer.
    pub async fn try_get(&self, path: &str) -> reqwest::Result<Answer> {
        self.try_send(self.request(Method::GET, path)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Asks a command of an order, without a body.
    pub async fn command(&self, order_id: &str, command: &str) -> Answer {
        // Whose it is has to be known to be asked for them.
        let known = self.merchants.lock().expect("no panic").contains_key(order_id);
        if !known {
            let _ = self.try_get(&format!("/v1/orders/{order_id}")).await;
        }
        self.send(self.request(Method::POST, &format!("/v1/orders/{order_id}/{command}"))).await
    }

    /// A request to be completed by the test.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let token = self.usual_token(&method, path);
        self.anonymous(method, path).bearer_auth(token)
    }

    /// A request without a token.
    pub fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.ready.api))
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.expect("jumun answers")
    }

    /// # Errors
    /// Where jumun does not answer.
    pub async fn try_send(&self, request: RequestBuilder) -> reqwest::Result<Answer> {
        let answer = Answer::read(request.send().await?).await?;
        self.learn(&answer.body);
        Ok(answer)
    }

    /// The engine's own view of an order's workflow, by its admin API's SQL: status and name of its invocations.
    pub async fn invocations(&self, order_id: &str) -> Vec<Value> {
        let query = format!(
            "SELECT id, target_handler_name, status, retry_count FROM sys_invocation \
             WHERE target_service_name = 'order' AND target_service_key = '{order_id}'"
        );
        self.engine_query(&query).await
    }

    /// Rows of a query of the engine's introspection tables.
    pub async fn engine_query(&self, query: &str) -> Vec<Value> {
        let request = self
            .client
            .post(format!("{}/query", self.ready.engine_admin))
            .header("accept", "application/json")
            .json(&serde_json::json!({ "query": query }));
        let answer = self.send(request).await.ok();
        answer["rows"].as_array().cloned().unwrap_or_default()
    }

    /// The invocation that runs an order.
    async fn run_of(&self, order_id: &str) -> String {
        let invocations = self.invocations(order_id).await;
        let run = invocations.iter().find(|row| row["target_handler_name"] == "run").expect("the workflow runs");
        run["id"].as_str().expect("an id").to_owned()
    }

    /// Waits until the engine has a cancel of an order's workflow in its journal, whether or not the workflow has heard it.
    pub async fn hears_cancel(&self, order_id: &str) {
        let run = self.run_of(order_id).await;
        let query = format!("SELECT entry_lite_json FROM sys_journal WHERE id = '{run}' AND entry_type LIKE '%Signal'");
        until("the cancel", async || {
            let signals = self.engine_query(&query).await;
            let signals = signals.iter().filter_map(|entry| entry["entry_lite_json"].as_str());
            // Of all signals, the engine's own.
            signals.into_iter().any(|signal| signal.contains("{\"SignalIndex\":1}")).then_some(())
        })
        .await;
    }

    /// Presses the engine's cancel button for an order's workflow.
    pub async fn cancel_in_engine(&self, order_id: &str) {
        let _ = self.press_in_engine(order_id, "cancel").await.ok();
    }

    /// The same for one that may have ended by now, whose button does nothing any more.
    pub async fn cancel_in_engine_at_the_end(&self, order_id: &str) {
        let answer = self.press_in_engine(order_id, "cancel").await;
        assert!(answer.status == 409 || answer.status < 300, "{answer:#?}");
    }

    /// Presses the engine's pause button for an order's workflow.
    pub async fn pause_in_engine(&self, order_id: &str) {
        let _ = self.press_in_engine(order_id, "pause").await.ok();
    }

    async fn press_in_engine(&self, order_id: &str, button: &str) -> Answer {
        let id = self.run_of(order_id).await;
        let request = self.client.patch(format!("{}/invocations/{id}/{button}", self.ready.engine_admin));
        self.send(request).await
    }
}

/// A running jumun, as one caller sees it.
pub struct Client<'a> {
    jumun: &'a Jumun,
    pub token: String,
}

impl Client<'_> {
    pub async fn get(&self, path: &str) -> Answer {
        self.jumun.send(self.request(Method::GET, path)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.jumun.send(self.request(Method::PUT, path).json(body)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.jumun.send(self.request(Method::POST, path).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.jumun.send(self.request(Method::DELETE, path)).await
    }

    /// Asks a command of an order, without a body.
    pub async fn command(&self, order_id: &str, command: &str) -> Answer {
        self.jumun.send(self.request(Method::POST, &format!("/v1/orders/{order_id}/{command}"))).await
    }

    /// A request to be completed by the test.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.jumun.anonymous(method, path).bearer_auth(&self.token)
    }
}

fn token_key(ready: &Ready) -> TokenKey {
    let text = std::fs::read_to_string(ready.data_dir.join("token.key")).expect("a running jumun has a local key");
    TokenKey::new(BASE64_STANDARD.decode(text.trim()).expect("base64")).expect("long enough")
}

fn client() -> reqwest::Client {
    // Nothing is pooled: each test has a runtime of its own, and a pooled connection would die with the first.
    reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(90))
        .build()
        .expect("a client")
}

//! A running jumun, driven over HTTP as its users would.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::process::{Process, setting};
use crate::{Answer, Providers, Setup};

/// The line of JSON that `jumun --json` prints once it is ready.
#[derive(Clone, Debug, Deserialize)]
pub struct Ready {
    pub api: String,
    pub docs: String,
    pub engine_ui: String,
    pub engine_ingress: String,
    pub engine_admin: String,
    pub data_dir: PathBuf,
    pub engine_pid: u32,
}

/// A running jumun. It stops when this is dropped, or when the test process ends.
pub struct Jumun {
    pub ready: Ready,
    // Dropped in this order: jumun goes before its providers and its directory.
    process: Process,
    /// The providers that are processes of their own, where they are this system's alone.
    pub(crate) providers: Option<Providers>,
    /// The directory and ports, where they are this system's alone.
    pub(crate) setup: Option<Setup>,
    client: reqwest::Client,
}

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
        Self { ready, process, providers: None, setup: None, client: client() }
    }

    /// The same as `ephemeral` with every provider in a process of its own.
    pub async fn with_providers(providers: Providers) -> Self {
        let arguments = providers.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(["--ephemeral"]).collect();
        Self { providers: Some(providers), ..Self::spawn(&arguments).await }
    }

    /// Starts jumun with `arguments`, and waits until it is ready.
    pub async fn spawn(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let (process, ready) = Process::start(&arguments).await;
        Self { ready, process, providers: None, setup: None, client: client() }
    }

    /// Its providers in processes of their own.
    #[must_use]
    pub fn providers(&self) -> &Providers {
        self.providers.as_ref().expect("a system in seven processes")
    }

    /// `kill -9`.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Asks it to stop, and waits until it has; its exit code.
    pub fn stop(&self) -> Option<i32> {
        self.process.stop()
    }

    /// Sends a signal (`KILL`, `STOP`, `CONT`) to the engine that jumun started first.
    pub fn signal_engine(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.ready.engine_pid);
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("sh runs").success());
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.expect("jumun answers")
    }

    /// # Errors
    /// Where jumun does not answer.
    pub async fn try_get(&self, path: &str) -> reqwest::Result<Answer> {
        Answer::read(self.request(reqwest::Method::GET, path).send().await?).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(reqwest::Method::PUT, path).json(body)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(reqwest::Method::POST, path).json(body)).await
    }

    /// Asks a command of an order, without a body.
    pub async fn command(&self, order_id: &str, command: &str) -> Answer {
        self.send(self.request(reqwest::Method::POST, &format!("/v1/orders/{order_id}/{command}"))).await
    }

    /// A request to be completed by the test.
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.ready.api))
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        self.try_send(request).await.expect("jumun answers")
    }

    /// # Errors
    /// Where jumun does not answer.
    pub async fn try_send(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
        Answer::read(request.send().await?).await
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

    /// Presses the engine's cancel button for an order's workflow.
    pub async fn cancel_in_engine(&self, order_id: &str) {
        let invocations = self.invocations(order_id).await;
        let run = invocations.iter().find(|row| row["target_handler_name"] == "run").expect("the workflow runs");
        let id = run["id"].as_str().expect("an id");
        let request = self.client.patch(format!("{}/invocations/{id}/cancel", self.ready.engine_admin));
        let _ = self.send(request).await.ok();
    }
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

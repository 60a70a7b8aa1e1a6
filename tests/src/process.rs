//! A jumun process: started on free ports, killed at will, started again on the same directory.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use workflows::merchant::Merchants;

use crate::Answer;

/// How long a jumun that is not needed any more may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(15);

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

/// A data directory and ports that outlive a process.
pub struct Setup {
    directory: TempDir,
    arguments: Vec<String>,
}

impl Setup {
    /// A new data directory, and ports that are free now.
    #[must_use]
    pub fn new() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let mut arguments = vec!["--data-dir".to_owned(), directory.path().join("data").display().to_string()];
        let flags = [
            "--api-listen",
            "--worker-listen",
            "--engine-ingress-listen",
            "--engine-admin-listen",
            "--engine-node-listen",
        ];
        // All are held until each is chosen, so that they differ.
        let ports = flags.map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        for (flag, port) in flags.iter().zip(&ports) {
            arguments.extend([(*flag).to_owned(), port.local_addr().expect("bound").to_string()]);
        }
        Self { directory, arguments }
    }

    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    #[must_use]
    pub fn arguments(&self) -> Vec<&str> {
        self.arguments.iter().map(String::as_str).collect()
    }

    /// Starts jumun here, and waits until it is ready.
    pub async fn start(&self) -> Jumun {
        Jumun::spawn(&self.arguments()).await
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

/// A running jumun. It stops when this is dropped, or when the test process ends.
pub struct Jumun {
    pub ready: Ready,
    /// The directory and ports, where they are this system's alone.
    pub(crate) setup: Option<Setup>,
    /// The merchants of a system whose store is in this process.
    pub(crate) merchants: Option<Arc<dyn Merchants>>,
    child: Mutex<Child>,
    client: reqwest::Client,
}

/// The path of the binary under test.
#[must_use]
pub fn binary() -> PathBuf {
    // The test runs from `deps/`; the package's binaries are one level up.
    let test = std::env::current_exe().expect("a running test has a path");
    test.ancestors().nth(2).expect("target directory").join("jumun-under-test")
}

impl Jumun {
    /// A system that keeps nothing, on free ports.
    pub async fn ephemeral() -> Self {
        Self::spawn(&["--ephemeral"]).await
    }

    /// Starts jumun with `arguments`, and waits until it is ready.
    pub async fn spawn(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        tokio::task::spawn_blocking(move || Self::spawn_blocking(&arguments)).await.expect("no panic")
    }

    fn spawn_blocking(arguments: &[String]) -> Self {
        let mut child = Command::new(binary())
            .args(["--json", "--until-stdin-closes"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary under test is built with the tests");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("readable");
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("jumun did not become ready: {line:?}, {:?}", child.wait());
        });
        Self { ready, setup: None, merchants: None, child: Mutex::new(child), client: client() }
    }

    /// `kill -9`.
    pub fn kill(&self) {
        let mut child = self.child.lock().expect("no panic");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }

    /// Asks it to stop, and waits until it has; its exit code.
    pub fn stop(&self) -> Option<i32> {
        let mut child = self.child.lock().expect("no panic");
        drop(child.stdin.take());
        child.wait().expect("it ends").code()
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

impl Drop for Jumun {
    /// Asks it to stop, so that it removes what it keeps nothing of, and kills it if it takes too long.
    fn drop(&mut self) {
        let child = self.child.get_mut().expect("no panic");
        drop(child.stdin.take());
        let start = Instant::now();
        while start.elapsed() < STOP_WITHIN {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
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

//! The six built-in providers as processes of their own: killed at will, and started again on the same port and store.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Mutex;

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use workflows::Context;

use crate::process::{Process, binary, settings, signal};
use crate::{Answer, Scratch, ports};

/// The line of JSON that `jumun provider … --json` prints once it is ready.
#[derive(Deserialize)]
struct Ready {
    context: String,
    url: String,
}

/// Six running providers. They stop when this is dropped, or when the test process ends.
pub struct Providers {
    // Dropped in this order: the processes go before their stores.
    processes: Mutex<BTreeMap<Context, Process>>,
    urls: BTreeMap<Context, String>,
    stores: Stores,
}

/// Where their data is.
enum Stores {
    /// With settings of their own.
    Memory(Vec<(String, String)>),
    Disk(TempDir),
    /// Payments in PostgreSQL, all others on disk.
    Mixed(TempDir, Scratch),
    /// The same with a server that is the test's own to break.
    MixedAt(TempDir, String),
    /// Payments in PostgreSQL, all others on a SurrealDB server, which these settings name.
    Servers(Vec<(String, String)>, Scratch),
}

impl Stores {
    /// None where it is told by settings.
    fn url(&self, context: Context) -> Option<String> {
        match self {
            Self::Memory(_) => Some("mem://".to_owned()),
            Self::Mixed(_, payments) | Self::Servers(_, payments) if context == Context::Payment => {
                Some(payments.url.clone())
            }
            Self::MixedAt(_, payments) if context == Context::Payment => Some(payments.clone()),
            Self::Disk(directory) | Self::Mixed(directory, _) | Self::MixedAt(directory, _) => {
                Some(format!("surrealkv://{}?sync=every", directory.path().join(context.as_str()).display()))
            }
            Self::Servers(..) => None,
        }
    }
}

impl Providers {
    /// Six that forget everything when they end.
    pub async fn in_memory() -> Self {
        Self::in_memory_with(Vec::new()).await
    }

    /// The same with settings of their own.
    pub async fn in_memory_with(settings: Vec<(String, String)>) -> Self {
        Self::start(Stores::Memory(settings)).await
    }

    /// Six with stores that survive them.
    pub async fn on_disk() -> Self {
        Self::start(Stores::Disk(directory())).await
    }

    /// The same, with stores of two kinds: payments are kept in PostgreSQL.
    pub async fn on_disk_and_postgres() -> Self {
        Self::start(Stores::Mixed(directory(), Scratch::create().await)).await
    }

    /// The same with payments in the PostgreSQL database at `url`.
    pub async fn on_disk_and_postgres_at(url: &str) -> Self {
        Self::start(Stores::MixedAt(directory(), url.to_owned())).await
    }

    /// The same with payments in PostgreSQL, and everything else on the SurrealDB server that these settings name.
    pub async fn on_servers(settings: Vec<(String, String)>) -> Self {
        Self::start(Stores::Servers(settings, Scratch::create().await)).await
    }

    async fn start(stores: Stores) -> Self {
        let mut providers = Self { processes: Mutex::default(), urls: BTreeMap::new(), stores };
        let addresses = ports::free::<6>().map(|address| address.to_string());
        let started =
            Context::ALL.into_iter().zip(&addresses).map(|(context, listen)| providers.spawn(context, listen));
        let started = futures::future::join_all(started).await;
        for (context, (process, ready)) in Context::ALL.into_iter().zip(started) {
            assert_eq!(ready.context, context.as_str());
            providers.processes.get_mut().expect("no panic").insert(context, process);
            providers.urls.insert(context, ready.url);
        }
        providers
    }

    /// What jumun is to be told about them.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let named = self.urls.iter().map(|(context, url)| format!("{context}={url}"));
        named.flat_map(|named| ["--provider".to_owned(), named]).collect()
    }

    /// The same as settings.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        let name = |context: &Context| format!("JUMUN_PROVIDERS__{}", context.as_str().to_uppercase());
        self.urls.iter().map(|(context, url)| (name(context), url.clone())).collect()
    }

    /// The base URL of one of them.
    #[must_use]
    pub fn url(&self, context: Context) -> &str {
        &self.urls[&context]
    }

    /// `kill -9`.
    pub fn kill(&self, context: Context) {
        let killed = self.processes.lock().expect("no panic").remove(&context);
        killed.expect("it runs").kill();
    }

    /// Sends a signal (`STOP`, `CONT`) to one of them.
    pub fn signal(&self, context: Context, name: &str) {
        signal(self.processes.lock().expect("no panic")[&context].id(), name);
    }

    /// Starts one that was killed again, at the same address and on the same store.
    pub async fn restart(&self, context: Context) {
        let address = self.url(context).strip_prefix("http://").expect("a URL");
        let address: SocketAddr = address.trim_end_matches('/').parse().expect("an address");
        let (process, _) = self.spawn(context, &address.to_string()).await;
        self.processes.lock().expect("no panic").insert(context, process);
    }

    async fn spawn(&self, context: Context, listen: &str) -> (Process, Ready) {
        let mut arguments = ["provider", context.as_str(), "--listen", listen, "--sandbox"].map(str::to_owned).to_vec();
        arguments.extend(self.stores.url(context).into_iter().flat_map(|store| ["--store".to_owned(), store]));
        let own = match &self.stores {
            Stores::Memory(settings) | Stores::Servers(settings, _) => settings.clone(),
            _ => Vec::new(),
        };
        Process::start_with(&arguments, [settings(), own].concat()).await
    }
}

/// One provider by itself, to see how it fares. It stops when this is dropped, or when the test process ends.
pub struct Provider {
    process: Process,
    url: String,
    client: reqwest::Client,
}

impl Provider {
    pub async fn start(context: &str, store: &str) -> Self {
        // What a limit on the length of files would otherwise end it by.
        let mut command = Command::new("sh");
        command.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#]).arg(binary());
        let arguments = ["provider", context, "--listen", "127.0.0.1:0", "--store", store].map(str::to_owned);
        let (process, Ready { url, .. }) = Process::start_by(command, &arguments).await;
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { process, url, client }
    }

    /// Asks what its contract has; `None` where nobody answers.
    pub async fn ask(&self, verb: &str, request: &Value) -> Option<Answer> {
        let request = self.client.post(format!("{}/v1/{verb}", self.url)).json(request);
        Answer::read(request.send().await.ok()?).await.ok()
    }

    /// Lets none of its files become longer than so many bytes: as if the disk were full.
    pub fn limit_files(&self, bytes: u64) {
        self.limit(&bytes.to_string());
    }

    pub fn lift_limit(&self) {
        self.limit("unlimited");
    }

    fn limit(&self, fsize: &str) {
        let id = self.process.id().to_string();
        // The soft limit alone, so that it can be lifted again.
        let limited = Command::new("prlimit").args(["--pid", &id, &format!("--fsize={fsize}:")]).status();
        assert!(limited.expect("prlimit is on PATH: it is in util-linux").success());
    }

    /// Waits until it has ended by itself; its exit code.
    pub async fn ended(&self) -> Option<i32> {
        self.process.ended().await
    }
}

fn directory() -> TempDir {
    TempDir::new().expect("a temporary directory")
}

//! jumun as it runs on many machines, on this one: APIs and workers as processes of their own behind one entry, six providers,
//! an engine of three nodes, a SurrealDB server and PostgreSQL. Processes come and go, and everything can be broken.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use activities::CardKeys;
use api::TokenKey;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use workflows::Context;

use crate::client::Ready;
use crate::process::{Process, binary, setting, signal};
use crate::proxy::{Place, Places, Proxy};
use crate::{Answer, Cluster, Jumun, Providers, Surreal, ports, until};

/// How many processes of each part there can be at a time.
pub const PLACES: usize = 4;
/// With which all APIs read tokens.
const TOKEN_KEY: &str = "a key of tokens that all who need it are told";
/// After SIGTERM a part goes on serving until the proxy has seen that it is not ready any more, as in `deploy/compose.yaml`.
const DRAIN: &str = "5s";
/// Probes are answered soon, whatever the answer.
const PROBE: Duration = Duration::from_secs(5);

/// What there are several processes of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Api,
    Worker,
    /// A worker of the next version, at another address.
    NextWorker,
}

impl Part {
    pub(crate) const ALL: [Self; 3] = [Self::Api, Self::Worker, Self::NextWorker];

    /// What the proxy knows it by.
    pub(crate) const fn backend(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
            Self::NextWorker => "next-worker",
        }
    }

    const fn command(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker | Self::NextWorker => "worker",
        }
    }
}

/// What is started.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub apis: usize,
    pub workers: usize,
    /// How many attempts a worker makes at once of each context, if not as many as by default.
    pub attempts_at_once: Option<u32>,
    /// Whether anybody asks who is ready, and whoever stops waits until that is known.
    pub readiness: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self { apis: 2, workers: 2, attempts_at_once: None, readiness: true }
    }
}

/// The line of JSON that `jumun api` and `jumun worker` print once they are ready.
#[derive(Clone, Debug, Deserialize)]
struct PartReady {
    part: String,
    url: String,
    management: Option<String>,
}

/// A running system of many processes. They are killed when this is dropped, or when this process ends.
pub struct Apart {
    // Dropped in this order: whoever needs others goes first.
    running: Mutex<BTreeMap<(Part, usize), Running>>,
    proxy: Proxy,
    pub cluster: Arc<Cluster>,
    pub providers: Providers,
    pub store: Arc<Surreal>,
    /// The system by its entry.
    pub jumun: Jumun,
    places: Places,
    plan: Plan,
    card_key: String,
    /// Asks probes.
    prober: reqwest::Client,
}

struct Running {
    process: Arc<Process>,
    /// Where its probes are asked.
    probes: String,
    /// How often the proxy had taken its place for empty by then.
    downs: u64,
}

impl Apart {
    /// Starts everything, and waits until the proxy has seen it.
    ///
    /// # Panics
    /// Where something does not start. SurrealDB's server has to be built, and PostgreSQL and haproxy have to be there.
    pub async fn start(plan: Plan) -> Self {
        let store = spawn_blocking(Surreal::start).await.expect("no panic").expect("a SurrealDB server");
        Self::start_on(store, plan).await
    }

    /// The same on a server of somebody else's.
    ///
    /// # Panics
    /// As `start`.
    pub async fn start_on(store: Surreal, plan: Plan) -> Self {
        let (cluster, providers) = tokio::join!(Cluster::start(), Providers::on_servers(store.settings()));
        let addresses = ports::free::<{ Part::ALL.len() * PLACES * 2 }>();
        let numbers = Part::ALL.into_iter().flat_map(|part| (0..PLACES).map(move |number| (part, number)));
        // An API is asked where it serves.
        let place =
            |part: Part, listen, own| Place { listen, management: if part == Part::Api { listen } else { own } };
        let places: Places = numbers
            .zip(addresses.chunks(2))
            .map(|((part, number), pair)| ((part, number), place(part, pair[0], pair[1])))
            .collect();
        let proxy = Proxy::start(&places, &providers, plan.readiness).await;
        let admin = cluster.admin_urls().pop().expect("three nodes");
        let entry = proxy.url(Part::Api);
        let ready = Ready {
            docs: format!("{entry}/docs"),
            engine_ui: format!("{admin}/ui"),
            engine_ingress: String::new(),
            engine_admin: admin,
            worker: proxy.url(Part::Worker),
            data_dir: PathBuf::new(),
            engine_pid: None,
            api: entry,
        };
        let system = Self {
            running: Mutex::default(),
            proxy,
            cluster: Arc::new(cluster),
            providers,
            store: Arc::new(store),
            jumun: Jumun::at(ready, TokenKey::new(TOKEN_KEY).expect("long enough")),
            places,
            plan,
            card_key: CardKeys::draw(),
            prober: reqwest::Client::builder().no_proxy().timeout(PROBE).build().expect("a client"),
        };
        // As the first of all defines the tables, the others wait.
        for number in 0..plan.workers {
            system.start_at(Part::Worker, number).await;
        }
        system.register(Part::Worker).await;
        for number in 0..plan.apis {
            system.start_at(Part::Api, number).await;
        }
        system
    }

    /// Which processes of a part there are.
    #[must_use]
    pub fn numbers(&self, part: Part) -> Vec<usize> {
        let running = self.running.lock().expect("no panic");
        running.keys().filter(|(of, _)| *of == part).map(|(_, number)| *number).collect()
    }

    /// Starts one more process, and waits until it is sent requests; its number.
    pub async fn add(&self, part: Part) -> usize {
        let taken = self.numbers(part);
        let number = (0..PLACES).find(|number| !taken.contains(number)).expect("a free place");
        self.start_at(part, number).await;
        number
    }

    /// Starts a process again that was killed.
    pub async fn start_again(&self, part: Part, number: usize) {
        self.start_at(part, number).await;
    }

    /// Asks a process to stop as whoever runs it would, and waits until it has.
    pub async fn remove(&self, part: Part, number: usize) {
        let process = self.take(part, number);
        signal(process.id(), "TERM");
        assert_eq!(process.ended().await, Some(0), "it stops as it was asked to");
        self.proxy.forget(part, number);
    }

    /// `kill -9`.
    pub fn kill(&self, part: Part, number: usize) {
        self.take(part, number).kill();
        self.proxy.forget(part, number);
    }

    fn take(&self, part: Part, number: usize) -> Arc<Process> {
        self.running.lock().expect("no panic").remove(&(part, number)).expect("it runs").process
    }

    async fn start_at(&self, part: Part, number: usize) {
        let Place { listen, management } = self.places[&(part, number)];
        let drain = if self.plan.readiness { DRAIN } else { "0s" };
        let mut arguments = [part.command(), "--drain", drain].map(str::to_owned).to_vec();
        let flags = match part {
            Part::Api => vec![format!("--api-listen={listen}")],
            Part::Worker | Part::NextWorker => vec![
                format!("--worker-listen={listen}"),
                format!("--management-listen={management}"),
                "--debug".to_owned(),
            ],
        };
        arguments.extend(flags);
        if let Some(at_once) = self.plan.attempts_at_once.filter(|_| part != Part::Api) {
            arguments.push(format!("--attempts-at-once={at_once}"));
        }
        let own = vec![
            ("JUMUN_PAYMENT__CARD_KEY".to_owned(), self.card_key.clone()),
            ("JUMUN_ACCESS__KEY".to_owned(), TOKEN_KEY.to_owned()),
            // All that is asked here is asked by few. What is open at a time is bounded as ever.
            setting("REQUESTS_PER_SECOND", "1000000"),
            setting("BURST", "1000000"),
        ];
        let environment = [self.store.settings(), self.cluster.settings(), self.providers.settings(), own].concat();
        self.proxy.expect(part, number);
        let (process, ready): (_, PartReady) = Process::start_with(&arguments, environment).await;
        assert_eq!(ready.part, part.command());
        self.proxy.sees(part, number, true).await;
        let (probes, downs) = (ready.management.unwrap_or(ready.url), self.proxy.downs(part, number));
        let running = Running { process: Arc::new(process), probes, downs };
        self.running.lock().expect("no panic").insert((part, number), running);
    }

    /// Waits until the proxy sends requests to every process that there is.
    pub async fn all_seen(&self) {
        let running: Vec<_> = self.running.lock().expect("no panic").keys().copied().collect();
        for (part, number) in running {
            self.proxy.sees(part, number, true).await;
        }
    }

    /// How often the proxy took a process for gone that runs.
    #[must_use]
    pub fn downs(&self, part: Part, number: usize) -> u64 {
        let before = self.running.lock().expect("no panic").get(&(part, number)).map_or(0, |running| running.downs);
        self.proxy.downs(part, number).saturating_sub(before)
    }

    /// The status of what a process answers at `/livez`, `/readyz` and the like; `None` where it does not answer in time.
    pub async fn probe(&self, part: Part, number: usize, path: &str) -> Option<u16> {
        Some(self.management(Method::GET, part, number, path).await?.status)
    }

    /// What a worker has measured: the sum of a measure over all of its labels that contain `labels`.
    pub async fn measure(&self, part: Part, number: usize, name: &str, labels: &str) -> f64 {
        let answer = self.management(Method::GET, part, number, "/metrics").await;
        let text = answer.as_ref().and_then(|answer| answer.body.as_str()).unwrap_or_default();
        let of_name = text.lines().filter_map(|line| {
            let (measured, value) = line.rsplit_once(' ')?;
            let rest = measured.strip_prefix(name)?;
            ((rest.is_empty() || rest.starts_with('{')) && rest.contains(labels)).then(|| value.parse::<f64>().ok())?
        });
        of_name.sum()
    }

    /// Makes a worker sick, by its debug switch.
    pub async fn sicken(&self, part: Part, number: usize) {
        let answer = self.management(Method::POST, part, number, "/debug/sick").await;
        assert_eq!(answer.map(|answer| answer.status), Some(200));
    }

    async fn management(&self, method: Method, part: Part, number: usize, path: &str) -> Option<Answer> {
        let url = format!("{}{path}", self.running.lock().expect("no panic").get(&(part, number))?.probes);
        Answer::of(self.prober.request(method, url)).await.ok()
    }

    /// Makes a version of the worker known to the engine, as `jumun register` does.
    pub async fn register(&self, part: Part) {
        let worker = self.proxy.url(part);
        until("the version to be registered", async || self.ask_engine(&["register", "--worker", &worker]).await).await;
    }

    /// What `jumun deployments` says.
    pub async fn deployments(&self) -> Vec<Value> {
        let all = until("the deployments", async || self.ask_engine(&["deployments"]).await).await;
        all.as_array().cloned().expect("a list")
    }

    /// Whether a version of the worker is the current one, and how much is open on it; `None` where it is not known.
    pub async fn deployment(&self, part: Part) -> Option<(bool, u64)> {
        let url = self.proxy.url(part);
        let deployments = self.deployments().await;
        let found = deployments
            .iter()
            .find(|deployment| deployment["url"].as_str().is_some_and(|found| found.trim_end_matches('/') == url))?;
        Some((found["current"].as_bool()?, found["open"].as_u64()?))
    }

    /// Lets the engine forget the versions that are drained.
    pub async fn prune(&self) {
        until("the drained to be forgotten", async || self.ask_engine(&["deployments", "prune"]).await).await;
    }

    async fn ask_engine(&self, arguments: &[&str]) -> Option<Value> {
        let mut command = Command::new(binary());
        command.args(arguments).args(["--json", "--engine-admin", &self.jumun.ready.engine_admin]);
        let output = spawn_blocking(move || command.output()).await.expect("no panic").expect("the binary runs");
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// Makes every provider take so long for everything.
    pub async fn slow_down(&self, delay: Duration) {
        let mode = json!({ "mode": "slow", "delay_ms": delay.as_millis() });
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        for context in Context::ALL {
            let put = client.put(format!("{}/sandbox", self.providers.url(context))).json(&mode);
            let _ = Answer::of(put).await.expect("the provider answers").ok();
        }
    }

    /// Has a fault made of the store's server (`kill`, `start`, `pause`, `resume`), and waits until it is.
    pub async fn make(&self, fault: &'static str) {
        let store = self.store.clone();
        spawn_blocking(move || store.make(fault)).await.expect("no panic");
    }

    /// `kill -9` of a node of the engine.
    pub fn kill_node(&self, number: usize) {
        self.cluster.kill(number);
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // One after another they would take their time.
        for running in self.running.get_mut().expect("no panic").values() {
            running.process.kill();
        }
    }
}

//! An engine of three nodes on this machine, which keeps everything on two of them: any single one may be killed, or fall
//! silent, and come back.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;

use crate::held::Held;
use crate::{ports, until};

/// How many nodes there are.
pub const NODES: usize = 3;

/// What the nodes have in common: the engine's configuration as jumun has it.
const CONFIG: &str = include_str!("../../deploy/restate.toml");

/// With this the nodes sign what they ask of the worker.
const IDENTITY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIPe++4ZTPQDF81otpoU/mOGHC2vOAVp9WbiCblvn3nXO
-----END PRIVATE KEY-----
";
/// And with this the worker checks it.
const PUBLIC_KEY: &str = "publickeyv1_AfQwmwfgEZhrWpvv8N52SHpRtZqGGaFr4AZN6qtYWSiY";

/// How long a node may take to answer whether it is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many lines of a node's log are told where a test fails.
const LAST_LINES: usize = 30;

/// Three nodes. They are killed when this is dropped, or when this process ends.
pub struct Cluster {
    // Dropped in this order: the nodes go before their data.
    nodes: Vec<Node>,
    directory: TempDir,
    program: PathBuf,
}

struct Node {
    name: String,
    fabric: SocketAddr,
    ingress: SocketAddr,
    admin: SocketAddr,
    process: Mutex<Option<Held>>,
}

impl Cluster {
    /// Starts the nodes, and waits until they answer.
    pub async fn start() -> Self {
        let program = jumun::engine_program().await.expect("an engine");
        let directory = TempDir::new().expect("a temporary directory");
        let worker = format!("[worker]\nidentity_keys = [\"{PUBLIC_KEY}\"]\n");
        for (name, text) in [("restate.toml", CONFIG), ("identity.pem", IDENTITY), ("jumun.toml", &worker)] {
            std::fs::write(directory.path().join(name), text).expect("writes");
        }
        let ports = ports::free::<{ NODES * 3 }>();
        let node = |(number, ports): (usize, &[SocketAddr])| Node {
            name: format!("node-{number}"),
            fabric: ports[0],
            ingress: ports[1],
            admin: ports[2],
            process: Mutex::default(),
        };
        let nodes = ports.chunks(3).enumerate().map(node).collect();
        let cluster = Self { nodes, directory, program };
        for number in 0..NODES {
            cluster.spawn(number);
        }
        for number in 0..NODES {
            cluster.answers(number).await;
        }
        cluster
    }

    /// What jumun is to be told about them.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let (ingress, admin) = (self.ingress_urls().join(","), self.admin_urls().join(","));
        let config = self.directory.path().join("jumun.toml").display().to_string();
        ["--engine-ingress", &ingress, "--engine-admin", &admin, "--config", &config].map(str::to_owned).to_vec()
    }

    /// The same as settings: for the API where they are, for the worker with which key they sign.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        [
            ("JUMUN_ENGINE__INGRESS", self.ingress_urls().join(",")),
            ("JUMUN_ENGINE__ADMIN", self.admin_urls().join(",")),
            ("JUMUN_WORKER__IDENTITY_KEYS", PUBLIC_KEY.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    fn ingress_urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("http://{}", node.ingress)).collect()
    }

    /// The admin API of every node.
    #[must_use]
    pub fn admin_urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("http://{}", node.admin)).collect()
    }

    /// `kill -9` of one node.
    pub fn kill(&self, number: usize) {
        let process = self.nodes[number].process.lock().expect("no panic").take();
        drop(process.expect("it runs"));
    }

    /// Starts a node again that was killed, on its data and its addresses, and waits until it answers.
    pub async fn restart(&self, number: usize) {
        self.spawn(number);
        self.answers(number).await;
    }

    /// Sends a signal (`STOP`, `CONT`) to one node.
    pub fn signal(&self, number: usize, name: &str) {
        self.nodes[number].process.lock().expect("no panic").as_ref().expect("it runs").signal(name);
    }

    fn spawn(&self, number: usize) {
        let fabrics: Vec<_> = self.nodes.iter().map(|node| format!("\"http://{}\"", node.fabric)).collect();
        let Node { name, fabric, ingress, admin, process } = &self.nodes[number];
        let directory = self.directory.path();
        let log = std::fs::OpenOptions::new().append(true).create(true).open(self.log(number)).expect("opens");
        let mut command = Held::command();
        command
            .arg(&self.program)
            .arg("--config-file")
            .arg(directory.join("restate.toml"))
            .arg("--base-dir")
            .arg(directory.join(name))
            .args(["--cluster-name", "chaos", "--node-name", name])
            // Exactly one node founds the cluster; a node that was there before takes part in the one it knows.
            .args(["--auto-provision", if number == 0 { "true" } else { "false" }])
            .args(["--listen-mode", "tcp", "--bind-address", &fabric.to_string()])
            .args(["--no-logo", "--log-format", "compact", "--log-disable-ansi-codes", "true"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("RESTATE_ADVERTISED_ADDRESS", format!("http://{fabric}"))
            .env("RESTATE_DEFAULT_REPLICATION", "2")
            // More than one machine needs: each node leads some.
            .env("RESTATE_DEFAULT_NUM_PARTITIONS", "4")
            .env("RESTATE_WORKER__INVOKER__REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE", directory.join("identity.pem"))
            .env("RESTATE_METADATA_CLIENT__ADDRESSES", format!("[{}]", fabrics.join(",")))
            .env("RESTATE_INGRESS__BIND_ADDRESS", ingress.to_string())
            .env("RESTATE_INGRESS__ADVERTISED_ADDRESS", format!("http://{ingress}"))
            .env("RESTATE_ADMIN__BIND_ADDRESS", admin.to_string())
            .env("RESTATE_ADMIN__ADVERTISED_ADDRESS", format!("http://{admin}"))
            .stderr(log);
        *process.lock().expect("no panic") = Some(Held::spawn(command));
    }

    async fn answers(&self, number: usize) {
        let Node { name, ingress, admin, .. } = &self.nodes[number];
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        for url in [format!("http://{admin}/health"), format!("http://{ingress}/restate/health")] {
            until(&format!("{name} to answer ({})", self.log(number).display()), async || {
                let answer = client.get(&url).send().await.ok()?;
                answer.status().is_success().then_some(())
            })
            .await;
        }
    }

    fn log(&self, number: usize) -> PathBuf {
        self.directory.path().join(format!("{}.log", self.nodes[number].name))
    }
}

impl Drop for Cluster {
    /// Tells what the nodes said last where a test fails: their logs go with the directory.
    fn drop(&mut self) {
        for number in (0..NODES).filter(|_| std::thread::panicking()) {
            let log = std::fs::read_to_string(self.log(number)).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(LAST_LINES).collect();
            eprintln!("{} said last:", self.nodes[number].name);
            last.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
    }
}

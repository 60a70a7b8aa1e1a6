//! The engine: one restate-server as a child process that lives exactly as long as this one. It is started again when
//! it dies, on the same directory and the same addresses, so that every order carries on.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::listen;

/// The engine's own configuration, as jumun runs it.
const CONFIG: &str = include_str!("../../restate.toml");
/// The settings of the engine's allocator: large pages, where the system gives them to who asks, no sampling for heap profiles,
/// which each allocation would pay for, and as much that each thread keeps for itself as in our own (allocator.rs). An order
/// takes 3 to 6 % less processor time for the first two, and 1 to 3 % less for the last (measured).
const ALLOCATOR: &str = "MALLOC_CONF";
const ALLOCATOR_SETTINGS: &str =
    "thp:always,prof:false,tcache_nslots_small_max:400,tcache_nslots_large:40,lg_tcache_max:17";
/// Names the directory of the node's data, which would otherwise be lost when the machine gets another name.
const NODE: &str = "jumun";

/// How long the engine may take to stop by itself.
const STOP_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
const POLL_TIMEOUT: Duration = Duration::from_secs(2);
/// So many deaths within `DEATHS_WITHIN` are more than bad luck.
const DEATHS: usize = 5;
const DEATHS_WITHIN: Duration = Duration::from_mins(1);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// A log that is longer than this is put aside when the engine starts.
const LOG_BYTES: u64 = 16 * 1024 * 1024;
const LAST_LINES: usize = 15;
const LAST_BYTES: i64 = 16 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("cannot write {}", .path.display())]
    Files { path: PathBuf, source: io::Error },
    #[error("cannot start {}", .binary.display())]
    Spawn { binary: PathBuf, source: io::Error },
    #[error("lost sight of restate-server")]
    Wait(#[source] io::Error),
    #[error("restate-server ended {DEATHS} times within a minute, last with {status}; {last_words}")]
    KeepsDying { status: ExitStatus, last_words: LastWords },
    #[error("restate-server was not ready within {} s; {last_words}", .within.as_secs())]
    NotReady { within: Duration, last_words: LastWords },
    #[error("cannot ask restate-server whether it is ready")]
    Client(#[from] reqwest::Error),
    #[error("no engine answered at {urls} within {} s; start it, or leave it to jumun to start one", .within.as_secs())]
    NotThere { urls: String, within: Duration },
}

/// Settings of the engine's that are laid over those that jumun comes with.
#[derive(Clone, Debug, Default)]
pub struct Tuning(toml::Table);

/// A file of engine settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTuning {
    #[error("cannot read {}", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is no TOML", .path.display())]
    NotToml { path: PathBuf, source: Box<toml::de::Error> },
}

impl Tuning {
    pub fn read(path: &Path) -> Result<Self, InvalidTuning> {
        let unreadable = |source| InvalidTuning::Unreadable { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let table = text.parse().map_err(|source: toml::de::Error| {
            let source = Box::new(source);
            InvalidTuning::NotToml { path: path.to_owned(), source }
        })?;
        Ok(Self(table))
    }

    /// What the engine reads.
    fn config(&self) -> String {
        if self.0.is_empty() {
            return CONFIG.to_owned();
        }
        let mut config = CONFIG.parse().expect("a test reads it");
        lay_over(&mut config, &self.0);
        format!("# jumun's settings with those of --engine-config laid over them.\n\n{config}")
    }
}

fn lay_over(below: &mut toml::Table, above: &toml::Table) {
    for (key, value) in above {
        match (below.get_mut(key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => lay_over(below, above),
            _ => drop(below.insert(key.clone(), value.clone())),
        }
    }
}

/// Which restate-server, where, and on which addresses.
#[derive(Clone, Debug)]
pub struct Launch {
    pub binary: PathBuf,
    pub tuning: Tuning,
    /// Everything of the engine's: data, configuration, log.
    pub dir: PathBuf,
    /// The file with the private key that it signs with what it asks of workers.
    pub identity: PathBuf,
    pub ingress: SocketAddr,
    pub admin: SocketAddr,
    pub node: SocketAddr,
}

impl Launch {
    pub fn log(&self) -> PathBuf {
        self.dir.join("restate-server.log")
    }

    fn config(&self) -> PathBuf {
        self.dir.join("restate.toml")
    }

    fn last_words(&self) -> LastWords {
        LastWords { log: self.log(), lines: last_lines(&self.log()).unwrap_or_default() }
    }

    /// Writes what the engine reads, and makes room for what it says.
    fn prepare(&self) -> Result<(), EngineError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| EngineError::Files { path, source }
        };
        std::fs::create_dir_all(&self.dir).map_err(failed(&self.dir))?;
        std::fs::write(self.config(), self.tuning.config()).map_err(failed(&self.config()))?;
        let log = self.log();
        if std::fs::metadata(&log).is_ok_and(|log| log.len() > LOG_BYTES) {
            std::fs::rename(&log, log.with_extension("log.1")).map_err(failed(&log))?;
        }
        Ok(())
    }

    fn spawn(&self) -> Result<Child, EngineError> {
        let path = self.log();
        let log = || -> io::Result<File> { OpenOptions::new().append(true).create(true).open(&path) };
        let (out, err) = log()
            .and_then(|out| Ok((out, log()?)))
            .map_err(|source| EngineError::Files { path: path.clone(), source })?;
        let mut command = std::process::Command::new(&self.binary);
        command
            .arg("--config-file")
            .arg(self.config())
            .arg("--base-dir")
            .arg(&self.dir)
            .args(["--node-name", NODE, "--cluster-name", NODE, "--auto-provision", "true"])
            // The engine's own sockets would lie in the base directory, whose path may be too long for that.
            .args(["--listen-mode", "tcp", "--bind-address", &self.node.to_string()])
            .args(["--no-logo", "--log-format", "compact", "--log-disable-ansi-codes", "true"])
            // Nothing that happens to be in the environment reaches the engine.
            .env_clear()
            .env(ALLOCATOR, ALLOCATOR_SETTINGS)
            .env("RESTATE_INGRESS__BIND_ADDRESS", self.ingress.to_string())
            .env("RESTATE_INGRESS__ADVERTISED_ADDRESS", listen::url(self.ingress))
            .env("RESTATE_ADMIN__BIND_ADDRESS", self.admin.to_string())
            .env("RESTATE_ADMIN__ADVERTISED_ADDRESS", listen::url(self.admin))
            .env("RESTATE_WORKER__INVOKER__REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE", &self.identity)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            // Ctrl-C in a terminal goes to the whole group; the engine stops after everybody who needs it.
            .process_group(0);
        die_with_this_thread(&mut command);
        tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| EngineError::Spawn { binary: self.binary.clone(), source })
    }
}

/// Lets the system kill the child when the thread that starts it ends, even by `kill -9` of the process.
#[cfg(target_os = "linux")]
fn die_with_this_thread(command: &mut std::process::Command) {
    let parent = nix::unistd::getpid();
    let in_child = move || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        // Did the parent die before that? Then nobody would kill this child any more.
        if nix::unistd::getppid() != parent {
            return Err(nix::Error::ESRCH.into());
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. The closure makes two system calls and
    // allocates nothing: `parent` is a number, and both errors are plain error codes.
    #[allow(unsafe_code, reason = "there is no safe way to run code in the child; see SAFETY")]
    unsafe {
        command.pre_exec(in_child);
    }
}

/// Other systems have nothing like it: after `kill -9` of jumun the engine stays, and the next start says which port
/// it holds.
#[cfg(not(target_os = "linux"))]
fn die_with_this_thread(_: &mut std::process::Command) {}

/// The running engine. Dropping it kills it.
#[derive(Debug)]
pub struct Engine {
    launch: Launch,
    pid: watch::Receiver<Option<u32>>,
    stop: CancellationToken,
    kill: CancellationToken,
    ended: CancellationToken,
    // The thread that starts the process has to outlive it (see `die_with_this_thread`), so supervision has its own.
    supervisor: Option<JoinHandle<Result<(), EngineError>>>,
}

impl Engine {
    /// Starts restate-server and sees to it that it runs until `stop`.
    pub fn start(launch: Launch) -> Result<Self, EngineError> {
        launch.prepare()?;
        let (pid_sender, pid) = watch::channel(None);
        let (stop, kill, ended) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| EngineError::Spawn { binary: launch.binary.clone(), source })?;
        let supervision =
            Supervision { launch: launch.clone(), pid: pid_sender, stop: stop.clone(), kill: kill.clone() };
        let ending = ended.clone().drop_guard();
        let supervisor = std::thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || {
                let _ending = ending;
                runtime.block_on(supervision.run())
            })
            .map_err(|source| EngineError::Spawn { binary: launch.binary.clone(), source })?;
        Ok(Self { launch, pid, stop, kill, ended, supervisor: Some(supervisor) })
    }

    /// The process that runs now; `None` between two of them.
    pub fn pid(&self) -> Option<u32> {
        *self.pid.borrow()
    }

    /// Returns when the engine takes invocations and registrations.
    pub async fn ready(&mut self, within: Duration) -> Result<(), EngineError> {
        let (ingress, admin) = ([listen::url(self.launch.ingress)], [listen::url(self.launch.admin)]);
        tokio::select! {
            () = self.ended.cancelled() => self.outcome(),
            ready = answers(&ingress, &admin, within) => ready.map_err(|error| match error {
                EngineError::NotThere { within, .. } => {
                    EngineError::NotReady { within, last_words: self.launch.last_words() }
                }
                error => error,
            }),
        }
    }

    /// Returns when the engine has ended for good, which it does by itself only if it keeps dying.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Asks the engine to stop, and kills it if it takes too long. Says how it ended, if it had ended before.
    pub async fn stop(mut self) -> Result<(), EngineError> {
        self.stop.cancel();
        self.ended.cancelled().await;
        self.outcome()
    }

    fn outcome(&mut self) -> Result<(), EngineError> {
        match self.supervisor.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.kill.cancel();
        self.stop.cancel();
        if let Some(supervisor) = self.supervisor.take() {
            // An error was nobody's to hear any more, and a panic has been printed.
            let _ = supervisor.join();
        }
    }
}

/// Returns when an engine answers at one of the ingress URLs and at one of the admin URLs: so it takes invocations and
/// registrations.
pub async fn answers(ingress: &[String], admin: &[String], within: Duration) -> Result<(), EngineError> {
    // A proxy from the environment has no business between jumun and its engine.
    let client = reqwest::Client::builder().no_proxy().timeout(POLL_TIMEOUT).build()?;
    let answer = async {
        for (urls, path) in [(admin, "health"), (ingress, "restate/health")] {
            let healthy: Vec<_> = urls.iter().map(|url| format!("{url}/{path}")).collect();
            let mut urls = healthy.iter().cycle();
            while !is_ok(&client, urls.next().expect("there is one")).await {
                tokio::time::sleep(POLL).await;
            }
        }
    };
    let not_there = |_| EngineError::NotThere { urls: [admin, ingress].concat().join(", "), within };
    tokio::time::timeout(within, answer).await.map_err(not_there)
}

async fn is_ok(client: &reqwest::Client, url: &str) -> bool {
    client.get(url).send().await.is_ok_and(|response| response.status().is_success())
}

/// What runs in the engine's thread.
struct Supervision {
    launch: Launch,
    pid: watch::Sender<Option<u32>>,
    stop: CancellationToken,
    kill: CancellationToken,
}

impl Supervision {
    async fn run(self) -> Result<(), EngineError> {
        let mut deaths = Deaths::default();
        loop {
            let mut child = self.launch.spawn()?;
            self.pid.send_replace(child.id());
            debug!(pid = child.id(), "restate-server started");
            let died = tokio::select! {
                died = child.wait() => died.map_err(EngineError::Wait)?,
                () = self.stop.cancelled() => return self.end(child).await,
            };
            self.pid.send_replace(None);
            let Some(backoff) = deaths.count(Instant::now()) else {
                return Err(EngineError::KeepsDying { status: died, last_words: self.launch.last_words() });
            };
            warn!(status = %died, ?backoff, "restate-server ended by itself and is started again");
            tokio::select! {
                () = tokio::time::sleep(backoff) => {},
                () = self.stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn end(&self, mut child: Child) -> Result<(), EngineError> {
        if let Some(pid) = child.id()
            && let Err(error) = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM)
        {
            debug!(%error, "restate-server had ended before it was asked to");
        }
        tokio::select! {
            ended = child.wait() => return ended.map(drop).map_err(EngineError::Wait),
            () = tokio::time::sleep(STOP_WITHIN) => warn!("restate-server did not stop in time and is killed"),
            () = self.kill.cancelled() => {},
        }
        child.kill().await.map_err(EngineError::Wait)
    }
}

/// The deaths that still count.
#[derive(Default)]
struct Deaths(VecDeque<Instant>);

impl Deaths {
    /// How long to wait until the next start; `None`: enough.
    fn count(&mut self, now: Instant) -> Option<Duration> {
        self.0.retain(|death| now.duration_since(*death) < DEATHS_WITHIN);
        let backoff = FIRST_BACKOFF * 2u32.pow(self.0.len().try_into().ok()?);
        self.0.push_back(now);
        (self.0.len() < DEATHS).then_some(backoff)
    }
}

/// The end of the engine's log, for a person to read.
#[derive(Debug)]
pub struct LastWords {
    log: PathBuf,
    lines: Vec<String>,
}

impl std::fmt::Display for LastWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "its log is {}", self.log.display())?;
        if !self.lines.is_empty() {
            f.write_str(" and ends with:")?;
        }
        self.lines.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

fn last_lines(log: &Path) -> io::Result<Vec<String>> {
    let mut file = File::open(log)?;
    if file.seek(SeekFrom::End(-LAST_BYTES)).is_err() {
        file.rewind()?;
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<String> = text.lines().rev().take(LAST_LINES).map(str::to_owned).collect();
    lines.reverse();
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_many_deaths_in_a_short_time_are_too_many() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut deaths = Deaths::default();
        let waits: Vec<_> = (0..5).map(|second| deaths.count(at(second))).collect();
        let expected = [Some(100), Some(200), Some(400), Some(800), None].map(|ms| ms.map(Duration::from_millis));
        assert_eq!(waits, expected);

        let mut deaths = Deaths::default();
        assert!((0..100).all(|n| deaths.count(at(20 * n)).is_some()));
    }

    #[test]
    fn the_configuration_is_toml() {
        let config: toml::Table = CONFIG.parse().expect("is TOML");
        assert_eq!(config["disable-telemetry"].as_bool(), Some(true));
        assert_eq!(config["default-retry-policy"]["max-attempts"].as_str(), Some("unlimited"));
    }

    #[test]
    fn a_tuning_changes_what_it_names_and_nothing_else() {
        assert_eq!(Tuning::default().config(), CONFIG);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("engine.toml");
        let tuning =
            "default-num-partitions = 24\n[worker.invoker]\ninactivity-timeout = \"0s\"\n[tracing]\nlevel = 1\n";
        std::fs::write(&path, tuning).expect("writes");
        let tuned: toml::Table = Tuning::read(&path).expect("reads").config().parse().expect("is TOML");
        let mut expected: toml::Table = CONFIG.parse().expect("is TOML");
        expected["default-num-partitions"] = 24.into();
        expected["worker"]["invoker"]["inactivity-timeout"] = "0s".into();
        expected.insert("tracing".to_owned(), toml::toml! { level = 1 }.into());
        assert_eq!(tuned, expected);

        std::fs::write(&path, "[worker").expect("writes");
        assert!(matches!(Tuning::read(&path), Err(InvalidTuning::NotToml { .. })));
        assert!(matches!(Tuning::read(dir.path()), Err(InvalidTuning::Unreadable { .. })));
    }

    #[tokio::test]
    async fn an_engine_that_is_not_there_is_named() {
        let nowhere = ["http://127.0.0.1:1".to_owned()];
        let error = answers(&nowhere, &nowhere, Duration::from_millis(100)).await.expect_err("nobody is there");
        assert!(error.to_string().contains("no engine answered at http://127.0.0.1:1"), "{error}");
    }

    #[tokio::test]
    async fn an_engine_that_keeps_dying_is_given_up_with_its_last_words() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let launch = Launch {
            // A shell takes none of our flags: it complains and ends.
            binary: "/bin/sh".into(),
            tuning: Tuning::default(),
            dir: dir.path().join("engine"),
            identity: dir.path().join("identity.pem"),
            ingress: nowhere,
            admin: nowhere,
            node: nowhere,
        };
        let mut engine = Engine::start(launch).expect("starts");
        let error = engine.ready(Duration::from_secs(30)).await.expect_err("dies").to_string();
        assert!(error.contains("ended 5 times within a minute, last with exit status: "), "{error}");
        assert!(error.contains("option"), "{error}");
    }
}

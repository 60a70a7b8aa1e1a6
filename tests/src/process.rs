//! A process of the binary under test: ready when it says so, killed at will, gone when the test process ends.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use api::{BreakerLimits, Limits};
use serde::de::DeserializeOwned;

use crate::{surreal, until};

/// Where the processes say what they have to say, if not where this one does.
static SAYS: OnceLock<Option<File>> = OnceLock::new();

/// What the processes have to say goes to `file` from now on, and nowhere without one.
pub fn say_to(file: Option<File>) {
    SAYS.set(file).expect("it is set once, first");
}

pub(crate) fn says() -> Stdio {
    match SAYS.get() {
        None => Stdio::inherit(),
        Some(None) => Stdio::null(),
        Some(Some(file)) => file.try_clone().expect("there are file descriptors left").into(),
    }
}

/// How long a process that is not needed any more may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// The path of the binary under test: that which `JUMUN_TEST_BINARY` names, or that which was built with the tests.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("JUMUN_TEST_BINARY") {
        return path.into();
    }
    // A test runs from `deps/`; the package's binaries are one level up, where one of them runs itself.
    let this = std::env::current_exe().expect("a running program has a path");
    let directory = this.parent().expect("is in a directory");
    let directory = if directory.ends_with("deps") { directory.parent().expect("is below another") } else { directory };
    directory.join("jumun-under-test")
}

/// More of anything than a test brings about.
const MANY: NonZeroU32 = NonZeroU32::new(1_000_000).expect("is not zero");

/// Limits that are met by no test by accident: a test's requests are all one principal's, and a busy machine is slow.
pub(crate) fn unlimited() -> Limits {
    Limits {
        requests_per_second: MANY,
        burst: MANY,
        open_placements: MANY.get(),
        breaker: BreakerLimits { samples: MANY.get(), ..BreakerLimits::default() },
        ..Limits::default()
    }
}

/// The same as settings of a process.
pub(crate) fn settings() -> Vec<(String, String)> {
    ["REQUESTS_PER_SECOND", "BURST", "OPEN_PLACEMENTS", "BREAKER__SAMPLES"]
        .map(|key| setting(key, &MANY.to_string()))
        .into()
}

/// A setting of section `limits`.
pub(crate) fn setting(key: &str, value: &str) -> (String, String) {
    (format!("JUMUN_LIMITS__{key}"), value.to_owned())
}

/// Sends a signal (`KILL`, `STOP`, `CONT`) to a process.
pub fn signal(pid: u32, name: &str) {
    let kill = format!("kill -{name} {pid}");
    assert!(Command::new("sh").args(["-c", &kill]).status().expect("sh runs").success(), "{kill}");
}

/// The process of that name that another one has started and that runs now. Where the system does not tell, none.
pub(crate) fn child(parent: u32, name: &str) -> Option<u32> {
    let processes = std::fs::read_dir("/proc").ok()?;
    processes.filter_map(|process| process.ok()?.file_name().to_str()?.parse().ok()).find(|pid| {
        // Like `123 (name) S 1 …`: the name, the state, the parent.
        let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let (named, rest) = line.rsplit_once(')').unwrap_or_default();
        named.ends_with(&format!("({name}")) && rest.split_whitespace().nth(1) == Some(&parent.to_string())
    })
}

/// The store of a whole system in one process, if `JUMUN_TEST_STORE` names a SurrealDB server: each system has a namespace of
/// its own there, by the name of its data directory. Without it each has the embedded store. Parts are told where theirs is.
fn store(arguments: &[String]) -> Vec<(String, String)> {
    if arguments.first().is_some_and(|argument| !argument.starts_with('-')) {
        return Vec::new();
    }
    store_settings(arguments.iter().skip_while(|argument| *argument != "--data-dir").nth(1).map(String::as_str))
}

/// The same of the system of a data directory.
pub(crate) fn store_settings(data_dir: Option<&str>) -> Vec<(String, String)> {
    let Ok(url) = std::env::var("JUMUN_TEST_STORE") else { return Vec::new() };
    let namespace = data_dir.map_or_else(|| format!("ephemeral_{:032x}", rand::random::<u128>()), namespace);
    surreal::settings(&url, &namespace)
}

/// Where the system of that data directory keeps everything on a server.
pub(crate) fn namespace(data_dir: &str) -> String {
    data_dir.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// A running process. It stops when this is dropped, or when the test process ends.
pub(crate) struct Process(Mutex<Child>);

impl Process {
    /// Starts the binary with this environment, and waits for the line of JSON that it prints once it is ready.
    pub(crate) async fn start_with<T: DeserializeOwned + Send + 'static>(
        arguments: &[String],
        environment: Vec<(String, String)>,
    ) -> (Self, T) {
        let mut command = Command::new(binary());
        command.envs(environment).stderr(says());
        Self::start_by(command, arguments).await
    }

    /// The same with its log in a file.
    pub(crate) async fn start_logging<T: DeserializeOwned + Send + 'static>(
        arguments: &[String],
        log: Option<File>,
    ) -> (Self, T) {
        let mut command = Command::new(binary());
        command.envs(settings()).stderr(log.map_or_else(says, Stdio::from));
        Self::start_by(command, arguments).await
    }

    /// The same by a command that ends in the binary, to which the arguments are added.
    pub(crate) async fn start_by<T: DeserializeOwned + Send + 'static>(
        command: Command,
        arguments: &[String],
    ) -> (Self, T) {
        let arguments = arguments.to_vec();
        tokio::task::spawn_blocking(move || Self::start_blocking(command, &arguments)).await.expect("no panic")
    }

    fn start_blocking<T: DeserializeOwned>(mut command: Command, arguments: &[String]) -> (Self, T) {
        let mut child = command
            .envs(store(arguments))
            .args(arguments)
            .args(["--json", "--until-stdin-closes"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary under test is built with the tests");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("readable");
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("{arguments:?} did not become ready: {line:?}, {:?}", child.wait());
        });
        (Self(Mutex::new(child)), ready)
    }

    /// `kill -9`.
    pub(crate) fn kill(&self) {
        let mut child = self.0.lock().expect("no panic");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }

    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.0.lock().expect("no panic").id()
    }

    /// Waits until it has ended by itself; its exit code.
    pub(crate) async fn ended(&self) -> Option<i32> {
        let ended =
            until("the process to end", async || self.0.lock().expect("no panic").try_wait().expect("can be asked"));
        ended.await.code()
    }

    /// Asks it to stop, and waits until it has; its exit code.
    pub(crate) fn stop(&self) -> Option<i32> {
        let mut child = self.0.lock().expect("no panic");
        drop(child.stdin.take());
        child.wait().expect("it ends").code()
    }
}

impl Drop for Process {
    /// Asks it to stop, so that it removes what it keeps nothing of, and kills it if it takes too long.
    fn drop(&mut self) {
        let child = self.0.get_mut().expect("no panic");
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

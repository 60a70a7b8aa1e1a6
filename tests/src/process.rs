//! A process of the binary under test: ready when it says so, killed at will, gone when the test process ends.

use std::io::{BufRead, BufReader};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

/// How long a process that is not needed any more may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// The path of the binary under test.
#[must_use]
pub fn binary() -> PathBuf {
    // The test runs from `deps/`; the package's binaries are one level up.
    let test = std::env::current_exe().expect("a running test has a path");
    test.ancestors().nth(2).expect("target directory").join("jumun-under-test")
}

/// More requests a second than a test sends: they are all one principal's.
pub(crate) const MANY: NonZeroU32 = NonZeroU32::new(1_000_000).expect("is not zero");

/// A running process. It stops when this is dropped, or when the test process ends.
pub(crate) struct Process(Mutex<Child>);

impl Process {
    /// Starts the binary, and waits for the line of JSON that it prints once it is ready.
    pub(crate) async fn start<T: DeserializeOwned + Send + 'static>(arguments: &[String]) -> (Self, T) {
        Self::start_within(arguments, Vec::new()).await
    }

    /// The same with an environment, which is above what tests have otherwise.
    pub(crate) async fn start_within<T: DeserializeOwned + Send + 'static>(
        arguments: &[String],
        environment: Vec<(String, String)>,
    ) -> (Self, T) {
        let arguments = arguments.to_vec();
        tokio::task::spawn_blocking(move || Self::start_blocking(&arguments, environment)).await.expect("no panic")
    }

    fn start_blocking<T: DeserializeOwned>(arguments: &[String], environment: Vec<(String, String)>) -> (Self, T) {
        let mut child = Command::new(binary())
            .args(arguments)
            .args(["--json", "--until-stdin-closes"])
            .env("JUMUN_LIMITS__REQUESTS_PER_SECOND", MANY.to_string())
            .env("JUMUN_LIMITS__BURST", MANY.to_string())
            .envs(environment)
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

//! A data directory and ports that outlive a process, so that a jumun can be killed and started again.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use activities::{Login, Store, Within};
use tempfile::TempDir;

use crate::process::{namespace, store_settings};
use crate::{Faults, Jumun, faults, ports};

/// A data directory and ports that outlive a process.
pub struct Setup {
    directory: TempDir,
    arguments: Vec<String>,
    /// Where the log goes, if not to standard error.
    log: Option<PathBuf>,
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
        for (flag, address) in flags.iter().zip(ports::free::<5>()) {
            arguments.extend([(*flag).to_owned(), address.to_string()]);
        }
        Self { directory, arguments, log: None }
    }

    /// The same with engine settings of its own.
    #[must_use]
    pub fn tuned(mut self, toml: &str) -> Self {
        let path = self.directory.path().join("engine.toml");
        std::fs::write(&path, toml).expect("writes");
        self.arguments.extend(["--engine-config".to_owned(), path.display().to_string()]);
        self
    }

    /// The same with a configuration file.
    #[must_use]
    pub fn configured(mut self, toml: &str) -> Self {
        let path = self.directory.path().join("jumun.toml");
        std::fs::write(&path, toml).expect("writes");
        self.arguments.extend(["--config".to_owned(), path.display().to_string()]);
        self
    }

    /// The same with a log of what `filter` lets through, kept beside the data directory.
    #[must_use]
    pub fn logged(mut self, filter: &str) -> Self {
        self.arguments.extend(["--log".to_owned(), filter.to_owned()]);
        self.log = Some(self.directory.path().join("log"));
        self
    }

    /// What was logged.
    #[must_use]
    pub fn log(&self) -> String {
        let log = self.log.as_ref().expect("a setup that is logged");
        String::from_utf8_lossy(&std::fs::read(log).expect("is there")).into_owned()
    }

    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The store of a system that has stopped.
    pub async fn store(&self) -> Store {
        store_of(&self.data_dir()).await
    }

    /// The settings of a process that is to use that store.
    #[must_use]
    pub fn store_settings(&self) -> Vec<(String, String)> {
        store_settings(Some(self.data_dir().to_str().expect("Unicode")))
    }

    /// Whether that store is on a server, not in the data directory.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        !self.store_settings().is_empty()
    }

    #[must_use]
    pub fn arguments(&self) -> Vec<&str> {
        self.arguments.iter().map(String::as_str).collect()
    }

    /// The same with providers that misbehave as `faults` has it written down.
    pub async fn start_faulted(&self, faults: &Faults) -> Jumun {
        let directory = faults.directory().to_str().expect("Unicode").to_owned();
        Jumun::spawn_with(&self.arguments(), (faults::DIRECTORY.to_owned(), directory)).await
    }

    /// Starts jumun here, and waits until it is ready.
    pub async fn start(&self) -> Jumun {
        let open = |log| OpenOptions::new().append(true).create(true).open(log).expect("a log");
        Jumun::spawn_logging(&self.arguments(), self.log.as_ref().map(open)).await
    }
}

/// The store of the system of that data directory, which has stopped.
pub async fn store_of(data_dir: &Path) -> Store {
    let store = match std::env::var("JUMUN_TEST_STORE") {
        Ok(url) => {
            let root = || "root".to_owned();
            let login = Login { username: root(), password: root(), within: Within::Server };
            Store::connect(&url, &namespace(data_dir.to_str().expect("Unicode")), Some(&login)).await
        }
        Err(_) => Store::open(&format!("surrealkv://{}?sync=every", data_dir.join("store").display())).await,
    };
    store.expect("opens")
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

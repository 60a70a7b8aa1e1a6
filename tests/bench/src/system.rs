//! A jumun to be measured: one of the bench's own, fresh, in a process of its own with its engine, or one that runs already.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::usage::{self, Meter};

/// With this variable the bench's own program is jumun.
pub const AS_JUMUN: &str = "BENCH_AS_JUMUN";
/// What an own system is started with, over what the environment says. All load comes from a few callers, so how much one
/// caller may ask is not what is measured; and so many orders are not more than the system is to take on.
const LIFTED: [(&str, &str); 4] = [
    ("JUMUN_LIMITS__REQUESTS_PER_SECOND", "1000000"),
    ("JUMUN_LIMITS__BURST", "1000000"),
    ("JUMUN_LIMITS__OPEN_PLACEMENTS", "1000000"),
    ("JUMUN_LIMITS__BREAKER__SAMPLES", "1000000"),
];
const ADDRESSES: [&str; 5] =
    ["--api-listen", "--worker-listen", "--engine-ingress-listen", "--engine-admin-listen", "--engine-node-listen"];
const FREE: &str = "127.0.0.1:0";
/// How long the engine may take to follow a jumun that was killed.
const GONE_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);
const LAST_LINES: usize = 10;

/// How own systems are started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// None: the bench's own program.
    pub jumun: Option<PathBuf>,
    /// Where they have their directories.
    pub dir: PathBuf,
}

/// Who acts by which token.
#[derive(Clone, Debug)]
pub struct Tokens {
    pub operator: String,
    pub customer: String,
    pub courier: String,
}

/// What jumun says once it is ready.
#[derive(Clone, Debug, Deserialize)]
pub struct Ready {
    pub api: String,
    pub engine_ingress: String,
    pub engine_admin: String,
    pid: u32,
    engine_pid: Option<u32>,
}

/// A running system.
pub struct System {
    pub api: String,
    pub tokens: Tokens,
    own: Option<Own>,
}

/// A system that ends with this.
struct Own {
    launch: Launch,
    ready: Ready,
    child: Child,
    /// Dropped after the child has ended.
    home: TempDir,
}

impl System {
    /// One that others have started.
    pub fn at(url: &str, tokens: Tokens) -> Self {
        Self { api: url.trim_end_matches('/').to_owned(), tokens, own: None }
    }

    /// A fresh one.
    pub async fn start(launch: &Launch) -> Result<Self> {
        std::fs::create_dir_all(&launch.dir)?;
        let home = tempfile::Builder::new().prefix("bench-").tempdir_in(&launch.dir);
        let home = home.with_context(|| format!("cannot make a directory in {}", launch.dir.display()))?;
        let (child, ready) = launch.spawn(home.path()).await?;
        let mut own = Own { launch: launch.clone(), ready, child, home };
        let tokens = Tokens {
            operator: own.token("operator").await?,
            customer: own.token("customer").await?,
            courier: own.token("courier").await?,
        };
        Ok(Self { api: std::mem::take(&mut own.ready.api), tokens, own: Some(own) })
    }

    fn own(&mut self) -> Result<&mut Own> {
        self.own.as_mut().context("this scenario starts and stops the system, which is not for one that others run")
    }

    /// Where its engine takes invocations and where it is managed.
    pub fn engine(&mut self) -> Result<(String, String)> {
        let Ready { engine_ingress, engine_admin, .. } = &self.own()?.ready;
        Ok((engine_ingress.trim_end_matches('/').to_owned(), engine_admin.trim_end_matches('/').to_owned()))
    }

    /// What tells how much it takes of the machine.
    pub fn meter(&self) -> Meter {
        self.own.as_ref().map_or_else(Meter::default, |own| Meter {
            pids: std::iter::once(own.ready.pid).chain(own.ready.engine_pid).collect(),
            dir: Some(data_dir(own.home.path())),
        })
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(&mut self) -> Result<()> {
        // It stops when its standard input ends, which waiting closes.
        let ended = self.own()?.child.wait().await?;
        ensure!(ended.success(), "jumun did not stop as asked: {ended}");
        Ok(())
    }

    /// `kill -9`. Its engine goes with it, as it would have to if the machine went down.
    pub async fn kill(&mut self) -> Result<()> {
        let own = self.own()?;
        own.child.kill().await?;
        let began = Instant::now();
        while own.ready.engine_pid.is_some_and(usage::runs) {
            ensure!(began.elapsed() < GONE_WITHIN, "the engine outlives jumun");
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Starts it on its directory once more. How long it took until it said that it is ready.
    pub async fn start_again(&mut self) -> Result<Duration> {
        let own = self.own()?;
        let began = Instant::now();
        let (child, ready) = own.launch.spawn(own.home.path()).await?;
        let took = began.elapsed();
        (own.child, own.ready) = (child, ready);
        self.api = std::mem::take(&mut self.own()?.ready.api);
        Ok(took)
    }
}

impl Launch {
    fn command(&self) -> Result<Command> {
        let mut command = match &self.jumun {
            Some(jumun) => Command::new(jumun),
            None => Command::new(std::env::current_exe()?),
        };
        // The store has errors of its own that nobody sees, and would trace back every one of them.
        command.env(AS_JUMUN, "1").env_remove("RUST_BACKTRACE").kill_on_drop(true);
        Ok(command)
    }

    async fn spawn(&self, home: &Path) -> Result<(Child, Ready)> {
        let log = home.join("jumun.log");
        let out = OpenOptions::new().create(true).append(true).open(&log)?;
        let addresses = ADDRESSES.iter().flat_map(|flag| [*flag, FREE]);
        let mut child = self
            .command()?
            .envs(LIFTED)
            .arg("--data-dir")
            .arg(data_dir(home))
            .args(addresses)
            .args(["--json", "--until-stdin-closes"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(out)
            .spawn()
            .context("cannot start jumun")?;
        let stdout = child.stdout.take().expect("piped");
        let line = BufReader::new(stdout).lines().next_line().await?;
        let Some(ready) = line.and_then(|line| serde_json::from_str(&line).ok()) else {
            bail!("jumun did not become ready; its log ends with:\n{}", last_lines(&log));
        };
        Ok((child, ready))
    }
}

impl Own {
    async fn token(&self, role: &str) -> Result<String> {
        let arguments = ["token", "--role", role, "--subject", "bench", "--data-dir"].map(OsString::from);
        let minted = self.launch.command()?.args(arguments).arg(data_dir(self.home.path())).output().await?;
        ensure!(minted.status.success(), "no token for a {role}: {}", String::from_utf8_lossy(&minted.stderr));
        Ok(String::from_utf8(minted.stdout)?.trim().to_owned())
    }
}

impl Drop for Own {
    /// Kills it, and waits until nobody writes to its directory any more, which is removed next.
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        let began = Instant::now();
        let ended = |child: &mut Child| !matches!(child.try_wait(), Ok(None));
        while began.elapsed() < GONE_WITHIN {
            if ended(&mut self.child) && !self.ready.engine_pid.is_some_and(usage::runs) {
                return;
            }
            std::thread::sleep(POLL);
        }
    }
}

fn data_dir(home: &Path) -> PathBuf {
    home.join("data")
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

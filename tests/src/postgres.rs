//! A PostgreSQL database for one test: on the server that `JUMUN_TEST_POSTGRES` names, or on one of this process's own.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use reqwest::Url;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

use crate::process::signal;

/// A server of this process's own, to be broken at will. It ends when its standard input does, and so with this process.
pub struct Postgres {
    pub url: Url,
    pipes: Mutex<Pipes>,
}

struct Pipes {
    process: Child,
    faults: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Postgres {
    /// # Errors
    /// Where PostgreSQL is not installed, or does not start; the script has said why on standard error.
    pub fn start() -> io::Result<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/postgres");
        let mut process = Command::new(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let faults = process.stdin.take().expect("piped");
        let mut answers = BufReader::new(process.stdout.take().expect("piped"));
        let mut line = String::new();
        answers.read_line(&mut line)?;
        let url = line.trim().parse().map_err(|_| io::Error::other("there is no PostgreSQL to start"))?;
        Ok(Self { url, pipes: Mutex::new(Pipes { process, faults, answers }) })
    }

    /// Has a fault made (`kill`, `start`, `pause`, `resume`), and waits until it is.
    pub fn make(&self, fault: &str) {
        let Pipes { faults, answers, .. } = &mut *self.pipes.lock().expect("no panic");
        writeln!(faults, "{fault}").and_then(|()| faults.flush()).expect("the script reads");
        let mut line = String::new();
        answers.read_line(&mut line).expect("readable");
        assert_eq!(line.trim(), "done", "{fault}");
    }
}

impl Drop for Postgres {
    /// Waits until nothing is left of it.
    fn drop(&mut self) {
        let Pipes { process, .. } = self.pipes.get_mut().unwrap_or_else(PoisonError::into_inner);
        signal(process.id(), "TERM");
        let _ = process.wait();
    }
}

/// The server that tests share.
struct Server {
    url: Url,
    _own: Option<Postgres>,
}

impl Server {
    async fn get() -> &'static Self {
        static SERVER: OnceCell<Server> = OnceCell::const_new();
        let find = || match std::env::var("JUMUN_TEST_POSTGRES") {
            Ok(url) => Self { url: url.parse().expect("JUMUN_TEST_POSTGRES is a URL"), _own: None },
            Err(_) => Self::start(),
        };
        SERVER.get_or_init(async || tokio::task::spawn_blocking(find).await.expect("no panic")).await
    }

    fn start() -> Self {
        let own = Postgres::start();
        let own = own.unwrap_or_else(|error| panic!("{error}, and JUMUN_TEST_POSTGRES names none"));
        Self { url: own.url.clone(), _own: Some(own) }
    }
}

/// A database that goes when this is dropped.
pub struct Scratch {
    pub url: String,
    name: String,
    server: Url,
}

impl Scratch {
    pub async fn create() -> Self {
        let server = Server::get().await.url.clone();
        let name = format!("jumun_test_{}", uuid::Uuid::now_v7().simple());
        administer(&server, format!("CREATE DATABASE {name}")).await;
        let mut url = server.clone();
        url.set_path(&name);
        Self { url: url.into(), name, server }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let (server, drop) = (self.server.clone(), format!("DROP DATABASE {} WITH (FORCE)", self.name));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
            runtime.block_on(administer(&server, drop));
        });
        // In a test that fails already, one more panic would hide why.
        if thread.join().is_err() {
            eprintln!("the database {} stays", self.name);
        }
    }
}

async fn administer(server: &Url, statement: String) {
    let mut connection = PgConnection::connect(server.as_str()).await.expect("connects");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.expect("may make databases");
}

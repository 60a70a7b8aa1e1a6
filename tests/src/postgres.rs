//! A PostgreSQL database for one test: on the server that `JUMUN_TEST_POSTGRES` names, or on one of this process's own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use reqwest::Url;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

/// A server. One of our own ends when its standard input does, and so with this process.
struct Server {
    url: Url,
    _process: Option<Child>,
}

impl Server {
    async fn get() -> &'static Self {
        static SERVER: OnceCell<Server> = OnceCell::const_new();
        let find = || match std::env::var("JUMUN_TEST_POSTGRES") {
            Ok(url) => Self { url: url.parse().expect("JUMUN_TEST_POSTGRES is a URL"), _process: None },
            Err(_) => Self::start(),
        };
        SERVER.get_or_init(async || tokio::task::spawn_blocking(find).await.expect("no panic")).await
    }

    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/postgres");
        let mut process = Command::new(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{script} cannot be started: {error}"));
        let mut line = String::new();
        let stdout = process.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("readable");
        let url = line.trim().parse();
        let url = url.unwrap_or_else(|_| panic!("no PostgreSQL to test on, and JUMUN_TEST_POSTGRES names none"));
        Self { url, _process: Some(process) }
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

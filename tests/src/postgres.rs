//! A PostgreSQL database for one test: on the server that `JUMUN_TEST_POSTGRES` names, or on one of this process's own.

use std::io;

use reqwest::Url;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

use crate::script::Script;

/// A server of this process's own, to be broken at will. It ends when its standard input does, and so with this process.
pub struct Postgres {
    pub url: Url,
    script: Script,
}

impl Postgres {
    /// # Errors
    /// Where PostgreSQL is not installed, or does not start; the script has said why on standard error.
    pub fn start() -> io::Result<Self> {
        let script = Script::start("postgres")?;
        let url = script.url.parse().map_err(|_| io::Error::other("there is no PostgreSQL to start"))?;
        Ok(Self { url, script })
    }

    /// Has a fault made (`kill`, `start`, `pause`, `resume`), and waits until it is.
    pub fn make(&self, fault: &str) {
        self.script.make(fault);
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

//! The system under test: jumun, its engine, six providers and PostgreSQL, each of which can be broken and mended.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tests::{Answer, Cluster, Jumun, Postgres, Providers, Setup};
use tokio::time::sleep;

use crate::plan::{Blow, How, Size, Target};

/// jumun gives up an engine that dies five times within a minute, so one dies less often here.
const ENGINE_DEATHS: usize = 3;
const ENGINE_DEATHS_WITHIN: Duration = Duration::from_secs(75);
/// How long a person at the engine's admin API waits.
const ADMIN_PATIENCE: Duration = Duration::from_secs(5);

pub struct System {
    // Dropped in this order: whoever needs others goes first.
    jumun: Mutex<Arc<Jumun>>,
    arguments: Vec<String>,
    providers: Providers,
    cluster: Option<Cluster>,
    postgres: Option<Arc<Postgres>>,
    _setup: Setup,
    engine_deaths: Mutex<Vec<Instant>>,
    http: reqwest::Client,
}

impl System {
    pub async fn start(size: &Size) -> Result<Self> {
        let postgres = if size.postgres {
            let started = tokio::task::spawn_blocking(Postgres::start).await?;
            let help = "payments are to be kept in PostgreSQL, which is not here; install it (Debian: apt-get install \
                        postgresql), or leave it out with --without-postgres";
            Some(Arc::new(started.context(help)?))
        } else {
            None
        };
        let providers = match &postgres {
            Some(postgres) => Providers::on_disk_and_postgres_at(postgres.url.as_str()).await,
            None => Providers::on_disk().await,
        };
        let cluster = if size.cluster { Some(Cluster::start().await) } else { None };
        let setup = Setup::new();
        let mut arguments: Vec<String> = setup.arguments().into_iter().map(str::to_owned).collect();
        arguments.extend(providers.arguments());
        arguments.extend(cluster.iter().flat_map(Cluster::arguments));
        let jumun = Mutex::new(Arc::new(spawn(&arguments).await));
        let http = reqwest::Client::builder().no_proxy().timeout(ADMIN_PATIENCE).build()?;
        let engine_deaths = Mutex::default();
        Ok(Self { jumun, arguments, providers, cluster, postgres, _setup: setup, engine_deaths, http })
    }

    /// The jumun that runs now, or ran last.
    pub fn jumun(&self) -> Arc<Jumun> {
        self.jumun.lock().expect("no panic").clone()
    }

    /// Breaks it, and returns when it is broken.
    pub async fn break_it(&self, Blow { target, how, .. }: Blow) {
        match (target, how) {
            (Target::Jumun, How::Kill) => self.jumun().kill(),
            (Target::Jumun, How::Pause) => self.jumun().signal("STOP"),
            (Target::Engine, How::Kill) => {
                self.spare_the_engine().await;
                self.jumun().signal_engine("KILL");
            }
            (Target::Engine, How::Pause) => self.jumun().signal_engine("STOP"),
            (Target::Node(node), How::Kill) => self.cluster().kill(node),
            (Target::Node(node), How::Pause) => self.cluster().signal(node, "STOP"),
            (Target::Provider(context), How::Kill) => self.providers.kill(context),
            (Target::Provider(context), How::Pause) => self.providers.signal(context, "STOP"),
            (Target::Postgres, How::Kill) => self.make("kill").await,
            (Target::Postgres, How::Pause) => self.make("pause").await,
        }
    }

    /// Mends what `break_it` broke, and returns when it is started again; it need not have caught up.
    pub async fn mend(&self, Blow { target, how, .. }: Blow) {
        match (target, how) {
            (Target::Jumun, How::Kill) => {
                let jumun = Arc::new(spawn(&self.arguments).await);
                *self.jumun.lock().expect("no panic") = jumun;
            }
            (Target::Jumun, How::Pause) => self.jumun().signal("CONT"),
            // jumun itself starts it again.
            (Target::Engine, How::Kill) => {}
            (Target::Engine, How::Pause) => self.jumun().signal_engine("CONT"),
            (Target::Node(node), How::Kill) => self.cluster().restart(node).await,
            (Target::Node(node), How::Pause) => self.cluster().signal(node, "CONT"),
            (Target::Provider(context), How::Kill) => self.providers.restart(context).await,
            (Target::Provider(context), How::Pause) => self.providers.signal(context, "CONT"),
            (Target::Postgres, How::Kill) => self.make("start").await,
            (Target::Postgres, How::Pause) => self.make("resume").await,
        }
    }

    fn cluster(&self) -> &Cluster {
        self.cluster.as_ref().expect("only a cluster's nodes are broken")
    }

    async fn make(&self, fault: &'static str) {
        let postgres = self.postgres.clone().expect("only a server that runs is broken");
        tokio::task::spawn_blocking(move || postgres.make(fault)).await.expect("no panic");
    }

    async fn spare_the_engine(&self) {
        loop {
            let wait = {
                let mut deaths = self.engine_deaths.lock().expect("no panic");
                deaths.retain(|death| death.elapsed() < ENGINE_DEATHS_WITHIN);
                if deaths.len() < ENGINE_DEATHS {
                    deaths.push(Instant::now());
                    return;
                }
                ENGINE_DEATHS_WITHIN.saturating_sub(deaths[0].elapsed())
            };
            sleep(wait).await;
        }
    }

    /// Presses the engine's cancel button for an order's workflow; `None` where that cannot be done now, or is not known to
    /// have been.
    pub async fn press_cancel(&self, order_id: &str) -> Option<()> {
        let query = format!(
            "SELECT id FROM sys_invocation WHERE target_service_name = 'order' \
             AND target_service_key = '{order_id}' AND target_handler_name = 'run'"
        );
        let rows = self.engine_query(&query).await?;
        let id = rows.first()?["id"].as_str()?.to_owned();
        for url in self.admin_urls() {
            let pressed = self.http.patch(format!("{url}/invocations/{id}/cancel")).send().await;
            // Refused where the workflow has ended.
            if pressed.is_ok_and(|pressed| !pressed.status().is_server_error()) {
                return Some(());
            }
        }
        None
    }

    /// Rows of a query of the engine's introspection tables, from the first node that answers.
    pub async fn engine_query(&self, query: &str) -> Option<Vec<Value>> {
        for url in self.admin_urls() {
            let ask = self.http.post(format!("{url}/query")).header("accept", "application/json");
            let Ok(answer) = ask.json(&json!({ "query": query })).send().await else { continue };
            if let Ok(Answer { status: 200, body, .. }) = Answer::read(answer).await {
                return body["rows"].as_array().cloned();
            }
        }
        None
    }

    fn admin_urls(&self) -> Vec<String> {
        match &self.cluster {
            Some(cluster) => cluster.admin_urls(),
            None => vec![self.jumun().ready.engine_admin.clone()],
        }
    }
}

async fn spawn(arguments: &[String]) -> Jumun {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    Jumun::spawn(&arguments).await
}

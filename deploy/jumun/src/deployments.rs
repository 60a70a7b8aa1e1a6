//! `jumun register` and `jumun deployments`: the versions of the worker that an engine knows, side by side.

use std::fmt::Write as _;
use std::io;

use serde::Serialize;
use worker::{AdminError, Deployment, DeploymentId, Deployments, MoveError, RemoveError};

use crate::config::HttpUrl;
use crate::report;

/// The engine, and how to answer.
#[derive(Clone, Debug, clap::Args)]
pub struct Asked {
    /// The engine's admin API
    #[arg(
        long,
        env = "JUMUN_ENGINE_ADMIN",
        value_name = "URL",
        default_value = "http://127.0.0.1:9070",
        global = true
    )]
    pub engine_admin: HttpUrl,

    /// Print one line of JSON
    #[arg(long, env = "JUMUN_JSON", value_parser = clap::builder::FalseyValueParser::new(), global = true)]
    pub json: bool,

    /// What is logged on standard error, like `info,worker=debug`
    #[arg(long, env = "JUMUN_LOG", value_name = "FILTER", default_value = "warn", value_parser = crate::log_filter, global = true)]
    pub log: String,
}

/// What `jumun register` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Registration {
    /// Where the engine reaches the worker; another URL for each version, since a version never changes
    #[arg(long, env = "JUMUN_WORKER", value_name = "URL")]
    pub worker: HttpUrl,

    #[command(flatten)]
    pub asked: Asked,
}

/// What `jumun deployments` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Inventory {
    #[command(subcommand)]
    pub action: Option<Action>,

    #[command(flatten)]
    pub asked: Asked,
}

#[derive(Clone, Debug, clap::Subcommand)]
pub enum Action {
    /// Show every version, and how much is open on each (the default)
    List,
    /// Let the engine forget a version that is drained; refused while it is needed
    Remove {
        /// Like `dp_13tTPOTpCa1d3UZ`
        id: DeploymentId,
    },
    /// Remove every version that is drained
    Prune,
    /// Let what is open on a version go on, on the current one; only for versions with compatible journals
    Move {
        /// Like `dp_13tTPOTpCa1d3UZ`
        id: DeploymentId,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum DeploymentsError {
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Remove(#[from] RemoveError),
    #[error(transparent)]
    Move(#[from] MoveError),
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
}

pub async fn register(Registration { worker, asked }: &Registration) -> Result<(), DeploymentsError> {
    #[derive(Serialize)]
    struct Registered {
        id: DeploymentId,
    }
    let id = Deployments::new(&asked.engine_admin.to_string())?.register(&worker.to_string()).await?;
    let text = format!("{id}\n");
    Ok(report::data(&text, &Registered { id }, asked.json)?)
}

pub async fn run(Inventory { action, asked }: &Inventory) -> Result<(), DeploymentsError> {
    #[derive(Serialize)]
    struct Moved {
        moved: usize,
    }
    let deployments = Deployments::new(&asked.engine_admin.to_string())?;
    match action {
        None | Some(Action::List) => {
            let all = deployments.list().await?;
            report::data(&table(&all), &all, asked.json)?;
        }
        Some(Action::Remove { id }) => {
            deployments.remove(id).await?;
            report::data(&format!("{id}\n"), &[id], asked.json)?;
        }
        Some(Action::Prune) => {
            let removed: Vec<_> = deployments.prune().await?.into_iter().map(|deployment| deployment.id).collect();
            let lines = removed.iter().fold(String::new(), |lines, id| lines + &format!("{id}\n"));
            report::data(&lines, &removed, asked.json)?;
        }
        Some(Action::Move { id }) => {
            let moved = deployments.move_open(id).await?;
            report::data(&format!("{moved} moved\n"), &Moved { moved }, asked.json)?;
        }
    }
    Ok(())
}

/// For a person: the oldest first.
fn table(deployments: &[Deployment]) -> String {
    let widest = |width: fn(&Deployment) -> usize| deployments.iter().map(width).max().unwrap_or_default();
    let id_width = widest(|deployment| deployment.id.to_string().len());
    let url_width = widest(|deployment| deployment.url.len());
    let mut table = format!("{:id_width$}  {:url_width$}  {:8}  STATE\n", "ID", "URL", "OPEN");
    for deployment in deployments {
        let Deployment { id, url, open, current, .. } = deployment;
        let state = match (current, deployment.is_drained()) {
            (true, _) => "takes what begins anew",
            (false, true) => "drained",
            (false, false) => "drains",
        };
        let _ = writeln!(table, "{id:id_width$}  {url:url_width$}  {open:<8}  {state}");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_sees_which_version_drains() {
        let deployment = |id: &str, current, open| Deployment {
            id: id.parse().expect("an id"),
            url: format!("http://worker-{open}:9080/"),
            created_at: "2026-11-21T13:00:00Z".to_owned(),
            current,
            open,
        };
        let all = [deployment("dp_1", false, 0), deployment("dp_2", false, 12), deployment("dp_3", true, 3)];
        let expected = "\
ID    URL                     OPEN      STATE
dp_1  http://worker-0:9080/   0         drained
dp_2  http://worker-12:9080/  12        drains
dp_3  http://worker-3:9080/   3         takes what begins anew
";
        assert_eq!(table(&all), expected);
    }
}

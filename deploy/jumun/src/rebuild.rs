//! `jumun rebuild`: makes the orders' views and the dashboard's tallies once more from the events, for a store that was
//! damaged, or to show that it was not.

use std::io;
use std::path::PathBuf;

use activities::rebuild::{Difference, Rebuilt, rebuild};
use activities::{Store, StoreError};

use crate::config::{Configuration, ExistingStore, InvalidConfiguration};
use crate::data_dir::{DataDir, DataDirError};
use crate::report;
use crate::settings::DEFAULT_LOG;
use crate::store_url::StoreUrl;

/// What `jumun rebuild` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// The data directory; nobody may use it meanwhile
    #[arg(long, env = "JUMUN_DATA_DIR", value_name = "DIR", default_value = ".jumun")]
    pub data_dir: PathBuf,

    /// The configuration file (TOML); the environment is above it. Where it names a `[store]`, that is rebuilt instead of the
    /// data directory
    #[arg(long, env = "JUMUN_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Of a server: every API and every worker that uses it is stopped. What they write meanwhile would be undone
    #[arg(long)]
    pub nobody_writes: bool,

    /// Change nothing, and only tell what is different
    #[arg(long)]
    pub dry_run: bool,

    /// Print one line of JSON about what was different
    #[arg(long, env = "JUMUN_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub json: bool,

    /// What is logged on standard error, like `info,activities=debug`
    #[arg(long, env = "JUMUN_LOG", value_name = "FILTER", default_value = DEFAULT_LOG, value_parser = crate::log_filter)]
    pub log: String,
}

#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error(transparent)]
    Configuration(#[from] InvalidConfiguration),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(
        "the store is on a server ({0}), where others may write: stop every API and every worker, and say so with \
         --nobody-writes (or only look, with --dry-run)"
    )]
    OthersMayWrite(StoreUrl),
    #[error("cannot open the store")]
    Open(#[source] StoreError),
    #[error("the views are not all rebuilt; run it again")]
    Store(#[from] StoreError),
    #[error("the events of {0} orders cannot be read, so their views and the tallies were left as they are")]
    Unreadable(usize),
    #[error("views or tallies are not what the events tell; nothing was changed, because this was a dry run")]
    Different,
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
}

impl RebuildError {
    /// What the process ends with.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) | Self::OthersMayWrite(_) => crate::MAKES_NO_SENSE,
            Self::DataDir(_) | Self::Open(_) => crate::CANNOT_START,
            _ => crate::FAILED,
        }
    }
}

/// Where the views are.
pub enum Place {
    Directory(DataDir),
    Server(ExistingStore),
}

/// Takes the data directory, if it is there, which the caller drops when nothing uses it any more.
pub fn place(settings: &Settings) -> Result<Place, RebuildError> {
    let configuration = Configuration::read(settings.config.as_deref(), std::env::vars_os())?;
    Ok(match configuration.store {
        Some(server) if settings.nobody_writes || settings.dry_run => Place::Server(server),
        Some(server) => return Err(RebuildError::OthersMayWrite(server.url)),
        None => Place::Directory(DataDir::open_existing(&settings.data_dir)?),
    })
}

/// Compares, and replaces what is different.
pub async fn run(settings: &Settings, place: &Place) -> Result<(), RebuildError> {
    let store = match place {
        Place::Directory(dir) => Store::open(&dir.store_url()?).await,
        Place::Server(server) => server.connect().await,
    };
    let store = store.map_err(RebuildError::Open)?;
    let difference = if settings.dry_run { Difference::Report } else { Difference::Replace };
    let rebuilt = rebuild(&store, difference).await?;
    report::data(&page(&rebuilt, settings.dry_run), &rebuilt, settings.json)?;
    if !rebuilt.unreadable.is_empty() {
        return Err(RebuildError::Unreadable(rebuilt.unreadable.len()));
    }
    if settings.dry_run && !rebuilt.is_same() {
        return Err(RebuildError::Different);
    }
    Ok(())
}

fn page(rebuilt: &Rebuilt, dry_run: bool) -> String {
    let Rebuilt { orders, events, different, missing, strays, tallies, takings, examples, unreadable } = rebuilt;
    let mut lines = vec![format!("{orders} orders, {events} events")];
    if rebuilt.is_same() {
        lines.push("all views and tallies are what the events tell".to_owned());
    } else {
        let were = if dry_run { "different" } else { "different, and replaced" };
        lines.push(format!("{were}: {different} orders, {tallies} tallies, {takings} hours"));
        lines.push(format!("orders without a view: {missing}; views without events: {strays}"));
        lines.extend(examples.iter().map(|id| format!("  {id}")));
    }
    if !unreadable.is_empty() {
        lines.push(format!("orders whose events cannot be read, or have gaps: {}", unreadable.len()));
        lines.extend(unreadable.iter().map(|id| format!("  {id}")));
    }
    lines.push(String::new());
    lines.join("\n")
}

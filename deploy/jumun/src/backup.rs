//! `jumun backup` and `jumun restore`: everything of a data directory in one file, and back. The engine's journal and the
//! stores have to be of one moment, or an order would remember steps that no store knows of; so the directory has to be at
//! rest, which its lock shows.

use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use workflows::Context;

use crate::archive::{self, ArchiveError, Elsewhere, Manifest, Origin};
use crate::config::{Configuration, InvalidConfiguration};
use crate::data_dir::{self, DataDir, DataDirError};
use crate::report;
use crate::store_url::{OccupiedStore, StoreUrl, StoreUrlError};

/// What `jumun backup` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct BackupSettings {
    /// The data directory to save; nobody may use it meanwhile
    #[arg(long, env = "JUMUN_DATA_DIR", value_name = "DIR", default_value = ".jumun")]
    pub data_dir: PathBuf,

    /// The file to write, like `jumun-2026-11-21.tar.gz`; one that exists is left alone
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,

    /// The configuration file (TOML) that jumun runs with, which says what is kept elsewhere
    #[arg(long, env = "JUMUN_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The store of payments, if jumun is started with this flag (or `JUMUN_PAYMENT__STORE`)
    #[arg(long, value_name = "URL")]
    pub payment_store: Option<StoreUrl>,

    /// Print one line of JSON about what was saved
    #[arg(long, env = "JUMUN_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub json: bool,
}

/// What `jumun restore` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct RestoreSettings {
    /// A file that `jumun backup` wrote
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,

    /// The data directory to make of it; it must be absent or empty
    #[arg(long, env = "JUMUN_DATA_DIR", value_name = "DIR", default_value = ".jumun")]
    pub data_dir: PathBuf,

    /// Print one line of JSON about what was restored
    #[arg(long, env = "JUMUN_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub json: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Configuration(#[from] InvalidConfiguration),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Provider(#[from] StoreUrlError),
    #[error("orders are on the server {0}, which has to be saved by its own means, together with the engine's")]
    OnServer(StoreUrl),
    #[error("{} exists already, and no backup is ever written over another", .0.display())]
    Exists(PathBuf),
    #[error("{} lies in the data directory itself", .0.display())]
    Inside(PathBuf),
    #[error("no backup was written")]
    Write(#[source] ArchiveError),
    #[error("no backup was written: what came back from the disk is not what was saved")]
    Verify(#[source] ArchiveError),
    #[error("cannot write {}", .path.display())]
    To { path: PathBuf, source: io::Error },
    #[error("cannot read {}", .path.display())]
    From { path: PathBuf, source: io::Error },
    #[error("{} cannot be restored, and nothing was changed", .path.display())]
    Restore {
        path: PathBuf,
        #[source]
        cause: ArchiveError,
    },
    #[error(
        "{} was saved from a data directory of format {found}, and this jumun knows {}; restore it with a newer one",
        .path.display(), data_dir::FORMAT
    )]
    Newer { path: PathBuf, found: u32 },
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
}

impl BackupError {
    /// What the process ends with.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) => crate::MAKES_NO_SENSE,
            Self::DataDir(_) | Self::Provider(_) | Self::OnServer(_) | Self::Exists(_) | Self::Inside(_) => {
                crate::CANNOT_START
            }
            _ => crate::FAILED,
        }
    }
}

/// What was saved, or restored. With `--json` this is the line on standard output.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    file: &'a Path,
    /// The size of the file.
    bytes: u64,
    data_dir: &'a Path,
    /// How many files of the directory are in it, and how many bytes they have.
    data_files: usize,
    data_bytes: u64,
    created_at: DateTime<Utc>,
    jumun: &'a str,
    engine: Option<&'a str>,
    elsewhere: &'a [Elsewhere],
}

/// Saves a data directory.
pub fn backup(settings: &BackupSettings) -> Result<(), BackupError> {
    let mut configuration = Configuration::read(settings.config.as_deref(), std::env::vars_os())?;
    if let Some(store) = &settings.payment_store {
        configuration.payment_store = Some(store.clone());
    }
    if let Some(server) = configuration.store {
        return Err(BackupError::OnServer(server.url));
    }
    let dir = DataDir::open_existing(&settings.data_dir)?;
    let _providers = providers_at_rest(dir.path())?;
    let to = std::path::absolute(&settings.to).map_err(|source| to_error(&settings.to, source))?;
    let parent = to.parent().unwrap_or(&to);
    let is_inside =
        parent.canonicalize().is_ok_and(|parent| dir.path().canonicalize().is_ok_and(|dir| parent.starts_with(dir)));
    if is_inside {
        return Err(BackupError::Inside(to));
    }
    if to.exists() {
        return Err(BackupError::Exists(to));
    }

    let elsewhere = elsewhere(&configuration);
    let origin = Origin { engine: engine_version(&dir.engine()), data_format: data_dir::FORMAT, elsewhere };
    // Under another name until it is whole, and readable by nobody else, because there are keys in it.
    let mut file = NamedTempFile::new_in(parent).map_err(|source| to_error(&to, source))?;
    let written = archive::write(dir.path(), origin, &to, BufWriter::new(file.as_file_mut()));
    let manifest = written.map_err(BackupError::Write)?;
    file.as_file().sync_all().map_err(|source| to_error(&to, source))?;
    let back = file.reopen().map_err(|source| to_error(&to, source))?;
    let read = archive::read(BufReader::new(back), None).map_err(BackupError::Verify)?;
    debug_assert_eq!(read, manifest);
    let bytes = file.as_file().metadata().map_err(|source| to_error(&to, source))?.len();
    file.persist_noclobber(&to).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists(to.clone()),
        _ => to_error(&to, error.error),
    })?;
    archive::sync(parent).map_err(BackupError::Write)?;
    tell(&manifest, &to, bytes, dir.path(), Done::Saved, settings.json)
}

/// Makes a data directory of a backup.
pub fn restore(settings: &RestoreSettings) -> Result<(), BackupError> {
    let RestoreSettings { from, data_dir, json } = settings;
    let unreadable = |source| BackupError::From { path: from.clone(), source };
    let file = File::open(from).map_err(unreadable)?;
    let bytes = file.metadata().map_err(unreadable)?.len();
    let manifest = DataDir::restore(data_dir, |into| {
        let read = archive::read(BufReader::new(file), Some(into));
        let manifest = read.map_err(|cause| BackupError::Restore { path: from.clone(), cause })?;
        if manifest.data_format > data_dir::FORMAT {
            return Err(BackupError::Newer { path: from.clone(), found: manifest.data_format });
        }
        Ok(manifest)
    })?;
    let data_dir = std::path::absolute(data_dir).map_err(|source| to_error(data_dir, source))?;
    tell(&manifest, from, bytes, &data_dir, Done::Restored, *json)
}

fn to_error(path: &Path, source: io::Error) -> BackupError {
    BackupError::To { path: path.to_owned(), source }
}

/// Takes the stores of providers that were started without one of their own: they lie in the directory, too.
fn providers_at_rest(dir: &Path) -> Result<Vec<OccupiedStore>, BackupError> {
    let stores = Context::ALL.map(|context| dir.join("providers").join(context.as_str()));
    let there = stores.into_iter().filter(|store| store.exists());
    there
        .map(|path| {
            let text = path.to_str().ok_or_else(|| DataDirError::NotUnicode { path: path.clone() })?;
            Ok(StoreUrl::on_disk(text).occupy()?)
        })
        .collect()
}

/// What the configuration says is not in the data directory.
fn elsewhere(configuration: &Configuration) -> Vec<Elsewhere> {
    let remote = configuration.providers.iter();
    let mut elsewhere: Vec<_> =
        remote.map(|(context, url)| Elsewhere { context: *context, place: url.to_string() }).collect();
    if let Some(store) = &configuration.payment_store
        && !configuration.providers.contains_key(&Context::Payment)
    {
        elsewhere.push(Elsewhere { context: Context::Payment, place: store.to_string() });
    }
    elsewhere
}

/// What the engine says in its own directory.
fn engine_version(engine: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Marker {
        current_version: String,
    }
    let nodes = std::fs::read_dir(engine).ok()?.flatten();
    let mut markers = nodes.filter_map(|node| std::fs::read(node.path().join(".cluster-marker")).ok());
    markers.find_map(|marker| Some(serde_json::from_slice::<Marker>(&marker).ok()?.current_version))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    Saved,
    Restored,
}

fn tell(
    manifest: &Manifest,
    file: &Path,
    bytes: u64,
    data_dir: &Path,
    done: Done,
    json: bool,
) -> Result<(), BackupError> {
    for Elsewhere { context, place } in &manifest.elsewhere {
        match done {
            Done::Saved => report::progress(format_args!(
                "note: the data of {context} is kept at {place} and is not in the backup; save it there before jumun is \
                 started again, so that both are of one moment"
            )),
            Done::Restored => report::progress(format_args!(
                "note: the data of {context} was kept at {place} and is not in the backup; restore what was saved there \
                 at the same time before jumun is started"
            )),
        }
    }
    let outcome = Outcome {
        file,
        bytes,
        data_dir,
        data_files: manifest.files.len(),
        data_bytes: manifest.bytes(),
        created_at: manifest.created_at,
        jumun: &manifest.jumun,
        engine: manifest.engine.as_deref(),
        elsewhere: &manifest.elsewhere,
    };
    let (files, data_bytes) = (outcome.data_files, report::Size(outcome.data_bytes));
    let (file, data_dir, bytes) = (file.display(), data_dir.display(), report::Size(bytes));
    let text = match done {
        Done::Saved => format!("saved {data_dir} ({files} files, {data_bytes}) as {file} ({bytes})\n"),
        Done::Restored => {
            let at = manifest.created_at.format("%Y-%m-%d %H:%M:%S UTC");
            format!("restored {data_dir} ({files} files, {data_bytes}) from {file}, of {at}\n")
        }
    };
    report::data(&text, &outcome, json).map_err(BackupError::Output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_elsewhere_is_named_without_passwords() {
        let variables = [
            ("JUMUN_PROVIDERS__KITCHEN", "http://kitchen:9105"),
            ("JUMUN_PAYMENT__STORE", "postgres://jumun:hunter2@db/payments"),
        ];
        let read = |variables: &[(&str, &str)]| {
            let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            elsewhere(&Configuration::read(None, variables.collect::<Vec<_>>()).expect("is sound"))
        };
        let named: Vec<_> = read(&variables).into_iter().map(|one| (one.context, one.place)).collect();
        let kitchen = (Context::Kitchen, "http://kitchen:9105".to_owned());
        assert_eq!(named, [kitchen, (Context::Payment, "postgres://db/payments".to_owned())]);
        assert_eq!(read(&[]), []);
    }
}

//! `jumun doctor`: looks at a running system over its API, or at the stores of one that is stopped, and says in one line
//! for each thing what it found. It changes nothing.

mod client;
mod finding;
mod offline;
mod online;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::Principal;
use workflows::Role;

use crate::access::Mint;
use crate::config::{Configuration, HttpUrl, InvalidConfiguration};
use crate::data_dir::{DataDir, DataDirError};
use crate::listen::{self, Listener};
use crate::store_url::{StoreUrl, StoreUrlError};
use client::{Client, Token};
use finding::Findings;

/// Only what a person has to know: the findings are what there is to see.
const DEFAULT_LOG: &str =
    "error,poem=off,surrealdb=off,surrealdb_core=off,surrealdb_datastore=off,surrealkv=off,sqlx=off";

/// Where a jumun has its data unless it was told otherwise.
const DATA_DIR: &str = ".jumun";
/// Longer than any examination.
const TOKEN_GOOD_FOR: Duration = Duration::from_hours(1);

/// What `jumun doctor` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// The API of a running jumun [default: `http://127.0.0.1:8088`, or the data directory if nobody listens there]
    #[arg(long, value_name = "URL")]
    pub api: Option<HttpUrl>,

    /// The token of an operator, for the API (rather in `JUMUN_TOKEN`, which no process list shows) [default: one that
    /// is minted with the key of the data directory or of the configuration]
    #[arg(long, env = "JUMUN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<Token>,

    /// The data directory: of a jumun that is stopped to be looked at, of one that runs only to mint a token
    /// [default: .jumun]
    #[arg(long, env = "JUMUN_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// The configuration file of that jumun, if it has one
    #[arg(long, env = "JUMUN_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Where the stopped jumun's payments are, as it was told with its own `--payment-store`
    #[arg(long, value_name = "URL")]
    pub payment_store: Option<StoreUrl>,

    /// Print a line of JSON for each finding
    #[arg(long)]
    pub json: bool,

    /// What is logged on standard error, like `info,activities=debug`
    #[arg(long, env = "JUMUN_LOG", value_name = "FILTER", default_value = DEFAULT_LOG, value_parser = crate::log_filter)]
    pub log: String,
}

#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    #[error("nobody listens on {api}, and there is no jumun's data in {}; name one of them with --api or --data-dir", .dir.display())]
    Nothing { api: HttpUrl, dir: PathBuf },
    #[error("there is no jumun's data in {}", .0.display())]
    NoData(PathBuf),
    #[error("a jumun that runs is looked at over its API: name it with --api")]
    Running(#[source] DataDirError),
    #[error(transparent)]
    DataDir(DataDirError),
    #[error(transparent)]
    Configuration(#[from] InvalidConfiguration),
    #[error(transparent)]
    PaymentStore(#[from] StoreUrlError),
    #[error("cannot open the stores")]
    Open(#[from] activities::OpenError),
    #[error("the store cannot be read")]
    Store(#[from] activities::StoreError),
    #[error("an HTTP client cannot be made: {0}")]
    Http(#[from] reqwest::Error),
    #[error("cannot write to standard output, or use the system's threads")]
    System(#[from] io::Error),
    /// What it is has been said.
    #[error("something is wrong")]
    Wrong,
    #[error("not everything could be looked at")]
    Unseen,
}

impl DoctorError {
    /// What the process ends with.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Wrong => crate::FAILED,
            Self::Configuration(_) => crate::MAKES_NO_SENSE,
            _ => crate::CANNOT_START,
        }
    }
}

impl From<DataDirError> for DoctorError {
    fn from(error: DataDirError) -> Self {
        match error {
            DataDirError::InUse { .. } => Self::Running(error),
            _ => Self::DataDir(error),
        }
    }
}

/// What there is to look at.
pub enum Patient {
    Running(Client),
    Stopped(DataDir, Box<Configuration>),
}

/// Finds what there is to look at.
pub async fn find(settings: &Settings) -> Result<Patient, DoctorError> {
    let configuration = Configuration::read(settings.config.as_deref(), std::env::vars_os())?;
    if let (Some(dir), None) = (&settings.data_dir, &settings.api) {
        return stopped(settings, configuration, dir);
    }
    let dir = settings.data_dir.clone().unwrap_or_else(|| DATA_DIR.into());
    let default = || listen::url(Listener::Api.default_address(false)).parse().expect("our own address is a URL");
    let api: HttpUrl = settings.api.clone().unwrap_or_else(default);
    let token = settings.token.clone().or_else(|| minted(&configuration, &dir));
    let client = Client::new(api.clone(), token)?;
    if settings.api.is_some() || client.is_there().await {
        return Ok(Patient::Running(client));
    }
    match stopped(settings, configuration, &dir) {
        Err(DoctorError::NoData(dir)) => Err(DoctorError::Nothing { api, dir }),
        other => other,
    }
}

/// A token of an operator, where there is a key here to mint it with.
fn minted(configuration: &Configuration, dir: &Path) -> Option<Token> {
    let operator = Principal::new(Role::Operator, "doctor", None).ok()?;
    let mint = Mint::open(&configuration.access, dir).ok()?;
    mint.token(&operator, TOKEN_GOOD_FOR).parse().ok()
}

/// A directory without data is not made one by looking at it.
fn stopped(settings: &Settings, mut configuration: Configuration, dir: &Path) -> Result<Patient, DoctorError> {
    // Where the store is on a server, the engine's data is still here.
    let has = if configuration.store.is_some() { "engine" } else { "store" };
    if !dir.join(has).exists() {
        return Err(DoctorError::NoData(dir.to_owned()));
    }
    if let Some(store) = &settings.payment_store {
        configuration.payment_store = Some(store.clone());
    }
    Ok(Patient::Stopped(DataDir::open(dir)?, Box::new(configuration)))
}

/// Looks, and says what it found. What is wrong, or cannot be seen, is an error in the end.
pub async fn run(settings: &Settings, patient: &Patient) -> Result<(), DoctorError> {
    let mut findings = Findings::new(settings.json);
    match patient {
        Patient::Running(client) => online::examine(client, &mut findings).await?,
        Patient::Stopped(dir, configuration) => offline::examine(dir, configuration, &mut findings).await?,
    }
    findings.verdict()
}

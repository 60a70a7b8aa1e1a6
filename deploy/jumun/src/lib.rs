//! The `jumun` command: reads flags and environment, which nothing else does, and composes the other crates. It holds
//! no rules of its own. The binary is only a call of [`main`].

mod access;
mod allocator;
mod apart;
mod archive;
mod backup;
mod config;
mod data_dir;
mod demo;
mod deployments;
mod disk;
mod doctor;
mod engine;
mod engines;
mod fetch;
mod identity;
mod listen;
mod local;
mod lock;
mod provider;
mod rebuild;
mod report;
mod seed;
mod settings;
mod stop;
mod store_url;
mod telemetry;

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use activities::Activities;
use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::access::{AccessError, Mint};
use crate::config::Configuration;
use apart::ApartError;
use backup::{BackupError, BackupSettings, RestoreSettings};
use data_dir::DataDir;
use demo::DemoError;
use deployments::DeploymentsError;
use doctor::DoctorError;
use local::LocalError;
use provider::ProvideError;
use rebuild::RebuildError;
use settings::Settings;
use stop::StopRequests;
use workflows::Context;

const FAILED: u8 = 1;
const MAKES_NO_SENSE: u8 = 2;
const CANNOT_START: u8 = 3;
const CANNOT_WRITE: u8 = 4;
const EXIT_CODES: &str = "\
Exit codes:
  0  stopped as asked
  1  failed, or was asked twice to stop and did so at once
  2  the flags, the variables or the configuration file make no sense
  3  could not start here: an address taken, the data directory or a store in use or not to be opened,
     a disk that is full or read-only, no engine to be had
  4  stopped by itself, because the disk has no room left or can be written no more; nothing that was
     answered is lost, and the next start carries on";
const TOKEN_EXIT_CODES: &str = "\
Exit codes:
  0  the token is on standard output
  2  the flags, the variables or the configuration file make no sense
  3  there is no local key, or it cannot be used";
const DATA_EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed, or not everything was as it should be; what it was to write is not there, or as it was
  2  the flags, the variables or the configuration file make no sense
  3  not to be done here: the data directory is in use, absent or not empty, or the file exists already";
const DEMO_EXIT_CODES: &str = "\
Exit codes:
  0  every order ended as planned: five closed, one cancelled, one rejected
  1  not so, or stopped before the end
  2  the flags, the variables or the configuration file make no sense
  3  its own system could not start here";

const DEPLOYMENTS_EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the engine was not reached or refused, or the version is still needed
  2  the flags or the variables make no sense";
const DOCTOR_EXIT_CODES: &str = "\
Exit codes:
  0  all is well
  1  something is wrong; each line that begins with WRONG says what
  2  the flags, the variables or the configuration file make no sense
  3  it cannot look: nobody there, not let in, or the data directory in use or not to be opened";

/// How long what still runs in the background may take to end.
const BACKGROUND_GRACE: Duration = Duration::from_secs(2);

/// jumun, an order engine: every order is a durable workflow. Without a command it runs everything on this machine
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    local: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on this machine: engine, store, worker, providers and API (the default)
    #[command(after_help = EXIT_CODES)]
    Local(Box<Settings>),
    /// Serve the API alone, as many of them as it takes, over a store and an engine that run already
    #[command(after_help = EXIT_CODES)]
    Api(Box<apart::ApiSettings>),
    /// Serve the engine alone: a worker, as many of them as it takes, over a store that runs already
    #[command(after_help = EXIT_CODES)]
    Worker(Box<apart::WorkerSettings>),
    /// Run one context's built-in provider as a process of its own
    #[command(after_help = EXIT_CODES)]
    Provider(Box<provider::Settings>),
    /// Place an order of each of the five lifecycles, with one that is cancelled and one that fails, and show each live
    #[command(after_help = DEMO_EXIT_CODES)]
    Demo(demo::Settings),
    /// Mint a token for the API of a jumun that reads tokens by its local key, or by a key of its configuration
    #[command(after_help = TOKEN_EXIT_CODES)]
    Token(access::TokenSettings),
    /// Make a version of the worker known to an engine; from then on it takes what begins anew
    #[command(after_help = DEPLOYMENTS_EXIT_CODES)]
    Register(deployments::Registration),
    /// Show the versions of the worker that an engine knows, and remove those that are drained
    #[command(after_help = DEPLOYMENTS_EXIT_CODES)]
    Deployments(deployments::Inventory),
    /// Look whether all is well: with a running jumun over its API, or with the stores of one that is stopped
    #[command(after_help = DOCTOR_EXIT_CODES)]
    Doctor(doctor::Settings),
    /// Save everything of a data directory in one file, while no jumun uses it
    #[command(after_help = DATA_EXIT_CODES)]
    Backup(BackupSettings),
    /// Make a data directory of a backup, anywhere, on a directory that is absent or empty
    #[command(after_help = DATA_EXIT_CODES)]
    Restore(RestoreSettings),
    /// Make the orders' views and the dashboard's tallies once more from the events, while no jumun uses them
    #[command(after_help = DATA_EXIT_CODES)]
    Rebuild(rebuild::Settings),
    /// Print the description of the API that is also at `/openapi.json`
    Openapi {
        /// That of a provider instead
        #[arg(long, value_name = "CONTEXT", value_parser = provider::context())]
        provider: Option<Context>,
    },
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error(transparent)]
    Apart(#[from] ApartError),
    #[error(transparent)]
    Provide(#[from] ProvideError),
    #[error(transparent)]
    Demo(#[from] DemoError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Deployments(#[from] DeploymentsError),
    #[error(transparent)]
    Doctor(#[from] DoctorError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    #[error("stopped by {0} before the end")]
    Stopped(&'static str),
    #[error("cannot write to standard output, or use the system's threads")]
    System(#[from] io::Error),
}

impl Failure {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Local(error) => error.exit_code(),
            Self::Apart(error) => error.exit_code(),
            Self::Provide(error) => error.exit_code(),
            Self::Access(error) => error.exit_code(),
            Self::Doctor(error) => error.exit_code(),
            Self::Backup(error) => error.exit_code(),
            Self::Rebuild(error) => error.exit_code(),
            Self::Demo(_) | Self::Deployments(_) | Self::Stopped(_) | Self::System(_) => FAILED,
        }
    }
}

/// What stands between the workflows and the adapters.
pub type Wrap = fn(Activities) -> Activities;

/// The whole command, from the process's arguments to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    main_wrapped(|activities| activities)
}

/// The same, with what `jumun local` works through wrapped into something else: for a binary that is to be tested.
#[must_use]
pub fn main_wrapped(wrap: Wrap) -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command.unwrap_or(Command::Local(Box::new(cli.local))) {
        Command::Local(settings) => run_local(&settings, wrap),
        Command::Api(settings) => run_api(&settings),
        Command::Worker(settings) => run_worker(&settings),
        Command::Provider(settings) => run_provider(&settings),
        Command::Demo(settings) => run_demo(&settings),
        Command::Token(settings) => token(&settings),
        Command::Register(registration) => run_briefly(&registration.asked.log, deployments::register(&registration)),
        Command::Deployments(inventory) => run_briefly(&inventory.asked.log, deployments::run(&inventory)),
        Command::Doctor(settings) => run_doctor(&settings),
        Command::Backup(settings) => backup::backup(&settings).map_err(Failure::from),
        Command::Restore(settings) => backup::restore(&settings).map_err(Failure::from),
        Command::Rebuild(settings) => run_rebuild(&settings),
        Command::Openapi { provider } => openapi(provider),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report::error(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// The stack of a thread, in bytes. Where nothing is optimised, as `cargo run` builds it, a request that comes to the embedded
/// store by way of all that is before a handler takes more than the two MiB of tokio's own. What is not used costs nothing.
const STACK: usize = 16 << 20;

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK).build()
}

fn run_local(settings: &Settings, wrap: Wrap) -> Result<(), Failure> {
    let configuration = settings.configuration().map_err(LocalError::from)?;
    let _telemetry = telemetry::start(&settings.log, &configuration.telemetry, "jumun");
    let dir = local::open_data_dir(settings)?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(local::run(settings, configuration, &dir, wrap));
    // The store's own threads let go of their files before the directory is given up.
    runtime.shutdown_timeout(BACKGROUND_GRACE);
    Ok(outcome?)
}

fn run_api(settings: &apart::ApiSettings) -> Result<(), Failure> {
    let configuration = settings.common.configuration().map_err(ApartError::from)?;
    let _telemetry = telemetry::start(&settings.common.log, &configuration.telemetry, "jumun-api");
    Ok(runtime()?.block_on(apart::run_api(settings, configuration))?)
}

fn run_worker(settings: &apart::WorkerSettings) -> Result<(), Failure> {
    let configuration = settings.common.configuration().map_err(ApartError::from)?;
    let _telemetry = telemetry::start(&settings.common.log, &configuration.telemetry, "jumun-worker");
    Ok(runtime()?.block_on(apart::run_worker(settings, configuration))?)
}

fn run_provider(settings: &provider::Settings) -> Result<(), Failure> {
    let configuration = settings.configuration().map_err(ProvideError::from)?;
    let service = format!("jumun-{}", settings.context);
    let _telemetry = telemetry::start(&settings.log, &configuration.telemetry, &service);
    let place = settings.take_place(&configuration)?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(provider::run(settings, configuration, &place));
    // As above.
    runtime.shutdown_timeout(BACKGROUND_GRACE);
    Ok(outcome?)
}

fn run_rebuild(settings: &rebuild::Settings) -> Result<(), Failure> {
    telemetry::start_lines(&settings.log);
    let place = rebuild::place(settings)?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(rebuild::run(settings, &place));
    // As above.
    runtime.shutdown_timeout(BACKGROUND_GRACE);
    Ok(outcome?)
}

fn run_demo(settings: &demo::Settings) -> Result<(), Failure> {
    telemetry::start_lines(&settings.log);
    let runtime = runtime()?;
    if let Some(api) = runtime.block_on(demo::find(settings))? {
        let configuration = Configuration::read(settings.config.as_deref(), std::env::vars_os());
        let mint = Mint::open(&configuration.map_err(LocalError::from)?.access, &settings.data_dir)?;
        return runtime.block_on(until_stopped(async { Ok(demo::run(settings, api, &mint).await?) }));
    }
    // Read as `jumun local` reads it, but for the flags.
    let own = Settings { ephemeral: true, ..Own::parse_from(["jumun demo"]).settings };
    let configuration = own.configuration().map_err(LocalError::from)?;
    report::progress("no jumun is running here, so the demo starts one of its own, which keeps nothing ...");
    let dir = DataDir::temporary().map_err(LocalError::from)?;
    let outcome = runtime.block_on(until_stopped(Box::pin(demo_alone(settings, &own, configuration, &dir))));
    // As above.
    runtime.shutdown_timeout(BACKGROUND_GRACE);
    outcome
}

/// A command that asks an engine something and is done.
fn run_briefly(log: &str, asking: impl Future<Output = Result<(), DeploymentsError>>) -> Result<(), Failure> {
    telemetry::start_lines(log);
    Ok(runtime()?.block_on(asking)?)
}

fn run_doctor(settings: &doctor::Settings) -> Result<(), Failure> {
    telemetry::start_lines(&settings.log);
    let runtime = runtime()?;
    let patient = runtime.block_on(doctor::find(settings))?;
    let outcome = runtime.block_on(until_stopped(async { Ok(doctor::run(settings, &patient).await?) }));
    // As above.
    runtime.shutdown_timeout(BACKGROUND_GRACE);
    outcome
}

/// The engine's program that jumun would start, fetched if there is none yet.
///
/// # Errors
/// Where there is none to be had.
pub async fn engine_program() -> Result<PathBuf, impl std::error::Error> {
    engines::program(&Own::parse_from(["jumun"]).settings).await
}

/// The flags of `jumun local`, as far as the environment sets them.
#[derive(Parser)]
struct Own {
    #[command(flatten)]
    settings: Settings,
}

/// The demo with a system of its own.
async fn demo_alone(
    settings: &demo::Settings,
    own: &Settings,
    configuration: Configuration,
    dir: &DataDir,
) -> Result<(), Failure> {
    let access = configuration.access.clone();
    let running = Box::pin(local::start(own, configuration, dir, |activities| activities)).await?;
    let mint = Mint::open(&access, dir.path())?;
    let api = running.api().parse().expect("our own address is a URL");
    let outcome = tokio::select! {
        outcome = demo::run(settings, api, &mint) => outcome.map_err(Failure::from),
        part = running.ended() => Err(LocalError::Ended(part).into()),
    };
    running.stop().await?;
    outcome
}

/// Drops what it waits for when somebody asks to stop.
async fn until_stopped(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let mut requests = StopRequests::listen(false)?;
    tokio::select! {
        outcome = work => outcome,
        by = requests.next() => Err(Failure::Stopped(by)),
    }
}

fn token(settings: &access::TokenSettings) -> Result<(), Failure> {
    print(&access::mint(settings)?)
}

fn openapi(provider: Option<Context>) -> Result<(), Failure> {
    print(&provider.map_or_else(|| api::openapi(true), activities::provider::openapi))
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush())?;
    Ok(())
}

fn log_filter(text: &str) -> Result<String, ParseError> {
    EnvFilter::builder().parse(text).map(|_| text.to_owned())
}

/// Where things are kept that can be fetched again, as the XDG base directory specification has it.
fn default_cache_dir() -> Option<PathBuf> {
    let caches = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::home_dir().filter(|home| home.as_os_str() != OsStr::new(""));
    caches.or_else(|| Some(home()?.join(".cache"))).map(|caches| caches.join("jumun"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::listen::Listener;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_is_local() {
        let bare = Cli::try_parse_from(["jumun", "--json"]).expect("parses");
        assert!(bare.command.is_none() && bare.local.json);
        let named = Cli::try_parse_from(["jumun", "local", "--json"]).expect("parses");
        assert!(matches!(named.command, Some(Command::Local(settings)) if settings.json));
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        assert!(Cli::try_parse_from(["jumun", "--log", "info,api=loud"]).is_err());
        assert!(Cli::try_parse_from(["jumun", "--log", "warn,api=debug"]).is_ok());
    }

    /// What an error tells a person to use is there, in both forms of the command.
    #[test]
    fn every_address_has_its_flag_and_variable() {
        let cli = Cli::command();
        let local = cli.find_subcommand("local").expect("exists");
        for command in [&cli, local] {
            for listener in Listener::LOCAL {
                let flag = command.get_arguments().find(|arg| arg.get_long() == Some(listener.flag()));
                let flag = flag.unwrap_or_else(|| panic!("no --{}", listener.flag()));
                assert_eq!(flag.get_env(), Some(OsStr::new(listener.variable())));
                let default = format!("[default: {}]", listener.default_address(false));
                assert!(flag.get_help().expect("has help").to_string().ends_with(&default), "{default}");
            }
        }
    }
}

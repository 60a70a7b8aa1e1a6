//! The `jumun` command: reads flags and environment, which nothing else does, and composes the other crates. It holds
//! no rules of its own. The binary is only a call of [`main`].

mod data_dir;
mod demo;
mod engine;
mod fetch;
mod listen;
mod local;
mod report;
mod stop;

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use restate_sdk::filter::ReplayAwareFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{ParseError, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use local::{LocalError, Settings};

const FAILED: u8 = 1;
const CANNOT_START: u8 = 3;
const EXIT_CODES: &str = "\
Exit codes:
  0  stopped as asked
  1  failed, or was asked twice to stop and did so at once
  2  the flags or variables make no sense
  3  could not start here: an address taken, the data directory in use or unusable, no engine to be had";

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
    /// Print the description of the API that is also at `/openapi.json`
    Openapi,
}

/// The whole command, from the process's arguments to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Local(Box::new(cli.local))) {
        Command::Local(settings) => local(&settings),
        Command::Openapi => openapi(),
    }
}

fn local(settings: &Settings) -> ExitCode {
    start_logging(&settings.log);
    match run_local(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::error(&error);
            ExitCode::from(if error.is_environment() { CANNOT_START } else { FAILED })
        }
    }
}

fn run_local(settings: &Settings) -> Result<(), LocalError> {
    let dir = local::open_data_dir(settings)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let outcome = runtime.block_on(local::run(settings, &dir));
    // The store's own threads let go of their files before the directory is given up.
    runtime.shutdown_timeout(BACKGROUND_GRACE);
    outcome
}

fn openapi() -> ExitCode {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", api::openapi(true)).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::error(&error);
            ExitCode::from(FAILED)
        }
    }
}

fn log_filter(text: &str) -> Result<String, ParseError> {
    EnvFilter::builder().parse(text).map(|_| text.to_owned())
}

fn start_logging(filter: &str) {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .compact()
        .with_filter(EnvFilter::builder().parse_lossy(filter))
        // What a workflow says is said once, not again by every replay.
        .with_filter(ReplayAwareFilter)
        .with_filter(filter_fn(|metadata| !is_suspension(metadata)));
    tracing_subscriber::registry().with(lines).init();
}

/// The SDK warns, twice, whenever an order is put aside to wait, and nothing but the text tells that from a failure.
/// Failures are in the engine's log and UI.
fn is_suspension(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && *metadata.level() == Level::WARN && metadata.target().starts_with("restate_sdk")
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
            for listener in Listener::ALL {
                let flag = command.get_arguments().find(|arg| arg.get_long() == Some(listener.flag()));
                let flag = flag.unwrap_or_else(|| panic!("no --{}", listener.flag()));
                assert_eq!(flag.get_env(), Some(OsStr::new(listener.variable())));
                let default = format!("[default: {}]", listener.default_address(false));
                assert!(flag.get_help().expect("has help").to_string().ends_with(&default), "{default}");
            }
        }
    }
}

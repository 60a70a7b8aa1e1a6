//! jumun as it runs on many machines, on this one (see `tests/src/apart.rs`), while requests come at a fixed rate: processes
//! are added, removed, replaced and made sick, an engine node dies, the store stands still. `deploy/loopback` builds and
//! runs it.

mod audit;
mod load;
mod report;
mod scenarios;

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};

use crate::load::Rate;
use crate::report::Report;
use crate::scenarios::{Bound, Scenario, play};

/// Runs jumun's parts as processes on this machine, changes and breaks them under load, and checks that nobody noticed
#[derive(Parser)]
#[command(
    after_help = "Exit codes: 0  everything that is claimed holds;  1  something does not (the report says what)"
)]
struct Cli {
    /// For how long at least, in seconds, requests are sent in each scenario
    #[arg(long, default_value_t = 30)]
    seconds: u64,

    /// How many requests are sent a second
    #[arg(long, default_value_t = 100.0)]
    rate: f64,

    /// How many of a hundred requests place an order; the others read one
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    placements: u32,

    /// For `throughput`: how many attempts of each context a worker makes at once; few, so that providers are what limits
    /// it, and not this machine's processors
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    attempts_at_once: u32,

    /// For `throughput`: how long, in milliseconds, every provider takes for everything
    #[arg(long, default_value_t = 50)]
    provider_ms: u64,

    /// Only these, instead of all
    #[arg(long, value_name = "SCENARIO")]
    only: Vec<Scenario>,

    /// Write the report there, too, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write there what the processes say
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let log = cli.log.as_deref().map_or_else(|| Ok(None), |path| File::create(path).map(Some));
    tests::say_to(log.context("cannot write the log")?);
    let scenarios = if cli.only.is_empty() { Scenario::value_variants().to_vec() } else { cli.only };
    let rate = Rate { requests: cli.rate, placements: cli.placements };
    let mut report = Report {
        requests_per_second: cli.rate,
        placements: cli.placements,
        program: tests::binary(),
        outcomes: Vec::new(),
    };
    for scenario in scenarios {
        let bound = Bound { attempts_at_once: cli.attempts_at_once, provider: Duration::from_millis(cli.provider_ms) };
        let outcome = play(scenario, rate, Duration::from_secs(cli.seconds), bound).await;
        report.outcomes.push(outcome);
        // What was seen so far is not lost with what goes wrong later.
        if let Some(path) = &cli.json {
            let json = serde_json::to_string_pretty(&report)?;
            std::fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    print!("{report}");
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

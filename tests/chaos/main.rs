//! A chaos run: orders of every lifecycle, placed and played by careful clients, while what jumun is made of is killed and
//! halted; and then a count of everything, against what the clients were told. The seed decides what is tried.
//!
//! ```sh
//! cargo run -p tests --bin chaos -- --orders 2000 --faults 50
//! ```

mod client;
mod life;
mod model;
mod plan;
mod quiet;
mod report;
mod shops;
mod storm;
mod system;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::client::{Client, Sent};
use crate::life::Duels;
use crate::plan::{Plan, Size};
use crate::report::Report;
use crate::system::System;

const TICK: Duration = Duration::from_millis(200);

/// Places orders while everything breaks, and checks in the end that nothing is lost, repeated or left undone
#[derive(Parser)]
#[command(after_help = "Exit codes: 0  nothing is wrong;  1  something is (each violation is told)")]
struct Cli {
    /// How many orders, of all lifecycles
    #[arg(long, default_value_t = 500)]
    orders: usize,

    /// How many faults, spread over the orders
    #[arg(long, default_value_t = 16)]
    faults: usize,

    /// So many orders more, at which two commands that exclude each other meet
    #[arg(long, default_value_t = 0)]
    pairs: usize,

    /// So many orders more that are cancelled twice through the API and once in the engine, at one moment
    #[arg(long, default_value_t = 0)]
    double_cancels: usize,

    /// What decides everything that is tried [default: a new one each time]
    #[arg(long)]
    seed: Option<u64>,

    /// With an engine of three nodes, of which one at a time breaks
    #[arg(long)]
    cluster: bool,

    /// Keep payments in the embedded store, where PostgreSQL is not installed
    #[arg(long)]
    without_postgres: bool,

    /// How many orders people play at the same time
    #[arg(long, default_value_t = 16)]
    at_once: usize,

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
    let size = Size {
        seed: cli.seed.unwrap_or_else(rand::random),
        orders: cli.orders,
        faults: cli.faults,
        pairs: cli.pairs,
        double_cancels: cli.double_cancels,
        cluster: cli.cluster,
        postgres: !cli.without_postgres,
    };
    let plan = Plan::new(&size);
    eprintln!("chaos: seed {} ({} orders, {} faults)", size.seed, plan.scripts.len(), size.faults);
    let log = cli.log.as_deref().map_or_else(|| Ok(None), |path| std::fs::File::create(path).map(Some));
    tests::say_to(log.context("cannot write the log")?);

    let start = Instant::now();
    let system = System::start(&size).await?;
    let (sent, duels) = (Sent::default(), Duels::default());
    let client = Client { system: &system, sent: &sent };
    // Half of what is wanted of it.
    let wanted: u32 = plan.scripts.iter().filter(|script| script.scarce).map(|script| script.quantity).sum();
    let scarce = i64::from(wanted / 2 / 4).max(3);
    quiet::open_shops(&client, scarce).await;
    let bar = progress(plan.scripts.len());
    let storm = storm::rage(&client, &plan, cli.at_once, &duels, &bar).await;
    let checked = quiet::check(&client, &storm.requests, scarce, cli.at_once, &bar).await;
    bar.finish_and_clear();

    let report = Report::new(&size, &plan, start.elapsed(), checked, storm.recoveries, &sent, &duels);
    print!("{report}");
    if let Some(path) = &cli.json {
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A bar in a terminal, nothing elsewhere.
fn progress(orders: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} orders  {elapsed}  {msg}").expect("a template");
    let bar = ProgressBar::new(orders.try_into().unwrap_or(u64::MAX)).with_style(style);
    bar.enable_steady_tick(TICK);
    bar
}

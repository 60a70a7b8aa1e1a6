//! How fast jumun is, measured: `cargo run --release -p bench -- --scenario all`. The bench is a user of the public API; it
//! starts a fresh system for each scenario, loads it, and writes what it saw as JSON and as a page.

mod api;
mod ceiling;
mod feed;
mod load;
mod page;
mod plot;
mod progress;
mod report;
mod scenarios;
mod shop;
mod system;
mod usage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use tokio::runtime::Runtime;

use crate::progress::Progress;
use crate::report::Figures;
use crate::scenarios::{Bench, Goal, Scenario};
use crate::system::{Launch, Tokens};

const CALLERS: u16 = 128;
const CALLERS_AT_FULL_LOAD: u16 = 256;
const ORDERS_WAITING: u64 = 20_000;
const ORDERS_KILLED: u64 = 10_000;

/// Starts a jumun, loads it, and reports how fast it was. All processes share this machine, the bench's own among them
#[derive(Clone, Debug, Parser)]
pub struct Settings {
    /// What is measured; may be repeated
    #[arg(long, value_name = "NAME", required = true)]
    scenario: Vec<Scenario>,

    /// For how long each scenario is measured, where it is not a number of orders that ends it
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,

    /// For how long, in seconds, a system is loaded before it is measured
    #[arg(long, value_name = "N", default_value_t = 3)]
    warm_up: u64,

    /// Where the report is written
    #[arg(long, value_name = "FILE", default_value = "bench.json")]
    json: PathBuf,

    /// Where the page is written [default: beside the report]
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Where each plot is written as SVG, if it is wanted
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,

    /// How many callers a closed loop has [default: 256 for `ceiling`, `lifecycle`, `hot-sku` and `soak`, 128 for others]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    callers: Option<u16>,

    /// How many orders a second `place` places; `read` reads while a tenth of that is placed
    #[arg(long, value_name = "N", default_value_t = 100.0, value_parser = rate)]
    rate: f64,

    /// How many orders wait [default: 20000 for `waiting` and `wake`, 10000 for `restart`]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    orders: Option<u64>,

    /// For how long, in minutes, `soak` goes on
    #[arg(long, value_name = "N", default_value_t = 2)]
    soak_minutes: u64,

    /// How many orders `soak` goes on for, however long that takes
    #[arg(long, value_name = "N", conflicts_with = "soak_minutes")]
    soak_orders: Option<u64>,

    /// After how many orders each `soak` looks what has changed
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    soak_leaf: u64,

    /// The jumun that is started, instead of the one that is built into the bench: to compare two builds
    #[arg(long, value_name = "PATH", conflicts_with = "url")]
    jumun: Option<PathBuf>,

    /// Where systems have their directories, which should be a real disk [default: above the bench's own program, which is
    /// cargo's target directory: the system's directory for temporary files is in memory on many machines]
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    dir: Option<PathBuf>,

    /// A system that runs already, instead of fresh ones. Its limits are what they are, its processes are not looked at, it is
    /// not started or stopped, and it is not compared with its engine
    #[arg(long, value_name = "URL", requires = "token")]
    url: Option<String>,

    /// A token for that system, like `courier=eyJ...`: one for each of operator, customer and courier. In `BENCH_TOKEN`, where
    /// no process list shows them, they are separated by commas
    #[arg(long, value_name = "ROLE=TOKEN", env = "BENCH_TOKEN", hide_env_values = true, value_delimiter = ',')]
    token: Vec<RoleToken>,
}

/// A role, and what proves it.
#[derive(Clone, Debug)]
struct RoleToken {
    role: String,
    token: String,
}

impl FromStr for RoleToken {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((role @ ("operator" | "customer" | "courier"), token)) if !token.is_empty() => {
                Ok(Self { role: role.to_owned(), token: token.to_owned() })
            }
            _ => Err("expected operator, customer or courier, then = and the token"),
        }
    }
}

fn rate(text: &str) -> Result<f64, &'static str> {
    let rate = text.parse().ok().filter(|rate| (0.01..=100_000.0).contains(rate));
    rate.ok_or("expected a number of orders, from 0.01 to 100000")
}

impl Settings {
    const fn span(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    const fn warm_up(&self) -> Duration {
        Duration::from_secs(self.warm_up)
    }

    fn callers(&self) -> usize {
        self.callers.unwrap_or(CALLERS).into()
    }

    /// Where it is about how much can be done at all.
    fn callers_at_full_load(&self) -> usize {
        self.callers.unwrap_or(CALLERS_AT_FULL_LOAD).into()
    }

    fn waiting(&self) -> u64 {
        self.orders.unwrap_or(ORDERS_WAITING)
    }

    fn killed(&self) -> u64 {
        self.orders.unwrap_or(ORDERS_KILLED)
    }

    fn goal(&self) -> Goal {
        self.soak_orders.map_or(Goal::After(Duration::from_mins(self.soak_minutes)), Goal::Orders)
    }

    fn launch(&self) -> Result<Launch> {
        let dir = match &self.dir {
            Some(dir) => dir.clone(),
            None => std::env::current_exe()?.ancestors().nth(2).unwrap_or(Path::new(".")).to_owned(),
        };
        Ok(Launch { jumun: self.jumun.clone(), dir })
    }

    fn elsewhere(&self) -> Result<Option<(String, Tokens)>> {
        let Some(url) = &self.url else { return Ok(None) };
        let token = |role| {
            let token = self.token.iter().find(|token| token.role == role);
            token.map(|token| token.token.clone()).with_context(|| format!("--token {role}=... is missing"))
        };
        let tokens = Tokens { operator: token("operator")?, customer: token("customer")?, courier: token("courier")? };
        Ok(Some((url.clone(), tokens)))
    }

    fn html(&self) -> PathBuf {
        self.html.clone().unwrap_or_else(|| self.json.with_extension("html"))
    }
}

fn main() -> ExitCode {
    if std::env::var_os(system::AS_JUMUN).is_some() {
        return jumun::main();
    }
    match run(Settings::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: Settings) -> Result<()> {
    let progress = Progress::new();
    let bench = Bench { launch: settings.launch()?, elsewhere: settings.elsewhere()?, progress, settings };
    Runtime::new()?.block_on(async {
        tokio::select! {
            done = measure(&bench) => done,
            _ = tokio::signal::ctrl_c() => bail!("stopped before the end"),
        }
    })
}

/// One scenario after another. Where one fails, the others are measured all the same, and what there is is reported.
async fn measure(bench: &Bench) -> Result<()> {
    let mut chosen = Scenario::chosen(&bench.settings.scenario);
    if bench.elsewhere.is_none() || bench.settings.scenario.contains(&Scenario::Ceiling) {
        chosen.insert(0, Scenario::Ceiling);
    }
    let (mut all, mut failed) = (Vec::new(), Vec::new());
    for scenario in chosen {
        match bench.measure(scenario).await {
            Ok(figures) => all.extend(figures),
            Err(error) => {
                eprintln!("bench: {}: {error:#}", scenario.name());
                failed.push(scenario.name());
            }
        }
    }
    bench.progress.clear();
    if let Some(ceiling) =
        all.iter().find(|figures| figures.scenario == "ceiling").and_then(|figures| figures.per_second)
    {
        for figures in &mut all {
            figures.relate_to(ceiling);
        }
    }
    write(&bench.settings, &all)?;
    ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
    Ok(())
}

fn write(settings: &Settings, all: &[Figures]) -> Result<()> {
    print!("{}", report::table(all));
    let mut json = serde_json::to_string_pretty(all)?;
    json.push('\n');
    std::fs::write(&settings.json, json).with_context(|| format!("cannot write {}", settings.json.display()))?;
    let plots = page::plots(all)?;
    let html = settings.html();
    let page = page::page(&about(settings), all, &plots)?;
    std::fs::write(&html, page).with_context(|| format!("cannot write {}", html.display()))?;
    if let Some(dir) = &settings.plots {
        page::write_plots(&plots, dir)?;
    }
    Ok(())
}

/// What the figures are of.
fn about(settings: &Settings) -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let now = chrono::Utc::now().format("%Y-%m-%d %H:%M UTC");
    format!(
        "Measured on {now} with {cores} cores, which jumun, its engine and the bench shared; {} s for each scenario after {} s \
         of warm-up, {} callers for whole lives of orders and for the ceiling, {} for all else.",
        settings.seconds,
        settings.warm_up,
        settings.callers_at_full_load(),
        settings.callers()
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Settings::command().debug_assert();
    }

    #[test]
    fn a_token_is_for_a_role() {
        let token: RoleToken = "courier=a=b".parse().expect("is one");
        assert_eq!((token.role.as_str(), token.token.as_str()), ("courier", "a=b"));
        for wrong in ["courier", "courier=", "cook=a", "=a"] {
            assert!(wrong.parse::<RoleToken>().is_err(), "{wrong}");
        }
    }
}

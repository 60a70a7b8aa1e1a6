//! What was measured: as JSON for machines, and as a table for people.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::load::{Measure, Recorded};
use crate::usage::{Reading, Used};

const BENCH_CPU: &str = "bench_cpu_ms_per_order";
const MB: f64 = 1024.0 * 1024.0;
const PERCENTILES: [f64; 7] = [50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0];

/// One scenario's figures. What makes no sense for it, or cannot be told, is null.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    pub scenario: &'static str,
    /// What the scenario counts, in a second.
    pub per_second: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    /// `per_second` as a share of that of `ceiling` in the same run.
    pub share_of_ceiling: Option<f64>,
    /// Resident memory of jumun and its engine at the end.
    pub rss_mb: Option<f64>,
    /// Processor time of jumun and its engine.
    pub cpu_ms_per_order: Option<f64>,
    /// What the files of the data directory have grown by.
    pub disk_bytes_per_order: Option<f64>,
    /// Answers other than 2xx, and none at all.
    pub errors: u64,
    #[serde(flatten)]
    pub more: Map<String, Value>,
    #[serde(skip)]
    pub curves: Curves,
}

/// What is drawn.
#[derive(Clone, Debug, Default)]
pub struct Curves {
    /// How much was done in each second.
    pub throughput: Vec<(f64, f64)>,
    /// Milliseconds at percentiles.
    pub latency: Vec<(f64, f64)>,
    /// Megabytes, by seconds.
    pub memory: Vec<(f64, f64)>,
    /// Orders a second, by orders so far.
    pub growth: Vec<(f64, f64)>,
}

impl Figures {
    /// Of a measured stretch of time.
    pub fn of(scenario: &'static str, measure: &Measure) -> Self {
        let Measure { recorded, used } = measure;
        let mut figures = Self {
            scenario,
            per_second: Some(digits(recorded.rate())),
            p50_ms: recorded.took.ms(50.0).map(digits),
            p99_ms: recorded.took.ms(99.0).map(digits),
            rss_mb: used.last().rss.map(mb),
            cpu_ms_per_order: each(used.cpu().map(ms), recorded.count()),
            disk_bytes_per_order: each(used.disk_growth().map(signed), recorded.count()),
            errors: recorded.error_count(),
            curves: Curves::of(recorded, used),
            ..Self::default()
        };
        figures.tell("seconds", digits(recorded.span.as_secs_f64()));
        figures.tell("count", recorded.count());
        for (part, times) in &recorded.parts {
            figures.tell(&format!("{part}_p50_ms"), times.ms(50.0).map(digits));
            figures.tell(&format!("{part}_p99_ms"), times.ms(99.0).map(digits));
        }
        if recorded.undecided > 0 {
            figures.tell("undecided", recorded.undecided);
        }
        if !recorded.errors.is_empty() {
            let errors = recorded.errors.iter().map(|(failed, count)| (failed.to_string(), json!(count)));
            figures.tell("errors_by_kind", errors.collect::<Map<_, _>>());
        }
        figures.tell("rss_peak_mb", used.peak_rss().map(mb));
        figures.tell(BENCH_CPU, each(used.bench_cpu().map(ms), recorded.count()));
        figures
    }

    /// One figure more.
    pub fn tell(&mut self, name: &str, value: impl Into<Value>) {
        self.more.insert(name.to_owned(), value.into());
    }

    /// For a scenario that counts something else than orders.
    pub fn is_about(&mut self, what: &str) {
        self.disk_bytes_per_order = None;
        let cpu = self.cpu_ms_per_order.take();
        self.tell(&format!("cpu_ms_per_{what}"), cpu);
        let bench_cpu = self.more.remove(BENCH_CPU).unwrap_or_default();
        self.tell(&format!("bench_cpu_ms_per_{what}"), bench_cpu);
    }

    pub fn relate_to(&mut self, ceiling: f64) {
        self.share_of_ceiling = self.per_second.filter(|_| ceiling > 0.0).map(|rate| digits(rate / ceiling));
    }
}

impl Curves {
    fn of(recorded: &Recorded, used: &Used) -> Self {
        // The last second may be a part of one.
        let whole = usize::try_from(recorded.span.as_secs()).unwrap_or(usize::MAX);
        let seconds = (1_u32..).map(f64::from).zip(recorded.per_second.iter().take(whole));
        let at = |percentile| Some((percentile, recorded.took.ms(percentile)?));
        Self {
            throughput: seconds.map(|(second, count)| (second, f64::from(*count))).collect(),
            latency: PERCENTILES.into_iter().filter_map(at).collect(),
            memory: used.memory().map(|(seconds, bytes)| (seconds, mb(bytes))).collect(),
            growth: Vec::new(),
        }
    }
}

/// A part of a long run.
pub fn leaf(orders: u64, recorded: &Recorded, cpu_ms: Option<f64>, reading: &Reading) -> Value {
    json!({
        "orders": orders,
        "per_second": digits(recorded.rate()),
        "p50_ms": recorded.took.ms(50.0).map(digits),
        "p99_ms": recorded.took.ms(99.0).map(digits),
        "cpu_ms_per_order": cpu_ms.map(digits),
        "rss_mb": reading.rss.map(mb),
        "disk_mb": reading.disk.map(mb),
    })
}

pub fn seconds(time: Duration) -> f64 {
    digits(time.as_secs_f64())
}

pub fn mb(bytes: u64) -> f64 {
    digits(float(bytes) / MB)
}

/// For what is told of it, a count is as good as exact.
#[allow(clippy::cast_precision_loss, reason = "nothing is counted that often")]
pub const fn float(count: u64) -> f64 {
    count as f64
}

#[allow(clippy::cast_precision_loss, reason = "as above")]
const fn signed(count: i64) -> f64 {
    count as f64
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn each(total: Option<f64>, count: u64) -> Option<f64> {
    total.filter(|_| count > 0).map(|total| digits(total / float(count)))
}

/// As many digits as mean something: four in all, or all that are before the point.
pub fn digits(number: f64) -> f64 {
    let scale = match number.abs() {
        1000.0.. => 1.0,
        100.0.. => 10.0,
        10.0.. => 100.0,
        1.0.. => 1000.0,
        _ => 10_000.0,
    };
    (number * scale).round() / scale
}

const COLUMNS: [&str; 9] = [
    "scenario",
    "per second",
    "p50 ms",
    "p99 ms",
    "of ceiling",
    "RSS MB",
    "CPU ms/order",
    "disk bytes/order",
    "errors",
];

/// The table, with what else there is to say below.
pub fn table(all: &[Figures]) -> String {
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    rows.extend(all.iter().map(row));
    let widths: [usize; COLUMNS.len()] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or_default());
    let line = |row: &[String; COLUMNS.len()]| {
        let rest = row[1..].iter().zip(&widths[1..]).map(|(cell, width)| format!("  {cell:>width$}"));
        format!("{:<width$}{}\n", row[0], rest.collect::<String>(), width = widths[0])
    };
    let mut text: String = rows.iter().map(line).collect();
    for figures in all {
        text.extend(["\n", figures.scenario, ":\n"]);
        let more = figures.more.iter().filter(|(_, value)| !value.is_array());
        text.extend(more.map(|(name, value)| format!("  {name} {}\n", shown(value))));
    }
    text
}

fn shown(value: &Value) -> String {
    value.as_f64().map_or_else(|| value.to_string(), |number| number.to_string())
}

pub fn row(figures: &Figures) -> [String; COLUMNS.len()] {
    let cell = |figure: Option<f64>| figure.map_or_else(|| "-".to_owned(), |figure| figure.to_string());
    [
        figures.scenario.to_owned(),
        cell(figures.per_second),
        cell(figures.p50_ms),
        cell(figures.p99_ms),
        cell(figures.share_of_ceiling),
        cell(figures.rss_mb),
        cell(figures.cpu_ms_per_order),
        cell(figures.disk_bytes_per_order),
        figures.errors.to_string(),
    ]
}

pub const fn columns() -> [&'static str; COLUMNS.len()] {
    COLUMNS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Figures {
        let mut figures = Figures { scenario: "place", per_second: Some(99.5), errors: 2, ..Figures::default() };
        figures.tell("undecided", 1);
        figures
    }

    #[test]
    fn the_usual_figures_are_always_there() {
        let figures = serde_json::to_value(some()).expect("serialises");
        let names: Vec<_> = figures.as_object().expect("an object").keys().map(String::as_str).collect();
        let expected = [
            "scenario",
            "per_second",
            "p50_ms",
            "p99_ms",
            "share_of_ceiling",
            "rss_mb",
            "cpu_ms_per_order",
            "disk_bytes_per_order",
            "errors",
            "undecided",
        ];
        assert_eq!(names, expected);
        assert!(figures["p50_ms"].is_null());
    }

    #[test]
    fn the_table_is_aligned() {
        let table = table(&[some(), Figures { scenario: "lifecycle", ..Figures::default() }]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines[0].len(), lines[1].len());
        assert!(lines[1].starts_with("place      ") && lines[1].ends_with("     2"), "{table}");
        assert!(table.contains("\nplace:\n  undecided 1\n"), "{table}");
    }

    #[test]
    fn a_share_is_of_what_the_engine_can_do() {
        let mut figures = some();
        figures.relate_to(199.0);
        assert_eq!(figures.share_of_ceiling, Some(0.5));
        figures.relate_to(0.0);
        assert_eq!(figures.share_of_ceiling, None);
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.123_456, 1.234_56, 12.3456, 123.456, 12_345.6].map(digits);
        assert_eq!(shown.map(|number| number.to_string()), ["0", "0.1235", "1.235", "12.35", "123.5", "12346"]);
    }
}

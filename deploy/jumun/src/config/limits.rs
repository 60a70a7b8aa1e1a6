//! The section `limits`: how much the API takes on.

use std::num::NonZeroU32;
use std::time::Duration;

use api::{BreakerLimits, Limits};

use super::reader::Reader;
use super::time;

/// More of anything than there can be.
pub const MOST: u32 = 1_000_000;
const LONGEST_PATIENCE: Duration = Duration::from_hours(1);

pub fn read(reader: &mut Reader) -> Limits {
    let defaults = Limits::default();
    Limits {
        requests_per_second: rate(reader, "limits.requests_per_second", defaults.requests_per_second),
        burst: rate(reader, "limits.burst", defaults.burst),
        connections: reader.number("limits.connections", 1..=MOST).unwrap_or(defaults.connections),
        open_requests: reader.number("limits.open_requests", 1..=MOST).unwrap_or(defaults.open_requests),
        open_placements: reader.number("limits.open_placements", 1..=MOST).unwrap_or(defaults.open_placements),
        head_timeout: patience(reader, "limits.head_timeout", defaults.head_timeout),
        body_timeout: patience(reader, "limits.body_timeout", defaults.body_timeout),
        write_timeout: patience(reader, "limits.write_timeout", defaults.write_timeout),
        breaker: breaker(reader, defaults.breaker),
    }
}

fn breaker(reader: &mut Reader, defaults: BreakerLimits) -> BreakerLimits {
    BreakerLimits {
        failures_percent: reader
            .number("limits.breaker.failures_percent", 1..=100)
            .unwrap_or(defaults.failures_percent),
        samples: reader.number("limits.breaker.samples", 1..=MOST).unwrap_or(defaults.samples),
        window: patience(reader, "limits.breaker.window", defaults.window),
        slow_after: patience(reader, "limits.breaker.slow_after", defaults.slow_after),
        open_for: patience(reader, "limits.breaker.open_for", defaults.open_for),
        probes: reader.number("limits.breaker.probes", 1..=MOST).unwrap_or(defaults.probes),
    }
}

fn rate(reader: &mut Reader, name: &str, default: NonZeroU32) -> NonZeroU32 {
    reader.number(name, 1..=MOST).and_then(NonZeroU32::new).unwrap_or(default)
}

fn patience(reader: &mut Reader, name: &str, default: Duration) -> Duration {
    reader.read(name, |text| time(text, LONGEST_PATIENCE)).unwrap_or(default)
}

//! The cursor of a list by time: the last thing that was shown. Opaque to callers.

use std::fmt::Display;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, SecondsFormat, Utc};

use crate::kind::Kind;
use crate::problem::Problem;

/// Leads to what comes after the thing of that time and id.
pub(crate) fn write(at: DateTime<Utc>, id: impl Display) -> String {
    let at = at.to_rfc3339_opts(SecondsFormat::Nanos, true);
    BASE64_URL_SAFE_NO_PAD.encode(format!("{at} {id}"))
}

/// The time and id.
pub(crate) fn read<I: FromStr>(cursor: &str) -> Option<(DateTime<Utc>, I)> {
    let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (at, id) = text.split_once(' ')?;
    Some((DateTime::parse_from_rfc3339(at).ok()?.to_utc(), id.parse().ok()?))
}

pub(crate) fn invalid() -> Problem {
    Problem::new(Kind::InvalidCursor, "Pass `next_cursor` of the page before as it is, or none for the first page.")
}

#[cfg(test)]
mod tests {
    use workflows::OrderId;

    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place() {
        let placed_at = DateTime::from_timestamp(1_769_851_800, 123_456_789).expect("in range");
        let place = (placed_at, OrderId::from_bits(7));
        assert_eq!(read(&write(place.0, &place.1)), Some(place));
    }

    #[test]
    fn what_is_not_a_cursor_leads_nowhere() {
        for wrong in ["", "!", "AAAA", "b3JkZXI", &BASE64_URL_SAFE_NO_PAD.encode("2026-01-31T09:30:00Z ord_1")] {
            assert_eq!(read::<OrderId>(wrong), None, "{wrong}");
        }
    }
}

//! The cursor of the list of orders: the last order that was shown. Opaque to callers.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, SecondsFormat, Utc};
use workflows::OrderId;

/// Where a list goes on: with the orders after this one.
pub(crate) type Place = (DateTime<Utc>, OrderId);

pub(crate) fn write((placed_at, id): &Place) -> String {
    let placed_at = placed_at.to_rfc3339_opts(SecondsFormat::Nanos, true);
    BASE64_URL_SAFE_NO_PAD.encode(format!("{placed_at} {id}"))
}

pub(crate) fn read(cursor: &str) -> Option<Place> {
    let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (placed_at, id) = text.split_once(' ')?;
    Some((DateTime::parse_from_rfc3339(placed_at).ok()?.to_utc(), id.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place() {
        let placed_at = DateTime::from_timestamp(1_769_851_800, 123_456_789).expect("in range");
        let place = (placed_at, OrderId::from_bits(7));
        assert_eq!(read(&write(&place)), Some(place));
    }

    #[test]
    fn what_is_not_a_cursor_leads_nowhere() {
        for wrong in ["", "!", "AAAA", "b3JkZXI", &BASE64_URL_SAFE_NO_PAD.encode("2026-01-31T09:30:00Z ord_1")] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}

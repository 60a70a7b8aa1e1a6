//! What callers say in headers. What a header does not say well is as if it were not said, as HTTP wants it.

use std::time::Duration;

use poem::http::{HeaderMap, header};
use poem_openapi::registry::MetaSchema;
use workflows::order::Language;

use crate::value::Value;

/// `Prefer` (RFC 7240), of which only `wait` is understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prefer {
    wait_seconds: Option<u8>,
}

const DEFAULT_WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT_SECONDS: u8 = 60;

impl Prefer {
    pub(crate) const fn wait(self) -> Duration {
        match self.wait_seconds {
            Some(seconds) => Duration::from_secs(seconds as u64),
            None => DEFAULT_WAIT,
        }
    }

    /// The `Preference-Applied` of the answer.
    pub(crate) fn applied(self) -> Option<String> {
        self.wait_seconds.map(|seconds| format!("wait={seconds}"))
    }
}

impl Value for Prefer {
    const NAME: &'static str = "preferences";
    const FORM: &'static str = "preferences of RFC 7240";

    fn schema() -> MetaSchema {
        MetaSchema { example: Some("wait=10".into()), ..MetaSchema::new("string") }
    }

    fn from_text(text: &str) -> Option<Self> {
        let wait = text.split(',').find_map(|preference| {
            let (name, value) = preference.split(';').next()?.split_once('=')?;
            name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"'))
        });
        let seconds = wait.and_then(|wait| wait.parse::<u64>().ok());
        let seconds = seconds.map(|seconds| u8::try_from(seconds).unwrap_or(u8::MAX).min(LONGEST_WAIT_SECONDS));
        Some(Self { wait_seconds: seconds })
    }
}

/// `Accept-Language` (RFC 9110), of which Korean and English are spoken, and English is the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AcceptLanguage(pub Language);

impl Value for AcceptLanguage {
    const NAME: &'static str = "languages";
    const FORM: &'static str = "languages of RFC 9110";

    fn schema() -> MetaSchema {
        MetaSchema { example: Some("ko".into()), ..MetaSchema::new("string") }
    }

    fn from_text(text: &str) -> Option<Self> {
        let weight = |language: &str| {
            text.split(',')
                .map(|range| range.split_once(';').unwrap_or((range, "")))
                .filter(|(range, _)| {
                    range.trim().split('-').next().is_some_and(|tag| tag.eq_ignore_ascii_case(language))
                })
                .filter_map(|(_, parameter)| match parameter.trim().split_once('=') {
                    None => Some(1.0),
                    Some((_, weight)) => weight.trim().parse().ok(),
                })
                .fold(0.0, f32::max)
        };
        let english = weight("en").max(weight("*"));
        Some(Self(if weight("ko") > english { Language::Korean } else { Language::English }))
    }
}

/// `If-None-Match` (RFC 9110).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IfNoneMatch(String);

impl IfNoneMatch {
    /// Whether the caller has the version of that tag.
    pub(crate) fn has(&self, tag: &str) -> bool {
        self.0.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == tag)
    }
}

impl Value for IfNoneMatch {
    const NAME: &'static str = "tags";
    const FORM: &'static str = "tags of RFC 9110";

    fn schema() -> MetaSchema {
        MetaSchema { example: Some("\"7\"".into()), ..MetaSchema::new("string") }
    }

    fn from_text(text: &str) -> Option<Self> {
        Some(Self(text.to_owned()))
    }
}

/// `Last-Event-ID` of server-sent events: what a stream that broke off had sent last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastEventId(pub Option<u64>);

impl Value for LastEventId {
    const NAME: &'static str = "event id";
    const FORM: &'static str = "the id of an event";

    fn schema() -> MetaSchema {
        MetaSchema { example: Some("7".into()), ..MetaSchema::new("string") }
    }

    fn from_text(text: &str) -> Option<Self> {
        Some(Self(text.trim().parse().ok()))
    }
}

/// Whether the caller would rather have server-sent events than JSON, by `Accept` (RFC 9110). Only who names them gets
/// them.
pub(crate) fn prefers_stream(headers: &HeaderMap) -> bool {
    let weight = |media_type: &str| {
        let lines = headers.get_all(header::ACCEPT).into_iter().filter_map(|line| line.to_str().ok());
        let ranges = lines.flat_map(|line| line.split(','));
        ranges
            .map(|range| range.split_once(';').unwrap_or((range, "")))
            .filter(|(range, _)| range.trim().eq_ignore_ascii_case(media_type))
            .map(|(_, parameters)| quality(parameters))
            .fold(0.0, f32::max)
    };
    weight("text/event-stream") > weight("application/json")
}

/// The weight among a range's parameters.
fn quality(parameters: &str) -> f32 {
    let weight = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sensible_wait_is_applied() {
        for (header, applied) in [
            ("wait=3", Some("wait=3")),
            ("respond-async, wait = 0", Some("wait=0")),
            ("Wait=60; x=y", Some("wait=60")),
            ("wait=\"7\"", Some("wait=7")),
            ("wait=61", Some("wait=60")),
            ("wait=86400", Some("wait=60")),
            ("wait=-1", None),
            ("wait=soon", None),
            ("wait", None),
            ("return=minimal", None),
            ("", None),
        ] {
            let prefer = Prefer::from_text(header).expect("always understood");
            assert_eq!(prefer.applied().as_deref(), applied, "{header}");
        }
        assert_eq!(Prefer::from_text("").map(Prefer::wait), Some(DEFAULT_WAIT));
    }

    #[test]
    fn the_language_is_the_one_wanted_most() {
        for (header, korean) in [
            ("ko", true),
            ("ko-KR,ko;q=0.9,en-US;q=0.8", true),
            ("en;q=0.5, KO;q=0.6", true),
            ("en, ko", false),
            ("en;q=0.8,ko;q=0.7", false),
            ("ko;q=0", false),
            ("de, ko;q=0.1", true),
            ("*", false),
            ("kok", false),
            ("", false),
        ] {
            let language = if korean { Language::Korean } else { Language::English };
            assert_eq!(AcceptLanguage::from_text(header), Some(AcceptLanguage(language)), "{header}");
        }
    }

    #[test]
    fn a_stream_is_for_those_who_ask_for_one() {
        for (accept, stream) in [
            ("text/event-stream", true),
            ("Text/Event-Stream, */*", true),
            ("application/json;q=0.5, text/event-stream;q=0.6", true),
            ("application/json, text/event-stream", false),
            ("text/event-stream;q=0", false),
            ("text/event-stream;q=high", false),
            ("*/*", false),
            ("text/*", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().expect("a value"))]);
            assert_eq!(prefers_stream(&headers), stream, "{accept}");
        }
        assert!(!prefers_stream(&HeaderMap::new()));
    }

    #[test]
    fn what_is_no_event_id_is_as_if_it_were_not_said() {
        for (text, id) in [("7", Some(7)), (" 0 ", Some(0)), ("", None), ("-1", None), ("ord_1/7", None)] {
            assert_eq!(LastEventId::from_text(text), Some(LastEventId(id)), "{text}");
        }
    }

    #[test]
    fn a_known_version_is_recognised() {
        for (header, known) in
            [("\"7\"", true), ("W/\"7\"", true), ("\"6\", \"7\"", true), ("*", true), ("\"17\"", false)]
        {
            assert_eq!(IfNoneMatch(header.to_owned()).has("\"7\""), known, "{header}");
        }
    }
}

//! Money, times and spans, as people read them.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};
use workflows::lifecycle::Window;
use workflows::order::Language;
use workflows::{Currency, Money};

use super::text::Text;

/// `₩12,000`, `€9.50`; a currency without a sign of its own by its code.
pub(super) fn money(money: Money) -> String {
    let decimals = usize::from(money.currency.exponent().unwrap_or(0));
    let digits = format!("{:0>width$}", money.amount.unsigned_abs(), width = decimals + 1);
    let (whole, part) = digits.split_at(digits.len() - decimals);
    let minus = if money.amount < 0 { "−" } else { "" };
    let part = if part.is_empty() { String::new() } else { format!(".{part}") };
    format!("{minus}{}{}{part}", sign(money.currency), grouped(whole))
}

fn sign(currency: Currency) -> String {
    match currency {
        Currency::KRW => "₩".to_owned(),
        Currency::EUR => "€".to_owned(),
        Currency::USD => "$".to_owned(),
        Currency::GBP => "£".to_owned(),
        Currency::JPY => "¥".to_owned(),
        other => format!("{}\u{a0}", other.code()),
    }
}

/// Digits in groups of three.
fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn count(number: i64) -> String {
    grouped(&number.unsigned_abs().to_string())
}

/// Several sums side by side.
pub(super) fn sums(sums: impl IntoIterator<Item = Money>) -> String {
    sums.into_iter().map(money).collect::<Vec<_>>().join(" + ")
}

/// A span in its largest unit, or the two largest where the first is small.
pub(super) fn span(span: TimeDelta, language: Language) -> String {
    let units = match language {
        Language::English => ["\u{a0}d", "\u{a0}h", "\u{a0}min", "\u{a0}s"],
        Language::Korean => ["일", "시간", "분", "초"],
    };
    let [days, hours, minutes, seconds] = units;
    match span.num_seconds().max(0) {
        s @ 0..60 => format!("{s}{seconds}"),
        s @ 60..3_600 => format!("{}{minutes}", s / 60),
        s @ 3_600..36_000 if s % 3_600 >= 60 => format!("{}{hours} {}{minutes}", s / 3_600, s % 3_600 / 60),
        s @ 3_600..172_800 => format!("{}{hours}", s / 3_600),
        s @ 172_800..864_000 if s % 86_400 >= 3_600 => format!("{}{days} {}{hours}", s / 86_400, s % 86_400 / 3_600),
        s => format!("{}{days}", s / 86_400),
    }
}

/// A window of a lifecycle, such as `3days`, as people say it.
pub(super) fn window(text: &str, language: Language) -> String {
    match serde_json::from_value::<Window>(text.into()) {
        Ok(Window(window)) => {
            TimeDelta::from_std(window).map_or_else(|_| text.to_owned(), |window| span(window, language))
        }
        Err(_) => text.to_owned(),
    }
}

/// How long something took, in milliseconds: tenths of a second where it was quick.
pub(super) fn took(ms: i64, language: Language) -> String {
    match (ms, language) {
        (..10_000, Language::English) => format!("{}.{}\u{a0}s", ms / 1_000, ms % 1_000 / 100),
        (..10_000, Language::Korean) => format!("{}.{}초", ms / 1_000, ms % 1_000 / 100),
        _ => span(TimeDelta::milliseconds(ms), language),
    }
}

/// How long ago it was.
pub(super) fn ago(at: DateTime<Utc>, now: DateTime<Utc>, language: Language) -> String {
    let passed = now - at;
    if passed < TimeDelta::seconds(5) {
        return Text::JustNow.within(language).to_owned();
    }
    Text::Ago.with(language, &[&span(passed, language)])
}

/// The same, which browsers keep up to date and tell exactly on demand.
pub(super) fn since(at: DateTime<Utc>, now: DateTime<Utc>, language: Language) -> Markup {
    html! { time datetime=(rfc3339(at)) title=(rfc3339(at)) data-since { (ago(at, now, language)) } }
}

/// A moment: the time of day, and the day where it is another. Browsers show it in their own time zone.
pub(super) fn moment(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    let same_day = at.date_naive() == now.date_naive();
    let text = at.format(if same_day { "%H:%M:%S" } else { "%Y-%m-%d %H:%M" });
    html! { time datetime=(rfc3339(at)) title=(rfc3339(at)) data-moment { (text) " UTC" } }
}

pub(super) fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// An order's number as people say it: the end of its id.
pub(super) fn short(id: &str) -> &str {
    id.char_indices().rev().nth(5).map_or(id, |(at, _)| &id[at..])
}

/// What somebody typed as an amount, in minor units.
pub(super) fn minor_units(text: &str, currency: Currency) -> Option<i64> {
    let decimals = usize::from(currency.exponent().unwrap_or(0));
    let text: String = text.chars().filter(|c| !matches!(c, ',' | ' ' | '_')).collect();
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    if part.len() > decimals || whole.is_empty() {
        return None;
    }
    format!("{whole}{part:0<decimals$}").parse().ok()
}

/// An amount as it is typed.
pub(super) fn plain(money: Money) -> String {
    let decimals = usize::from(money.currency.exponent().unwrap_or(0));
    let digits = format!("{:0>width$}", money.amount, width = decimals + 1);
    let (whole, part) = digits.split_at(digits.len() - decimals);
    if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_reads_as_people_write_it() {
        for (amount, currency, text) in [
            (0, Currency::KRW, "₩0"),
            (999, Currency::KRW, "₩999"),
            (1_234_567, Currency::KRW, "₩1,234,567"),
            (-12_000, Currency::KRW, "−₩12,000"),
            (5, Currency::EUR, "€0.05"),
            (123_456, Currency::EUR, "€1,234.56"),
            (100, Currency::CHF, "CHF\u{a0}1.00"),
        ] {
            assert_eq!(money(Money::new(amount, currency)), text);
        }
        for (text, currency, amount) in [
            ("12,000", Currency::KRW, Some(12_000)),
            ("12.5", Currency::EUR, Some(1_250)),
            ("12.345", Currency::EUR, None),
            ("1.5", Currency::KRW, None),
            ("", Currency::KRW, None),
            ("many", Currency::KRW, None),
        ] {
            assert_eq!(minor_units(text, currency), amount, "{text}");
        }
        assert_eq!(plain(Money::new(1_205, Currency::EUR)), "12.05");
        assert_eq!(plain(Money::new(9_000, Currency::KRW)), "9000");
    }

    #[test]
    fn spans_are_short() {
        for (seconds, english, korean) in [
            (-5, "0\u{a0}s", "0초"),
            (59, "59\u{a0}s", "59초"),
            (600, "10\u{a0}min", "10분"),
            (3_600, "1\u{a0}h", "1시간"),
            (5_400, "1\u{a0}h 30\u{a0}min", "1시간 30분"),
            (90_000, "25\u{a0}h", "25시간"),
            (259_199, "2\u{a0}d 23\u{a0}h", "2일 23시간"),
            (259_200, "3\u{a0}d", "3일"),
        ] {
            let time = TimeDelta::seconds(seconds);
            assert_eq!(span(time, Language::English), english);
            assert_eq!(span(time, Language::Korean), korean);
        }
        assert_eq!(short("ord_c802a716b322f0fe"), "22f0fe");
        assert_eq!(short("한글"), "한글");
    }
}

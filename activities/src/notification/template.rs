//! Messages to customers by template, as `KakaoTalk` has them: the service knows each template by its code, and is sent
//! the text filled in. It never sends free text of its own.
//!
//! `POST ENDPOINT` with `Authorization: Bearer API_KEY` and the body `{"message_id", "sender_key", "template_code",
//! "recipient": PHONE, "text", "variables": {"order_id", "name", "status", "total", "reason"}}`; any 2xx is delivered. The
//! service is expected to send a `message_id` once, however often it comes.

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder};
use serde_json::{Map, Value, json};
use workflows::notification::{Notice, NoticedEvent};
use workflows::{MessageId, Money};

use crate::{Template, TemplateSettings};

/// What the customer is told of an event, without what only the configuration knows.
pub fn body(template: &Template, notice: &Notice, event: &NoticedEvent) -> String {
    let variables: Map<String, Value> = [
        ("order_id", notice.order_id.to_string()),
        ("name", notice.recipient.clone()),
        ("status", event.status_label.clone()),
        ("total", readable(notice.total)),
        ("reason", event.reason.clone().unwrap_or_default()),
    ]
    .map(|(name, value)| (name.to_owned(), Value::String(value)))
    .into_iter()
    .collect();
    json!({
        "template_code": template.code,
        "recipient": notice.phone,
        "text": fill_in(&template.text, &variables),
        "variables": variables,
    })
    .to_string()
}

pub fn request(client: &Client, settings: &TemplateSettings, id: &MessageId, body: &str) -> RequestBuilder {
    let mut message = json!({ "message_id": id, "sender_key": settings.sender_key });
    let rest: Map<String, Value> = serde_json::from_str(body).expect("it was written by `body`");
    message.as_object_mut().expect("an object").extend(rest);
    client
        .post(&settings.endpoint)
        .bearer_auth(&settings.api_key.0)
        .header(CONTENT_TYPE, "application/json")
        .body(message.to_string())
}

/// The text with every `#{name}` that is known replaced, once: what is filled in is not read again.
fn fill_in(text: &str, variables: &Map<String, Value>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("#{") {
        filled.push_str(before);
        let known = after.split_once('}').and_then(|(name, after)| Some((variables.get(name)?.as_str()?, after)));
        if let Some((value, after)) = known {
            filled.push_str(value);
            rest = after;
        } else {
            filled.push_str("#{");
            rest = after;
        }
    }
    filled + rest
}

/// The amount in the currency's major unit, with separators: `12,000 KRW`, `12.50 EUR`.
fn readable(money: Money) -> String {
    let decimals = money.currency.exponent().map_or(0, usize::from);
    let digits = format!("{:0>width$}", money.amount.unsigned_abs(), width = decimals + 1);
    let (major, minor) = digits.split_at(digits.len() - decimals);
    let mut grouped = String::new();
    for (index, digit) in major.chars().enumerate() {
        if index > 0 && (major.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if money.amount < 0 { "-" } else { "" };
    let point = if minor.is_empty() { "" } else { "." };
    format!("{sign}{grouped}{point}{minor} {}", money.currency.code())
}

#[cfg(test)]
mod tests {
    use super::*;
    use workflows::Currency;

    #[test]
    fn known_placeholders_are_filled_in_once_and_unknown_ones_stay() {
        let variables = json!({ "name": "#{status}", "status": "결제완료", "reason": "" });
        let variables = variables.as_object().expect("an object");
        for (text, filled) in [
            ("#{name}: #{status}", "#{status}: 결제완료"),
            ("#{unknown} #{status}#{reason}.", "#{unknown} 결제완료."),
            ("#{ #{status}", "#{ 결제완료"),
            ("#{#{status}}", "#{결제완료}"),
            ("#{status", "#{status"),
            ("", ""),
        ] {
            assert_eq!(fill_in(text, variables), filled, "{text}");
        }
    }

    #[test]
    fn money_is_written_for_people() {
        for (amount, currency, written) in [
            (12_000, Currency::KRW, "12,000 KRW"),
            (999, Currency::KRW, "999 KRW"),
            (1_234_567, Currency::EUR, "12,345.67 EUR"),
            (5, Currency::EUR, "0.05 EUR"),
            (-1_000, Currency::KRW, "-1,000 KRW"),
        ] {
            assert_eq!(readable(Money::new(amount, currency)), written);
        }
    }
}

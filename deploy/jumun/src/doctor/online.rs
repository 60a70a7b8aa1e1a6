//! A running system, over its API.

use std::collections::BTreeMap;
use std::io;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::client::{Client, Unanswered};
use super::finding::{Check, Findings};

/// Tokens, windows and deadlines are told by clocks; this much is normal between two of them, the way included.
const LARGEST_SKEW: TimeDelta = TimeDelta::seconds(5);
const MOST_STUCK: usize = 200;
/// What each context can be asked that shows whether it answers.
const LISTINGS: [(&str, &str); 4] = [
    ("payment", "/v1/payments?limit=1"),
    ("delivery", "/v1/deliveries?limit=1"),
    ("promotion", "/v1/coupons?limit=1"),
    ("notification", "/v1/notifications?limit=1"),
];

/// A list, of which more is not needed.
#[derive(Deserialize)]
struct Items {
    items: Vec<Value>,
}

pub async fn examine(client: &Client, findings: &mut Findings) -> io::Result<()> {
    if !is_ready(client, findings).await? {
        return Ok(());
    }
    clock(client, findings).await?;
    version(client, findings).await?;
    contexts(client, findings).await?;
    sandbox(client, findings).await?;
    stuck(client, findings).await?;
    money(client, findings).await
}

/// Says what came instead of an answer.
fn unanswered(
    findings: &mut Findings,
    check: Check,
    what: impl std::fmt::Display,
    error: &Unanswered,
) -> io::Result<()> {
    let says = format!("{what}: {error}");
    if error.is_trouble() { findings.wrong(check, says) } else { findings.unseen(check, says) }
}

/// Whether there is anything more to be asked.
async fn is_ready(client: &Client, findings: &mut Findings) -> io::Result<bool> {
    match client.get::<Value>("/readyz").await {
        Ok(_) => findings.fine(Check::Api, format!("{} is ready", client.api())).map(|()| true),
        Err(error) => {
            unanswered(findings, Check::Api, format_args!("{} is not ready", client.api()), &error)?;
            Ok(error.is_trouble())
        }
    }
}

async fn clock(client: &Client, findings: &mut Findings) -> io::Result<()> {
    let before = Utc::now();
    let date = match client.date().await {
        Ok(date) => date,
        Err(error) => return unanswered(findings, Check::Clock, "its time", &error),
    };
    let Some(there) = date.and_then(|date| DateTime::parse_from_rfc2822(&date).ok()) else {
        return findings.unseen(Check::Clock, "it does not say what time it is");
    };
    // It tells whole seconds, of some moment between the question and the answer.
    let skew = there.with_timezone(&Utc) - before;
    let off = format!("its clock and this one are {} s apart", skew.num_seconds().abs());
    if skew.abs() > LARGEST_SKEW { findings.wrong(Check::Clock, off) } else { findings.fine(Check::Clock, off) }
}

async fn version(client: &Client, findings: &mut Findings) -> io::Result<()> {
    let document = match client.text("/openapi.json").await {
        Ok(document) => document,
        Err(error) => return unanswered(findings, Check::Version, "its description", &error),
    };
    let same = [true, false].iter().any(|local| api::openapi(*local) == document);
    let is = if same { "the API of" } else { "another version of the API than" };
    findings.fine(Check::Version, format!("it offers {is} this jumun, {}", env!("CARGO_PKG_VERSION")))
}

async fn contexts(client: &Client, findings: &mut Findings) -> io::Result<()> {
    for (context, path) in LISTINGS {
        answers(client, findings, context, path).await?;
    }
    // Stock is asked by merchant.
    let merchants = client.get::<Items>("/v1/merchants").await;
    let merchant =
        merchants.map(|merchants| merchants.items.first().and_then(|first| first["id"].as_str().map(str::to_owned)));
    match merchant {
        Ok(Some(id)) => answers(client, findings, "stock", &format!("/v1/merchants/{id}/products")).await,
        Ok(None) => findings.fine(Check::Contexts, "stock is not asked: there is no merchant"),
        Err(error) => unanswered(findings, Check::Contexts, "the merchants", &error),
    }
}

async fn answers(client: &Client, findings: &mut Findings, context: &str, path: &str) -> io::Result<()> {
    match client.get::<Items>(path).await {
        Ok(_) => findings.fine(Check::Contexts, format!("{context} answers")),
        Err(error) => unanswered(findings, Check::Contexts, context, &error),
    }
}

/// Who is switched off on purpose. Only local systems have switches.
async fn sandbox(client: &Client, findings: &mut Findings) -> io::Result<()> {
    let Ok(modes) = client.get::<BTreeMap<String, Value>>("/v1/sandbox").await else { return Ok(()) };
    for (context, mode) in &modes {
        if mode["mode"] != "up" {
            findings.wrong(Check::Sandbox, format!("{context} is switched to {}", text(mode, "mode")))?;
        }
    }
    Ok(())
}

async fn stuck(client: &Client, findings: &mut Findings) -> io::Result<()> {
    let stuck = match client.get::<Items>(&format!("/v1/orders?stuck=true&limit={MOST_STUCK}")).await {
        Ok(stuck) => stuck.items,
        Err(error) => return unanswered(findings, Check::Stuck, "the stuck orders", &error),
    };
    for order in &stuck {
        let says = format!("stuck at {} since {}", text(order, "status"), text(order, "updated_at"));
        findings.wrong_order(Check::Stuck, text(order, "id"), says)?;
    }
    if stuck.is_empty() { findings.fine(Check::Stuck, "no order is stuck") } else { Ok(()) }
}

async fn money(client: &Client, findings: &mut Findings) -> io::Result<()> {
    let proof = match client.get_patiently::<Value>("/v1/ledger/proof").await {
        Ok(proof) => proof,
        Err(error) => return unanswered(findings, Check::Money, "the money proof", &error),
    };
    let items = |list: &str| proof[list]["items"].as_array().cloned().unwrap_or_default();
    for entry in items("unbalanced") {
        let (payment_id, kind) = (text(&entry, "payment_id"), text(&entry, "kind"));
        let says = format!("the {kind} of {payment_id} sums to {} {}", entry["sum"], text(&entry, "currency"));
        findings.wrong(Check::Money, says)?;
    }
    for found in items("disagreements") {
        let status = found["status"].as_str().unwrap_or("not to be found");
        let says = format!("it is {status}: expected {}, found {}", text(&found, "expected"), text(&found, "found"));
        findings.wrong_order(Check::Money, text(&found, "order_id"), says)?;
    }
    let totals: Vec<_> = proof["currencies"].as_array().into_iter().flatten().collect();
    for sums in totals.iter().filter(|sums| sums["total"] != 0) {
        findings.wrong(Check::Money, format!("all postings in {} sum to {}", text(sums, "currency"), sums["total"]))?;
    }
    let counts = format!("{} orders, {} payments, {} entries", proof["orders"], proof["payments"], proof["entries"]);
    if proof["clean"] == true {
        findings.fine(Check::Money, format!("{counts}: balanced, and as the orders say"))
    } else {
        let (unbalanced, disagreements) = (&proof["unbalanced"]["count"], &proof["disagreements"]["count"]);
        findings
            .wrong(Check::Money, format!("{counts}: {unbalanced} unbalanced, {disagreements} not as their orders say"))
    }
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or("?")
}

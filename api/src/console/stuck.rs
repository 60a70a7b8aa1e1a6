//! Orders that are stuck, by the step that fails and how; and what is done about many of them at once.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde_json::{Map, Value, json};
use workflows::{Role, Status, Step};

use super::client::{Api, Told, escaped};
use super::labels::Label;
use super::layout::{Page as Whole, choice, good, problem_if, proof, respond, status};
use super::text::Text;
use super::views::{Bulk, Dashboard, List, Merchant, Order, Page, StuckAt, Workflow, WorkflowState};
use super::visit::Visit;
use super::{Answer, Console, format, nothing_here};

/// How many stuck orders are looked into.
const LOOKED_INTO: usize = 24;

/// How many orders are named that did not take a command.
const FAILURES_TOLD: usize = 5;

/// What can be said of many orders, by the names of forms and of the API's filter.
const FILTERS: [&str; 3] = ["merchant_id", "status", "failing_step"];

/// What the page says above its groups.
pub(super) enum Said {
    Trouble(Told),
    /// How many orders a command would be about.
    Counted {
        command: Many,
        bulk: Bulk,
        placed_before: DateTime<Utc>,
    },
    /// What it came to.
    Done(Bulk),
}

/// What can be asked of many orders.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Many {
    Retry,
    Cancel,
}

impl Many {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Cancel => "cancel",
        }
    }
}

/// Orders that fail at the same step in the same way.
struct Group {
    step: Option<Step>,
    failure: Option<String>,
    orders: Vec<(Order, Option<Workflow>)>,
}

pub(super) async fn page(console: &Console, visit: &Visit, said: Option<&Said>) -> Answer {
    let api = console.api(visit)?;
    let path = format!("/v1/orders?stuck=true&limit={LOOKED_INTO}");
    let (dashboard, orders, merchants) = tokio::join!(
        api.get::<Dashboard>("/v1/dashboard"),
        api.get::<Page<Order>>(&path),
        api.get::<List<Merchant>>("/v1/merchants")
    );
    let (dashboard, orders) = (dashboard?, orders?.items);
    let stuck = dashboard.stuck;
    let merchants = merchants.map(|list| list.items).unwrap_or_default();
    let shown = orders.len();
    let steps = by_step(dashboard.stuck_at, groups(&api, orders).await);
    let now = console.orders.now();
    let list = html! {
        div #stuck {
            @if steps.is_empty() {
                div.panel.all-well {
                    h2 { (visit.say(Text::NothingStuck)) }
                    p { (visit.say(Text::NothingStuckDetail)) }
                }
            }
            @if u64::try_from(shown).unwrap_or(u64::MAX) < stuck {
                p.hint { (Text::GroupedFirst.with(visit.language, &[&shown.to_string(), &stuck.to_string()])) }
            }
            @for (at, groups) in &steps { (self::step(visit, at, groups, now)) }
        }
    };
    if visit.wants_only("stuck") {
        return Ok(respond(poem::http::StatusCode::OK, &list));
    }
    let title = visit.say(Text::Stuck);
    let content = html! {
        div.bar { h1 { (title) " " b.count { (stuck) } } }
        p.hint { (visit.say(Text::StuckIntroduction)) }
        (self::said(visit, said))
        div hx-get="/stuck" hx-trigger="every 10s" hx-target="#stuck" hx-swap="morph:outerHTML" { (list) }
        @if stuck > 0 && visit.is(Role::Operator) && !matches!(said, Some(Said::Counted { .. })) { (many(visit, &merchants)) }
    };
    let trouble = match said {
        Some(Said::Trouble(told)) => Some(told),
        _ => None,
    };
    Ok(Whole::new("/stuck", title, content).troubled(trouble).respond(console, visit))
}

async fn groups(api: &Api, orders: Vec<Order>) -> Vec<Group> {
    let paths: Vec<_> = orders.iter().map(|order| format!("/v1/orders/{}/workflow", escaped(&order.id))).collect();
    let workflows = api.get_all::<Workflow>(&paths).await;
    let mut groups: BTreeMap<(Option<Step>, Option<String>), Vec<_>> = BTreeMap::new();
    for (order, workflow) in orders.into_iter().zip(workflows) {
        let workflow = workflow.ok();
        let step = workflow.as_ref().and_then(|workflow| workflow.step);
        let failure = workflow.as_ref().and_then(|workflow| workflow.last_failure.as_deref()).map(without_ids);
        groups.entry((step, failure)).or_default().push((order, workflow));
    }
    let mut groups: Vec<_> =
        groups.into_iter().map(|((step, failure), orders)| Group { step, failure, orders }).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.orders.len()));
    groups
}

/// A failure without the ids in it, so that the same failure of two orders reads the same.
fn without_ids(failure: &str) -> String {
    let is_id = |word: &str| {
        let (kind, id) = word.split_once('_').unwrap_or_default();
        !kind.is_empty() && id.len() >= 32 && id.bytes().take(32).all(|byte| byte.is_ascii_hexdigit())
    };
    let separates = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let mut text = String::new();
    for piece in failure.split_inclusive(separates) {
        let word = piece.trim_end_matches(separates);
        text.push_str(if is_id(word) { "…" } else { word });
        text.push_str(&piece[word.len()..]);
    }
    text
}

/// The steps at which orders are stuck, each with the groups of those that were looked into.
fn by_step(counted: Vec<StuckAt>, mut groups: Vec<Group>) -> Vec<(StuckAt, Vec<Group>)> {
    let mut steps = Vec::new();
    for at in counted {
        let (these, others) = groups.into_iter().partition(|group| group.step == at.step);
        groups = others;
        steps.push((at, these));
    }
    // What the engine has told since then.
    while let Some(step) = groups.first().map(|group| group.step) {
        let (these, others) = groups.into_iter().partition::<Vec<_>, _>(|group| group.step == step);
        groups = others;
        let orders = these.iter().map(|group| group.orders.len() as u64).sum();
        steps.push((StuckAt { step, orders }, these));
    }
    steps
}

fn step(visit: &Visit, at: &StuckAt, groups: &[Group], now: DateTime<Utc>) -> Markup {
    html! {
        section.panel.group {
            div.bar {
                h2 {
                    @match at.step {
                        Some(step) => { (step.label(visit.language)) " " span.code { (step.name()) } }
                        None => (visit.say(Text::IsUnknown)),
                    }
                    " " b.count { (at.orders) }
                }
                @if let Some(step) = at.step.filter(|_| visit.is(Role::Operator)) {
                    @let count = at.orders.to_string();
                    form.row method="post" action="/stuck/retry" {
                        (proof(visit))
                        input type="hidden" name="failing_step" value=(step.name());
                        button.primary formaction="/stuck/retry" {
                            (Text::RetryAllHere.with(visit.language, &[&count]))
                            span.hidden { " " (step.label(visit.language)) }
                        }
                        button.danger formaction="/stuck/cancel" {
                            (Text::CancelAllHere.with(visit.language, &[&count]))
                            span.hidden { " " (step.label(visit.language)) }
                        }
                    }
                }
            }
            @for group in groups { (self::group(visit, group, now)) }
        }
    }
}

fn group(visit: &Visit, group: &Group, now: DateTime<Utc>) -> Markup {
    html! {
        p.failure {
            b.count { (group.orders.len()) } " × "
            @match &group.failure {
                Some(failure) => span.code { (failure) },
                None => (visit.say(Text::NoFailureTold)),
            }
        }
        div.scroll {
            table {
                thead {
                    tr {
                        th scope="col" { (visit.say(Text::Order)) }
                        th scope="col" { (visit.say(Text::Status)) }
                        th scope="col" { (visit.say(Text::WhichMerchant)) }
                        th.number scope="col" { (visit.say(Text::Attempts)) }
                        th scope="col" { (visit.say(Text::UpdatedAt)) }
                        th scope="col" { (visit.say(Text::NextTry)) }
                        td {}
                    }
                }
                tbody { @for (order, workflow) in &group.orders { (row(visit, order, workflow.as_ref(), now)) } }
            }
        }
    }
}

fn row(visit: &Visit, order: &Order, workflow: Option<&Workflow>, now: DateTime<Utc>) -> Markup {
    html! {
        tr id=(order.id) {
            td { a.number href={ "/orders/" (order.id) } { "#" (format::short(&order.id)) } " " (order.customer.name) }
            td { (status(order.status, &order.status_label)) }
            td { (order.merchant_id) }
            td.number { @if let Some(attempt) = workflow.and_then(|workflow| workflow.attempt) { (attempt) } }
            td { (format::since(order.updated_at, now, visit.language)) }
            td {
                @match workflow {
                    Some(workflow) if workflow.state == WorkflowState::Paused => (visit.say(Text::Paused)),
                    Some(Workflow { next_try_at: Some(at), .. }) => (format::moment(*at, now)),
                    _ => "–",
                }
            }
            td {
                @if visit.is(Role::Operator) {
                    form method="post" action={ "/orders/" (order.id) "/retry" } {
                        (proof(visit))
                        input type="hidden" name="back" value="/stuck";
                        button { (visit.say(Text::RetryNow)) span.hidden { " #" (format::short(&order.id)) } }
                    }
                }
            }
        }
    }
}

fn said(visit: &Visit, said: Option<&Said>) -> Markup {
    match said {
        None => html! {},
        Some(Said::Trouble(told)) => problem_if(visit, Some(told)),
        Some(Said::Counted { bulk, .. }) if bulk.matched == 0 => good(visit.say(Text::BulkNone)),
        Some(Said::Counted { command, bulk, placed_before }) => confirm(visit, *command, bulk, *placed_before),
        Some(Said::Done(bulk)) => {
            let outcomes = bulk.outcomes.as_ref();
            let counts =
                outcomes.map(|came| [came.accepted + came.carried_out, came.not_allowed, came.failed, came.not_tried]);
            let [_, others @ ..] = counts.unwrap_or_default();
            let counts = counts.unwrap_or_default().map(|count| count.to_string());
            let result = Text::BulkResult.with(visit.language, &counts.each_ref().map(String::as_str));
            if others == [0; 3] { good(&result) } else { partly(&result, bulk) }
        }
    }
}

/// A result that is not all good, with the first of what went wrong.
fn partly(result: &str, bulk: &Bulk) -> Markup {
    html! {
        div.problem role="alert" {
            p { b { (result) } }
            ul {
                @for failure in bulk.failures.iter().take(FAILURES_TOLD) {
                    li {
                        a.number href={ "/orders/" (failure.order_id) } { "#" (format::short(&failure.order_id)) }
                        " " span lang="en" { (failure.detail) }
                    }
                }
            }
        }
    }
}

fn many(visit: &Visit, merchants: &[Merchant]) -> Markup {
    let all = [("", visit.say(Text::AllMerchants))];
    let merchants = merchants.iter().map(|merchant| (merchant.id.as_str(), merchant.name.as_str()));
    let merchants: Vec<_> = all.into_iter().chain(merchants).collect();
    let every = [("", visit.say(Text::EveryStatus))];
    let open = Status::ALL.into_iter().filter(|status| !status.is_final());
    let statuses: Vec<_> =
        every.into_iter().chain(open.map(|status| (status.as_str(), status.label(visit.language)))).collect();
    html! {
        details.panel {
            summary { (visit.say(Text::ManyAtOnce)) }
            form.row method="post" action="/stuck/retry" {
                (proof(visit))
                label {
                    (visit.say(Text::WhichMerchant)) " " (choice("merchant_id", "of-merchant", visit.form.text("merchant_id"), &merchants))
                }
                label {
                    (visit.say(Text::Status)) " " (choice("status", "at-status", visit.form.text("status"), &statuses))
                }
                button.primary formaction="/stuck/retry" { (visit.say(Text::RetryAll)) }
                button.danger formaction="/stuck/cancel" { (visit.say(Text::CancelAll)) }
            }
        }
    }
}

fn confirm(visit: &Visit, command: Many, bulk: &Bulk, placed_before: DateTime<Utc>) -> Markup {
    let matched = bulk.matched.to_string();
    let (question, go, class) = match command {
        Many::Retry => (Text::BulkConfirmRetry, Text::BulkGoRetry, "primary"),
        Many::Cancel => (Text::BulkConfirmCancel, Text::BulkGoCancel, "danger"),
    };
    html! {
        section.panel.asks aria-labelledby="sure" {
            h2 #sure { (question.with(visit.language, &[&matched])) }
            (which(visit))
            @if bulk.more { p { (visit.say(Text::BulkMore)) } }
            form.stacked method="post" action={ "/stuck/" (command.as_str()) } {
                (proof(visit))
                @for name in FILTERS { input type="hidden" name=(name) value=(visit.form.text(name)); }
                input type="hidden" name="placed_before" value=(placed_before.to_rfc3339());
                input type="hidden" name="expected" value=(matched);
                @if command == Many::Cancel {
                    label for="why" { (visit.say(Text::WhyOptional)) }
                    input #why name="reason" maxlength="500";
                }
                p {
                    button class=(class) { (go.with(visit.language, &[&matched])) } " "
                    a.plain href="/stuck" { (visit.say(Text::BulkKeep)) }
                }
            }
        }
    }
}

/// Which orders the confirmation is about, as the form said.
fn which(visit: &Visit) -> Markup {
    let step = Step::ALL.into_iter().find(|step| visit.form.given("failing_step") == Some(step.name()));
    let status = Status::ALL.into_iter().find(|status| visit.form.given("status") == Some(status.as_str()));
    html! {
        dl.facts {
            @if let Some(step) = step {
                dt { (visit.say(Text::FailingStep)) }
                dd { (step.label(visit.language)) " " span.code { (step.name()) } }
            }
            dt { (visit.say(Text::WhichMerchant)) }
            dd { (visit.form.given("merchant_id").unwrap_or(visit.say(Text::AllMerchants))) }
            dt { (visit.say(Text::Status)) }
            dd { (status.map_or(visit.say(Text::EveryStatus), |status| status.label(visit.language))) }
        }
    }
}

/// Counts first; with the count that was seen, does it.
pub(super) async fn command(console: &Console, visit: &Visit, asked: &str) -> Answer {
    let api = console.api(visit)?;
    let known = [Many::Retry, Many::Cancel].into_iter().find(|known| known.as_str() == asked);
    let command = known.ok_or_else(|| nothing_here(visit))?;
    let placed_before = visit.form.given("placed_before").and_then(|at| at.parse().ok());
    let placed_before = placed_before.unwrap_or_else(|| console.orders.now());
    let mut filter = Map::from_iter([("stuck".to_owned(), json!(true))]);
    filter.insert("placed_before".to_owned(), json!(placed_before));
    for name in FILTERS {
        filter.extend(visit.form.given(name).map(|value| (name.to_owned(), json!(value))));
    }
    let expected = visit.form.given("expected").and_then(|count| count.parse::<u32>().ok());
    let mut body = json!({ "filter": filter, "command": command.as_str(), "dry_run": expected.is_none() });
    if let Some(expected) = expected {
        body["expected"] = json!(expected);
    }
    if let Some(reason) = visit.form.given("reason") {
        body["reason"] = Value::from(reason);
    }
    let said = match api.post::<Bulk>("/v1/orders/bulk", &body).await {
        Ok(bulk) if expected.is_some() => Said::Done(bulk),
        Ok(bulk) => Said::Counted { command, bulk, placed_before },
        Err(told) => Said::Trouble(told),
    };
    page(console, visit, Some(&said)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_failure_of_two_orders_reads_the_same() {
        let id = "0123456789abcdef0123456789abcdef";
        for (failure, text) in [
            (format!("no answer for ord_{id}: refused"), "no answer for …: refused"),
            (format!("(pay_{id})"), "(…)"),
            ("connection refused, os_error 111".to_owned(), "connection refused, os_error 111"),
            (String::new(), ""),
        ] {
            assert_eq!(without_ids(&failure), text);
        }
    }
}

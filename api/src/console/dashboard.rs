//! The dashboard: what today has brought, how long it took, and whether everything that is needed answers.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use maud::{Markup, html};
use serde_json::{Value, json};
use workflows::{Context, Currency, Money, Role, Status};

use super::chart::{self, Bar};
use super::client::{Api, Told, escaped, with_query};
use super::labels::Label;
use super::layout::{Page as Whole, problem_if, proof, see, status};
use super::text::Text;
use super::views::{Breaker, Dashboard, Events, List, Merchant, Modes, Order, Page};
use super::visit::Visit;
use super::{Answer, Console, format};

/// Of how many orders it is told how long they took.
const TIMED: usize = 50;
/// For how long a context has to answer to count as well.
const WELL_WITHIN: Duration = Duration::from_millis(800);

/// How long orders took, in seconds, the quickest first.
#[derive(Default)]
struct Times {
    to_paid: Vec<i64>,
    to_delivered: Vec<i64>,
}

/// Whether a context answers; `None` where nothing can be asked of it.
type Wellness = Vec<(Context, Option<bool>)>;

pub(super) async fn page(console: &Console, visit: &Visit, trouble: Option<&Told>) -> Answer {
    let api = console.api(visit)?;
    let dashboard: Dashboard = api.get("/v1/dashboard").await?;
    let (times, wellness, modes) =
        tokio::join!(Times::of(&api, dashboard.since), wellness(&api), modes(console, &api, visit));
    let now = console.orders.now();
    let title = visit.say(Text::Dashboard);
    let content = html! {
        div.bar {
            h1 { (title) }
            p.hint { (visit.say(Text::SinceMidnight)) }
        }
        (problem_if(visit, trouble))
        (today(visit, &dashboard, &times))
        section.panel aria-label=(visit.say(Text::OrdersByHour)) { (charts(visit, &dashboard, now)) }
        div.sheet.even {
            section.panel aria-labelledby="open" {
                h2 #open { (visit.say(Text::OpenOrders)) }
                (open(visit, &dashboard))
            }
            section.panel aria-labelledby="health" {
                h2 #health { (visit.say(Text::Health)) }
                (health(visit, dashboard.breaker, &wellness, &modes))
            }
        }
    };
    Ok(Whole::new("/dashboard", title, content).troubled(trouble).respond(console, visit))
}

impl Times {
    /// Of the newest orders since then.
    async fn of(api: &Api, since: DateTime<Utc>) -> Self {
        let (since, limit) = (since.to_rfc3339_opts(chrono::SecondsFormat::Secs, true), TIMED.to_string());
        let path = with_query("/v1/orders", &[("placed_after", Some(&since)), ("limit", Some(&limit))]);
        let Ok(orders) = api.get::<Page<Order>>(&path).await else { return Self::default() };
        let events = orders.items.iter().map(|order| format!("/v1/orders/{}/events", escaped(&order.id)));
        let mut times = Self::default();
        for events in api.get_all::<Events>(&events.collect::<Vec<_>>()).await.into_iter().flatten() {
            let at = |kind: &str| events.items.iter().find(|event| event.kind == kind).map(|event| event.at);
            let Some(placed) = at("order_placed") else { continue };
            let took = |kind| at(kind).map(|at| (at - placed).num_seconds());
            times.to_paid.extend(took("order_paid"));
            times.to_delivered.extend(took("delivery_completed"));
        }
        times.to_paid.sort_unstable();
        times.to_delivered.sort_unstable();
        times
    }
}

/// The middle of what is sorted.
fn median(sorted: &[i64]) -> Option<i64> {
    sorted.get(sorted.len() / 2).copied()
}

fn today(visit: &Visit, dashboard: &Dashboard, times: &Times) -> Markup {
    let placed: i64 = dashboard.today.iter().map(|taken| taken.placed).sum();
    let none = || "–".to_owned();
    let sums = |sums: Vec<Money>| if sums.is_empty() { none() } else { format::sums(sums) };
    let revenue = sums(dashboard.today.iter().map(|taken| taken.revenue).collect());
    let refunds = sums(dashboard.today.iter().map(|taken| taken.refunds).collect());
    let time = |sorted: &[i64]| {
        median(sorted).map_or_else(none, |seconds| format::span(TimeDelta::seconds(seconds), visit.language))
    };
    let of = |sorted: &[i64]| Some(sorted.len()).filter(|count| *count > 0).map(|count| count.to_string());
    html! {
        dl.figures {
            (figure(visit.say(Text::OrdersToday), &format::count(placed), None))
            (figure(visit.say(Text::Revenue), &revenue, None))
            (figure(visit.say(Text::Refunds), &refunds, None))
            (figure(visit.say(Text::TimeToPaid), &time(&times.to_paid), of(&times.to_paid).map(|n| Text::MedianOf.with(visit.language, &[&n]))))
            (figure(visit.say(Text::TimeToDelivered), &time(&times.to_delivered), of(&times.to_delivered).map(|n| Text::MedianOf.with(visit.language, &[&n]))))
        }
    }
}

fn figure(name: &str, value: &str, note: Option<String>) -> Markup {
    html! {
        div {
            dt { (name) }
            dd { b { (value) } @if let Some(note) = note { " " span.hint { (note) } } }
        }
    }
}

/// What each hour brought: orders, revenue and refunds.
type Hours = BTreeMap<DateTime<Utc>, [i64; 3]>;

fn charts(visit: &Visit, dashboard: &Dashboard, now: DateTime<Utc>) -> Markup {
    // Currencies do not add up: each has a chart of its own.
    let mut by_currency: BTreeMap<&str, (Currency, Hours)> = BTreeMap::new();
    for hour in &dashboard.hours {
        let currency = hour.revenue.currency;
        let (_, hours) = by_currency.entry(currency.code()).or_insert_with(|| (currency, Hours::new()));
        let sums = hours.entry(hour.hour).or_default();
        for (sum, more) in sums.iter_mut().zip([hour.placed, hour.revenue.amount, hour.refunds.amount]) {
            *sum += more;
        }
    }
    let bars = |hours: &Hours, series: &[usize]| -> Vec<Bar> {
        let all = (0..24).map(|n| dashboard.since + TimeDelta::hours(n)).take_while(|hour| *hour <= now);
        let bar = |hour: DateTime<Utc>| {
            let sums = hours.get(&hour).copied().unwrap_or_default();
            Bar { label: format!("{:02}", hour.hour()), values: series.iter().map(|of| sums[*of]).collect() }
        };
        all.map(bar).collect()
    };
    html! {
        @if by_currency.is_empty() { p.hint { (visit.say(Text::NoTakings)) } }
        div.charts {
            @for (code, (currency, hours)) in &by_currency {
                @let suffix = if by_currency.len() > 1 { format!(" ({code})") } else { String::new() };
                (chart::bars(visit, &format!("{}{suffix}", visit.say(Text::OrdersByHour)), &[visit.say(Text::OrdersToday)], &bars(hours, &[0]), format::count))
                (chart::bars(
                    visit,
                    &format!("{}{suffix}", visit.say(Text::RevenueByHour)),
                    &[visit.say(Text::Revenue), visit.say(Text::Refunds)],
                    &bars(hours, &[1, 2]),
                    |amount| format::money(Money::new(amount, *currency)),
                ))
            }
        }
    }
}

fn open(visit: &Visit, dashboard: &Dashboard) -> Markup {
    let open = Status::ALL.into_iter().filter(|status| !status.is_final());
    html! {
        @if dashboard.stuck > 0 {
            p.stuck-note {
                @let text = Text::OrdersAreStuck.with(visit.language, &[&dashboard.stuck.to_string()]);
                @if visit.is(Role::Operator) { a href="/stuck" { (text) } } @else { (text) }
            }
        }
        table {
            tbody {
                @for at in open {
                    @let tallies = dashboard.statuses.iter().filter(|tally| tally.status == at);
                    @let count = tallies.clone().map(|tally| tally.orders).sum::<i64>();
                    @if count > 0 {
                        tr {
                            th scope="row" { a href=(with_query("/", &[("status", Some(at.as_str()))])) { (status(at, at.label(visit.language))) } }
                            td.number { (format::count(count)) }
                            td.number { (format::sums(tallies.map(|tally| tally.value))) }
                        }
                    }
                }
            }
        }
    }
}

fn health(visit: &Visit, breaker: Breaker, wellness: &Wellness, modes: &Modes) -> Markup {
    let (breaker_text, well) = match breaker {
        Breaker::Closed => (Text::BreakerClosed, "well"),
        Breaker::Open => (Text::BreakerOpen, "ill"),
        Breaker::HalfOpen => (Text::BreakerHalfOpen, "so-so"),
    };
    html! {
        table.health {
            tbody {
                tr {
                    th scope="row" { (visit.say(Text::Breaker)) }
                    td { span class={ "lamp " (well) } { (visit.say(breaker_text)) } }
                    @if !modes.is_empty() { td {} }
                }
                @for (context, answers) in wellness {
                    @let (text, lamp) = match answers {
                        Some(true) => (Text::Up, "well"),
                        Some(false) => (Text::Down, "ill"),
                        None => (Text::NotAsked, "unknown"),
                    };
                    tr {
                        th scope="row" { (context.label(visit.language)) }
                        td { span class={ "lamp " (lamp) } { (visit.say(text)) } }
                        @if let Some(mode) = modes.get(context) { td { (switch_form(visit, *context, &mode.mode)) } }
                    }
                }
            }
        }
    }
}

fn switch_form(visit: &Visit, context: Context, mode: &str) -> Markup {
    let (to, text) = if mode == "up" { ("down", Text::SwitchDown) } else { ("up", Text::SwitchUp) };
    html! {
        form method="post" action={ "/sandbox/" (context) } {
            (proof(visit))
            input type="hidden" name="mode" value=(to);
            @if mode != "up" { span.hint { (Text::SandboxDown.with(visit.language, &[mode])) " " } }
            button { (visit.say(text)) span.hidden { " " (context.label(visit.language)) } }
        }
    }
}

/// Whether each context answers a question that costs it little.
async fn wellness(api: &Api) -> Wellness {
    let asked = |list: &str| format!("/v1/{list}?limit=1");
    let merchants = api.get::<List<Merchant>>("/v1/merchants").await.map(|list| list.items).unwrap_or_default();
    let products = merchants.first().map(|merchant| format!("/v1/merchants/{}/products", escaped(&merchant.id)));
    let contexts = [
        (Context::Payment, Some(asked("payments"))),
        (Context::Stock, products),
        (Context::Delivery, Some(asked("deliveries"))),
        (Context::Promotion, Some(asked("coupons"))),
        (Context::Notification, Some(asked("notifications"))),
        // It tells nobody of what it has.
        (Context::Kitchen, None),
    ];
    let answers = contexts.map(|(context, path)| async move {
        let Some(path) = path else { return (context, None) };
        let answer = tokio::time::timeout(WELL_WITHIN, api.get::<Value>(&path)).await;
        (context, Some(answer.is_ok_and(|answer| answer.is_ok())))
    });
    futures::future::join_all(answers).await
}

/// How the built-in providers are set to behave, for operators of local mode.
async fn modes(console: &Console, api: &Api, visit: &Visit) -> Modes {
    if !console.is_local() || !visit.is(Role::Operator) {
        return Modes::default();
    }
    api.get("/v1/sandbox").await.unwrap_or_default()
}

/// Sets how a built-in provider behaves.
pub(super) async fn switch(console: &Console, visit: &Visit, context: &str) -> Answer {
    let api = console.api(visit)?;
    let mode = json!({ "mode": visit.form.text("mode") });
    match api.put::<Value>(&format!("/v1/sandbox/{}", escaped(context)), &mode).await {
        Ok(_) => Ok(see("/dashboard")),
        Err(told) => page(console, visit, Some(&told)).await,
    }
}

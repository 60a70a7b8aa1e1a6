//! The dashboard: what today has brought, how long it took, and whether everything that is needed answers.

use std::collections::BTreeMap;
use std::ops::Add;
use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Timelike, Utc};
use maud::{Markup, html};
use poem::http::StatusCode;
use serde_json::{Value, json};
use workflows::{Context, Currency, Money, Role, Status};

use super::chart::{self, Bar};
use super::client::{Api, Told, escaped, with_query};
use super::labels::Label;
use super::layout::{Page as Whole, problem_if, proof, respond, see, status};
use super::text::Text;
use super::views::{Breaker, Dashboard, Deployment, DeploymentState, HourlyTakings, List, Merchant, Modes, Takings};
use super::visit::Visit;
use super::{Answer, Console, format};

/// For how long a context has to answer to count as well.
const WELL_WITHIN: Duration = Duration::from_millis(800);

/// Whether a context answers; `None` where nothing can be asked of it.
type Wellness = Vec<(Context, Option<bool>)>;

pub(super) async fn page(console: &Console, visit: &Visit, trouble: Option<&Told>) -> Answer {
    let api = console.api(visit)?;
    let now = console.orders.now();
    let since = format::rfc3339(midnight(now, visit.offset));
    let dashboard: Dashboard = api.get(&with_query("/v1/dashboard", &[("since", Some(&since))])).await?;
    let (wellness, modes, deployments) =
        tokio::join!(wellness(&api), modes(console, &api, visit), deployments(&api, visit));
    let title = visit.say(Text::Dashboard);
    let content = html! {
        div #dashboard {
            (today(visit, &dashboard))
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
            @if let Some(deployments) = &deployments {
                section.panel aria-labelledby="workers" {
                    h2 #workers { (visit.say(Text::Workers)) }
                    (workers(visit, deployments, now))
                }
            }
        }
    };
    if visit.wants_only("dashboard") {
        return Ok(respond(StatusCode::OK, &content));
    }
    let content = html! {
        div.bar {
            h1 { (title) }
            p.hint { (visit.say(if visit.offset.is_zero() { Text::SinceMidnightUtc } else { Text::SinceMidnight })) }
        }
        (problem_if(visit, trouble))
        div hx-get="/dashboard" hx-trigger="every 15s" hx-target="#dashboard" hx-swap="morph:outerHTML" { (content) }
    };
    Ok(Whole::new("/dashboard", title, content).troubled(trouble).respond(console, visit))
}

/// When the day began for people whose clocks are so far ahead of UTC.
fn midnight(now: DateTime<Utc>, offset: TimeDelta) -> DateTime<Utc> {
    let day = (now + offset).duration_trunc(TimeDelta::days(1));
    day.map_or(now, |midnight| midnight - offset)
}

/// How long something took on average, and how many orders that is the average of.
#[derive(Clone, Copy, Default)]
struct Mean {
    orders: i64,
    total_ms: i64,
}

impl Mean {
    fn to_paid(takings: &Takings) -> Self {
        Self { orders: takings.paid, total_ms: takings.paid * takings.time_to_paid_ms.unwrap_or(0) }
    }

    fn to_delivered(takings: &Takings) -> Self {
        Self { orders: takings.delivered, total_ms: takings.delivered * takings.time_to_delivered_ms.unwrap_or(0) }
    }

    /// `None` where there are no orders.
    fn ms(self) -> Option<i64> {
        self.total_ms.checked_div(self.orders)
    }
}

impl Add for Mean {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { orders: self.orders + other.orders, total_ms: self.total_ms + other.total_ms }
    }
}

fn today(visit: &Visit, dashboard: &Dashboard) -> Markup {
    let placed: i64 = dashboard.today.iter().map(|taken| taken.placed).sum();
    let nothing = || "–".to_owned();
    let sums = |sums: Vec<Money>| if sums.is_empty() { nothing() } else { format::sums(sums) };
    let revenue = sums(dashboard.today.iter().map(|taken| taken.revenue).collect());
    let refunds = sums(dashboard.today.iter().map(|taken| taken.refunds).collect());
    let time = |name: Text, of: fn(&Takings) -> Mean| {
        let mean = dashboard.today.iter().map(of).fold(Mean::default(), Mean::add);
        let of_how_many = mean.ms().map(|_| Text::MeanOf.with(visit.language, &[&format::count(mean.orders)]));
        let value = mean.ms().map_or_else(nothing, |ms| format::took(ms, visit.language));
        figure(visit.say(name), &value, of_how_many.as_deref())
    };
    html! {
        dl.figures {
            (figure(visit.say(Text::OrdersToday), &format::count(placed), None))
            (figure(visit.say(Text::Revenue), &revenue, None))
            (figure(visit.say(Text::Refunds), &refunds, None))
            (time(Text::TimeToPaid, Mean::to_paid))
            (time(Text::TimeToDelivered, Mean::to_delivered))
        }
    }
}

fn figure(name: &str, value: &str, note: Option<&str>) -> Markup {
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
    for HourlyTakings { hour, takings } in &dashboard.hours {
        let currency = takings.revenue.currency;
        let (_, hours) = by_currency.entry(currency.code()).or_insert_with(|| (currency, Hours::new()));
        let sums = hours.entry(*hour).or_default();
        for (sum, more) in sums.iter_mut().zip([takings.placed, takings.revenue.amount, takings.refunds.amount]) {
            *sum += more;
        }
    }
    let by_hour = |values: &dyn Fn(DateTime<Utc>) -> Vec<i64>| -> Vec<Bar> {
        let all = (0..24).map(|n| dashboard.since + TimeDelta::hours(n)).take_while(|hour| *hour <= now);
        all.map(|hour| Bar { label: format!("{:02}", (hour + visit.offset).hour()), values: values(hour) }).collect()
    };
    let of_hour = |hours: &Hours, hour| hours.get(&hour).copied().unwrap_or_default();
    let mean = |of: fn(&Takings) -> Mean, at: DateTime<Utc>| {
        let means = dashboard.hours.iter().filter(|hour| hour.hour == at).map(|hour| of(&hour.takings));
        means.fold(Mean::default(), Mean::add).ms().unwrap_or(0)
    };
    let times = [
        (Text::TimeToPaidByHour, Text::TimeToPaid, Mean::to_paid as fn(&Takings) -> Mean),
        (Text::TimeToDeliveredByHour, Text::TimeToDelivered, Mean::to_delivered),
    ];
    let amount = |currency: Currency| move |amount| format::money(Money::new(amount, currency));
    let money = [visit.say(Text::Revenue), visit.say(Text::Refunds)];
    html! {
        @if by_currency.is_empty() { p.hint { (visit.say(Text::NoTakings)) } }
        div.charts {
            @for (code, (currency, hours)) in &by_currency {
                @let title = |text| match by_currency.len() {
                    1 => visit.say(text).to_owned(),
                    _ => format!("{} ({code})", visit.say(text)),
                };
                @let orders = by_hour(&|hour| vec![of_hour(hours, hour)[0]]);
                (chart::bars(
                    visit,
                    &title(Text::OrdersByHour),
                    &[visit.say(Text::OrdersToday)],
                    &orders,
                    format::count,
                ))
                @let takings = by_hour(&|hour| of_hour(hours, hour)[1..].to_vec());
                (chart::bars(visit, &title(Text::RevenueByHour), &money, &takings, amount(*currency)))
            }
            @if !by_currency.is_empty() {
                @for (title, series, of) in times {
                    @let bars = by_hour(&|hour| vec![mean(of, hour)]);
                    (chart::bars(
                        visit,
                        visit.say(title),
                        &[visit.say(series)],
                        &bars,
                        |ms| format::took(ms, visit.language),
                    ))
                }
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
                            th scope="row" {
                                a href=(with_query("/", &[("status", Some(at.as_str()))])) {
                                    (status(at, at.label(visit.language)))
                                }
                            }
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

/// The versions of the worker: which takes what begins anew, and which are still needed.
fn workers(visit: &Visit, deployments: &Result<List<Deployment>, Told>, now: DateTime<Utc>) -> Markup {
    let deployments = match deployments {
        Ok(list) => &list.items,
        Err(told) => return html! { p.hint { (told.detail) } },
    };
    html! {
        div.scroll {
            table.health {
                thead {
                    tr {
                        th scope="col" { (visit.say(Text::WorkerVersion)) }
                        th scope="col" { (visit.say(Text::Status)) }
                        th.number scope="col" { (visit.say(Text::OpenWork)) }
                        th scope="col" { (visit.say(Text::WorkerUrl)) }
                        th scope="col" { (visit.say(Text::RegisteredAt)) }
                    }
                }
                tbody {
                    @for deployment in deployments.iter().rev() {
                        @let (text, lamp) = match deployment.state {
                            DeploymentState::Current => (Text::WorkerCurrent, "well"),
                            DeploymentState::Draining => (Text::WorkerDraining, "so-so"),
                            DeploymentState::Drained => (Text::WorkerDrained, "unknown"),
                        };
                        tr {
                            th scope="row" { span.code { (deployment.id) } }
                            td { span class={ "lamp " (lamp) } { (visit.say(text)) } }
                            td.number { (deployment.open) }
                            td { span.code { (deployment.url) } }
                            td { (format::moment(deployment.created_at, now)) }
                        }
                    }
                }
            }
        }
    }
}

/// The versions of the worker, for operators.
async fn deployments(api: &Api, visit: &Visit) -> Option<Result<List<Deployment>, Told>> {
    if visit.is(Role::Operator) { Some(api.get("/v1/deployments").await) } else { None }
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
    if !console.local || !visit.is(Role::Operator) {
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

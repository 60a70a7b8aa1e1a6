//! The board: orders by status, the newest first, with what each status comes to. However many there are, it asks for one
//! page of each; how many there are is counted by the tallies.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};
use poem::http::StatusCode;
use workflows::{Command, Money, OrderId, Role, Status};

use super::client::{Api, Told, with_query};
use super::labels::Label;
use super::layout::{Page as Whole, choice, problem_if, proof, respond, status};
use super::text::Text;
use super::views::{Dashboard, List, Merchant, Order, Page, Tally};
use super::visit::Visit;
use super::{Answer, Console, format};

/// Cards in a column, where there are several.
const CARDS: u32 = 25;
/// Cards of an ended status, which nobody has to do anything about.
const ENDED_CARDS: u32 = 6;
/// Cards on a page of one status.
const PAGE: u32 = 50;
/// How many orders are searched at a time, and how often, unless enough are found before.
const SEARCHED: u32 = 200;
const SEARCHES: usize = 10;
const FOUND: usize = 50;

/// What the board is to show.
struct Asked<'a> {
    merchant_id: Option<&'a str>,
    status: Option<Status>,
    text: Option<&'a str>,
    cursor: Option<&'a str>,
}

struct Column {
    status: Status,
    label: String,
    /// How many orders there are, and what they are worth, where that is counted.
    tally: Option<(i64, String)>,
    orders: Vec<Order>,
    next_cursor: Option<String>,
}

#[derive(Default)]
struct Board {
    columns: Vec<Column>,
    stuck: u64,
    /// How many orders were searched, and where the older ones begin.
    searched: Option<(usize, Option<String>)>,
    trouble: Option<Told>,
}

pub(super) async fn page(console: &Console, visit: &Visit) -> Answer {
    let api = console.api(visit)?;
    let asked = Asked::of(visit);
    let board = match asked.text {
        Some(_) => searched(&api, &asked).await,
        None if visit.keeps_shop() => counted(&api, &asked).await,
        None => listed(&api, &asked).await,
    };
    let board = board.unwrap_or_else(|told| Board { trouble: Some(told), ..Board::default() });
    let columns = columns(visit, &asked, &board, console.orders.now());
    if visit.wants_only("board") {
        return Ok(respond(board.trouble.as_ref().map_or(StatusCode::OK, |told| told.status), &columns));
    }
    let merchants = if visit.is(Role::Operator) {
        api.get::<List<Merchant>>("/v1/merchants").await.map(|list| list.items).unwrap_or_default()
    } else {
        Vec::new()
    };
    let title = visit.say(match visit.role() {
        Some(Role::Customer) => Text::MyOrders,
        Some(Role::Courier) => Text::MyDeliveries,
        _ => Text::Board,
    });
    let content = html! {
        div.bar {
            h1 { (title) }
            (filters(visit, &asked, &merchants))
            span #live.live data-lost=(visit.say(Text::NotLive)) data-on=(visit.say(Text::Live)) role="status" {}
        }
        // To search is more than to look.
        @let live = if asked.text.is_some() { "/live?calm" } else { "/live" };
        div data-live=(live) hx-get=(visit.here) hx-trigger="changed" hx-target="#board" hx-swap="morph:outerHTML" {
            (columns)
        }
    };
    Ok(Whole::new("/", title, content).troubled(board.trouble.as_ref()).respond(console, visit))
}

impl<'a> Asked<'a> {
    fn of(visit: &'a Visit) -> Self {
        let status = visit.query.given("status");
        Self {
            merchant_id: visit.query.given("merchant"),
            status: Status::ALL.into_iter().find(|known| status == Some(known.as_str())),
            text: visit.query.given("q"),
            cursor: visit.query.given("cursor"),
        }
    }

    /// The board with another status, and from its beginning.
    fn at(&self, status: Option<Status>, cursor: Option<&str>) -> String {
        let parameters = [
            ("merchant", self.merchant_id),
            ("status", status.map(Status::as_str)),
            ("q", self.text),
            ("cursor", cursor),
        ];
        with_query("/", &parameters)
    }

    fn orders(&self, status: Option<Status>, cursor: Option<&str>, limit: u32) -> String {
        let limit = limit.to_string();
        let parameters = [
            ("merchant_id", self.merchant_id),
            ("status", status.map(Status::as_str)),
            ("cursor", cursor),
            ("limit", Some(limit.as_str())),
        ];
        with_query("/v1/orders", &parameters)
    }

    fn matches(&self, order: &Order) -> bool {
        let Some(text) = self.text.map(|text| text.trim_start_matches('#').to_lowercase()) else { return true };
        let lines = order.lines.iter().flat_map(|line| [&line.name, &line.sku]);
        let customer = [&order.customer.name, &order.customer.phone, &order.customer.address];
        lines.chain(customer).chain([&order.id]).chain(&order.note).any(|said| said.to_lowercase().contains(&text))
    }
}

/// The board of those who are told how many orders there are.
async fn counted(api: &Api, asked: &Asked<'_>) -> Result<Board, Told> {
    let dashboard: Dashboard = api.get(&with_query("/v1/dashboard", &[("merchant_id", asked.merchant_id)])).await?;
    let tallies = |status: Status| dashboard.statuses.iter().filter(move |tally| tally.status == status);
    let shown = |status: &Status| match asked.status {
        Some(only) => only == *status,
        None => tallies(*status).next().is_some(),
    };
    let statuses: Vec<_> = Status::ALL.into_iter().filter(shown).collect();
    let limit = |status: Status| match asked.status {
        Some(_) => PAGE,
        None if status.is_final() => ENDED_CARDS,
        None => CARDS,
    };
    let paths: Vec<_> =
        statuses.iter().map(|status| asked.orders(Some(*status), asked.cursor, limit(*status))).collect();
    let mut columns = Vec::new();
    for (status, page) in statuses.into_iter().zip(api.get_all::<Page<Order>>(&paths).await) {
        let page = page?;
        let tally = (tallies(status).map(|tally| tally.orders).sum(), values(tallies(status)));
        columns.push(Column::new(api, status, Some(tally), page));
    }
    Ok(Board { columns, stuck: dashboard.stuck, ..Board::default() })
}

/// The board of everybody else: what is open, and the newest of what has ended.
async fn listed(api: &Api, asked: &Asked<'_>) -> Result<Board, Told> {
    let statuses: Vec<_> = match asked.status {
        Some(only) => vec![only],
        None => Status::ALL.into_iter().filter(|status| !status.is_final()).collect(),
    };
    let limit = if asked.status.is_some() { PAGE } else { CARDS };
    // What is open is never crowded out by what has ended.
    let mut paths: Vec<_> = statuses.iter().map(|status| asked.orders(Some(*status), asked.cursor, limit)).collect();
    if asked.status.is_none() {
        paths.push(asked.orders(None, None, CARDS));
    }
    let mut pages = api.get_all::<Page<Order>>(&paths).await.into_iter();
    let mut columns = Vec::new();
    for (status, page) in statuses.into_iter().zip(&mut pages) {
        columns.push(Column::new(api, status, None, page?));
    }
    if let Some(newest) = pages.next() {
        let ended = newest?.items.into_iter().filter(|order| order.status.is_final()).collect();
        columns.extend(by_status(api, ended));
    }
    columns.retain(|column| !column.orders.is_empty());
    Ok(Board { columns, ..Board::default() })
}

/// The board of what is searched for: the newest orders first, until enough are found.
async fn searched(api: &Api, asked: &Asked<'_>) -> Result<Board, Told> {
    // Whoever knows the whole number need not search.
    if let Some(id) = asked.text.and_then(|text| text.parse::<OrderId>().ok()) {
        let found = match api.get::<Order>(&format!("/v1/orders/{id}")).await {
            Ok(order) => vec![order],
            Err(told) if told.status == StatusCode::NOT_FOUND => Vec::new(),
            Err(told) => return Err(told),
        };
        return Ok(Board { columns: by_status(api, found), ..Board::default() });
    }
    let (mut found, mut searched) = (Vec::new(), 0);
    let mut cursor = asked.cursor.map(str::to_owned);
    for _ in 0..SEARCHES {
        let page: Page<Order> = api.get(&asked.orders(asked.status, cursor.as_deref(), SEARCHED)).await?;
        searched += page.items.len();
        found.extend(page.items.into_iter().filter(|order| asked.matches(order)));
        cursor = page.next_cursor;
        if cursor.is_none() || found.len() >= FOUND {
            break;
        }
    }
    Ok(Board { columns: by_status(api, found), searched: Some((searched, cursor)), ..Board::default() })
}

fn by_status(api: &Api, mut orders: Vec<Order>) -> Vec<Column> {
    let mut columns = Vec::new();
    for status in Status::ALL {
        let (these, others) = orders.into_iter().partition::<Vec<_>, _>(|order| order.status == status);
        orders = others;
        if !these.is_empty() {
            columns.push(Column::new(api, status, None, Page { items: these, next_cursor: None }));
        }
    }
    columns
}

fn values<'a>(tallies: impl Iterator<Item = &'a Tally>) -> String {
    format::sums(tallies.map(|tally| tally.value))
}

impl Column {
    fn new(api: &Api, status: Status, tally: Option<(i64, String)>, page: Page<Order>) -> Self {
        let label = status.label(api.language).to_owned();
        Self { status, label, tally, orders: page.items, next_cursor: page.next_cursor }
    }
}

fn filters(visit: &Visit, asked: &Asked, merchants: &[Merchant]) -> Markup {
    let every = [("", visit.say(Text::AllStatuses))];
    let statuses = Status::ALL.map(|status| (status.as_str(), status.label(visit.language)));
    let statuses: Vec<_> = every.into_iter().chain(statuses).collect();
    let all = [("", visit.say(Text::AllMerchants))];
    let merchants = merchants.iter().map(|merchant| (merchant.id.as_str(), merchant.name.as_str()));
    let merchants: Vec<_> = all.into_iter().chain(merchants).collect();
    let is_filtered = asked.merchant_id.is_some() || asked.status.is_some() || asked.text.is_some();
    html! {
        form.filters method="get" action="/" role="search" {
            @if merchants.len() > 1 {
                label.hidden for="by-merchant" { (visit.say(Text::WhichMerchant)) }
                (choice("merchant", "by-merchant", asked.merchant_id.unwrap_or_default(), &merchants))
            }
            label.hidden for="by-status" { (visit.say(Text::Status)) }
            (choice("status", "by-status", asked.status.map_or("", Status::as_str), &statuses))
            label.hidden for="by-text" { (visit.say(Text::Search)) }
            input #by-text name="q" type="search" value=(asked.text.unwrap_or_default()) placeholder=(visit.say(Text::SearchHint)) maxlength="100";
            button { (visit.say(Text::Filter)) }
            @if is_filtered { a.plain href="/" { (visit.say(Text::ClearFilter)) } }
        }
    }
}

fn columns(visit: &Visit, asked: &Asked, board: &Board, now: DateTime<Utc>) -> Markup {
    let is_empty = board.columns.iter().all(|column| column.orders.is_empty());
    let alone = asked.status.is_some();
    html! {
        div #board.board .alone[alone] {
            (problem_if(visit, board.trouble.as_ref()))
            @if board.stuck > 0 && visit.is(Role::Operator) {
                p.stuck-note {
                    a href="/stuck" { (Text::OrdersAreStuck.with(visit.language, &[&board.stuck.to_string()])) }
                }
            }
            @if is_empty && board.trouble.is_none() {
                p.nothing {
                    (visit.say(match (asked.text, visit.role()) {
                        (Some(_), _) => Text::NoOrdersMatch,
                        (None, Some(Role::Courier)) => Text::NothingToDeliver,
                        (None, _) => Text::NoOrders,
                    }))
                }
            }
            @for ended in [false, true] {
                @let columns = board.columns.iter().filter(|column| !column.orders.is_empty());
                div.lanes .ended[ended] {
                    @for column in columns.filter(|column| column.status.is_final() == ended) {
                        (self::column(visit, asked, column, now))
                    }
                }
            }
            @if let Some((searched, older)) = &board.searched {
                p.searched {
                    (Text::SearchedSoFar.with(visit.language, &[&searched.to_string()]))
                    @if let Some(cursor) = older {
                        " " a rel="next" href=(asked.at(asked.status, Some(cursor))) { (visit.say(Text::SearchOlder)) }
                    }
                }
            }
        }
    }
}

fn column(visit: &Visit, asked: &Asked, column: &Column, now: DateTime<Utc>) -> Markup {
    let id = column.status.as_str();
    let found = i64::try_from(column.orders.len()).unwrap_or(i64::MAX);
    let total = column.tally.as_ref().map_or(found, |(orders, _)| *orders);
    let more = asked.text.is_none() && total > found && asked.status.is_none();
    let uncounted = column.tally.is_none() && column.next_cursor.is_some();
    html! {
        section.column id={ "at-" (id) } aria-labelledby={ "of-" (id) } {
            header {
                h2 id={ "of-" (id) } {
                    (status(column.status, &column.label)) " "
                    b { (format::count(total)) @if uncounted { "+" } }
                }
                @if let Some((_, value)) = &column.tally { p { (value) } }
            }
            ul.cards {
                @for order in &column.orders { li id=(order.id) { (card(visit, order, now)) } }
            }
            @if more {
                p.more {
                    a href=(asked.at(Some(column.status), None)) {
                        (Text::ShowAll.with(visit.language, &[&format::count(total)]))
                    }
                }
            }
            @if uncounted && asked.status.is_none() {
                p.more { a href=(asked.at(Some(column.status), None)) { (visit.say(Text::ShowMore)) } }
            }
            @if let (Some(cursor), true) = (&column.next_cursor, asked.status.is_some()) {
                p.more { a rel="next" href=(asked.at(asked.status, Some(cursor))) { (visit.say(Text::ShowMore)) } }
            }
        }
    }
}

fn card(visit: &Visit, order: &Order, now: DateTime<Utc>) -> Markup {
    let what = order.lines.first().map(|line| format!("{} × {}", line.name, line.quantity)).unwrap_or_default();
    let others = order.lines.len().saturating_sub(1);
    html! {
        article.card {
            p.first {
                a.number href={ "/orders/" (order.id) } { "#" (format::short(&order.id)) }
                b { (order.customer.name) }
                span.sum { (format::money(order.total)) }
            }
            p.what {
                (what)
                @if others > 0 { " " (Text::ItemsMore.with(visit.language, &[&others.to_string()])) }
            }
            @if visit.is(Role::Courier) {
                p.where {
                    (order.customer.address) " · " a href={ "tel:" (order.customer.phone) } { (order.customer.phone) }
                }
            }
            p.when {
                (format::since(order.placed_at, now, visit.language))
                @if visit.is(Role::Operator) { " · " (order.merchant_id) }
                @if let Some(deadline) = order.deadline { (self::deadline(visit, order.updated_at, deadline, now)) }
            }
            (quick(visit, order))
        }
    }
}

/// How much of a gate's time is left: the gate has been open since something last became true.
pub(super) fn deadline(visit: &Visit, opened: DateTime<Utc>, deadline: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    let (whole, left) = (deadline - opened, deadline - now);
    let passed = (now - opened).num_seconds().max(0) * 100 / whole.num_seconds().max(1);
    let passed = passed.clamp(0, 100);
    let text = if left > TimeDelta::zero() {
        Text::TimeLeft.with(visit.language, &[&format::span(left, visit.language)])
    } else {
        visit.say(Text::Overdue).to_owned()
    };
    html! {
        span.deadline .soon[passed >= 75] {
            time datetime=(format::rfc3339(deadline)) title=(format::rfc3339(deadline)) data-until { (text) }
            svg.fuse viewBox="0 0 100 3" preserveAspectRatio="none" aria-hidden="true" {
                rect.burnt width="100" height="3" {}
                rect.left width=(100 - passed) height="3" {}
            }
        }
    }
}

/// What can be asked of the order without looking at it first.
fn quick(visit: &Visit, order: &Order) -> Markup {
    let asks = |command: &&Command| !matches!(command, Command::Cancel | Command::Reject);
    let commands: Vec<_> = order.allowed_commands.iter().filter(asks).collect();
    html! {
        @if !commands.is_empty() {
            div.quick {
                @for command in commands {
                    form method="post" action={ "/orders/" (order.id) "/" (command.as_str()) } {
                        (proof(visit))
                        input type="hidden" name="back" value=(visit.here);
                        button.primary {
                            (command.label(visit.language)) span.hidden { " #" (format::short(&order.id)) }
                        }
                    }
                }
            }
        }
    }
}

/// The sum of an order's lines, where there are several.
pub(super) fn total(money: Money) -> Markup {
    html! { b.sum { (format::money(money)) } }
}

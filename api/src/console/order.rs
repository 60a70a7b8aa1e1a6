//! The page of one order: all of it on one screen. What a context tells is asked beside the rest, and a context that is down
//! or slow only leaves its own part empty.

use std::time::Duration;

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use poem::http::StatusCode;
use serde::de::DeserializeOwned;
use workflows::{Command, Role};

use super::client::{Api, Told, escaped, with_query};
use super::labels::Label;
use super::layout::{Page, good, problem_if, proof, respond, status};
use super::text::Text;
use super::views::{Coupon, Delivery, Events, List, Merchant, Notification, Order, Payment, Preview, Workflow};
use super::visit::Visit;
use super::{Answer, Console, board, contexts, diagram, format, timeline};

/// For how long a page waits for a context.
const CONTEXT_WITHIN: Duration = Duration::from_millis(800);

/// Everything that there is to know about an order, as far as the caller may and it answers.
pub(super) struct Picture {
    pub order: Order,
    pub events: Events,
    pub merchant: Option<Merchant>,
    /// `None` where the caller may not ask.
    pub workflow: Option<Result<Workflow, Told>>,
    pub contexts: Option<Contexts>,
    /// What the lifecycle would do that the order was placed under.
    pub preview: Option<Preview>,
}

/// What the contexts say of an order; nothing of those that do not answer.
pub(super) struct Contexts {
    pub payments: Option<List<Payment>>,
    pub deliveries: Option<List<Delivery>>,
    pub coupons: Option<List<Coupon>>,
    pub notifications: Option<List<Notification>>,
}

impl Picture {
    async fn of(api: &Api, visit: &Visit, id: &str) -> Result<Self, Told> {
        let path = format!("/v1/orders/{}", escaped(id));
        let order: Order = api.get(&path).await?;
        let (events_path, workflow_path) = (format!("{path}/events?limit=200"), format!("{path}/workflow"));
        let merchant_path = format!("/v1/merchants/{}", escaped(&order.merchant_id));
        let workflow =
            async { if visit.keeps_shop() { Some(api.get::<Workflow>(&workflow_path).await) } else { None } };
        let contexts = async { if visit.keeps_shop() { Some(Contexts::of(api, &order.id).await) } else { None } };
        let (events, workflow, merchant, contexts) =
            tokio::join!(api.get::<Events>(&events_path), workflow, api.get::<Merchant>(&merchant_path), contexts);
        let events = events?;
        // The order lives by what it was placed under, whatever its merchant does today.
        let lifecycle = events.items.first().map(|placed| &placed.data["lifecycle"]);
        let preview = match lifecycle {
            Some(lifecycle) => api.post::<Preview>("/v1/lifecycles/preview", lifecycle).await.ok(),
            None => None,
        };
        Ok(Self { order, events, merchant: merchant.ok(), workflow, contexts, preview })
    }
}

impl Contexts {
    async fn of(api: &Api, id: &str) -> Self {
        let of = |list: &str| with_query(&format!("/v1/{list}"), &[("order_id", Some(id))]);
        let paths = ["payments", "deliveries", "coupons", "notifications"].map(of);
        let [payments, deliveries, coupons, notifications] = &paths;
        let (payments, deliveries, coupons, notifications) = tokio::join!(
            in_time(api, payments),
            in_time(api, deliveries),
            in_time(api, coupons),
            in_time(api, notifications)
        );
        Self { payments, deliveries, coupons, notifications }
    }
}

/// What a context answers, if it does in time.
async fn in_time<T: DeserializeOwned>(api: &Api, path: &str) -> Option<T> {
    tokio::time::timeout(CONTEXT_WITHIN, api.get(path)).await.ok()?.ok()
}

pub(super) async fn page(console: &Console, visit: &Visit, id: &str, trouble: Option<&Told>) -> Answer {
    let api = console.api(visit)?;
    let picture = Picture::of(&api, visit, id).await?;
    let content = whole(visit, &picture, console.orders.now());
    if visit.wants_only("order") {
        return Ok(respond(StatusCode::OK, &content));
    }
    let order = &picture.order;
    let title = format!("{} #{}", visit.say(Text::Order), format::short(&order.id));
    let content = html! {
        // Above what is replaced when something becomes true, so that it can be read.
        (problem_if(visit, trouble))
        @if let Some(done) = done(visit).filter(|_| trouble.is_none()) { (good(&done)) }
        @let live = with_query("/live", &[("order", Some(&order.id))]);
        @let here = format!("/orders/{}", order.id);
        div data-live=(live) hx-get=(here) hx-trigger="changed" hx-target="#order" hx-swap="morph:outerHTML" { (content) }
    };
    Ok(Page::new("/", title, content).troubled(trouble).respond(console, visit))
}

fn whole(visit: &Visit, picture: &Picture, now: DateTime<Utc>) -> Markup {
    let order = &picture.order;
    html! {
        div #order.order {
            (head(visit, picture, now))
            div.sheet {
                div.main.two {
                    section.panel.act aria-labelledby="commands" {
                        h2 #commands { (visit.say(Text::Commands)) }
                        (commands(visit, picture))
                    }
                    section.panel aria-labelledby="now" {
                        h2 #now { (visit.say(Text::WhatNow)) }
                        (timeline::now(visit, picture, now))
                    }
                    section.panel.whole aria-labelledby="items" {
                        h2 #items { (visit.say(Text::OrderedItems)) }
                        (lines(visit, order))
                    }
                    section.panel aria-labelledby="customer" {
                        h2 #customer { (visit.say(Text::Customer)) }
                        (customer(visit, order))
                    }
                    (contexts::panels(visit, picture, now))
                }
                div.side {
                    section.panel aria-labelledby="lifecycle" {
                        h2 #lifecycle { (visit.say(Text::Lifecycle)) " " span.code { (order.lifecycle) } }
                        @match &picture.preview {
                            Some(preview) => (diagram::of_order(visit, &order.lifecycle, preview, order, &picture.events)),
                            None => p.hint { (visit.say(Text::DiagramMissing)) },
                        }
                    }
                    section.panel aria-labelledby="timeline" {
                        h2 #timeline { (visit.say(Text::Timeline)) }
                        (timeline::events(visit, picture, now))
                    }
                }
            }
        }
    }
}

fn head(visit: &Visit, picture: &Picture, now: DateTime<Utc>) -> Markup {
    let order = &picture.order;
    html! {
        header.order-head {
            h1 { "#" (format::short(&order.id)) " " (status(order.status, &order.status_label)) }
            p.amount { (format::money(order.total)) }
            dl.facts {
                dt { (visit.say(Text::WhichMerchant)) }
                dd {
                    a href={ "/merchants/" (order.merchant_id) } {
                        (picture.merchant.as_ref().map_or(order.merchant_id.as_str(), |merchant| merchant.name.as_str()))
                    }
                }
                dt { (visit.say(Text::PlacedAt)) }
                dd { (format::moment(order.placed_at, now)) }
                dt { (visit.say(Text::UpdatedAt)) }
                dd { (format::since(order.updated_at, now, visit.language)) }
                dt { (visit.say(Text::CopyId)) }
                dd { span.code { (order.id) } }
            }
            @if let Some(reason) = &order.reason {
                p.reason { b { (visit.say(Text::Reason)) } " " (reason) }
            }
        }
    }
}

/// What was done just before, if that is said.
fn done(visit: &Visit) -> Option<String> {
    match visit.query.given("done")? {
        "retry" => Some(visit.say(Text::Retried).to_owned()),
        done => {
            let command = Command::ALL.into_iter().find(|command| command.as_str() == done)?;
            Some(Text::Done.with(visit.language, &[command.label(visit.language)]))
        }
    }
}

/// A button for each command that the order takes from the caller now, and for no other.
fn commands(visit: &Visit, picture: &Picture) -> Markup {
    let order = &picture.order;
    let held_up = visit.is(Role::Operator) && timeline::is_held_up(picture);
    html! {
        @if order.allowed_commands.is_empty() && !held_up {
            p.hint { (visit.say(Text::NothingToDo)) }
        }
        div.commands {
            @if held_up {
                form method="post" action={ "/orders/" (order.id) "/retry" } {
                    (proof(visit))
                    button.primary { (visit.say(Text::RetryNow)) }
                }
            }
            @for command in &order.allowed_commands {
                @match command {
                    Command::Cancel | Command::Reject => (confirmed(visit, picture, *command)),
                    _ => form method="post" action={ "/orders/" (order.id) "/" (command.as_str()) } {
                        (proof(visit))
                        button.primary value=(command.as_str()) { (command.label(visit.language)) }
                    },
                }
            }
        }
    }
}

/// A command that takes something back: first it is shown what.
fn confirmed(visit: &Visit, picture: &Picture, command: Command) -> Markup {
    let order = &picture.order;
    let id = format!("why-{}", command.as_str());
    let confirm = if command == Command::Cancel { Text::CancelConfirm } else { Text::RejectConfirm };
    html! {
        details.confirm id={ "confirm-" (command.as_str()) } open[visit.form.has("reason")] {
            summary { (command.label(visit.language)) "…" }
            (timeline::undone_by_cancel(visit, picture))
            form.stacked method="post" action={ "/orders/" (order.id) "/" (command.as_str()) } {
                (proof(visit))
                label for=(id) { (visit.say(Text::WhyOptional)) }
                input id=(id) name="reason" maxlength="500" value=(visit.form.text("reason"));
                button.danger value=(command.as_str()) { (visit.say(confirm)) }
            }
        }
    }
}

fn lines(visit: &Visit, order: &Order) -> Markup {
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th scope="col" { (visit.say(Text::Product)) }
                        th.number scope="col" { (visit.say(Text::UnitPrice)) }
                        th.number scope="col" { (visit.say(Text::Quantity)) }
                        th.number scope="col" { (visit.say(Text::LineTotal)) }
                    }
                }
                tbody {
                    @for line in &order.lines {
                        tr {
                            td { (line.name) " " span.code { (line.sku) } }
                            td.number { (format::money(line.unit_price)) }
                            td.number { (line.quantity) }
                            td.number { (format::money(line.total)) }
                        }
                    }
                }
                tfoot {
                    tr {
                        th scope="row" colspan="3" { (visit.say(Text::Total)) }
                        td.number { (board::total(order.total)) }
                    }
                }
            }
        }
    }
}

fn customer(visit: &Visit, order: &Order) -> Markup {
    let customer = &order.customer;
    html! {
        dl.facts {
            dt { (visit.say(Text::Name)) }
            dd { (customer.name) }
            dt { (visit.say(Text::Phone)) }
            dd { a href={ "tel:" (customer.phone) } { (customer.phone) } }
            dt { (visit.say(Text::Address)) }
            dd { (customer.address) }
            @if let Some(note) = &order.note {
                dt { (visit.say(Text::Note)) }
                dd { (note) }
            }
        }
    }
}

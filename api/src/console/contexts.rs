//! What the contexts say of an order: its payment with the ledger's entries, its delivery, coupon and notifications. Those
//! who may not ask them see what the order itself says.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use workflows::Context;

use super::format;
use super::labels::Label;
use super::layout::status;
use super::order::Picture;
use super::text::Text;
use super::views::{Coupon, Delivery, List, Notification, Payment};
use super::visit::Visit;

pub(super) fn panels(visit: &Visit, picture: &Picture, now: DateTime<Utc>) -> Markup {
    let contexts = picture.contexts.as_ref();
    html! {
        section.panel aria-labelledby="payment" {
            h2 #payment { (visit.say(Text::Payment)) }
            (payment(visit, picture))
            @if let Some(contexts) = contexts { (entries(visit, contexts.payments.as_ref(), now)) }
        }
        section.panel aria-labelledby="delivery" {
            h2 #delivery { (visit.say(Text::Delivery)) }
            @match (contexts, &picture.order.delivery) {
                (Some(contexts), _) => (deliveries(visit, contexts.deliveries.as_ref(), now)),
                (None, Some(delivery)) => p { (delivery.state.label(visit.language)) " " span.code { (delivery.id) } },
                (None, None) => p.hint { (visit.say(Text::NoneYet)) },
            }
        }
        section.panel aria-labelledby="coupon" {
            h2 #coupon { (visit.say(Text::Coupon)) }
            @match (contexts, &picture.order.coupon) {
                (Some(contexts), _) => (coupons(visit, contexts.coupons.as_ref(), now)),
                (None, Some(coupon)) => p {
                    (coupon.state.label(visit.language)) " · " (coupon.kind.label(visit.language)) " " span.code { (coupon.id) }
                },
                (None, None) => p.hint { (visit.say(Text::NoneYet)) },
            }
        }
        @if let Some(contexts) = contexts {
            section.panel aria-labelledby="notifications" {
                h2 #notifications { (visit.say(Text::Notifications)) }
                (notifications(visit, contexts.notifications.as_ref(), now))
            }
        }
    }
}

/// What is shown of a context that does not answer.
fn away(visit: &Visit, context: Context) -> Markup {
    html! {
        p.away role="status" {
            (Text::DoesNotAnswer.with(visit.language, &[context.label(visit.language)])) " "
            (visit.say(Text::DoesNotAnswerHint))
        }
    }
}

fn payment(visit: &Visit, picture: &Picture) -> Markup {
    let payment = &picture.order.payment;
    html! {
        p {
            (payment.method.label(visit.language)) " · " b { (payment.state.label(visit.language)) }
            " " span.code { (payment.id) }
        }
    }
}

fn entries(visit: &Visit, payments: Option<&List<Payment>>, now: DateTime<Utc>) -> Markup {
    let Some(payments) = payments else { return away(visit, Context::Payment) };
    let entries: Vec<_> = payments.items.iter().flat_map(|payment| &payment.entries).collect();
    html! {
        @if !entries.is_empty() {
            div.scroll {
                table {
                    caption { (visit.say(Text::LedgerEntries)) }
                    thead {
                        tr {
                            th scope="col" { (visit.say(Text::AtTime)) }
                            th scope="col" { (visit.say(Text::Account)) }
                            th.number scope="col" { (visit.say(Text::Amount)) }
                        }
                    }
                    tbody {
                        @for entry in entries {
                            @for (n, posting) in entry.postings.iter().enumerate() {
                                tr {
                                    td {
                                        @if n == 0 {
                                            (entry.kind.label(visit.language)) " " (format::moment(entry.at, now))
                                        }
                                    }
                                    td { span.code { (posting.account) } }
                                    td.number { (format::money(posting.amount)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn deliveries(visit: &Visit, deliveries: Option<&List<Delivery>>, now: DateTime<Utc>) -> Markup {
    let Some(deliveries) = deliveries else { return away(visit, Context::Delivery) };
    html! {
        @if deliveries.items.is_empty() { p.hint { (visit.say(Text::NoneYet)) } }
        @for delivery in &deliveries.items {
            p {
                b { (delivery.state.label(visit.language)) } " " (format::since(delivery.updated_at, now, visit.language))
            }
            p.hint { (delivery.recipient) " · " (delivery.phone) " · " (delivery.address) }
        }
    }
}

fn coupons(visit: &Visit, coupons: Option<&List<Coupon>>, now: DateTime<Utc>) -> Markup {
    let Some(coupons) = coupons else { return away(visit, Context::Promotion) };
    html! {
        @if coupons.items.is_empty() { p.hint { (visit.say(Text::NoneYet)) } }
        @for coupon in &coupons.items {
            p {
                b { (coupon.state.label(visit.language)) } " · " (coupon.kind.label(visit.language)) " "
                (format::since(coupon.updated_at, now, visit.language)) " " span.code { (coupon.id) }
            }
        }
    }
}

fn notifications(visit: &Visit, notifications: Option<&List<Notification>>, now: DateTime<Utc>) -> Markup {
    let Some(notifications) = notifications else { return away(visit, Context::Notification) };
    html! {
        @if notifications.items.is_empty() { p.hint { (visit.say(Text::NoneYet)) } }
        ul.plain-list {
            @for notification in &notifications.items {
                li {
                    (status(notification.status, notification.status.label(visit.language))) " " (format::moment(notification.at, now))
                    @for message in &notification.messages { " · " (message.channel) " " (message.state) }
                }
            }
        }
    }
}

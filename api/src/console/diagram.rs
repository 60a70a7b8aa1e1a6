//! A lifecycle drawn as SVG: the undisturbed life from top to bottom, the ways out of it to the right. The ways are those of
//! the preview's own diagram; nothing is known here of how orders live.

use maud::{Markup, PreEscaped, html};
use workflows::order::Language;
use workflows::{Command, Role, Status, Step};

use super::format;
use super::labels::Label;
use super::text::Text;
use super::views::{Events, Order, Preview};
use super::visit::Visit;

const WIDTH: i32 = 456;
const NODE: (i32, i32) = (124, 34);
const ROW: i32 = 66;
const LEFT: i32 = 8;
/// Where the line to `cancelling` goes down.
const RAIL: i32 = 316;
const EXIT: (i32, i32) = (96, 34);

/// A way from one status to another.
struct Way<'a> {
    from: Status,
    to: Status,
    label: &'a str,
}

/// What is to be lit.
struct Lit<'a> {
    now: Option<(Status, &'a str)>,
    past: Vec<Status>,
}

/// The diagram with the order's place in it.
pub(super) fn of_order(visit: &Visit, name: &str, preview: &Preview, order: &Order, events: &Events) -> Markup {
    let taken = |step: Step| events.items.iter().any(|event| event.step == step);
    let past = preview.steps.iter().filter(|planned| taken(planned.step)).map(|planned| planned.status).collect();
    let title = Text::DiagramOf.with(visit.language, &[name, &order.status_label]);
    draw(visit.language, &title, preview, &Lit { now: Some((order.status, &order.status_label)), past })
}

/// The diagram as such.
pub(super) fn of_lifecycle(visit: &Visit, name: &str, preview: &Preview) -> Markup {
    let title = Text::DiagramOfAll.with(visit.language, &[name]);
    draw(visit.language, &title, preview, &Lit { now: None, past: Vec::new() })
}

fn draw(language: Language, title: &str, preview: &Preview, lit: &Lit) -> Markup {
    let mut main: Vec<_> = preview.steps.iter().map(|planned| planned.status).collect();
    main.dedup();
    let ways = ways(&preview.diagram);
    let row = |status: Status| main.iter().position(|known| *known == status).and_then(|n| i32::try_from(n).ok());
    let rows = i32::try_from(main.len()).unwrap_or(0);
    let exits = |to: Status| {
        let mut from: Vec<_> = ways.iter().filter(|way| way.to == to).filter_map(|way| row(way.from)).collect();
        from.sort_unstable();
        from.dedup();
        from
    };
    let (rejected, cancelling) = (exits(Status::Rejected), exits(Status::Cancelling));
    let cancel_row = cancelling.last().map_or(rows - 2, |last| (last + 1).max(rows - 2));
    let height = LEFT + ROW * rows.max(cancel_row + 2) - (ROW - NODE.1) + LEFT;
    html! {
        svg.lifecycle viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label=(title) {
            @for (n, status) in (0..).zip(&main) {
                @if n + 1 < rows {
                    @let next = main.get(usize::try_from(n + 1).unwrap_or(0));
                    @let way = ways.iter().find(|way| way.from == *status && Some(&way.to) == next);
                    (step_down(n, way.map(|way| said(way.label, language)), next.is_some_and(|next| lit.past.contains(next))))
                }
                (node(language, *status, (LEFT, top(n)), NODE, lit))
            }
            @if let Some(first) = rejected.first() {
                (exit_to_rejected(language, &rejected, &main, &ways))
                (node(language, Status::Rejected, (WIDTH - LEFT - EXIT.0, top(*first)), EXIT, lit))
            }
            @if !cancelling.is_empty() {
                (exit_to_cancelling(language, &cancelling, &main, &ways, cancel_row))
                (node(language, Status::Cancelling, (RAIL - EXIT.0 / 2, top(cancel_row)), EXIT, lit))
                (line(&format!("M{RAIL} {} V{}", top(cancel_row) + EXIT.1, top(cancel_row + 1) - 6), "way side"))
                (arrow_down(RAIL, top(cancel_row + 1), "side"))
                (node(language, Status::Cancelled, (RAIL - EXIT.0 / 2, top(cancel_row + 1)), EXIT, lit))
            }
        }
    }
}

const fn top(row: i32) -> i32 {
    LEFT + row * ROW
}

/// The ways that a Mermaid state diagram tells: `a --> b: label`.
fn ways(diagram: &str) -> Vec<Way<'_>> {
    let status = |name: &str| Status::ALL.into_iter().find(|status| status.as_str() == name.trim());
    let way = |line| {
        let (from, rest) = str::split_once(line, "-->")?;
        let (to, label) = rest.split_once(':').unwrap_or((rest, ""));
        Some(Way { from: status(from)?, to: status(to)?, label: label.trim() })
    };
    diagram.lines().filter_map(way).collect()
}

fn node(language: Language, status: Status, (x, y): (i32, i32), (width, height): (i32, i32), lit: &Lit) -> Markup {
    let is_now = lit.now.is_some_and(|(now, _)| now == status);
    let label = lit.now.filter(|_| is_now).map_or(status.label(language), |(_, label)| label);
    html! {
        g.node .now[is_now] .past[lit.past.contains(&status)] .turn[matches!(status, Status::Rejected | Status::Cancelling | Status::Cancelled)] {
            rect x=(x) y=(y) width=(width) height=(height) rx="8" {}
            text x=(x + width / 2) y=(y + height / 2 + 5) text-anchor="middle" { (label) }
        }
    }
}

fn step_down(row: i32, label: Option<String>, past: bool) -> Markup {
    let (x, from, to) = (LEFT + NODE.0 / 2, top(row) + NODE.1, top(row + 1));
    let class = if past { "way past" } else { "way" };
    html! {
        (line(&format!("M{x} {from} V{}", to - 6), class))
        (arrow_down(x, to, if past { "past" } else { "" }))
        @if let Some(label) = label {
            text.label x=(x + 12) y=(from.midpoint(to) + 4) { (label) }
        }
    }
}

fn exit_to_rejected(language: Language, rows: &[i32], main: &[Status], ways: &[Way]) -> Markup {
    let (node_left, turn) = (WIDTH - LEFT - EXIT.0, WIDTH - LEFT - EXIT.0 / 2);
    let first = rows.first().copied().unwrap_or_default();
    html! {
        @for row in rows.iter().copied() {
            @let y = top(row) + 10;
            @if row == first {
                (line(&format!("M{} {y} H{}", LEFT + NODE.0, node_left - 6), "way side"))
                (PreEscaped(format!(r#"<path class="head side" d="M{} {} l7 4 l-7 4 z"/>"#, node_left - 7, y - 4)))
            } @else {
                (line(&format!("M{} {y} H{turn} V{}", LEFT + NODE.0, top(first) + EXIT.1 + 6), "way side"))
                (PreEscaped(format!(r#"<path class="head side" d="M{} {} l4 -7 l4 7 z"/>"#, turn - 4, top(first) + EXIT.1 + 7)))
            }
            (exit_label(language, main, ways, row, Status::Rejected, y - 4))
        }
    }
}

fn exit_to_cancelling(language: Language, rows: &[i32], main: &[Status], ways: &[Way], cancel_row: i32) -> Markup {
    let first = rows.first().copied().unwrap_or_default();
    html! {
        @for row in rows.iter().copied() {
            @let y = top(row) + 28;
            (line(&format!("M{} {y} H{RAIL}", LEFT + NODE.0), "way side"))
            (exit_label(language, main, ways, row, Status::Cancelling, y - 4))
        }
        (line(&format!("M{RAIL} {} V{}", top(first) + 28, top(cancel_row) - 6), "way side"))
        (arrow_down(RAIL, top(cancel_row), "side"))
    }
}

/// What leads from a row to where it is turned away: everything in one line.
fn exit_label(language: Language, main: &[Status], ways: &[Way], row: i32, to: Status, y: i32) -> Markup {
    let from = usize::try_from(row).ok().and_then(|row| main.get(row));
    let labels = ways.iter().filter(|way| Some(&way.from) == from && way.to == to);
    let labels: Vec<_> = labels.map(|way| said(way.label, language)).collect();
    html! { text.label.side x=(LEFT + NODE.0 + 8) y=(y) { (labels.join(" / ")) } }
}

fn line(path: &str, class: &str) -> Markup {
    html! { path class=(class) d=(path) {} }
}

fn arrow_down(x: i32, y: i32, class: &str) -> Markup {
    html! { path class={ "head " (class) } d={ "M" (x - 4) " " (y - 7) " l8 0 l-4 7 z" } {} }
}

/// A label of the diagram in words: a command with its roles, a step, or why.
fn said(label: &str, language: Language) -> String {
    if let Some((by, window)) = label.split_once(" or after ") {
        let after = said(&format!("after {window}"), language);
        return format!("{} / {after}", said(by, language));
    }
    if let Some(step) = Step::ALL.into_iter().find(|step| step.name() == label) {
        return step.label(language).to_owned();
    }
    if let Some((command, roles)) = label.strip_suffix(')').and_then(|label| label.split_once(" (")) {
        let roles = roles.split(", ").filter_map(|name| Role::ALL.into_iter().find(|role| role.as_str() == name));
        let roles: Vec<_> = roles.map(|role| role.label(language)).collect();
        let command = Command::ALL.into_iter().find(|known| known.as_str() == command);
        // That it is a cancel is seen by where it leads.
        return match command {
            Some(Command::Cancel) => roles.join(", "),
            Some(command) => format!("{} ({})", command.label(language), roles.join(", ")),
            None => label.to_owned(),
        };
    }
    match (language, label) {
        (Language::Korean, "out of stock, declined or unavailable") => "재고 부족, 거절, 응답 없음".to_owned(),
        (Language::Korean, "declined or unavailable") => "거절, 응답 없음".to_owned(),
        (Language::Korean, "out of stock or unavailable") => "재고 부족, 응답 없음".to_owned(),
        (Language::Korean, "out of stock") => "재고 부족".to_owned(),
        (_, label) => match (language, label.strip_prefix("after ")) {
            (Language::Korean, Some(window)) => format!("{} 뒤", format::window(window, language)),
            (Language::English, Some(window)) => format!("after {}", format::window(window, language)),
            (_, None) => label.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_said_in_words() {
        for (label, english, korean) in [
            ("payment.charge", "charge the card", "카드 결제"),
            ("accept (merchant)", "Accept (merchant)", "주문수락 (판매자)"),
            ("cancel (customer, operator)", "customer, operator", "고객, 운영자"),
            (
                "confirm-receipt (customer) or after 7days",
                "Confirm receipt (customer) / after 7\u{a0}d",
                "수령확인 (고객) / 7일 뒤",
            ),
            ("out of stock", "out of stock", "재고 부족"),
        ] {
            assert_eq!(said(label, Language::English), english);
            assert_eq!(said(label, Language::Korean), korean);
        }
    }

    #[test]
    fn every_preset_is_drawn_within_its_frame() {
        for lifecycle in workflows::Lifecycle::presets() {
            let preview: Preview =
                serde_json::from_value(serde_json::json!(lifecycle.preview())).expect("the console reads a preview");
            let lit = Lit { now: Some((Status::Paid, "Paid")), past: vec![Status::Placed] };
            let drawn = draw(Language::English, &lifecycle.name, &preview, &lit).0;
            assert_eq!(drawn.matches("node now").count(), 1, "{}", lifecycle.name);
            assert!(!drawn.contains("style="), "the policy forbids it");
            for status in preview.steps.iter().map(|planned| planned.status) {
                assert!(drawn.contains(status.label(Language::English)), "{} of {}", status.as_str(), lifecycle.name);
            }
        }
    }
}

//! What one sees of the demo: a live view in a terminal, plain lines elsewhere, or lines of JSON. On standard output.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::json;
use workflows::order::{Event, Gate};
use workflows::{Command, OrderId, Role, Status};

use super::plan::End;
use super::story::{Story, Told};

const TICK: Duration = Duration::from_millis(100);
/// The last of each is what stays when the order has ended.
const WENT_WELL: &str = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏✓";
const WENT_WRONG: &str = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏✗";

/// A way to show it.
pub enum Show {
    Terminal(Terminal),
    Lines,
    Json,
}

impl Show {
    pub fn terminal(stories: &[Story]) -> Self {
        Self::Terminal(Terminal::new(stories))
    }

    /// An event has come.
    pub fn event(&self, index: usize, story: &Story, told: &Told) -> io::Result<()> {
        match self {
            Self::Terminal(terminal) => {
                terminal.show(index, &told.event.order_id, told.label, told.event.fact.name());
                Ok(())
            }
            Self::Lines => print(&line(story.plan.shop, told)),
            Self::Json => print(&written(&event_json(story, told))),
        }
    }

    /// Somebody does something with an order.
    pub fn command(&self, index: usize, story: &Story, command: Command) {
        if let (Self::Terminal(terminal), Some(id), Some(told)) = (self, story.order_id(), story.told.last()) {
            terminal.show(index, id, told.label, &format!("{} asks: {command}", who(command)));
        }
    }

    /// Nothing more will be heard of the order.
    pub fn over(&self, index: usize, story: &Story) {
        if let Self::Terminal(terminal) = self {
            terminal.over(index, story);
        }
    }

    /// All is over.
    pub fn end(self, stories: &[Story]) -> io::Result<()> {
        match self {
            Self::Terminal(terminal) => {
                terminal.end()?;
                stories.iter().try_for_each(|story| print(&timeline(story)))
            }
            Self::Lines => Ok(()),
            Self::Json => stories.iter().try_for_each(|story| print(&written(&summary(story)))),
        }
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// One line for each order.
pub struct Terminal {
    lines: Vec<ProgressBar>,
}

impl Terminal {
    fn new(stories: &[Story]) -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let style = style(WENT_WELL);
        let line = |story: &Story| {
            let line = screen.add(ProgressBar::new_spinner());
            line.set_style(style.clone());
            line.set_prefix(story.plan.shop);
            line.set_message("is placed");
            line.enable_steady_tick(TICK);
            line
        };
        Self { lines: stories.iter().map(line).collect() }
    }

    fn show(&self, index: usize, id: &OrderId, label: &str, what: &str) {
        self.lines[index].set_message(format!("{}  {label:<17} {what}", short(id)));
    }

    fn over(&self, index: usize, story: &Story) {
        let line = &self.lines[index];
        if let Some(off) = story.off() {
            line.set_style(style(WENT_WRONG));
            line.finish_with_message(format!("{}: {off}", line.message()));
        } else if story.plan.end == End::Closed {
            line.finish();
        } else {
            line.finish_with_message(format!("{}, as planned", line.message()));
        }
    }

    fn end(&self) -> io::Result<()> {
        // A line that still moves would go on moving below what follows.
        self.lines.iter().filter(|line| !line.is_finished()).for_each(ProgressBar::abandon);
        // The cursor is still at the end of the last.
        print("")
    }
}

fn style(signs: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template("{spinner:.green} {prefix:<13.bold} {elapsed:>4} {wide_msg}");
    style.expect("a sound template").tick_chars(signs)
}

/// Enough of an order's id to tell it from the others on the screen.
fn short(id: &OrderId) -> &str {
    &id.as_str()[..12]
}

/// Whose command it is.
fn who(command: Command) -> Role {
    let of_gate = Gate::of(command).and_then(|gate| gate.commands().iter().find(|(passes, _, _)| *passes == command));
    of_gate.map_or(Role::Customer, |(_, role, _)| *role)
}

/// `HH:MM:SS.mmm shop order event status`, in UTC.
fn line(shop: &str, told: &Told) -> String {
    let Told { event: Event { at, order_id, fact, .. }, status, .. } = told;
    format!("{} {shop:<13} {order_id} {:<22} {}", at.format("%H:%M:%S%.3f"), fact.name(), status.as_str())
}

/// The life of one order, with the time since it was placed, and the status where that has changed.
fn timeline(story: &Story) -> String {
    let mut text = format!("\n{}", story.plan.title());
    if let Some(id) = story.order_id() {
        let _ = write!(text, ": {id}");
    }
    let first = story.told.first().map(|told| told.event.at);
    let mut before = None;
    for Told { event, status, label } in &story.told {
        let since = first.map_or(0, |first| (event.at - first).num_milliseconds());
        let changed = if before.replace(*status) == Some(*status) { "" } else { label };
        let (seconds, millis) = (since / 1000, since % 1000);
        let entry = format!("  {seconds:>3}.{millis:03} s  {:<22}  {changed}", event.fact.name());
        let _ = write!(text, "\n{}", entry.trim_end());
    }
    if let Some(off) = story.off() {
        let _ = write!(text, "\n  not as planned: {off}");
    } else if !story.undone().is_empty() && story.status() == Some(Status::Cancelled) {
        let _ = write!(text, "\n  undone in this order: {}", story.undone().join(", "));
    }
    text
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line<'a> {
    Event {
        shop: &'a str,
        order_id: &'a OrderId,
        number: u32,
        at: serde_json::Value,
        step: &'a str,
        event: &'a str,
        status: Status,
        status_label: &'a str,
    },
    Summary {
        shop: &'a str,
        order_id: Option<&'a OrderId>,
        planned: Status,
        status: Option<Status>,
        as_planned: bool,
        /// What was not as planned.
        off: Option<String>,
        events: usize,
        undone: Vec<&'a str>,
        took_ms: i64,
    },
}

fn event_json<'a>(story: &'a Story, told: &'a Told) -> Line<'a> {
    let Told { event, status, label } = told;
    Line::Event {
        shop: story.plan.shop,
        order_id: &event.order_id,
        number: event.number,
        at: json!(event.at),
        step: event.step.name(),
        event: event.fact.name(),
        status: *status,
        status_label: label,
    }
}

fn summary(story: &Story) -> Line<'_> {
    let off = story.off();
    Line::Summary {
        shop: story.plan.shop,
        order_id: story.order_id(),
        planned: story.plan.end.status(),
        status: story.status(),
        as_planned: off.is_none(),
        off: off.map(|off| off.to_string()),
        events: story.told.len(),
        undone: story.undone(),
        took_ms: story.took_ms(),
    }
}

fn written(line: &Line<'_>) -> String {
    serde_json::to_string(line).expect("a line has only text keys")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::demo::plan::PLANS;
    use crate::demo::story::tests::{ID, story};

    fn paid() -> Story {
        story(&PLANS[0], &[("stock_reserved", json!({})), ("order_paid", json!({}))])
    }

    #[test]
    fn a_line_has_time_shop_order_event_and_status() {
        let story = paid();
        let line = line(story.plan.shop, story.told.last().expect("an event"));
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words, ["22:31:03.126", "sauce-shop", ID, "order_paid", "paid"]);
    }

    #[test]
    fn a_timeline_tells_when_what_and_each_new_status_once() {
        let expected = format!(
            "\nsauce-shop: {ID}\n  \
               0.000 s  order_placed            Placed\n  \
               1.000 s  stock_reserved\n  \
               2.000 s  order_paid              Paid\n  \
             not as planned: it is still paid"
        );
        let squeezed = |text: &str| {
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(squeezed(&timeline(&paid())), squeezed(&expected));
    }

    #[test]
    fn a_line_of_json_is_an_event_or_a_summary() {
        let story = paid();
        let read = |line: &Line<'_>| serde_json::from_str::<Value>(&written(line)).expect("is JSON");
        let event = read(&event_json(&story, &story.told[2]));
        let expected = json!({
            "kind": "event", "shop": "sauce-shop", "order_id": ID, "number": 3, "at": "2026-11-20T22:31:03.126392Z",
            "step": "order.place", "event": "order_paid", "status": "paid", "status_label": "Paid",
        });
        assert_eq!(event, expected);
        let summary = read(&summary(&story));
        let expected = json!({
            "kind": "summary", "shop": "sauce-shop", "order_id": ID, "planned": "closed", "status": "paid",
            "as_planned": false, "off": "it is still paid", "events": 3, "undone": [], "took_ms": 2000,
        });
        assert_eq!(summary, expected);
    }

    #[test]
    fn a_command_is_somebody_s() {
        let expected = [
            (Command::Accept, Role::Merchant),
            (Command::CompleteDelivery, Role::Courier),
            (Command::Cancel, Role::Customer),
        ];
        assert!(expected.into_iter().all(|(command, role)| who(command) == role));
    }
}

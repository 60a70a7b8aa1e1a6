//! `jumun demo`: all five lifecycles, one cancel and one failure, as they happen.

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tests::{Jumun, binary, life};

use crate::shared;

async fn demo(arguments: &[&str]) -> Output {
    let mut demo = Command::new(binary());
    demo.arg("demo").args(arguments).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || demo.output()).await.expect("no panic").expect("the binary runs");
    assert!(output.status.success(), "{output:?}");
    output
}

/// Where the key is with which the demo mints tokens.
fn data_dir(jumun: &Jumun) -> String {
    jumun.ready.data_dir.display().to_string()
}

/// What is printed as JSON: the events, and in the end a summary of each order.
fn read(output: &Output) -> (Vec<Value>, Vec<Value>) {
    let lines = std::str::from_utf8(&output.stdout).expect("UTF-8").lines();
    lines
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .partition(|line| line["kind"] == "event")
}

fn summaries<'a>(summaries: &'a [Value], status: &'a str) -> impl Iterator<Item = &'a Value> {
    summaries.iter().filter(move |summary| summary["status"] == status)
}

#[tokio::test]
async fn it_shows_five_closed_one_cancelled_and_one_rejected() {
    let jumun = shared().await;
    let (events, ends) = read(&demo(&["--json", "--api", &jumun.ready.api, "--data-dir", &data_dir(jumun)]).await);
    assert_eq!(ends.len(), 7, "{ends:#?}");
    assert!(ends.iter().all(|summary| summary["as_planned"] == true), "{ends:#?}");
    let mut shops: Vec<_> = summaries(&ends, "closed").map(|end| end["shop"].as_str().expect("a shop")).collect();
    shops.sort_unstable();
    assert_eq!(shops, ["food-delivery", "pizza", "sauce-shop", "shopping-mall", "street12"]);
    assert_eq!((summaries(&ends, "cancelled").count(), summaries(&ends, "rejected").count()), (1, 1));

    for end in &ends {
        let id = end["order_id"].as_str().expect("an id");
        let told: Vec<_> = events.iter().filter(|event| event["order_id"] == id).collect();
        let names: Vec<_> = told.iter().map(|event| event["event"].as_str().expect("a name")).collect();
        assert_eq!(jumun.event_names(id).await, names, "every fact, in order, and once");
        if end["status"] == "closed" {
            let mut statuses: Vec<_> = told.iter().map(|event| event["status"].as_str().expect("a status")).collect();
            statuses.dedup();
            assert_eq!(statuses, life(end["shop"].as_str().expect("a shop")));
        }
        jumun.settles(id).await;
    }
}

#[tokio::test]
async fn away_from_a_terminal_it_prints_plain_lines() {
    let jumun = shared().await;
    let output = demo(&["--api", &jumun.ready.api, "--data-dir", &data_dir(jumun)]).await;
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(!text.contains('\u{1b}'), "no escapes: {text}");
    for (event, times) in [("order_closed", 5), ("order_cancelled", 1), ("order_rejected", 1), ("order_placed", 7)] {
        assert_eq!(text.lines().filter(|line| line.contains(event)).count(), times, "{event} in {text}");
    }
}

/// On port 8088, where a jumun listens by default: if one does, that one is shown.
#[tokio::test]
async fn without_a_jumun_it_starts_one_for_the_occasion() {
    let (_, ends) = read(&demo(&["--json"]).await);
    assert_eq!((summaries(&ends, "closed").count(), ends.len()), (5, 7), "{ends:#?}");
}

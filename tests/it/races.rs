//! Commands that exclude each other, at one moment: exactly one wins, everybody is told the same, and money and stock
//! match. Each kind of contest is held a few hundred times; `JUMUN_TEST_ROUNDS` says how often each single one is instead.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use serde_json::{Value, json};
use tests::{Answer, Shop};
use tokio::time::sleep;

use crate::shared;

const AT_ONCE: usize = 12;
const ON_HAND: i64 = 100_000;

/// How often two commands at one gate meet.
const AT_ONE_GATE: usize = 200;
/// How often a cancel meets another one, or the engine's button a command.
const ANYWHERE: usize = 60;
/// How often two cancels through the API meet one in the engine.
const FROM_ALL_SIDES: usize = 100;
/// How often a command meets a cancel at one gate; there are eight.
const AT_EACH_GATE: usize = 30;
/// How often a command meets one deadline; there are three.
const AT_EACH_DEADLINE: usize = 70;

fn rounds(usual: usize) -> usize {
    std::env::var("JUMUN_TEST_ROUNDS").map_or(usual, |rounds| rounds.parse().expect("a number"))
}

/// Who won how often.
#[derive(Default)]
struct Score([AtomicUsize; 2]);

impl Score {
    fn count(&self, winner: usize) {
        self.0[winner].fetch_add(1, Ordering::Relaxed);
    }

    fn was_a_contest(&self) {
        let wins = self.0.each_ref().map(|wins| wins.load(Ordering::Relaxed));
        assert!(wins.iter().all(|wins| *wins > 0), "it was no contest: {wins:?}");
    }
}

/// The least of a shop: paid by card, held from placement, handed out. `changes` adds the gate that is contested.
fn with(changes: &Value) -> Value {
    let mut lifecycle = json!({
        "name": "contested",
        "payment": { "method": "card" },
        "stock": { "take": "on_placement" },
        "cancellation": { "customer": "paid" },
    });
    for (part, value) in changes.as_object().expect("an object") {
        lifecycle[part] = value.clone();
    }
    lifecycle
}

async fn open(lifecycle: Value) -> Shop<'static> {
    let shop = Shop::open_with(shared().await, lifecycle).await;
    shop.put_product("chili", 9_000, ON_HAND).await;
    shop
}

/// Holds the contest again and again, a few at once, and then looks at the shelf: what was not closed is back on it.
async fn hold(shop: &Shop<'_>, rounds: usize, contest: impl AsyncFn(usize)) {
    futures::stream::iter(0..rounds).map(|round| contest(round)).buffer_unordered(AT_ONCE).collect::<()>().await;
    let dashboard = shop.jumun.get(&format!("/v1/dashboard?merchant_id={}", shop.merchant_id)).await.ok();
    let closed = dashboard["statuses"].as_array().expect("a list").iter().find(|tally| tally["status"] == "closed");
    let closed = closed.map_or(0, |tally| tally["orders"].as_i64().expect("a number"));
    assert_eq!(shop.shelf("chili").await, (ON_HAND - closed, 0, ON_HAND - closed));
}

/// Asks two commands of an order, each so much later, and returns which was carried out. Asked again, both get the same
/// answer.
async fn duel(shop: &Shop<'_>, id: &str, commands: [&str; 2], later: [Duration; 2]) -> usize {
    let ask = async |which: usize| {
        sleep(later[which]).await;
        shop.jumun.command(id, commands[which]).await
    };
    let both = async || <[_; 2]>::from(futures::join!(ask(0), ask(1)));
    let answers = both().await;
    let first = winner(&answers);
    assert_eq!(winner(&both().await), first, "asked again");
    first
}

/// Which of the two was carried out. The other was told that the order does not take it, or no longer sees it: no courier
/// sees an order that is called off.
fn winner(answers: &[Answer; 2]) -> usize {
    match answers.each_ref().map(|answer| answer.status) {
        [200, 409 | 404] => 0,
        [409 | 404, 200] => 1,
        _ => panic!("{answers:#?}"),
    }
}

/// The order ended as it should: money and facts match.
async fn ended(shop: &Shop<'_>, id: &str, status: &str) {
    if status == "closed" {
        shop.jumun.drive(id, status).await;
    } else {
        shop.reaches(id, status).await;
    }
    shop.jumun.settles(id).await;
    shop.jumun.each_fact_once(id).await;
}

/// By how much the first of two commands comes later: longer after each round that it has won, shorter after each that
/// it has lost, so that they meet where neither is sure to win, however busy the machine is. In microseconds.
struct Handicap(AtomicU64);

impl Handicap {
    fn get(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    fn adjust(&self, winner: usize) {
        let by = |handicap| Some(if winner == 0 { handicap * 3 / 2 + 500 } else { handicap * 3 / 5 });
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, by);
    }
}

/// Two commands that exclude each other, at the gate that takes the first of them. `before`: what the order is asked
/// until then; `ends`: what becomes of it by each command.
async fn opposed(lifecycle: Value, before: &[&str], commands: [&str; 2], ends: [&str; 2], rounds: usize) {
    let (shop, score) = (open(lifecycle).await, Score::default());
    let handicap = Handicap(AtomicU64::new(10_000));
    hold(&shop, rounds, async |_| {
        let id = shop.placed().await;
        for command in before {
            let _ = shop.jumun.ask(&id, command).await;
        }
        shop.jumun.takes(&id, commands[0]).await;
        let winner = duel(&shop, &id, commands, [handicap.get(), Duration::ZERO]).await;
        handicap.adjust(winner);
        score.count(winner);
        ended(&shop, &id, ends[winner]).await;
    })
    .await;
    score.was_a_contest();
}

async fn against_cancel(lifecycle: Value, before: &[&str], command: &str) {
    opposed(lifecycle, before, [command, "cancel"], ["closed", "cancelled"], rounds(AT_EACH_GATE)).await;
}

fn offered() -> Value {
    json!({ "window": "10m", "on_timeout": "reject" })
}

#[tokio::test]
async fn of_accept_and_reject_exactly_one_wins() {
    let lifecycle = with(&json!({ "acceptance": offered() }));
    opposed(lifecycle, &[], ["accept", "reject"], ["closed", "rejected"], rounds(AT_ONE_GATE)).await;
}

#[tokio::test]
async fn of_a_cancel_and_a_confirmed_deposit_exactly_one_wins() {
    let deposit = json!({ "payment": { "method": "deposit" }, "cancellation": { "customer": "awaiting_deposit" } });
    against_cancel(with(&deposit), &[], "confirm-deposit").await;
}

#[tokio::test]
async fn of_a_cancel_and_an_acceptance_exactly_one_wins() {
    against_cancel(with(&json!({ "acceptance": offered() })), &[], "accept").await;
}

#[tokio::test]
async fn of_a_cancel_and_the_start_of_production_exactly_one_wins() {
    let production = json!({ "production": { "start": "merchant", "finish": "none" } });
    against_cancel(with(&production), &[], "start-production").await;
}

#[tokio::test]
async fn of_a_cancel_and_the_end_of_production_exactly_one_wins() {
    let production = json!({
        "production": { "start": "merchant", "finish": "merchant" },
        "cancellation": { "customer": "in_production" },
    });
    against_cancel(with(&production), &["start-production"], "finish-production").await;
}

#[tokio::test]
async fn of_a_cancel_and_the_dispatch_exactly_one_wins() {
    let delivery = json!({ "delivery": { "start": "courier", "complete": "courier" } });
    against_cancel(with(&delivery), &[], "start-delivery").await;
}

fn brought() -> Value {
    json!({
        "delivery": { "start": "automatic", "complete": "courier" },
        "cancellation": { "customer": "in_delivery" },
    })
}

#[tokio::test]
async fn of_a_cancel_and_the_handover_exactly_one_wins() {
    against_cancel(with(&brought()), &[], "complete-delivery").await;
}

#[tokio::test]
async fn of_a_cancel_and_a_receipt_on_the_spot_exactly_one_wins() {
    let receipt = json!({ "receipt": { "window": "7days", "on_timeout": "confirm" } });
    against_cancel(with(&receipt), &[], "confirm-receipt").await;
}

#[tokio::test]
async fn a_cancel_never_wins_against_the_receipt_of_what_was_delivered() {
    let mut lifecycle = with(&brought());
    lifecycle["receipt"] = json!({ "window": "7days", "on_timeout": "confirm" });
    let shop = open(lifecycle).await;
    hold(&shop, rounds(AT_EACH_GATE), async |round| {
        let id = shop.placed().await;
        let _ = shop.jumun.ask(&id, "complete-delivery").await;
        shop.jumun.takes(&id, "confirm-receipt").await;
        let later = [Duration::from_millis(round as u64 % 3 * 20), Duration::ZERO];
        assert_eq!(duel(&shop, &id, ["confirm-receipt", "cancel"], later).await, 0);
        ended(&shop, &id, "closed").await;
    })
    .await;
}

#[tokio::test]
async fn two_cancels_at_once_undo_everything_once() {
    let shop = open(with(&brought())).await;
    hold(&shop, rounds(ANYWHERE), async |round| {
        let id = shop.placed().await;
        // Before it is on its way, or after.
        if round % 2 == 0 {
            shop.reaches(&id, "in_delivery").await;
        }
        for answer in futures::future::join_all((0..2).map(|_| shop.jumun.command(&id, "cancel"))).await {
            assert!(answer.ok()["status"].as_str().is_some_and(|status| status.starts_with("cancell")));
        }
        ended(&shop, &id, "cancelled").await;
    })
    .await;
}

#[tokio::test]
async fn cancels_through_the_api_and_in_the_engine_at_once_undo_everything_once() {
    let mut lifecycle = with(&brought());
    lifecycle["coupon"] = json!("before_delivery");
    let shop = open(lifecycle).await;
    hold(&shop, rounds(FROM_ALL_SIDES), async |_| {
        let id = shop.placed().await;
        shop.jumun.takes(&id, "complete-delivery").await;
        let cancel = || shop.jumun.command(&id, "cancel");
        let (first, second, ()) = futures::join!(cancel(), cancel(), shop.jumun.cancel_in_engine(&id));
        assert_eq!((first.status, second.status), (200, 200), "{first:#?} {second:#?}");
        ended(&shop, &id, "cancelled").await;
        // As the providers themselves have it: all of it done once, and undone once.
        assert_eq!(shop.jumun.entries(&id).await, ["charge", "refund"]);
        for context in ["deliveries", "coupons"] {
            let listed = shop.jumun.get(&format!("/v1/{context}?order_id={id}")).await.ok();
            let states: Vec<_> =
                listed["items"].as_array().expect("a list").iter().map(|item| &item["state"]).collect();
            assert_eq!(states, ["cancelled"], "{context}");
        }
    })
    .await;
}

#[tokio::test]
async fn of_the_engines_button_and_a_command_exactly_one_wins() {
    let shop = open(with(&brought())).await;
    hold(&shop, rounds(ANYWHERE), async |_| {
        let id = shop.placed().await;
        shop.jumun.takes(&id, "complete-delivery").await;
        let (answer, ()) =
            futures::join!(shop.jumun.command(&id, "complete-delivery"), shop.jumun.cancel_in_engine(&id));
        let end = if answer.status == 200 {
            "closed"
        } else {
            assert!(matches!(answer.status, 409 | 404), "{answer:#?}");
            "cancelled"
        };
        ended(&shop, &id, end).await;
    })
    .await;
}

/// A command about when the gate's time is over: `ends` by the command, and by the deadline.
async fn against_deadline(lifecycle: Value, command: &str, ends: [&str; 2]) {
    let (shop, score) = (open(lifecycle).await, Score::default());
    hold(&shop, rounds(AT_EACH_DEADLINE), async |round| {
        let id = shop.placed().await;
        let waiting = shop.jumun.takes(&id, command).await;
        let deadline: DateTime<Utc> = waiting["deadline"].as_str().and_then(|at| at.parse().ok()).expect("a deadline");
        // From well before the deadline until it.
        let early = Duration::from_millis(round as u64 % 10 * 25);
        sleep((deadline - early - Utc::now()).to_std().unwrap_or_default()).await;
        let answer = shop.jumun.command(&id, command).await;
        let winner = usize::from(answer.status != 200);
        if winner == 1 {
            let _ = answer.problem(409, "command-not-allowed");
        }
        score.count(winner);
        ended(&shop, &id, ends[winner]).await;
        let again = shop.jumun.command(&id, command).await;
        assert_eq!(again.status, [200, 409][winner], "round {round}");
    })
    .await;
    score.was_a_contest();
}

#[tokio::test]
async fn of_an_acceptance_and_its_deadline_exactly_one_wins() {
    let acceptance = json!({ "window": "1s", "on_timeout": "reject" });
    against_deadline(with(&json!({ "acceptance": acceptance })), "accept", ["closed", "rejected"]).await;
}

#[tokio::test]
async fn of_a_rejection_and_its_deadline_exactly_one_wins() {
    let acceptance = json!({ "window": "1s", "on_timeout": "accept" });
    against_deadline(with(&json!({ "acceptance": acceptance })), "reject", ["rejected", "closed"]).await;
}

#[tokio::test]
async fn of_a_confirmed_deposit_and_its_deadline_exactly_one_wins() {
    let deposit = json!({
        "payment": { "method": "deposit", "deposit_window": "1s" },
        "cancellation": { "customer": "awaiting_deposit" },
    });
    against_deadline(with(&deposit), "confirm-deposit", ["closed", "cancelled"]).await;
}

//! Commands that exclude each other, at one moment: exactly one wins, everybody is told the same, and money and stock
//! match. Each contest is held 200 times.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use serde_json::{Value, json};
use tests::Shop;

use crate::shared;

const ROUNDS: usize = 200;
const AT_ONCE: usize = 12;

/// Who won how often.
#[derive(Default)]
struct Score([AtomicUsize; 2]);

impl Score {
    fn count(&self, winner: usize) {
        self.0[winner].fetch_add(1, Ordering::Relaxed);
    }

    fn wins(&self, of: usize) -> usize {
        self.0[of].load(Ordering::Relaxed)
    }
}

/// The least of a shop: paid by card, held from placement, handed out. `changes` adds the gate that is contested.
fn with(changes: Value) -> Value {
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
    shop.put_product("chili", 9_000, 1_000).await;
    shop
}

/// Holds the contest again and again, a few at once, and then looks at the shelf: what was not closed is back on it.
async fn hold(shop: &Shop<'_>, contest: impl AsyncFn(usize)) {
    futures::stream::iter(0..ROUNDS).map(|round| contest(round)).buffer_unordered(AT_ONCE).collect::<()>().await;
    let closed = format!("/v1/orders?merchant_id={}&status=closed&limit=200", shop.merchant_id);
    let closed = shop.jumun.get(&closed).await.ok()["items"].as_array().map(Vec::len).expect("a list");
    let closed = i64::try_from(closed).expect("few");
    assert_eq!(shop.shelf("chili").await, (1_000 - closed, 0, 1_000 - closed));
}

/// Sends both commands at one moment, in turns the one or the other first, and returns which was carried out. Asked
/// again, both get the same answer.
async fn duel(shop: &Shop<'_>, id: &str, round: usize, commands: [&str; 2]) -> usize {
    let ask = async || {
        let [first, second] = if round % 2 == 0 { commands } else { [commands[1], commands[0]] };
        let (first, second) = futures::join!(shop.jumun.command(id, first), shop.jumun.command(id, second));
        if round % 2 == 0 { [first, second] } else { [second, first] }
    };
    let answers = ask().await;
    let winner = match answers.each_ref().map(|answer| answer.status) {
        [200, 409] => 0,
        [409, 200] => 1,
        _ => panic!("round {round}: {answers:#?}"),
    };
    let again = ask().await;
    assert_eq!(again.map(|answer| answer.status), answers.map(|answer| answer.status), "round {round}");
    winner
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

/// Both commands at the gate that `first` opens, after `before` was asked. `ends`: what becomes of the order by each.
async fn opposed(lifecycle: Value, before: &[&str], commands: [&str; 2], ends: [&str; 2]) {
    let (shop, score) = (open(lifecycle).await, Score::default());
    hold(&shop, async |round| {
        let id = shop.placed().await;
        for command in before {
            let _ = shop.jumun.ask(&id, command).await;
        }
        shop.jumun.takes(&id, commands[0]).await;
        let winner = duel(&shop, &id, round, commands).await;
        score.count(winner);
        ended(&shop, &id, ends[winner]).await;
    })
    .await;
    assert_eq!(score.wins(0) + score.wins(1), ROUNDS);
    assert!(score.wins(0) > 0 && score.wins(1) > 0, "it was no contest: {} to {}", score.wins(0), score.wins(1));
}

async fn against_cancel(lifecycle: Value, before: &[&str], command: &str) {
    opposed(lifecycle, before, [command, "cancel"], ["closed", "cancelled"]).await;
}

fn offered() -> Value {
    json!({ "window": "10m", "on_timeout": "reject" })
}

#[tokio::test]
async fn of_accept_and_reject_exactly_one_wins() {
    let lifecycle = with(json!({ "acceptance": offered() }));
    opposed(lifecycle, &[], ["accept", "reject"], ["closed", "rejected"]).await;
}

#[tokio::test]
async fn of_a_cancel_and_a_confirmed_deposit_exactly_one_wins() {
    let deposit = json!({ "payment": { "method": "deposit" }, "cancellation": { "customer": "awaiting_deposit" } });
    against_cancel(with(deposit), &[], "confirm-deposit").await;
}

#[tokio::test]
async fn of_a_cancel_and_an_acceptance_exactly_one_wins() {
    against_cancel(with(json!({ "acceptance": offered() })), &[], "accept").await;
}

#[tokio::test]
async fn of_a_cancel_and_the_start_of_production_exactly_one_wins() {
    let production = json!({ "production": { "start": "merchant", "finish": "none" } });
    against_cancel(with(production), &[], "start-production").await;
}

#[tokio::test]
async fn of_a_cancel_and_the_end_of_production_exactly_one_wins() {
    let production = json!({
        "production": { "start": "merchant", "finish": "merchant" },
        "cancellation": { "customer": "in_production" },
    });
    against_cancel(with(production), &["start-production"], "finish-production").await;
}

#[tokio::test]
async fn of_a_cancel_and_the_dispatch_exactly_one_wins() {
    let delivery = json!({ "delivery": { "start": "courier", "complete": "courier" } });
    against_cancel(with(delivery), &[], "start-delivery").await;
}

fn brought() -> Value {
    json!({
        "delivery": { "start": "automatic", "complete": "courier" },
        "cancellation": { "customer": "in_delivery" },
    })
}

#[tokio::test]
async fn of_a_cancel_and_the_handover_exactly_one_wins() {
    against_cancel(with(brought()), &[], "complete-delivery").await;
}

#[tokio::test]
async fn of_a_cancel_and_a_receipt_on_the_spot_exactly_one_wins() {
    let receipt = json!({ "receipt": { "window": "7days", "on_timeout": "confirm" } });
    against_cancel(with(receipt), &[], "confirm-receipt").await;
}

#[tokio::test]
async fn a_cancel_never_wins_against_the_receipt_of_what_was_delivered() {
    let mut lifecycle = with(brought());
    lifecycle["receipt"] = json!({ "window": "7days", "on_timeout": "confirm" });
    let shop = open(lifecycle).await;
    hold(&shop, async |round| {
        let id = shop.placed().await;
        let _ = shop.jumun.ask(&id, "complete-delivery").await;
        shop.jumun.takes(&id, "confirm-receipt").await;
        assert_eq!(duel(&shop, &id, round, ["confirm-receipt", "cancel"]).await, 0);
        ended(&shop, &id, "closed").await;
    })
    .await;
}

#[tokio::test]
async fn two_cancels_at_once_undo_everything_once() {
    let shop = open(with(brought())).await;
    hold(&shop, async |round| {
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
async fn of_the_engines_button_and_a_command_exactly_one_wins() {
    let shop = open(with(brought())).await;
    hold(&shop, async |_| {
        let id = shop.placed().await;
        shop.jumun.takes(&id, "complete-delivery").await;
        let (answer, ()) =
            futures::join!(shop.jumun.command(&id, "complete-delivery"), shop.jumun.cancel_in_engine(&id));
        let end = if answer.status == 200 {
            "closed"
        } else {
            let _ = answer.problem(409, "command-not-allowed");
            "cancelled"
        };
        ended(&shop, &id, end).await;
    })
    .await;
}

/// A command about when the gate's time is over: `ends` by the command, and by the deadline.
async fn against_deadline(lifecycle: Value, command: &str, ends: [&str; 2]) {
    let (shop, score) = (open(lifecycle).await, Score::default());
    hold(&shop, async |round| {
        let id = shop.placed().await;
        let waiting = shop.jumun.takes(&id, command).await;
        let deadline: DateTime<Utc> = waiting["deadline"].as_str().and_then(|at| at.parse().ok()).expect("a deadline");
        // From well before the deadline until it.
        let early = Duration::from_millis(u64::try_from(round % 10).expect("few") * 25);
        tokio::time::sleep((deadline - early - Utc::now()).to_std().unwrap_or_default()).await;
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
    assert!(score.wins(0) > 0 && score.wins(1) > 0, "it was no contest: {} to {}", score.wins(0), score.wins(1));
}

#[tokio::test]
async fn of_an_acceptance_and_its_deadline_exactly_one_wins() {
    let acceptance = json!({ "window": "1s", "on_timeout": "reject" });
    against_deadline(with(json!({ "acceptance": acceptance })), "accept", ["closed", "rejected"]).await;
}

#[tokio::test]
async fn of_a_rejection_and_its_deadline_exactly_one_wins() {
    let acceptance = json!({ "window": "1s", "on_timeout": "accept" });
    against_deadline(with(json!({ "acceptance": acceptance })), "reject", ["rejected", "closed"]).await;
}

#[tokio::test]
async fn of_a_confirmed_deposit_and_its_deadline_exactly_one_wins() {
    let deposit = json!({
        "payment": { "method": "deposit", "deposit_window": "1s" },
        "cancellation": { "customer": "awaiting_deposit" },
    });
    against_deadline(with(deposit), "confirm-deposit", ["closed", "cancelled"]).await;
}

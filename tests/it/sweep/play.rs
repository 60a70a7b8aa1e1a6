//! One case, played: the people in it do what the course has them do, the one who disturbs it comes when the order is
//! held.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures::future::{Either, select};
use serde_json::{Value, json};
use tests::{Answer, Books, DEADLINE, Faults, Jumun, Looked, Receiver, Shop, status_changes, until};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use workflows::payment::EntryKind;
use workflows::{Command, Gate, MerchantId, OrderId, Status, Step};

use super::cases::{Canceller, Case, Course, Trouble};

const SHORTEST_PAUSE: Duration = Duration::from_millis(15);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Where a case is played.
pub struct Stage<'a> {
    pub jumun: &'a Jumun,
    pub faults: &'a Faults,
    pub receiver: &'a Receiver,
}

/// An order of a case.
#[derive(Clone)]
pub struct Played {
    pub case: Case,
    pub merchant_id: MerchantId,
    pub order_id: OrderId,
}

/// What passes a gate, unless the course has it otherwise.
fn onwards(gate: Gate) -> Command {
    gate.commands()[0].0
}

impl Stage<'_> {
    /// Opens the shop of a case, which has a merchant to itself.
    pub async fn open(&self, case: &Case, merchant_id: &MerchantId) -> Shop<'_> {
        let shop = Shop::named(self.jumun, merchant_id.as_str(), case.document()).await;
        shop.put_product("chili", 9_000, case.on_hand()).await;
        if case.course == Course::Told {
            let webhook = json!({ "url": format!("{}/{merchant_id}", self.receiver.url) });
            let path = format!("/v1/merchants/{merchant_id}/webhooks/till");
            let _ = self.jumun.put(&path, &webhook).await.ok();
        }
        shop
    }

    /// Plays the case to its end.
    pub async fn play(&self, case: &Case, merchant_id: &MerchantId) -> OrderId {
        self.faults.script(merchant_id, &case.script());
        let shop = self.open(case, merchant_id).await;
        let request = shop.request_one_by(case.card());
        let placing = self.jumun.post("/v1/orders", &request);
        let living = async {
            let order_id = self.faults.order(merchant_id).await;
            let played = Played { case: case.clone(), merchant_id: merchant_id.clone(), order_id };
            futures::join!(self.act(&played), self.disturb(&played));
            played.order_id
        };
        let (answer, order_id) = futures::join!(placing, living);
        let expected: &[u16] = match case.ends {
            Status::Rejected if case.course == Course::Lived => &[503, 202],
            Status::Rejected if case.course == Course::Declined => &[402, 202],
            Status::Rejected if case.course == Course::OutOfStock => &[409, 202],
            // Where it was called off before it stood.
            Status::Cancelled => &[201, 202, 409],
            _ => &[201, 202],
        };
        assert!(expected.contains(&answer.status), "placing was answered {} {}", answer.status, answer.body);
        order_id
    }

    /// Plays the case until it is held where it is to be killed.
    pub async fn play_until_killed(&self, case: &Case, merchant_id: &MerchantId) -> Played {
        let shop = self.open(case, merchant_id).await;
        // A busy machine may have no time for it at once; nothing stands then.
        let placed = until("an order", async || {
            let request = self.jumun.request(reqwest::Method::POST, "/v1/orders").header("prefer", "wait=0");
            let placed = self.jumun.send(request.json(&shop.request_one_by(case.card()))).await;
            (placed.status != 503).then_some(placed)
        })
        .await;
        let order_id = match placed.header("location").rsplit('/').next().and_then(|id| id.parse().ok()) {
            Some(order_id) => order_id,
            // It was decided at once.
            None => tests::expect_order(&placed.body).parse().expect("an order id"),
        };
        let played = Played { case: case.clone(), merchant_id: merchant_id.clone(), order_id };
        select(pin!(self.act(&played)), pin!(self.disturb(&played))).await;
        played
    }

    /// Goes on with a case after the process was started again.
    pub async fn go_on(&self, played: &Played) {
        self.act(played).await;
    }

    /// Does what the order asks people for, until it has ended.
    async fn act(&self, played: &Played) {
        let (case, id) = (&played.case, played.order_id.as_str());
        let mut asked: Option<(Command, JoinHandle<Option<Answer>>)> = None;
        let mut seen = (Value::Null, Instant::now());
        let mut looked = Looked::default();
        loop {
            let order = self.jumun.try_get(&format!("/v1/orders/{id}")).await;
            let order = order.ok().filter(|answer| answer.status == 200).map(|answer| answer.body).unwrap_or_default();
            if order["status"] == json!(case.ends) {
                break;
            }
            assert!(!is_final(&order), "it ended as {}, not {:?}", order["status"], case.ends);
            if order["version"] != seen.0 {
                seen = (order["version"].clone(), Instant::now());
            }
            let still = seen.1.elapsed();
            assert!(still < DEADLINE, "nothing has happened to it for {DEADLINE:?}: {order:#}");
            let takes = looked.at(self.jumun, order).await;
            if let Some(command) = takes.and_then(|order| self.next_command(played, &order)) {
                let waits = asked.as_ref().is_some_and(|(asked, answer)| *asked == command && !answer.is_finished());
                if !waits {
                    let request = self.jumun.request(reqwest::Method::POST, &format!("/v1/orders/{id}/{command}"));
                    // What passes a gate may be held behind it.
                    let answer = tokio::spawn(async move { Answer::of(request).await.ok() });
                    asked = Some((command, answer));
                }
            }
            sleep((still / 3).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)).await;
        }
        if case.course == Course::PaidLate {
            let _ = self.jumun.command(id, "confirm-deposit").await.problem(409, "command-not-allowed");
        }
    }

    /// What somebody asks of the order as it is now.
    fn next_command(&self, Played { case, merchant_id, .. }: &Played, order: &Value) -> Option<Command> {
        let takes = order["allowed_commands"].as_array()?;
        let taken = |command: Command| takes.contains(&json!(command));
        if let Course::TurnedDown(_, command) = case.course
            && taken(command)
        {
            return Some(command);
        }
        let gate = Gate::ALL.into_iter().find(|gate| taken(onwards(*gate)))?;
        // Nobody passes a gate under the eyes of somebody who has just called the order off.
        let called_off = case.ends != Status::Closed && self.faults.is_met(merchant_id, 0);
        (case.course != Course::RunOut(gate) && !called_off).then(|| onwards(gate))
    }

    /// Comes whenever the order is held, and lets it go on; where the process is to be killed, leaves it held.
    async fn disturb(&self, played: &Played) {
        let (case, merchant_id) = (&played.case, &played.merchant_id);
        for (number, hold) in case.holds().into_iter().enumerate() {
            self.faults.held(merchant_id, number).await;
            let Some(canceller) = hold else { return };
            match canceller {
                Canceller::Button => {
                    self.jumun.cancel_in_engine(played.order_id.as_str()).await;
                    self.faults.open(merchant_id, number);
                }
                Canceller::Api => {
                    let heard = pin!(self.jumun.hears_cancel(played.order_id.as_str()));
                    match select(pin!(self.cancel(played)), heard).await {
                        // Refused without asking the workflow.
                        Either::Left(_) => self.faults.open(merchant_id, number),
                        Either::Right(((), answer)) => {
                            self.faults.open(merchant_id, number);
                            answer.await;
                        }
                    }
                }
                Canceller::Both => {
                    let button = async {
                        self.jumun.cancel_in_engine(played.order_id.as_str()).await;
                        self.faults.open(merchant_id, number);
                    };
                    futures::join!(self.cancel(played), button);
                }
            }
        }
    }

    /// Calls the order off by the API.
    async fn cancel(&self, Played { case, order_id, .. }: &Played) {
        // An order that does not answer in time is asked again.
        let answer = until("an answer to a cancel", async || {
            Some(self.jumun.command(order_id.as_str(), "cancel").await).filter(|answer| answer.status != 503)
        })
        .await;
        // Where its time is over, the order calls itself off, and nobody else does any more.
        let called_off = case.ends == Status::Cancelled && !matches!(case.course, Course::RunOut(_));
        let expected = if called_off { 200 } else { 409 };
        assert!(answer.status == expected, "a cancel was answered {} {}", answer.status, answer.body);
    }
}

fn is_final(order: &Value) -> bool {
    matches!(order["status"].as_str(), Some("closed" | "cancelled" | "rejected"))
}

/// What is wrong with a case after everything has come to rest.
pub async fn findings(played: &Played, books: &Books, faults: &Faults, receiver: &Receiver) -> Vec<String> {
    let Played { case, merchant_id, order_id } = played;
    let mut findings = books.faults_of(order_id, case.ends, case.on_hand()).await;
    if case.is_planned_to_the_end() {
        findings.extend(faults.unplanned(merchant_id));
    }
    if case.course == Course::Told {
        findings.extend(untold(played, &status_changes(&books.events(order_id).await), receiver));
    }
    if case.course == Course::PaidLate {
        let kinds = books.entries(order_id).await;
        if kinds != [EntryKind::Deposit, EntryKind::Refund] {
            findings.push(format!("money that came late was booked as {kinds:?}"));
        }
    }
    findings
}

/// The webhook was told of every status.
fn untold(Played { merchant_id, .. }: &Played, changes: &[(u32, Status)], receiver: &Receiver) -> Vec<String> {
    let path = format!("/{merchant_id}");
    let received = receiver.received();
    let told = received.iter().filter(|received| received.path == path);
    let mut numbers: Vec<_> = told.filter_map(|received| received.json()["data"]["number"].as_u64()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let expected: Vec<_> = changes.iter().map(|(number, _)| u64::from(*number)).collect();
    if numbers == expected {
        Vec::new()
    } else {
        vec![format!("its webhook was told of {numbers:?}, not {expected:?}")]
    }
}

/// The order took the steps of its course, and no others; what it undid, it undid in the lifecycle's order.
pub fn strayed(played: &Played, called: &[Step]) -> Vec<String> {
    let case = &played.case;
    let called: Vec<_> = called.iter().filter(|step| !step.is_beside_the_order()).copied().collect();
    let mut once = Vec::new();
    for step in called {
        if !once.contains(&step) {
            once.push(step);
        }
    }
    let as_planned = if case.trouble == Trouble::Nothing {
        once == case.steps
    } else {
        // Cut short, it has less to undo; what it does undo comes in the same order.
        let expected: Vec<_> = case.steps.iter().filter(|step| once.contains(step)).copied().collect();
        let known: Vec<_> = once.iter().filter(|step| case.steps.contains(step)).copied().collect();
        known == expected
    };
    if as_planned { Vec::new() } else { vec![format!("its steps were {once:?}, and not {:?}", case.steps)] }
}

/// Waits until the engine has nothing left to do, and names the orders that keep it from that.
pub async fn rest(jumun: &Jumun) -> Vec<Value> {
    let start = Instant::now();
    loop {
        let query = "SELECT target, target_service_key, status, last_failure FROM sys_invocation \
                     WHERE status != 'completed' LIMIT 50";
        let open = jumun.engine_query(query).await;
        if open.is_empty() || start.elapsed() > DEADLINE {
            return open;
        }
        sleep(LONGEST_PAUSE).await;
    }
}

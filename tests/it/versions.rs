//! Two versions of the worker side by side: what has begun on one ends there, what begins anew goes to the other, and
//! nobody who asks anything notices.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use activities::NotificationSettings;
use serde_json::{Value, json};
use tests::{Faults, Jumun, Shop, Worker, binary, until};
use tokio::process::Command;
use tokio::sync::Mutex;
use worker::{Deployment, DeploymentId, Deployments, MoveError, RemoveError};
use workflows::order::Ports;

/// How many orders are to end before the new version comes, and how many more after it.
const ORDERS: usize = 8;
const CLIENTS: usize = 4;

/// A system with one version of the worker, to which others are added.
struct Fleet {
    jumun: Jumun,
    ports: Ports,
    deployments: Deployments,
    v1: Worker,
    first: DeploymentId,
}

impl Fleet {
    async fn start() -> Self {
        let faults = Arc::new(Faults::default());
        let (jumun, ports) = Jumun::without_worker(&faults, NotificationSettings::default()).await;
        let v1 = Worker::start(&ports).await;
        // In place of the worker that this engine was started with.
        worker::register(&jumun.ready.engine_admin, &v1.url).await.expect("registers");
        let deployments = Deployments::new(&jumun.ready.engine_admin).expect("a client");
        let [first] = deployments.list().await.expect("lists").try_into().expect("one version");
        assert!(first.current && first.url.trim_end_matches('/') == v1.url, "{first:?}");
        Self { jumun, ports, deployments, v1, first: first.id }
    }

    /// Another version, which the engine knows from now on.
    async fn add(&self) -> (Worker, DeploymentId) {
        let worker = Worker::start(&self.ports).await;
        let id = self.deployments.register(&worker.url).await.expect("registers");
        (worker, id)
    }

    async fn deployment(&self, id: &DeploymentId) -> Deployment {
        let all = self.deployments.list().await.expect("lists");
        all.into_iter().find(|deployment| deployment.id == *id).unwrap_or_else(|| panic!("no {id}"))
    }

    async fn drains(&self, id: &DeploymentId) {
        let what = format!("{id} to drain");
        until(&what, async || self.deployment(id).await.is_drained().then_some(())).await;
    }

    /// Waits until everything that has begun on the version has ended.
    async fn comes_to_rest(&self, id: &DeploymentId) {
        let what = format!("everything on {id} to end");
        until(&what, async || (self.deployment(id).await.open == 0).then_some(())).await;
    }

    /// The workflow of each order, as the engine has it: on which version, whether it has ended, and how.
    async fn workflows(&self) -> BTreeMap<String, Value> {
        let query = "SELECT target_service_key, pinned_deployment_id, status, completion_result FROM sys_invocation \
                     WHERE target_service_name = 'order' AND target_handler_name = 'run'";
        let rows = self.jumun.engine_query(query).await;
        let key = |row: &Value| row["target_service_key"].as_str().expect("a key").to_owned();
        rows.into_iter().map(|row| (key(&row), row)).collect()
    }

    /// Asserts that the order has ended on that version, and ended well.
    fn ended_on(workflows: &BTreeMap<String, Value>, order_id: &str, version: &DeploymentId) {
        let workflow = &workflows[order_id];
        assert_eq!(workflow["pinned_deployment_id"], version.to_string(), "{workflow:#?}");
        assert_eq!((&workflow["status"], &workflow["completion_result"]), (&json!("completed"), &json!("success")));
    }

    /// Orders that wait for somebody: one with a deadline, one that is paid, one that is being made.
    async fn waiting(&self) -> [String; 3] {
        let order = async |preset: &str| Shop::open_with(&self.jumun, preset).await.placed().await;
        let [deposit, offered, making] =
            [order("shopping-mall").await, order("food-delivery").await, order("pizza").await];
        self.jumun.takes(&deposit, "confirm-deposit").await;
        self.jumun.takes(&offered, "accept").await;
        self.jumun.ask(&making, "start-production").await;
        self.jumun.takes(&making, "start-delivery").await;
        [deposit, offered, making]
    }
}

/// What a client has asked for, and how it is to end.
struct Placed {
    id: String,
    end: &'static str,
    /// Whether it was placed when the second version was there already; `None`: it may have been.
    anew: Option<bool>,
}

/// Callers who place orders, move and cancel them until they are told to stop.
struct Load {
    shops: Vec<(String, &'static str)>,
    placed: Mutex<Vec<Placed>>,
    ended: AtomicUsize,
    /// Where the registration of the second version stands.
    began: AtomicBool,
    done: AtomicBool,
    stop: AtomicBool,
}

impl Load {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Each order of a client lives another life than the one before it. No answer may be a failure.
    async fn client(&self, jumun: &Jumun, number: usize) {
        for turn in number.. {
            if self.stopped() {
                return;
            }
            let (merchant, preset) = &self.shops[turn % self.shops.len()];
            let done = self.done.load(Ordering::SeqCst);
            let answer = jumun.post("/v1/orders", &request(merchant, preset)).await;
            assert_eq!(answer.status, 201, "{answer:#?}");
            let began = self.began.load(Ordering::SeqCst);
            let id = tests::expect_order(&answer.body);
            // A shop's customers may cancel until it is being made, and a paid pizza waits for that.
            let cancelled = *preset == "pizza" && turn % (2 * self.shops.len()) < self.shops.len();
            let end = if cancelled { "cancelled" } else { "closed" };
            let anew = if done { Some(true) } else { (!began).then_some(false) };
            self.placed.lock().await.push(Placed { id: id.clone(), end, anew });
            if cancelled {
                jumun.takes(&id, "start-production").await;
                let answer = jumun.command(&id, "cancel").await;
                assert_eq!(answer.status, 200, "{answer:#?}");
                jumun.reaches(&id, "cancelled").await;
            } else {
                live(jumun, &id, preset).await;
            }
            self.ended.fetch_add(1, Ordering::SeqCst);
        }
    }

    async fn ends(&self, orders: usize) {
        // Each in its own time: all of them take long on a busy machine.
        for order in 1..=orders {
            let what = format!("order {order} of {orders} to end");
            until(&what, async || (self.ended.load(Ordering::SeqCst) >= order).then_some(())).await;
        }
    }

    /// Waits until so many orders have ended that were placed on the new version.
    async fn ends_anew(&self, orders: usize) {
        let before = self.ended.load(Ordering::SeqCst);
        self.ends(before + orders + CLIENTS).await;
    }
}

/// Every command that an undisturbed order needs, each of which succeeds.
async fn live(jumun: &Jumun, id: &str, preset: &str) {
    let commands: &[&str] = match preset {
        "sauce-shop" => &["complete-delivery"],
        "shopping-mall" => &["confirm-deposit", "complete-delivery", "confirm-receipt"],
        "food-delivery" => &["accept", "start-production", "finish-production", "start-delivery", "complete-delivery"],
        "pizza" => &["start-production", "start-delivery", "complete-delivery"],
        _ => panic!("{preset} is not played here"),
    };
    for command in commands {
        jumun.takes(id, command).await;
        let answer = jumun.command(id, command).await;
        assert_eq!(answer.status, 200, "{command}: {answer:#?}");
    }
    jumun.reaches(id, "closed").await;
}

fn request(merchant: &str, preset: &str) -> Value {
    let payment = match preset {
        "shopping-mall" => json!({ "method": "deposit" }),
        _ => json!({ "method": "card", "card_token": "tok_ok" }),
    };
    json!({
        "merchant_id": merchant,
        "customer": { "name": "Kim", "phone": "010-1234-5678", "address": "1 Sejong-daero, Seoul" },
        "lines": [{ "sku": "chili", "quantity": 1 }],
        "payment": payment,
    })
}

#[tokio::test]
async fn a_new_version_takes_over_under_load_and_no_request_fails() {
    let mut fleet = Fleet::start().await;
    let waiting = fleet.waiting().await;
    let mut shops = Vec::new();
    for preset in ["sauce-shop", "pizza", "shopping-mall", "food-delivery"] {
        shops.push((Shop::open_with(&fleet.jumun, preset).await.merchant_id, preset));
    }
    let load = Load {
        shops,
        placed: Mutex::default(),
        ended: AtomicUsize::new(0),
        began: AtomicBool::new(false),
        done: AtomicBool::new(false),
        stop: AtomicBool::new(false),
    };
    let roll_out = async {
        load.ends(ORDERS).await;
        load.began.store(true, Ordering::SeqCst);
        let (v2, second) = fleet.add().await;
        load.done.store(true, Ordering::SeqCst);
        assert_eq!(fleet.deployments.register(&v2.url).await.expect("again"), second, "registered once");
        load.ends_anew(ORDERS).await;
        load.stop.store(true, Ordering::SeqCst);
        second
    };
    let clients = futures::future::join_all((0..CLIENTS).map(|number| load.client(&fleet.jumun, number)));
    let (second, _) = futures::join!(roll_out, clients);

    // What waits for people keeps the old version, and keeps it from being removed.
    let (old, new) = (fleet.deployment(&fleet.first).await, fleet.deployment(&second).await);
    assert!(!old.current && old.open >= 3 && new.current, "{old:?}, {new:?}");
    let refused = fleet.deployments.remove(&fleet.first).await;
    assert!(matches!(refused, Err(RemoveError::InUse { .. })), "{refused:?}");
    let refused = fleet.deployments.remove(&second).await;
    assert!(matches!(refused, Err(RemoveError::Current(_))), "{refused:?}");
    assert!(fleet.deployments.prune().await.expect("nothing is drained").is_empty());

    // Their commands come by way of the new one.
    let [deposit, offered, making] = &waiting;
    live(&fleet.jumun, deposit, "shopping-mall").await;
    live(&fleet.jumun, offered, "food-delivery").await;
    let _ = fleet.jumun.ask(making, "start-delivery").await;
    let _ = fleet.jumun.ask(making, "complete-delivery").await;
    fleet.jumun.reaches(making, "closed").await;

    fleet.drains(&fleet.first).await;
    let removed: Vec<_> = fleet.deployments.prune().await.expect("removes").into_iter().map(|old| old.id).collect();
    assert_eq!(removed, [fleet.first.clone()]);
    let unknown = fleet.deployments.remove(&fleet.first).await;
    assert!(matches!(unknown, Err(RemoveError::Unknown(_))), "{unknown:?}");
    fleet.v1.stop().await;

    let after = Shop::open(&fleet.jumun).await.placed().await;
    live(&fleet.jumun, &after, "sauce-shop").await;
    fleet.comes_to_rest(&second).await;

    let workflows = fleet.workflows().await;
    let placed = load.placed.into_inner();
    for Placed { id, end, anew } in &placed {
        assert_eq!(fleet.jumun.order(id).await["status"], *end);
        fleet.jumun.settles(id).await;
        fleet.jumun.each_fact_once(id).await;
        match anew {
            Some(anew) => Fleet::ended_on(&workflows, id, if *anew { &second } else { &fleet.first }),
            None => assert_eq!(workflows[id]["completion_result"], "success"),
        }
    }
    let count = |wanted| placed.iter().filter(|placed| placed.anew == Some(wanted)).count();
    assert!(count(false) >= ORDERS && count(true) >= ORDERS, "{} and {}", count(false), count(true));
    for id in &waiting {
        Fleet::ended_on(&workflows, id, &fleet.first);
    }
    Fleet::ended_on(&workflows, &after, &second);
}

#[tokio::test]
async fn the_orders_of_a_version_that_is_stopped_too_early_wait_for_it() {
    let mut fleet = Fleet::start().await;
    let waiting = fleet.waiting().await;
    let (_v2, second) = fleet.add().await;
    fleet.v1.stop().await;

    // New orders do not notice.
    let anew = Shop::open(&fleet.jumun).await.placed().await;
    live(&fleet.jumun, &anew, "sauce-shop").await;

    // A command is taken, and takes effect once the order's own version is back.
    let [deposit, offered, making] = &waiting;
    for (id, command) in [(deposit, "confirm-deposit"), (offered, "accept"), (making, "start-delivery")] {
        let answer = fleet.jumun.command(id, command).await;
        assert_eq!(answer.status, 200, "{answer:#?}");
    }
    let stood: Vec<_> = futures::future::join_all(waiting.iter().map(|id| fleet.jumun.order(id))).await;
    let statuses: Vec<_> = stood.iter().map(|order| order["status"].as_str().expect("a status")).collect();
    assert_eq!(statuses, ["awaiting_deposit", "paid", "in_production"]);
    let refused = fleet.deployments.remove(&fleet.first).await;
    assert!(matches!(refused, Err(RemoveError::InUse { .. })), "{refused:?}");

    fleet.v1.start_again().await;
    for id in &waiting {
        fleet.jumun.drive(id, "closed").await;
        fleet.jumun.settles(id).await;
        fleet.jumun.each_fact_once(id).await;
    }
    fleet.drains(&fleet.first).await;
    fleet.comes_to_rest(&second).await;
    let workflows = fleet.workflows().await;
    for id in &waiting {
        Fleet::ended_on(&workflows, id, &fleet.first);
    }
    Fleet::ended_on(&workflows, &anew, &second);
}

/// A version that has to go before its orders have ended: the next one replays their journals, and goes on with them.
#[tokio::test]
async fn open_orders_are_moved_to_a_version_that_understands_them() {
    let mut fleet = Fleet::start().await;
    let rested = fleet.waiting().await;
    until("its orders to rest", async || {
        let workflows = fleet.workflows().await;
        rested.iter().all(|id| workflows[id]["status"] == "suspended").then_some(())
    })
    .await;
    // These wait in the worker's memory still, and one of them cannot go on.
    let awake = fleet.waiting().await;
    fleet.v1.stop().await;
    let refused = fleet.deployments.move_open(&fleet.first).await;
    assert!(matches!(refused, Err(MoveError::Current(_))), "{refused:?}");
    let (_v2, second) = fleet.add().await;
    let answer = fleet.jumun.command(&awake[1], "accept").await;
    assert_eq!(answer.status, 200, "{answer:#?}");

    let moved = fleet.deployments.move_open(&fleet.first).await.expect("moves");
    assert!(moved >= 6, "{moved}");
    fleet.drains(&fleet.first).await;
    fleet.deployments.remove(&fleet.first).await.expect("removes");
    for id in rested.iter().chain(&awake) {
        fleet.jumun.drive(id, "closed").await;
        fleet.jumun.settles(id).await;
        fleet.jumun.each_fact_once(id).await;
    }
    fleet.comes_to_rest(&second).await;
    let workflows = fleet.workflows().await;
    for id in rested.iter().chain(&awake) {
        Fleet::ended_on(&workflows, id, &second);
    }
}

/// `jumun` as a person runs it: its exit code, and what it says on standard output.
async fn run(fleet: &Fleet, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(binary());
    command.args(arguments).args(["--engine-admin", &fleet.jumun.ready.engine_admin]);
    let output = command.output().await.expect("the binary under test is built with the tests");
    (output.status.code(), String::from_utf8(output.stdout).expect("Unicode"))
}

#[tokio::test]
async fn versions_are_handled_from_the_command_line() {
    let fleet = Fleet::start().await;
    let [deposit, ..] = fleet.waiting().await;
    let v2 = Worker::start(&fleet.ports).await;
    let run = async |arguments: &[&str]| run(&fleet, arguments).await;
    let (code, second) = run(&["register", "--worker", &v2.url]).await;
    assert_eq!(code, Some(0));
    let second = second.trim();

    let (code, listed) = run(&["deployments", "--json"]).await;
    let listed: Vec<Deployment> = serde_json::from_str(&listed).expect("JSON");
    assert_eq!((code, listed.len()), (Some(0), 2));
    assert!(listed[0].id == fleet.first && listed[0].open > 0 && !listed[0].current, "{listed:?}");
    assert!(listed[1].id.to_string() == second && listed[1].current, "{listed:?}");
    let (code, table) = run(&["deployments"]).await;
    assert!(code == Some(0) && table.contains("drains") && table.contains("takes what begins anew"), "{table}");

    let first = fleet.first.to_string();
    assert_eq!(run(&["deployments", "remove", &first]).await, (Some(1), String::new()), "it is needed");
    assert_eq!(run(&["deployments", "prune"]).await, (Some(0), String::new()));
    let (code, moved) = run(&["deployments", "move", &first]).await;
    assert!(code == Some(0) && moved.ends_with(" moved\n"), "{moved}");
    assert_eq!(run(&["deployments", "prune", "--json"]).await, (Some(0), format!("[\"{first}\"]\n")));
    assert_eq!(run(&["deployments", "remove", "../services/order"]).await, (Some(2), String::new()));
    assert_eq!(run(&["register", "--worker", "http://127.0.0.1:1"]).await, (Some(1), String::new()), "nobody is there");
    fleet.jumun.drive(&deposit, "closed").await;
}

//! Open orders outlive a release: the journals that earlier releases left are understood by this one. `tests/journals/`
//! holds them; its README says how they are made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use activities::NotificationSettings;
use serde_json::json;
use tests::{Fault, Faults, Journal, Jumun, Place, Planned, Receiver, Recorder, Shop, forbidden_ports, until, variant};
use workflows::order::Actor;
use workflows::order::command::CommandRequest;
use workflows::{Capacity, Command, Lifecycle, Role, Step};

/// What is recorded is that of this release.
const RELEASE: &str = env!("CARGO_PKG_VERSION");
/// Set, it has `this_release_s_journals_replay` keep what it records.
const KEEP: &str = "JUMUN_RECORD_JOURNALS";
const ORDER: &str = "/invoke/order/run";
const COMMAND: &str = "/invoke/order/command";

type Journals = BTreeMap<String, Journal>;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("journals")
}

fn kept(release: &Path) -> Journals {
    let files = std::fs::read_dir(release).expect("a directory").map(|file| file.expect("a file").path());
    let journals = files.filter(|file| file.extension().is_some_and(|extension| extension == "journal"));
    let name = |file: &Path| file.file_stem().expect("a name").to_str().expect("Unicode").to_owned();
    journals.map(|file| (name(&file), Journal::read(&file))).collect()
}

fn keep(release: &Path, journals: &Journals) {
    std::fs::create_dir_all(release).expect("a directory");
    for name in kept(release).keys().filter(|name| !journals.contains_key(*name)) {
        std::fs::remove_file(release.join(name).with_extension("journal")).expect("removes");
    }
    for (name, journal) in journals {
        journal.write(&release.join(format!("{name}.journal")));
    }
}

/// Asserts that each comes to what it came to when it was recorded, and that no step is done for it.
async fn replay(release: &str, journals: &Journals) {
    let endpoint = worker::endpoint(forbidden_ports().await, &Capacity::default(), &[]);
    let mut wrong = Vec::new();
    for (name, journal) in journals {
        let now = journal.replay(&endpoint).await;
        if !is_understood(&journal.answer, &now) {
            wrong.push(format!("{release}/{name}:\n    then {:?}\n    now  {now:?}", journal.answer));
        }
    }
    assert!(wrong.is_empty(), "{} of {} are not understood:\n{}", wrong.len(), journals.len(), wrong.join("\n"));
}

/// Whether what is answered now is what was answered then. What was waited for then is waited for, and more may be.
fn is_understood(then: &[String], now: &[String]) -> bool {
    let awaited =
        |answer: &[String]| Some(answer.last()?.strip_prefix("suspended until ")?.replace("signal ", "signal_"));
    match (awaited(then), awaited(now)) {
        (Some(before), Some(after)) => {
            let after: BTreeSet<_> = after.split(' ').collect();
            then[..then.len() - 1] == now[..now.len() - 1] && before.split(' ').all(|one| after.contains(one))
        }
        _ => then == now,
    }
}

#[tokio::test]
async fn the_journals_of_every_release_replay() {
    let mut releases = 0;
    for release in std::fs::read_dir(directory()).expect("a directory") {
        let release = release.expect("a directory").path();
        if release.is_dir() {
            let journals = kept(&release);
            assert!(journals.len() >= 20, "{} has but {}", release.display(), journals.len());
            replay(&release.file_name().expect("a name").to_string_lossy(), &journals).await;
            releases += 1;
        }
    }
    assert!(releases > 0);
}

/// Of an API of this release, an order may be placed that a worker of the one before begins, and another goes on with.
#[tokio::test]
async fn who_began_an_order_says_whether_it_decides_and_not_who_asked_for_it() {
    const BY: &str = r#""by":{"role":"customer","subject":"customer"}"#;
    let journals = kept(&directory().join("0.1.0-rc.4"));
    let orders = journals.into_iter().filter(|(_, journal)| journal.path() == ORDER);
    // Who placed it makes no difference to a replay.
    let asked = |(name, journal): (String, Journal)| Some((name, journal.with(BY, r#""decides":true"#)?));
    let asked: Journals = orders.filter_map(asked).collect();
    assert!(asked.len() >= 20, "but {}", asked.len());
    replay("asked for", &asked).await;
}

#[tokio::test]
async fn this_release_s_journals_replay() {
    let journals = record().await;
    let release = directory().join(RELEASE);
    if std::env::var_os(KEEP).is_some() {
        keep(&release, &journals);
    }
    replay("recorded now", &journals).await;
    let (recorded, kept): (BTreeSet<_>, BTreeSet<_>) =
        (journals.into_keys().collect(), kept(&release).into_keys().collect());
    assert_eq!(recorded, kept, "record those of {RELEASE} anew: {KEEP}=1");
}

/// A journal of every way that an order can go, and of everything beside the orders.
async fn record() -> Journals {
    let faults = Arc::new(Faults::default());
    let soon = [Duration::from_millis(200), Duration::from_millis(200)];
    let settings = NotificationSettings { schedule: soon.to_vec(), ..NotificationSettings::default() };
    let (jumun, ports) = Jumun::without_worker(&faults, settings).await;
    let recorder = Recorder::start(worker::endpoint(ports, &Capacity::default(), &[])).await;
    worker::register(&jumun.ready.engine_admin, &recorder.url).await.expect("registers");
    wait_for_nothing(&jumun).await;

    let recording = Recording { jumun: &jumun, recorder: &recorder };
    let presets = futures::future::join_all(Lifecycle::presets().iter().map(|preset| recording.preset(&preset.name)));
    let (presets, refusals, deposits, messages, commands) =
        futures::join!(presets, recording.refusals(), recording.deposits(), recording.messages(), recording.commands());
    let undisturbed = presets.into_iter().chain([refusals, deposits, messages, commands]).flatten();
    // Faults belong to a step, whoever's.
    undisturbed.chain(recording.disturbed(&faults).await).collect()
}

/// Has every wait put the invocation aside, so that what goes on is always a replay of the whole journal.
async fn wait_for_nothing(jumun: &Jumun) {
    for service in ["order", "notification", "message", "late_deposit"] {
        let url = format!("{}/services/{service}", jumun.ready.engine_admin);
        let request = reqwest::Client::new().patch(url).json(&json!({ "inactivity_timeout": "0s" }));
        let _ = jumun.send(request).await.ok();
    }
}

struct Recording<'a> {
    jumun: &'a Jumun,
    recorder: &'a Recorder,
}

fn named<const N: usize>(journals: [(&str, Journal); N]) -> Vec<(String, Journal)> {
    journals.into_iter().map(|(name, journal)| (name.to_owned(), journal)).collect()
}

impl Recording<'_> {
    async fn order(&self, id: &str) -> Journal {
        self.recorder.ended(ORDER, id).await
    }

    /// An order that lives undisturbed, waiting at its first gate and at its end, and one that is cancelled as late as can
    /// be, with everything to undo.
    async fn preset(&self, preset: &str) -> Vec<(String, Journal)> {
        let shop = Shop::open_with(self.jumun, preset).await;
        let id = shop.placed().await;
        let command = match preset {
            "shopping-mall" => "confirm-deposit",
            "food-delivery" => "accept",
            "pizza" => "start-production",
            _ => "complete-delivery",
        };
        self.jumun.takes(&id, command).await;
        let waits = self.recorder.waits(&id).await;
        self.jumun.drive(&id, "closed").await;
        let closed = self.order(&id).await;

        let id = shop.placed().await;
        self.jumun.drive(&id, "in_delivery").await;
        let operator = self.jumun.as_role(Role::Operator, "operator", None);
        let _ = operator.command(&id, "cancel").await.ok();
        self.jumun.reaches(&id, "cancelled").await;
        let cancelled = self.order(&id).await;
        named([("waits", waits), ("closed", closed), ("cancelled", cancelled)])
            .into_iter()
            .map(|(how, journal)| (format!("{preset}-{how}"), journal))
            .collect()
    }

    /// Orders that somebody refuses: a provider, the merchant, time.
    async fn refusals(&self) -> Vec<(String, Journal)> {
        let shop = Shop::open(self.jumun).await;
        let declined = shop.place("tok_declined", 1).await.problem(402, "payment-declined");
        let declined = self.order(&tests::expect_order(&declined)).await;
        // Stock is held, payment declined; here there is none, so that only the shelf is asked.
        let _ = shop.place("tok_ok", 101).await.problem(409, "out-of-stock");

        let shop = Shop::open_with(self.jumun, "food-delivery").await;
        let id = shop.placed().await;
        self.jumun.ask(&id, "reject").await;
        let rejected = self.order(&id).await;

        let hasty = variant("food-delivery", |lifecycle| lifecycle["acceptance"]["window"] = json!("1s"));
        let id = Shop::open_with(self.jumun, hasty).await.placed().await;
        self.jumun.reaches(&id, "rejected").await;
        let not_accepted = self.order(&id).await;
        named([("declined", declined), ("rejected", rejected), ("not-accepted", not_accepted)])
    }

    /// Transfers that never come, that come for nothing, and that come too late.
    async fn deposits(&self) -> Vec<(String, Journal)> {
        let hasty = variant("shopping-mall", |lifecycle| lifecycle["payment"]["deposit_window"] = json!("1s"));
        let id = Shop::open_with(self.jumun, hasty).await.placed().await;
        self.jumun.reaches(&id, "cancelled").await;
        let expired = self.order(&id).await;
        let _ = self.jumun.command(&id, "confirm-deposit").await.problem(409, "command-not-allowed");
        let late = self.recorder.ended("/invoke/late_deposit/give_back", &id).await;

        let shop = Shop::open_with(self.jumun, "shopping-mall").await;
        let answer = self.jumun.post("/v1/orders", &shop.deposit_request(101)).await;
        let id = tests::expect_order(&answer.body);
        self.jumun.ask(&id, "confirm-deposit").await;
        self.jumun.reaches(&id, "cancelled").await;
        let sold_out = self.order(&id).await;
        named([("expired", expired), ("late-deposit", late), ("sold-out", sold_out)])
    }

    /// A webhook that is there at the third attempt.
    async fn messages(&self) -> Vec<(String, Journal)> {
        let shop = Shop::open(self.jumun).await;
        let receiver = Receiver::start().await;
        receiver.answer(&[500, 500]);
        let path = format!("/v1/merchants/{}/webhooks/till", shop.merchant_id);
        let webhook = json!({ "url": format!("{}/hook", receiver.url), "events": ["order_paid"] });
        assert_eq!(self.jumun.put(&path, &webhook).await.status, 201);
        let id = shop.placed().await;
        receiver.receives(3).await;
        let retried = self.recorder.ended("/invoke/message/deliver", &id).await;
        self.jumun.drive(&id, "closed").await;
        named([("message-retried", retried)])
    }

    /// What carries a person's wish to an order.
    async fn commands(&self) -> Vec<(String, Journal)> {
        let shop = Shop::open_with(self.jumun, "pizza").await;
        let id = shop.placed().await;
        self.jumun.ask(&id, "cancel").await;
        let asked = self.recorder.ended(COMMAND, &id).await;
        self.jumun.reaches(&id, "cancelled").await;
        let cancelled = self.order(&id).await;

        let id = shop.placed().await;
        self.jumun.takes(&id, "start-production").await;
        self.jumun.cancel_in_engine(&id).await;
        self.jumun.reaches(&id, "cancelled").await;
        let in_engine = self.order(&id).await;

        // As an API asks that has not seen what became of it.
        let shop = Shop::open(self.jumun).await;
        let id = shop.placed().await;
        self.jumun.drive(&id, "closed").await;
        let request = CommandRequest {
            command: Command::Cancel,
            by: Actor { role: Role::Operator, subject: "operator".to_owned() },
            reason: None,
            follows: true,
        };
        let url = format!("{}/order/{id}/command", self.jumun.ready.engine_ingress);
        let verdict = self.jumun.send(reqwest::Client::new().post(url).json(&request)).await.ok();
        assert_eq!(verdict, "not_allowed");
        let late = self.recorder.ended(COMMAND, &id).await;
        named([
            ("cancelled-in-engine", in_engine),
            ("command-cancel", asked),
            ("command-cancel-late", late),
            ("cancelled-at-gate", cancelled),
        ])
    }

    /// Orders whose providers fail them: one whose cancel comes too late, one that is given up and reversed,
    /// one that is not made known at once.
    async fn disturbed(&self, faults: &Faults) -> Vec<(String, Journal)> {
        let shop = Shop::open(self.jumun).await;
        faults.plan(Step::DeliveryStart, Place::Provider, &[Fault::Slow]);
        let id = shop.placed().await;
        until("the start to be tried", async || faults.all_met().then_some(())).await;
        let _ = self.jumun.command(&id, "cancel").await.problem(409, "command-not-allowed");
        self.jumun.drive(&id, "closed").await;
        let refused = self.order(&id).await;

        faults.plan(Step::PaymentCharge, Place::Provider, &[Fault::LoseReply; 40]);
        let _ = shop.place("tok_ok", 1).await.problem(503, "try-again-later");
        faults.clear();
        let orders = self.jumun.get(&format!("/v1/orders?merchant_id={}", shop.merchant_id)).await.ok();
        let given_up = self.order(&tests::expect_order(&orders["items"][0])).await;

        // What is not made known at once is left to a queue.
        let shop = Shop::open(self.jumun).await;
        let fails = Planned { step: Step::NotificationSend, place: Place::Provider, fault: Fault::Fail, times: 1 };
        faults.script(&shop.merchant_id.parse().expect("an id"), &[fails]);
        let id = shop.placed().await;
        let told = self.recorder.ended("/invoke/notification/send", &id).await;
        self.jumun.drive(&id, "closed").await;
        let queued = self.order(&id).await;
        named([("cancel-refused", refused), ("given-up", given_up), ("notification", told), ("notified-late", queued)])
    }
}

//! The money is all there, and where the orders say that it is: `GET /v1/ledger/proof` and `jumun doctor` say so of
//! whatever orders have lived through, and find what was changed by hand.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use activities::Store;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tests::{Jumun, Scratch, Setup, Shop, Surreal, binary, expect_order, store_of, until};
use workflows::Role;

use crate::shared;

/// What the doctor said.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    lines: Vec<Value>,
    complaint: String,
}

impl Said {
    /// Whether it is said of the order, in a line that tells of something wrong.
    fn finds(&self, check: &str, order_id: &str, says: &str) -> bool {
        self.lines.iter().any(|line| {
            line["check"] == check
                && line["outcome"] == "wrong"
                && line["order_id"] == order_id
                && line["says"].as_str().is_some_and(|said| said.contains(says))
        })
    }

    fn of(&self, check: &str, outcome: &str) -> Vec<&str> {
        let lines = self.lines.iter().filter(|line| line["check"] == check && line["outcome"] == outcome);
        lines.filter_map(|line| line["says"].as_str()).collect()
    }
}

fn doctor(arguments: &[&str]) -> Said {
    doctor_with(Vec::new(), arguments)
}

fn doctor_with(settings: Vec<(String, String)>, arguments: &[&str]) -> Said {
    let mut command = Command::new(binary());
    let output =
        command.envs(settings).arg("doctor").args(arguments).arg("--json").stdin(Stdio::null()).output().expect("runs");
    let lines = String::from_utf8(output.stdout).expect("is text");
    Said {
        code: output.status.code(),
        lines: lines.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect(),
        complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Of a jumun that is stopped.
fn doctor_of(setup: &Setup, arguments: &[&str]) -> Said {
    let directory = setup.data_dir().display().to_string();
    doctor_with(setup.store_settings(), &[&["--data-dir", &directory], arguments].concat())
}

/// Of one that runs, with a token of its own.
fn doctor_at(jumun: &Jumun) -> Said {
    let directory = jumun.ready.data_dir.display().to_string();
    doctor(&["--api", &jumun.ready.api, "--data-dir", &directory])
}

/// Orders of all five lifecycles, each with an end of its own, by what has become of them.
async fn live(jumun: &Jumun) -> BTreeMap<&'static str, String> {
    let mut lived = BTreeMap::new();
    for preset in ["sauce-shop", "shopping-mall", "food-delivery", "street12", "pizza"] {
        let shop = Shop::open_with(jumun, preset).await;
        let id = shop.placed().await;
        jumun.drive(&id, "closed").await;
        lived.insert(preset, id);
    }

    let mall = Shop::open_with(jumun, "shopping-mall").await;
    lived.insert("waiting", mall.placed().await);
    jumun.reaches(&lived["waiting"], "awaiting_deposit").await;
    let uncovered = expect_order(&jumun.post("/v1/orders", &mall.deposit_request(101)).await.ok());
    let _ = jumun.ask(&uncovered, "confirm-deposit").await;
    jumun.reaches(&uncovered, "cancelled").await;
    lived.insert("given back", uncovered);
    let [called_off, late] = [mall.placed().await, mall.placed().await];
    for id in [&called_off, &late] {
        jumun.reaches(id, "awaiting_deposit").await;
        let _ = jumun.ask(id, "cancel").await;
        jumun.reaches(id, "cancelled").await;
    }
    let _ = jumun.command(&late, "confirm-deposit").await.problem(409, "command-not-allowed");
    until("the late transfer to go back", async || (jumun.entries(&late).await.len() == 2).then_some(())).await;
    lived.extend([("called off", called_off), ("late", late)]);

    let food = Shop::open_with(jumun, "food-delivery").await;
    let [offered, refused, accepted] = [food.placed().await, food.placed().await, food.placed().await];
    let _ = jumun.takes(&offered, "accept").await;
    let _ = jumun.ask(&refused, "reject").await;
    jumun.reaches(&refused, "rejected").await;
    let _ = jumun.ask(&accepted, "accept").await;
    let _ = jumun.ask(&accepted, "cancel").await;
    jumun.reaches(&accepted, "cancelled").await;
    lived.extend([("offered", offered), ("refused", refused), ("accepted", accepted)]);

    let sauce = Shop::open_with(jumun, "sauce-shop").await;
    let declined = sauce.place("tok_declined", 1).await;
    lived.insert("declined", expect_order(&declined.problem(402, "payment-declined")));
    let _ = sauce.place("tok_ok", 101).await.problem(409, "out-of-stock");
    jumun.sandbox("payment", "down").await;
    let _ = sauce.place("tok_ok", 1).await.problem(503, "try-again-later");
    let _ = jumun.get("/v1/ledger/proof").await.problem(503, "upstream-unavailable");
    jumun.sandbox("payment", "up").await;
    let lost = sauce.place("tok_lost_reply", 1).await.ok();
    jumun.drive(&expect_order(&lost), "closed").await;
    lived.insert("lost", expect_order(&lost));
    jumun.sandbox("delivery", "down").await;
    let cancelled = sauce.placed().await;
    let _ = jumun.ask(&cancelled, "cancel").await;
    jumun.sandbox("delivery", "up").await;
    jumun.reaches(&cancelled, "cancelled").await;
    lived.insert("cancelled", cancelled);
    lived
}

/// What stands in the proof of these.
fn is_proof_of(proof: &Value, lived: &BTreeMap<&'static str, String>) {
    // Beside them one that was out of stock, and one that payment was not there for.
    assert_eq!(proof["orders"], lived.len() + 2, "{proof:#}");
    // Paid and not given back: the five, the one that is offered, and the one whose reply was lost.
    let charged = 7 + ["given back", "late", "refused", "accepted", "cancelled"].len() * 2;
    assert_eq!(proof["entries"], charged, "{proof:#}");
    let krw = &proof["currencies"][0];
    assert_eq!((&krw["currency"], &krw["total"], &krw["postings"]), (&json!("KRW"), &json!(0), &json!(charged * 2)));
}

/// Changes the store of a jumun that is stopped: statements by database, with the variable `$id`.
fn corrupt(setup: &Setup, statements: &[(&'static str, &'static str, String)]) {
    // An embedded store stays this process's until it ends, so a copy is changed, and copied back.
    let (store, aside) = (setup.data_dir().join("store"), tempfile::tempdir().expect("a directory"));
    let copy = aside.path().join("store");
    let is_here = !setup.is_elsewhere();
    if is_here {
        copy_files(&store, &copy);
    }
    let url = format!("surrealkv://{}?sync=every", copy.display());
    let (statements, data_dir) = (statements.to_vec(), setup.data_dir());
    let changing = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("starts");
        runtime.block_on(async {
            let store = if is_here { Store::open(&url).await.expect("opens") } else { store_of(&data_dir).await };
            for (database, statement, id) in statements {
                let variables = json!({ "id": id });
                store.database(database).await.expect("opens").run(statement, &variables).await.expect("runs");
            }
        });
        runtime.shutdown_timeout(Duration::from_secs(10));
    });
    changing.join().expect("no panic");
    if is_here {
        std::fs::remove_dir_all(&store).expect("removes");
        copy_files(&copy, &store);
    }
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("creates");
    for path in std::fs::read_dir(from).expect("a directory").map(|entry| entry.expect("readable").path()) {
        let to = to.join(path.file_name().expect("has a name"));
        if path.is_dir() {
            copy_files(&path, &to);
        } else {
            std::fs::copy(&path, &to).expect("copies");
        }
    }
}

fn payment_of(order_id: &str) -> String {
    order_id.replacen("ord_", "pay_", 1)
}

#[tokio::test]
async fn what_was_changed_by_hand_is_found_stopped_and_running() {
    let setup = Setup::new();
    let jumun = setup.start().await;
    let lived = live(&jumun).await;
    is_proof_of(&jumun.proves_clean().await, &lived);
    assert_eq!(jumun.stop(), Some(0));
    let said = doctor_of(&setup, &[]);
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert!(said.of("money", "fine")[0].contains("balanced") && said.of("orders", "fine").len() == 1, "{said:#?}");

    let of = |name: &str| payment_of(&lived[name]);
    let order = |name: &str| lived[name].clone();
    corrupt(
        &setup,
        &[
            ("payments", "UPDATE ledger SET postings[0].amount.amount = 1 WHERE payment_id = $id", of("pizza")),
            ("payments", "DELETE ledger WHERE payment_id = $id", of("street12")),
            ("payments", "DELETE type::record('ledger', [$id, 'refund'])", of("late")),
            ("payments", "UPDATE type::record('payments', $id) SET state = 'refunded'", of("food-delivery")),
            ("payments", "UPDATE type::record('payments', $id) SET state = 'approved'", of("refused")),
            ("payments", "UPDATE type::record('payments', $id) SET state = 'lost'", of("called off")),
            ("payments", "UPDATE type::record('payments', $id) SET amount.amount = 1", of("lost")),
            ("payments", "DELETE type::record('payments', $id)", of("given back")),
            ("payments", "DELETE type::record('payments', $id); DELETE ledger WHERE payment_id = $id", of("offered")),
            (
                "orders",
                "UPDATE type::record('orders', $id) SET doc = object::extend(encoding::json::decode(doc), { status: 'closed' })",
                order("cancelled"),
            ),
            (
                "orders",
                "UPDATE type::record('orders', $id) SET doc = object::extend(encoding::json::decode(doc), { status: 'cancelled' })",
                order("sauce-shop"),
            ),
            (
                "orders",
                "UPDATE type::record('orders', $id) SET doc = object::extend(encoding::json::decode(doc), { status: 'paid' })",
                order("declined"),
            ),
            ("orders", "DELETE type::record('orders', $id)", order("accepted")),
        ],
    );
    let money = [
        ("pizza", "ledger", "a charge of 9000 KRW"),
        ("street12", "ledger", "a charge of 9000 KRW"),
        ("late", "ledger", "a refund of 9000 KRW"),
        ("food-delivery", "state", "that is approved"),
        ("refused", "state", "that is refunded"),
        ("called off", "unreadable", "cannot be read"),
        ("lost", "terms", "1 KRW by card"),
        ("given back", "payment_missing", "no payment, booked: deposit"),
        ("offered", "payment_missing", "no payment, nothing booked"),
        ("cancelled", "state", "that is refunded"),
        ("sauce-shop", "state", "that is approved"),
        ("declined", "state", "that is declined"),
        ("accepted", "order_missing", "expected an order"),
    ];
    let said = doctor_of(&setup, &[]);
    assert_eq!(said.code, Some(1), "{said:#?}");
    for (name, _, says) in money {
        assert!(said.finds("money", &lived[name], says), "{name}: {said:#?}");
    }
    let views = [("cancelled", "\"closed\""), ("sauce-shop", "\"cancelled\""), ("declined", "\"paid\"")];
    for (name, status) in views {
        let says = format!("the view's status is {status}");
        assert!(said.finds("orders", &lived[name], &says), "{name}: {said:#?}");
    }
    assert!(said.finds("orders", &lived["accepted"], "there is no such order"), "{said:#?}");
    let others = ["shopping-mall", "waiting"].map(|name| &lived[name]);
    for line in &said.lines {
        assert!(others.iter().all(|other| line["order_id"] != other.as_str()), "a false alarm: {line}");
    }

    let again = setup.start().await;
    let proof = again.proof().await;
    assert_eq!(proof["clean"], false);
    let found = proof["disagreements"]["items"].as_array().expect("a list");
    for (name, mismatch, _) in money {
        let is_it = |item: &&Value| item["order_id"] == lived[name].as_str();
        let item = found.iter().find(is_it).unwrap_or_else(|| panic!("{name} is not found: {proof:#}"));
        assert_eq!(item["mismatch"], mismatch, "{item:#}");
    }
    assert_eq!(proof["disagreements"]["count"], money.len(), "{proof:#}");
    assert_eq!(
        (&proof["unbalanced"]["count"], &proof["unbalanced"]["items"][0]["payment_id"]),
        (&json!(1), &json!(of("pizza")))
    );
    assert_eq!(proof["currencies"][0]["total"], 1 - 9_000);
    let said = doctor_at(&again);
    assert_eq!(said.code, Some(1), "{said:#?}");
    for (name, _, says) in money {
        assert!(said.finds("money", &lived[name], says), "{name}: {said:#?}");
    }
}

#[tokio::test]
async fn the_money_of_orders_in_two_kinds_of_store_is_proved_as_one() {
    let payments = Scratch::create().await;
    let setup = Setup::new().configured(&format!("[payment]\nstore = \"{}\"", payments.url));
    let jumun = setup.start().await;
    let lived = live(&jumun).await;
    is_proof_of(&jumun.proves_clean().await, &lived);
    assert_eq!(jumun.stop(), Some(0));
    let config = setup.data_dir().with_file_name("jumun.toml");
    let config = ["--config", config.to_str().expect("Unicode")];
    let said = doctor_of(&setup, &config);
    assert_eq!(said.code, Some(0), "{said:#?}");

    // The schema refuses all of it, unless somebody takes it out of the way.
    let mut psql = PgConnection::connect(&payments.url).await.expect("connects");
    let [changed, emptied, flipped] = ["pizza", "street12", "refused"].map(|name| payment_of(&lived[name]));
    let statements = format!(
        "ALTER TABLE postings DISABLE TRIGGER USER; ALTER TABLE entries DISABLE TRIGGER USER;
         UPDATE postings SET amount = 1 WHERE payment_id = '{changed}' AND number = 1;
         DELETE FROM postings WHERE payment_id = '{emptied}'; DELETE FROM entries WHERE payment_id = '{emptied}';
         UPDATE payments SET state = 'approved' WHERE id = '{flipped}'"
    );
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut psql).await.expect("changes");
    let said = doctor_of(&setup, &config);
    assert_eq!(said.code, Some(1), "{said:#?}");
    let money = [("pizza", "charge of 9000 KRW"), ("street12", "nothing booked"), ("refused", "that is refunded")];
    for (name, says) in money {
        assert!(said.finds("money", &lived[name], says), "{name}: {said:#?}");
    }
    let again = setup.start().await;
    let proof = again.proof().await;
    assert_eq!((&proof["disagreements"]["count"], &proof["unbalanced"]["count"]), (&json!(3), &json!(1)), "{proof:#}");
}

#[tokio::test]
async fn orders_that_move_raise_no_alarm() {
    let jumun = shared().await;
    let shops = ["sauce-shop", "shopping-mall", "pizza"].map(|preset| Shop::open_with(jumun, preset));
    let shops = futures::future::join_all(shops).await;
    let moving = futures::future::join_all((0..9).map(async |n| {
        let shop = &shops[n % shops.len()];
        let id = shop.placed().await;
        // The sauce shop's customers are too late for that.
        if n % 3 > 0 && n % 2 > 0 {
            let _ = jumun.ask(&id, "cancel").await;
            jumun.reaches(&id, "cancelled").await;
        } else {
            jumun.drive(&id, "closed").await;
        }
    }));
    let proving = async {
        let mut orders = 0;
        // The other tests of this process move orders there, too.
        for _ in 0..10 {
            orders = jumun.proves_clean().await["orders"].as_u64().expect("a number");
        }
        orders
    };
    let (_, orders) = futures::join!(moving, proving);
    assert!(orders > 0);
    assert!(jumun.proves_clean().await["orders"].as_u64() >= Some(9));
}

#[tokio::test]
async fn the_doctor_says_what_is_down_and_where_it_cannot_look() {
    let jumun = Jumun::ephemeral().await;
    let shop = Shop::open(&jumun).await;
    shop.placed().await;
    let healthy = doctor_at(&jumun);
    assert_eq!(healthy.code, Some(0), "{healthy:#?}");
    for check in ["api", "clock", "version", "contexts", "stuck", "money"] {
        assert!(!healthy.of(check, "fine").is_empty(), "{check}: {healthy:#?}");
    }
    assert_eq!(healthy.of("contexts", "fine").len(), 5, "{healthy:#?}");

    jumun.sandbox("payment", "down").await;
    let ill = doctor_at(&jumun);
    assert_eq!(ill.code, Some(1), "{ill:#?}");
    assert!(ill.of("contexts", "wrong")[0].contains("payment"), "{ill:#?}");
    assert_eq!((ill.of("sandbox", "wrong").len(), ill.of("money", "wrong").len()), (1, 1), "{ill:#?}");

    let stranger = doctor(&["--api", &jumun.ready.api, "--token", "nobody's"]);
    assert!(stranger.code == Some(1) || stranger.code == Some(3), "{stranger:#?}");
    assert!(stranger.of("stuck", "unseen")[0].contains("JUMUN_TOKEN"), "{stranger:#?}");
    let _ = jumun.as_role(Role::Merchant, "m", Some("pizza")).get("/v1/ledger/proof").await.problem(403, "forbidden");

    let directory = jumun.ready.data_dir.display().to_string();
    let store = Surreal::named().map(|store| store.settings()).unwrap_or_default();
    let held = doctor_with(store, &["--data-dir", &directory]);
    assert!(held.code == Some(3) && held.complaint.contains("--api"), "{held:#?}");
    let nobody = doctor(&["--api", "http://127.0.0.1:1"]);
    assert_eq!((nobody.code, nobody.of("api", "unseen").len()), (Some(3), 1), "{nobody:#?}");
    let empty = tempfile::tempdir().expect("a directory");
    let nothing = doctor(&["--data-dir", empty.path().to_str().expect("Unicode")]);
    assert!(nothing.code == Some(3) && is_empty(empty.path()), "it leaves nothing behind: {nothing:#?}");
    assert_eq!(doctor(&["--api", "ftp://here"]).code, Some(2));
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).expect("a directory").next().is_none()
}

//! `jumun backup` and `jumun restore`: the engine's journal and the stores, at one moment, on another place and other
//! ports; and what is refused.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tests::{Jumun, Scratch, Setup, Shop, binary, expect_order, until, variant};

/// Long enough for the system to be stopped, saved, restored and started before it has passed.
const WINDOW: &str = "20s";

fn jumun(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).stdin(Stdio::null()).output().expect("the binary runs")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("Unicode")
}

/// Saves a data directory; what it says on standard output and on standard error.
fn back_up(data_dir: &Path, file: &Path, more: &[&str]) -> (Value, String) {
    let output = jumun(&[&["backup", "--json", "--data-dir", path(data_dir), "--to", path(file)], more].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    (serde_json::from_slice(&output.stdout).expect("a line of JSON"), said)
}

fn restore(file: &Path, data_dir: &Path) -> Output {
    jumun(&["restore", "--json", "--from", path(file), "--data-dir", path(data_dir)])
}

#[track_caller]
fn refused(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(output.stdout.is_empty(), "complaints go to standard error: {output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// All events, which have to be numbered from 1 without gaps.
async fn feed(jumun: &Jumun) -> Vec<Value> {
    let mut events: Vec<Value> = Vec::new();
    loop {
        let page = jumun.get(&format!("/v1/events?after={}&limit=100", events.len())).await.ok();
        let items = page["items"].as_array().expect("a list");
        if items.is_empty() {
            return events;
        }
        for event in items {
            assert_eq!(event["position"], json!(events.len() + 1), "{event:#?}");
            events.push(event.clone());
        }
    }
}

/// Waits until the order's step is being tried again and again.
async fn backs_off(jumun: &Jumun, order_id: &str, step: &str) {
    until(&format!("{step} of {order_id} to be tried again"), async || {
        let workflow = jumun.try_get(&format!("/v1/orders/{order_id}/workflow")).await.ok()?.body;
        (workflow["state"] == "backing_off" && workflow.to_string().contains(step)).then_some(())
    })
    .await;
}

/// Places an order for one bottle under a key; its id.
async fn place(shop: &Shop<'_>, key: &str) -> String {
    let request = shop.jumun.request(reqwest::Method::POST, "/v1/orders").header("idempotency-key", key);
    let answer = shop.jumun.send(request.json(&shop.request_one())).await;
    assert_eq!(answer.status, 201, "{answer:#?}");
    expect_order(&answer.body)
}

/// Whether something is to become of an order without anybody's doing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Now {
    Rests,
    Moves,
}

/// An order as it was when everything was saved, and what has to become of it.
struct Known {
    order: Value,
    events: Vec<Value>,
    now: Now,
    end: &'static str,
}

#[tokio::test]
async fn a_restored_system_goes_on_where_the_saved_one_was() {
    let setup = Setup::new();
    if setup.is_elsewhere() {
        eprintln!("skipped: a store on a server is saved by the server's own tools");
        return;
    }
    let jumun = setup.start().await;
    let mut shops = BTreeMap::new();
    let mut expected: Vec<(String, Now, &'static str)> = Vec::new();
    for (preset, gate) in [
        ("sauce-shop", "complete-delivery"),
        ("shopping-mall", "confirm-deposit"),
        ("food-delivery", "accept"),
        ("street12", "complete-delivery"),
        ("pizza", "start-production"),
    ] {
        let shop = Shop::open_with(&jumun, preset).await;
        let (closed, waiting) = (shop.placed().await, shop.placed().await);
        jumun.drive(&closed, "closed").await;
        jumun.takes(&waiting, gate).await;
        expected.extend([(closed, Now::Rests, "closed"), (waiting, Now::Rests, "closed")]);
        shops.insert(preset, shop);
    }
    let sauces = &shops["sauce-shop"];
    let rejected = expect_order(&sauces.place("tok_declined", 1).await.body);
    let cancelled = shops["pizza"].placed().await;
    let _ = jumun.ask(&cancelled, "cancel").await;
    jumun.reaches(&cancelled, "cancelled").await;
    expected.extend([(rejected.clone(), Now::Rests, "rejected"), (cancelled, Now::Rests, "cancelled")]);

    // Two that fail on their way; one of them is then called off, and fails on its way back.
    jumun.sandbox("delivery", "down").await;
    let (stuck, unwinding) = (place(sauces, "stuck").await, place(sauces, "unwinding").await);
    for id in [&stuck, &unwinding] {
        backs_off(&jumun, id, "delivery.request").await;
    }
    let soon = variant("food-delivery", |lifecycle| lifecycle["acceptance"]["window"] = json!(WINDOW));
    let hurried = Shop::open_with(&jumun, soon).await.placed().await;
    jumun.takes(&hurried, "accept").await;
    assert_eq!(jumun.command(&unwinding, "cancel").await.ok()["status"], "cancelling");
    backs_off(&jumun, &unwinding, "delivery.cancel").await;
    expected.extend([
        (stuck.clone(), Now::Moves, "closed"),
        (unwinding, Now::Moves, "cancelled"),
        (hurried, Now::Rests, "rejected"),
    ]);

    let mut known = BTreeMap::new();
    for (id, now, end) in expected {
        let (order, events) = (jumun.order(&id).await, jumun.events(&id).await);
        known.insert(id, Known { order, events, now, end });
    }
    let told = feed(&jumun).await;
    assert_eq!(jumun.stop(), Some(0));

    let (elsewhere, file) = (Setup::new(), setup.data_dir().with_file_name("saved.tar.gz"));
    let (saved, said) = back_up(&setup.data_dir(), &file, &[]);
    assert_eq!((&saved["elsewhere"], said.as_str()), (&json!([]), ""), "everything is in it: {saved}");
    assert_eq!(fs::metadata(&file).expect("is there").permissions().mode() & 0o777, 0o600, "there are keys in it");
    fs::remove_dir_all(setup.data_dir()).expect("is gone");
    let restored = restore(&file, &elsewhere.data_dir());
    assert!(restored.status.success(), "{restored:?}");

    // Somewhere else, and on other ports.
    let again = elsewhere.start().await;
    let shops: BTreeMap<_, _> = shops.into_iter().map(|(preset, shop)| (preset, shop.within(&again))).collect();
    for (id, Known { order, events, now, .. }) in &known {
        if *now == Now::Rests {
            assert_eq!(again.order(id).await, *order);
        }
        assert_eq!(again.events(id).await[..events.len()], *events);
    }
    assert_eq!(place(&shops["sauce-shop"], "stuck").await, stuck, "the same key, the same order");
    for (id, Known { end, .. }) in &known {
        if *end == "closed" {
            again.drive(id, end).await;
        } else {
            again.reaches(id, end).await;
        }
        again.settles(id).await;
        again.each_fact_once(id).await;
    }
    let sold = [("sauce-shop", 3), ("shopping-mall", 2), ("street12", 2), ("food-delivery", 0), ("pizza", 0)];
    for (preset, sold) in sold {
        assert_eq!(shops[preset].shelf("chili").await, (100 - sold, 0, 100 - sold), "{preset}");
    }
    let later = feed(&again).await;
    assert_eq!(later[..told.len()], told, "positions stay, and go on without a gap");
    assert!(later.len() > told.len());
}

/// Every step of an order that is taken a second time finds its payment as it is: it is derived from the order. An order
/// that was placed after the rest was saved is found again by the key of its customer.
#[tokio::test]
async fn payments_that_are_newer_than_the_rest_are_not_made_twice() {
    let payments = Scratch::create().await;
    let setup = Setup::new().configured(&format!("[payment]\nstore = \"{}\"\n", payments.url));
    if setup.is_elsewhere() {
        eprintln!("skipped: a store on a server is saved by the server's own tools");
        return;
    }
    let jumun = setup.start().await;
    let mall = Shop::open_with(&jumun, "shopping-mall").await;
    let street = Shop::open_with(&jumun, "street12").await;
    let (paid, cancelled) = (mall.placed().await, place(&street, "cancelled").await);
    jumun.takes(&paid, "confirm-deposit").await;
    jumun.takes(&cancelled, "complete-delivery").await;
    assert_eq!(jumun.stop(), Some(0));
    let file = setup.data_dir().with_file_name("saved.tar.gz");
    let (saved, said) = back_up(&setup.data_dir(), &file, &["--payment-store", &payments.url]);
    let place_of_payments = saved["elsewhere"][0]["place"].as_str().expect("is elsewhere");
    assert!(place_of_payments.starts_with("postgres://") && saved["elsewhere"][0]["context"] == "payment", "{saved}");
    assert!(said.contains(place_of_payments) && said.contains("not in the backup"), "{said}");

    let jumun = setup.start().await;
    let (mall, street) = (mall.within(&jumun), street.within(&jumun));
    jumun.drive(&paid, "closed").await;
    assert_eq!(jumun.command(&cancelled, "cancel").await.status, 200);
    jumun.reaches(&cancelled, "cancelled").await;
    let new = place(&street, "new").await;
    jumun.drive(&new, "closed").await;
    assert_eq!(jumun.stop(), Some(0));
    fs::remove_dir_all(setup.data_dir()).expect("is gone");
    assert!(restore(&file, &setup.data_dir()).status.success());

    let jumun = setup.start().await;
    let (mall, street) = (mall.within(&jumun), street.within(&jumun));
    assert_eq!(jumun.order(&paid).await["status"], "awaiting_deposit");
    assert_eq!(jumun.order(&cancelled).await["status"], "in_delivery");
    let _ = jumun.get(&format!("/v1/orders/{new}")).await.problem(404, "not-found");
    jumun.drive(&paid, "closed").await;
    assert_eq!(jumun.command(&cancelled, "cancel").await.status, 200);
    jumun.reaches(&cancelled, "cancelled").await;
    assert_eq!(place(&street, "new").await, new);
    jumun.drive(&new, "closed").await;
    for (id, kinds) in [(&paid, &["deposit"][..]), (&cancelled, &["charge", "refund"]), (&new, &["charge"])] {
        assert_eq!(jumun.entries(id).await, kinds);
        jumun.settles(id).await;
    }
    assert_eq!(mall.shelf("chili").await, (99, 0, 99));
    assert_eq!(street.shelf("chili").await, (99, 0, 99));
}

#[tokio::test]
async fn a_running_system_is_not_saved() {
    let setup = Setup::new();
    let jumun = setup.start().await;
    let file = setup.data_dir().with_file_name("saved.tar.gz");
    let arguments = ["backup", "--data-dir", path(&setup.data_dir()), "--to", path(&file)].map(str::to_owned);
    let output = self::jumun(&arguments.each_ref().map(String::as_str));
    let complaint = refused(&output, 3);
    assert!(complaint.contains("in use by another jumun (pid "), "{complaint}");
    assert!(!file.exists());
    assert_eq!(jumun.get("/readyz").await.status, 200);
}

/// A data directory as jumun leaves it, as far as saving it goes.
fn data_dir() -> Setup {
    let setup = Setup::new();
    let dir = setup.data_dir();
    fs::create_dir_all(dir.join("store/wal")).expect("makes");
    fs::create_dir_all(dir.join("providers/stock")).expect("makes");
    fs::write(dir.join("format"), "{\"format\":1}\n").expect("writes");
    fs::write(dir.join("store/wal/0.wal"), "what was written last".repeat(1_000)).expect("writes");
    fs::write(dir.join("providers/stock/data"), "on hand").expect("writes");
    setup
}

#[test]
fn nothing_is_saved_over_anything_or_from_nowhere() {
    let setup = data_dir();
    let file = setup.data_dir().with_file_name("saved.tar.gz");
    back_up(&setup.data_dir(), &file, &[]);
    let before = fs::read(&file).expect("is there");
    let to = |data_dir: &Path, to: &Path| jumun(&["backup", "--data-dir", path(data_dir), "--to", path(to)]);
    assert!(refused(&to(&setup.data_dir(), &file), 3).contains("exists already"));
    assert_eq!(fs::read(&file).expect("is there"), before);
    let inside = setup.data_dir().join("store").join("saved.tar.gz");
    assert!(refused(&to(&setup.data_dir(), &inside), 3).contains("lies in the data directory itself"));
    let nowhere = file.with_file_name("nowhere");
    assert!(refused(&to(&nowhere, &file.with_file_name("b.tar.gz")), 3).contains("no jumun's data"));
    assert!(!nowhere.exists());
    let nobody = file.with_file_name("none").join("b.tar.gz");
    assert!(refused(&to(&setup.data_dir(), &nobody), 1).contains("b.tar.gz"));
}

#[tokio::test]
async fn a_provider_that_runs_on_the_directory_is_told_apart() {
    let setup = data_dir();
    fs::remove_dir_all(setup.data_dir().join("providers/stock")).expect("removes");
    let store = format!("surrealkv://{}", setup.data_dir().join("providers/stock").display());
    let provider = tests::Provider::start("stock", &store).await;
    let file = setup.data_dir().with_file_name("saved.tar.gz");
    let arguments = ["backup", "--data-dir", path(&setup.data_dir()), "--to", path(&file)].map(str::to_owned);
    let output = jumun(&arguments.each_ref().map(String::as_str));
    assert!(refused(&output, 3).contains("providers/stock is in use by another process"), "{output:?}");
    drop(provider);
    back_up(&setup.data_dir(), &file, &[]);
}

#[test]
fn what_cannot_be_restored_is_refused_and_leaves_nothing_behind() {
    let setup = data_dir();
    let file = setup.data_dir().with_file_name("saved.tar.gz");
    let (saved, _) = back_up(&setup.data_dir(), &file, &[]);
    assert_eq!(saved["data_files"], 3, "{saved}");
    let into = setup.data_dir().with_file_name("restored");

    // Over data.
    fs::create_dir(&into).expect("makes");
    fs::write(into.join("precious"), "mine").expect("writes");
    assert!(refused(&restore(&file, &into), 3).contains("is not empty"));
    let left: Vec<_> = fs::read_dir(&into).expect("reads").map(|entry| entry.expect("is one").file_name()).collect();
    assert_eq!(left, ["precious"]);
    fs::remove_dir_all(&into).expect("removes");

    // Cut short, or not as it was.
    let whole = fs::read(&file).expect("is there");
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 0xff;
    for bytes in [&whole[..whole.len() - 9], &whole[..whole.len() / 2], &changed, b"no backup at all", b""] {
        let broken = file.with_file_name("broken.tar.gz");
        fs::write(&broken, bytes).expect("writes");
        let complaint = refused(&restore(&broken, &into), 1);
        assert!(complaint.contains("cannot be restored, and nothing was changed"), "{complaint}");
        assert!(!into.exists());
    }
    assert!(refused(&restore(&file.with_file_name("none"), &into), 1).contains("cannot read"));

    // And the whole one is none of that.
    let restored = restore(&file, &into);
    assert!(restored.status.success(), "{restored:?}");
    for kept in ["format", "store/wal/0.wal", "providers/stock/data"] {
        assert_eq!(
            fs::read(into.join(kept)).expect("is there"),
            fs::read(setup.data_dir().join(kept)).expect("is there")
        );
    }
}

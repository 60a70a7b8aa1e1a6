//! `jumun rebuild`: views and tallies that were damaged by hand become what the events tell.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tests::{DEADLINE, Jumun, Setup, Shop, binary, expect_order, store_of};

fn rebuild(setup: &Setup, more: &[&str]) -> Output {
    let data_dir = setup.data_dir();
    let data_dir = data_dir.to_str().expect("Unicode");
    // Of a server's store nobody can tell who else writes to it.
    let nobody_writes: &[&str] = if setup.is_elsewhere() { &["--nobody-writes"] } else { &[] };
    let arguments = [&["rebuild", "--json", "--data-dir", data_dir], nobody_writes, more].concat();
    Command::new(binary())
        .args(arguments)
        .envs(setup.store_settings())
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

#[track_caller]
fn told(output: &Output, code: i32) -> Value {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("a line of JSON")
}

const TEST: &str = "rebuild::damaged_views_become_what_the_events_tell";
/// Says in the environment which store is to be changed, and how.
const STORE: &str = "JUMUN_TEST_DAMAGE_STORE";
const STATEMENTS: &str = "JUMUN_TEST_DAMAGE_STATEMENTS";

/// Changes the stopped system's database of orders: in a process of its own, because one that has opened a store lets it
/// go only when it ends.
fn damage(setup: &Setup, statements: &str) {
    let changing = Command::new(std::env::current_exe().expect("a running test has a path"))
        .args(["--exact", TEST])
        .env(STORE, setup.data_dir())
        .env(STATEMENTS, statements)
        .output()
        .expect("the test runs");
    assert!(changing.status.success(), "{changing:?}");
    assert!(String::from_utf8_lossy(&changing.stdout).contains("1 passed"), "{changing:?}");
}

/// What the process of its own does.
async fn change(store: &str) {
    let store = tokio::time::timeout(DEADLINE, store_of(Path::new(store))).await.expect("in time");
    let orders = store.database("orders").await.expect("opens");
    orders.define(&std::env::var(STATEMENTS).expect("is set with the store")).await.expect("writes");
}

/// All that readers see of the orders, but for times that pass.
async fn seen(jumun: &Jumun) -> Vec<Value> {
    let mut seen = Vec::new();
    for path in ["/v1/orders?limit=200", "/v1/orders?status=closed&limit=200", "/v1/dashboard", "/v1/events?limit=200"]
    {
        seen.push(jumun.get(path).await.ok());
    }
    for order in seen[0]["items"].as_array().expect("a list").clone() {
        let id = order["id"].as_str().expect("an id").to_owned();
        seen.push(jumun.order(&id).await);
    }
    seen
}

#[tokio::test]
async fn damaged_views_become_what_the_events_tell() {
    if let Ok(store) = std::env::var(STORE) {
        return change(&store).await;
    }
    let setup = Setup::new();
    let jumun = setup.start().await;
    let (sauces, pizzas) = (Shop::open(&jumun).await, Shop::open_with(&jumun, "pizza").await);
    let (closed, waiting, other) = (sauces.placed().await, sauces.placed().await, pizzas.placed().await);
    let rejected = expect_order(&sauces.place("tok_declined", 1).await.body);
    jumun.drive(&closed, "closed").await;
    jumun.takes(&waiting, "complete-delivery").await;
    jumun.takes(&other, "start-production").await;
    let before = seen(&jumun).await;
    if !setup.is_elsewhere() {
        let in_use = rebuild(&setup, &[]);
        assert_eq!(in_use.status.code(), Some(3), "{in_use:?}");
        assert!(String::from_utf8_lossy(&in_use.stderr).contains("in use by another jumun"), "{in_use:?}");
    }
    assert_eq!(jumun.stop(), Some(0));

    let whole = told(&rebuild(&setup, &[]), 0);
    let counts = ["different", "missing", "strays", "tallies", "takings"];
    assert!(counts.iter().all(|count| whole[count] == 0), "{whole}");
    assert_eq!(whole["orders"], 4);

    damage(
        &setup,
        &format!(
            "UPDATE orders:{closed} SET status = 'paid', doc = object::extend(encoding::json::decode(doc), {{ status: 'paid' }});
             DELETE orders:{waiting};
             UPDATE orders:{rejected} SET merchant_id = 'nobody', place = '0';
             CREATE orders:ord_00000000000000000000000000000000 SET status = 'paid', place = '1';
             DELETE tallies; UPDATE takings SET revenue += 1000;"
        ),
    );
    let dry = told(&rebuild(&setup, &["--dry-run"]), 1);
    let numbers = counts.map(|count| dry[count].as_u64().expect("a number"));
    assert_eq!(numbers[..4], [2, 1, 1, 2], "{dry}");
    assert!(numbers[4] >= 2, "of each shop in each hour: {dry}");
    assert_eq!(dry["examples"].as_array().map(Vec::len), Some(4), "{dry}");
    assert_eq!(told(&rebuild(&setup, &[]), 0), dry, "a dry run changes nothing, and says what would be");
    assert_eq!(told(&rebuild(&setup, &["--dry-run"]), 0), whole);

    let again = setup.start().await;
    assert_eq!(seen(&again).await, before);
    for id in [&waiting, &other] {
        again.drive(id, "closed").await;
    }
    let dashboard = again.get("/v1/dashboard").await.ok();
    let closed = dashboard["statuses"].as_array().expect("a list").iter().find(|row| row["status"] == json!("closed"));
    assert_eq!(closed.expect("is counted")["orders"], 3);
    assert_eq!(again.stop(), Some(0));

    // What cannot be rebuilt is named, and left alone.
    damage(&setup, &format!("DELETE type::record('events', ['{other}', 1])"));
    let broken = rebuild(&setup, &[]);
    assert_eq!(told(&broken, 1)["unreadable"], json!([other]));
    assert!(String::from_utf8_lossy(&broken.stderr).contains("the events of 1 orders cannot be read"), "{broken:?}");
}

//! A disk that fills up, and one that cannot be written: jumun stops with a clear word, loses nothing that it answered,
//! and goes on where it was as soon as that is mended.
//!
//! The disks are small ones in memory, mounted by the test in a user and a mount namespace of its own, for which nobody
//! has to be root.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::statvfs::statvfs;
use serde_json::{Value, json};
use tests::{Answer, Provider, Setup, Shop, binary, expect_order, until};

const MIB: u64 = 1024 * 1024;
/// The engine sets some 300 MiB aside for its logs.
const SIZE: u64 = 1024 * MIB;
/// Says in the environment that a test may mount.
const MAY_MOUNT: &str = "JUMUN_TEST_MAY_MOUNT";
/// For machines that let nobody make a namespace.
const WITHOUT: &str = "JUMUN_TEST_WITHOUT_MOUNTS";

/// Whether this process may mount. One that may not runs the test in another that may.
fn may_mount(test: &str) -> bool {
    if std::env::var_os(MAY_MOUNT).is_some() {
        return true;
    }
    if std::env::var_os(WITHOUT).is_some() {
        eprintln!("SKIPPED: {test}, because {WITHOUT} is set");
        return false;
    }
    let again = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(std::env::current_exe().expect("a running test has a path"))
        .args(["--exact", test, "--nocapture"])
        .env(MAY_MOUNT, "1")
        .output()
        .expect("unshare is on PATH: it is in util-linux");
    let said = format!("{}{}", String::from_utf8_lossy(&again.stdout), String::from_utf8_lossy(&again.stderr));
    assert!(
        again.status.success() && said.contains("1 passed"),
        "{test} did not pass in namespaces of its own (where the machine allows none, {WITHOUT}=1 skips it):\n{said}"
    );
    false
}

fn mount(arguments: &[&str]) {
    let output = Command::new(arguments[0]).args(&arguments[1..]).output().expect("is in util-linux");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// A small disk with the data directory of a system on it.
struct Disk {
    setup: Setup,
    dir: PathBuf,
}

impl Disk {
    fn new() -> Self {
        let setup = Setup::new();
        let dir = setup.data_dir();
        fs::create_dir(&dir).expect("makes");
        mount(&["mount", "-t", "tmpfs", "-o", &format!("size={SIZE}"), "none", text(&dir)]);
        Self { setup, dir }
    }

    fn free(&self) -> u64 {
        let found = statvfs(&self.dir).expect("is mounted");
        found.blocks_available() * found.fragment_size()
    }

    /// Leaves so many bytes free.
    fn fill(&self, leave: u64) {
        while self.free() > leave {
            let more = self.free() - leave;
            let file = OpenOptions::new().append(true).create(true).open(self.filler()).expect("opens");
            let length = file.metadata().expect("is there").len() + more;
            // Some of it may be gone already.
            let _ = Command::new("fallocate")
                .args(["--length", &length.to_string(), text(&self.filler())])
                .stderr(Stdio::null())
                .status()
                .expect("is in util-linux");
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).expect("is there");
    }

    fn filler(&self) -> PathBuf {
        self.dir.join("filler")
    }

    /// Tries to start jumun here, which is refused, saying `what`.
    fn refuses(&self, what: &str) {
        let output: Output =
            Command::new(binary()).args(self.setup.arguments()).stdin(Stdio::null()).output().expect("the binary runs");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{complaint}");
        assert!(complaint.contains(what) && complaint.contains(text(&self.dir)), "{complaint}");
        assert!(complaint.lines().count() == 1, "one clear word: {complaint}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Not before the engine of a process that was killed is gone; at the latest with the namespace.
        let _ = Command::new("umount").arg("--lazy").arg(&self.dir).status();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("Unicode")
}

async fn place(shop: &Shop<'_>, n: usize) -> Option<Answer> {
    let request =
        shop.jumun.request(reqwest::Method::POST, "/v1/orders").header("idempotency-key", format!("disk-{n}"));
    shop.jumun.try_send(request.json(&shop.request_one())).await.ok()
}

/// The order of an answer that promises one.
fn promised(answer: &Answer) -> Option<String> {
    match answer.status {
        201 => Some(expect_order(&answer.body)),
        202 => Some(answer.header("location").rsplit('/').next().expect("an id").to_owned()),
        _ => None,
    }
}

/// Fills the disk while orders are placed, until jumun stops; then makes room, and drives every order to its end.
async fn fills_up(leave: u64) {
    let disk = Disk::new();
    let jumun = disk.setup.start().await;
    let shop = Shop::open(&jumun).await;
    shop.put_product("chili", 9_000, 1_000).await;
    let before: Vec<_> = futures::future::join_all((0..5).map(|n| place(&shop, n))).await;
    let mut answered: BTreeMap<usize, String> = before
        .iter()
        .enumerate()
        .map(|(n, answer)| (n, promised(answer.as_ref().expect("answers")).expect("stands")))
        .collect();
    let placing = async {
        let mut placed = Vec::new();
        for n in 5.. {
            // It listens no more once it has stopped.
            let Some(answer) = place(&shop, n).await else { return placed };
            placed.push((n, answer));
        }
        placed
    };
    let filling = async {
        // The first of those that are placed meanwhile.
        until("an order more", async || {
            let listed = jumun.try_get(&format!("/v1/orders?merchant_id={}", shop.merchant_id)).await.ok()?;
            (listed.body["items"].as_array()?.len() > 6).then_some(())
        })
        .await;
        disk.fill(leave);
        jumun.ended().await
    };
    let (placed, ended) = futures::join!(placing, filling);
    assert_eq!(ended, Some(4));
    for (n, answer) in &placed {
        assert!(answer.status < 300 || answer.status == 503, "{answer:#?}");
        answered.extend(promised(answer).map(|id| (*n, id)));
    }
    disk.refuses("no space left");

    disk.make_room();
    let again = disk.setup.start().await;
    let shop = shop.within(&again);
    // Up to the one that was never answered, which may have been taken all the same.
    for n in 0..=placed.len() + 5 {
        let answer = until("an answer", async || place(&shop, n).await.filter(|answer| answer.status < 300)).await;
        let id = promised(&answer).expect("stands");
        assert_eq!(*answered.entry(n).or_insert_with(|| id.clone()), id, "the same key, the same order");
    }
    for id in answered.values() {
        again.drive(id, "closed").await;
        again.settles(id).await;
        again.each_fact_once(id).await;
    }
    let sold = i64::try_from(answered.len()).expect("few");
    assert_eq!(shop.shelf("chili").await, (1_000 - sold, 0, 1_000 - sold));
    let mut positions = 0;
    loop {
        let page = again.get(&format!("/v1/events?after={positions}&limit=100")).await.ok();
        let page = page["items"].as_array().expect("a list");
        if page.is_empty() {
            break;
        }
        for event in page {
            positions += 1;
            assert_eq!(event["position"], positions, "without gaps: {event:#?}");
        }
    }
    assert_eq!(again.stop(), Some(0));
}

#[tokio::test]
async fn on_a_disk_that_fills_up_jumun_stops_while_there_is_room_for_that() {
    if may_mount("disk::on_a_disk_that_fills_up_jumun_stops_while_there_is_room_for_that") {
        fills_up(100 * MIB).await;
    }
}

#[tokio::test]
async fn on_a_disk_that_is_full_all_of_a_sudden_nothing_is_lost() {
    if may_mount("disk::on_a_disk_that_is_full_all_of_a_sudden_nothing_is_lost") {
        fills_up(0).await;
    }
}

#[tokio::test]
async fn on_a_disk_that_is_read_only_jumun_does_not_start() {
    if !may_mount("disk::on_a_disk_that_is_read_only_jumun_does_not_start") {
        return;
    }
    let disk = Disk::new();
    let jumun = disk.setup.start().await;
    let id = Shop::open(&jumun).await.placed().await;
    jumun.reaches(&id, "in_delivery").await;
    assert_eq!(jumun.stop(), Some(0));
    mount(&["mount", "-o", "remount,ro", text(&disk.dir)]);
    disk.refuses("read-only");
    mount(&["mount", "-o", "remount,rw", text(&disk.dir)]);
    let again = disk.setup.start().await;
    again.drive(&id, "closed").await;
}

/// What is open stays writable: the system takes no disk away from whoever writes to it, except when the disk fails.
#[tokio::test]
async fn on_a_disk_that_becomes_read_only_jumun_stops() {
    if !may_mount("disk::on_a_disk_that_becomes_read_only_jumun_stops") {
        return;
    }
    let disk = Disk::new();
    let jumun = disk.setup.start().await;
    let id = Shop::open(&jumun).await.placed().await;
    jumun.reaches(&id, "in_delivery").await;
    mount(&["mount", "--bind", text(&disk.dir), text(&disk.dir)]);
    mount(&["mount", "-o", "remount,bind,ro", text(&disk.dir)]);
    assert_eq!(jumun.ended().await, Some(4));
    disk.refuses("read-only");
    mount(&["umount", text(&disk.dir)]);
    let again = disk.setup.start().await;
    again.drive(&id, "closed").await;
}

fn product(n: usize) -> Value {
    let price = json!({ "amount": n, "currency": "KRW" });
    let name = format!("{n}: {}", "a product with a long name ".repeat(5));
    json!({ "merchant_id": "a", "sku": format!("sku-{n}"), "name": name, "unit_price": price, "on_hand": n, "reserved": 0 })
}

async fn products(provider: &Provider) -> Vec<Value> {
    let listed = provider.ask("products", &json!({ "merchant_id": "a" })).await.expect("answers").ok();
    listed.as_array().expect("a list").clone()
}

/// The store may go on behind the write that failed, and all that it said after that may be gone after a crash. So it
/// is used no more, even though there is room again at once.
#[tokio::test]
async fn a_store_that_could_not_write_once_is_used_no_more() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = format!("surrealkv://{}", directory.path().join("stock").display());
    let provider = Provider::start("stock", &store).await;
    let mut kept = Vec::new();
    // No file of this process may become longer than it is now and a little: its log, that is.
    let logs = fs::read_dir(directory.path().join("stock/wal")).expect("is there");
    let longest = logs.map(|log| log.expect("is listed").metadata().expect("is there").len()).max();
    provider.limit_files(longest.expect("it has a log") + 60_000);
    for n in 0..900 {
        match provider.ask("put_product", &product(n)).await {
            Some(answer) if answer.status == 200 => kept.push(n),
            _ => break,
        }
    }
    for n in 900..950 {
        let answer = provider.ask("put_product", &product(n)).await;
        assert!(answer.is_none_or(|answer| answer.status == 503), "{n} was taken");
    }
    provider.lift_limit();
    assert!((10..900).contains(&kept.len()), "{}", kept.len());
    for n in 1_000..1_050 {
        let answer = provider.ask("put_product", &product(n)).await;
        assert!(answer.is_none_or(|answer| answer.status == 503), "{n} was taken");
    }
    assert_eq!(provider.ended().await, Some(4));

    let again = Provider::start("stock", &store).await;
    let products = products(&again).await;
    for n in &kept {
        assert!(products.iter().any(|product| product["sku"] == format!("sku-{n}")), "{n} of {} is gone", kept.len());
    }
    assert!(products.len() <= kept.len() + 1, "what was not answered may be there or not");
    assert_eq!(again.ask("put_product", &product(2_000)).await.expect("answers").status, 200);
}

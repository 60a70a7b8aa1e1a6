//! What the store on this machine's disk keeps when its process is killed, and how a server is found again that has gone silent.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;

/// Half as much again as the store keeps in memory before it writes it out.
const PIECES: usize = 96;
const PIECE_BYTES: usize = 1 << 20;
/// Where the process that is killed keeps its store.
const DIRECTORY: &str = "JUMUN_TEST_KILLED_STORE";
const WRITTEN: &str = "written: ";

async fn open(directory: &Path) -> Database {
    let store = Store::open(&format!("surrealkv://{}?sync=every", directory.display())).await.expect("opens");
    let database = store.database("pieces").await.expect("opens");
    database.define("DEFINE TABLE IF NOT EXISTS piece;").await.expect("defines");
    database
}

/// Not a test but the process that another test kills, where that says so.
#[tokio::test]
async fn writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let database = open(Path::new(&directory)).await;
    for number in 0.. {
        let piece = json!({ "number": number, "text": "x".repeat(PIECE_BYTES) });
        let write = "CREATE piece CONTENT { number: $number, text: $text } RETURN NONE;";
        database.run(write, &piece).await.expect("writes");
        // Past the harness, which keeps what a test prints.
        let _ = std::io::Write::write_all(&mut std::io::stdout(), format!("\n{WRITTEN}{number}\n").as_bytes());
    }
}

#[tokio::test]
async fn a_crash_loses_nothing_however_much_was_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut writer = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "store::tests::writes_until_it_is_killed"])
        .env(DIRECTORY, directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let said = BufReader::new(writer.stdout.take().expect("is piped")).lines();
    let written = said.map_while(Result::ok).filter(|line| line.starts_with(WRITTEN)).take(PIECES).count();
    writer.kill().expect("is killed");
    writer.wait().expect("ends");
    assert_eq!(written, PIECES, "it ended by itself");
    let database = open(directory.path()).await;
    let mut answers = database.run("SELECT VALUE number FROM piece;", &Value::Null).await.expect("reads");
    let mut there: Vec<usize> = answers.read(0).expect("numbers");
    there.sort_unstable();
    let lost: Vec<_> = (0..PIECES).filter(|number| !there.contains(number)).collect();
    assert_eq!(lost, Vec::<usize>::new(), "answered, and gone");
}

/// The way to a server. Whoever is connected when it is cut hears nothing any more, and is not told either; whoever comes then is
/// let through.
struct Way {
    url: String,
    cuts: watch::Sender<u32>,
}

impl Way {
    async fn to(server: &str) -> Self {
        let server = server.strip_prefix("ws://").expect("a server's URL").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("ws://{}", listener.local_addr().expect("is bound"));
        let (cuts, cut) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (mut cut, server) = (cut.clone(), server.clone());
                cut.mark_unchanged();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(server).await.expect("connects");
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        // Both ends stay open.
                        Ok(()) = cut.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Self { url, cuts }
    }
}

#[tokio::test]
async fn a_server_that_is_silent_is_connected_to_anew() {
    let Ok(server) = std::env::var("JUMUN_TEST_STORE") else {
        eprintln!("skipped: JUMUN_TEST_STORE names no SurrealDB server (tests/surreal starts one)");
        return;
    };
    let way = Way::to(&server).await;
    let root = || "root".to_owned();
    let login = Login { username: root(), password: root(), within: Within::Server };
    let namespace = format!("silent_{:032x}", rand::random::<u128>());
    let store = Store::connect(&way.url, &namespace, Some(&login)).await.expect("connects");
    let database = store.database("pieces").await.expect("a session");
    database.run("CREATE piece:1", &Value::Null).await.expect("writes");
    way.cuts.send_modify(|cuts| *cuts += 1);
    let began = Instant::now();
    assert!(matches!(database.run("CREATE piece:2", &Value::Null).await, Err(StoreError::Unreachable)));
    while let Err(error) = database.run("UPSERT piece:3", &Value::Null).await {
        assert!(began.elapsed() < 3 * SILENCE, "still {error}");
    }
    assert!(began.elapsed() >= SILENCE, "nobody was to be heard");
    let there: Vec<Value> =
        database.run("SELECT VALUE id FROM piece", &Value::Null).await.expect("reads").read(0).expect("ids");
    assert_eq!(there.len(), 2, "{there:?}");
}

/// A power loss is nothing that a test can bring about. What a commit is on the disk by is one constant of the storage engine that
/// is ours, so it has to be the one that the store is built with.
#[test]
fn what_syncs_every_commit_is_what_the_store_is_built_with() {
    let locked = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).expect("reads");
    let mut packages = locked.split("[[package]]");
    let over = packages.find(|package| package.contains("name = \"surrealdb-kvs-surrealkv\"")).expect("is there");
    assert!(over.contains(" \"surrealkv 0.21.1000\""), "{over}");
    for (url, opened) in [
        ("surrealkv:///sync=every/data", "surrealkv:///sync=every/data?sync=never"),
        ("surrealkv:///data?sync=5s", "surrealkv:///data?sync=never"),
        ("surrealkv:///data?versioned=true&sync=every", "surrealkv:///data?versioned=true&sync=never"),
    ] {
        assert_eq!(embedded::not_synced_again(url), opened);
    }
}

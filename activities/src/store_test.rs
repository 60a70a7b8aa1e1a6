//! What the store on this machine's disk keeps when its process is killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

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

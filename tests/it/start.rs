//! Starting: what is in the way is said, with the way out.

use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use tests::{Setup, binary};

fn start(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).stdin(Stdio::null()).output().expect("the binary runs")
}

fn complaint(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty(), "complaints go to standard error: {output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_taken_port_is_named_with_its_setting() {
    let setup = Setup::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let mut arguments = setup.arguments();
    let api = arguments.iter().position(|argument| *argument == "--api-listen").expect("is there");
    arguments[api + 1] = &address;
    let complaint = complaint(&start(&arguments));
    assert!(complaint.contains(&address) && complaint.contains("--api-listen"), "{complaint}");
}

#[tokio::test]
async fn a_data_directory_in_use_is_left_alone() {
    let setup = Setup::new();
    let jumun = setup.start().await;
    let directory = setup.data_dir().display().to_string();
    let complaint = complaint(&start(&["--data-dir", &directory, "--api-listen", "127.0.0.1:0"]));
    assert!(complaint.contains(&directory) && complaint.contains("another jumun"), "{complaint}");
    assert_eq!(jumun.get("/readyz").await.status, 200);
}

#[test]
fn a_newer_store_is_not_touched() {
    let setup = Setup::new();
    let directory = setup.data_dir();
    std::fs::create_dir_all(&directory).expect("creates");
    std::fs::write(directory.join("format"), r#"{"format":99}"#).expect("writes");
    let complaint = complaint(&start(&setup.arguments()));
    assert!(complaint.contains("newer") && complaint.contains("99"), "{complaint}");
}

#[test]
fn without_npm_the_choices_are_named() {
    let setup = Setup::new();
    let empty = tempfile::tempdir().expect("a directory");
    let output = Command::new(binary())
        .args(setup.arguments())
        .env("PATH", empty.path())
        .env("XDG_CACHE_HOME", empty.path())
        .env_remove("RESTATE_SERVER")
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let complaint = complaint(&output);
    for choice in ["npm", "--restate-server", "PATH"] {
        assert!(complaint.contains(choice), "{choice}: {complaint}");
    }
}

//! A program that knows nothing of us, and yet ends with this process, however that ends.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::process::{says, signal};

/// Runs the program, tells its id, kills it when standard input ends, and ends when nothing is left of it.
const HOLDER: &str = r#""$@" >&2 & echo $!; read -r _; kill -9 $! 2> /dev/null; wait $! 2> /dev/null"#;

/// A running program. It is killed when this is dropped.
pub(crate) struct Held {
    holder: Child,
    pid: u32,
}

impl Held {
    /// The beginning of a command: the program and its arguments are to be added.
    pub(crate) fn command() -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", HOLDER, "sh"]).stderr(says());
        command
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh runs");
        let mut line = String::new();
        let stdout = holder.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("readable");
        let pid = line.trim().parse().expect("the holder tells the program's id first");
        Self { holder, pid }
    }

    /// Sends it a signal (`STOP`, `CONT`).
    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid, name);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

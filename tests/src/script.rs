//! A server of this process's own, which a script of `tests/` starts, breaks and mends.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::process::signal;

/// It ends when its standard input does, and so with this process.
pub(crate) struct Script {
    /// Where the server is.
    pub(crate) url: String,
    pipes: Mutex<Pipes>,
}

struct Pipes {
    process: Child,
    faults: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Script {
    /// Starts `tests/NAME`, and waits until its server can be used.
    ///
    /// # Errors
    /// Where it does not start; the script has said why on standard error.
    pub(crate) fn start(name: &str) -> io::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let mut process = Command::new(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let faults = process.stdin.take().expect("piped");
        let mut answers = BufReader::new(process.stdout.take().expect("piped"));
        let mut line = String::new();
        answers.read_line(&mut line)?;
        let url = line.trim().to_owned();
        if url.is_empty() {
            return Err(io::Error::other(format!("tests/{name} does not start")));
        }
        Ok(Self { url, pipes: Mutex::new(Pipes { process, faults, answers }) })
    }

    /// Has a fault made (`kill`, `start`, `pause`, `resume`), and waits until it is.
    pub(crate) fn make(&self, fault: &str) {
        let Pipes { faults, answers, .. } = &mut *self.pipes.lock().expect("no panic");
        writeln!(faults, "{fault}").and_then(|()| faults.flush()).expect("the script reads");
        let mut line = String::new();
        answers.read_line(&mut line).expect("readable");
        assert_eq!(line.trim(), "done", "{fault}");
    }
}

impl Drop for Script {
    /// Waits until nothing is left of it.
    fn drop(&mut self) {
        let Pipes { process, .. } = self.pipes.get_mut().unwrap_or_else(PoisonError::into_inner);
        signal(process.id(), "TERM");
        let _ = process.wait();
    }
}

//! Who may ask jumun to stop: the terminal, the system, and the parent that holds its standard input.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// The ways in which jumun can be asked to stop.
#[derive(Debug)]
pub struct StopRequests {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    /// Standard input, as long as it is open and watched.
    stdin: Option<oneshot::Receiver<()>>,
}

impl StopRequests {
    /// From now on these no longer end the process by themselves.
    pub fn listen(until_stdin_closes: bool) -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            stdin: until_stdin_closes.then(stdin_closed).transpose()?,
        })
    }

    /// Returns with what asks jumun to stop, once for each time.
    pub async fn next(&mut self) -> &'static str {
        let stdin = async {
            match &mut self.stdin {
                // The sender is gone only when standard input is.
                Some(closed) => drop(closed.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => "SIGHUP",
            () = stdin => {
                self.stdin = None;
                "the end of standard input"
            }
        }
    }
}

/// A blocking read cannot be called off, so it has a thread that nobody waits for.
fn stdin_closed() -> io::Result<oneshot::Receiver<()>> {
    let (closed, receiver) = oneshot::channel();
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        // An error is an end, too.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        // Nobody waits when jumun has stopped for another reason.
        let _ = closed.send(());
    })?;
    Ok(receiver)
}

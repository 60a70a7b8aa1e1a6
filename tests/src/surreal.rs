//! A SurrealDB server of this process's own, which many processes can share, and which can be broken at will.

use std::io;

use crate::script::Script;

/// A server, or a namespace of one.
pub struct Surreal {
    settings: Vec<(String, String)>,
    /// Its own, which ends when this is dropped, and with this process.
    own: Option<Script>,
}

impl Surreal {
    /// Starts one. The first time on a machine it is built, which takes minutes.
    ///
    /// # Errors
    /// Where it cannot be built or started; the script has said why on standard error.
    pub fn start() -> io::Result<Self> {
        let own = Script::start("surreal")?;
        Ok(Self { settings: settings(&own.url, "jumun"), own: Some(own) })
    }

    /// A namespace of its own on the server that `JUMUN_TEST_STORE` names, if it names one.
    #[must_use]
    pub fn named() -> Option<Self> {
        let url = std::env::var("JUMUN_TEST_STORE").ok()?;
        Some(Self { settings: settings(&url, &format!("apart_{:032x}", rand::random::<u128>())), own: None })
    }

    /// Has a fault made (`kill`, `start`, `pause`, `resume`), and waits until it is.
    pub fn make(&self, fault: &str) {
        self.own.as_ref().expect("only a server of one's own is broken").make(fault);
    }

    /// What a process is to be told about it.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        self.settings.clone()
    }
}

/// The settings of a process that keeps everything in this namespace of a throw-away server.
pub(crate) fn settings(url: &str, namespace: &str) -> Vec<(String, String)> {
    [("URL", url), ("USERNAME", "root"), ("PASSWORD", "root"), ("NAMESPACE", namespace)]
        .map(|(key, value)| (format!("JUMUN_STORE__{key}"), value.to_owned()))
        .into()
}

//! The systems that tests share, in each shape that a system can have.

use std::ops::Deref;
use std::sync::Mutex;

use tokio::sync::OnceCell;
use workflows::Context;

use crate::{Jumun, Providers};

/// Where the providers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// All in jumun itself.
    OneProcess,
    /// Each in a process of its own.
    SevenProcesses,
}

impl Shape {
    /// A new system of this shape. It keeps nothing.
    async fn start(self) -> Jumun {
        match self {
            Self::OneProcess => Jumun::ephemeral().await,
            Self::SevenProcesses => Jumun::with_providers(Providers::in_memory().await).await,
        }
    }
}

/// Systems of one shape, started when they are first needed. They stop when the test process ends.
pub struct Systems {
    shape: Shape,
    shared: OnceCell<Jumun>,
    idle: Mutex<Vec<Jumun>>,
}

impl Systems {
    #[must_use]
    pub const fn new(shape: Shape) -> Self {
        Self { shape, shared: OnceCell::const_new(), idle: Mutex::new(Vec::new()) }
    }

    /// The one for tests that break nothing.
    pub async fn shared(&self) -> &Jumun {
        self.shared.get_or_init(|| self.shape.start()).await
    }

    /// One for a test that takes a provider down: whole, and for this test alone until it is dropped.
    pub async fn lent(&self) -> Lent<'_> {
        let idle = self.idle.lock().expect("no panic").pop();
        let jumun = match idle {
            Some(jumun) => jumun,
            None => self.shape.start().await,
        };
        for context in Context::ALL {
            jumun.sandbox(context.as_str(), "up").await;
        }
        Lent { jumun: Some(jumun), idle: &self.idle }
    }
}

/// A system for one test. The next one gets it, unless this one has failed.
pub struct Lent<'a> {
    jumun: Option<Jumun>,
    idle: &'a Mutex<Vec<Jumun>>,
}

impl Deref for Lent<'_> {
    type Target = Jumun;

    fn deref(&self) -> &Jumun {
        self.jumun.as_ref().expect("it is there until this is dropped")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(jumun) = self.jumun.take().filter(|_| !std::thread::panicking()) {
            self.idle.lock().expect("no panic").push(jumun);
        }
    }
}

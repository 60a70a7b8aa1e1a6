//! The bar on standard error, while something goes on. Where nobody looks, there is none.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const TICK: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub struct Progress(ProgressBar);

impl Progress {
    pub fn new() -> Self {
        let bar = ProgressBar::new(1);
        let style = ProgressStyle::with_template("{prefix:<10} {msg:<24} {bar:40} {percent:>3}% {elapsed:>4}");
        bar.set_style(style.expect("is a template"));
        Self(bar)
    }

    /// What comes next belongs to this.
    pub fn scenario(&self, name: &str) {
        self.0.set_prefix(name.to_owned());
    }

    /// So many are done one by one from now on.
    pub fn count(&self, message: &'static str, length: usize) {
        self.restart(message, length as u64);
    }

    pub fn one_more(&self) {
        self.0.inc(1);
    }

    /// So many are done.
    pub fn reach(&self, count: u64) {
        self.0.set_position(count);
    }

    /// Lets time pass.
    pub async fn pass(&self, message: &'static str, span: Duration) {
        let ticks = u64::try_from(span.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX);
        self.restart(message, ticks);
        let end = tokio::time::Instant::now() + span;
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(end) => return,
                _ = tick.tick() => self.0.inc(1),
            }
        }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }

    fn restart(&self, message: &'static str, length: u64) {
        self.0.set_message(message);
        self.0.set_length(length);
        self.0.reset();
    }
}

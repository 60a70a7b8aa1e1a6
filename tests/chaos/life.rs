//! How people play an order's life: as they should, twice, too early, against each other, or not at all.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::sleep;

use crate::client::{Client, Request};
use crate::plan::{Cancel, Duel, Part, Script};

/// How the duels ended: how often each side won.
#[derive(Default)]
pub struct Duels {
    wins: Mutex<BTreeMap<Duel, [usize; 2]>>,
    /// By how much the command comes later than what is against it, so that neither side is sure to win. In microseconds.
    handicaps: Mutex<BTreeMap<Duel, u64>>,
    double_cancels: Mutex<usize>,
}

impl Duels {
    pub fn wins(&self) -> BTreeMap<Duel, [usize; 2]> {
        self.wins.lock().expect("no panic").clone()
    }

    pub fn double_cancels(&self) -> usize {
        *self.double_cancels.lock().expect("no panic")
    }

    fn handicap(&self, duel: Duel) -> Duration {
        Duration::from_micros(*self.handicaps.lock().expect("no panic").entry(duel).or_insert(10_000))
    }

    fn count(&self, duel: Duel, winner: usize) {
        self.wins.lock().expect("no panic").entry(duel).or_default()[winner] += 1;
        let mut handicaps = self.handicaps.lock().expect("no panic");
        let handicap = handicaps.entry(duel).or_insert(10_000);
        *handicap = if winner == 0 { *handicap * 3 / 2 + 500 } else { *handicap * 3 / 5 };
    }
}

/// One order, from its request to where its people leave it.
pub struct Life<'a> {
    pub client: &'a Client<'a>,
    pub request: &'a Request,
    pub script: &'a Script,
    pub duels: &'a Duels,
}

impl Life<'_> {
    pub async fn live(&self) {
        let Some(id) = self.client.place(self.request).await else { return };
        match self.script.part {
            Part::LeftAlone => {}
            Part::Plain => self.play(&id, self.script.shop.commands()).await,
            Part::Rejected => {
                self.step(&id, "reject", None).await;
            }
            Part::Cancelled { after, by } => {
                self.play(&id, &self.script.shop.commands()[..after]).await;
                sleep(self.script.pause).await;
                self.cancel(&id, by).await;
            }
            Part::Duel(duel) => self.duel(&id, duel).await,
            Part::DoubleCancel { after } => self.double_cancel(&id, after).await,
        }
    }

    /// Asks the commands, one after another, as the order takes them.
    async fn play(&self, id: &str, commands: &[&'static str]) {
        for (place, command) in commands.iter().enumerate() {
            if !self.step(id, command, commands.get(place + 1).copied()).await {
                return;
            }
        }
    }

    /// One command, when the order takes it; false where it is over before.
    async fn step(&self, id: &str, command: &'static str, next: Option<&'static str>) -> bool {
        sleep(self.script.pause).await;
        if let Some(next) = next.filter(|_| self.script.reorders) {
            self.client.sent.reordered.fetch_add(1, Ordering::Relaxed);
            self.client.command(self.request, id, next).await;
        }
        if !self.client.takes(self.request, id, command).await {
            return false;
        }
        if self.script.repeats {
            self.client.sent.duplicates.fetch_add(1, Ordering::Relaxed);
            let ask = || self.client.command(self.request, id, command);
            let (first, second) = futures::join!(ask(), ask());
            if first != second {
                self.request.complain(format!("{command}, asked twice at once, was accepted and refused"));
            }
        } else {
            self.client.command(self.request, id, command).await;
        }
        true
    }

    async fn cancel(&self, id: &str, by: Cancel) {
        let ask = || self.client.command(self.request, id, "cancel");
        match by {
            Cancel::Once => drop(ask().await),
            Cancel::Twice => {
                self.client.sent.duplicates.fetch_add(1, Ordering::Relaxed);
                futures::join!(ask(), ask());
            }
            Cancel::Button => self.client.press_cancel(self.request, id).await,
        }
    }

    /// Both sides at one moment: exactly one of them is told that it has won, and asked again, both are told the same.
    async fn duel(&self, id: &str, duel: Duel) {
        self.play(id, &duel.shop.commands()[..duel.at]).await;
        let command = duel.command();
        if !self.client.takes(self.request, id, command).await {
            // Its deadline was over before anybody came; a command and another one always meet.
            match duel.against {
                None => self.duels.count(duel, 1),
                Some(_) => self.request.complain(format!("it was over before it took {command}")),
            }
            return;
        }
        let Some(against) = duel.against else { return self.meet_the_deadline(id, duel).await };
        let both = async |later: Duration| {
            let first = async {
                sleep(later).await;
                self.client.command(self.request, id, command).await
            };
            <[bool; 2]>::from(futures::join!(first, self.client.command(self.request, id, against)))
        };
        let won = both(self.duels.handicap(duel)).await;
        let again = both(Duration::ZERO).await;
        if won[0] == won[1] || won != again {
            self.request.complain(format!("of {command} and {against} {won:?} won, and then {again:?}"));
            return;
        }
        self.duels.count(duel, usize::from(won[1]));
    }

    async fn meet_the_deadline(&self, id: &str, duel: Duel) {
        let Some(order) = self.client.order(self.request, id).await else { return };
        let deadline = order["deadline"].as_str().and_then(|at| at.parse::<DateTime<Utc>>().ok());
        let left = deadline.and_then(|deadline| (deadline - Utc::now()).to_std().ok()).unwrap_or_default();
        // About when the time is over: earlier after each time that the deadline has won.
        let early = Duration::from_millis(200).saturating_sub(self.duels.handicap(duel));
        sleep(left.saturating_sub(early)).await;
        let won = self.client.command(self.request, id, duel.command()).await;
        let again = self.client.command(self.request, id, duel.command()).await;
        if won != again {
            self.request.complain(format!("{} won: {won}, and then {again}", duel.command()));
        }
        self.duels.count(duel, usize::from(!won));
    }

    /// Twice through the API, and in the engine, at one moment: it is called off.
    async fn double_cancel(&self, id: &str, after: usize) {
        let commands = self.script.shop.commands();
        self.play(id, &commands[..after]).await;
        if !self.client.takes(self.request, id, commands[after]).await {
            return;
        }
        let ask = || self.client.command(self.request, id, "cancel");
        let (first, second, ()) = futures::join!(ask(), ask(), self.client.press_cancel(self.request, id));
        if !(first && second) {
            self.request.complain(format!("of two cancels ({first}, {second}) were accepted"));
        }
        *self.duels.double_cancels.lock().expect("no panic") += 1;
    }
}

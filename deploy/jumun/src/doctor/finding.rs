//! What is found: one line each, on standard output.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

use super::DoctorError;

/// How many lines are printed of one check; what is more is only counted.
const LINES: u64 = 200;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    Api,
    Clock,
    Version,
    Contexts,
    Sandbox,
    /// Views, events and tallies.
    Orders,
    Stuck,
    Money,
}

impl Check {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Clock => "clock",
            Self::Version => "version",
            Self::Contexts => "contexts",
            Self::Sandbox => "sandbox",
            Self::Orders => "orders",
            Self::Stuck => "stuck",
            Self::Money => "money",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Fine,
    Wrong,
    /// It could not be looked at.
    Unseen,
}

#[derive(Serialize)]
struct Finding<'a> {
    check: Check,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<&'a str>,
    says: String,
}

/// Everything that was found so far.
pub struct Findings {
    json: bool,
    wrong: bool,
    unseen: bool,
    /// The check at which we are, and how many lines it has.
    at: Option<(Check, u64)>,
}

impl Findings {
    pub fn new(json: bool) -> Self {
        Self { json, wrong: false, unseen: false, at: None }
    }

    pub fn fine(&mut self, check: Check, says: impl Display) -> io::Result<()> {
        self.add(check, Outcome::Fine, None, &says)
    }

    pub fn wrong(&mut self, check: Check, says: impl Display) -> io::Result<()> {
        self.add(check, Outcome::Wrong, None, &says)
    }

    /// Something that is wrong with one order, which `says` does not name.
    pub fn wrong_order(&mut self, check: Check, order_id: &str, says: impl Display) -> io::Result<()> {
        self.add(check, Outcome::Wrong, Some(order_id), &says)
    }

    pub fn unseen(&mut self, check: Check, says: impl Display) -> io::Result<()> {
        self.add(check, Outcome::Unseen, None, &says)
    }

    fn add(&mut self, check: Check, outcome: Outcome, order_id: Option<&str>, says: &dyn Display) -> io::Result<()> {
        self.wrong |= outcome == Outcome::Wrong;
        self.unseen |= outcome == Outcome::Unseen;
        let lines = match &mut self.at {
            Some((at, lines)) if *at == check => {
                *lines += 1;
                *lines
            }
            at => at.insert((check, 1)).1,
        };
        if lines > LINES {
            return Ok(());
        }
        let says = if lines == LINES { "and more".to_owned() } else { says.to_string() };
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, &Finding { check, outcome, order_id, says })?;
            writeln!(out)?;
        } else {
            let outcome = match outcome {
                Outcome::Fine => "ok",
                Outcome::Wrong => "WRONG",
                Outcome::Unseen => "unseen",
            };
            let order_id = order_id.map(|order_id| format!("{order_id}: ")).unwrap_or_default();
            writeln!(out, "{outcome:8}{:10}{order_id}{says}", check.as_str())?;
        }
        out.flush()
    }

    /// Worst first.
    pub fn verdict(&self) -> Result<(), DoctorError> {
        match (self.wrong, self.unseen) {
            (true, _) => Err(DoctorError::Wrong),
            (false, true) => Err(DoctorError::Unseen),
            (false, false) => Ok(()),
        }
    }
}

//! What must be true, judged from outside: what a client was told, against what the server and its providers have in the
//! end. It shares no code with the server.

use std::collections::{BTreeMap, BTreeSet};

use crate::shops::{Shop, effect};

/// What became of a request to place an order, as its client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// 201: it stands. The order as it was then, for every copy of the request is told the same.
    Stands { id: String, body: String },
    /// 402 or 409, with the problem's name: it does not stand.
    Refused { id: Option<String>, problem: String },
}

/// How often a command was asked, and answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// 200.
    pub accepted: u32,
    /// 409.
    pub refused: u32,
    /// 503, or none: it may have been carried out.
    pub unanswered: u32,
}

/// What a client knows of one request, and of the order that came of it.
#[derive(Clone, Debug)]
pub struct Known {
    /// The idempotency key, which is also the order's note.
    pub key: String,
    pub shop: Shop,
    pub total: i64,
    pub told: Vec<Told>,
    pub commands: BTreeMap<&'static str, Asked>,
    /// How often the engine's own cancel button was pressed, for certain or perhaps.
    pub buttons: u32,
}

impl Known {
    /// The order that stands.
    pub fn order_id(&self) -> Option<&str> {
        self.told.iter().find_map(|told| match told {
            Told::Stands { id, .. } => Some(id.as_str()),
            Told::Refused { .. } => None,
        })
    }

    fn asked(&self, command: &str) -> Asked {
        self.commands.get(command).copied().unwrap_or_default()
    }

    /// Whether somebody may have asked it with success.
    fn may_have_asked(&self, command: &str) -> bool {
        let asked = self.asked(command);
        asked.accepted + asked.unanswered > 0
    }

    /// All copies of the request were told the same.
    pub fn judge_answers(&self) -> Vec<String> {
        let distinct: BTreeSet<_> = self.told.iter().map(|told| format!("{told:?}")).collect();
        if distinct.len() <= 1 { Vec::new() } else { vec![format!("one key, several answers: {distinct:#?}")] }
    }
}

/// An entry of the ledger: what moved the money, and how much of it on which account.
#[derive(Clone, Debug)]
pub struct Entry {
    pub kind: String,
    pub postings: Vec<(String, i64)>,
}

/// An order in the end: as it is read, with its events, and what the providers' own records say of it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub id: String,
    pub status: String,
    pub total: i64,
    /// Why it was rejected, if it was: the kind.
    pub rejection: Option<String>,
    /// Number and name.
    pub events: Vec<(u64, String)>,
    pub entries: Vec<Entry>,
    /// The state of each.
    pub deliveries: Vec<String>,
    pub coupons: Vec<String>,
    /// The statuses that were made known, in their order.
    pub notified: Vec<String>,
}

const UNDOS: [(&str, &[&str]); 4] = [
    ("payment_cancelled", &["payment_approved", "deposit_requested", "deposit_confirmed"]),
    ("stock_released", &["stock_reserved"]),
    ("delivery_cancelled", &["delivery_requested"]),
    ("coupon_cancelled", &["coupon_issued"]),
];
/// With these an order's end begins, or is there.
const ENDINGS: [&str; 6] = [
    "cancellation_requested",
    "deposit_expired",
    "order_cancelled",
    "order_rejected",
    "payment_declined",
    "stock_unavailable",
];

/// Everything that is wrong with an order.
pub fn judge(known: &Known, seen: &Seen) -> Vec<String> {
    let mut case = Case { known, seen, wrong: Vec::new() };
    case.ends();
    case.lives_as_its_shop_has_it();
    case.does_what_was_asked();
    case.money();
    case.goods();
    case.notifications();
    case.wrong
}

struct Case<'a> {
    known: &'a Known,
    seen: &'a Seen,
    wrong: Vec<String>,
}

impl Case<'_> {
    fn expect(&mut self, holds: bool, wrong: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(wrong());
        }
    }

    fn has(&self, fact: &str) -> bool {
        self.seen.events.iter().any(|(_, name)| name == fact)
    }

    fn is(&self, status: &str) -> bool {
        self.seen.status == status
    }

    /// It is over, and for a reason.
    fn ends(&mut self) {
        let Self { known, seen, .. } = *self;
        let status = seen.status.as_str();
        let cancelled_for_a_reason = known.buttons > 0
            || known.may_have_asked("cancel")
            || known.shop == Shop::HastyMall && self.has("deposit_expired")
            || known.shop.by_deposit() && self.has("stock_unavailable");
        let acknowledged = known.order_id() == Some(seen.id.as_str());
        let rejected_for_a_reason = !acknowledged
            || known.may_have_asked("reject")
            || known.shop == Shop::HastyFood && seen.rejection.as_deref() == Some("not_accepted");
        match status {
            "closed" => self.expect(acknowledged, || "closed, though nobody was told that it stands".to_owned()),
            "cancelled" => self.expect(cancelled_for_a_reason, || "cancelled by itself".to_owned()),
            "rejected" => self.expect(rejected_for_a_reason, || "it stood, and was rejected by itself".to_owned()),
            _ => self.expect(false, || format!("it never ended: {status}")),
        }
        self.expect(seen.total == known.total, || format!("it costs {} instead of {}", seen.total, known.total));
    }

    /// Its facts are the beginning of what its shop's orders live through, each once, numbered without gaps; and then, if it
    /// is not closed, the end.
    fn lives_as_its_shop_has_it(&mut self) {
        let Self { known, seen, .. } = *self;
        let names: Vec<_> = seen.events.iter().map(|(_, name)| name.as_str()).collect();
        let gapless = seen.events.iter().zip(1..).all(|((number, _), expected)| *number == expected);
        self.expect(gapless, || format!("numbered with gaps: {:?}", seen.events));
        let distinct: BTreeSet<_> = names.iter().collect();
        self.expect(distinct.len() == names.len(), || format!("a fact twice: {names:?}"));

        let is_undo = |name: &str| UNDOS.iter().any(|(undo, _)| *undo == name);
        let is_end = |name: &str| is_undo(name) || ENDINGS.contains(&name);
        let forward: Vec<_> = names.iter().copied().filter(|name| !is_end(name)).collect();
        self.expect(known.shop.life().starts_with(&forward), || format!("no such life: {names:?}"));
        let first_end = names.iter().position(|name| is_end(name)).unwrap_or(names.len());
        self.expect(forward.len() == first_end, || format!("it went on after its end had begun: {names:?}"));
        if self.is("closed") {
            self.expect(forward == known.shop.life() && names.len() == forward.len(), || {
                format!("closed, but not like this: {names:?}")
            });
            return;
        }
        let last = if self.is("cancelled") { "order_cancelled" } else { "order_rejected" };
        // What gave no answer before the order stood is undone after it was rejected.
        let final_at = names.iter().position(|name| *name == last);
        let after: Vec<_> = final_at.map_or(&[][..], |at| &names[at + 1..]).to_vec();
        let in_time = after.is_empty() || self.is("rejected") && after.iter().all(|name| is_undo(name));
        self.expect(final_at.is_some() && in_time, || format!("it does not end with {last}: {names:?}"));
        for (undo, dos) in UNDOS {
            let done = dos.iter().any(|fact| self.has(fact));
            self.expect(!done || self.has(undo), || format!("no {undo}: {names:?}"));
        }
        if let Some(unwinds) = known.shop.unwinds().filter(|_| self.is("cancelled")) {
            let undone: Vec<_> = names.iter().filter(|name| is_undo(name)).collect();
            let expected: Vec<_> = unwinds.iter().filter(|undo| undone.contains(undo)).collect();
            self.expect(undone == expected, || format!("undone as {undone:?} instead of {expected:?}"));
        }
    }

    /// What was acknowledged has happened; what was refused, or never asked, has not.
    fn does_what_was_asked(&mut self) {
        let Self { known, seen, .. } = *self;
        let stands = known.order_id() == Some(seen.id.as_str());
        if known.order_id().is_some() && !stands {
            self.expect(self.is("rejected"), || format!("a second order of the same key: {}", seen.status));
            return;
        }
        if !stands && !known.told.is_empty() {
            self.expect(!self.is("closed"), || "refused, and closed all the same".to_owned());
        }
        let all = known.shop.commands().iter().chain(["cancel"].iter());
        let reject: &[&str] = if known.shop.commands().contains(&"accept") { &["reject"] } else { &[] };
        for command in all.chain(reject) {
            let (asked, fact) = (known.asked(command), effect(command));
            let by_deadline = *command == "reject" && seen.rejection.as_deref() == Some("not_accepted");
            let by_placement = *command == "reject" && !stands;
            let happened = self.has(fact) && !by_deadline && !by_placement;
            // Money that was confirmed, and what a merchant has taken on, can still be called off by somebody with the
            // power to; a cancel and a rejection are for good.
            let overtaken = !matches!(*command, "cancel" | "reject") && self.is("cancelled");
            self.expect(asked.accepted == 0 || happened || overtaken, || {
                format!("{command} was acknowledged ({asked:?}) and has no effect: {:?}", seen.events)
            });
            let nobody_else = *command != "cancel" || known.buttons == 0 && !self.has("stock_unavailable");
            self.expect(!happened || asked.accepted + asked.unanswered > 0 || !nobody_else, || {
                format!("{command} was carried out, but not for anybody who was told so ({asked:?})")
            });
        }
        self.expect(known.asked("cancel").accepted == 0 || self.is("cancelled"), || {
            format!("a cancel was acknowledged, and it is {}", seen.status)
        });
        self.expect(known.asked("reject").accepted == 0 || self.is("rejected"), || {
            format!("its rejection was acknowledged, and it is {}", seen.status)
        });
    }

    /// All of it for a closed order, in one entry; nothing on any account for every other. No entry twice.
    fn money(&mut self) {
        let Self { known, seen, .. } = *self;
        let kinds: Vec<_> = seen.entries.iter().map(|entry| entry.kind.as_str()).collect();
        let mut accounts = BTreeMap::<&str, i64>::new();
        for Entry { kind, postings } in &seen.entries {
            let sum: i64 = postings.iter().map(|(_, amount)| amount).sum();
            self.expect(sum == 0, || format!("the {kind} does not balance: {postings:?}"));
            for (account, amount) in postings {
                *accounts.entry(account).or_default() += amount;
            }
        }
        let held: i64 = accounts.values().filter(|amount| **amount > 0).sum();
        let taking = if known.shop.by_deposit() { "deposit" } else { "charge" };
        if self.is("closed") {
            self.expect(kinds == [taking] && held == known.total, || format!("{held} taken, by {kinds:?}"));
        } else {
            self.expect(held == 0, || format!("{} and {held} kept: {kinds:?}", seen.status));
            let paid = self.has("payment_approved") || self.has("deposit_confirmed");
            let balanced = kinds == [taking, "refund"] || kinds.is_empty() && !paid;
            self.expect(balanced, || format!("{} with the entries {kinds:?}", seen.status));
        }
    }

    /// Deliveries and coupons are where the order has them.
    fn goods(&mut self) {
        let Self { known, seen, .. } = *self;
        let life = known.shop.life();
        let things = [
            ("delivery", &seen.deliveries, life.contains(&"delivery_requested"), "delivered"),
            ("coupon", &seen.coupons, life.contains(&"coupon_issued"), "issued"),
        ];
        for (thing, states, due, done) in things {
            let expected: &[&str] = if self.is("closed") && due { &[done] } else { &[] };
            let cancelled = !self.is("closed") && *states == ["cancelled"];
            self.expect(*states == *expected || cancelled, || {
                format!("{}, and its {thing} is {states:?}", seen.status)
            });
        }
    }

    /// One for each change of its status, in their order.
    fn notifications(&mut self) {
        let Self { known, seen, .. } = *self;
        let expected: Vec<_> = seen.events.iter().filter_map(|(_, name)| known.shop.status(name)).collect();
        self.expect(seen.notified == expected, || format!("notified {:?} of {expected:?}", seen.notified));
    }
}

#[cfg(test)]
#[path = "model_test.rs"]
mod tests;

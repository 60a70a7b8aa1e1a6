//! What is to happen: every order's life and every fault, all derived from the seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use tests::NODES;
use workflows::Context;

use crate::shops::Shop;

/// How a run is to be.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub seed: u64,
    pub orders: usize,
    pub faults: usize,
    pub pairs: usize,
    pub double_cancels: usize,
    pub cluster: bool,
    pub postgres: bool,
}

pub struct Plan {
    pub scripts: Vec<Script>,
    pub faults: Vec<Fault>,
}

/// One order's life, as its people mean to play it.
#[derive(Clone, Debug)]
pub struct Script {
    pub shop: Shop,
    /// Of what runs out.
    pub scarce: bool,
    pub quantity: u32,
    /// The card, where it is paid by one.
    pub card: String,
    /// So many copies of the request to place it, at once.
    pub copies: usize,
    /// The caller waits so many seconds for the answer.
    pub wait: Option<u32>,
    pub part: Part,
    /// Each command twice, at once.
    pub repeats: bool,
    /// Each command after one that comes later, which is refused.
    pub reorders: bool,
    /// How long people take for each thing that they do.
    pub pause: Duration,
}

/// What is special about an order's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Nothing: people do what they should.
    Plain,
    /// Nobody does anything until the very end.
    LeftAlone,
    Rejected,
    /// Called off after so many commands.
    Cancelled {
        after: usize,
        by: Cancel,
    },
    /// Two that exclude each other, at one moment.
    Duel(Duel),
    /// Through the API and in the engine at once, after so many commands.
    DoubleCancel {
        after: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    Once,
    /// Two requests at once.
    Twice,
    /// The engine's own button.
    Button,
}

/// Two that exclude each other: a command, and what is against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duel {
    pub shop: Shop,
    /// Which of the shop's commands.
    pub at: usize,
    /// None: the deadline.
    pub against: Option<&'static str>,
}

/// After each of these commands its order can be cancelled no more.
pub const DUELS: [Duel; 7] = [
    Duel { shop: Shop::FoodDelivery, at: 0, against: Some("reject") },
    Duel { shop: Shop::FoodDelivery, at: 1, against: Some("cancel") },
    Duel { shop: Shop::ShoppingMall, at: 0, against: Some("cancel") },
    Duel { shop: Shop::Pizza, at: 1, against: Some("cancel") },
    Duel { shop: Shop::Street12, at: 0, against: Some("cancel") },
    Duel { shop: Shop::HastyFood, at: 0, against: None },
    Duel { shop: Shop::HastyMall, at: 0, against: None },
];

impl Duel {
    pub fn command(self) -> &'static str {
        self.shop.commands()[self.at]
    }

    pub fn name(self) -> String {
        format!("{}: {} or {}", self.shop.name(), self.command(), self.against.unwrap_or("the deadline"))
    }
}

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Jumun,
    /// The engine that jumun runs.
    Engine,
    /// One node of an engine of three.
    Node(usize),
    Provider(Context),
    Postgres,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// `kill -9`.
    Kill,
    /// SIGSTOP, and later SIGCONT.
    Pause,
}

/// One thing that breaks, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blow {
    pub target: Target,
    pub how: How,
    /// How long it is left so.
    pub lasts: Duration,
}

/// One or two that break at about the same time.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub blow: Blow,
    pub along: Option<Blow>,
    /// Where in its wave of orders it comes, of 100.
    pub at: usize,
}

impl Blow {
    pub fn name(self) -> String {
        let target = match self.target {
            Target::Jumun => "jumun".to_owned(),
            Target::Engine => "the engine".to_owned(),
            Target::Node(_) => "a node of the engine".to_owned(),
            Target::Provider(context) => format!("the {context} provider"),
            Target::Postgres => "PostgreSQL".to_owned(),
        };
        format!("{} of {target}", if self.how == How::Kill { "kill -9" } else { "SIGSTOP" })
    }
}

impl Plan {
    pub fn new(size: &Size) -> Self {
        let mut dice = StdRng::seed_from_u64(size.seed);
        let mut scripts: Vec<_> = (0..size.orders).map(|_| script(&mut dice)).collect();
        for number in 0..size.pairs {
            let duel = DUELS[number % DUELS.len()];
            scripts.push(Script { part: Part::Duel(duel), ..steady(&mut dice, duel.shop) });
        }
        for _ in 0..size.double_cancels {
            // All of them can be cancelled after so many commands.
            let (shop, after) = *[(Shop::Street12, 0), (Shop::Pizza, 0), (Shop::Pizza, 1), (Shop::FoodDelivery, 1)]
                .choose(&mut dice)
                .expect("not empty");
            scripts.push(Script { part: Part::DoubleCancel { after }, ..steady(&mut dice, shop) });
        }
        scripts.shuffle(&mut dice);
        Self { scripts, faults: faults(&mut dice, size) }
    }
}

fn script(dice: &mut StdRng) -> Script {
    let shop = *Shop::ALL.choose(dice).expect("not empty");
    let scarce = shop.counts_stock() && dice.random_bool(0.1);
    let card = match dice.random_range(0..20) {
        0 | 1 => "tok_declined",
        2 | 3 => "tok_flaky_2",
        4 | 5 => "tok_lost_reply",
        6 | 7 => "tok_slow_300",
        _ => "tok_ok",
    };
    let commands = shop.commands().len();
    let part = match dice.random_range(0..20) {
        0 | 1 => Part::LeftAlone,
        2 | 3 if shop.commands().contains(&"accept") => Part::Rejected,
        2..=7 => {
            let by = match dice.random_range(0..4) {
                0 => Cancel::Twice,
                1 => Cancel::Button,
                _ => Cancel::Once,
            };
            Part::Cancelled { after: dice.random_range(0..=commands), by }
        }
        _ => Part::Plain,
    };
    Script {
        shop,
        scarce,
        quantity: dice.random_range(1..=3),
        card: card.to_owned(),
        copies: if dice.random_bool(0.2) { dice.random_range(2..=4) } else { 1 },
        wait: dice.random_bool(0.1).then(|| dice.random_range(0..=2)),
        part,
        repeats: dice.random_bool(0.2),
        reorders: dice.random_bool(0.2),
        pause: Duration::from_millis(dice.random_range(0..400)),
    }
}

/// One that comes to stand.
fn steady(dice: &mut StdRng, shop: Shop) -> Script {
    let ready = Script { shop, scarce: false, card: "tok_ok".to_owned(), ..script(dice) };
    Script { wait: None, repeats: false, reorders: false, ..ready }
}

/// An order that shows whether `target` is there again.
pub fn probe(target: Target) -> Script {
    let shop = match target {
        Target::Provider(Context::Kitchen) => Shop::FoodDelivery,
        Target::Provider(Context::Promotion) => Shop::Street12,
        _ => Shop::Sauces,
    };
    Script {
        shop,
        scarce: false,
        quantity: 1,
        card: "tok_ok".to_owned(),
        copies: 1,
        wait: None,
        part: Part::Plain,
        repeats: false,
        reorders: false,
        pause: Duration::ZERO,
    }
}

/// Every kind before any kind again, in a new order each time.
fn faults(dice: &mut StdRng, size: &Size) -> Vec<Fault> {
    let mut kinds = Vec::new();
    let mut faults = Vec::with_capacity(size.faults);
    while faults.len() < size.faults {
        if kinds.is_empty() {
            kinds = all_kinds(size);
            kinds.shuffle(dice);
        }
        let (target, how) = kinds.pop().expect("just filled");
        let blow = blow(dice, target, how);
        // Now and then something else breaks, too, but never what would have stood in for it.
        let along = (dice.random_bool(0.2)).then(|| {
            let mut others = all_kinds(size);
            others.retain(|(other, _)| !excludes(*other, target));
            let (target, how) = *others.choose(dice).expect("there is always another one");
            self::blow(dice, target, how)
        });
        faults.push(Fault { blow, along, at: dice.random_range(20..80) });
    }
    faults
}

/// Whether two of them must not break at once: what can only be broken once, or must not be.
fn excludes(one: Target, other: Target) -> bool {
    let of_engine = |target| matches!(target, Target::Engine | Target::Node(_) | Target::Jumun);
    // The payment provider cannot start without its database.
    let of_payment = |target| matches!(target, Target::Postgres | Target::Provider(Context::Payment));
    one == other || of_engine(one) && of_engine(other) || of_payment(one) && of_payment(other)
}

fn all_kinds(size: &Size) -> Vec<(Target, How)> {
    let mut targets = vec![Target::Jumun];
    targets.extend(Context::ALL.map(Target::Provider));
    if size.postgres {
        targets.push(Target::Postgres);
    }
    if size.cluster {
        targets.extend((0..NODES).map(Target::Node));
    } else {
        targets.push(Target::Engine);
    }
    targets.into_iter().flat_map(|target| [(target, How::Kill), (target, How::Pause)]).collect()
}

fn blow(dice: &mut StdRng, target: Target, how: How) -> Blow {
    Blow { target, how, lasts: Duration::from_millis(dice.random_range(200..4_000)) }
}

//! What happens to the system while requests come, each time to one that was started anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use futures::future::join_all;
use tests::{Apart, CUSTOMER, Part, Plan, Shop, until};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;
use workflows::Role;

use crate::audit::{ON_HAND, audit, bring};
use crate::load::{Caller, Load, Placed, Rate, Request};
use crate::report::Outcome;

/// How many orders are placed one after another before requests come: everything is as it will be when the first one does.
const FIRST: usize = 5;
/// How often probes are asked, as an orchestrator would.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// After so many bad answers in a row, it has a process restarted.
const SICK_AFTER: u32 = 3;
/// How long the store stands still, and how long it is gone.
const PAUSED_FOR: Duration = Duration::from_secs(8);
const GONE_FOR: Duration = Duration::from_secs(3);
/// How many customers place orders then, at most how often and how many at once, while fewer attempts than that wait for a place
/// at each worker; and how much two workers have to be faster than one.
const CUSTOMERS: usize = 24;
const WANTED_EVERY: Duration = Duration::from_millis(150);
const WANTED_AT_ONCE: usize = 4;
const FEW: f64 = 8.0;
const FASTER: f64 = 1.7;
/// How many orders couriers bring at a time.
const COURIERS: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// A second worker makes work that waits for slow providers faster
    Throughput,
    /// A worker is added, and one is removed
    Scale,
    /// Both APIs and both workers are replaced, one after another
    Roll,
    /// The same where nobody asks who is ready, to see what readiness is for
    RollWithoutReadiness,
    /// A new version of the worker takes over; the old one is stopped when its orders have ended
    Version,
    /// A node of the engine is killed, and comes back
    EngineNode,
    /// A worker becomes sick, and is restarted because of its probe
    SickWorker,
    /// The store stands still, and later dies
    SlowStore,
}

impl Scenario {
    const fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Scale => "scale",
            Self::Roll => "roll",
            Self::RollWithoutReadiness => "roll-without-readiness",
            Self::Version => "version",
            Self::EngineNode => "engine-node",
            Self::SickWorker => "sick-worker",
            Self::SlowStore => "slow-store",
        }
    }

    fn plan(self, Bound { attempts_at_once, .. }: Bound) -> Plan {
        let plan = Plan::default();
        match self {
            Self::Throughput => Plan { workers: 1, attempts_at_once: Some(attempts_at_once), ..plan },
            Self::RollWithoutReadiness => Plan { readiness: false, ..plan },
            _ => plan,
        }
    }
}

/// What bounds the throughput of a worker, where that is the point.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Of each context.
    pub attempts_at_once: u32,
    /// How long providers take.
    pub provider: Duration,
}

/// What was seen while requests came.
#[derive(Default)]
struct Seen {
    claims: Vec<(String, bool)>,
    notes: Vec<String>,
    /// When the system could not be expected to answer, since the load began.
    away: Vec<(Duration, Duration)>,
}

impl Seen {
    fn claim(&mut self, what: impl Into<String>, holds: bool) {
        self.claims.push((what.into(), holds));
    }

    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

/// Starts a system, lets it happen, and counts.
pub async fn play(scenario: Scenario, rate: Rate, time: Duration, bound: Bound) -> Outcome {
    let name = scenario.name();
    say(name, "starting");
    let system = Apart::start(scenario.plan(bound)).await;
    let shop = Shop::open(&system.jumun).await;
    shop.put_product("chili", 9_000, ON_HAND).await;
    let mut seen = Seen::default();
    let (requests, acknowledged, busy) = if scenario == Scenario::Throughput {
        let busy = Busy::begin();
        let acknowledged = throughput(&system, &shop, time, bound, &mut seen).await;
        (Vec::new(), acknowledged, busy.percent())
    } else {
        say(name, "requests come");
        let mut placed = Vec::new();
        for _ in 0..FIRST {
            placed.push(Placed { id: shop.placed().await, stands: true });
        }
        let (load, busy) = (Load::begin(&system, &shop, rate, placed), Busy::begin());
        load.reaches(time / 5).await;
        happen(scenario, &system, &load, &mut seen).await;
        load.reaches(time).await;
        let busy = busy.percent();
        let (requests, acknowledged) = load.end().await;
        (requests, acknowledged, busy)
    };
    say(name, &format!("{} orders were acknowledged; counting", acknowledged.len()));
    let counted = audit(&system, &shop, &acknowledged).await;
    let mut outcome = Outcome::of(name, &requests, &acknowledged, counted);
    outcome.busy_percent = busy;
    conclude(scenario, &mut outcome, seen, &requests);
    for part in [Part::Api, Part::Worker] {
        let downs: Vec<_> = system.numbers(part).into_iter().map(|number| system.downs(part, number)).collect();
        if downs.iter().any(|downs| *downs > 0) {
            outcome.note(format!("the proxy took {part:?} processes that still run for gone: {downs:?} times"));
        }
    }
    say(name, if outcome.holds() { "all of it holds" } else { "NOT ALL OF IT HOLDS" });
    outcome
}

async fn happen(scenario: Scenario, system: &Apart, load: &Load, seen: &mut Seen) {
    match scenario {
        Scenario::Throughput => unreachable!("it has a load of its own"),
        Scenario::Scale => scale(system, seen).await,
        Scenario::Roll | Scenario::RollWithoutReadiness => roll(system, seen).await,
        Scenario::Version => version(system, load, seen).await,
        Scenario::EngineNode => engine_node(system, seen).await,
        Scenario::SickWorker => sick_worker(system, seen).await,
        Scenario::SlowStore => slow_store(system, load, seen).await,
    }
}

fn conclude(scenario: Scenario, outcome: &mut Outcome, seen: Seen, requests: &[Request]) {
    let Seen { claims, notes, away } = seen;
    let was_away =
        |request: &Request| away.iter().any(|(from, to)| request.at <= *to && request.at + request.took >= *from);
    match scenario {
        Scenario::Throughput => {}
        Scenario::RollWithoutReadiness => {
            outcome.note(format!("without readiness {} of {} requests failed", outcome.failed, outcome.requests));
        }
        Scenario::SlowStore => {
            let failed = requests.iter().filter(|request| request.failed() && !was_away(request)).count();
            outcome.claim("no request failed but while the store was away", failed == 0);
            if failed > 0 {
                outcome.note(format!("{failed} failed while the store was there"));
            }
        }
        _ => outcome.claim("no request failed", outcome.failed == 0),
    }
    outcome.claim("no order was lost: each is closed, delivered, charged once", outcome.lost.is_empty());
    outcome.notes.extend(notes);
    for (what, holds) in claims {
        outcome.claim(what, holds);
    }
    let (untold, undecided) = (outcome.untold, outcome.undecided);
    if untold > 0 {
        outcome.note(format!("{untold} orders stand whose placement had failed: nobody was told of them"));
    }
    if undecided > 0 {
        outcome.note(format!("{undecided} orders were acknowledged before they were decided (202)"));
    }
    if outcome.orders > 0 {
        outcome.note(format!("the last order was with the courier {:.1} s after the load", outcome.settled_after_s));
    }
}

async fn scale(system: &Apart, seen: &mut Seen) {
    let added = system.add(Part::Worker).await;
    say("scale", "a third worker is there");
    sleep(Duration::from_secs(5)).await;
    let done = done(system, Part::Worker, added).await;
    seen.claim(format!("the added worker gets work: {done:.0} attempts in 5 s"), done > 0.0);
    system.remove(Part::Worker, 0).await;
    say("scale", "the first worker is gone");
}

async fn roll(system: &Apart, seen: &mut Seen) {
    let began = Instant::now();
    for part in [Part::Api, Part::Worker] {
        for number in system.numbers(part) {
            let added = system.add(part).await;
            system.remove(part, number).await;
            say("roll", &format!("{part:?} {number} is replaced by {added}"));
        }
    }
    seen.note(format!("four processes were replaced within {:.0} s", began.elapsed().as_secs_f64()));
}

async fn version(system: &Apart, load: &Load, seen: &mut Seen) {
    let old = system.numbers(Part::Worker);
    for _ in &old {
        system.add(Part::NextWorker).await;
    }
    system.register(Part::NextWorker).await;
    say("version", "the next version is registered");
    let began = Instant::now();
    let (operator, courier) =
        (Caller::new(system, Role::Operator, "observer"), Caller::new(system, Role::Courier, "courier"));
    // An order stays on its version until it has ended: until it is brought.
    let mut brought = 0;
    let drained = until("the old version to drain", async || {
        let all = load.acknowledged();
        for some in all[brought..].chunks(COURIERS) {
            // What is not brought is found when all are counted.
            let _ = join_all(some.iter().map(|placed| bring(&operator, &courier, &placed.id))).await;
        }
        brought = all.len();
        matches!(system.deployment(Part::Worker).await, Some((false, 0))).then_some(())
    });
    drained.await;
    seen.note(format!(
        "the old version was drained {:.0} s after the next was registered",
        began.elapsed().as_secs_f64()
    ));
    system.prune().await;
    seen.claim("the old version is forgotten", system.deployment(Part::Worker).await.is_none());
    for number in old {
        system.remove(Part::Worker, number).await;
    }
    say("version", "the old workers are gone");
    let current = system.deployment(Part::NextWorker).await;
    seen.claim("the next version takes everything", current.is_some_and(|(current, _)| current));
}

async fn engine_node(system: &Apart, seen: &mut Seen) {
    system.kill_node(0);
    say("engine-node", "node 0 is killed");
    sleep(Duration::from_secs(10)).await;
    system.cluster.restart(0).await;
    say("engine-node", "node 0 is back");
    seen.note("the node that founded the cluster, which both APIs ask first, was dead for 10 s");
}

/// Plays the supervisor, who knows the probe and nothing else.
async fn sick_worker(system: &Apart, seen: &mut Seen) {
    let sick = system.numbers(Part::Worker)[0];
    seen.claim("a worker is alive", system.probe(Part::Worker, sick, "/livez").await == Some(200));
    system.sicken(Part::Worker, sick).await;
    let mut bad = 0;
    let noticed = until("the worker to be sick", async || {
        let alive = system.probe(Part::Worker, sick, "/livez").await == Some(200);
        bad = if alive { 0 } else { bad + 1 };
        sleep(PROBE_EVERY).await;
        (bad >= SICK_AFTER).then_some(())
    });
    noticed.await;
    seen.claim("made sick, it is not alive by its probe", true);
    system.kill(Part::Worker, sick);
    say("sick-worker", "the sick worker is killed");
    system.start_again(Part::Worker, sick).await;
    say("sick-worker", "and started again");
    let well = system.probe(Part::Worker, sick, "/livez").await == Some(200);
    seen.claim("started again, it is alive", well);
    sleep(Duration::from_secs(5)).await;
    let done = done(system, Part::Worker, sick).await;
    seen.claim(format!("and works: {done:.0} attempts in 5 s"), done > 0.0);
}

async fn slow_store(system: &Apart, load: &Load, seen: &mut Seen) {
    for (fault, mended, time, what) in
        [("pause", "resume", PAUSED_FOR, "stands still"), ("kill", "start", GONE_FOR, "is killed")]
    {
        let from = load.began.elapsed();
        system.make(fault).await;
        say("slow-store", &format!("the store {what}"));
        let (ended, watched) = (CancellationToken::new(), Instant::now());
        let alive = watch(system, "/livez", &ended);
        let broken = async {
            let unready = all_answer(system, 503).await;
            sleep(time.saturating_sub(watched.elapsed())).await;
            system.make(mended).await;
            let mended = Instant::now();
            all_answer(system, 200).await;
            system.all_seen().await;
            ended.cancel();
            (unready, mended.elapsed())
        };
        let (alive, (unready, back)) = tokio::join!(alive, broken);
        seen.away.push((from, load.began.elapsed()));
        say("slow-store", "all are ready again");
        seen.claim(
            format!("when the store {what}, no API and no worker is ready any more ({unready:.1?} later)"),
            true,
        );
        seen.claim("all of them stay alive", alive);
        seen.claim(format!("{mended}: all are ready again by themselves ({back:.1?} later)"), true);
        // As it was before, for a while.
        sleep(Duration::from_secs(5)).await;
    }
}

/// All processes of both parts.
fn processes(system: &Apart) -> Vec<(Part, usize)> {
    let of = |part| system.numbers(part).into_iter().map(move |number| (part, number));
    of(Part::Api).chain(of(Part::Worker)).collect()
}

/// Whether all of them answered 200 at a probe whenever they were asked until then.
async fn watch(system: &Apart, probe: &str, ended: &CancellationToken) -> bool {
    let mut always = true;
    while !ended.is_cancelled() {
        let answers = join_all(processes(system).into_iter().map(|(part, number)| system.probe(part, number, probe)));
        let answers = answers.await;
        if answers.iter().any(|answer| *answer != Some(200)) {
            say("probes", &format!("{probe}: {answers:?}"));
            always = false;
        }
        sleep(PROBE_EVERY).await;
    }
    always
}

/// Waits until all of them answer so when they are asked whether they are ready; how long that took.
async fn all_answer(system: &Apart, status: u16) -> Duration {
    let began = Instant::now();
    until(&format!("everybody's /readyz to answer {status}"), async || {
        let asked = processes(system).into_iter().map(|(part, number)| system.probe(part, number, "/readyz"));
        join_all(asked).await.iter().all(|answer| *answer == Some(status)).then_some(())
    })
    .await;
    began.elapsed()
}

/// Attempts that a worker has brought to an end.
async fn done(system: &Apart, part: Part, number: usize) -> f64 {
    system.measure(part, number, "jumun_step_attempts_total", "done").await
}

/// Customers place orders as fast as they are worked off, so that some attempts always wait and never many; first there is one
/// worker, then there are two.
async fn throughput(
    system: &Apart,
    shop: &Shop<'_>,
    time: Duration,
    Bound { attempts_at_once, provider }: Bound,
    seen: &mut Seen,
) -> Vec<Placed> {
    system.slow_down(provider).await;
    seen.note(format!(
        "providers take {provider:?}; a worker makes {attempts_at_once} attempts of each context at once"
    ));
    let wanted = Arc::new(Semaphore::new(0));
    let mut customers = JoinSet::new();
    for _ in 0..CUSTOMERS {
        let (caller, order, wanted) =
            (Caller::new(system, Role::Customer, CUSTOMER), shop.request("tok_ok", 1), wanted.clone());
        customers.spawn(async move {
            let (mut placed, mut refused) = (Vec::new(), 0_usize);
            while let Ok(one) = wanted.acquire().await {
                one.forget();
                let key = uuid::Uuid::now_v7().to_string();
                let answer = caller.ask(reqwest::Method::POST, "/v1/orders", Some((&key, &order))).await;
                match answer.ok().and_then(|(status, body)| Placed::of(status, &body)) {
                    Some(order) => placed.push(order),
                    None => refused += 1,
                }
            }
            (placed, refused)
        });
    }
    let measuring = async {
        let one = pace(system, shop, time, seen, "one worker").await;
        system.add(Part::Worker).await;
        let two = pace(system, shop, time, seen, "two workers").await;
        two / one
    };
    let faster = tokio::select! {
        faster = measuring => faster,
        never = ask_for_more(system, &wanted) => never,
    };
    seen.claim(format!("two workers are {faster:.2} times as fast as one, at least {FASTER}"), faster >= FASTER);
    wanted.close();
    let all = customers.join_all().await;
    let refused: usize = all.iter().map(|(_, refused)| refused).sum();
    seen.claim("no request failed", refused == 0);
    all.into_iter().flat_map(|(placed, _)| placed).collect()
}

/// Wants more orders whenever few attempts wait for a place.
async fn ask_for_more(system: &Apart, wanted: &Semaphore) -> ! {
    let mut often = interval(WANTED_EVERY);
    loop {
        often.tick().await;
        let waiting = waiting(system).await;
        let few = FEW * f64::from(u32::try_from(waiting.len()).expect("a handful"));
        if waiting.iter().sum::<f64>() < few && wanted.available_permits() == 0 {
            wanted.add_permits(WANTED_AT_ONCE);
        }
    }
}

/// How many attempts wait for a place on each worker.
async fn waiting(system: &Apart) -> Vec<f64> {
    let numbers = system.numbers(Part::Worker);
    join_all(numbers.iter().map(|number| system.measure(Part::Worker, *number, "jumun_worker_attempts_waiting", "")))
        .await
}

/// How many attempts at what providers do succeed in a second, once that goes on evenly.
async fn pace(system: &Apart, shop: &Shop<'_>, time: Duration, seen: &mut Seen, who: &str) -> f64 {
    say("throughput", who);
    sleep(time / 2).await;
    let operator = Caller::new(system, Role::Operator, "observer");
    let count = async || {
        let path = format!("/v1/dashboard?merchant_id={}", shop.merchant_id);
        let dashboard = operator.certain(reqwest::Method::GET, &path).await.expect("a dashboard");
        let tallies = dashboard["statuses"].as_array().into_iter().flatten();
        let arrived = tallies.filter(|tally| tally["status"] == "in_delivery");
        arrived.filter_map(|tally| tally["orders"].as_f64()).sum::<f64>()
    };
    let attempts = async || {
        let numbers = system.numbers(Part::Worker);
        join_all(numbers.iter().map(|number| done_by_providers(system, *number))).await.iter().sum::<f64>()
    };
    let (busy, began) = (Busy::begin(), Instant::now());
    let (orders, steps) = (count().await, attempts().await);
    sleep(time).await;
    let (orders, steps) = (count().await - orders, attempts().await - steps);
    let seconds = began.elapsed().as_secs_f64();
    seen.note(format!(
        "{who}: {:.1} attempts a second at what providers do, {:.1} orders a second got to the courier; {:?} attempts wait \
         for a place; processors busy {:.0} %, {:.0} % with what the host does beside this machine",
        steps / seconds,
        orders / seconds,
        waiting(system).await,
        busy.percent(),
        busy.stolen_percent(),
    ));
    steps / seconds
}

/// What orders write themselves is not among it.
async fn done_by_providers(system: &Apart, number: usize) -> f64 {
    let by_orders = system.measure(Part::Worker, number, "jumun_step_attempts_total", "step=\"order.").await;
    done(system, Part::Worker, number).await - by_orders
}

/// How busy this machine's processors are, with what does not make way for others (as builds do). Where the system does not
/// tell, not at all.
struct Busy {
    began: Times,
}

/// In ticks of all processors.
#[derive(Clone, Copy)]
struct Times {
    busy: f64,
    /// Of that, what the host of a virtual machine did instead.
    stolen: f64,
    all: f64,
}

impl Busy {
    fn begin() -> Self {
        Self { began: Times::now() }
    }

    /// Of a hundred, since it began.
    fn percent(&self) -> f64 {
        self.share(|times| times.busy)
    }

    /// How much of a hundred the host took for others.
    fn stolen_percent(&self) -> f64 {
        self.share(|times| times.stolen)
    }

    fn share(&self, of: impl Fn(Times) -> f64) -> f64 {
        let now = Times::now();
        let all = now.all - self.began.all;
        if all > 0.0 { 100.0 * (of(now) - of(self.began)) / all } else { 0.0 }
    }
}

impl Times {
    fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let first = stat.lines().next().unwrap_or_default();
        let mut times = first.split_whitespace().skip(1).map_while(|time| time.parse::<f64>().ok());
        let mut next = || times.next().unwrap_or_default();
        let [user, nice, system, idle, waiting, irq, softirq, stolen] = std::array::from_fn(|_| next());
        let busy = user + system + irq + softirq + stolen;
        Self { busy, stolen, all: busy + nice + idle + waiting }
    }
}

fn say(scenario: &str, what: &str) {
    eprintln!("{} {scenario}: {what}", chrono::Utc::now().format("%H:%M:%S"));
}

//! Providers that misbehave as a test tells them to: the built-in ones, wrapped. A fault belongs to a step, and to every
//! order or to those of one merchant, so that many orders can live at once, each with faults of its own, and a new step
//! can be faulted without anything new here.

mod inside;
mod ports;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use activities::Activities;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use workflows::provider::OrderRef;
use workflows::{MerchantId, MessageId, OrderId, ProviderError, Step};

pub use self::inside::forbidden_ports;
pub(crate) use self::inside::open;
use self::ports::Faulted;
use crate::until;

/// The variable that names the directory of the faults of a process under test.
pub(crate) const DIRECTORY: &str = "JUMUN_TEST_FAULTS";
const SCRIPTS: &str = "scripts.json";
const POLL: Duration = Duration::from_millis(20);

/// What goes wrong with one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Fault {
    /// It panics before anything happens.
    Panic,
    /// It fails before anything happens.
    Fail,
    /// It takes a second, and succeeds.
    Slow,
    /// It never comes back.
    Hang,
    /// It takes effect, and fails all the same.
    LoseReply,
    /// It takes effect, and panics.
    PanicAfter,
    /// It is said to be impossible before anything happens.
    Impossible,
    /// It takes effect, and is said to be impossible.
    ImpossibleAfter,
    /// It arrives twice, one after the other, and both are answered alike.
    Twice,
    /// It waits, before anything happens, until the test lets it go on.
    Hold,
    /// It takes effect, and waits until the test lets it go on.
    HoldAfter,
}

/// Where in a step it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Place {
    /// In the call of the provider.
    Provider,
    /// In the record of the events.
    Record,
}

/// So many attempts at one place of a step, and what goes wrong with each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    pub step: Step,
    pub place: Place,
    pub fault: Fault,
    pub times: usize,
}

/// Whose call it is.
struct Call {
    order_id: OrderId,
    merchant_id: MerchantId,
    step: Step,
    place: Place,
}

type Points = BTreeMap<(Step, Place), VecDeque<Fault>>;

/// What becomes of one merchant's orders.
#[derive(Default)]
struct Script {
    points: Points,
    /// Every call so far.
    calls: Vec<(Step, Place)>,
    order_id: Option<OrderId>,
    /// How many holds were met.
    holds: usize,
    /// Calls that were not answered alike when they came twice.
    contradictions: Vec<String>,
}

#[derive(Default)]
struct Plan {
    everywhere: Points,
    scripts: BTreeMap<MerchantId, Script>,
    /// Messages name their order, but not its merchant.
    merchants: BTreeMap<OrderId, MerchantId>,
}

/// The faults to come; each is met once. Those who hold a call and those who let it go on may be two processes, so they
/// meet in a directory.
pub struct Faults {
    plan: Mutex<Plan>,
    directory: PathBuf,
    /// Where the directory is this value's own.
    _own: Option<TempDir>,
}

impl Default for Faults {
    fn default() -> Self {
        let own = TempDir::new().expect("a temporary directory");
        Self { plan: Mutex::default(), directory: own.path().to_owned(), _own: Some(own) }
    }
}

/// The adapters of a process under test, faulted as the test has written it down, if it has.
#[must_use]
pub fn faulted(inner: Activities) -> Activities {
    match std::env::var_os(DIRECTORY) {
        Some(directory) => Arc::new(Faults::read(directory.into())).wrap(inner),
        None => inner,
    }
}

/// How far a call has come that is held.
#[derive(Clone, Copy, Debug)]
enum Mark {
    /// It has arrived; nothing has happened yet.
    Met,
    /// It waits.
    Held,
    /// It may go on.
    Open,
}

impl Faults {
    /// Those that a test has written down there.
    fn read(directory: PathBuf) -> Self {
        let faults = Self { plan: Mutex::default(), directory, _own: None };
        let written = std::fs::read(faults.directory.join(SCRIPTS)).expect("the test wrote them down");
        let scripts: Vec<(MerchantId, Vec<Planned>)> = serde_json::from_slice(&written).expect("reads");
        for (merchant_id, script) in scripts {
            faults.script(&merchant_id, &script);
        }
        faults
    }

    /// Writes faults down for a process that is yet to start.
    pub fn write_down(&self, scripts: &[(MerchantId, Vec<Planned>)]) {
        let written = serde_json::to_vec(scripts).expect("serialises");
        std::fs::write(self.directory.join(SCRIPTS), written).expect("writes");
    }

    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Plans faults for whichever orders come first.
    pub fn plan(&self, step: Step, place: Place, faults: &[Fault]) {
        self.locked().everywhere.entry((step, place)).or_default().extend(faults);
    }

    /// Plans faults for the orders of one merchant.
    pub fn script(&self, merchant_id: &MerchantId, script: &[Planned]) {
        let mut plan = self.locked();
        let points = &mut plan.scripts.entry(merchant_id.clone()).or_default().points;
        for planned in script {
            let faults = std::iter::repeat_n(planned.fault, planned.times);
            points.entry((planned.step, planned.place)).or_default().extend(faults);
        }
    }

    /// Forgets what was planned and not met.
    pub fn clear(&self) {
        self.locked().everywhere.clear();
    }

    /// Whether every fault was met that was planned for whichever orders come first.
    #[must_use]
    pub fn all_met(&self) -> bool {
        self.locked().everywhere.values().all(VecDeque::is_empty)
    }

    /// What did not go as planned with a merchant's orders: faults that were not met, calls that were answered
    /// differently when they came twice.
    #[must_use]
    pub fn unplanned(&self, merchant_id: &MerchantId) -> Vec<String> {
        let plan = self.locked();
        let Some(script) = plan.scripts.get(merchant_id) else { return Vec::new() };
        let unmet = script.points.iter().filter(|(_, faults)| !faults.is_empty());
        let unmet = unmet.map(|((step, place), faults)| format!("{step} never met {faults:?} at its {place:?}"));
        unmet.chain(script.contradictions.iter().cloned()).collect()
    }

    /// The steps that a merchant's orders have called so far, each as often as it followed another one.
    #[must_use]
    pub fn called(&self, merchant_id: &MerchantId) -> Vec<Step> {
        let plan = self.locked();
        let calls = plan.scripts.get(merchant_id).map(|script| script.calls.as_slice()).unwrap_or_default();
        let mut steps: Vec<_> = calls.iter().map(|(step, _)| *step).collect();
        steps.dedup();
        steps
    }

    /// Waits until an order of the merchant's is known.
    pub async fn order(&self, merchant_id: &MerchantId) -> OrderId {
        until("an order", async || self.locked().scripts.get(merchant_id)?.order_id.clone()).await
    }

    /// Whether the merchant's `number`-th held call (from 0) has arrived, whether or not it has taken effect.
    #[must_use]
    pub fn is_met(&self, merchant_id: &MerchantId, number: usize) -> bool {
        self.mark(merchant_id, number, Mark::Met).exists()
    }

    /// Waits until it is held.
    pub async fn held(&self, merchant_id: &MerchantId, number: usize) {
        let held = self.mark(merchant_id, number, Mark::Held);
        until(&format!("hold {number} of {merchant_id}"), async || held.exists().then_some(())).await;
    }

    /// Lets it go on.
    pub fn open(&self, merchant_id: &MerchantId, number: usize) {
        self.leave(merchant_id, number, Mark::Open);
    }

    fn mark(&self, merchant_id: &MerchantId, number: usize, mark: Mark) -> PathBuf {
        self.directory.join(format!("{merchant_id}.{number}.{mark:?}"))
    }

    fn leave(&self, merchant_id: &MerchantId, number: usize, mark: Mark) {
        std::fs::write(self.mark(merchant_id, number, mark), "").expect("writes");
    }

    /// The order that a message is about, and whose it is; `None` where that was never heard here.
    fn order_of(&self, message_id: &MessageId) -> Option<OrderRef> {
        let digits = message_id.as_str().split('_').nth(1)?;
        let order_id: OrderId = format!("ord_{digits}").parse().ok()?;
        let merchant_id = self.locked().merchants.get(&order_id)?.clone();
        Some(OrderRef { order_id, merchant_id })
    }

    fn locked(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().expect("no panic")
    }

    /// Notes the call, and takes its fault from the plan, with the number of its hold if it is one.
    fn meet(&self, call: &Call) -> Option<(Fault, usize)> {
        let mut plan = self.locked();
        let plan = &mut *plan;
        let point = (call.step, call.place);
        plan.merchants.entry(call.order_id.clone()).or_insert_with(|| call.merchant_id.clone());
        let Some(script) = plan.scripts.get_mut(&call.merchant_id) else {
            return Some((plan.everywhere.get_mut(&point)?.pop_front()?, 0));
        };
        script.order_id = Some(call.order_id.clone());
        script.calls.push(point);
        let fault = script.points.get_mut(&point)?.pop_front()?;
        let number = script.holds;
        if matches!(fault, Fault::Hold | Fault::HoldAfter) {
            script.holds += 1;
            self.leave(&call.merchant_id, number, Mark::Met);
        }
        Some((fault, number))
    }

    async fn around<T, F>(&self, at: Call, call: impl Fn() -> F) -> Result<T, ProviderError>
    where
        T: Debug + PartialEq,
        F: Future<Output = Result<T, ProviderError>>,
    {
        let Some((fault, number)) = self.meet(&at) else { return call().await };
        let step = at.step;
        match fault {
            Fault::Panic => panic!("planned, before {step}"),
            Fault::Fail => Err(ProviderError::unavailable("planned")),
            Fault::Slow => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                call().await
            }
            Fault::Hang => std::future::pending().await,
            Fault::LoseReply => {
                call().await?;
                Err(ProviderError::unavailable("planned, after it took effect"))
            }
            Fault::PanicAfter => {
                call().await?;
                panic!("planned, after {step}")
            }
            Fault::Impossible => Err(ProviderError::impossible("planned")),
            Fault::ImpossibleAfter => {
                call().await?;
                Err(ProviderError::impossible("planned, after it took effect"))
            }
            Fault::Twice => {
                let (first, second) = (call().await?, call().await);
                if !matches!(&second, Ok(second) if *second == first) {
                    let script = &mut self.locked().scripts;
                    let script = script.entry(at.merchant_id).or_default();
                    script.contradictions.push(format!("{step} was answered {first:?}, and then {second:?}"));
                }
                Ok(first)
            }
            Fault::Hold => {
                self.hold(&at, number).await;
                call().await
            }
            Fault::HoldAfter => {
                let answer = loop {
                    match call().await {
                        // It has not taken effect yet, for example because the machine is busy.
                        Err(ProviderError::Unavailable(_)) => tokio::time::sleep(POLL).await,
                        answer => break answer,
                    }
                };
                self.hold(&at, number).await;
                answer
            }
        }
    }

    async fn hold(&self, at: &Call, number: usize) {
        self.leave(&at.merchant_id, number, Mark::Held);
        let open = self.mark(&at.merchant_id, number, Mark::Open);
        while !open.exists() {
            tokio::time::sleep(POLL).await;
        }
    }

    /// The adapters, faulted.
    #[must_use]
    pub fn wrap(self: &Arc<Self>, inner: Activities) -> Activities {
        Activities {
            orders: Arc::new(Faulted { inner: inner.orders, faults: self.clone() }),
            audit: inner.audit,
            payments: Arc::new(Faulted { inner: inner.payments, faults: self.clone() }),
            stock: Arc::new(Faulted { inner: inner.stock, faults: self.clone() }),
            deliveries: Arc::new(Faulted { inner: inner.deliveries, faults: self.clone() }),
            kitchen: Arc::new(Faulted { inner: inner.kitchen, faults: self.clone() }),
            promotions: Arc::new(Faulted { inner: inner.promotions, faults: self.clone() }),
            notifications: Arc::new(Faulted { inner: inner.notifications, faults: self.clone() }),
            merchants: inner.merchants,
            vault: inner.vault,
            sandbox: inner.sandbox,
        }
    }
}

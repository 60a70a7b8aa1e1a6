//! `POST /v1/orders/bulk`: one command to all orders that match a filter. Counted first, so that nobody cancels more than
//! they have seen; bounded in number and in time, so that no call is too large to be answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use poem_openapi::payload::Json;
use poem_openapi::types::ToJSON;
use poem_openapi::{Enum, Object, OpenApi};
use serde_json::json;
use tokio::time::Instant;
use tracing::{error, info};
use workflows::audit::{Act, End, Outcome};
use workflows::order::rules::{self, Admission};
use workflows::order::{OrderFilter, Stuck};
use workflows::{Command, MerchantId, OrderId, Role, Status, Step};

use super::command::CommandOrders;
use super::read::find;
use super::retry::{self, Retrying};
use crate::access::Caller;
use crate::ask::ask;
use crate::audit::Trail;
use crate::body::Body;
use crate::dashboard::stuck_since_before;
use crate::engine::{EngineError, Invocation};
use crate::json::StatusName;
use crate::kind::Kind;
use crate::problem::{Members, Problem, Refused, refusals};
use crate::tags::Tag;
use crate::value::{Checked, CustomerId, Matched, Reason};

/// How many orders one call is about at most.
const LARGEST: u32 = 1_000;
/// How many of them are named in the answer at most.
const NAMED: usize = 20;
/// How many failures are told in the answer at most.
const TOLD: usize = 100;
/// How many commands are under way at the same time.
const SIDE_BY_SIDE: usize = 16;
/// For how long commands are begun. One that was begun has its own limit, so that all is over within half a minute.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);
/// Of how many workflows the engine is asked at once.
const ASKED_AT_ONCE: usize = 200;

#[derive(Clone)]
pub(crate) struct BulkOrders {
    pub commands: CommandOrders,
    pub retrying: Retrying,
    /// For how long an order has to be without progress to count as stuck.
    pub stuck_after: Duration,
    pub trail: Trail,
}

refusals! {
    BulkCommand: InvalidRequest, Forbidden, RequestTimeout, CountChanged, BodyTooLarge, UnsupportedMediaType, TryAgainLater;
}

/// One command to many orders.
#[derive(Clone, Object)]
#[oai(deny_unknown_fields)]
struct BulkBody {
    /// Which orders: those that match all of it. At least one part has to be there.
    filter: BulkFilter,
    /// What is asked of each.
    command: BulkCommandName,
    /// Why, for those who read the orders later.
    #[oai(nullable)]
    reason: Option<Checked<Reason>>,
    /// `true` counts, and does nothing.
    dry_run: bool,
    /// What the dry run has counted (`matched`). Needed where `dry_run` is `false`: nothing is done if it no longer holds.
    #[oai(nullable)]
    expected: Option<Checked<Matched>>,
}

/// Which orders.
#[derive(Clone, Object)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none)]
struct BulkFilter {
    /// Only orders at this status.
    #[oai(nullable)]
    status: Option<StatusName>,
    /// Only orders of this merchant.
    #[oai(nullable)]
    merchant_id: Option<Checked<MerchantId>>,
    /// Only orders of this customer.
    #[oai(nullable)]
    customer_id: Option<Checked<CustomerId>>,
    /// Only orders placed after this time.
    #[oai(nullable)]
    placed_after: Option<Checked<DateTime<Utc>>>,
    /// Only orders placed before this time.
    #[oai(nullable)]
    placed_before: Option<Checked<DateTime<Utc>>>,
    /// Only orders that are stuck, or only those that are not.
    #[oai(nullable)]
    stuck: Option<bool>,
    /// Only orders at whose step the latest attempt has failed: a step as `GET /v1/dashboard` names it in `stuck_at`.
    #[oai(nullable)]
    failing_step: Option<Checked<Step>>,
}

/// What can be asked of many orders at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename = "BulkCommand", rename_all = "kebab-case")]
enum BulkCommandName {
    Cancel,
    Retry,
}

/// What one command to many orders came to.
#[derive(Object)]
struct BulkAnswer {
    /// What was asked of each.
    command: BulkCommandName,
    /// Whether they were only counted.
    dry_run: bool,
    /// How many orders match, up to 1,000.
    matched: u32,
    /// Whether there are more than that. They are left alone: the next call finds them.
    more: bool,
    /// The first of them, newest first; at most 20.
    order_ids: Vec<Checked<OrderId>>,
    /// What became of them; null in a dry run.
    #[oai(nullable)]
    outcomes: Option<Outcomes>,
    /// Orders that did not take the command, or did not answer; at most 100.
    failures: Vec<Failure>,
}

/// How many orders came to which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Object)]
struct Outcomes {
    /// They took the command.
    accepted: u32,
    /// They had taken it before.
    carried_out: u32,
    /// They do not take it now: they have gone on meanwhile, their lifecycle forbids it, or there is nothing to retry.
    not_allowed: u32,
    /// They gave no answer in time. The command may take effect all the same, and asking again is safe.
    failed: u32,
    /// Their turn did not come in time: ask again.
    not_tried: u32,
}

/// An order that did not take the command.
#[derive(Object)]
#[oai(rename = "BulkFailure")]
struct Failure {
    /// The order.
    order_id: Checked<OrderId>,
    /// Which problem it is, as `type` of the problem that the order's own command would have answered.
    #[oai(rename = "type")]
    kind: String,
    /// What it comes from, for a person.
    detail: String,
}

/// What it came to with one order.
#[derive(Debug)]
enum Came {
    Accepted,
    CarriedOut,
    Refused(Problem),
    NotTried,
}

#[OpenApi(prefix_path = "/v1/orders", tag = "Tag::Operations")]
impl BulkOrders {
    /// Command many orders
    ///
    /// Asks `cancel` or `retry` of all orders that match the filter, each as if it were asked alone. Call it with
    /// `dry_run` first, and then with the count that it answers as `expected`; `placed_before` keeps orders out that are
    /// placed in between. Orders that have ended never match, nor do those that cannot be cancelled any more, or are
    /// being cancelled, if that is what is asked. One call is about 1,000 orders at most and takes half a minute at most:
    /// as long as there are `more`, or some were `not_tried`, ask again. Nothing happens twice.
    #[oai(path = "/bulk", method = "post", operation_id = "bulk_command_orders")]
    async fn bulk(&self, caller: Caller, body: Body<BulkBody>) -> Result<Json<BulkAnswer>, Refused<BulkCommand>> {
        caller.must_be(&[Role::Operator])?;
        let Body(body) = body;
        let filter = self.filter(&body)?;
        let mut ids = ask("orders.ids", self.commands.orders.order_ids(&filter)).await?;
        let more = ids.len() > LARGEST as usize;
        ids.truncate(LARGEST as usize);
        let matched = u32::try_from(ids.len()).expect("not more than the largest");
        let mut answer = BulkAnswer {
            command: body.command,
            dry_run: body.dry_run,
            matched,
            more,
            order_ids: ids.iter().take(NAMED).cloned().map(Checked).collect(),
            outcomes: None,
            failures: Vec::new(),
        };
        if body.dry_run {
            return Ok(Json(answer));
        }
        match body.expected {
            Some(Checked(Matched(expected))) if expected == matched => {}
            Some(Checked(Matched(expected))) => return Err(count_changed(expected, matched).into()),
            None => return Err(uncounted().into()),
        }
        let act = body.act(&caller, matched);
        let entry = self.trail.begin(&act).await?;
        // In a task of its own: a caller who does not wait for the answer leaves nothing half done.
        let this = self.clone();
        let commanded = tokio::spawn(async move {
            answer.tell(this.command_all(&caller, ids, &body).await);
            info!(command = ?answer.command, matched, outcomes = ?answer.outcomes, "bulk command");
            let counts = answer.outcomes.as_ref().and_then(ToJSON::to_json);
            this.trail.end(&entry, &End { outcome: Outcome::Done, problem: None, counts }).await;
            answer
        });
        let answer = commanded.await.map_err(|panic| {
            error!(%panic, "a bulk command ended early");
            Problem::internal()
        })?;
        Ok(Json(answer))
    }
}

impl BulkOrders {
    fn filter(&self, body: &BulkBody) -> Result<OrderFilter, Problem> {
        let BulkFilter { status, merchant_id, customer_id, placed_after, placed_before, stuck, failing_step } =
            body.filter.clone();
        let since_before = || stuck_since_before(self.commands.orders.now(), self.stuck_after);
        let filter = OrderFilter {
            status: status.map(Into::into),
            except: body.command.pointless_at().to_vec(),
            merchant_id: merchant_id.map(|Checked(id)| id),
            customer_id: customer_id.map(|Checked(id)| id.0),
            courier: None,
            placed_after: placed_after.map(|Checked(time)| time),
            placed_before: placed_before.map(|Checked(time)| time),
            stuck: stuck.map(|are| Stuck { are, since_before: since_before() }),
            failing_step: failing_step.map(|Checked(step)| step),
            beyond: None,
            // One more tells whether there are more.
            limit: LARGEST + 1,
        };
        let OrderFilter { status, merchant_id, customer_id, placed_after, placed_before, stuck, failing_step, .. } =
            &filter;
        let narrow = [
            status.is_some(),
            merchant_id.is_some(),
            customer_id.is_some(),
            placed_after.is_some(),
            placed_before.is_some(),
            stuck.is_some(),
            failing_step.is_some(),
        ];
        if narrow.contains(&true) { Ok(filter) } else { Err(too_wide()) }
    }

    async fn command_all(&self, caller: &Caller, ids: Vec<OrderId>, body: &BulkBody) -> Vec<(OrderId, Came)> {
        let last = Instant::now() + BEGIN_WITHIN;
        match body.command {
            BulkCommandName::Cancel => {
                let reason = body.reason.as_ref().map(|Checked(Reason(reason))| reason);
                let cancel = |id: OrderId| {
                    let (this, caller, reason) = (self.clone(), caller.clone(), reason.cloned());
                    async move { this.cancel(&caller, &id, reason).await }
                };
                each(ids, last, cancel).await
            }
            BulkCommandName::Retry => {
                let seen = Arc::new(self.invocations(&ids).await);
                let retry = |id: OrderId| {
                    let (this, caller, seen) = (self.clone(), caller.clone(), seen.clone());
                    async move { this.retry(&caller, &id, &seen).await }
                };
                each(ids, last, retry).await
            }
        }
    }

    async fn cancel(&self, caller: &Caller, id: &OrderId, reason: Option<String>) -> Result<Came, Problem> {
        let order = find(&*self.commands.orders, caller, id).await?;
        if rules::admit(&order, caller.role(), Command::Cancel) == Admission::CarriedOut {
            return Ok(Came::CarriedOut);
        }
        self.commands.carry_out(caller, id, Command::Cancel, reason).await?;
        Ok(Came::Accepted)
    }

    async fn retry(&self, caller: &Caller, id: &OrderId, seen: &Seen) -> Result<Came, Problem> {
        let order = find(&*self.retrying.orders, caller, id).await?;
        let invocations = seen.as_ref().map_err(|error| retry::unanswered(id, error))?;
        self.retrying.drive_on(&order, invocations.get(id)).await?;
        Ok(Came::Accepted)
    }

    /// What the engine does with the orders, asked together: it looks at all workflows for each question.
    async fn invocations(&self, ids: &[OrderId]) -> Seen {
        let mut seen = BTreeMap::new();
        for ids in ids.chunks(ASKED_AT_ONCE) {
            seen.extend(self.retrying.engine.invocations(ids).await?);
        }
        Ok(seen)
    }
}

type Seen = Result<BTreeMap<OrderId, Invocation>, EngineError>;

/// Does it with every order, some of them side by side, beginning with none after `last`.
async fn each<F>(ids: Vec<OrderId>, last: Instant, act: impl Fn(OrderId) -> F) -> Vec<(OrderId, Came)>
where
    F: Future<Output = Result<Came, Problem>>,
{
    let one = |id: OrderId| {
        let acting = (Instant::now() < last).then(|| act(id.clone()));
        async move {
            let came = match acting {
                Some(acting) => acting.await,
                None => Ok(Came::NotTried),
            };
            (id, came.unwrap_or_else(Came::Refused))
        }
    };
    futures::stream::iter(ids).map(one).buffer_unordered(SIDE_BY_SIDE).collect().await
}

impl BulkBody {
    fn act(&self, caller: &Caller, matched: u32) -> Act {
        let merchant_id = self.filter.merchant_id.as_ref().map(|Checked(id)| id.clone());
        let reason = self.reason.as_ref().map(|Checked(Reason(reason))| reason.clone());
        let details = json!({ "command": self.command.to_json(), "filter": self.filter.to_json(), "matched": matched });
        Act { merchant_id, reason, details: Some(details), ..Act::new(caller.actor(), "bulk_command_orders") }
    }
}

impl BulkCommandName {
    /// Where nothing can come of it, under any lifecycle.
    const fn pointless_at(self) -> &'static [Status] {
        match self {
            Self::Cancel => {
                &[Status::Closed, Status::Cancelled, Status::Rejected, Status::Cancelling, Status::Delivered]
            }
            Self::Retry => &[Status::Closed, Status::Cancelled, Status::Rejected],
        }
    }
}

impl BulkAnswer {
    fn tell(&mut self, ended: Vec<(OrderId, Came)>) {
        let outcomes = self.outcomes.insert(Outcomes::default());
        for (id, outcome) in ended {
            match outcome {
                Came::Accepted => outcomes.accepted += 1,
                Came::CarriedOut => outcomes.carried_out += 1,
                Came::NotTried => outcomes.not_tried += 1,
                Came::Refused(problem) => {
                    match problem.kind() {
                        Kind::CommandNotAllowed | Kind::NothingToRetry => outcomes.not_allowed += 1,
                        _ => outcomes.failed += 1,
                    }
                    self.failures.push(Failure::new(id, &problem));
                }
            }
        }
        self.failures.truncate(TOLD);
    }
}

impl Failure {
    fn new(id: OrderId, problem: &Problem) -> Self {
        let (kind, detail) = (problem.kind().uri().to_owned(), problem.detail().to_owned());
        Self { order_id: Checked(id), kind, detail }
    }
}

fn too_wide() -> Problem {
    Problem::new(
        Kind::InvalidRequest,
        "The body is not as documented: filter: it is empty; give at least one of its fields.",
    )
}

fn uncounted() -> Problem {
    Problem::new(
        Kind::InvalidRequest,
        "The body is not as documented: expected: missing; ask with `dry_run` first, and give the `matched` that it \
         answers.",
    )
}

fn count_changed(expected: u32, matched: u32) -> Problem {
    let detail = format!(
        "{matched} orders match now, not {expected}, and nothing was done. Look at them again with `dry_run`, or name a \
         `placed_before` so that new orders stay out."
    );
    Problem::new(Kind::CountChanged, detail).with(Members { matched: Some(matched), ..Members::default() })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_into_its_time_is_not_tried() {
        let ids: Vec<_> = (0..100).map(OrderId::from_bits).collect();
        let begun = AtomicUsize::new(0);
        let last = Instant::now() + Duration::from_secs(1);
        let slow = |_| {
            begun.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::time::sleep_until(last + Duration::from_millis(1)).await;
                Ok(Came::Accepted)
            }
        };
        let ended = each(ids, last, slow).await;
        let tried = ended.iter().filter(|(_, outcome)| matches!(outcome, Came::Accepted)).count();
        assert_eq!((ended.len(), tried, begun.into_inner()), (100, SIDE_BY_SIDE, SIDE_BY_SIDE));
        assert!(ended.iter().skip(tried).all(|(_, outcome)| matches!(outcome, Came::NotTried)));
    }
}

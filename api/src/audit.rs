//! `/v1/audit`: who did what; and how acts of administration get there.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::registry::MetaSchema;
use poem_openapi::{Enum, Object, OpenApi};
use serde_json::Value as AnyJson;
use workflows::audit::{self, Act, Audit, End, Outcome, TrailQuery};
use workflows::{AuditId, MerchantId, OrderId, Role};

use crate::access::Caller;
use crate::ask::ask;
use crate::cursor;
use crate::json::RoleName;
use crate::problem::{Problem, Refused, refusals};
use crate::tags::Tag;
use crate::value::{Action, Checked, Limit, Subject, Value, Written};

/// Where acts of administration are written down.
#[derive(Clone)]
pub(crate) struct Trail(pub Arc<dyn Audit>);

impl Trail {
    /// Does what somebody sets out to do, once that is written down, and then writes down what came of it. Where the
    /// first cannot be written nothing is done; where the second cannot, the entry goes without.
    pub(crate) async fn of<T>(&self, act: Act, work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
        let id = self.begin(&act).await?;
        let done = work.await;
        let end = match &done {
            Ok(_) => End { outcome: Outcome::Done, problem: None, counts: None },
            Err(problem) => {
                let server = problem.kind().status().is_server_error();
                let outcome = if server { Outcome::Unanswered } else { Outcome::Refused };
                End { outcome, problem: Some(problem.kind().uri().to_owned()), counts: None }
            }
        };
        self.end(&id, &end).await;
        done
    }

    pub(crate) async fn begin(&self, act: &Act) -> Result<AuditId, Problem> {
        Ok(ask("audit.begin", self.0.begin(act)).await?)
    }

    pub(crate) async fn end(&self, id: &AuditId, end: &End) {
        // Asking has logged why not.
        let _ = ask("audit.end", self.0.end(id, end)).await;
    }
}

pub(crate) struct AuditApi {
    pub trail: Trail,
}

refusals! {
    ListAudit: InvalidRequest, InvalidCursor, Forbidden, TryAgainLater;
}

/// A page of the audit trail, newest first.
#[derive(Object)]
struct AuditPage {
    /// The entries.
    items: Vec<AuditEntry>,
    /// Where the next page begins; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<String>,
}

/// What somebody did.
#[derive(Object)]
struct AuditEntry {
    /// The entry's id. One about an order is the id of the first event that came of it.
    id: Checked<AuditId>,
    /// When it was done.
    at: Checked<DateTime<Utc>>,
    /// In which role.
    role: RoleName,
    /// By whom: the subject of the token.
    subject: String,
    /// What was done: the `operationId` of this API, or the type of the event that it led to.
    action: String,
    /// The order that it was done to.
    #[oai(nullable)]
    order_id: Option<Checked<OrderId>>,
    /// The merchant that it was done to, or whose order it was.
    #[oai(nullable)]
    merchant_id: Option<Checked<MerchantId>>,
    /// What else it was done to, as the path of a resource.
    #[oai(nullable)]
    target: Option<String>,
    /// Why, in the words of who did it.
    #[oai(nullable)]
    reason: Option<String>,
    /// What came of it; null while it is being done, or where the server died over it.
    #[oai(nullable)]
    outcome: Option<OutcomeName>,
    /// The type of the problem with which it was answered.
    #[oai(nullable)]
    problem: Option<String>,
    /// What else there is to know, such as the filter of a command to many orders, and how many came to which end.
    details: Checked<Details>,
}

/// What came of an act: `done`; `refused`, nothing was done; `unanswered`, whether it was done is not known.
#[derive(Clone, Copy, Enum)]
#[oai(rename = "AuditOutcome", remote = "audit::Outcome", rename_all = "snake_case")]
enum OutcomeName {
    Done,
    Refused,
    Unanswered,
}

#[OpenApi(prefix_path = "/v1/audit", tag = "Tag::Operations")]
impl AuditApi {
    /// Read the audit trail
    ///
    /// Who did what, newest first, one page at a time: what people asked of orders and what it led to, and every change
    /// of a merchant, a product, a webhook or a sandbox mode, every replay, retry and command to many orders. An act of
    /// the second kind is written down before it is done. What was refused to a caller for the lack of rights is in the
    /// server's log and not here.
    #[oai(path = "/", method = "get", operation_id = "list_audit")]
    #[allow(clippy::too_many_arguments, reason = "one for each filter")]
    async fn list(
        &self,
        caller: Caller,
        /// Only what this subject did.
        subject: Query<Option<Checked<Subject>>>,
        /// Only what was done in this role.
        role: Query<Option<RoleName>>,
        /// Only what was done to this order.
        order_id: Query<Option<Checked<OrderId>>>,
        /// Only what was done to this merchant, or to its orders.
        merchant_id: Query<Option<Checked<MerchantId>>>,
        /// Only this action.
        action: Query<Option<Checked<Action>>>,
        /// Only what was done after this time.
        after: Query<Option<Checked<DateTime<Utc>>>>,
        /// Only what was done before this time.
        before: Query<Option<Checked<DateTime<Utc>>>>,
        /// How many entries a page may have.
        #[oai(default = "Limit::of_50")]
        limit: Query<Checked<Limit>>,
        /// The `next_cursor` of the page before.
        #[oai(validator(max_length = 200))]
        cursor: Query<Option<String>>,
    ) -> Result<Json<AuditPage>, Refused<ListAudit>> {
        caller.must_be(&[Role::Operator])?;
        let Checked(Limit(limit)) = limit.0;
        let query = TrailQuery {
            subject: subject.0.map(|Checked(subject)| subject.0),
            role: role.0.map(Into::into),
            action: action.0.map(|Checked(action)| action.0),
            order_id: order_id.0.map(|Checked(id)| id),
            merchant_id: merchant_id.0.map(|Checked(id)| id),
            after: after.0.map(|Checked(time)| time),
            before: before.0.map(|Checked(time)| time),
            beyond: cursor.0.map(|cursor| cursor::read(&cursor).ok_or_else(cursor::invalid)).transpose()?,
            // One more tells whether there is another page.
            limit: limit + 1,
        };
        let mut entries = ask("audit.entries", self.trail.0.entries(&query)).await?;
        let more = entries.len() > limit as usize;
        entries.truncate(limit as usize);
        let last = entries.last().filter(|_| more);
        let next_cursor = last.map(|entry| cursor::write(entry.at, &entry.id));
        Ok(Json(AuditPage { items: entries.into_iter().map(AuditEntry::from).collect(), next_cursor }))
    }
}

impl From<audit::AuditEntry> for AuditEntry {
    fn from(entry: audit::AuditEntry) -> Self {
        let audit::AuditEntry { id, at, act, end } = entry;
        let mut details = act.details.unwrap_or_default();
        if let Some(counts) = end.as_ref().and_then(|end| end.counts.clone()) {
            details["outcomes"] = counts;
        }
        Self {
            id: Checked(id),
            at: Checked(at),
            role: act.by.role.into(),
            subject: act.by.subject,
            action: act.action,
            order_id: act.order_id.map(Checked),
            merchant_id: act.merchant_id.map(Checked),
            target: act.target,
            reason: act.reason,
            outcome: end.as_ref().map(|end| end.outcome.into()),
            problem: end.and_then(|end| end.problem),
            details: Checked(Details(details)),
        }
    }
}

/// What else there is to know about an act.
struct Details(AnyJson);

impl Value for Details {
    const NAME: &'static str = "audit details";
    const FORM: &'static str = "an object";

    fn schema() -> MetaSchema {
        MetaSchema::new("object")
    }

    fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }

    fn from_json(json: &AnyJson) -> Option<Self> {
        json.is_object().then(|| Self(json.clone()))
    }
}

impl Written for Details {
    fn to_json(&self) -> AnyJson {
        if self.0.is_object() { self.0.clone() } else { serde_json::json!({}) }
    }
}

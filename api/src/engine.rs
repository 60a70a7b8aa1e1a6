//! The engine's client: a thin layer over the ingress, and what its admin API says of an order's workflow. Every call has
//! a time limit, and none carries a header of the caller's, because the engine stores headers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use poem::http::uri::InvalidUri;
use poem::http::{HeaderName, StatusCode, Uri};
use restate_sdk::ingress::{Client, ClientBuildError, ClientError, Request, ReqwestClient};
use restate_sdk::serde::Json;
use serde::Deserialize;
use serde_json::{Value, json};
use workflows::notification::workflow::MessageQueueIngressClient;
use workflows::order::command::{CommandRequest, Passed, Verdict};
use workflows::order::late::LateDepositIngressClient;
use workflows::order::workflow::OrderWorkflowIngressClient;
use workflows::order::{Gate, PlaceOrder};
use workflows::payment::Due;
use workflows::{MessageId, OrderId};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const ADMIN_TIMEOUT: Duration = Duration::from_secs(2);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Afterwards it is asked what became of that, which takes as long as a command.
const PASS_TIMEOUT: Duration = Duration::from_secs(2);
/// A cancel is answered when it is decided, and it may find a step in the middle of an attempt.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(15);

/// Why an [`Engine`] could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEngine {
    #[error("the engine's ingress URL: {0}")]
    Url(#[from] InvalidUri),
    #[error("the engine's admin URL: {0}")]
    AdminUrl(#[source] InvalidUri),
    #[error("the engine's ingress URL: {0}")]
    Base(#[from] ClientBuildError),
    #[error("the engine's HTTP client: {0}")]
    Http(#[from] reqwest::Error),
    #[error("the engine has no URL")]
    NoUrl,
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The call as part of the trace that is made here, if one is. No other header goes with it.
fn traced<Q, A>(call: Request<reqwest::Client, Q, A>) -> Request<reqwest::Client, Q, A> {
    match workflows::traceparent().and_then(|traceparent| traceparent.try_into().ok()) {
        Some(traceparent) => call.header(HeaderName::from_static(workflows::TRACEPARENT), traceparent),
        None => call,
    }
}

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The engine never took the call, so it has no effect.
    #[error("the engine was not reached: {0}")]
    NotTaken(Cause),
    /// The engine may have taken the call.
    #[error("the engine gave no answer: {0}")]
    Unanswered(Cause),
}

/// A client of the engine's ingress. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    http: reqwest::Client,
    ingress: Arc<Nodes<Ingress>>,
    /// The base URLs of the admin API and UI, without a slash at their end.
    admin: Arc<Nodes<String>>,
}

#[derive(Clone)]
struct Ingress {
    client: ReqwestClient,
    /// The base URL, without a slash at its end.
    url: String,
}

/// A workflow as the engine sees it.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    pub id: String,
    /// In the engine's words.
    pub status: String,
    /// The version of the worker that it stays on.
    pub deployment_id: Option<String>,
    /// How often it was tried.
    pub attempts: Option<u64>,
    pub last_failure: Option<String>,
    pub failing_step: Option<String>,
    pub next_try_at: Option<DateTime<Utc>>,
    /// Where the engine's own UI shows it.
    pub link: String,
}

/// What the admin API answers to a query.
#[derive(Deserialize)]
struct Rows {
    rows: Vec<Value>,
}

/// A version of the worker as the engine has it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Deployment {
    pub id: String,
    pub url: String,
    pub created_at: DateTime<Utc>,
    /// Whether what begins anew goes here.
    pub current: bool,
    /// How much has begun here and not ended: orders, commands, messages.
    pub open: u64,
}

impl Engine {
    /// A client of the ingress at `url`, such as `http://127.0.0.1:8080`. Connects when it is first used.
    ///
    /// # Errors
    /// Where it is no absolute URL, or has a query.
    pub fn new(url: &str, admin_url: &str) -> Result<Self, InvalidEngine> {
        Self::of_nodes(&[url], &[admin_url])
    }

    /// The same of an engine with several nodes, each of which will do: when one fails, the next one is asked.
    ///
    /// # Errors
    /// As `new`; and where there is no URL.
    pub fn of_nodes(urls: &[impl AsRef<str>], admin_urls: &[impl AsRef<str>]) -> Result<Self, InvalidEngine> {
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT).build()?;
        let ingress = urls.iter().map(|url| {
            let url = url.as_ref();
            let client = Client::new(url.parse()?, http.clone())?;
            Ok(Ingress { client, url: url.trim_end_matches('/').to_owned() })
        });
        let admin = admin_urls.iter().map(|url| {
            let url = url.as_ref().trim_end_matches('/');
            url.parse::<Uri>().map_err(InvalidEngine::AdminUrl)?;
            Ok(url.to_owned())
        });
        let ingress = Nodes::new(ingress.collect::<Result<_, InvalidEngine>>()?)?;
        let admin = Nodes::new(admin.collect::<Result<_, InvalidEngine>>()?)?;
        Ok(Self { ingress: Arc::new(ingress), admin: Arc::new(admin), http })
    }

    /// Starts the order's workflow within `limit`. Starting it again changes nothing and succeeds.
    pub(crate) async fn submit(
        &self,
        order_id: &OrderId,
        order: &PlaceOrder,
        limit: Duration,
    ) -> Result<(), EngineError> {
        let run = |node: Ingress| traced(node.workflow(order_id).run(Json(order.clone()))).send();
        self.ingress.ask(SUBMIT_TIMEOUT.min(limit), run).await?;
        Ok(())
    }

    /// Has an order pass its gate, unless somebody else does so first: whether it did is told by what becomes of the order, or by
    /// [`Engine::command`]. Asking again changes nothing.
    pub(crate) async fn pass(&self, awakeable: &str, passed: &Passed) -> Result<(), EngineError> {
        let resolve = |node: Ingress| {
            let resolve = self.http.post(format!("{}/restate/awakeables/{awakeable}/resolve", node.url));
            let resolve = resolve.json(passed).send();
            async { resolve.await?.error_for_status() }
        };
        self.ingress.ask(PASS_TIMEOUT, resolve).await?;
        Ok(())
    }

    /// What was brought to that gate of an order first, for its run, which may not have come to hear it. `None` where nothing was, or
    /// where something else may have come before it: a cancel, or the `deadline`.
    pub(crate) async fn first_brought(
        &self,
        run: &str,
        gate: Gate,
        deadline: Option<DateTime<Utc>>,
    ) -> Result<Option<Passed>, EngineError> {
        // The engine's own ids are of letters, digits and one underscore.
        let run: String = run.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let query = format!(
            "SELECT entry_json, appended_at FROM sys_journal WHERE id = '{run}' AND entry_type = 'Notification: Signal' \
             ORDER BY \"index\""
        );
        let (rows, _) = self.query(&query).await?;
        Ok(first(rows.iter().map(Signal::read), gate, deadline))
    }

    /// Carries a command to the order's workflow, and its verdict back.
    pub(crate) async fn command(&self, order_id: &OrderId, request: CommandRequest) -> Result<Verdict, EngineError> {
        let call = |node: Ingress| {
            let call = traced(node.workflow(order_id).command(Json(request.clone()))).call();
            async { call.await?.into_body() }
        };
        let Json(verdict) = self.ingress.ask_once(COMMAND_TIMEOUT, call).await?;
        Ok(verdict)
    }

    /// Whether the ingress takes requests. The caller says how long it waits.
    pub(crate) async fn health(&self) -> Result<(), EngineError> {
        let healthy = |node: Ingress| {
            let answer = self.http.get(format!("{}/restate/health", node.url)).send();
            async { answer.await?.error_for_status() }
        };
        self.ingress.ask(HEALTH_TIMEOUT, healthy).await?;
        Ok(())
    }

    /// How the engine sees the order's workflow; `None` where it knows of none, or no longer.
    pub(crate) async fn invocation(&self, order_id: &OrderId) -> Result<Option<Invocation>, EngineError> {
        Ok(self.invocations(std::slice::from_ref(order_id)).await?.remove(order_id))
    }

    /// The same of many orders, by order; those are left out of which the engine knows nothing.
    pub(crate) async fn invocations(
        &self,
        order_ids: &[OrderId],
    ) -> Result<BTreeMap<OrderId, Invocation>, EngineError> {
        // The API has no parameters. An order id is made of letters, digits and one underscore: there is nothing in it
        // that could mean something else in SQL.
        let keys: Vec<_> = order_ids.iter().map(|id| format!("'{id}'")).collect();
        let query = format!(
            "SELECT id, target_service_key, status, pinned_deployment_id, retry_count, last_failure, \
             last_failure_related_command_name, next_retry_at FROM sys_invocation WHERE target_service_name = 'order' \
             AND target_service_key IN ({}) AND target_handler_name = 'run'",
            keys.join(", ")
        );
        let (rows, admin_url) = self.query(&query).await?;
        let of_order =
            |row: &Value| Some((row["target_service_key"].as_str()?.parse().ok()?, Invocation::read(row, &admin_url)?));
        Ok(rows.iter().filter_map(of_order).collect())
    }

    /// The versions of the worker, oldest first.
    pub(crate) async fn deployments(&self) -> Result<serde_json::Result<Vec<Deployment>>, EngineError> {
        let query = "SELECT d.id, d.endpoint AS url, d.created_at, s.deployment_id IS NOT NULL AS current, \
                            COALESCE(i.open, 0) AS open \
                     FROM sys_deployment d \
                     LEFT JOIN (SELECT DISTINCT deployment_id FROM sys_service) s ON s.deployment_id = d.id \
                     LEFT JOIN (SELECT pinned_deployment_id, COUNT(*) AS open FROM sys_invocation \
                                WHERE status <> 'completed' GROUP BY pinned_deployment_id) i \
                        ON i.pinned_deployment_id = d.id \
                     ORDER BY d.created_at";
        let (rows, _) = self.query(query).await?;
        Ok(rows.into_iter().map(serde_json::from_value).collect())
    }

    /// The rows that match, and the base URL of the admin API that told them.
    async fn query(&self, query: &str) -> Result<(Vec<Value>, String), EngineError> {
        let query = &json!({ "query": query });
        let rows = |admin_url: String| async move {
            let request = self.http.post(format!("{admin_url}/query")).header("accept", "application/json");
            let response = request.json(query).send().await?.error_for_status()?;
            Ok::<_, reqwest::Error>((response.json::<Rows>().await?.rows, admin_url))
        };
        self.admin.ask(ADMIN_TIMEOUT, rows).await
    }

    /// Lets a workflow go on that was paused, and has one that waits for its next attempt make it now; `false` where it
    /// has ended. Whatever else a workflow does, it is not disturbed (seen with restate-server 1.7.12: one that runs or
    /// waits for a promise answers 200 as well, and goes its way).
    pub(crate) async fn resume(&self, invocation: &Invocation) -> Result<bool, EngineError> {
        let resume = |admin_url: String| {
            let resume = self.http.patch(format!("{admin_url}/invocations/{}/resume", invocation.id)).send();
            async {
                let answer = resume.await?;
                // Completed, or no longer known.
                if matches!(answer.status(), StatusCode::CONFLICT | StatusCode::NOT_FOUND) {
                    return Ok(false);
                }
                answer.error_for_status().map(|_| true)
            }
        };
        self.admin.ask(ADMIN_TIMEOUT, resume).await
    }

    /// Has a message sent once more. It has a queue of its own, and so waits for no retry that sleeps.
    pub(crate) async fn replay(&self, message: &MessageId) -> Result<(), EngineError> {
        let replay = |node: Ingress| {
            let queue = MessageQueueIngressClient::from_client(node.client, format!("{message}/replay"));
            queue.replay(Json(message.clone())).send()
        };
        self.ingress.ask_once(SUBMIT_TIMEOUT, replay).await?;
        Ok(())
    }

    /// Has a transfer given back that came too late. Asking again gives nothing back twice.
    pub(crate) async fn give_back(&self, due: Due) -> Result<(), EngineError> {
        let give_back = |node: Ingress| {
            let late = LateDepositIngressClient::from_client(node.client, due.order_id.as_str());
            late.give_back(Json(due.clone())).send()
        };
        self.ingress.ask(SUBMIT_TIMEOUT, give_back).await?;
        Ok(())
    }
}

/// What was sent to a run, as its journal has it.
#[derive(Debug)]
enum Signal {
    Cancel,
    Passed { passed: Passed, at: DateTime<Utc> },
    Other,
}

/// By how much the clocks of engine and worker may differ.
const SKEW: TimeDelta = TimeDelta::seconds(1);

impl Signal {
    /// Reads a row of `sys_journal`.
    fn read(row: &Value) -> Self {
        #[derive(Deserialize)]
        struct Entry {
            #[serde(rename = "Notification")]
            notification: Notification,
        }
        #[derive(Deserialize)]
        struct Notification {
            #[serde(rename = "Signal")]
            signal: Sent,
        }
        #[derive(Deserialize)]
        struct Sent {
            id: Id,
            result: Value,
        }
        #[derive(Deserialize)]
        struct Id {
            #[serde(rename = "Index")]
            index: u32,
        }
        /// The engine's own.
        const CANCEL: u32 = 1;

        let read = || {
            let entry: Entry = serde_json::from_str(row["entry_json"].as_str()?).ok()?;
            let Sent { id, result } = entry.notification.signal;
            if id.index == CANCEL {
                return Some(Self::Cancel);
            }
            let body = Vec::<u8>::deserialize(&result["Success"]).ok()?;
            let at = row["appended_at"].as_str()?.parse().ok()?;
            Some(Self::Passed { passed: serde_json::from_slice(&body).ok()?, at })
        };
        read().unwrap_or(Self::Other)
    }
}

/// What comes first at the gate, by what was sent to the run, in the order of its journal; `None` where that is not certain.
fn first(signals: impl IntoIterator<Item = Signal>, gate: Gate, deadline: Option<DateTime<Utc>>) -> Option<Passed> {
    let (mut passed_before, mut is_cancelled) = (BTreeSet::new(), false);
    for signal in signals {
        match signal {
            Signal::Cancel => is_cancelled = true,
            Signal::Passed { passed, at } => {
                let Passed::By { command, .. } = passed else { continue };
                let passes = Gate::of(command)?;
                if passes == gate {
                    return match deadline {
                        _ if is_cancelled => None,
                        Some(deadline) if at > deadline + SKEW => Some(Passed::Deadline),
                        Some(deadline) if at > deadline - SKEW => None,
                        _ => Some(passed),
                    };
                }
                // Cancels that came before have been heard where the run has come on to another gate.
                if passed_before.insert(passes) {
                    is_cancelled = false;
                }
            }
            Signal::Other => {}
        }
    }
    None
}

impl Ingress {
    fn workflow(&self, order_id: &OrderId) -> OrderWorkflowIngressClient<reqwest::Client> {
        OrderWorkflowIngressClient::from_client(self.client.clone(), order_id.as_str())
    }
}

impl Invocation {
    /// Reads a row of `sys_invocation`, which leaves out what is not known.
    fn read(row: &Value, admin_url: &str) -> Option<Self> {
        let text = |column: &str| row[column].as_str().map(str::to_owned);
        let id = text("id")?;
        Some(Self {
            status: text("status")?,
            deployment_id: text("pinned_deployment_id"),
            attempts: row["retry_count"].as_u64(),
            last_failure: text("last_failure"),
            failing_step: text("last_failure_related_command_name"),
            next_try_at: row["next_retry_at"].as_str().and_then(|at| at.parse().ok()),
            link: format!("{admin_url}/ui/invocations/{id}"),
            id,
        })
    }
}

/// Addresses of one engine, any of which will do. One is used until it fails, and then the next.
struct Nodes<T> {
    all: Vec<T>,
    used: AtomicUsize,
}

impl<T: Clone> Nodes<T> {
    fn new(all: Vec<T>) -> Result<Self, InvalidEngine> {
        if all.is_empty() { Err(InvalidEngine::NoUrl) } else { Ok(Self { all, used: AtomicUsize::new(0) }) }
    }

    /// The answer of the first node that gives one within its share of `limit`. For calls that may be taken twice.
    async fn ask<A, E, F>(&self, limit: Duration, call: impl Fn(T) -> F) -> Result<A, EngineError>
    where
        E: Into<EngineError>,
        F: Future<Output = Result<A, E>>,
    {
        self.ask_in_turn(limit, call, true).await
    }

    /// The same for other calls: the next node is asked only if this one has certainly not taken the call.
    async fn ask_once<A, E, F>(&self, limit: Duration, call: impl Fn(T) -> F) -> Result<A, EngineError>
    where
        E: Into<EngineError>,
        F: Future<Output = Result<A, E>>,
    {
        self.ask_in_turn(limit, call, false).await
    }

    async fn ask_in_turn<A, E, F>(
        &self,
        limit: Duration,
        call: impl Fn(T) -> F,
        repeatable: bool,
    ) -> Result<A, EngineError>
    where
        E: Into<EngineError>,
        F: Future<Output = Result<A, E>>,
    {
        let until = Instant::now() + limit;
        let mut untried = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let mut unanswered = None;
        loop {
            let used = self.used.load(Ordering::Relaxed);
            let left = until.saturating_duration_since(Instant::now());
            let share = if repeatable { left / untried } else { left };
            let error = match tokio::time::timeout(share, call(self.all[used].clone())).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error.into(),
                Err(elapsed) => EngineError::Unanswered(elapsed.into()),
            };
            // Somebody else may have met the same failure, and gone on already.
            let next = (used + 1) % self.all.len();
            let _ = self.used.compare_exchange(used, next, Ordering::Relaxed, Ordering::Relaxed);
            untried -= 1;
            let taken = matches!(error, EngineError::Unanswered(_));
            if untried == 0 || taken && !repeatable {
                // What a node may have taken, the engine may have, whatever another node says.
                return Err(unanswered.unwrap_or(error));
            }
            if taken {
                unanswered.get_or_insert(error);
            }
        }
    }
}

impl From<reqwest::Error> for EngineError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_connect() { Self::NotTaken(error.into()) } else { Self::Unanswered(error.into()) }
    }
}

impl From<ClientError> for EngineError {
    fn from(error: ClientError) -> Self {
        let taken = match &error {
            ClientError::Transport { source } => {
                !source.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect)
            }
            ClientError::Status { status, .. } => !status.is_client_error(),
            ClientError::Request { .. } | ClientError::Serialization { .. } | ClientError::InvalidRequest { .. } => {
                false
            }
            ClientError::Protocol { .. } | ClientError::PayloadDecode { .. } => true,
        };
        if taken { Self::Unanswered(error.into()) } else { Self::NotTaken(error.into()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    fn unreached() -> EngineError {
        EngineError::NotTaken("connection refused".into())
    }

    fn unanswered() -> EngineError {
        EngineError::Unanswered("connection reset".into())
    }

    /// Three nodes, of which each answers as told, and the nodes that were asked.
    struct Trial {
        nodes: Nodes<usize>,
        asked: Mutex<Vec<usize>>,
    }

    impl Trial {
        fn new() -> Self {
            Self { nodes: Nodes::new(vec![0, 1, 2]).expect("not empty"), asked: Mutex::default() }
        }

        async fn ask(&self, once: bool, answer: impl Fn(usize) -> Result<usize, EngineError>) -> Option<usize> {
            let call = |node| {
                self.asked.lock().expect("no panic").push(node);
                std::future::ready(answer(node))
            };
            if once { self.nodes.ask_once(LIMIT, call).await.ok() } else { self.nodes.ask(LIMIT, call).await.ok() }
        }

        fn asked(&self) -> Vec<usize> {
            std::mem::take(&mut self.asked.lock().expect("no panic"))
        }
    }

    const AT: &str = "2026-11-24T01:38:39.404Z";

    fn brought(command: &str, subject: &str) -> Value {
        let body = format!(
            r#"{{"by":{{"command":"{command}","by":{{"role":"merchant","subject":"{subject}"}},"reason":null}}}}"#
        );
        let entry = json!({ "Notification": { "Signal": { "id": { "Index": 17 }, "result": { "Success": body.as_bytes() } } } });
        json!({ "entry_json": entry.to_string(), "appended_at": AT })
    }

    fn signal(id: &Value, result: &Value) -> Value {
        let entry = json!({ "Notification": { "Signal": { "id": id, "result": result } } });
        json!({ "entry_json": entry.to_string(), "appended_at": AT })
    }

    #[test]
    fn who_comes_first_to_a_gate_is_read_from_the_journal_where_it_is_certain() {
        // However the engine says that it brings nothing.
        let cancel = signal(&json!({ "Index": 1 }), &json!({ "Failure": { "code": 409 } }));
        assert!(matches!(Signal::read(&signal(&json!({ "Index": 1 }), &json!("Void"))), Signal::Cancel));
        let accept = |by: &str| brought("accept", by);
        let others = [
            signal(&json!({ "Index": 17 }), &json!({ "Failure": { "code": 500, "message": "no" } })),
            signal(&json!({ "Name": "else" }), &json!("Void")),
            signal(&json!({ "Index": 17 }), &json!({ "Success": b"nothing of ours" })),
            json!({}),
        ];
        let at: DateTime<Utc> = AT.parse().expect("a time");
        let first = |rows: &[Value], deadline: Option<i64>| {
            let deadline = deadline.map(|after| at + TimeDelta::milliseconds(after));
            match first(rows.iter().map(Signal::read), Gate::Acceptance, deadline) {
                Some(Passed::By { command, by, .. }) => format!("{command} by {}", by.subject),
                Some(Passed::Deadline) => "deadline".to_owned(),
                Some(Passed::Shut) => "shut".to_owned(),
                None => "unknown".to_owned(),
            }
        };
        assert_eq!(first(&[], None), "unknown");
        assert_eq!(first(&others, None), "unknown");
        let both = [&others[..], &[accept("kim"), brought("reject", "lee"), cancel.clone()]].concat();
        assert_eq!(first(&both, None), "accept by kim");
        assert_eq!(first(&[brought("reject", "lee"), accept("kim")], None), "reject by lee");
        for (deadline, told) in [(10_000, "accept by kim"), (999, "unknown"), (-999, "unknown"), (-1_001, "deadline")] {
            assert_eq!(first(&[accept("kim")], Some(deadline)), told, "{deadline} ms later");
        }
        // A cancel that was not heard yet may be allowed; one that was heard at a gate before was not.
        assert_eq!(first(&[cancel.clone(), accept("kim")], None), "unknown");
        let deposit = brought("confirm-deposit", "kim");
        assert_eq!(first(&[deposit.clone(), cancel.clone(), accept("kim")], None), "unknown");
        assert_eq!(first(&[cancel.clone(), deposit.clone(), accept("kim")], None), "accept by kim");
        assert_eq!(first(&[deposit.clone(), cancel, deposit, accept("kim")], None), "unknown");
    }

    #[tokio::test]
    async fn a_node_that_is_gone_is_passed_over_from_then_on() {
        let trial = Trial::new();
        for once in [true, false] {
            let dead = trial.nodes.used.load(Ordering::Relaxed);
            let answer = |node| if node == dead { Err(unreached()) } else { Ok(node) };
            let next = (dead + 1) % 3;
            assert_eq!(trial.ask(once, answer).await, Some(next));
            assert_eq!(trial.ask(once, answer).await, Some(next));
            assert_eq!(trial.asked(), [dead, next, next]);
        }
    }

    #[tokio::test]
    async fn a_call_that_may_have_been_taken_is_repeated_only_where_it_may_be() {
        let trial = Trial::new();
        assert_eq!(trial.ask(true, |_| Err(unanswered())).await, None);
        assert_eq!(trial.asked(), [0]);
        assert_eq!(trial.ask(false, |node| if node == 2 { Ok(node) } else { Err(unanswered()) }).await, Some(2));
        assert_eq!(trial.asked(), [1, 2]);
    }

    #[tokio::test]
    async fn what_one_node_may_have_taken_counts_as_taken() {
        let nodes = Nodes::new(vec![0, 1, 2]).expect("not empty");
        let call = |node| std::future::ready(Err::<(), _>(if node == 0 { unanswered() } else { unreached() }));
        assert!(matches!(nodes.ask(LIMIT, call).await, Err(EngineError::Unanswered(_))));
        let call = |_| std::future::ready(Err::<(), _>(unreached()));
        assert!(matches!(nodes.ask(LIMIT, call).await, Err(EngineError::NotTaken(_))));
    }

    #[tokio::test]
    async fn a_silent_node_leaves_time_for_the_others() {
        let nodes = Nodes::new(vec![0, 1, 2]).expect("not empty");
        let call =
            |node| async move { if node == 0 { std::future::pending().await } else { Ok::<_, EngineError>(node) } };
        assert_eq!(nodes.ask(Duration::from_millis(300), call).await.ok(), Some(1));
    }
}

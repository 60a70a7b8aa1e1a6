//! The store: one SurrealDB namespace with a database for each context. Statements are retried here on write
//! conflicts, which snapshot isolation makes normal, and nowhere else. A store on this machine's disk that could not
//! write once is used no more: see [`StoreFailure`].

use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use rand::Rng;
use serde::de::DeserializeOwned;
use serde_json::Value;
use surrealdb::engine::any::Any;
use surrealdb::opt::auth::{Namespace, Root};
use surrealdb::types::{Error, QueryError, RecordId, RecordIdKey, SurrealValue};
use surrealdb::{IndexedResults, Surreal};
use tokio::sync::watch;
use tracing::{error, warn};

use workflows::ProviderError;

use crate::text::Text;

/// Where everything is, unless a server has another place for it.
pub const NAMESPACE: &str = "jumun";
/// How long a server may take to answer whoever comes.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long a server may take for one run of statements.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// For how long a server's connection may bring nothing, though it is asked, before another is made beside it. A connection that
/// breaks tells so; one whose other end is gone without a word may not for a quarter of an hour.
const SILENCE: Duration = Duration::from_secs(30);
/// How many runs of statements may be on their way to a server; more wait here, where they end when nobody waits for them.
const MOST_WAITING: usize = 256;
/// Conflicting writers each get through within a few tries; this many means that something else is wrong.
const MAX_CONFLICTS: u32 = 200;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A record that was to be created is there already.
    #[error("the record exists")]
    Exists,
    /// A statement refused by `THROW`.
    #[error("refused: {0}")]
    Thrown(String),
    #[error("store: {0}")]
    Failed(#[source] Box<Error>),
    #[error("unreadable record: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("write conflicts without end")]
    Conflicts,
    #[error("the store's server is not reached")]
    Unreachable,
    /// What was asked may have been done or not.
    #[error("the store did not answer")]
    NoAnswer,
    /// It could not write once, and is not asked again until it is opened anew.
    #[error("the store could not write and has to be opened again: {0}")]
    Broken(String),
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        if error.is_already_exists() {
            Self::Exists
        } else if error.is_thrown() {
            Self::Thrown(error.message().to_owned())
        } else {
            Self::Failed(Box::new(error))
        }
    }
}

impl From<StoreError> for ProviderError {
    fn from(error: StoreError) -> Self {
        Self::unavailable(error)
    }
}

/// Who asks a SurrealDB server.
#[derive(Clone)]
pub struct Login {
    pub username: String,
    pub password: String,
    pub within: Within,
}

/// Where a user of a SurrealDB server is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within {
    /// Of the whole server.
    Server,
    /// Of the namespace alone, which is enough where it is defined.
    Namespace,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("username", &self.username).field("within", &self.within).finish_non_exhaustive()
    }
}

/// A connection, or a session of its own on it.
#[derive(Clone)]
enum Session {
    #[cfg(feature = "embedded")]
    Embedded(Surreal<surrealdb::engine::local::Db>),
    Other(Surreal<Any>),
}

/// Does the same with whichever connection it is.
macro_rules! on {
    ($session:expr, $connection:ident => $body:expr) => {
        match $session {
            #[cfg(feature = "embedded")]
            Session::Embedded($connection) => $body,
            Session::Other($connection) => $body,
        }
    };
}

/// Whether a store on this machine's disk could not write: the disk was full, read-only, or failed.
///
/// What a failed write leaves at the end of the store's log may end it for good: surrealkv 0.21 went on appending behind
/// it, and the next start, which read the log up to there, knew nothing of what came after (measured: of 70 orders that
/// were answered around a full disk, 20 were gone). No version is trusted with that. After the first failure nothing is
/// read or written any more, what was under way is answered as failed, and whoever runs the process ends it. Opened
/// again, the store has everything that was ever answered.
#[derive(Clone, Debug, Default)]
pub struct StoreFailure(Arc<watch::Sender<Option<String>>>);

impl StoreFailure {
    /// Returns once a store has failed, and why.
    pub async fn wait(&self) -> String {
        let mut noted = self.0.subscribe();
        loop {
            if let Some(why) = noted.borrow_and_update().clone() {
                return why;
            }
            if noted.changed().await.is_err() {
                // Nobody is left who could tell.
                std::future::pending::<()>().await;
            }
        }
    }

    fn note(&self, why: &str) {
        let first = self.0.send_if_modified(|noted| {
            let first = noted.is_none();
            noted.get_or_insert_with(|| why.to_owned());
            first
        });
        if first {
            error!(why, "the store could not write, and is used no more");
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        self.0.borrow().clone().map_or(Ok(()), |why| Err(StoreError::Broken(why)))
    }
}

/// An open store.
#[derive(Clone)]
pub struct Store {
    connection: Session,
    namespace: String,
    /// Whether other processes may write to it, too.
    shared: bool,
    /// Where it is a server that was connected to.
    server: Option<Server>,
    failure: StoreFailure,
}

/// How a server is reached.
#[derive(Clone)]
struct Server {
    url: String,
    login: Option<Login>,
}

impl Store {
    /// Opens `url`: `surrealkv://PATH`, where every commit is synced whatever else the URL says, or `mem://` (both embedded), or a
    /// SurrealDB server.
    ///
    /// # Errors
    /// Where the store cannot be opened, or its engine is not built in.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_with(url, StoreFailure::default()).await
    }

    /// The same, telling that it failed, if it does, together with others.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_with(url: &str, failure: StoreFailure) -> Result<Self, StoreError> {
        let namespace = NAMESPACE.to_owned();
        #[cfg(feature = "embedded")]
        if url.starts_with("surrealkv://") {
            return Ok(Self {
                connection: Session::Embedded(embedded::open(url).await?),
                namespace,
                shared: false,
                server: None,
                failure,
            });
        }
        let connection = Session::Other(surrealdb::engine::any::connect(url).await?);
        let shared = !url.starts_with("mem://");
        Ok(Self { connection, namespace, shared, server: None, failure })
    }

    /// Connects to a SurrealDB server at `url` (`ws://HOST:PORT` or `wss://…`), and signs in there. A connection that is lost
    /// is made again, for as long as this lives, and so is one that is silent for half a minute; what was asked meanwhile fails,
    /// and may be asked again.
    ///
    /// # Errors
    /// Where the server is not reached within 10 s, or lets nobody in by that name.
    pub async fn connect(url: &str, namespace: &str, login: Option<&Login>) -> Result<Self, StoreError> {
        let connecting = async {
            let server = surrealdb::engine::any::connect(url).with_capacity(MOST_WAITING).await?;
            if let Some(Login { username, password, within }) = login {
                let (username, password) = (username.clone(), password.clone());
                match within {
                    Within::Server => drop(server.signin(Root { username, password }).await?),
                    Within::Namespace => {
                        let namespace = namespace.to_owned();
                        drop(server.signin(Namespace { namespace, username, password }).await?);
                    }
                }
            }
            Ok::<_, StoreError>(server)
        };
        let server = tokio::time::timeout(CONNECT_WITHIN, connecting).await.map_err(|_| StoreError::Unreachable)??;
        Ok(Self {
            connection: Session::Other(server),
            namespace: namespace.to_owned(),
            shared: true,
            server: Some(Server { url: url.to_owned(), login: login.cloned() }),
            failure: StoreFailure::default(),
        })
    }

    /// Whether it could not write.
    #[must_use]
    pub fn failure(&self) -> &StoreFailure {
        &self.failure
    }

    /// One context's database, in a session of its own.
    ///
    /// # Errors
    /// Where the store refuses the session.
    pub async fn database(&self, name: &str) -> Result<Database, StoreError> {
        let again = self.server.clone().map(|server| Again {
            server,
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            silent_since: Mutex::default(),
        });
        let link = Link { session: RwLock::new(Arc::new(self.session(name).await?)), again };
        Ok(Database { link: Arc::new(link), shared: self.shared, failure: self.failure.clone() })
    }

    async fn session(&self, name: &str) -> Result<Session, StoreError> {
        let session = self.connection.clone();
        // A server makes what is not there yet, as it does for everybody else who starts now.
        for conflicts in 0..MAX_CONFLICTS {
            let using =
                async { on!(&session, connection => connection.use_ns(&*self.namespace).use_db(name).await.map(drop)) };
            match tokio::time::timeout(ANSWER_WITHIN, using).await.map_err(|_| StoreError::Unreachable)? {
                Ok(()) => return Ok(session),
                Err(error) if is_conflict(&error) => pause(conflicts).await,
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflicts)
    }
}

/// A session, which is replaced where its server has not been heard for long.
struct Link {
    session: RwLock<Arc<Session>>,
    again: Option<Again>,
}

/// What another session of the same database is made from.
struct Again {
    server: Server,
    namespace: String,
    name: String,
    /// Since when nothing was heard, if that is so.
    silent_since: Mutex<Option<Instant>>,
}

impl Link {
    fn session(&self) -> Arc<Session> {
        self.session.read().expect("nobody panics with it").clone()
    }

    /// The session has brought something.
    fn hears(&self) {
        if let Some(again) = &self.again {
            *again.silent_since.lock().expect("nobody panics with it") = None;
        }
    }

    /// What was asked at that time has brought nothing that is worth anything.
    fn hears_nothing(self: &Arc<Self>, asked: Instant) {
        let Some(again) = &self.again else { return };
        {
            let mut since = again.silent_since.lock().expect("nobody panics with it");
            if since.get_or_insert(asked).elapsed() < SILENCE {
                return;
            }
            // Others need not try as well, and not at once again.
            *since = Some(Instant::now());
        }
        let link = self.clone();
        // Not for whoever happened to ask, who may not wait so long.
        tokio::spawn(async move { link.connect_anew().await });
    }

    async fn connect_anew(&self) {
        let Some(Again { server: Server { url, login }, namespace, name, .. }) = &self.again else { return };
        warn!(database = name, "nothing was heard from the store's server for long: connecting anew");
        let anew = async { Store::connect(url, namespace, login.as_ref()).await?.session(name).await };
        match anew.await {
            Ok(session) => *self.session.write().expect("nobody panics with it") = Arc::new(session),
            Err(error) => warn!(database = name, %error, "the store's server was not reached"),
        }
    }
}

/// A context's database.
#[derive(Clone)]
pub struct Database {
    /// Shared by clones: a session that is cloned is one more, which a server has to be told of and signed in at again. There a
    /// check of a password takes as long as tens of transactions (measured: 300 ms for each batch of events, on two busy
    /// cores, when batches had a clone each).
    link: Arc<Link>,
    shared: bool,
    failure: StoreFailure,
}

impl Database {
    /// Defines tables and indexes. Concurrent first writes to undefined tables would conflict.
    pub async fn define(&self, statements: &str) -> Result<(), StoreError> {
        self.run(statements, &Value::Null).await.map(drop)
    }

    /// Runs statements with `variables`. More than one are a transaction where they say so.
    pub fn run<'a>(
        &'a self,
        statements: &'a str,
        variables: impl Into<Variables>,
    ) -> impl Future<Output = Result<Answers, StoreError>> + Send + 'a {
        self.run_with(statements, variables.into())
    }

    async fn run_with(&self, statements: &str, variables: Variables) -> Result<Answers, StoreError> {
        for conflicts in 0..MAX_CONFLICTS {
            self.failure.check()?;
            let (asked, session) = (Instant::now(), self.link.session());
            let is_on_disk = session.is_on_disk();
            let answer = session.answer(statements, &variables);
            let answer = if is_on_disk {
                answer.await
            } else {
                let answer = tokio::time::timeout(ANSWER_WITHIN, answer).await;
                // A session that has lost its login answers everything with that.
                if answer.as_ref().is_ok_and(|answer| !answer.as_ref().is_err_and(Error::is_not_allowed)) {
                    self.link.hears();
                } else {
                    self.link.hears_nothing(asked);
                }
                answer.map_err(|_| StoreError::Unreachable)?
            };
            match answer.and_then(first_cause) {
                // Nobody is told of a write that may have come behind one that failed.
                Ok(answers) => return self.failure.check().map(|()| Answers(answers)),
                Err(error) if is_conflict(&error) => pause(conflicts).await,
                Err(error) if is_on_disk && is_failed_commit(&error) => {
                    self.failure.note(error.message());
                    return Err(StoreError::Broken(error.message().to_owned()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflicts)
    }

    /// Whether other processes may write to it, too.
    pub(crate) const fn is_shared(&self) -> bool {
        self.shared
    }
}

impl Session {
    /// On this machine's disk. A server looks after its own.
    fn is_on_disk(&self) -> bool {
        match self {
            #[cfg(feature = "embedded")]
            Self::Embedded(_) => true,
            Self::Other(_) => false,
        }
    }

    async fn answer(&self, statements: &str, Variables(variables): &Variables) -> Result<IndexedResults, Error> {
        on!(self, connection => connection.query(statements).bind(variables.clone()).await)
    }
}

/// What statements are told by name. A record that is named as such is found without being looked for: to make it of its table
/// and key, in a statement, takes twice as long as to read it (measured).
#[derive(Clone, Debug, Default)]
pub struct Variables(surrealdb::types::Variables);

impl Variables {
    /// One more, or another one by that name.
    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl SurrealValue) {
        self.0.insert(name, value);
    }

    /// The same with one more.
    pub(crate) fn with(mut self, name: impl Into<String>, value: impl SurrealValue) -> Self {
        self.set(name, value);
        self
    }
}

/// The members of a JSON object; of anything else, nothing.
impl From<Value> for Variables {
    fn from(members: Value) -> Self {
        let Value::Object(members) = members else { return Self::default() };
        Self(members.into_iter().map(|(name, member)| (name, member.into_value())).collect())
    }
}

impl From<&Value> for Variables {
    fn from(members: &Value) -> Self {
        members.clone().into()
    }
}

/// A record, by its table and the JSON of its key: a text or an array.
pub(crate) fn record(table: &str, key: Value) -> RecordId {
    let key = match key.into_value() {
        surrealdb::types::Value::String(key) => RecordIdKey::String(key),
        surrealdb::types::Value::Array(key) => RecordIdKey::Array(key),
        other => unreachable!("no record is called {other:?}"),
    };
    RecordId::new(table, key)
}

/// The same of many.
pub(crate) fn records(table: &str, keys: impl IntoIterator<Item = Value>) -> Vec<RecordId> {
    keys.into_iter().map(|key| record(table, key)).collect()
}

/// The store on this machine's disk, with bounds on its memory. The engine's own defaults take half of the machine's
/// memory for a cache and up to 1 GiB before they write out (measured over 1.2 million transactions: 1,440 MB resident;
/// with these bounds 486 MB, and faster). No address can change them, hence the engine's own, unstable way in, with what
/// the stable one does around it: the exact version of the crates is pinned.
#[cfg(feature = "embedded")]
mod embedded {
    use surrealdb::Surreal;
    use surrealdb::engine::local::Db;
    use surrealdb::types::Error;
    use surrealdb_cnf::ConfigMap;
    use surrealdb_engine_local::Datastore;

    // Bytes: 64 MiB and 128 MiB.
    const BOUNDS: [(&str, &str); 2] =
        [("surrealkv_max_memtable_size", "67108864"), ("surrealkv_block_cache_capacity", "134217728")];

    pub(super) async fn open(url: &str) -> Result<Surreal<Db>, Error> {
        let bounds =
            BOUNDS.into_iter().fold(ConfigMap::empty(), |bounds, (name, value)| bounds.with_key_value(name, value));
        let datastore = Datastore::builder()
            .with_config(bounds)
            // They write, and must not do so before the version of the store is known.
            .without_maintenance_tasks()
            .build_with_path(&not_synced_again(url))
            .await
            .map_err(|error| Error::internal(error.to_string()))?;
        datastore.check_version().await.map_err(|error| Error::internal(error.to_string()))?;
        datastore.bootstrap().await.map_err(|error| Error::internal(error.to_string()))?;
        datastore.start_maintenance_tasks();
        Surreal::<Db>::unstable_from_datastore(datastore, None).await
    }

    /// The URL such that `SurrealDB` does not sync once more what its storage engine has synced before anybody saw it:
    /// `activities/surrealkv` sees to that for every commit, whatever the URL says.
    pub(super) fn not_synced_again(url: &str) -> String {
        let (path, settings) = url.split_once('?').unwrap_or((url, ""));
        let others = settings.split('&').filter(|setting| !setting.is_empty() && !setting.starts_with("sync="));
        let settings: Vec<_> = others.chain(["sync=never"]).collect();
        format!("{path}?{}", settings.join("&"))
    }
}

/// After a failed transaction most statements only say that they were not run: the cause is among the others.
fn first_cause(mut answers: IndexedResults) -> Result<IndexedResults, Error> {
    let mut errors: Vec<(usize, Error)> = answers.take_errors().into_iter().collect();
    errors.sort_by_key(|(index, error)| (is_consequence(error), *index));
    match errors.into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok(answers),
    }
}

fn is_consequence(error: &Error) -> bool {
    matches!(error.query_details(), Some(QueryError::NotExecuted | QueryError::Cancelled)) && !is_failed_commit(error)
}

/// Whether the store could not write a transaction, or a statement by itself. Only the text tells that from a statement
/// that was not run because of another; `tests/it/disk.rs` shows that it still does.
fn is_failed_commit(error: &Error) -> bool {
    const CONSEQUENCES: [&str; 2] = [
        "The query was not executed due to a failed transaction",
        "Cannot COMMIT: the transaction was aborted due to a prior error",
    ];
    matches!(error.query_details(), Some(QueryError::NotExecuted)) && !CONSEQUENCES.contains(&error.message())
}

/// Only the text tells it of what is no query.
fn is_conflict(error: &Error) -> bool {
    matches!(error.query_details(), Some(QueryError::TransactionConflict))
        || error.message().ends_with("This transaction can be retried")
}

/// Longer with each conflict, and never as long as others.
async fn pause(conflicts: u32) {
    let longest = 1u64 << conflicts.min(5);
    let pause = rand::rng().random_range(0..=longest * 1000);
    tokio::time::sleep(Duration::from_micros(pause)).await;
}

/// The answers of a run, by statement.
pub struct Answers(IndexedResults);

impl Answers {
    /// The answer of one statement, counted from 0; `BEGIN` counts too.
    pub fn read<T: DeserializeOwned>(&mut self, statement: usize) -> Result<T, StoreError> {
        let value: surrealdb::types::Value = self.0.take(statement)?;
        Ok(serde_json::from_value(value.into_json_value())?)
    }

    /// The same where the answer is rows of the store's own values.
    pub fn read_values<T: SurrealValue>(&mut self, statement: usize) -> Result<Vec<T>, StoreError> {
        let value: surrealdb::types::Value = self.0.take(statement)?;
        Ok(Vec::from_value(value)?)
    }

    /// The same where the answer is documents that are kept as texts.
    pub fn read_texts<T: DeserializeOwned>(&mut self, statement: usize) -> Result<Vec<T>, StoreError> {
        Ok(self.read::<Vec<Text<T>>>(statement)?.into_iter().map(|Text(document)| document).collect())
    }
}

#[cfg(all(test, feature = "embedded"))]
#[path = "store_test.rs"]
mod tests;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use reqwest::Url;
use sqlx::AssertSqlSafe;
use tokio::net::TcpListener;
use workflows::payment::{Due, EntryKind, Payments};
use workflows::provider::Undo;
use workflows::{Currency, Money, PaymentMethod};

use super::super::{BuiltIn, ledger};
use super::*;
use crate::Modes;

/// A server to test on: the one that is named, or one of this process, which ends when its standard input does.
struct Server {
    url: Url,
    _process: Option<Child>,
}

impl Server {
    fn get() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(|| match std::env::var("JUMUN_TEST_POSTGRES") {
            Ok(url) => Self { url: url.parse().expect("JUMUN_TEST_POSTGRES is a URL"), _process: None },
            Err(_) => Self::start(),
        })
    }

    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/postgres");
        let mut process = Command::new(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{script} cannot be started: {error}"));
        let mut line = String::new();
        let answers = process.stdout.take().expect("it is piped");
        BufReader::new(answers).read_line(&mut line).expect("is text");
        let Ok(url) = line.trim().parse() else {
            let mut why = String::new();
            process.stderr.take().expect("it is piped").read_to_string(&mut why).expect("is text");
            panic!("no PostgreSQL to test on, and JUMUN_TEST_POSTGRES names none: {}", why.trim());
        };
        Self { url, _process: Some(process) }
    }
}

/// A database of a test's own, which goes when it is dropped.
pub struct Scratch {
    pub url: String,
    name: String,
}

impl Scratch {
    pub async fn create() -> Self {
        let name = format!("jumun_test_{:032x}", rand::random::<u128>());
        administer(format!("CREATE DATABASE {name}")).await;
        let mut url = Server::get().url.clone();
        url.set_path(&name);
        Self { url: url.into(), name }
    }

    /// As by hand in psql.
    async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("connects")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let drop = administer(format!("DROP DATABASE {} WITH (FORCE)", self.name));
        let thread = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
            runtime.block_on(drop);
        });
        // In a test that fails already, one more panic would hide why.
        if thread.join().is_err() {
            eprintln!("the database {} stays", self.name);
        }
    }
}

async fn administer(statement: String) {
    let mut connection = PgConnection::connect(Server::get().url.as_str()).await.expect("connects");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.expect("may make databases");
}

/// What the server says to the statements, each by itself: an error's code.
async fn said(connection: &mut PgConnection, statements: &str) -> Result<(), String> {
    for statement in statements.split_inclusive(';').filter(|statement| !statement.trim().is_empty()) {
        if let Err(error) = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await {
            return Err(error
                .as_database_error()
                .and_then(sqlx::error::DatabaseError::code)
                .expect("has a code")
                .into_owned());
        }
    }
    Ok(())
}

const CHECK_VIOLATION: &str = "23514";
const RESTRICT_VIOLATION: &str = "23001";
const UNIQUE_VIOLATION: &str = "23505";

/// A payment with one entry, as the book writes it.
const BOOKED: &str = "
    BEGIN;
    INSERT INTO payments VALUES ('pay_1', 'ord_1', 'm', 'card', 'approved', false, 5, 'KRW', NULL, now(), now());
    INSERT INTO entries VALUES ('pay_1', 'charge', now());
    INSERT INTO postings VALUES ('pay_1', 'charge', 1, 'a', 5, 'KRW'), ('pay_1', 'charge', 2, 'b', -5, 'KRW');
    COMMIT;
";

async fn booked() -> (Scratch, PgConnection) {
    let scratch = Scratch::create().await;
    open(&scratch.url).await.expect("migrates");
    let mut connection = scratch.connect().await;
    said(&mut connection, BOOKED).await.expect("an entry that balances is booked");
    (scratch, connection)
}

#[tokio::test]
async fn an_entry_that_does_not_balance_is_refused_at_the_commit() {
    let (_scratch, mut psql) = booked().await;
    let unbalanced = [
        "",
        "(1, 'a', 0, 'KRW')",
        "(1, 'a', 5, 'KRW')",
        "(1, 'a', 5, 'KRW'), (2, 'b', -4, 'KRW')",
        "(1, 'a', 5, 'KRW'), (2, 'b', -5, 'USD')",
        "(1, 'a', 5, 'KRW'), (2, 'b', -5, 'KRW'), (3, 'c', 1, 'USD')",
        "(1, 'a', 9223372036854775807, 'KRW'), (2, 'b', 9223372036854775807, 'KRW'), (3, 'c', 2, 'KRW')",
    ];
    for postings in unbalanced {
        let postings = if postings.is_empty() {
            String::new()
        } else {
            format!("INSERT INTO postings SELECT 'pay_1', 'refund', * FROM (VALUES {postings}) AS posting;")
        };
        let entry = format!("BEGIN; INSERT INTO entries VALUES ('pay_1', 'refund', now()); {postings}");
        said(&mut psql, &entry).await.unwrap_or_else(|code| panic!("refused before the commit: {code}: {postings}"));
        assert_eq!(said(&mut psql, "COMMIT").await, Err(CHECK_VIOLATION.to_owned()), "{postings}");
    }
    let balanced = "
        BEGIN;
        INSERT INTO entries VALUES ('pay_1', 'refund', now());
        INSERT INTO postings VALUES ('pay_1', 'refund', 1, 'b', 5, 'KRW'), ('pay_1', 'refund', 2, 'c', 3, 'USD');
        INSERT INTO postings VALUES ('pay_1', 'refund', 3, 'a', -5, 'KRW'), ('pay_1', 'refund', 4, 'd', -3, 'USD');
        COMMIT;
    ";
    assert_eq!(said(&mut psql, balanced).await, Ok(()));
}

#[tokio::test]
async fn an_entry_that_is_booked_cannot_be_unbalanced_later() {
    let (scratch, mut psql) = booked().await;
    let one_more = "INSERT INTO postings VALUES ('pay_1', 'charge', 3, 'a', 5, 'KRW')";
    assert_eq!(said(&mut psql, one_more).await, Err(CHECK_VIOLATION.to_owned()));

    // Nor by two together, each with a half.
    let mut other = scratch.connect().await;
    let other_half = "BEGIN; INSERT INTO postings VALUES ('pay_1', 'charge', 4, 'b', -5, 'KRW')";
    said(&mut psql, &format!("BEGIN; {one_more}")).await.expect("not committed yet");
    said(&mut other, other_half).await.expect("not committed yet");
    assert_eq!(said(&mut psql, "COMMIT").await, Err(CHECK_VIOLATION.to_owned()));
    assert_eq!(said(&mut other, "COMMIT").await, Err(CHECK_VIOLATION.to_owned()));
}

#[tokio::test]
async fn a_table_of_the_same_name_does_not_deceive_the_ledger() {
    let (_scratch, mut psql) = booked().await;
    let deceit = "
        CREATE TEMPORARY TABLE postings AS SELECT * FROM postings;
        UPDATE pg_temp.postings SET kind = 'refund';
        INSERT INTO public.entries VALUES ('pay_1', 'refund', now());
    ";
    assert_eq!(said(&mut psql, deceit).await, Err(CHECK_VIOLATION.to_owned()));
}

#[tokio::test]
async fn what_is_booked_is_neither_changed_nor_removed() {
    let (_scratch, mut psql) = booked().await;
    for change in [
        "UPDATE postings SET amount = amount * 2",
        "UPDATE postings SET account = 'mine' WHERE amount > 0",
        "DELETE FROM postings",
        "TRUNCATE postings",
        "UPDATE entries SET at = now()",
        "DELETE FROM entries WHERE payment_id = 'pay_1'",
        "TRUNCATE entries, postings",
        "TRUNCATE payments CASCADE",
        "INSERT INTO postings VALUES ('pay_1', 'charge', 1, 'a', 5, 'KRW') ON CONFLICT (payment_id, kind, number)
             DO UPDATE SET amount = 6",
    ] {
        assert_eq!(said(&mut psql, change).await, Err(RESTRICT_VIOLATION.to_owned()), "{change}");
    }
    assert_eq!(
        said(&mut psql, "INSERT INTO entries VALUES ('pay_1', 'charge', now())").await,
        Err(UNIQUE_VIOLATION.to_owned())
    );
    let asleep = "SELECT tgname::text FROM pg_trigger WHERE tgname IN ('balanced', 'append_only') AND tgenabled <> 'A'";
    let asleep: Vec<String> = sqlx::query_scalar(asleep).fetch_all(&mut psql).await.expect("answers");
    assert!(asleep.is_empty(), "a session that replays a replica's changes gets past {asleep:?}");
}

#[tokio::test]
async fn values_outside_their_sets_are_refused() {
    let (_scratch, mut psql) = booked().await;
    for values in [
        "'cash', 'approved', false, 5, 'KRW'",
        "'card', 'none', false, 5, 'KRW'",
        "'card', 'approved', true, 5, 'KRW'",
        "'card', 'approved', false, -5, 'KRW'",
        "'card', 'approved', false, 5, 'kr'",
    ] {
        let payment = format!("INSERT INTO payments VALUES ('pay_2', 'ord_2', 'm', {values}, NULL, now(), now())");
        assert_eq!(said(&mut psql, &payment).await, Err(CHECK_VIOLATION.to_owned()), "{values}");
    }
    let gift = "INSERT INTO entries VALUES ('pay_1', 'gift', now())";
    assert_eq!(said(&mut psql, gift).await, Err(CHECK_VIOLATION.to_owned()));
}

fn due(amount: i64) -> Due {
    let order_id = workflows::OrderId::from_bits(1);
    Due {
        payment_id: order_id.payment(),
        order_id,
        merchant_id: "sauce-shop".parse().expect("valid"),
        method: PaymentMethod::Card,
        amount: Money::new(amount, Currency::KRW),
    }
}

/// No bug of ours can get past the schema either, and nothing of what belongs together stays without the rest.
#[tokio::test]
async fn a_payment_whose_entry_does_not_balance_is_not_created() {
    let scratch = Scratch::create().await;
    let book = open(&scratch.url).await.expect("migrates");
    let due = due(5);
    let opening = Opening { due: &due, state: State::Approved, void: false, reason: None };
    let mut entry = ledger::entry(EntryKind::Charge, &due, now());
    entry.postings[1].amount.amount += 1;
    assert!(book.create(&opening, Some(&entry)).await.is_err());
    assert_eq!(book.find(&due.payment_id).await.expect("answers"), None);
    entry.postings[1].amount.amount -= 1;
    assert!(book.create(&opening, Some(&entry)).await.expect("books"));
}

#[tokio::test]
async fn processes_that_start_together_bring_the_schema_up_to_date_once() {
    let scratch = Scratch::create().await;
    let together = (0..4).map(|_| {
        let url = scratch.url.clone();
        tokio::spawn(async move { open(&url).await.map(drop) })
    });
    for opened in together.collect::<Vec<_>>() {
        opened.await.expect("no panic").expect("opens");
    }
}

#[tokio::test]
async fn a_payment_that_somebody_holds_is_unavailable_until_it_is_let_go() {
    let scratch = Scratch::create().await;
    let payments = BuiltIn::new(open(&scratch.url).await.expect("migrates"), Arc::new(Modes::default()));
    let due = Due { method: PaymentMethod::Deposit, ..due(5) };
    payments.open_deposit(&due).await.expect("opens");
    let mut psql = scratch.connect().await;
    said(&mut psql, "BEGIN; SELECT FROM payments FOR UPDATE").await.expect("holds");
    assert!(matches!(payments.confirm_deposit(&due).await, Err(ProviderError::Unavailable(_))));
    said(&mut psql, "ROLLBACK").await.expect("lets go");
    payments.confirm_deposit(&due).await.expect("confirms");
    assert_eq!(payments.refund(&due).await.expect("refunds"), Undo::Undone);
}

#[tokio::test]
async fn lost_connections_are_made_anew() {
    let scratch = Scratch::create().await;
    let payments = BuiltIn::new(open(&scratch.url).await.expect("migrates"), Arc::new(Modes::default()));
    let due = Due { method: PaymentMethod::Deposit, ..due(5) };
    payments.open_deposit(&due).await.expect("opens");
    let all_others = "
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();
    ";
    said(&mut scratch.connect().await, all_others).await.expect("ends them");
    payments.confirm_deposit(&due).await.expect("confirms");
}

#[tokio::test]
async fn a_server_that_is_gone_or_silent_is_unavailable_and_no_error_tells_the_password() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("binds").local_addr().expect("is bound");
    let places = [silent.local_addr().expect("is bound"), gone];
    let asked = places.map(|place| {
        tokio::spawn(async move {
            let url = format!("postgres://jumun:hunter2@{place}/payments");
            let Err(refused) = open(&url).await else { panic!("there is no PostgreSQL at {place}") };
            assert!(refused.to_string().contains(&place.to_string()), "{refused}");
            let book = Postgres::new(url.parse().expect("valid"));
            let Err(unavailable) = book.find(&due(5).payment_id).await else { panic!("nobody answers at {place}") };
            assert!(matches!(unavailable, ProviderError::Unavailable(_)), "{unavailable}");
            format!("{refused} {refused:?} {unavailable} {unavailable:?}")
        })
    });
    let began = Instant::now();
    for asked in asked {
        let told = asked.await.expect("no panic");
        assert!(!told.contains("hunter2"), "{told}");
    }
    assert!(began.elapsed() < 3 * ACQUIRE_TIMEOUT, "{:?}", began.elapsed());

    for url in ["postgres://jumun:hunter2@:x/payments", "postgres://jumun:hunter2@127.0.0.1:1/?sslmode=hunter3"] {
        let Err(refused) = open(url).await else { panic!("{url} is no URL") };
        assert!(matches!(refused, PostgresError::Url(_)), "{refused}");
        assert!(!format!("{refused} {refused:?}").contains("hunter2"), "{refused:?}");
    }
    let mut refusing = Server::get().url.clone();
    refusing.set_path("no_such_database");
    let Err(refused) = open(refusing.as_str()).await else { panic!("it does not exist") };
    assert!(refused.to_string().contains("no_such_database"), "{refused}");
}

#[tokio::test]
async fn a_demand_for_an_encrypted_connection_is_not_passed_over() {
    let mut url = Server::get().url.clone();
    url.set_query(Some("sslmode=require"));
    let Err(refused) = open(url.as_str()).await else { panic!("nothing encrypts") };
    assert!(matches!(refused, PostgresError::Unreachable { cause: sqlx::Error::Tls(_), .. }), "{refused}");
}

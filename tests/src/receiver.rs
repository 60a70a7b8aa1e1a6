//! Somebody else's HTTP server, which keeps what it is sent and answers as a test tells it to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use poem::listener::TcpAcceptor;
use poem::{Request, Response, Server};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::until;

/// One request that has come in.
#[derive(Clone, Debug)]
pub struct Received {
    pub at: Instant,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// The status that it was answered with.
    pub answered: u16,
}

impl Received {
    /// A header as text; empty where it is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

#[derive(Default)]
struct Desk {
    received: Vec<Received>,
    answers: VecDeque<u16>,
}

/// A server on this test's runtime.
pub struct Receiver {
    pub url: String,
    desk: Arc<Mutex<Desk>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let desk = Arc::<Mutex<Desk>>::default();
        let endpoint = poem::endpoint::make({
            let desk = desk.clone();
            move |request| take(desk.clone(), request)
        });
        let acceptor = TcpAcceptor::from_tokio(listener).expect("accepts");
        tokio::spawn(Server::new_with_acceptor(acceptor).run(endpoint));
        Self { url, desk }
    }

    /// Answers the next requests with these statuses; those after them, and without any, with 200.
    pub fn answer(&self, statuses: &[u16]) {
        self.desk.lock().expect("no panic").answers.extend(statuses);
    }

    /// Everything that has come in, oldest first.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.desk.lock().expect("no panic").received.clone()
    }

    /// Waits until `count` requests have come in, and returns all that have.
    pub async fn receives(&self, count: usize) -> Vec<Received> {
        until(&format!("{count} requests"), async || {
            let received = self.received();
            (received.len() >= count).then_some(received)
        })
        .await
    }
}

async fn take(desk: Arc<Mutex<Desk>>, request: Request) -> Response {
    let at = Instant::now();
    let (parts, body) = request.into_parts();
    let body = body.into_vec().await.unwrap_or_default();
    let mut desk = desk.lock().expect("no panic");
    let answered = desk.answers.pop_front().unwrap_or(200);
    let path = parts.uri.path().to_owned();
    desk.received.push(Received { at, path, headers: parts.headers, body, answered });
    Response::builder().status(StatusCode::from_u16(answered).expect("a status")).finish()
}

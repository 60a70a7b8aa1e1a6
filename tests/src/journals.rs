//! Journals: what an engine sends to a worker that is to go on with an invocation, recorded byte for byte, kept in files,
//! and replayed.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::bytes::Bytes;
use restate_sdk::endpoint::{Endpoint, HandleOptions, ProtocolMode};
use tokio::net::TcpListener;

use crate::protocol::{Frame, frames, subject};
use crate::until;

/// How long a replay may take: it waits for nothing.
const REPLAY_WITHIN: Duration = Duration::from_secs(20);

/// One request of the engine, and the worker's answer.
#[derive(Clone, Debug)]
struct Exchange {
    path: String,
    content_type: String,
    key: String,
    request: Bytes,
    answer: Vec<Frame>,
}

/// A worker that keeps what it is asked. Its engine must wait for nothing, so that every request holds the whole journal
/// so far: with an inactivity timeout of zero.
pub struct Recorder {
    pub url: String,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
}

impl Recorder {
    pub async fn start(endpoint: Endpoint) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let exchanges = Arc::<Mutex<Vec<Exchange>>>::default();
        tokio::spawn(serve(listener, endpoint, exchanges.clone()));
        Self { url, exchanges }
    }

    /// Waits until an invocation of that handler has ended, and returns its journal: the last of those with such a key.
    pub async fn ended(&self, path: &str, key: &str) -> Journal {
        let what = format!("{path} of {key} to end");
        until(&what, async || self.last(path, key, |answer| answer.iter().any(Frame::is_end))).await
    }

    /// Waits until the order waits for somebody at a gate, and returns its journal.
    pub async fn waits(&self, order_id: &str) -> Journal {
        let waits = |answer: &[Frame]| {
            answer.last().is_some_and(Frame::waits_for_awakeable) && !answer.iter().any(Frame::is_result_of_a_step)
        };
        until(&format!("{order_id} to wait at a gate"), async || self.last("/invoke/order/run", order_id, waits)).await
    }

    fn last(&self, path: &str, key: &str, is_it: impl Fn(&[Frame]) -> bool) -> Option<Journal> {
        let exchanges = self.exchanges.lock().expect("no panic");
        let about = |exchange: &&Exchange| exchange.path == path && exchange.key.starts_with(key);
        exchanges.iter().rev().filter(about).find(|exchange| is_it(&exchange.answer)).map(Journal::of)
    }
}

async fn serve(listener: TcpListener, endpoint: Endpoint, exchanges: Arc<Mutex<Vec<Exchange>>>) {
    loop {
        let (stream, _) = listener.accept().await.expect("accepts");
        let (endpoint, exchanges) = (endpoint.clone(), exchanges.clone());
        let service = service_fn(move |request| record(endpoint.clone(), exchanges.clone(), request));
        let connection = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

async fn record(
    endpoint: Endpoint,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let request = body.collect().await?.to_bytes();
    let path = parts.uri.path().to_owned();
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    let content_type = content_type.map(|value| value.to_str().expect("text").to_owned()).unwrap_or_default();
    let (head, answer) = ask(&endpoint, Request::from_parts(parts, Full::new(request.clone()))).await.into_parts();
    if let Some(key) = subject(&request).filter(|_| path.starts_with("/invoke/")) {
        let answer = frames(&answer);
        let exchange = Exchange { path, content_type, key, request, answer };
        exchanges.lock().expect("no panic").push(exchange);
    }
    Ok(Response::from_parts(head, Full::new(answer)))
}

async fn ask(endpoint: &Endpoint, request: Request<Full<Bytes>>) -> Response<Bytes> {
    let options = HandleOptions { protocol_mode: ProtocolMode::BidiStream };
    let (head, body) = endpoint.handle_with_options(request, options).into_parts();
    let body = body.collect().await.expect("what is in memory can be read");
    Response::from_parts(head, body.to_bytes())
}

/// A journal, and what a worker makes of it.
#[derive(Clone, Debug)]
pub struct Journal {
    path: String,
    content_type: String,
    /// What the worker answered when it was recorded, a frame a line.
    pub answer: Vec<String>,
    body: Bytes,
}

impl Journal {
    fn of(exchange: &Exchange) -> Self {
        let Exchange { path, content_type, request, answer, .. } = exchange.clone();
        Self { path, content_type, answer: answer.iter().map(Frame::describe).collect(), body: request }
    }

    /// What was asked: the path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The same with another text where that one stands first, followed by spaces, so that it is as long; `None` where it is nowhere.
    #[must_use]
    pub fn with(&self, text: &str, other: &str) -> Option<Self> {
        let at = self.body.windows(text.len()).position(|here| here == text.as_bytes())?;
        let other = format!("{other:width$}", width = text.len());
        assert_eq!(other.len(), text.len(), "it is to be as long");
        let mut body = self.body.to_vec();
        body[at..at + text.len()].copy_from_slice(other.as_bytes());
        Some(Self { body: body.into(), ..self.clone() })
    }

    /// Its commands and notifications.
    #[must_use]
    pub fn entries(&self) -> usize {
        frames(&self.body).len() - 1
    }

    /// What a worker answers to it now, a frame a line.
    pub async fn replay(&self, endpoint: &Endpoint) -> Vec<String> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header(header::CONTENT_TYPE, &self.content_type)
            .body(Full::new(self.body.clone()))
            .expect("a request");
        let Ok(answer) = tokio::time::timeout(REPLAY_WITHIN, ask(endpoint, request)).await else {
            return vec![format!("no answer within {REPLAY_WITHIN:?}")];
        };
        if answer.status() != StatusCode::OK {
            return vec![format!("{}: {}", answer.status(), String::from_utf8_lossy(answer.body()))];
        }
        frames(answer.body()).iter().map(Frame::describe).collect()
    }

    /// A head of lines (path, content type, the answer's frames), an empty line, and the body as it came.
    pub fn write(&self, file: &Path) {
        let head = [&self.path, &self.content_type].into_iter().chain(&self.answer);
        let mut bytes: Vec<u8> = head.flat_map(|line| format!("{line}\n").into_bytes()).collect();
        bytes.push(b'\n');
        bytes.extend(&self.body);
        std::fs::write(file, bytes).expect("writes");
    }

    #[must_use]
    pub fn read(file: &Path) -> Self {
        let bytes = std::fs::read(file).expect("reads");
        let end = bytes.windows(2).position(|pair| pair == b"\n\n").expect("an empty line");
        let head = std::str::from_utf8(&bytes[..end]).expect("a head of text");
        let mut lines = head.lines().map(str::to_owned);
        let (path, content_type) = (lines.next().expect("a path"), lines.next().expect("a content type"));
        Self { path, content_type, answer: lines.collect(), body: Bytes::copy_from_slice(&bytes[end + 2..]) }
    }
}

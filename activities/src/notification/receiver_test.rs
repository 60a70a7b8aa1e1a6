//! A receiver of messages on loopback: it keeps every request, and answers as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use poem::endpoint::make;
use poem::http::{HeaderMap, StatusCode};
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::{Request, Response, Server};
use tokio::task::JoinHandle;

pub enum Reply {
    Status(u16),
    /// A status with one header.
    With(u16, &'static str, String),
    /// Takes the request, and never answers.
    Silence,
}

pub struct Heard {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Heard {
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().expect("text")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

pub struct Receiver {
    pub url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let replies = Arc::new(Mutex::new(VecDeque::new()));
        let endpoint = make({
            let (heard, replies) = (heard.clone(), replies.clone());
            move |request| answer(request, heard.clone(), replies.clone())
        });
        let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await.expect("a free port");
        let address = acceptor.local_addr()[0].to_string();
        let url = format!("http://{}/hook", address.strip_prefix("socket://").unwrap_or(&address));
        let server = tokio::spawn(Server::new_with_acceptor(acceptor).run(endpoint));
        Self { url, heard, replies, server }
    }

    /// What it answers next, one after another; 200 when that is used up.
    pub fn will(&self, replies: impl IntoIterator<Item = Reply>) {
        self.replies.lock().expect("no holder panics").extend(replies);
    }

    /// What it was asked since this was asked last.
    pub fn heard(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.heard.lock().expect("no holder panics"))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(
    mut request: Request,
    heard: Arc<Mutex<Vec<Heard>>>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
) -> poem::Result<Response> {
    let body = request.take_body().into_vec().await?;
    let (path, headers) = (request.uri().path().to_owned(), request.headers().clone());
    heard.lock().expect("no holder panics").push(Heard { path, headers, body });
    let reply = replies.lock().expect("no holder panics").pop_front().unwrap_or(Reply::Status(200));
    let status = |code| Response::builder().status(StatusCode::from_u16(code).expect("a status"));
    Ok(match reply {
        Reply::Status(code) => status(code).finish(),
        Reply::With(code, name, value) => status(code).header(name, value).body("as told"),
        Reply::Silence => std::future::pending().await,
    })
}

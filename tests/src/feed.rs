//! A live stream of events, read as a browser reads it.

use serde_json::Value;

use crate::{DEADLINE, Jumun};

/// One event of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Where to resume after it.
    pub id: String,
    pub name: String,
    pub data: Value,
}

/// An open stream. Dropped, it is cut.
pub struct Feed {
    response: reqwest::Response,
    unread: Vec<u8>,
}

impl Feed {
    /// Opens the stream at `path`, from the event after `last_event_id` on.
    pub async fn open(jumun: &Jumun, path: &str, last_event_id: Option<&str>) -> Self {
        let mut request = jumun.request(reqwest::Method::GET, path).header("accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.expect("jumun answers");
        assert_eq!(response.status(), 200);
        let kind = response.headers().get("content-type").expect("a type").to_str().expect("text");
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        Self { response, unread: Vec::new() }
    }

    /// The next event, as soon as there is one; `None` where the stream has ended.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            while let Some(end) = self.unread.windows(2).position(|bytes| bytes == b"\n\n") {
                let block: Vec<u8> = self.unread.drain(..end + 2).collect();
                if let Some(told) = read(std::str::from_utf8(&block).expect("UTF-8")) {
                    return Some(told);
                }
            }
            let chunk = tokio::time::timeout(DEADLINE, self.response.chunk()).await.expect("told in time");
            self.unread.extend_from_slice(&chunk.ok()??);
        }
    }
}

/// One block of a stream; `None` for one that only keeps the connection open.
fn read(block: &str) -> Option<Told> {
    let field = |name: &str| {
        let mut lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        lines.next().map(|value| value.strip_prefix(' ').unwrap_or(value))
    };
    let data = serde_json::from_str(field("data")?).expect("JSON");
    Some(Told {
        id: field("id").unwrap_or_default().to_owned(),
        name: field("event").unwrap_or_default().to_owned(),
        data,
    })
}

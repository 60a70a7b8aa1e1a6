//! The live stream of all events: followed from now on, and resumed where it broke.

use reqwest::Response;
use tokio::sync::mpsc;
use tracing::debug;
use workflows::order::Event;

use super::client::{Client, ClientError, PAUSE};
use super::story;

#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("the live stream of events: {0}")]
    Client(#[from] ClientError),
    #[error("the live stream has an event that cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
}

/// The position of the last event so far; 0 where there is none.
pub async fn end(client: &Client) -> Result<u64, ClientError> {
    last(async |position| client.has_events_after(position).await).await
}

/// Positions have no gaps, so the last is found in few steps, however many there are.
async fn last<E>(mut more_after: impl AsyncFnMut(u64) -> Result<bool, E>) -> Result<u64, E> {
    // There is an event at `below`, unless that is 0, and none at `above`.
    let (mut below, mut above) = (0, 1);
    while more_after(above - 1).await? {
        below = above;
        above *= 2;
    }
    while below + 1 < above {
        let middle = below.midpoint(above);
        if more_after(middle - 1).await? {
            below = middle;
        } else {
            above = middle;
        }
    }
    Ok(below)
}

/// Sends every event after `position` to `events` until nobody listens there. A stream that breaks is resumed after the
/// last event that came.
pub async fn follow(client: &Client, position: u64, events: &mpsc::Sender<Event>) -> Result<(), FeedError> {
    let mut last = None;
    while !events.is_closed() {
        match client.stream(position, last.as_deref()).await {
            Ok(stream) => read(stream, &mut last, events).await?,
            Err(error) if error.may_pass() => debug!(%error, "the live stream cannot be opened"),
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Reads a stream to its end, which is no error.
async fn read(mut stream: Response, last: &mut Option<String>, events: &mpsc::Sender<Event>) -> Result<(), FeedError> {
    let mut messages = Messages::default();
    loop {
        match stream.chunk().await {
            Ok(Some(chunk)) => messages.unread.extend_from_slice(&chunk),
            Ok(None) => return Ok(()),
            Err(error) => {
                debug!(%error, ?last, "the live stream broke");
                return Ok(());
            }
        }
        while let Some(Message { id, data }) = messages.next() {
            if events.send(story::read(&data)?).await.is_err() {
                return Ok(());
            }
            *last = id.or(last.take());
        }
    }
}

/// A message of a stream, as far as anybody here needs it.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    id: Option<String>,
    data: String,
}

/// The messages in what has come of a stream, as <https://html.spec.whatwg.org/multipage/server-sent-events.html> has
/// them.
#[derive(Default)]
struct Messages {
    unread: Vec<u8>,
    id: Option<String>,
    data: Vec<String>,
}

impl Messages {
    /// The next message that is whole.
    fn next(&mut self) -> Option<Message> {
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                let (id, data) = (self.id.take(), std::mem::take(&mut self.data));
                if !data.is_empty() {
                    return Some(Message { id, data: data.join("\n") });
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => self.id = Some(value.to_owned()),
                "data" => self.data.push(value.to_owned()),
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(chunks: &[&str]) -> Vec<Message> {
        let mut messages = Messages::default();
        let mut found = Vec::new();
        for chunk in chunks {
            messages.unread.extend_from_slice(chunk.as_bytes());
            while let Some(message) = messages.next() {
                found.push(message);
            }
        }
        found
    }

    fn message(id: Option<&str>, data: &str) -> Message {
        Message { id: id.map(str::to_owned), data: data.to_owned() }
    }

    #[test]
    fn messages_are_found_wherever_the_stream_is_cut() {
        let whole =
            ": hello\n\nid: 41\nevent: order_paid\ndata: {\"a\": 1}\n\nid:42\r\ndata:x\r\ndata: y\r\n\r\ndata: z\n\n";
        let expected = [message(Some("41"), "{\"a\": 1}"), message(Some("42"), "x\ny"), message(None, "z")];
        assert_eq!(messages(&[whole]), expected);
        let bytes: Vec<_> = (0..whole.len()).map(|at| &whole[at..=at]).collect();
        assert_eq!(messages(&bytes), expected);
    }

    #[tokio::test]
    async fn the_last_position_is_found_in_few_steps() {
        for events in (0..70).chain([999_999, 1 << 20]) {
            let mut steps = 0;
            let found = last(async |position| {
                steps += 1;
                Ok::<_, std::convert::Infallible>(position < events)
            });
            assert_eq!(found.await, Ok(events));
            assert!(steps <= 43, "{steps} steps for {events} events");
        }
    }

    #[test]
    fn what_is_not_whole_is_waited_for() {
        assert_eq!(messages(&["id: 1\ndata: {", "}\n"]), []);
        assert_eq!(messages(&[":\n\n", "retry: 100\n\n"]), []);
    }
}

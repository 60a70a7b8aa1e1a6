//! Hears from the system's one stream of events which orders have come to their gate, for everybody in the bench who waits for
//! that. It is the cheapest public way to know: one connection for all orders and no request for any of them, where asking
//! again and again would take at least one for each, and every one of those reads the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use crate::api::{Caller, Failed};

/// The event with which an order of a sauce shop comes to the gate that its courier opens. It waits there without a deadline.
const AT_THE_GATE: &str = "delivery_started";
/// How long an order may take to get there.
const PATIENCE: Duration = Duration::from_mins(1);
/// Before a stream that broke off is asked for again.
const PAUSE: Duration = Duration::from_millis(100);

/// Who has come, and who is waited for.
type Seats = Arc<Mutex<HashMap<String, Seat>>>;

enum Seat {
    Came,
    Awaited(oneshot::Sender<()>),
}

/// Listens as long as it is not dropped.
pub struct Feed {
    seats: Seats,
    _listening: AbortOnDropHandle<()>,
}

impl Feed {
    /// Listens to everything from now on.
    pub async fn listen(operator: &Caller) -> Result<Self> {
        let (seats, end) = (Seats::default(), end(operator).await?);
        let listening = tokio::spawn(follow(operator.clone(), seats.clone(), end));
        Ok(Self { seats, _listening: AbortOnDropHandle::new(listening) })
    }

    /// Waits until the order is at its gate.
    pub async fn comes(&self, order_id: &str) -> Result<(), Failed> {
        let coming = {
            let mut seats = self.seats.lock().expect("no panic");
            if let Some(Seat::Came) = seats.remove(order_id) {
                return Ok(());
            }
            let (here, coming) = oneshot::channel();
            seats.insert(order_id.to_owned(), Seat::Awaited(here));
            coming
        };
        match tokio::time::timeout(PATIENCE, coming).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Failed::NotReached),
        }
    }
}

/// The position of the last event. Positions have no gaps, so it is found by doubling and then halving.
async fn end(operator: &Caller) -> Result<u64> {
    let is_there = async |position: u64| -> Result<bool> {
        let page = operator.get(&format!("/v1/events?after={}&limit=1", position - 1)).await?;
        Ok(page["items"].as_array().is_some_and(|items| !items.is_empty()))
    };
    let (mut last, mut beyond) = (0, 1);
    while is_there(beyond).await? {
        (last, beyond) = (beyond, beyond * 2);
    }
    while last + 1 < beyond {
        let middle = last + (beyond - last) / 2;
        if is_there(middle).await? { last = middle } else { beyond = middle }
    }
    Ok(last)
}

async fn follow(operator: Caller, seats: Seats, mut after: u64) {
    loop {
        if let Ok(mut stream) = operator.events(after).await {
            let mut frames = Frames::default();
            while let Ok(Some(bytes)) = stream.chunk().await {
                frames.take(&bytes, |frame| {
                    after = frame.id.unwrap_or(after);
                    if let Some(order_id) = frame.at_the_gate() {
                        tell(&seats, order_id);
                    }
                });
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn tell(seats: &Seats, order_id: &str) {
    let mut seats = seats.lock().expect("no panic");
    match seats.remove(order_id) {
        // Whether anybody still waits is theirs to know.
        Some(Seat::Awaited(here)) => drop(here.send(())),
        _ => drop(seats.insert(order_id.to_owned(), Seat::Came)),
    }
}

/// Cuts server-sent events out of what arrives.
#[derive(Default)]
struct Frames {
    rest: Vec<u8>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Frame<'a> {
    id: Option<u64>,
    event: &'a str,
    data: &'a str,
}

impl Frames {
    fn take(&mut self, bytes: &[u8], mut each: impl FnMut(Frame<'_>)) {
        self.rest.extend_from_slice(bytes);
        let mut begin = 0;
        while let Some(length) = self.rest[begin..].windows(2).position(|two| two == b"\n\n") {
            if let Ok(text) = std::str::from_utf8(&self.rest[begin..begin + length]) {
                each(Frame::read(text));
            }
            begin += length + 2;
        }
        self.rest.drain(..begin);
    }
}

impl<'a> Frame<'a> {
    fn read(text: &'a str) -> Self {
        let mut frame = Self::default();
        for line in text.lines() {
            match line.split_once(": ") {
                Some(("id", id)) => frame.id = id.parse().ok(),
                Some(("event", event)) => frame.event = event,
                Some(("data", data)) => frame.data = data,
                _ => {}
            }
        }
        frame
    }

    /// The order that has come to its gate, if this says so.
    fn at_the_gate(&self) -> Option<&'a str> {
        #[derive(Deserialize)]
        struct Told<'a> {
            order_id: &'a str,
        }
        if self.event != AT_THE_GATE {
            return None;
        }
        serde_json::from_str::<Told<'a>>(self.data).ok().map(|told| told.order_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_arrive() {
        let stream = ":\n\nid: 7\nevent: order_paid\ndata: {}\n\nid: 8\nevent: delivery_started\n\
                      data: {\"id\":\"x\",\"order_id\":\"ord_1\",\"number\":7}\n\nid: 9\n";
        for size in [1, 3, 1000] {
            let (mut frames, mut heard) = (Frames::default(), Vec::new());
            for part in stream.as_bytes().chunks(size) {
                frames.take(part, |frame| heard.push((frame.id, frame.at_the_gate().map(str::to_owned))));
            }
            assert_eq!(heard, [(None, None), (Some(7), None), (Some(8), Some("ord_1".to_owned()))], "{size}");
            assert_eq!(frames.rest, b"id: 9\n");
        }
    }
}

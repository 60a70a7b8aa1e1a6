//! What engine and worker say to each other, as far as tests look into it: frames, each a header of eight bytes and a
//! protobuf message. See `service-invocation-protocol.md` in github.com/restatedev/service-protocol.

use std::fmt::Write as _;

use prost::Message;
use prost::bytes::Bytes;

/// One message.
#[derive(Clone, Debug)]
pub struct Frame {
    kind: u16,
    payload: Bytes,
}

const START: u16 = 0x0000;
const SUSPENSION: u16 = 0x0001;
const ERROR: u16 = 0x0002;
const END: u16 = 0x0003;
const PROPOSE_RUN_COMPLETION: u16 = 0x0005;
const INPUT: u16 = 0x0400;
const OUTPUT: u16 = 0x0401;
const SET_STATE: u16 = 0x0403;
const GET_EAGER_STATE: u16 = 0x0407;
const GET_PROMISE: u16 = 0x0409;
const PEEK_PROMISE: u16 = 0x040A;
const COMPLETE_PROMISE: u16 = 0x040B;
const SLEEP: u16 = 0x040C;
const ONE_WAY_CALL: u16 = 0x040E;
const SEND_SIGNAL: u16 = 0x0410;
const RUN: u16 = 0x0411;
/// The signal of an invocation's first awakeable: those before it are the engine's own.
const FIRST_AWAKEABLE: u32 = 17;

#[derive(Clone, PartialEq, Message)]
struct Start {
    #[prost(bytes = "bytes", tag = "1")]
    id: Bytes,
    #[prost(string, tag = "2")]
    debug_id: String,
    #[prost(uint32, tag = "3")]
    known_entries: u32,
    #[prost(string, tag = "6")]
    key: String,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(bytes = "bytes", tag = "1")]
    content: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct Failure {
    #[prost(uint32, tag = "1")]
    code: u32,
    #[prost(string, tag = "2")]
    message: String,
}

/// Input and output alike.
#[derive(Clone, PartialEq, Message)]
struct Carried {
    #[prost(message, optional, tag = "14")]
    value: Option<Value>,
    #[prost(message, optional, tag = "15")]
    failure: Option<Failure>,
}

#[derive(Clone, PartialEq, Message)]
struct Failed {
    #[prost(uint32, tag = "1")]
    code: u32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(uint32, optional, tag = "4")]
    command: Option<u32>,
}

/// Flat up to version 6 of the protocol, as a tree since then.
#[derive(Clone, PartialEq, Message)]
struct Suspension {
    #[prost(uint32, repeated, tag = "1")]
    completions: Vec<u32>,
    #[prost(uint32, repeated, tag = "2")]
    signals: Vec<u32>,
    #[prost(message, optional, tag = "4")]
    tree: Option<Awaits>,
}

#[derive(Clone, PartialEq, Message)]
struct Awaits {
    #[prost(uint32, repeated, tag = "1")]
    completions: Vec<u32>,
    #[prost(uint32, repeated, tag = "2")]
    signals: Vec<u32>,
    #[prost(message, repeated, tag = "4")]
    nested: Vec<Awaits>,
}

/// Commands that name what they are about in their first field.
#[derive(Clone, PartialEq, Message)]
struct Keyed {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "12")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Called {
    #[prost(string, tag = "1")]
    service: String,
    #[prost(string, tag = "2")]
    handler: String,
}

impl Frame {
    fn new(kind: u16, message: &impl Message) -> Self {
        Self { kind, payload: message.encode_to_vec().into() }
    }

    fn read<M: Message + Default>(&self) -> M {
        M::decode(self.payload.clone()).unwrap_or_else(|error| panic!("a frame of kind {:#06x}: {error}", self.kind))
    }

    fn write_to(&self, body: &mut Vec<u8>) {
        let length = u32::try_from(self.payload.len()).expect("short");
        body.extend(self.kind.to_be_bytes());
        body.extend(0u16.to_be_bytes());
        body.extend(length.to_be_bytes());
        body.extend(&self.payload);
    }

    /// Whether it ends an invocation.
    #[must_use]
    pub const fn is_end(&self) -> bool {
        self.kind == END
    }

    /// Whether it reports what a step has come to, which was done just now.
    #[must_use]
    pub const fn is_result_of_a_step(&self) -> bool {
        self.kind == PROPOSE_RUN_COMPLETION
    }

    /// Whether it says that nothing goes on until somebody resolves an awakeable.
    #[must_use]
    pub fn waits_for_awakeable(&self) -> bool {
        fn is_among(Awaits { signals, nested, .. }: &Awaits) -> bool {
            signals.iter().any(|signal| *signal >= FIRST_AWAKEABLE) || nested.iter().any(is_among)
        }
        self.kind == SUSPENSION && {
            let Suspension { completions, signals, tree } = self.read();
            is_among(&tree.unwrap_or(Awaits { completions, signals, nested: Vec::new() }))
        }
    }

    /// In a few words: what it is and what it is about, without what was said at length.
    #[must_use]
    pub fn describe(&self) -> String {
        match self.kind {
            SUSPENSION => {
                let Suspension { completions, signals, tree } = self.read();
                let flat = Awaits { completions, signals, nested: Vec::new() };
                format!("suspended until {}", awaits(&tree.unwrap_or(flat)))
            }
            ERROR => {
                let Failed { code, message, command } = self.read();
                let at = command.map(|command| format!(" at command {command}")).unwrap_or_default();
                format!("error {code}{at}: {message}")
            }
            END => "end".to_owned(),
            PROPOSE_RUN_COMPLETION => "result of a step".to_owned(),
            OUTPUT => match self.read() {
                Carried { failure: Some(failure), .. } => format!("failed {}: {}", failure.code, failure.message),
                Carried { value, .. } => {
                    format!("output {}", String::from_utf8_lossy(&value.unwrap_or_default().content))
                        .trim_end()
                        .to_owned()
                }
            },
            RUN => format!("run {}", self.read::<Keyed>().name),
            ONE_WAY_CALL => {
                let Called { service, handler } = self.read();
                format!("send {service}/{handler}")
            }
            SET_STATE => format!("set {}", self.read::<Keyed>().key),
            GET_EAGER_STATE => format!("get {}", self.read::<Keyed>().key),
            GET_PROMISE => format!("promise {}", self.read::<Keyed>().key),
            PEEK_PROMISE => format!("peek {}", self.read::<Keyed>().key),
            COMPLETE_PROMISE => format!("resolve {}", self.read::<Keyed>().key),
            SLEEP => "sleep".to_owned(),
            SEND_SIGNAL => "signal".to_owned(),
            other => format!("{other:#06x}"),
        }
    }
}

fn awaits(Awaits { completions, signals, nested }: &Awaits) -> String {
    let mut text = String::new();
    for completion in completions {
        let _ = write!(text, " {completion}");
    }
    for signal in signals {
        let _ = write!(text, " signal {signal}");
    }
    for nested in nested {
        let _ = write!(text, " ({})", awaits(nested));
    }
    text.trim_start().to_owned()
}

/// The frames of a body, which is whole.
#[must_use]
pub fn frames(mut body: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some((header, rest)) = body.split_first_chunk::<8>() {
        let [a, b, _, _, length @ ..] = *header;
        let (payload, rest) = rest.split_at(u32::from_be_bytes(length) as usize);
        frames.push(Frame { kind: u16::from_be_bytes([a, b]), payload: Bytes::copy_from_slice(payload) });
        body = rest;
    }
    assert!(body.is_empty(), "{} bytes after the last frame", body.len());
    frames
}

/// Whose journal the body of a request holds, by its key.
#[must_use]
pub fn subject(body: &[u8]) -> Option<String> {
    let first = frames(body).into_iter().next().filter(|frame| frame.kind == START)?;
    Some(first.read::<Start>().key)
}

/// A request as an engine would make it: the first of an invocation with that key and input.
#[must_use]
pub fn invocation(key: &str, input: Vec<u8>) -> Vec<u8> {
    let id = format!("inv_forged{key}");
    let start = Start { id: id.clone().into_bytes().into(), debug_id: id, known_entries: 1, key: key.to_owned() };
    let input = Carried { value: Some(Value { content: input.into() }), failure: None };
    let mut body = Vec::new();
    Frame::new(START, &start).write_to(&mut body);
    Frame::new(INPUT, &input).write_to(&mut body);
    body
}

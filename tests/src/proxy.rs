//! The one entry to many: haproxy with `deploy/haproxy.cfg`, in which only the addresses are this machine's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use tempfile::TempDir;
use workflows::Context;

use crate::apart::{PLACES, Part};
use crate::held::Held;
use crate::{Providers, ports, until};

const CONFIG: &str = include_str!("../../deploy/haproxy.cfg");
/// Debian has it in /usr/sbin, which is not on every PATH.
const PROGRAM: &str = "haproxy";

/// Where a process listens, and where its probes are asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) listen: SocketAddr,
    pub(crate) management: SocketAddr,
}

pub(crate) type Places = BTreeMap<(Part, usize), Place>;

/// A running haproxy. It is killed when this is dropped, or when this process ends.
pub(crate) struct Proxy {
    // Dropped in this order: haproxy goes before its directory.
    _process: Held,
    directory: TempDir,
    /// Where each part is reached, whichever process of it that is.
    fronts: BTreeMap<Part, SocketAddr>,
    looks: bool,
}

impl Proxy {
    /// Starts it. `looks`: whether it asks who is ready; if not, it sends requests to all that it is told to, and none of
    /// them twice.
    pub(crate) async fn start(places: &Places, providers: &Providers, looks: bool) -> Self {
        let [health, listens @ ..] = ports::free::<{ 1 + Part::ALL.len() }>();
        let fronts: BTreeMap<_, _> = Part::ALL.into_iter().zip(listens).collect();
        let directory = TempDir::new().expect("a temporary directory");
        let socket = directory.path().join("socket");
        let mut config = Config::new(CONFIG);
        config.put("\nglobal\n", &format!("\nglobal\n    stats socket {} mode 600 level admin\n", socket.display()));
        config.put(" resolvers network init-addr none", "");
        if !looks {
            config.put("default-server check inter 1s fall 2 rise 1", "default-server disabled");
            config.put("    retries 3\n    option redispatch 1\n", "    retries 0\n");
        }
        config.put("bind :8405", &format!("bind {health}"));
        for (context, port) in Context::ALL.into_iter().zip([9101, 9102, 9103, 9105, 9104, 9106]) {
            let url = providers.url(context);
            config.put(&format!("{context}:{port}"), url.trim_start_matches("http://").trim_end_matches('/'));
        }
        config.repeat("frontend engine\n", "# Nothing is sent here");
        let servers = |part: Part, line: fn(&Place) -> String| {
            let of_part = places.iter().filter(|((of, _), _)| *of == part);
            of_part.fold(String::new(), |mut lines, ((_, number), place)| {
                let _ = write!(lines, "\n    server {} {}", server(part, *number), line(place));
                lines
            })
        };
        config.put("bind :8088", &format!("bind {}", fronts[&Part::Api]));
        config.put("\n    server-template api- 8 api:8088", &servers(Part::Api, |place| place.listen.to_string()));
        for worker in [Part::Worker, Part::NextWorker] {
            let line =
                |place: &Place| format!("{} proto h2 port {} check-proto h1", place.listen, place.management.port());
            config.put_first("bind :9080", &format!("bind {}", fronts[&worker]));
            config.put_first(
                "\n    server-template worker- 8 worker:9080 proto h2 port 9081 check-proto h1",
                &servers(worker, line),
            );
        }
        let path = directory.path().join("haproxy.cfg");
        std::fs::write(&path, config.0).expect("writes");
        let mut command = Held::command();
        let paths = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        command.arg(PROGRAM).args(["-db", "-f"]).arg(&path).env("PATH", paths);
        let proxy = Self { _process: Held::spawn(command), directory, fronts, looks };
        until("haproxy", async || UnixStream::connect(&socket).ok()).await;
        proxy
    }

    /// Where a part is reached, whichever process of it that is.
    pub(crate) fn url(&self, part: Part) -> String {
        format!("http://{}", self.fronts[&part])
    }

    /// Without looking for itself, it is told that a process is there to be sent requests.
    pub(crate) fn expect(&self, part: Part, number: usize) {
        self.order(part, number, "enable");
    }

    /// And that it is gone.
    pub(crate) fn forget(&self, part: Part, number: usize) {
        self.order(part, number, "disable");
    }

    fn order(&self, part: Part, number: usize, verb: &str) {
        if !self.looks {
            let answer = self.ask(&format!("{verb} server {}/{}", part.backend(), server(part, number)));
            assert_eq!(answer.trim(), "", "{verb}");
        }
    }

    /// Waits until it sends requests to a process, or none any more.
    pub(crate) async fn sees(&self, part: Part, number: usize, up: bool) {
        until(&format!("{} to be seen {}", server(part, number), if up { "up" } else { "down" }), async || {
            (self.is_up(part, number) == up).then_some(())
        })
        .await;
    }

    fn is_up(&self, part: Part, number: usize) -> bool {
        let row = self.row(part.backend(), &server(part, number));
        // With what it waits for, like `UP 1/2`, when that is not certain yet.
        matches!(row["status"].as_str(), "UP" | "no check")
    }

    /// How often it took a process for gone, one that was not there yet included.
    pub(crate) fn downs(&self, part: Part, number: usize) -> u64 {
        self.row(part.backend(), &server(part, number))["chkdown"].parse().unwrap_or_default()
    }

    /// What its statistics say of a server.
    fn row(&self, backend: &str, server: &str) -> BTreeMap<String, String> {
        let table = self.ask("show stat");
        let mut lines = table.lines().map(|line| line.trim_start_matches("# ").split(','));
        let names: Vec<_> = lines.next().expect("the names of its columns").collect();
        let mut rows = lines.map(|cells| {
            names.iter().map(|name| (*name).to_owned()).zip(cells.map(str::to_owned)).collect::<BTreeMap<_, _>>()
        });
        let found = rows.find(|row| {
            row.get("pxname").is_some_and(|name| name == backend)
                && row.get("svname").is_some_and(|name| name == server)
        });
        found.unwrap_or_else(|| panic!("{backend}/{server} is not in {table}"))
    }

    fn ask(&self, command: &str) -> String {
        let mut stream = UnixStream::connect(self.directory.path().join("socket")).expect("haproxy runs");
        writeln!(stream, "{command}").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }
}

fn server(part: Part, number: usize) -> String {
    assert!(number < PLACES);
    format!("{}-{number}", part.backend())
}

/// A configuration of haproxy, to be changed where it names other machines.
struct Config(String);

impl Config {
    fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Puts another text in the place of one that is there once.
    fn put(&mut self, old: &str, new: &str) {
        assert_eq!(self.0.matches(old).count(), 1, "{old} in deploy/haproxy.cfg");
        self.put_first(old, new);
    }

    fn put_first(&mut self, old: &str, new: &str) {
        assert!(self.0.contains(old), "{old} in deploy/haproxy.cfg");
        self.0 = self.0.replacen(old, new, 1);
    }

    /// Repeats the sections between two texts, under names of their own: for another version of the worker.
    fn repeat(&mut self, from: &str, to: &str) {
        let start = self.0.find(from).expect("deploy/haproxy.cfg has an address for all workers");
        let end = start + self.0[start..].find(to).expect("and then other things");
        let again = self.0[start..end]
            .replace("frontend engine", "frontend next-engine")
            .replace("default_backend worker", "default_backend next-worker")
            .replace("backend worker\n", "backend next-worker\n");
        self.0.insert_str(end, &again);
    }
}

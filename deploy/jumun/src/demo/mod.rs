//! `jumun demo`: an order of each of the five lifecycles, one that is cancelled and one that fails, each driven by its
//! commands as its people would, over the REST API alone, and shown as it happens.

mod client;
mod feed;
mod plan;
mod show;
mod story;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use workflows::order::Event;
use workflows::{Command, OrderId};

use crate::access::Mint;
use crate::config::HttpUrl;
use crate::listen::{self, Listener};
use crate::report;
use client::{Client, ClientError, Listening};
use feed::FeedError;
use plan::{PLANS, Plan};
use show::Show;
use story::{Off, Story};

/// Slow enough for a person to watch.
const PACE: Duration = Duration::from_millis(400);
/// How long somebody waits for news of an order before looking at it all the same.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How many events may wait to be shown.
const BACKLOG: usize = 1_000;

/// Only what a person has to know: the demo is what there is to see.
const DEFAULT_LOG: &str =
    "error,poem=off,surrealdb=off,surrealdb_core=off,surrealdb_datastore=off,surrealkv=off,restate_sdk=off";

/// What `jumun demo` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// The API of a running jumun [default: `http://127.0.0.1:8088`, or a system of its own if nobody listens there]
    #[arg(long, value_name = "URL")]
    pub api: Option<HttpUrl>,

    /// The data directory of that jumun: the demo mints its people's tokens with the key that is there
    #[arg(long, env = "JUMUN_DATA_DIR", value_name = "DIR", default_value = ".jumun")]
    pub data_dir: PathBuf,

    /// The configuration file of that jumun, if it has one
    #[arg(long, env = "JUMUN_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Print a line of JSON for each event, and one for each order in the end
    #[arg(long)]
    pub json: bool,

    /// How long the whole may take
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,

    /// How long people wait before each command [default: 400ms in a terminal, else none]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub pace: Option<Duration>,

    /// What is logged on standard error, like `info,api=debug`
    #[arg(long, env = "JUMUN_LOG", value_name = "FILTER", default_value = DEFAULT_LOG, value_parser = crate::log_filter)]
    pub log: String,
}

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("nobody listens on {0}; start a jumun there, or leave --api out to have one for the demo")]
    Nobody(HttpUrl),
    #[error("whoever listens on {api} is no jumun that is ready: {answer}")]
    Other { api: HttpUrl, answer: String },
    #[error("an HTTP client cannot be made: {0}")]
    Http(#[from] reqwest::Error),
    #[error("the API cannot be used for the demo: {0}")]
    Client(#[from] ClientError),
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error("standard output cannot be written: {0}")]
    Output(#[from] io::Error),
    #[error("not everything went as planned:{}", Offences(.0))]
    NotAsPlanned(Vec<(String, Off)>),
}

/// What was off, one line each.
struct Offences<'a>(&'a [(String, Off)]);

impl std::fmt::Display for Offences<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|(title, off)| write!(f, "\n  {title}: {off}"))
    }
}

/// The running jumun to show; `None` where there is none, and none was asked for.
pub async fn find(settings: &Settings) -> Result<Option<HttpUrl>, DemoError> {
    let default = || listen::url(Listener::Api.default_address(false)).parse().expect("our own address is a URL");
    let api = settings.api.clone().unwrap_or_else(default);
    match client::probe(&api).await? {
        Listening::Jumun => Ok(Some(api)),
        Listening::Nobody if settings.api.is_none() => Ok(None),
        Listening::Nobody => Err(DemoError::Nobody(api)),
        Listening::Other(answer) => Err(DemoError::Other { api, answer }),
    }
}

/// Shows all of it at `api`. Anything that does not end as planned is an error.
pub async fn run(settings: &Settings, api: HttpUrl, mint: &Mint) -> Result<(), DemoError> {
    let client = Client::new(api, mint, settings.timeout)?;
    let run = run_id();
    let stories: Vec<_> =
        (1..).zip(&PLANS).map(|(n, plan)| Story::new(plan, format!("jumun demo {run}-{n}"))).collect();
    let in_terminal = !settings.json && io::stdout().is_terminal();
    let show = match in_terminal {
        true => Show::terminal(&stories),
        false if settings.json => Show::Json,
        false => Show::Lines,
    };
    let pace = settings.pace.unwrap_or(if in_terminal { PACE } else { Duration::ZERO });
    let mut demo =
        Demo { client, pace, show, people: stories.iter().map(|_| None).collect(), stories, tasks: JoinSet::new() };
    let outcome = demo.play(Instant::now() + settings.timeout).await;
    // What was seen is shown whatever comes after.
    demo.show.end(&demo.stories)?;
    outcome?;
    let off: Vec<_> = demo.stories.iter().filter_map(|story| Some((story.plan.title(), story.off()?))).collect();
    if !off.is_empty() {
        return Err(DemoError::NotAsPlanned(off));
    }
    report::progress(format_args!("all {} orders ended as planned", demo.stories.len()));
    Ok(())
}

/// Tells this demo's orders from those of all others.
fn run_id() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{:x}", since.as_micros(), std::process::id())
}

struct Demo {
    client: Client,
    pace: Duration,
    show: Show,
    stories: Vec<Story>,
    /// How the people around an order hear that something has become of it.
    people: Vec<Option<watch::Sender<u32>>>,
    /// Dropped, they end.
    tasks: JoinSet<Result<(), FeedError>>,
}

/// What somebody does.
enum Deed {
    Asks(Command),
    CannotPlace(ClientError),
}

impl Demo {
    /// Returns when all orders are over, or the time is.
    async fn play(&mut self, deadline: Instant) -> Result<(), DemoError> {
        let (events_in, mut events) = mpsc::channel(BACKLOG);
        let (deeds_in, mut deeds) = mpsc::channel(BACKLOG);
        // From now on, so that nothing of it is missed.
        let position = feed::end(&self.client).await?;
        let client = self.client.clone();
        self.tasks.spawn(async move { feed::follow(&client, position, &events_in).await });
        for (index, story) in self.stories.iter().enumerate() {
            let (client, deeds) = (self.client.clone(), deeds_in.clone());
            let (key, request) = (story.note.replace(' ', "-"), story.plan.request(&story.note));
            self.tasks.spawn(async move {
                if let Err(error) = client.place(&key, &request).await {
                    // Nobody hears it when the time is over.
                    let _ = deeds.send((index, Deed::CannotPlace(error))).await;
                }
                Ok(())
            });
        }
        while !self.stories.iter().all(Story::is_over) {
            tokio::select! {
                Some(event) = events.recv() => self.hear(&event, &deeds_in)?,
                Some((index, deed)) = deeds.recv() => self.see(index, deed),
                Some(ended) = self.tasks.join_next() => ended.expect("no task panics")?,
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
        Ok(())
    }

    /// Takes in an event, whosever it is.
    fn hear(&mut self, event: &Event, deeds: &mpsc::Sender<(usize, Deed)>) -> Result<(), DemoError> {
        for (index, story) in self.stories.iter_mut().enumerate() {
            let Some(told) = story.hear(event).cloned() else { continue };
            self.show.event(index, story, &told)?;
            if story.is_over() {
                self.show.over(index, story);
            }
            if let Some(people) = &self.people[index] {
                people.send_replace(event.number);
                continue;
            }
            let (news, heard) = watch::channel(event.number);
            self.people[index] = Some(news);
            let people = People {
                client: self.client.clone(),
                plan: story.plan,
                order_id: event.order_id.clone(),
                pace: self.pace,
                index,
                deeds: deeds.clone(),
            };
            self.tasks.spawn(async move {
                people.drive(heard).await;
                Ok(())
            });
        }
        Ok(())
    }

    fn see(&mut self, index: usize, deed: Deed) {
        let story = &mut self.stories[index];
        match deed {
            // What comes of it may have been heard before.
            Deed::Asks(_) if story.is_over() => {}
            Deed::Asks(command) => self.show.command(index, story, command),
            Deed::CannotPlace(error) => {
                story.not_placed = Some(error.to_string());
                if story.is_over() {
                    self.show.over(index, story);
                }
            }
        }
    }
}

/// The customer, the merchant and the courier of one order.
struct People {
    client: Client,
    plan: &'static Plan,
    order_id: OrderId,
    pace: Duration,
    /// Which of the demo's orders it is.
    index: usize,
    /// Where they tell what they do.
    deeds: mpsc::Sender<(usize, Deed)>,
}

impl People {
    /// Looks at the order whenever there is news of it, and does what is to be done next, until it is at its end.
    async fn drive(&self, mut news: watch::Receiver<u32>) {
        loop {
            news.mark_unchanged();
            match self.client.order(&self.order_id, self.plan.shop).await {
                Ok(order) if order.status.is_final() => return,
                Ok(order) => {
                    if let Some(command) = self.plan.next(&order) {
                        tokio::time::sleep(self.pace).await;
                        self.ask(command).await;
                    }
                }
                Err(error) => tracing::debug!(%error, order_id = %self.order_id, "the order was not read"),
            }
            // News that came meanwhile counts; without any, the command may have been lost, and is asked again.
            if let Ok(Err(_)) = tokio::time::timeout(LOOK_AGAIN, news.changed()).await {
                return;
            }
        }
    }

    async fn ask(&self, command: Command) {
        // Nobody hears it when the time is over.
        let _ = self.deeds.send((self.index, Deed::Asks(command))).await;
        match self.client.command(&self.order_id, self.plan.shop, command).await {
            // The order has gone on without it.
            Ok(()) | Err(ClientError::Refused { status: StatusCode::CONFLICT, .. }) => {}
            Err(error) => tracing::warn!(%error, order_id = %self.order_id, %command, "a command was not answered"),
        }
    }
}

//! What the dashboards, the alerts and the catalogue of deploy/monitoring ask for is what jumun and its engine tell.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Feed, Jumun, Receiver, Setup, Shop, until};
use workflows::Role;

/// Labels that Prometheus adds to whatever it is told.
const OF_PROMETHEUS: [&str; 4] = ["instance", "job", "namespace", "pod"];
/// Metrics that are Prometheus' own.
const BY_PROMETHEUS: [&str; 2] = ["ALERTS", "up"];
/// Values that are asked for and not brought about here: no provider that comes with jumun breaks its contract.
const UNSEEN: [(&str, &str); 1] = [("ended", "impossible")];
/// The engine's labels on everything, and what makes a histogram or a summary of a name.
const ON_EVERYTHING: [&str; 4] = ["cluster_name", "node_name", "le", "quantile"];
/// How far expressions of several lines are indented in the rules.
const BLOCK: &str = "          ";

#[tokio::test]
async fn what_is_asked_for_is_told() {
    let told = told().await;
    let mut wrong = Vec::new();
    for (place, query, shown) in asked() {
        wrong.extend(told.faults(&query, &shown).into_iter().map(|fault| format!("{place}: {fault}: {query}")));
    }
    wrong.extend(told.faults_of_the_catalogue());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // And what is not told is noticed.
    let right = "sum by (step) (rate(jumun_step_attempts_total{ended=~\"failed|timed_out\"}[5m])) > 0.5";
    assert_eq!(told.faults(right, &["step".to_owned()]), Vec::<String>::new());
    for (from, to) in [
        ("attempts", "atempts"),
        ("ended", "outcome"),
        ("(step)", "(context)"),
        ("timed_out", "late"),
        ("by (step) ", ""),
    ] {
        assert!(!told.faults(&right.replace(from, to), &["step".to_owned()]).is_empty(), "{from} as {to}");
    }
}

/// Everything that `/metrics` of the API, with the worker in its process, and of the engine tell once everything has happened.
async fn told() -> Told {
    let setup = Setup::new().configured("[orders]\nstuck_after = \"1s\"\n[notifications]\nschedule = [\"300ms\"]");
    let jumun = setup.start().await;
    let mut feed = Feed::open(&jumun, "/v1/events", None).await;
    let (sauce, mall) = (Shop::open(&jumun).await, Shop::open_with(&jumun, "shopping-mall").await);
    let receiver = Receiver::start().await;
    receiver.answer(&[500]);
    let webhook = json!({ "url": receiver.url, "events": ["order_paid"] });
    let put = jumun.put(&format!("/v1/merchants/{}/webhooks/till", sauce.merchant_id), &webhook).await;
    assert_eq!(put.status, 201, "{put:#?}");

    // To its end, past a gate and with a webhook; called off; declined; after an attempt that took too long; not in time.
    let closed = sauce.placed().await;
    jumun.drive(&closed, "closed").await;
    receiver.receives(2).await;
    let _ = feed.next().await.expect("an event");
    let cancelled = mall.placed().await;
    let _ = jumun.command(&cancelled, "cancel").await.ok();
    jumun.reaches(&cancelled, "cancelled").await;
    let _ = sauce.place("tok_declined", 1).await.problem(402, "payment-declined");
    let _ = sauce.place("tok_slow_2500", 1).await.ok();
    let late = jumun.request(Method::POST, "/v1/orders").header("prefer", "wait=1");
    assert_eq!(jumun.send(late.json(&sauce.request("tok_slow_1800", 1))).await.status, 202);
    for path in ["/livez", "/readyz"] {
        let _ = jumun.get(path).await.ok();
    }

    // One that is stuck.
    jumun.sandbox("delivery", "down").await;
    sauce.placed().await;
    let of_jumun = until("a stuck order in the metrics", async || {
        let page = page(&jumun).await;
        page.contains("jumun_orders_stuck{step=\"delivery.request\"} ").then_some(page)
    })
    .await;
    let arguments = setup.arguments();
    let node = arguments.iter().skip_while(|argument| **argument != "--engine-node-listen").nth(1).expect("an address");
    let of_engine = reqwest::get(format!("http://{node}/metrics")).await.expect("the engine answers");
    let of_engine = of_engine.text().await.expect("text");
    Told::read(&[of_jumun, under_pressure().await, of_engine])
}

/// What is told by a system that turns callers away: who asks too often, orders that are too many, and cards while payment is
/// slow.
async fn under_pressure() -> String {
    let limits = [
        ("REQUESTS_PER_SECOND", "10"),
        ("BURST", "40"),
        ("OPEN_PLACEMENTS", "1"),
        ("BREAKER__SAMPLES", "1"),
        ("BREAKER__SLOW_AFTER", "1s"),
    ];
    let jumun = Jumun::limited(&limits).await;
    let shop = Shop::open(&jumun).await;
    let other = jumun.as_role(Role::Operator, "another", None);
    until("too many requests", async || {
        let answers = join_all((0..50).map(|_| other.get("/v1/orders"))).await;
        answers.iter().any(|answer| answer.status == 429).then_some(())
    })
    .await;
    until("everything that is turned away", async || {
        join_all((0..3).map(|_| shop.place("tok_slow_1500", 1))).await;
        let page = page(&jumun).await;
        let all = ["placements", "card_payments"].map(|what| format!("jumun_shed_total{{what=\"{what}\"}}"));
        all.iter().all(|name| page.contains(name)).then_some(page)
    })
    .await
}

async fn page(jumun: &Jumun) -> String {
    jumun.get("/metrics").await.ok().as_str().expect("text").to_owned()
}

/// What is asked, with where, and the labels that are shown of what is found.
fn asked() -> Vec<(String, String, Vec<String>)> {
    let mut asked = Vec::new();
    for file in std::fs::read_dir(directory().join("dashboards")).expect("dashboards") {
        let path = file.expect("a file").path();
        let dashboard: Value = serde_json::from_slice(&std::fs::read(&path).expect("readable")).expect("JSON");
        for panel in dashboard["panels"].as_array().expect("panels") {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let text = |name: &str| target[name].as_str().expect("text").to_owned();
                let place = format!("{}, {}", path.display(), panel["title"]);
                asked.push((place, text("expr"), between(&text("legendFormat"), "{{", "}}")));
            }
        }
    }
    let rules = std::fs::read_to_string(directory().join("rules/jumun.yaml")).expect("rules");
    for rule in rules.split("- alert: ").skip(1) {
        let (_, query) = rule.split_once(" expr: ").expect("an expression");
        // In one line, or in a block that is indented more than what follows it.
        let query = match query.strip_prefix("|\n") {
            Some(block) => block.lines().take_while(|line| line.starts_with(BLOCK)).collect(),
            None => query.lines().next().expect("a line").to_owned(),
        };
        asked.push((rule.lines().next().expect("a name").to_owned(), query, between(rule, "$labels.", " ")));
    }
    assert!(asked.len() > 60, "{asked:#?}");
    asked
}

fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/monitoring"))
}

/// All that stands between `open` and the next `close`.
fn between(text: &str, open: &str, close: &str) -> Vec<String> {
    text.split(open).skip(1).map(|rest| rest.split(close).next().unwrap_or_default().to_owned()).collect()
}

/// Each metric, with what kind it is, and its labels with the values that were seen.
struct Told(BTreeMap<String, Metric>);

#[derive(Debug, Default)]
struct Metric {
    kind: String,
    labels: BTreeMap<String, BTreeSet<String>>,
}

impl Told {
    /// Reads pages in Prometheus' text format, whose lines begin as a selector does.
    fn read(pages: &[String]) -> Self {
        let lines = || pages.iter().flat_map(|page| page.lines());
        let kinds: BTreeMap<_, _> = lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
        let mut told = BTreeMap::<String, Metric>::new();
        for line in lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (series, _value) = line.rsplit_once(' ').expect("a value");
            for selector in Query::read(series).selectors {
                let suffixes = ["", "_bucket", "_sum", "_count"];
                let kind = suffixes.iter().find_map(|suffix| kinds.get(selector.metric.strip_suffix(suffix)?));
                let metric = told.entry(selector.metric).or_default();
                (*kind.unwrap_or_else(|| panic!("the type of {series}"))).clone_into(&mut metric.kind);
                for (label, value) in selector.matchers {
                    metric.labels.entry(label).or_default().insert(value);
                }
            }
        }
        Self(told)
    }

    /// What a query asks for that is not told, and what is shown that it does not leave.
    fn faults(&self, query: &str, shown: &[String]) -> Vec<String> {
        let query = Query::read(query);
        let lost =
            shown.iter().filter(|label| !query.grouped.contains(*label)).map(|label| format!("no {label} is left"));
        let mut faults: Vec<_> = lost.collect();
        assert!(!query.selectors.is_empty(), "it asks for nothing");
        for Selector { metric: name, matchers, grouped, .. } in query.selectors {
            if BY_PROMETHEUS.contains(&name.as_str()) {
                continue;
            }
            let Some(metric) = self.0.get(&name) else {
                faults.push(format!("there is no {name}"));
                continue;
            };
            let labels = matchers.iter().map(|(label, _)| label).chain(&grouped);
            let known = |label: &String| metric.labels.contains_key(label) || OF_PROMETHEUS.contains(&label.as_str());
            faults.extend(labels.filter(|label| !known(label)).map(|label| format!("{name} has no {label}")));
            for (label, values) in &matchers {
                // A pattern that is more than a choice is taken as it is.
                let values = values.split('|').filter(|value| !value.ends_with(".."));
                let seen = |value: &str| metric.labels.get(label).is_none_or(|seen| seen.contains(value));
                let unseen = values.filter(|value| !seen(value) && !UNSEEN.contains(&(label, value)));
                faults.extend(unseen.map(|value| format!("{name} has no {label} {value}")));
            }
        }
        faults
    }

    /// Where the tables of README.md and what is told differ: all of jumun's own, and some of the engine's.
    fn faults_of_the_catalogue(&self) -> Vec<String> {
        let page = std::fs::read_to_string(directory().join("README.md")).expect("a page");
        let quoted = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
        let (mut faults, mut known) = (Vec::new(), BTreeSet::new());
        for line in page.lines().filter(|line| line.starts_with("| `jumun_") || line.starts_with("| `restate_")) {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let labels: BTreeSet<_> = quoted(cells[3]).into_iter().collect();
            for name in quoted(cells[1]) {
                let stems = [name.clone(), format!("{name}_bucket"), format!("{name}_sum"), format!("{name}_count")];
                let metrics: Vec<_> = stems.iter().filter_map(|stem| self.0.get(stem)).collect();
                let seen = metrics.iter().flat_map(|metric| metric.labels.keys()).cloned();
                let seen: BTreeSet<_> = seen.filter(|label| !ON_EVERYTHING.contains(&label.as_str())).collect();
                let named: BTreeSet<_> =
                    labels.iter().filter(|label| !ON_EVERYTHING.contains(&label.as_str())).cloned().collect();
                let agree = if name.starts_with("jumun_") { named == seen } else { named.is_subset(&seen) };
                if metrics.is_empty() || metrics.iter().any(|metric| metric.kind != cells[2]) || !agree {
                    let kinds: BTreeSet<_> = metrics.iter().map(|metric| &metric.kind).collect();
                    faults.push(format!(
                        "README.md has {name}, a {} by {named:?}; told are {kinds:?} by {seen:?}",
                        cells[2]
                    ));
                }
                known.extend(stems);
            }
        }
        let unknown = self.0.keys().filter(|name| name.starts_with("jumun_") && !known.contains(*name));
        faults.extend(unknown.map(|name| format!("README.md lacks {name}")));
        faults
    }
}

/// What a query in `PromQL` asks for. It is read no further than that: not what its numbers mean.
#[derive(Debug, Default)]
struct Query {
    selectors: Vec<Selector>,
    /// All labels that something is grouped by.
    grouped: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Selector {
    metric: String,
    matchers: Vec<(String, String)>,
    /// By which labels of its own it is grouped.
    grouped: BTreeSet<String>,
    /// Labels that the query gives it.
    made: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

impl Query {
    fn read(query: &str) -> Self {
        let mut read = Self::default();
        read.take(&tokens(query));
        read
    }

    fn take(&mut self, mut tokens: &[Token]) {
        while let [first, rest @ ..] = tokens {
            tokens = rest;
            let Token::Word(word) = first else { continue };
            match word.as_str() {
                "and" | "or" | "unless" | "bool" | "offset" => {}
                "on" | "ignoring" | "without" | "group_left" | "group_right" => panic!("{word} cannot be read here"),
                "by" => {
                    let (labels, rest) = in_brackets(tokens);
                    let (body, rest) = in_brackets(rest);
                    let labels: BTreeSet<_> = words(labels).collect();
                    for selector in self.inner(body) {
                        let own = labels.difference(&selector.made).cloned().collect::<Vec<_>>();
                        selector.grouped.extend(own);
                    }
                    self.grouped.extend(labels);
                    tokens = rest;
                }
                "label_replace" => {
                    let (body, rest) = in_brackets(tokens);
                    let texts: Vec<_> = body
                        .iter()
                        .filter_map(|token| if let Token::Text(text) = token { Some(text) } else { None })
                        .collect();
                    let [.., made, _, from, _] = texts[..] else { panic!("{texts:?}") };
                    for selector in self.inner(body) {
                        selector.made.insert(made.clone());
                        selector.grouped.insert(from.clone());
                    }
                    tokens = rest;
                }
                // A function, or what sums up.
                _ if matches!(tokens, [Token::Sign('('), ..]) || is_word(tokens, "by") => {}
                metric => {
                    let mut selector = Selector { metric: metric.to_owned(), ..Selector::default() };
                    if tokens.first() == Some(&Token::Sign('{')) {
                        let (matchers, rest) = in_brackets(tokens);
                        let pairs = words(matchers).zip(matchers.iter().filter_map(Token::text));
                        selector.matchers = pairs.collect();
                        tokens = rest;
                    }
                    self.selectors.push(selector);
                }
            }
        }
    }

    /// Reads a part; the selectors that are in it.
    fn inner(&mut self, tokens: &[Token]) -> &mut [Selector] {
        let before = self.selectors.len();
        self.take(tokens);
        &mut self.selectors[before..]
    }
}

impl Token {
    fn text(&self) -> Option<String> {
        if let Self::Text(text) = self { Some(text.clone()) } else { None }
    }
}

fn is_word(tokens: &[Token], word: &str) -> bool {
    matches!(tokens, [Token::Word(first), ..] if first == word)
}

fn words(tokens: &[Token]) -> impl Iterator<Item = String> {
    tokens.iter().filter_map(|token| if let Token::Word(word) = token { Some(word.clone()) } else { None })
}

/// What is in the brackets that open here, and what follows them.
fn in_brackets(tokens: &[Token]) -> (&[Token], &[Token]) {
    let mut depth = 0;
    for (place, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign('(' | '{') => depth += 1,
            Token::Sign(')' | '}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (&tokens[1..place], &tokens[place + 1..]);
        }
    }
    panic!("a bracket is not closed: {tokens:?}")
}

/// Numbers, durations and ranges are left out.
fn tokens(query: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = query.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = |part: fn(char) -> bool| rest.find(|c| !part(c)).unwrap_or(rest.len());
        let end = match first {
            '"' => rest[1..].find('"').expect("the text ends") + 2,
            '[' => rest.find(']').expect("the range ends") + 1,
            _ if first.is_ascii_digit() => length(|c| c.is_ascii_alphanumeric() || c == '.'),
            _ if first.is_ascii_alphabetic() || first == '_' => {
                length(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'))
            }
            _ => first.len_utf8(),
        };
        let part = &rest[..end];
        match first {
            '"' => tokens.push(Token::Text(part.trim_matches('"').to_owned())),
            '(' | ')' | '{' | '}' | ',' => tokens.push(Token::Sign(first)),
            _ if first.is_ascii_alphabetic() || first == '_' => tokens.push(Token::Word(part.to_owned())),
            _ => {}
        }
        rest = rest[end..].trim_start();
    }
    tokens
}

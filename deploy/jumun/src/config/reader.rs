//! Reads settings by name out of a file and the environment above it. It goes on after a fault, so that all are found,
//! and never shows a value, since any may be a secret.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use activities::NotACardKey;
use config::{Config, Environment, File, FileFormat, Map, Source, Value, ValueKind};
use worker::NotAnIdentityKey;

use super::NotAnHttpUrl;
use crate::store_url::NotAStoreUrl;

const PREFIX: &str = "JUMUN";
/// Between a section and a key. A variable without it is a flag's.
const SEPARATOR: &str = "__";
/// What the `config` crate calls it.
const ENVIRONMENT: &str = "the environment";

/// What can be wrong with a setting.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    #[error("there is no such setting")]
    Unknown,
    #[error("missing")]
    Missing,
    #[error("expected text, in quotes")]
    NotText,
    #[error("expected a list of texts, like [\"5s\", \"5m\"]")]
    NotAList,
    #[error("expected one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA")]
    Algorithm,
    #[error("expected 32 bytes at least")]
    ShortKey,
    #[error("set either this or access.key, not both")]
    TwoKeys,
    #[error("it is not Unicode")]
    NotUnicode,
    #[error("it is empty")]
    Blank,
    #[error(transparent)]
    Url(#[from] NotAnHttpUrl),
    #[error(transparent)]
    Store(#[from] NotAStoreUrl),
    #[error("expected the URL of a SurrealDB server: ws://HOST:PORT or wss://HOST")]
    NotAServer,
    #[error("expected server or namespace")]
    Within,
    #[error("expected public or anywhere")]
    WebhooksTo,
    #[error("expected text or json")]
    LogFormat,
    #[error(transparent)]
    IdentityKey(#[from] NotAnIdentityKey),
    #[error(transparent)]
    CardKey(#[from] NotACardKey),
    #[error("expected a time, like 30s, 5m or 1h 30m")]
    NotATime,
    #[error("expected more than no time")]
    NoTime,
    #[error("expected at most {}", humantime::format_duration(*.0))]
    TooLong(Duration),
    #[error("expected a whole number from {} to {}", .0.start(), .0.end())]
    NotANumber(RangeInclusive<u32>),
    #[error("set either this or the one that names a file, not both")]
    Twice,
    #[error(
        "it has a placeholder that there is not; there are #{{order_id}}, #{{name}}, #{{status}}, #{{total}} and #{{reason}}"
    )]
    Placeholder,
    #[error("cannot read {}: {source}", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// Where a file is no TOML: the place and the reason, without the text.
    #[error("{0}")]
    NotToml(String),
}

/// A setting, or the file itself, that is wrong.
#[derive(Debug)]
pub struct Fault {
    name: String,
    wrong: Wrong,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.wrong)
    }
}

/// The settings that are not read yet, and the faults so far.
#[derive(Default)]
pub struct Reader {
    file: Option<PathBuf>,
    /// By dotted name.
    values: BTreeMap<String, Value>,
    tables: BTreeSet<String>,
    faults: Vec<Fault>,
}

impl Reader {
    /// Everything that `file` says, and above it the variables named `JUMUN_SECTION__KEY`. An empty variable says
    /// nothing.
    pub fn open(file: Option<&Path>, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut reader = Self { file: file.map(Path::to_owned), ..Self::default() };
        let above = reader.environment(environment);
        let below = file.and_then(|file| match toml(file) {
            Ok(below) => Some(below),
            Err(wrong) => {
                reader.fault(file.display(), wrong);
                None
            }
        });
        let sources: Vec<Box<dyn Source + Send + Sync>> = below.into_iter().chain([above]).collect();
        let layered = Config::builder().add_source(sources).build();
        match layered.and_then(|layered| layered.collect()) {
            Ok(values) => reader.spread("", values),
            Err(error) => reader.fault(PREFIX, Wrong::NotToml(error.to_string())),
        }
        reader
    }

    fn environment(
        &mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Box<dyn Source + Send + Sync> {
        let mut ours = Map::new();
        for (name, value) in variables {
            let Ok(name) = name.into_string() else { continue };
            if !name.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with('_') && rest.contains(SEPARATOR)) {
                continue;
            }
            match value.into_string() {
                Ok(value) => drop(ours.insert(name, value)),
                Err(_) => self.fault(name, Wrong::NotUnicode),
            }
        }
        let environment = Environment::with_prefix(PREFIX)
            .prefix_separator("_")
            .separator(SEPARATOR)
            .ignore_empty(true)
            .source(Some(ours));
        Box::new(environment)
    }

    fn spread(&mut self, table: &str, values: Map<String, Value>) {
        for (key, value) in values {
            let name = if table.is_empty() { key } else { format!("{table}.{key}") };
            match value.kind {
                ValueKind::Table(values) => {
                    self.spread(&name, values);
                    self.tables.insert(name);
                }
                _ => drop(self.values.insert(name, value)),
            }
        }
    }

    /// Whether anything is said about the settings of a table.
    pub fn has_table(&self, table: &str) -> bool {
        self.tables.contains(table)
    }

    /// A setting; `None` where there is none, or a wrong one.
    pub fn read<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, Wrong>) -> Option<T> {
        let value = self.values.remove(name)?;
        let place = self.place(name, value.origin());
        let parsed = match &value.kind {
            ValueKind::String(text) => parse(text),
            _ => Err(Wrong::NotText),
        };
        self.keep(place, parsed)
    }

    /// A whole number within a range, in a file without quotes.
    pub fn number(&mut self, name: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let value = self.values.remove(name)?;
        let place = self.place(name, value.origin());
        let number = match &value.kind {
            ValueKind::I64(number) => u32::try_from(*number).ok(),
            ValueKind::String(text) if value.origin() == Some(ENVIRONMENT) => text.parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number)).ok_or(Wrong::NotANumber(range));
        self.keep(place, number)
    }

    /// A setting that has to be there.
    pub fn require<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, Wrong>) -> Option<T> {
        if !self.values.contains_key(name) {
            self.fault(name, Wrong::Missing);
        }
        self.read(name, parse)
    }

    /// Whether anything is said about a setting.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// A list that has to be there, with something in it.
    pub fn require_list<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, Wrong>) -> Option<Vec<T>> {
        if !self.has(name) {
            self.fault(name, Wrong::Missing);
        }
        let list = self.list(name, parse)?;
        if list.is_empty() {
            self.fault(name, Wrong::Blank);
            return None;
        }
        Some(list)
    }

    /// A list, as an array in a file, or separated by commas in a variable.
    pub fn list<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, Wrong>) -> Option<Vec<T>> {
        let value = self.values.remove(name)?;
        let place = self.place(name, value.origin());
        let from_file = value.origin() != Some(ENVIRONMENT);
        let parsed = match value.kind {
            ValueKind::Array(items) => items
                .into_iter()
                .map(|item| match item.kind {
                    ValueKind::String(text) => parse(&text),
                    _ => Err(Wrong::NotAList),
                })
                .collect(),
            ValueKind::String(text) if !from_file => text.split(',').map(|item| parse(item.trim())).collect(),
            _ => Err(Wrong::NotAList),
        };
        self.keep(place, parsed)
    }

    /// A setting that may be secret: said as `name`, or kept in the file that `name_file` says.
    pub fn secret<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, Wrong>) -> Option<T> {
        let in_file = format!("{name}_file");
        if self.values.contains_key(name) && self.values.contains_key(&in_file) {
            self.fault(name, Wrong::Twice);
            self.values.remove(&in_file);
        }
        if self.values.contains_key(&in_file) {
            return self.read(&in_file, |path| {
                let text =
                    std::fs::read_to_string(path).map_err(|source| Wrong::Unreadable { path: path.into(), source })?;
                parse(text.trim_end_matches(['\r', '\n']))
            });
        }
        self.read(name, parse)
    }

    /// A secret that has to be there.
    pub fn require_secret<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, Wrong>) -> Option<T> {
        if !self.values.contains_key(name) && !self.values.contains_key(&format!("{name}_file")) {
            self.fault(name, Wrong::Missing);
        }
        self.secret(name, parse)
    }

    /// Notes that a setting goes ill with others.
    pub fn refuse(&mut self, name: &str, wrong: Wrong) {
        self.fault(name, wrong);
    }

    /// Every fault, once all settings that there are were read: what is left is none of them.
    pub fn close(mut self) -> Vec<Fault> {
        for (name, value) in std::mem::take(&mut self.values) {
            let place = self.place(&name, value.origin());
            self.fault(place, Wrong::Unknown);
        }
        self.faults
    }

    fn keep<T>(&mut self, place: String, parsed: Result<T, Wrong>) -> Option<T> {
        parsed.map_err(|wrong| self.fault(place, wrong)).ok()
    }

    fn fault(&mut self, name: impl fmt::Display, wrong: Wrong) {
        self.faults.push(Fault { name: name.to_string(), wrong });
    }

    /// The setting as whoever set it knows it.
    fn place(&self, name: &str, origin: Option<&str>) -> String {
        match &self.file {
            _ if origin == Some(ENVIRONMENT) => format!("{PREFIX}_{}", name.to_uppercase().replace('.', SEPARATOR)),
            Some(file) => format!("{name} in {}", file.display()),
            None => name.to_owned(),
        }
    }
}

fn toml(file: &Path) -> Result<Box<dyn Source + Send + Sync>, Wrong> {
    let unreadable = |source| Wrong::Unreadable { path: file.to_owned(), source };
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let source = File::from_str(&text, FileFormat::Toml);
    source.collect().map_err(|error| Wrong::NotToml(without_excerpt(&error.to_string())))?;
    Ok(Box::new(source))
}

/// The parser shows the line that it stumbled over, which may hold a secret.
fn without_excerpt(complaint: &str) -> String {
    let lines: Vec<_> = complaint.lines().filter(|line| !line.contains('|')).map(str::trim).collect();
    lines.join(": ")
}

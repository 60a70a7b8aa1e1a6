//! What breaks callers between two OpenAPI documents of one API. Whatever a caller could send before must still be taken,
//! and whatever is answered now must be something that a caller could have met before: so a request may only grow wider, and
//! a response only narrower. New operations, optional fields and parameters of requests, fields of responses, and responses
//! of another status are no breaks. A new value of an enumeration in a response is one, because callers match on it; only
//! kinds of problem may be added, which callers know by their status.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Every break of `new` for those who know `old`, as a line that says where it is and what changed.
#[must_use]
pub fn breaks(old: &Value, new: &Value) -> Vec<String> {
    let mut comparison = Comparison { old, new, seen: BTreeSet::new(), breaks: BTreeSet::new() };
    for (path, operations) in members(&old["paths"]) {
        for (verb, operation) in members(operations) {
            let name = format!("{} {path}", verb.to_uppercase());
            match new["paths"][path].get(verb) {
                Some(still) => comparison.operation(&name, operation, still),
                None => comparison.say(&name, "is gone"),
            }
        }
    }
    comparison.breaks.into_iter().collect()
}

/// Who writes what is compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    Caller,
    Server,
    /// The server, who may say that something else went wrong than it did before.
    ServerInTrouble,
}

struct Comparison<'a> {
    old: &'a Value,
    new: &'a Value,
    /// Pairs of named schemas that are compared already: schemas may contain themselves.
    seen: BTreeSet<(By, String, String, String)>,
    breaks: BTreeSet<String>,
}

impl<'a> Comparison<'a> {
    fn say(&mut self, place: &str, what: impl std::fmt::Display) {
        self.breaks.insert(format!("{place}: {what}"));
    }

    fn operation(&mut self, name: &str, old: &'a Value, new: &'a Value) {
        self.differs(name, "operationId", &old["operationId"], &new["operationId"]);
        let auth = |document: &Value, operation: &Value| auth(document, operation);
        self.differs(name, "authentication", &auth(self.old, old), &auth(self.new, new));
        self.parameters(name, old, new);
        self.request(&format!("{name} request"), &old["requestBody"], &new["requestBody"]);
        for (status, response) in members(&old["responses"]) {
            let place = format!("{name} {status}");
            match new["responses"].get(status) {
                Some(still) => self.response(&place, response, still),
                None => self.say(&place, "is answered no more"),
            }
        }
    }

    fn parameters(&mut self, operation: &str, old: &'a Value, new: &'a Value) {
        let (before, now) = (parameters(old), parameters(new));
        for (name, parameter) in &before {
            let place = format!("{operation} {name}");
            match now.iter().find(|(other, _)| other == name) {
                Some((_, still)) => {
                    if parameter["required"] != true && still["required"] == true {
                        self.say(&place, "has become required");
                    }
                    self.schema(&place, By::Caller, &parameter["schema"], &still["schema"]);
                }
                None => self.say(&place, "is taken no more"),
            }
        }
        for (name, parameter) in &now {
            if parameter["required"] == true && !before.iter().any(|(other, _)| other == name) {
                self.say(&format!("{operation} {name}"), "is new and required");
            }
        }
    }

    fn request(&mut self, place: &str, old: &'a Value, new: &'a Value) {
        match (old.is_object(), new.is_object()) {
            (true, false) => return self.say(place, "is taken no more"),
            (_, true) if old["required"] != true && new["required"] == true => self.say(place, "has become required"),
            _ => {}
        }
        self.content(place, By::Caller, old, new);
    }

    fn response(&mut self, place: &str, old: &'a Value, new: &'a Value) {
        for (name, header) in members(&old["headers"]) {
            let place = format!("{place} header {name}");
            let still = members(&new["headers"]).find(|(other, _)| other.eq_ignore_ascii_case(name));
            let Some((_, still)) = still else {
                self.say(&place, "is gone");
                continue;
            };
            if header["required"] == true && still["required"] != true {
                self.say(&place, "has become optional");
            }
            self.schema(&place, By::Server, &header["schema"], &still["schema"]);
        }
        self.content(place, By::Server, old, new);
    }

    fn content(&mut self, place: &str, by: By, old: &'a Value, new: &'a Value) {
        for (kind, content) in members(&old["content"]) {
            let Some((_, still)) = members(&new["content"]).find(|(other, _)| media(other) == media(kind)) else {
                self.say(place, format_args!("{} is gone", media(kind)));
                continue;
            };
            let trouble = by == By::Server && media(kind) == "application/problem+json";
            let by = if trouble { By::ServerInTrouble } else { by };
            self.schema(&format!("{place} body"), by, &content["schema"], &still["schema"]);
        }
    }

    fn schema(&mut self, place: &str, by: By, old: &'a Value, new: &'a Value) {
        if let (Some(before), Some(now)) = (old["$ref"].as_str(), new["$ref"].as_str()) {
            // The same schemas break elsewhere in the same way, which is worth saying, but not deeper and deeper inside
            // themselves.
            let root = place.split('.').next().unwrap_or(place);
            if !self.seen.insert((by, root.to_owned(), before.to_owned(), now.to_owned())) {
                return;
            }
        }
        let (old, new) = (Schema::of(self.old, old), Schema::of(self.new, new));
        let (narrow, wide) = if by == By::Caller { (&old, &new) } else { (&new, &old) };
        for fault in narrow.beyond(wide, by) {
            let (before, now) = if by == By::Caller { (fault.narrow, fault.wide) } else { (fault.wide, fault.narrow) };
            self.say(place, format_args!("{} was {before} and is {now}", fault.keyword));
        }
        self.members_of(place, by, &old, &new);
        if let (Some(before), Some(now)) = (old.items, new.items) {
            self.schema(&format!("{place}[]"), by, before, now);
        }
        if let (Some(before), Some(now)) = (old.others, new.others)
            && before.is_object()
            && now.is_object()
        {
            self.schema(&format!("{place}.*"), by, before, now);
        }
        self.alternatives(place, by, &old, &new);
    }

    fn members_of(&mut self, place: &str, by: By, old: &Schema<'a>, new: &Schema<'a>) {
        for (name, schema) in &old.properties {
            let place = format!("{place}.{name}");
            match new.property(name) {
                Some(still) => self.schema(&place, by, schema, still),
                None if by == By::Caller => self.say(&place, "is taken no more"),
                None => self.say(&place, "is gone"),
            }
        }
        let (needed, had, what) = match by {
            By::Caller => (&new.required, &old.required, "has become required"),
            By::Server | By::ServerInTrouble => (&old.required, &new.required, "has become optional"),
        };
        for name in needed.difference(had) {
            // What is gone was said already.
            if new.property(name).is_some() {
                self.say(&format!("{place}.{name}"), what);
            }
        }
        let closes = new.others == Some(&Value::Bool(false)) && old.others != new.others;
        if by == By::Caller && closes && old.is("object") {
            self.say(place, "refuses unknown members now");
        }
    }

    /// Each alternative that somebody relied on is still one.
    fn alternatives(&mut self, place: &str, by: By, old: &Schema<'a>, new: &Schema<'a>) {
        if old.alternatives.is_empty() && new.alternatives.is_empty() {
            return;
        }
        let (narrow, wide) = if by == By::Caller { (old, new) } else { (new, old) };
        let fits = |one: &'a Value, other: &'a Value| {
            let mut alone = Self { old: self.old, new: self.new, seen: BTreeSet::new(), breaks: BTreeSet::new() };
            let (before, now) = if by == By::Caller { (one, other) } else { (other, one) };
            alone.schema("", by, before, now);
            alone.breaks.is_empty()
        };
        let lost = narrow.alternatives.iter().any(|one| !wide.alternatives.iter().any(|other| fits(one, other)));
        if lost || narrow.alternatives.is_empty() != wide.alternatives.is_empty() {
            self.say(place, "has other alternatives");
        }
    }

    fn differs(&mut self, place: &str, what: &str, old: &Value, new: &Value) {
        if old != new {
            self.say(place, format_args!("{what} was {old} and is {new}"));
        }
    }
}

/// A schema with everything that it refers to and is made of.
#[derive(Default)]
struct Schema<'a> {
    properties: Vec<(&'a str, &'a Value)>,
    required: BTreeSet<&'a str>,
    items: Option<&'a Value>,
    /// What may be said of members that have no name here.
    others: Option<&'a Value>,
    alternatives: Vec<&'a Value>,
    /// All other keywords; of those that are there more than once, the last.
    keywords: Map<String, Value>,
}

/// A keyword by which one schema goes beyond another.
struct Beyond {
    keyword: &'static str,
    narrow: Value,
    wide: Value,
}

impl<'a> Schema<'a> {
    fn of(document: &'a Value, schema: &'a Value) -> Self {
        let mut flat = Self::default();
        flat.add(document, schema);
        flat
    }

    fn add(&mut self, document: &'a Value, schema: &'a Value) {
        for (keyword, value) in members(schema) {
            match keyword {
                "$ref" => {
                    let pointer = value.as_str().unwrap_or_default().trim_start_matches('#');
                    let named = document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not in the document"));
                    self.add(document, named);
                }
                "allOf" => value.as_array().into_iter().flatten().for_each(|part| self.add(document, part)),
                "oneOf" | "anyOf" => self.alternatives.extend(value.as_array().into_iter().flatten()),
                "properties" => {
                    for (name, property) in members(value) {
                        // A part that says more of a member, as problems say of `type`, goes before.
                        self.properties.retain(|(known, _)| *known != name);
                        self.properties.push((name, property));
                    }
                }
                "required" => self.required.extend(value.as_array().into_iter().flatten().filter_map(Value::as_str)),
                "items" => self.items = Some(value),
                "additionalProperties" => self.others = Some(value),
                "enum" if self.keywords.contains_key("enum") => self.keywords[keyword] = value.clone(),
                _ => {
                    self.keywords.insert(keyword.to_owned(), value.clone());
                }
            }
        }
    }

    fn property(&self, name: &str) -> Option<&'a Value> {
        self.properties.iter().find(|(known, _)| *known == name).map(|(_, schema)| *schema)
    }

    fn is(&self, kind: &str) -> bool {
        self.keywords.get("type").is_some_and(|known| known == kind)
    }

    /// The keywords by which this allows what `wide` does not.
    fn beyond(&self, wide: &Self, by: By) -> Vec<Beyond> {
        const LOWEST: [&str; 4] = ["minimum", "minLength", "minItems", "minProperties"];
        const HIGHEST: [&str; 4] = ["maximum", "maxLength", "maxItems", "maxProperties"];
        const SAME: [&str; 3] = ["pattern", "format", "multipleOf"];
        let mut beyond = Vec::new();
        let mut check = |keyword: &'static str, fits: &dyn Fn(&Value, &Value) -> bool| {
            let of = |schema: &Self| schema.keywords.get(keyword).cloned().unwrap_or(Value::Null);
            let (narrow, wide) = (of(self), of(wide));
            if !wide.is_null() && !fits(&narrow, &wide) {
                beyond.push(Beyond { keyword, narrow, wide });
            }
        };
        check("type", &|narrow, wide| narrow == wide || (narrow == "integer" && wide == "number"));
        for keyword in LOWEST {
            check(keyword, &|narrow, wide| narrow.as_f64().is_some_and(|bound| Some(bound) >= wide.as_f64()));
        }
        for keyword in HIGHEST {
            check(keyword, &|narrow, wide| narrow.as_f64().is_some_and(|bound| Some(bound) <= wide.as_f64()));
        }
        for keyword in SAME {
            check(keyword, &|narrow, wide| narrow == wide);
        }
        if by != By::ServerInTrouble {
            check("enum", &|narrow, wide| {
                let wide = wide.as_array().map(Vec::as_slice).unwrap_or_default();
                narrow.as_array().is_some_and(|values| values.iter().all(|value| wide.contains(value)))
            });
        }
        let null = |schema: &Self| schema.keywords.get("nullable") == Some(&Value::Bool(true));
        if null(self) && !null(wide) {
            beyond.push(Beyond { keyword: "nullable", narrow: true.into(), wide: false.into() });
        }
        beyond
    }
}

/// The members of an object; none of anything else.
fn members(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    object.as_object().into_iter().flatten().map(|(name, member)| (name.as_str(), member))
}

/// The parameters of an operation by what callers know them by.
fn parameters(operation: &Value) -> Vec<(String, &Value)> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let name = |parameter: &Value| {
        let text = |member: &str| parameter[member].as_str().unwrap_or_default().to_owned();
        match text("in").as_str() {
            "header" => format!("header {}", text("name").to_lowercase()),
            place => format!("{place} {}", text("name")),
        }
    };
    parameters.map(|parameter| (name(parameter), parameter)).collect()
}

/// What an operation wants callers to show, as whole schemes.
fn auth(document: &Value, operation: &Value) -> Value {
    let wanted = operation.get("security").or_else(|| document.get("security"));
    let alternatives = wanted.and_then(Value::as_array).into_iter().flatten();
    let schemes = &document["components"]["securitySchemes"];
    let whole = alternatives.map(|wanted| {
        let whole = members(wanted).map(|(name, scopes)| {
            let mut scheme = schemes[name].clone();
            if let Some(scheme) = scheme.as_object_mut() {
                scheme.remove("description");
            }
            Value::from(vec![scheme, scopes.clone()])
        });
        Value::from(whole.collect::<Vec<_>>())
    });
    Value::from(whole.collect::<Vec<_>>())
}

/// A media type without its parameters.
fn media(kind: &str) -> &str {
    kind.split(';').next().unwrap_or(kind).trim()
}

//! What is wrong with a body, by the schema that documents it: the framework's parser knows no fields' names, and
//! repeats what it was sent.

use std::collections::BTreeMap;

use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use serde_json::Value as Json;

/// How much of what a caller sent is repeated to it, in characters.
const EXCERPT: usize = 40;
/// A closed set that is larger is not listed: its own parser has a word for it.
const LISTED: usize = 50;

/// The first thing in `json` that is not as the schema of `T` says; none where only the value's own parser knows.
pub(crate) fn violation<T: Type>(json: &Json) -> Option<String> {
    let mut registry = Registry::new();
    T::register(&mut registry);
    Schemas(&registry.schemas).violation(&T::schema_ref(), json, "")
}

/// The beginning of what a caller sent, on one line.
pub(crate) fn excerpt(text: &str) -> String {
    let more = if text.chars().nth(EXCERPT).is_some() { "…" } else { "" };
    text.chars().take(EXCERPT).map(|c| if c.is_control() { ' ' } else { c }).collect::<String>() + more
}

/// The values of a closed set, to be listed.
pub(crate) fn listed(values: &[Json]) -> String {
    let values: Vec<_> = values.iter().map(|value| value.as_str().unwrap_or_default()).collect();
    format!("one of {}", values.join(", "))
}

/// The schemas that have names.
pub(crate) struct Schemas<'a>(pub &'a BTreeMap<String, MetaSchema>);

impl<'a> Schemas<'a> {
    /// The schema itself where it is only named.
    pub(crate) fn resolved(&self, schema: &'a MetaSchemaRef) -> Option<&'a MetaSchema> {
        match schema {
            MetaSchemaRef::Inline(schema) => schema.all_of.first().map_or(Some(schema), |named| self.resolved(named)),
            MetaSchemaRef::Reference(name) => self.0.get(name),
        }
    }

    fn violation(&self, schema: &'a MetaSchemaRef, json: &Json, path: &str) -> Option<String> {
        let schema = self.resolved(schema)?;
        let wrong = || Some(told(path, &format!("expected {}", form(schema))));
        match schema.ty {
            "object" if !schema.properties.is_empty() => match json.as_object() {
                Some(members) => self.violated_member(schema, members, path),
                None => wrong(),
            },
            "array" => match (json.as_array(), &schema.items) {
                (Some(items), Some(schema_of_item)) if within(items.len(), schema.min_items, schema.max_items) => {
                    let mut items = items.iter().enumerate();
                    items.find_map(|(n, item)| self.violation(schema_of_item, item, &format!("{path}[{n}]")))
                }
                _ => wrong(),
            },
            "boolean" if !json.is_boolean() => wrong(),
            "string" => match json.as_str() {
                Some(_) if schema.enum_items.len() > LISTED => None,
                Some(_) if !schema.enum_items.is_empty() && !schema.enum_items.contains(json) => wrong(),
                Some(text) if within(text.chars().count(), schema.min_length, schema.max_length) => None,
                _ => wrong(),
            },
            #[allow(clippy::cast_precision_loss, reason = "the bounds are exact, and what is beyond stays beyond")]
            "integer" => match json.as_i64().map(|number| number as f64) {
                Some(number)
                    if schema.minimum.is_none_or(|minimum| number >= minimum)
                        && schema.maximum.is_none_or(|maximum| number <= maximum) =>
                {
                    None
                }
                _ => wrong(),
            },
            _ => None,
        }
    }

    fn violated_member(
        &self,
        schema: &'a MetaSchema,
        members: &serde_json::Map<String, Json>,
        path: &str,
    ) -> Option<String> {
        let path_to = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let violated = schema.properties.iter().find_map(|(name, member)| {
            match members.get(*name).filter(|member| !member.is_null()) {
                Some(json) => self.violation(member, json, &path_to(name)),
                None if schema.required.contains(name) => {
                    let form = form(self.resolved(member)?);
                    Some(told(&path_to(name), &format!("missing; expected {form}")))
                }
                None => None,
            }
        });
        violated.or_else(|| {
            let unknown = members.keys().find(|name| schema.properties.iter().all(|(known, _)| known != name))?;
            let known: Vec<_> = schema.properties.iter().map(|(name, _)| *name).collect();
            Some(told(path, &format!("unknown field `{}`; the fields are {}", excerpt(unknown), known.join(", "))))
        })
    }
}

fn told(path: &str, what: &str) -> String {
    if path.is_empty() { what.to_owned() } else { format!("{path}: {what}") }
}

fn within(length: usize, min: Option<usize>, max: Option<usize>) -> bool {
    min.is_none_or(|min| length >= min) && max.is_none_or(|max| length <= max)
}

fn form(schema: &MetaSchema) -> String {
    let bounds = |min: Option<usize>, max: Option<usize>, what| match (min, max) {
        (min, Some(max)) => format!(" of {} to {max} {what}", min.unwrap_or(0)),
        _ => String::new(),
    };
    match schema.ty {
        "string" if (1..=LISTED).contains(&schema.enum_items.len()) => listed(&schema.enum_items),
        "string" => match (bounds(schema.min_length, schema.max_length, "characters"), &schema.example) {
            (bounds, Some(Json::String(example))) if bounds.is_empty() => format!("a text such as {example}"),
            (bounds, _) => format!("a text{bounds}"),
        },
        "integer" => match (schema.minimum, schema.maximum) {
            (Some(minimum), Some(maximum)) => format!("a whole number from {minimum} to {maximum}"),
            _ => "a whole number".to_owned(),
        },
        "boolean" => "true or false".to_owned(),
        "array" => format!("a list{}", bounds(schema.min_items, schema.max_items, "items")),
        _ => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_repeated_in_short() {
        assert_eq!(excerpt("x\ny"), "x y");
        assert_eq!(excerpt(&"김".repeat(41)), "김".repeat(40) + "…");
        assert_eq!(excerpt(&"김".repeat(40)), "김".repeat(40));
    }
}

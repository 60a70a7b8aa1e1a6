//! The OpenAPI document and its browsable form, which loads nothing from elsewhere.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::marker::PhantomData;

use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem_openapi::registry::{MetaApi, MetaPath, Registry};
use poem_openapi::{LicenseObject, OpenApi, OpenApiService};
use serde_json::Value as Json;

use crate::kind::Kind;
use crate::problem;

const INTRODUCTION: &str = "\
Runs the life of an order: placed, paid, brought and closed, or undone. \
Money is an integer in the currency's minor units; times are UTC; ids carry a prefix; unknown JSON fields are refused.

Start with `POST /v1/orders`, follow the order with `GET /v1/orders/{order_id}`, \
and move it with `POST /v1/orders/{order_id}/{command}`: `allowed_commands` says which commands it takes now.

## Limits

Each caller may send only so many requests: `RateLimit-Policy` of every answer says how many (`q`) in how many seconds \
(`w`), and `RateLimit` how many are left (`r`) and in how many seconds there are all again (`t`). Beyond that the answer is \
429; where too much is going on, or what is needed does not answer, it is 503. Both say in `Retry-After` when to ask \
again; do so with the same `Idempotency-Key`.

## Problems

Every 4xx and 5xx is `application/problem+json` (RFC 9457): `type` says which problem it is, \
`detail` what to do about it.

| `type` | status | when |
| --- | --- | --- |
";

const FRAMEWORK_TITLE: &str = "<title>Swagger UI</title>";
const TITLE: &str = "<title>jumun API</title>";

/// A service of `api` with everything that the document says about it.
pub(crate) fn service<T: OpenApi>(api: T) -> OpenApiService<T, ()> {
    OpenApiService::new(api, "jumun", "v1")
        .description(description())
        .license(LicenseObject::new("Apache-2.0").url("https://www.apache.org/licenses/LICENSE-2.0"))
}

fn description() -> String {
    let mut text = INTRODUCTION.to_owned();
    for kind in Kind::ALL {
        let (uri, status, when) = (kind.uri(), kind.status().as_u16(), kind.when());
        writeln!(text, "| `{uri}` | {status} | {when} |").expect("a string takes everything");
    }
    text
}

pub(crate) struct Document {
    pub json: String,
    pub html: String,
}

impl Document {
    pub(crate) fn of<T: OpenApi>() -> Self {
        let service = service(Described::<T>(PhantomData));
        let raw = service.spec();
        let mut document: Json = serde_json::from_str(&raw).expect("the framework writes JSON");
        refuse_unknown_fields(&mut document);
        allow_null(&mut document);
        turn_away(&mut document);
        polish_responses(&mut document);
        let json = format!("{document:#}");
        let html = service.swagger_ui_html().replace(&raw, &json).replace(FRAMEWORK_TITLE, TITLE);
        Self { json, html }
    }
}

/// An API that is only described: its document needs none of its dependencies.
struct Described<T>(PhantomData<T>);

impl<T: OpenApi> OpenApi for Described<T> {
    /// Each path once: the framework would write the verbs of one path that are implemented apart as two paths.
    fn meta() -> Vec<MetaApi> {
        let mut paths: Vec<MetaPath> = Vec::new();
        for path in T::meta().into_iter().flat_map(|api| api.paths) {
            match paths.iter_mut().find(|known| known.path == path.path) {
                Some(known) => known.operations.extend(path.operations),
                None => paths.push(path),
            }
        }
        vec![MetaApi { paths }]
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn add_routes(self, _: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {}
}

/// States what every request type does, and the framework does not say: unknown fields are refused.
fn refuse_unknown_fields(document: &mut Json) {
    let mut open = Vec::new();
    if let Some(paths) = document["paths"].as_object() {
        for operation in paths.values().filter_map(Json::as_object).flat_map(|path| path.values()) {
            references(&operation["requestBody"], &mut open);
        }
    }
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        let schema = &mut document["components"]["schemas"][&name];
        if seen.insert(name) {
            references(schema, &mut open);
            if schema["type"] == "object" {
                schema["additionalProperties"] = false.into();
            }
        }
    }
}

/// A member may be null only if the schema that it refers to allows that, too: `nullable` beside `allOf` allows nothing
/// by itself.
fn allow_null(document: &mut Json) {
    let mut names = Vec::new();
    nullable_references(document, &mut names);
    for name in names {
        document["components"]["schemas"][&name]["nullable"] = true.into();
    }
}

/// The names of the schemas that may be null where `json` refers to them.
fn nullable_references(json: &Json, found: &mut Vec<String>) {
    match json {
        Json::Object(members) => {
            if members.get("nullable") == Some(&true.into()) {
                members.get("allOf").into_iter().for_each(|parts| references(parts, found));
            }
            members.values().for_each(|member| nullable_references(member, found));
        }
        Json::Array(items) => items.iter().for_each(|item| nullable_references(item, found)),
        _ => {}
    }
}

/// States that every operation of `/v1` may be turned away, which is done before any of them is asked.
fn turn_away(document: &mut Json) {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    let operations = paths.filter(|(path, _)| path.starts_with("/v1")).filter_map(|(_, path)| path.as_object_mut());
    for operation in operations.flat_map(|path| path.values_mut()) {
        operation["responses"].as_object_mut().into_iter().for_each(problem::add_turned_away);
    }
}

/// Says of each status which problems it may mean, and writes the names of headers as people do.
fn polish_responses(document: &mut Json) {
    let schemas = document["components"]["schemas"].clone();
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    let operations = paths.filter_map(Json::as_object_mut).flat_map(|path| path.values_mut());
    let responses = operations.filter_map(|operation| operation["responses"].as_object_mut());
    for response in responses.flat_map(|responses| responses.values_mut()) {
        if let Some(kinds) = response.pointer(problem::KINDS_OF_RESPONSE) {
            let kinds =
                Kind::ALL.iter().filter(|kind| kinds.as_array().is_some_and(|uris| uris.contains(&kind.uri().into())));
            let lines: Vec<_> = kinds.map(|kind| format!("`{}`: {}", kind.uri(), kind.when())).collect();
            response["description"] = lines.join("\n\n").into();
        }
        if response["description"] == "" {
            let mut names = Vec::new();
            references(&response["content"], &mut names);
            let described = names.first().map(|name| &schemas[name]["description"]).filter(|text| text.is_string());
            response["description"] = described.cloned().unwrap_or_else(|| "What was asked for.".into());
        }
        if let Some(headers) = response.get_mut("headers").and_then(Json::as_object_mut) {
            *headers = std::mem::take(headers).into_iter().map(|(name, header)| (header_name(&name), header)).collect();
        }
    }
}

/// `PREFERENCE-APPLIED` as `Preference-Applied`.
fn header_name(name: &str) -> String {
    if name.eq_ignore_ascii_case("etag") {
        return "ETag".to_owned();
    }
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + &rest.to_ascii_lowercase()
    });
    words.collect::<Vec<_>>().join("-")
}

/// The names of the schemas that `json` refers to.
fn references(json: &Json, found: &mut Vec<String>) {
    match json {
        Json::Object(members) => {
            let name = members.get("$ref").and_then(Json::as_str).and_then(|uri| uri.rsplit('/').next());
            found.extend(name.map(str::to_owned));
            members.values().for_each(|member| references(member, found));
        }
        Json::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

//! The OpenAPI document and its browsable form, which loads nothing from elsewhere.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::marker::PhantomData;

use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem_openapi::registry::{MetaApi, MetaPath, Registry};
use poem_openapi::{LicenseObject, OpenApi, OpenApiService};
use serde_json::{Map, Value as Json, json};

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

/// The first 3.0 that says what `nullable` means.
const OPENAPI: &str = "3.0.3";

/// What an answer leads to.
struct Link {
    from: &'static str,
    status: &'static str,
    to: &'static [&'static str],
    /// The parameters, and where in the answer or its request they are.
    with: &'static [(&'static str, &'static str)],
}

const fn link(
    from: &'static str,
    status: &'static str,
    to: &'static [&'static str],
    with: &'static [(&'static str, &'static str)],
) -> Link {
    Link { from, status, to, with }
}

const LINKS: &[Link] = &[
    link("place_order", "201", OF_AN_ORDER, &[("order_id", "$response.body#/id")]),
    link("list_orders", "200", OF_AN_ORDER, &[("order_id", "$response.body#/items/0/id")]),
    link("list_orders", "200", &["list_orders"], &[("cursor", "$response.body#/next_cursor")]),
    link(
        "list_order_events",
        "200",
        &["list_order_events"],
        &[("order_id", "$request.path.order_id"), ("after", "$response.body#/next_after")],
    ),
    link("list_events", "200", &["list_events"], &[("after", "$response.body#/next_after")]),
    link("put_merchant", "201", OF_A_MERCHANT, &[("merchant_id", "$response.body#/id")]),
    link(
        "put_product",
        "200",
        &["get_product"],
        &[("merchant_id", "$response.body#/merchant_id"), ("sku", "$response.body#/sku")],
    ),
    link("put_webhook", "200", OF_A_WEBHOOK, A_WEBHOOK),
    link("put_webhook", "201", OF_A_WEBHOOK, A_WEBHOOK),
    link(
        "list_webhook_deliveries",
        "200",
        &["replay_webhook_delivery"],
        &[
            ("merchant_id", "$request.path.merchant_id"),
            ("name", "$request.path.name"),
            ("delivery_id", "$response.body#/items/0/id"),
        ],
    ),
];
const OF_AN_ORDER: &[&str] = &["get_order", "list_order_events", "get_order_workflow", "command_order"];
const OF_A_MERCHANT: &[&str] = &["get_merchant", "list_products", "list_webhooks"];
const OF_A_WEBHOOK: &[&str] = &["get_webhook", "list_webhook_deliveries", "delete_webhook"];
const A_WEBHOOK: &[(&str, &str)] = &[("merchant_id", "$response.body#/merchant_id"), ("name", "$response.body#/name")];

const FRAMEWORK_TITLE: &str = "<title>Swagger UI</title>";
const TITLE: &str = "<title>jumun API</title>";

/// A service of `api` with everything that the document says about it.
pub(crate) fn service<T: OpenApi>(api: T) -> OpenApiService<T, ()> {
    OpenApiService::new(api, "jumun", "v1")
        .description(description())
        .server("/")
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
        list_null(&mut document);
        allow_null(&mut document);
        open_the_open(&mut document);
        turn_away(&mut document);
        polish_responses(&mut document);
        link_operations(&mut document);
        state_alternatives(&mut document);
        write_whole_numbers(&mut document);
        document["openapi"] = OPENAPI.into();
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

/// What may be null and is one of a list may be null only if the list has that, too.
fn list_null(json: &mut Json) {
    if json["nullable"] == true
        && let Some(listed) = json.get_mut("enum").and_then(Json::as_array_mut)
        && !listed.contains(&Json::Null)
    {
        listed.push(Json::Null);
    }
    match json {
        Json::Object(members) => members.values_mut().for_each(list_null),
        Json::Array(items) => items.iter_mut().for_each(list_null),
        _ => {}
    }
}

/// A member may be null only if the schema that it refers to allows that, too: `nullable` beside `allOf` allows nothing
/// by itself, and nothing at all without a type.
fn allow_null(document: &mut Json) {
    let mut names = BTreeSet::new();
    nullable_references(document, &mut names);
    let schemas = &mut document["components"]["schemas"];
    let mut types = HashMap::new();
    for name in names {
        schemas[&name]["nullable"] = true.into();
        types.insert(name.clone(), schemas[&name]["type"].clone());
    }
    type_nullable_references(document, &types);
}

/// The names of the schemas that may be null where `json` refers to them.
fn nullable_references(json: &Json, found: &mut BTreeSet<String>) {
    found.extend(nullable_reference(json));
    children(json).for_each(|child| nullable_references(child, found));
}

/// Says where `json` refers to a schema that may be null of which type that is, as what it refers to does.
fn type_nullable_references(json: &mut Json, types: &HashMap<String, Json>) {
    if let Some(name) = nullable_reference(json) {
        json["type"] = types[&name].clone();
        // What follows the reference only says more of it.
        for part in json["allOf"].as_array_mut().into_iter().flatten().filter_map(Json::as_object_mut) {
            part.remove("nullable");
        }
    }
    match json {
        Json::Object(members) => members.values_mut().for_each(|member| type_nullable_references(member, types)),
        Json::Array(items) => items.iter_mut().for_each(|item| type_nullable_references(item, types)),
        _ => {}
    }
}

/// States of operations that want no token that they want none.
fn open_the_open(document: &mut Json) {
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for operation in paths.filter_map(Json::as_object_mut).flat_map(|path| path.values_mut()) {
        if operation["security"].is_null() {
            operation["security"] = json!([]);
        }
    }
}

/// States that every operation may be turned away, which is done before any of them is asked.
fn turn_away(document: &mut Json) {
    for (path, operations) in document["paths"].as_object_mut().into_iter().flatten() {
        for operation in operations.as_object_mut().into_iter().flat_map(|verbs| verbs.values_mut()) {
            operation["responses"].as_object_mut().into_iter().for_each(|known| problem::add_turned_away(path, known));
        }
    }
}

/// The name of the schema that `json` refers to, if it says that what it describes may be null.
fn nullable_reference(json: &Json) -> Option<String> {
    let nullable = json.get("nullable") == Some(&true.into());
    let parts = json.get("allOf").filter(|_| nullable)?;
    let mut names = Vec::new();
    references(parts, &mut names);
    names.into_iter().next()
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

/// Adds to answers what they lead to.
fn link_operations(document: &mut Json) {
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for operation in paths.filter_map(Json::as_object_mut).flat_map(|path| path.values_mut()) {
        let id = operation["operationId"].clone();
        for Link { status, to, with, .. } in LINKS.iter().filter(|link| id == link.from) {
            let parameters: Map<_, _> = with.iter().map(|(name, at)| ((*name).to_owned(), (*at).into())).collect();
            for target in *to {
                let link = json!({ "operationId": target, "parameters": parameters });
                operation["responses"][*status]["links"][*target] = link;
            }
        }
    }
}

/// States which members belong together, for which the framework has no words.
fn state_alternatives(document: &mut Json) {
    let one_of = |values: &[&str]| json!({ "type": "string", "enum": values });
    let alternative = |required: &[&str], properties: Json| json!({ "type": "object", "required": required, "properties": properties });
    let schemas = &mut document["components"]["schemas"];
    schemas["PayBy"]["anyOf"] = json!([
        alternative(
            &["method", "card_token"],
            json!({ "method": one_of(&["card"]), "card_token": { "type": "string" } })
        ),
        alternative(&["method"], json!({ "method": one_of(&["deposit"]) })),
    ]);
    schemas["BulkBody"]["anyOf"] = json!([
        alternative(&["dry_run"], json!({ "dry_run": { "type": "boolean", "enum": [true] } })),
        alternative(
            &["dry_run", "expected"],
            json!({ "dry_run": { "type": "boolean", "enum": [false] }, "expected": { "type": "integer" } }),
        ),
    ]);
    let parts = schemas["BulkFilter"]["properties"].as_object().cloned().unwrap_or_default();
    let there = parts.iter().map(|(name, part)| alternative(&[name], json!({ name: { "type": part["type"] } })));
    schemas["BulkFilter"]["anyOf"] = there.collect();
    // Local mode has it.
    if let Some(mode) = schemas.get_mut("SandboxMode") {
        let none = json!({ "type": "integer", "nullable": true, "enum": [null] });
        mode["anyOf"] = json!([
            alternative(&["mode", "delay_ms"], json!({ "mode": one_of(&["slow"]), "delay_ms": { "type": "integer" } })),
            alternative(&["mode"], json!({ "mode": one_of(&["up", "down"]), "delay_ms": none })),
        ]);
    }
}

/// Writes numbers that have no fraction without one: `9007199254740991.0` is not what everybody reads exactly.
fn write_whole_numbers(json: &mut Json) {
    match json {
        #[allow(clippy::cast_possible_truncation, reason = "what has no fraction and is exact in f64 fits")]
        Json::Number(number) => {
            if let Some(whole) =
                number.as_f64().filter(|value| number.is_f64() && value.fract() == 0.0 && value.abs() < 1e16)
            {
                *json = (whole as i64).into();
            }
        }
        Json::Object(members) => members.values_mut().for_each(write_whole_numbers),
        Json::Array(items) => items.iter_mut().for_each(write_whole_numbers),
        _ => {}
    }
}

/// The names of the schemas that `json` refers to.
fn references(json: &Json, found: &mut Vec<String>) {
    let name = json.get("$ref").and_then(Json::as_str).and_then(|uri| uri.rsplit('/').next());
    found.extend(name.map(str::to_owned));
    children(json).for_each(|child| references(child, found));
}

/// The members of an object, or the items of an array.
fn children(json: &Json) -> Box<dyn Iterator<Item = &Json> + '_> {
    match json {
        Json::Object(members) => Box::new(members.values()),
        Json::Array(items) => Box::new(items.iter()),
        _ => Box::new(std::iter::empty()),
    }
}

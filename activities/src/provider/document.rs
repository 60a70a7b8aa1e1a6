//! The contract as an OpenAPI 3.1 document, from which a team can put its own system in a provider's place.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use workflows::Context;

use super::contract::{self, Verb};
use super::problem::{CONTENT_TYPE, Kind};

const DESCRIPTION: &str = "\
Every call is a `POST` of JSON to `/v1/{verb}`, answered with JSON; a verb that has nothing to tell answers `null`.

**Every call can be repeated**, and is, whenever no answer was heard: the same request takes effect once and is \
answered alike, however often and however concurrently it comes. The ids in it say what is the same. An undo that \
comes before what it undoes finds nothing, and keeps it out from then on. What was answered is kept, whatever \
crashes.

- `200`: it is done, or it is refused. A refusal is an answer, too: `outcome` says so.
- `409`: impossible. The request contradicts what was done before, and trying again cannot help. The order is ended \
and undone where it still can be; otherwise it shows as stuck until somebody has mended what is in its way.
- `503`, any other status, and no answer at all: it is tried again, with growing delay. Whether it took effect is \
unknown.

Every 4xx and 5xx is `application/problem+json` (RFC 9457); a 5xx never shows its cause. Members of a request that \
are not known are to be ignored.

**To put a system of your own in this place,** serve these verbs below a base URL, and name that URL under \
`[providers]` in jumun's configuration. Nothing else is asked of it: `/livez`, `/readyz` and this document, at \
`/openapi.json`, are for those who run it.
";

/// What each verb answers with besides its answer.
const PROBLEMS: [Kind; 7] = [
    Kind::InvalidRequest,
    Kind::RequestTimeout,
    Kind::Impossible,
    Kind::BodyTooLarge,
    Kind::UnsupportedMediaType,
    Kind::Internal,
    Kind::Unavailable,
];

/// The OpenAPI document of the context's contract, as JSON.
#[must_use]
pub fn openapi(context: Context) -> String {
    let contract = contract::of(context);
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for verb in contract.verbs {
        let (request, answer) = ((verb.request)(&mut generator), (verb.answer)(&mut generator));
        paths.insert(format!("/v1/{}", verb.name), json!({ "post": operation(verb, &json!(request), &json!(answer)) }));
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Problem".to_owned(), problem());
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": format!("jumun {context} provider"),
            "version": "v1",
            "summary": contract.summary,
            "description": DESCRIPTION,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": { "schemas": schemas, "responses": problems() },
    });
    format!("{document:#}")
}

fn operation(verb: &Verb, request: &Value, answer: &Value) -> Value {
    let mut responses = Map::new();
    responses.insert("200".to_owned(), response("The answer.", "application/json", answer));
    for kind in PROBLEMS {
        let (status, uri, _) = kind.profile();
        let reference = json!({ "$ref": format!("#/components/responses/{}", name(uri)) });
        responses.insert(status.as_str().to_owned(), reference);
    }
    json!({
        "operationId": verb.name,
        "summary": verb.summary,
        "description": verb.description,
        "requestBody": { "required": true, "content": { "application/json": { "schema": request } } },
        "responses": responses,
    })
}

fn problems() -> Map<String, Value> {
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    let problem = |kind: Kind| {
        let (_, uri, title) = kind.profile();
        (name(uri).to_owned(), response(&format!("`{uri}`: {title}"), CONTENT_TYPE, &schema))
    };
    PROBLEMS.map(problem).into_iter().collect()
}

/// The end of a problem's URI.
fn name(uri: &str) -> &str {
    uri.trim_start_matches("/problems/")
}

fn response(description: &str, media_type: &str, schema: &Value) -> Value {
    json!({ "description": description, "content": { media_type: { "schema": schema } } })
}

fn problem() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "description": "What went wrong (RFC 9457).",
        "required": ["type", "title", "detail"],
        "properties": {
            "type": text("Which problem it is: a relative URI that never changes."),
            "title": text("The kind of problem in a few words."),
            "detail": text("What happened here, for a person."),
        },
    })
}

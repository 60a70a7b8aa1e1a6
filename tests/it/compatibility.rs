//! The contract as it was released is kept: what breaks callers is named.
//! R39.
//!
//! `openapi/v1.json` is the document that callers have. It is not touched when the API grows. Whoever breaks the contract
//! on purpose releases another: `cargo run -- openapi > tests/openapi/v1.json`, and the change of that file is what there
//! is to review.

use serde_json::{Value, json};
use tests::breaks;

const RELEASED: &str = include_str!("../openapi/v1.json");

#[test]
fn the_released_contract_is_kept() {
    let released: Value = serde_json::from_str(RELEASED).expect("JSON");
    let current: Value = serde_json::from_str(&api::openapi(true)).expect("JSON");
    let breaks = breaks(&released, &current);
    assert!(
        breaks.is_empty(),
        "this breaks callers:\n  {}\nIf that is meant: cargo run -- openapi > tests/openapi/v1.json",
        breaks.join("\n  ")
    );
}

/// Changes the document below at `pointer`, and expects these breaks and no others.
#[track_caller]
fn check(pointer: &str, change: Value, expected: &[&str]) {
    let (old, mut new) = (document(), document());
    let (place, name) = pointer.rsplit_once('/').expect("a pointer");
    let place = new.pointer_mut(place).unwrap_or_else(|| panic!("{pointer} is not in the document"));
    let name = name.replace("~1", "/").replace("~0", "~");
    if change.is_null() {
        place.as_object_mut().expect("an object").shift_remove(&name).expect("was there");
    } else {
        place[&name] = change;
    }
    assert_eq!(breaks(&old, &new), expected, "{pointer}");
}

#[test]
fn what_is_taken_away_breaks() {
    check("/paths/~1boxes", Value::Null, &["GET /boxes: is gone", "POST /boxes: is gone"]);
    check("/paths/~1boxes/get", Value::Null, &["GET /boxes: is gone"]);
    check("/paths/~1boxes/get/responses/304", Value::Null, &["GET /boxes 304: is answered no more"]);
    check("/paths/~1boxes/get/responses/200/headers/ETag", Value::Null, &["GET /boxes 200 header ETag: is gone"]);
    check("/paths/~1boxes/get/responses/200/content", json!({}), &["GET /boxes 200: application/json is gone"]);
    check("/paths/~1boxes/post/requestBody", Value::Null, &["POST /boxes request: is taken no more"]);
    check("/paths/~1boxes/get/parameters", json!([]), &["GET /boxes query size: is taken no more"]);
    check(
        "/components/schemas/Box/properties/lid",
        Value::Null,
        &["GET /boxes 200 body[].lid: is gone", "POST /boxes 201 body.lid: is gone"],
    );
    check(
        "/components/schemas/NewBox/properties/note",
        Value::Null,
        &["POST /boxes request body.note: is taken no more"],
    );
}

#[test]
fn a_new_name_is_another_thing() {
    check(
        "/paths/~1boxes/get/operationId",
        json!("boxes"),
        &["GET /boxes: operationId was \"list_boxes\" and is \"boxes\""],
    );
    let renamed =
        json!({ "cover": { "type": "string" }, "size": { "type": "integer" }, "colour": { "type": "string" } });
    let expected = [
        "GET /boxes 200 body[].boxes: is gone",
        "GET /boxes 200 body[].lid: is gone",
        "POST /boxes 201 body.boxes: is gone",
        "POST /boxes 201 body.lid: is gone",
    ];
    let mut breaks = breaks(&document(), &changed("/components/schemas/Box/properties", renamed));
    breaks.retain(|line| line.ends_with("gone"));
    assert_eq!(breaks, expected);
}

#[test]
fn responses_must_not_grow_wider() {
    let both = |what: &str| [format!("GET /boxes 200 body[].{what}"), format!("POST /boxes 201 body.{what}")];
    let check = |pointer: &str, change: Value, what: &str| {
        let expected = both(what);
        check(pointer, change, &[expected[0].as_str(), expected[1].as_str()]);
    };
    check("/components/schemas/Box/required", json!(["size"]), "lid: has become optional");
    check("/components/schemas/Box/properties/lid/nullable", json!(true), "lid: nullable was false and is true");
    check(
        "/components/schemas/Box/properties/lid/type",
        json!("integer"),
        "lid: type was \"string\" and is \"integer\"",
    );
    check(
        "/components/schemas/Box/properties/size/type",
        json!("number"),
        "size: type was \"integer\" and is \"number\"",
    );
    check("/components/schemas/Box/properties/size/maximum", json!(10), "size: maximum was 9 and is 10");
    check(
        "/components/schemas/Colour/enum",
        json!(["red", "blue", "green"]),
        "colour: enum was [\"red\",\"blue\"] and is [\"red\",\"blue\",\"green\"]",
    );
    self::check(
        "/paths/~1boxes/get/responses/200/headers/ETag/required",
        json!(false),
        &["GET /boxes 200 header ETag: has become optional"],
    );
}

#[test]
fn requests_must_not_grow_narrower() {
    let body = |what: &str| format!("POST /boxes request body{what}");
    let check = |pointer: &str, change: Value, what: &str| check(pointer, change, &[body(what).as_str()]);
    let with = |name: &str, of: &str| format!("/components/schemas/NewBox/properties/{name}/{of}");
    check("/components/schemas/NewBox/required", json!(["size", "note"]), ".note: has become required");
    check(&with("note", "nullable"), json!(false), ".note: nullable was true and is false");
    check(&with("note", "maxLength"), json!(99), ".note: maxLength was 100 and is 99");
    check(&with("note", "pattern"), json!("^a"), ".note: pattern was null and is \"^a\"");
    check(&with("size", "minimum"), json!(2), ".size: minimum was 1 and is 2");
    check(&with("size", "type"), json!("integer"), ".size: type was \"number\" and is \"integer\"");
    check(&with("kind", "enum"), json!(["flat"]), ".kind: enum was [\"flat\",\"tall\"] and is [\"flat\"]");
    check(&with("tags", "maxItems"), json!(1), ".tags: maxItems was 5 and is 1");
    check(&with("tags", "items"), json!({ "type": "integer" }), ".tags[]: type was \"string\" and is \"integer\"");
    check(&with("lid", "oneOf"), json!([{ "type": "string" }]), ".lid: has other alternatives");
    check("/components/schemas/Open/additionalProperties", json!(false), ".more: refuses unknown members now");
    let added = json!({ "size": { "type": "number" }, "key": { "type": "string" } });
    let mut new = document();
    new["components"]["schemas"]["NewBox"]["properties"]["key"] = added["key"].clone();
    new["components"]["schemas"]["NewBox"]["required"] = json!(["size", "key"]);
    assert_eq!(breaks(&document(), &new), [body(".key: has become required")]);
}

#[test]
fn parameters_must_stay_optional_and_as_wide() {
    let parameter = |change: Value| {
        let mut parameter = document()["paths"]["/boxes"]["get"]["parameters"][0].clone();
        for (name, value) in change.as_object().expect("an object") {
            parameter[name] = value.clone();
        }
        parameter
    };
    let pointer = "/paths/~1boxes/get/parameters";
    check(pointer, json!([parameter(json!({ "required": true }))]), &["GET /boxes query size: has become required"]);
    let smaller = json!({ "type": "integer", "maximum": 8 });
    check(
        pointer,
        json!([parameter(json!({ "schema": smaller }))]),
        &["GET /boxes query size: maximum was 9 and is 8"],
    );
    let another = parameter(json!({ "name": "shelf", "required": true }));
    check(pointer, json!([parameter(json!({})), another]), &["GET /boxes query shelf: is new and required"]);
    check("/paths/~1boxes/post/requestBody/required", json!(true), &["POST /boxes request: has become required"]);
}

#[test]
fn another_authentication_breaks() {
    let open = breaks(&document(), &changed("/paths/~1boxes/get/security", json!([])));
    assert!(open.len() == 1 && open[0].starts_with("GET /boxes: authentication was"), "{open:?}");
    let scheme = changed("/components/securitySchemes/token/scheme", json!("basic"));
    assert_eq!(breaks(&document(), &scheme).len(), 2);
}

#[test]
fn what_is_added_breaks_nothing() {
    let nothing = |pointer: &str, change: Value| check(pointer, change, &[]);
    nothing("/paths/~1lids", json!({ "get": { "responses": {} } }));
    nothing("/paths/~1boxes/delete", json!({ "responses": {} }));
    nothing("/paths/~1boxes/get/responses/404", json!({ "description": "None." }));
    nothing("/components/schemas/Box/properties/weight", json!({ "type": "integer" }));
    nothing("/components/schemas/NewBox/properties/weight", json!({ "type": "integer" }));
    nothing("/components/schemas/NewBox/properties/note/maxLength", json!(101));
    nothing("/components/schemas/NewBox/properties/kind/enum", json!(["flat", "tall", "round"]));
    nothing("/components/schemas/NewBox/required", json!([]));
    nothing("/components/schemas/Box/properties/size/maximum", json!(8));
    nothing("/components/schemas/Colour/enum", json!(["red"]));
    nothing("/components/schemas/Colour/description", json!("What it looks like."));
    let problem = "/paths/~1boxes/get/responses/409/content/application~1problem+json/schema/properties/type/enum";
    nothing(problem, json!(["/problems/full", "/problems/locked"]));
    assert_eq!(breaks(&document(), &document()), [""; 0]);
}

fn changed(pointer: &str, change: Value) -> Value {
    let mut new = document();
    let (place, name) = pointer.rsplit_once('/').expect("a pointer");
    new.pointer_mut(place).expect("there")[name] = change;
    new
}

/// A document with a little of everything; boxes contain boxes.
fn document() -> Value {
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    json!({
        "paths": { "/boxes": {
            "get": {
                "operationId": "list_boxes",
                "parameters": [{ "name": "size", "in": "query", "schema": { "type": "integer", "maximum": 9 } }],
                "responses": {
                    "200": {
                        "headers": { "ETag": { "required": true, "schema": { "type": "string" } } },
                        "content": { "application/json": { "schema": { "type": "array", "items": reference("Box") } } },
                    },
                    "304": {},
                    "409": { "content": { "application/problem+json": { "schema": {
                        "type": "object",
                        "properties": { "type": { "type": "string", "enum": ["/problems/full"] } },
                    } } } },
                },
            },
            "post": {
                "operationId": "put_box",
                "requestBody": { "content": { "application/json; charset=utf-8": { "schema": reference("NewBox") } } },
                "responses": { "201": { "content": { "application/json": { "schema": reference("Box") } } } },
            },
        } },
        "security": [{ "token": [] }],
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": {
                "Box": {
                    "type": "object",
                    "required": ["size", "lid"],
                    "properties": {
                        "size": { "type": "integer", "maximum": 9 },
                        "lid": { "type": "string" },
                        "colour": { "allOf": [reference("Colour"), { "description": "Its colour." }] },
                        "boxes": { "type": "array", "items": reference("Box") },
                    },
                },
                "Colour": { "type": "string", "enum": ["red", "blue"] },
                "Open": { "type": "object", "additionalProperties": true },
                "NewBox": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["size"],
                    "properties": {
                        "size": { "type": "number", "minimum": 1 },
                        "note": { "type": "string", "nullable": true, "maxLength": 100 },
                        "kind": { "type": "string", "enum": ["flat", "tall"] },
                        "tags": { "type": "array", "maxItems": 5, "items": { "type": "string" } },
                        "lid": { "oneOf": [{ "type": "string" }, { "type": "integer" }] },
                        "more": reference("Open"),
                    },
                },
            },
        },
    })
}

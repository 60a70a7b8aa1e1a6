//! `/v1/lifecycles`, and the lifecycles of merchants.

use serde_json::{Value as Json, json};
use workflows::Lifecycle;

use crate::openapi;
use crate::testing::{Answer, World};

async fn preview(world: &World, document: Json) -> Answer {
    world.post("/v1/lifecycles/preview", &[], document).await
}

fn document(preset: &str) -> Json {
    serde_json::to_value(Lifecycle::preset(preset).expect("a preset")).expect("serialises")
}

#[tokio::test]
async fn a_preview_tells_all_that_the_rules_know() {
    let world = World::new().await;
    for preset in Lifecycle::presets() {
        let answer = preview(&world, document(&preset.name)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut told = serde_json::to_value(preset.preview()).expect("serialises");
        for step in told["steps"].as_array_mut().expect("steps") {
            step.as_object_mut().expect("an object").retain(|_, part| !part.is_null());
        }
        assert_eq!(answer.body, told, "{}", preset.name);
    }
}

#[tokio::test]
async fn a_preview_finds_the_faults_that_a_merchant_would_be_refused_for() {
    let world = World::new().await;
    let mut impossible = document("street12");
    impossible["delivery"] = Json::Null;
    impossible["cancellation"] = json!({"customer": "closed", "courier": "paid"});
    let mut misspelt = document("pizza");
    misspelt["kupon"] = json!("after_delivery");
    let mut renamed = document("pizza");
    renamed["name"] = json!("street12");
    for document in [impossible, misspelt, renamed, json!({})] {
        let previewed = preview(&world, document.clone()).await;
        previewed.is_problem(422, "invalid-lifecycle");
        let put = json!({"name": "M", "currency": "KRW", "lifecycle": document});
        let put = world.put("/v1/merchants/m", put).await;
        assert_eq!(previewed.body, put.body);
        assert!(previewed.body["faults"].as_array().is_some_and(|faults| !faults.is_empty()), "{previewed:?}");
    }
    for nothing in [json!("pizza"), json!([]), Json::Null] {
        let answer = preview(&world, nothing).await;
        answer.is_problem(400, "invalid-request");
    }
    world.get("/v1/merchants/m").await.is_problem(404, "not-found");
}

#[tokio::test]
async fn a_merchant_s_own_lifecycle_can_be_read_back() {
    let world = World::new().await;
    let mut own = document("pizza");
    own["name"] = json!("slow pizza");
    own["acceptance"] = json!({"window": "90s", "on_timeout": "accept"});
    let said = json!({"name": "M", "currency": "KRW", "lifecycle": own});
    assert_eq!(world.put("/v1/merchants/m", said).await.status, 201);
    let read = world.get("/v1/merchants/m").await.body;
    assert_eq!(read["lifecycle"], "slow pizza");
    assert_eq!(read["lifecycle_document"]["acceptance"], json!({"window": "1m 30s", "on_timeout": "accept"}));
    let again = json!({"name": "M", "currency": "KRW", "lifecycle": read["lifecycle_document"]});
    assert_eq!(world.put("/v1/merchants/m", again).await.body["lifecycle_document"], read["lifecycle_document"]);
}

/// What the document says of a lifecycle is what the types read, as far as its words go.
#[test]
fn the_document_describes_lifecycles_as_they_are() {
    let document: Json = serde_json::from_str(&openapi(true)).expect("JSON");
    let preview = &document["paths"]["/v1/lifecycles/preview"]["post"];
    let schema = &preview["requestBody"]["content"]["application/json; charset=utf-8"]["schema"];
    assert_eq!(schema["required"], json!(["name", "payment", "stock"]), "{preview}");
    for preset in Lifecycle::presets() {
        let written = serde_json::to_value(preset).expect("serialises");
        for (part, value) in written.as_object().expect("an object") {
            let described = &schema["properties"][part];
            assert!(!described.is_null(), "{part}");
            for (name, value) in value.as_object().into_iter().flatten() {
                let described = &described["properties"][name];
                assert!(!described.is_null(), "{part}.{name}");
                let values = described["enum"].as_array();
                assert!(values.is_none_or(|values| values.contains(value)), "{part}.{name}: {value}");
            }
        }
    }
}

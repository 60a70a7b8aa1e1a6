//! The API as a document, and what is open to everybody.
//! R5, R39.

use tests::Jumun;

use crate::shared;

#[tokio::test]
async fn the_openapi_document_is_served_and_reviewed() {
    let jumun = shared().await;
    let served = jumun.get("/openapi.json").await.ok();
    assert!(served["openapi"].as_str().is_some_and(|version| version.starts_with("3.")));
    insta::assert_snapshot!("openapi", api::openapi(true));
}

#[tokio::test]
async fn the_docs_need_no_other_host() {
    let jumun = shared().await;
    let docs = jumun.get("/docs").await;
    assert_eq!(docs.status, 200);
    let html = docs.body.as_str().expect("text");
    for attribute in ["src=\"http", "href=\"http", "src='http", "href='http", "src=\"//", "url(http", "@import"] {
        assert!(!html.contains(attribute), "{attribute}");
    }
}

#[tokio::test]
async fn it_tells_its_health() {
    let jumun = shared().await;
    assert_eq!(jumun.get("/livez").await.status, 200);
    assert_eq!(jumun.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn it_is_ready_only_with_its_engine() {
    let jumun = Jumun::ephemeral().await;
    jumun.signal_engine("STOP");
    assert_eq!(jumun.get("/livez").await.status, 200);
    let _ = jumun.get("/readyz").await.problem(503, "not-ready");
    jumun.signal_engine("CONT");
    tests::until("readiness", async || (jumun.get("/readyz").await.status == 200).then_some(())).await;
}

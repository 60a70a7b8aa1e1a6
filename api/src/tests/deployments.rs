//! The versions of the worker, as the engine has them.

use serde_json::json;

use crate::testing::{World, locked};

#[tokio::test]
async fn each_version_is_current_draining_or_drained() {
    let world = World::new().await;
    let row = |id: &str, current: bool, open: u64| {
        json!({
            "id": id, "url": "http://worker:9080/", "created_at": "2026-01-30T12:00:00.123Z", "current": current,
            "open": open,
        })
    };
    *locked(&world.state.invocations) = Some(vec![row("dp_1", false, 0), row("dp_2", false, 3), row("dp_3", true, 0)]);
    let told = |id: &str, state: &str, open: u64| {
        json!({
            "id": id, "url": "http://worker:9080/", "created_at": "2026-01-30T12:00:00.123Z", "state": state,
            "open": open,
        })
    };
    let expected = [told("dp_1", "drained", 0), told("dp_2", "draining", 3), told("dp_3", "current", 0)];
    let answer = world.get("/v1/deployments").await;
    assert_eq!((answer.status.as_u16(), &answer.body["items"]), (200, &json!(expected)));

    *locked(&world.state.invocations) = None;
    world.get("/v1/deployments").await.is_problem(503, "try-again-later");
}

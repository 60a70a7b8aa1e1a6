//! Driving an order on, whatever the engine says of it.

use poem::http::StatusCode;
use serde_json::{Value as Json, json};
use workflows::OrderId;
use workflows::order::Fact;

use super::workflow::{invocation, open_handover, trouble};
use crate::testing::{Answer, World, locked, order};

async fn retry(world: &World, id: &OrderId) -> Answer {
    world.post(&format!("/v1/orders/{id}/retry"), &[], json!({})).await
}

#[tokio::test]
async fn only_what_is_held_up_is_tried_again() {
    let world = World::new().await;
    let moving = world.placed(order()).await;
    let waiting = world.placed(order()).await;
    open_handover(&world, &waiting);
    let closed = world.placed(order()).await;
    world.state.write(&closed, [(workflows::Step::OrderClose, Fact::OrderClosed)]);

    // What the engine says; then what is done for an order that moves, one that waits, and one that is closed; and the
    // same if a step is in trouble. What is only `trying` is left to itself.
    let nothing = "";
    let table: &[(&str, [&str; 3], [&str; 3])] = &[
        ("backing-off", ["triggered"; 3], ["triggered"; 3]),
        ("paused", ["resumed"; 3], ["resumed"; 3]),
        ("suspended", ["resumed", nothing, nothing], ["resumed", nothing, nothing]),
        ("running", [nothing; 3], ["trying"; 3]),
        ("completed", [nothing; 3], [nothing; 3]),
        ("ready", [nothing; 3], [nothing; 3]),
    ];
    for (status, well, in_trouble) in table {
        *locked(&world.state.invocations) = Some(vec![invocation(status)]);
        for (told, outcomes) in [(None, well), (Some(trouble()), in_trouble)] {
            for (id, done) in [&moving, &waiting, &closed].into_iter().zip(outcomes) {
                locked(&world.state.troubles).clear();
                locked(&world.state.troubles).extend(told.clone().map(|trouble| (id.clone(), trouble)));
                let answer = retry(&world, id).await;
                let asked: Vec<_> = world.state.take_sent().into_iter().map(|(path, _)| path).collect();
                let resumes = matches!(*done, "triggered" | "resumed");
                let expected = vec!["/invocations/inv_1aCffOVkymZ2/resume".to_owned(); usize::from(resumes)];
                assert_eq!(asked, expected, "{status}, {done}");
                if *done == nothing {
                    answer.is_problem(409, "nothing-to-retry");
                    assert_eq!(answer.body["order_id"], json!(id));
                } else {
                    let step = told.as_ref().map_or(Json::Null, |trouble| json!(trouble.step));
                    let expected = json!({"order_id": id, "done": done, "step": step});
                    assert_eq!((answer.status, &answer.body), (StatusCode::ACCEPTED, &expected), "{status}");
                }
            }
        }
    }
    *locked(&world.state.invocations) = Some(Vec::new());
    retry(&world, &moving).await.is_problem(409, "nothing-to-retry");
}

#[tokio::test]
async fn nothing_is_promised_in_the_engines_name() {
    let world = World::new().await;
    let id = world.placed(order()).await;
    retry(&world, &id).await.is_problem(503, "try-again-later");
    *locked(&world.state.invocations) = Some(vec![invocation("paused")]);
    for (engine, status, slug) in
        [(500, 503, "try-again-later"), (409, 409, "nothing-to-retry"), (404, 409, "nothing-to-retry")]
    {
        *locked(&world.state.resumed) = StatusCode::from_u16(engine).expect("a status");
        retry(&world, &id).await.is_problem(status, slug);
    }
    world.post(&format!("/v1/orders/ord_{:032}/retry", 0), &[], json!({})).await.is_problem(404, "not-found");
    retry(&world.without_engine(), &id).await.is_problem(503, "try-again-later");
}

//! What people ask of one order: a command, or another attempt.

use poem::http::{Method, StatusCode};
use serde_json::json;
use workflows::Command;

use super::client::{escaped, with_query};
use super::layout::see;
use super::visit::Visit;
use super::{Answer, Console, Trouble, order, session};

/// Asks it, and goes back to where it was asked; or says beside the order why not.
pub(super) async fn command(console: &Console, visit: &Visit, id: &str, asked: &str) -> Answer {
    let api = console.api(visit)?;
    let page = format!("/orders/{}", escaped(id));
    let known = asked == "retry" || Command::ALL.into_iter().any(|command| command.as_str() == asked);
    if !known {
        return Err(super::nothing_here(visit).into());
    }
    let body = match visit.form.given("reason") {
        Some(reason) => json!({ "reason": reason }),
        None => json!({}),
    };
    let body = if asked == "retry" { None } else { Some(body) };
    match api.ask(Method::POST, &format!("/v1{page}/{asked}"), &[], body.as_ref()).await {
        Ok(_) => Ok(see(&match visit.form.given("back") {
            // The order is on the board still, though elsewhere.
            Some(back) => format!("{}#{}", session::local(back), escaped(id)),
            None => with_query(&page, &[("done", Some(asked))]),
        })),
        Err(told) if told.status == StatusCode::NOT_FOUND => Err(Trouble::Told(told)),
        Err(told) => order::page(console, visit, id, Some(&told)).await,
    }
}

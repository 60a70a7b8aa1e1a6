//! Tells the engine where its workflows are.

use std::time::Duration;

use reqwest::{Client, Response};
use serde::Deserialize;
use serde_json::json;
use tracing::info;

const TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    #[error("the engine's admin API at {admin_url} was not reached: {cause}")]
    Unreachable {
        admin_url: String,
        #[source]
        cause: reqwest::Error,
    },
    #[error("the engine refused the deployment ({status}): {answer}")]
    Refused { status: u16, answer: String },
}

#[derive(Deserialize)]
struct Deployments {
    deployments: Vec<Deployment>,
}

#[derive(Deserialize)]
struct Deployment {
    id: String,
    uri: Option<String>,
}

/// Registers the only worker of an engine. Where an earlier run registered one, that deployment is re-pointed and
/// brought up to date in place, so that every open order goes on here: fit for a laptop, where one worker replaces
/// another. Workers that run side by side are separate deployments instead.
///
/// # Errors
/// Where the engine is not reached within 20 s, or refuses.
pub async fn register(admin_url: &str, worker_url: &str) -> Result<(), RegisterError> {
    let unreachable = |cause| RegisterError::Unreachable { admin_url: admin_url.to_owned(), cause };
    let client = Client::builder().no_proxy().timeout(TIMEOUT).build().map_err(unreachable)?;
    let deployments = format!("{admin_url}/deployments");

    let listed = accepted(client.get(&deployments).send().await.map_err(unreachable)?).await?;
    let known: Deployments = listed.json().await.map_err(unreachable)?;
    let request = match known.deployments.into_iter().find(|deployment| deployment.uri.is_some()) {
        Some(Deployment { id, .. }) => {
            client.patch(format!("{deployments}/{id}")).json(&json!({ "uri": worker_url, "overwrite": true }))
        }
        None => client.post(&deployments).json(&json!({ "uri": worker_url })),
    };
    accepted(request.send().await.map_err(unreachable)?).await?;
    info!(worker_url, "worker registered");
    Ok(())
}

async fn accepted(response: Response) -> Result<Response, RegisterError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let answer = response.text().await.unwrap_or_default();
    Err(RegisterError::Refused { status: status.as_u16(), answer })
}

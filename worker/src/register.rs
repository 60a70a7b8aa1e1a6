//! Tells a laptop's engine where its only worker is.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use tracing::info;

use crate::admin::{Admin, AdminError};

#[derive(Deserialize)]
struct Known {
    deployments: Vec<KnownDeployment>,
}

#[derive(Deserialize)]
struct KnownDeployment {
    id: String,
    uri: Option<String>,
}

/// Registers the only worker of an engine. Where an earlier run registered one, that deployment is re-pointed and
/// brought up to date in place, so that every open order goes on here: fit for a laptop, where one worker replaces
/// another. Workers that run side by side are [`Deployments`](crate::Deployments) instead.
///
/// # Errors
/// Where the engine is not reached within 20 s, or refuses.
pub async fn register(admin_url: &str, worker_url: &str) -> Result<(), AdminError> {
    let admin = Admin::new(admin_url)?;
    let Known { deployments } = admin.json(admin.request(Method::GET, "/deployments")).await?;
    let request = match deployments.into_iter().find(|deployment| deployment.uri.is_some()) {
        Some(KnownDeployment { id, .. }) => admin
            .request(Method::PATCH, &format!("/deployments/{id}"))
            .json(&json!({ "uri": worker_url, "overwrite": true })),
        None => admin.request(Method::POST, "/deployments").json(&json!({ "uri": worker_url })),
    };
    admin.send(request).await?;
    info!(worker_url, "worker registered");
    Ok(())
}

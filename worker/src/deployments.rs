//! The versions of the worker that run side by side. A version is a deployment: a URL behind which the code never
//! changes. What has begun on one stays on it until it has ended; what begins anew goes to the one registered last.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::info;

use crate::admin::{Admin, AdminError};

/// How many invocations are moved at the same time.
const AT_ONCE: usize = 16;
const PAUSE: Duration = Duration::from_millis(200);
/// How long a move may go on without anything having moved. A step that is in the middle of an attempt is waited for.
const NO_PROGRESS: Duration = Duration::from_secs(30);

/// A deployment's id, as the engine gave it: `dp_…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeploymentId(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the id of a deployment, dp_ and letters and digits")]
pub struct NotADeploymentId;

impl FromStr for DeploymentId {
    type Err = NotADeploymentId;

    fn from_str(text: &str) -> Result<Self, NotADeploymentId> {
        let digits = text.strip_prefix("dp_").ok_or(NotADeploymentId)?;
        let sound = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if sound { Ok(Self(text.to_owned())) } else { Err(NotADeploymentId) }
    }
}

impl TryFrom<String> for DeploymentId {
    type Error = NotADeploymentId;

    fn try_from(text: String) -> Result<Self, NotADeploymentId> {
        text.parse()
    }
}

impl From<DeploymentId> for String {
    fn from(id: DeploymentId) -> Self {
        id.0
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A version of the worker, as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    pub id: DeploymentId,
    pub url: String,
    /// RFC 3339.
    pub created_at: String,
    /// Whether what begins anew goes here.
    pub current: bool,
    /// How much has begun here and not ended: orders, commands, messages.
    pub open: u64,
}

impl Deployment {
    /// Whether nothing needs it any more, nor ever will.
    #[must_use]
    pub const fn is_drained(&self) -> bool {
        !self.current && self.open == 0
    }
}

/// Why a deployment was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    #[error("the engine knows no deployment {0}")]
    Unknown(DeploymentId),
    #[error("{0} takes everything that begins anew; register another version first")]
    Current(DeploymentId),
    #[error("{id} is still needed: {open} orders, commands or messages have begun on it and not ended")]
    InUse { id: DeploymentId, open: u64 },
    #[error(transparent)]
    Admin(#[from] AdminError),
}

/// Why open orders were not moved, or not all of them.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error("the engine knows no deployment {0}")]
    Unknown(DeploymentId),
    #[error("{0} is the version that they would be moved to")]
    Current(DeploymentId),
    #[error("{left} are still on {id}, and none of them has moved for {} s; the others have", NO_PROGRESS.as_secs())]
    Left { id: DeploymentId, left: usize },
    #[error(transparent)]
    Admin(#[from] AdminError),
}

/// What a registration answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Registered {
    id: DeploymentId,
}

/// What has begun on a version and not ended.
#[derive(Deserialize)]
struct Open {
    id: String,
    status: String,
}

/// The versions that one engine knows, by its admin API.
pub struct Deployments {
    admin: Admin,
}

impl Deployments {
    /// # Errors
    /// Where there can be no HTTP client.
    pub fn new(admin_url: &str) -> Result<Self, AdminError> {
        Ok(Self { admin: Admin::new(admin_url)? })
    }

    /// Makes a version known under its URL; from then on it takes what begins anew. Registered again, it is the same,
    /// and nothing changes.
    ///
    /// # Errors
    /// Where the engine is not reached within 20 s, does not reach the worker, or finds that it lacks a handler which
    /// the version before it has.
    pub async fn register(&self, worker_url: &str) -> Result<DeploymentId, AdminError> {
        let request = self.admin.request(Method::POST, "/deployments");
        let Registered { id } = self.admin.json(request.json(&json!({ "uri": worker_url, "force": false }))).await?;
        info!(worker_url, %id, "version registered");
        Ok(id)
    }

    /// All of them, oldest first.
    ///
    /// # Errors
    /// Where the engine is not reached within 20 s, or refuses.
    pub async fn list(&self) -> Result<Vec<Deployment>, AdminError> {
        self.admin
            .query(
                "SELECT d.id, d.endpoint AS url, d.created_at, s.deployment_id IS NOT NULL AS current, \
                        COALESCE(i.open, 0) AS open \
                 FROM sys_deployment d \
                 LEFT JOIN (SELECT DISTINCT deployment_id FROM sys_service) s ON s.deployment_id = d.id \
                 LEFT JOIN (SELECT pinned_deployment_id, COUNT(*) AS open FROM sys_invocation \
                            WHERE status <> 'completed' GROUP BY pinned_deployment_id) i \
                     ON i.pinned_deployment_id = d.id \
                 ORDER BY d.created_at",
            )
            .await
    }

    /// Lets the engine forget a drained version, whose worker can then be stopped.
    ///
    /// # Errors
    /// Where it is not drained, or the engine is not reached within 20 s or refuses.
    pub async fn remove(&self, id: &DeploymentId) -> Result<(), RemoveError> {
        let found = self.list().await?.into_iter().find(|deployment| deployment.id == *id);
        match found.ok_or_else(|| RemoveError::Unknown(id.clone()))? {
            Deployment { current: true, .. } => Err(RemoveError::Current(id.clone())),
            Deployment { open: 0, .. } => {
                // The engine has no removal that looks first. Nothing begins here any more, so what was seen stays true.
                let request = self.admin.request(Method::DELETE, &format!("/deployments/{id}?force=true"));
                self.admin.send(request).await?;
                info!(%id, "version removed");
                Ok(())
            }
            Deployment { open, .. } => Err(RemoveError::InUse { id: id.clone(), open }),
        }
    }

    /// Removes all that are drained, and returns them.
    ///
    /// # Errors
    /// Where the engine is not reached within 20 s, or refuses.
    pub async fn prune(&self) -> Result<Vec<Deployment>, RemoveError> {
        let mut drained = self.list().await?;
        drained.retain(Deployment::is_drained);
        for deployment in &drained {
            self.remove(&deployment.id).await?;
        }
        Ok(drained)
    }

    /// Lets everything that is open on a version go on, on the current one, which replays its journals; returns how many.
    /// Only for versions whose journals the current one understands: what it does not understand fails there again and
    /// again until it is moved back. What was paused goes on, too.
    ///
    /// # Errors
    /// Where not everything can be moved, or the engine is not reached within 20 s or refuses. What was moved stays moved,
    /// and the rest is moved by asking again.
    pub async fn move_open(&self, id: &DeploymentId) -> Result<usize, MoveError> {
        let found = self.list().await?.into_iter().find(|deployment| deployment.id == *id);
        if found.ok_or_else(|| MoveError::Unknown(id.clone()))?.current {
            return Err(MoveError::Current(id.clone()));
        }
        let mut moved = BTreeSet::new();
        let mut progress = Instant::now();
        loop {
            let open = self.open_on(id).await?;
            let (left, before) = (open.len(), moved.len());
            if left == 0 {
                return Ok(before);
            }
            let pushed = futures::stream::iter(open).map(|open| self.push(open)).buffer_unordered(AT_ONCE);
            let pushed: Vec<Option<String>> = pushed.try_collect().await?;
            moved.extend(pushed.into_iter().flatten());
            if moved.len() > before {
                progress = Instant::now();
            } else if progress.elapsed() > NO_PROGRESS {
                return Err(MoveError::Left { id: id.clone(), left });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn open_on(&self, id: &DeploymentId) -> Result<Vec<Open>, AdminError> {
        let query = format!(
            "SELECT id, status FROM sys_invocation \
             WHERE pinned_deployment_id = '{id}' AND status <> 'completed' LIMIT 1000"
        );
        self.admin.query(&query).await
    }

    /// One step towards another version: only what rests can be moved. Its id, once it was.
    async fn push(&self, Open { id, status }: Open) -> Result<Option<String>, AdminError> {
        let rests = matches!(status.as_str(), "suspended" | "paused");
        let what = if rests { "resume?deployment=latest" } else { "pause" };
        match self.admin.send(self.admin.request(Method::PATCH, &format!("/invocations/{id}/{what}"))).await {
            Ok(_) => Ok(rests.then_some(id)),
            // It has ended, begun to run or come to rest since it was looked at: the next look tells.
            Err(AdminError::Refused { status, .. }) if has_moved_on(status) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn has_moved_on(status: u16) -> bool {
    [StatusCode::CONFLICT, StatusCode::NOT_FOUND, StatusCode::TOO_EARLY].iter().any(|known| known.as_u16() == status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_id_goes_into_a_path_as_it_is() {
        assert_eq!("dp_13tTPOTpCa1d3UZ".parse::<DeploymentId>().expect("is one").to_string(), "dp_13tTPOTpCa1d3UZ");
        for text in ["", "dp_", "inv_1", "dp_../x", "dp_1?force=true", "dp_1' OR '1'='1"] {
            assert_eq!(text.parse::<DeploymentId>(), Err(NotADeploymentId), "{text}");
        }
    }

    #[test]
    fn a_version_is_drained_when_nothing_needs_it() {
        let deployment = |current, open| Deployment {
            id: "dp_1".parse().expect("is one"),
            url: "http://worker:9080/".to_owned(),
            created_at: "2026-11-21T13:00:00Z".to_owned(),
            current,
            open,
        };
        assert!(deployment(false, 0).is_drained());
        assert!(!deployment(true, 0).is_drained() && !deployment(false, 1).is_drained());
    }
}

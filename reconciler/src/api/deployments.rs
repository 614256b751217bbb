//! Deployments of an owner as they were last seen. Others' are not there for the caller.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use easyenclave_schemas::DeploymentId;
use easyenclave_schemas::status::{DeploymentPhase, DeploymentStatus};
use easyenclave_schemas::wire::{DeploymentView, ReplicaView};
use serde::Deserialize;

use super::deploy::{Named, not_found, own};
use super::{Refused, Shared};
use crate::auth::authenticate;

/// Which of them are asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    status: Option<DeploymentPhase>,
}

/// All of the caller's owner, or those that stand so.
pub(super) async fn list(
    State(shared): State<Shared>,
    headers: HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Vec<DeploymentView>>, Refused> {
    let caller = authenticate(&shared.world, &headers, shared.world.clock.now()).await?;
    let Query(asked) = asked.map_err(|_| unreadable())?;
    let status = shared.shown();
    let all = status.iter().flat_map(|status| status.deployments.values());
    let own = all.filter(|one| one.deployment.owner == caller.owner);
    let is_asked = |one: &&DeploymentStatus| asked.status.is_none_or(|phase| one.phase == phase);
    Ok(Json(own.filter(is_asked).map(view).collect()))
}

/// One of them.
pub(super) async fn one(
    State(shared): State<Shared>,
    headers: HeaderMap,
    named: Named,
) -> Result<Json<DeploymentView>, Refused> {
    let caller = authenticate(&shared.world, &headers, shared.world.clock.now()).await?;
    let name = own(&caller, named)?;
    let id = DeploymentId {
        owner: caller.owner,
        name,
    };
    let status = shared.shown();
    let found = status
        .as_ref()
        .and_then(|status| status.deployments.get(&id));
    found.map(|found| Json(view(found))).ok_or_else(not_found)
}

fn unreadable() -> Refused {
    let words = DeploymentPhase::ALL.map(phase).join(", ");
    let message = format!("expected `status`, one of {words}, or nothing");
    Refused::new(StatusCode::BAD_REQUEST, "invalid_query", message)
}

fn view(status: &DeploymentStatus) -> DeploymentView {
    DeploymentView {
        deployment_id: status.deployment.clone(),
        status: phase(status.phase).into(),
        replicas: status.wanted,
        updated: status.updated,
        ready: status.ready,
        agents: status
            .replicas
            .iter()
            .map(|replica| ReplicaView {
                agent_id: replica.agent.clone(),
                ready: replica.ready,
                updated: replica.updated,
                url: replica.url.clone(),
            })
            .collect(),
        waits: status
            .waits
            .iter()
            .map(|wait| wait.message.clone())
            .collect(),
    }
}

fn phase(phase: DeploymentPhase) -> &'static str {
    match phase {
        DeploymentPhase::Pending => "pending",
        DeploymentPhase::Progressing => "progressing",
        DeploymentPhase::Running => "running",
        DeploymentPhase::Stopped => "stopped",
        DeploymentPhase::Removing => "removing",
        DeploymentPhase::Frozen => "frozen",
    }
}

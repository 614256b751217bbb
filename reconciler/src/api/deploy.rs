//! `POST /api/v1/deploy`, and taking a deployment away: a change becomes a commit, or only a plan, and the answer tells
//! which agent was told when it is known soon enough.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use easyenclave_schemas::status::ProblemStatus;
use easyenclave_schemas::wire::{
    CallRefusal, DeployCall, DeployProblem, DeployRefusal, DeployState, Deployed, Issue,
};
use easyenclave_schemas::{AgentId, DeploymentId, DeploymentName, Digest, NodeSize};
use tokio::time::{Instant, timeout_at};

use super::{Refused, Shared};
use crate::auth::{Caller, authenticate};
use crate::commits::{Committed, DeskError, Wish};
use crate::manifest::{self, CallError};
use crate::world::World;

/// An answer waits so long for an agent to be told. It weighs callers that want to know against those that wait behind
/// them for nothing.
const TOLD: Duration = Duration::from_secs(2);

/// A refused change.
pub(super) struct Declined {
    refused: Refused,
    problems: Vec<DeployProblem>,
    issues: Vec<Issue>,
}

/// Commits what an owner wants to run, or tells what would come of it.
pub(super) async fn deploy(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Declined> {
    let world = &shared.world;
    let caller = authenticate(world, &headers, world.clock.now()).await?;
    let call: DeployCall = super::parse(&body)?;
    let dry_run = call.dry_run;
    let wish = wish(world, caller, call)?;
    let desk = shared.desk()?;
    let declined = |error| Declined::of(error, wish.text.as_deref());
    if dry_run {
        let foreseen = desk.foresee(world, &wish).await.map_err(declined)?;
        return Ok(Json(foreseen.answer()).into_response());
    }
    let committed = desk.commit(world, &wish).await.map_err(declined)?;
    Ok(accepted(world, &wish, committed).await)
}

/// Commits that a deployment goes.
pub(super) async fn undeploy(
    State(shared): State<Shared>,
    headers: HeaderMap,
    named: Named,
) -> Result<Response, Declined> {
    let world = &shared.world;
    let caller = authenticate(world, &headers, world.clock.now()).await?;
    let name = own(&caller, named)?;
    let wish = Wish {
        caller,
        name,
        text: None,
        version: None,
    };
    let committed = shared.desk()?.commit(world, &wish).await?;
    Ok(accepted(world, &wish, committed).await)
}

/// Owner and name in a path, which may be no text at all.
pub(super) type Named = Result<Path<(String, String)>, PathRejection>;

/// The name of a deployment of the caller's. Whose it is otherwise is nobody's business.
pub(super) fn own(caller: &Caller, named: Named) -> Result<DeploymentName, Refused> {
    let Path((owner, name)) = named.map_err(|_| not_found())?;
    match DeploymentName::new(name) {
        Ok(name) if owner == caller.owner.as_str() => Ok(name),
        _ => Err(not_found()),
    }
}

pub(super) fn not_found() -> Refused {
    let message = "there is no such deployment of this owner";
    Refused::new(StatusCode::NOT_FOUND, "deployment_not_found", message)
}

fn wish(world: &World, caller: Caller, call: DeployCall) -> Result<Wish, Declined> {
    let (name, version) = (call.app_name.clone(), call.app_version.clone());
    let fits = |text: &String| {
        (1..=100).contains(&text.chars().count()) && !text.chars().any(char::is_control)
    };
    if version.as_ref().is_some_and(|text| !fits(text)) {
        return Err(CallError::Version.into());
    }
    let spec = manifest::spec(call, &sizes(world))?;
    Ok(Wish {
        text: Some(manifest::text(&caller.owner, name.as_str(), &spec)),
        caller,
        name,
        version,
    })
}

/// The sizes that targets of the fleet have, each once.
fn sizes(world: &World) -> Vec<NodeSize> {
    let Some(revision) = world.revision() else {
        return Vec::new();
    };
    let targets = revision.desired.targets.values();
    let mut sizes: Vec<_> = targets.map(|target| target.size.clone()).collect();
    sizes.sort();
    sizes.dedup();
    sizes
}

/// The answer to what is committed: with the agent, as soon as one was told.
async fn accepted(world: &World, wish: &Wish, committed: Committed) -> Response {
    let Committed { commit, foreseen } = committed;
    let (id, held, frozen) = (wish.id(), foreseen.held, foreseen.frozen);
    let agent = match foreseen.version.filter(|_| held.is_none()) {
        Some(version) => told(world, &id, version).await,
        None => None,
    };
    let status = match (&wish.text, held, &agent) {
        _ if frozen.is_some() => DeployState::Frozen,
        (_, Some(_), _) => DeployState::Held,
        (None, None, _) => DeployState::Removing,
        (Some(_), None, Some(_)) => DeployState::Deploying,
        (Some(_), None, None) => DeployState::Pending,
    };
    let answer = Deployed {
        deployment_id: id,
        agent_id: agent,
        commit: commit.to_string(),
        status,
        held,
        frozen,
    };
    (StatusCode::ACCEPTED, Json(answer)).into_response()
}

/// An agent that has taken this version in, if one does so within the time.
async fn told(world: &World, id: &DeploymentId, version: Digest) -> Option<AgentId> {
    let deadline = Instant::now() + TOLD;
    loop {
        // Registered before looking, so that nothing is missed in between.
        let delivered = world.delivered.notified();
        tokio::pin!(delivered);
        delivered.as_mut().enable();
        let agent = runs(world, id, version);
        if agent.is_some() || timeout_at(deadline, delivered).await.is_err() {
            return agent;
        }
    }
}

fn runs(world: &World, id: &DeploymentId, version: Digest) -> Option<AgentId> {
    let records = world.journal.read();
    let mut agents = records.agents.values();
    let agent = agents.find(|agent| {
        let assigned = agent.assigned.as_ref();
        let is_it = assigned.is_some_and(|it| it.deployment == *id && it.digest == version);
        let heard = world.presence.heard(&agent.agent);
        is_it && heard.is_some_and(|heard| heard.acknowledged >= agent.generation)
    });
    agent.map(|agent| agent.agent.clone())
}

impl From<Refused> for Declined {
    fn from(refused: Refused) -> Self {
        Self {
            refused,
            problems: Vec::new(),
            issues: Vec::new(),
        }
    }
}

impl From<CallError> for Declined {
    fn from(error: CallError) -> Self {
        let code = CallRefusal::InvalidBody.code();
        Refused::new(StatusCode::BAD_REQUEST, code, error.to_string()).into()
    }
}

impl From<DeskError> for Refused {
    fn from(error: DeskError) -> Self {
        refused(&error)
    }
}

fn refused(error: &DeskError) -> Refused {
    let (status, code) = match error {
        DeskError::Denied(refused) => return refused.clone(),
        DeskError::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
        DeskError::Busy | DeskError::Moved => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        DeskError::NotFound => (StatusCode::NOT_FOUND, "deployment_not_found"),
        DeskError::ByHand(_) => (StatusCode::CONFLICT, "written_by_hand"),
        DeskError::OfOthers => (StatusCode::CONFLICT, "changes_others"),
        DeskError::Refused(_) => (StatusCode::BAD_REQUEST, "invalid_deploy"),
        DeskError::NoCapacity(_) => (StatusCode::CONFLICT, "no_capacity"),
        DeskError::NoAgent(..) => (StatusCode::NOT_FOUND, "agent_not_found"),
        DeskError::Git(_) => (StatusCode::SERVICE_UNAVAILABLE, "repository_unavailable"),
    };
    Refused::new(status, code, error.to_string())
}

impl From<DeskError> for Declined {
    fn from(error: DeskError) -> Self {
        Self::of(error, None)
    }
}

impl Declined {
    /// What became of a call that would be this document.
    fn of(error: DeskError, text: Option<&str>) -> Self {
        let refused = refused(&error);
        let told = |status| problem(status, text.unwrap_or_default());
        let (problems, issues) = match error {
            DeskError::Refused(problems) => {
                let issues = problems.iter().filter_map(conflict).collect();
                (problems.into_iter().map(told).collect(), issues)
            }
            DeskError::NoCapacity(foreseen) | DeskError::NoAgent(_, foreseen) => {
                (Vec::new(), foreseen.issues)
            }
            _ => (Vec::new(), Vec::new()),
        };
        Self {
            refused,
            problems,
            issues,
        }
    }
}

/// What is allowed and denied at once, in the codes that people know.
fn conflict(problem: &ProblemStatus) -> Option<Issue> {
    let is_one = problem.code.ends_with("-policy-conflict");
    is_one.then(|| Issue {
        code: problem.code.to_ascii_uppercase().replace('-', "_"),
        message: problem.message.clone(),
        agent_id: None,
        node_size: None,
        datacenter: None,
    })
}

/// A problem of a document, where its caller finds it.
fn problem(status: ProblemStatus, text: &str) -> DeployProblem {
    let asked = manifest::asked(text, status.line, status.column);
    DeployProblem {
        file: status.file,
        field: asked.field.map(str::to_owned),
        line: asked.line,
        column: asked.column,
        code: status.code,
        message: status.message,
    }
}

impl IntoResponse for Declined {
    fn into_response(self) -> Response {
        let body = DeployRefusal {
            code: self.refused.code,
            message: self.refused.message,
            request_id: None,
            problems: self.problems,
            issues: self.issues,
        };
        (self.refused.status, Json(body)).into_response()
    }
}

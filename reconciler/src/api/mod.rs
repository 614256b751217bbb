//! The HTTP API for agents, workers and people. Every refusal has a stable code; bodies and waits
//! are bounded, and so are connections. Handlers note what they heard and wake a pass; they decide nothing about
//! the fleet.

mod agents;
mod deploy;
mod deployments;
mod error;
mod launchers;
mod logs;
mod owners;
mod public;
mod says;
mod secrets;
mod sessions;
mod tunnel;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{FromRef, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use easyenclave_agent::serve::{BODY, BodyError, Bounds, read, serve as serve_with};
use easyenclave_schemas::wire::{CallRefusal, routes};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::commits::{Desk, DeskError};
use crate::report::Status;
use crate::world::World;

pub use error::Refused;

/// The most connections at a time. Each agent keeps one, so this is what a fleet can grow to.
const CONNECTIONS: usize = 16_384;

/// The longest body of a listing or of evidence, in bytes: 10,000 machines, or a whole event log.
const LONG_BODY: usize = 2 * 1024 * 1024;

/// So many long bodies are taken at a time: whoever sends one has proved nothing yet, and they are held in memory.
const LONG_BODIES: usize = 32;

/// A signed message may be this old, or this far ahead of our clock.
pub const WINDOW: Duration = Duration::from_secs(120);

/// What owners need beside the world: where their changes become commits, and the newest status.
pub struct Counter {
    /// Where changes become commits.
    pub desk: Arc<Desk>,
    /// The newest status.
    pub status: watch::Receiver<Option<Arc<Status>>>,
}

/// What handlers are given.
#[derive(Clone)]
struct Shared {
    world: Arc<World>,
    counter: Option<Arc<Counter>>,
}

impl FromRef<Shared> for Arc<World> {
    fn from_ref(shared: &Shared) -> Self {
        Self::clone(&shared.world)
    }
}

impl Shared {
    fn desk(&self) -> Result<&Arc<Desk>, Refused> {
        let desk = self.counter.as_ref().map(|counter| &counter.desk);
        desk.ok_or_else(|| DeskError::NotReady.into())
    }

    /// The newest status, if there is one yet.
    fn shown(&self) -> Option<Arc<Status>> {
        self.counter.as_ref()?.status.borrow().clone()
    }
}

/// Serves the API for as long as it is polled; its connections end when it is dropped. Without a counter, owners can
/// change nothing.
pub async fn serve(
    listener: TcpListener,
    world: Arc<World>,
    counter: Option<Counter>,
) -> Infallible {
    let counter = counter.map(Arc::new);
    let shared = Shared { world, counter };
    serve_with(listener, router(shared), Bounds::of(connections())).await
}

/// Half of the files that this process may open are left to everything else. Many systems let a process open far
/// more than they give it at first, so it asks for them.
fn connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = 2 * CONNECTIONS as u64;
    let more = limit.maximum.map_or(wanted, |most| most.min(wanted));
    if limit.current.is_some_and(|current| current < more) {
        let raised = Rlimit {
            current: Some(more),
            maximum: limit.maximum,
        };
        let _ = setrlimit(Resource::Nofile, raised);
    }
    let files = getrlimit(Resource::Nofile).current;
    let half = files.and_then(|files| usize::try_from(files / 2).ok());
    let connections = half.unwrap_or(CONNECTIONS).min(CONNECTIONS);
    if connections < CONNECTIONS {
        tracing::warn!(
            files,
            connections,
            "few files may be open, so few agents can be connected; raise the hard limit (ulimit -Hn)"
        );
    }
    connections
}

/// The routes.
fn router(shared: Shared) -> Router {
    Router::new()
        .route(routes::CHALLENGE, get(agents::challenge))
        .route(routes::REGISTER, post(agents::register))
        .route("/api/v1/agents/{agent}/heartbeat", post(agents::heartbeat))
        .route("/api/v1/agents/{agent}/attest", post(agents::attest))
        .route("/api/v1/agents/{agent}/secrets", post(secrets::secrets))
        .route("/api/v1/agents/{agent}/tunnel", post(tunnel::token))
        .merge(for_workers(&shared.world))
        .route(routes::ME, get(owners::me))
        .route(routes::OWNER_DEPLOY, post(deploy::deploy))
        .route(routes::DEPLOYMENTS, get(deployments::list))
        .route(
            "/api/v1/deployments/{owner}/{name}",
            get(deployments::one).delete(deploy::undeploy),
        )
        .route("/api/v1/deployments/{owner}/{name}/logs", get(logs::logs))
        .route("/healthz", get(public::healthz))
        .route("/readyz", get(public::readyz))
        .route("/metrics", get(public::metrics))
        .route(routes::OPENAPI, get(public::openapi))
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(
            Arc::new(Semaphore::new(LONG_BODIES)),
            arrive,
        ))
        .with_state(shared)
}

/// The routes of workers, each behind the launcher key.
fn for_workers(world: &Arc<World>) -> Router<Shared> {
    Router::new()
        .route(routes::CLAIM, post(launchers::claim))
        .route(
            "/api/v1/launchers/capacity/orders/{order}",
            post(launchers::update),
        )
        .route(routes::INVENTORY, post(launchers::inventory))
        .route_layer(from_fn_with_state(Arc::clone(world), launchers::admit))
}

async fn no_route() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "no_route", "no such route")
}

async fn wrong_method() -> Refused {
    let message = "the route takes another method";
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", message)
}

/// Waits for the whole request, so that no handler depends on how slowly somebody sends.
async fn arrive(
    State(long): State<Arc<Semaphore>>,
    request: Request,
    next: Next,
) -> Result<Response, Refused> {
    let (head, body) = request.into_parts();
    let is_short = body
        .size_hint()
        .upper()
        .is_some_and(|size| size <= BODY as u64);
    let _turn = match is_short {
        true => None,
        false => Some(long.try_acquire_owned().map_err(|_| busy())?),
    };
    let most = longest(head.uri.path());
    let body = read(body, if is_short { BODY } else { most }).await?;
    Ok(next.run(Request::from_parts(head, Body::from(body))).await)
}

fn busy() -> Refused {
    let message = "too many long messages at a time; try again";
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
}

/// Listings of many machines, and evidence with an event log, are long; nothing else is.
fn longest(path: &str) -> usize {
    let is_long =
        path == routes::INVENTORY || path == routes::REGISTER || path.ends_with("/attest");
    if is_long { LONG_BODY } else { BODY }
}

impl From<BodyError> for Refused {
    fn from(error: BodyError) -> Self {
        let (status, reason) = match error {
            BodyError::TooLong(_) => (StatusCode::PAYLOAD_TOO_LARGE, CallRefusal::BodyTooLong),
            BodyError::TooSlow => (StatusCode::REQUEST_TIMEOUT, CallRefusal::BodyTooSlow),
        };
        Self::new(status, reason.code(), error.to_string())
    }
}

/// A message of the shape that a route takes.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("the body cannot be read: {error}");
        Refused::new(
            StatusCode::BAD_REQUEST,
            CallRefusal::InvalidBody.code(),
            message,
        )
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Says to this program that it is the process with few files.
    const FEW: &str = "EASYENCLAVE_TEST_FEW_FILES";

    /// What a process that may open so many files at first, and so many at most, answers.
    fn bounded(first: u64, most: u64) -> String {
        let limits = format!("ulimit -Sn {first} && ulimit -Hn {most} && exec \"$0\" \"$@\"");
        let program = std::env::current_exe().expect("this program");
        let test = "api::tests::the_limit_of_open_files_is_raised_as_far_as_it_goes";
        let mut command = Command::new("sh");
        command.args(["-c", &limits]).arg(program);
        command.args(["--exact", test, "--nocapture"]).env(FEW, "1");
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = said.lines().find_map(|line| line.split("files: ").nth(1));
        line.unwrap_or(&said).to_owned()
    }

    #[test]
    fn the_limit_of_open_files_is_raised_as_far_as_it_goes() {
        if std::env::var_os(FEW).is_some() {
            let connections = connections();
            let files = getrlimit(Resource::Nofile).current;
            println!("files: {} for {connections}", files.unwrap_or_default());
            return;
        }
        let enough = 2 * CONNECTIONS as u64;
        let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(enough);
        let most = hard.min(enough);
        assert_eq!(bounded(64, hard), format!("{most} for {}", most / 2));
        assert_eq!(bounded(64, 500), "500 for 250", "no further than it may");
    }
}

//! The HTTP API for agents, workers and people. Every refusal has a stable code; bodies and waits
//! are bounded, and so are connections. Handlers note what they heard and wake a pass; they decide nothing about
//! the fleet.

mod agents;
mod error;
mod launchers;
mod public;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};
use easyenclave_agent::serve::{BODY, BodyError, Bounds, read, serve as serve_with};
use easyenclave_schemas::wire::{CallRefusal, routes};
use rustix::process::{Resource, getrlimit};
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;

use crate::world::World;

pub use error::Refused;

/// The most connections at a time. Each agent keeps one, so this is what a fleet can grow to.
const CONNECTIONS: usize = 16_384;

/// The longest body of a listing or of evidence, in bytes: 10,000 machines, or a whole event log.
const LONG_BODY: usize = 2 * 1024 * 1024;

/// A signed message may be this old, or this far ahead of our clock.
pub const WINDOW: Duration = Duration::from_secs(120);

/// Serves the API for as long as it is polled; its connections end when it is dropped.
pub async fn serve(listener: TcpListener, world: Arc<World>) -> Infallible {
    serve_with(listener, router(world), Bounds::of(connections())).await
}

/// Half of the files that this process may open are left to everything else.
fn connections() -> usize {
    let files = getrlimit(Resource::Nofile).current;
    let half = files.and_then(|files| usize::try_from(files / 2).ok());
    half.unwrap_or(CONNECTIONS).min(CONNECTIONS)
}

/// The routes.
fn router(world: Arc<World>) -> Router {
    Router::new()
        .route(routes::CHALLENGE, get(agents::challenge))
        .route(routes::REGISTER, post(agents::register))
        .route("/api/v1/agents/{agent}/heartbeat", post(agents::heartbeat))
        .route("/api/v1/agents/{agent}/attest", post(agents::attest))
        .route(routes::CLAIM, post(launchers::claim))
        .route(
            "/api/v1/launchers/capacity/orders/{order}",
            post(launchers::update),
        )
        .route(routes::INVENTORY, post(launchers::inventory))
        .route("/healthz", get(public::healthz))
        .route("/readyz", get(public::readyz))
        .route("/metrics", get(public::metrics))
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(arrive))
        .with_state(world)
}

async fn no_route() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "no_route", "no such route")
}

async fn wrong_method() -> Refused {
    let message = "the route takes another method";
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", message)
}

/// Waits for the whole request, so that no handler depends on how slowly somebody sends.
async fn arrive(request: Request, next: Next) -> Result<Response, Refused> {
    let (head, body) = request.into_parts();
    let body = read(body, longest(head.uri.path())).await?;
    Ok(next.run(Request::from_parts(head, Body::from(body))).await)
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

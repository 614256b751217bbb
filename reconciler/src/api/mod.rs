//! The HTTP API for agents, workers and people. Every refusal has a stable code; bodies and waits
//! are bounded. Handlers note what they heard and wake a pass; they decide nothing about the fleet.

mod agents;
mod error;
mod launchers;
mod public;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use easyenclave_schemas::wire::routes;

use crate::world::World;

pub use error::Refused;

/// The largest body that is read. A quote is the largest thing that anybody sends.
const BODY: usize = 256 * 1024;

/// A signed message may be this old, or this far ahead of our clock.
pub const WINDOW: Duration = Duration::from_secs(120);

/// The routes.
pub fn router(world: Arc<World>) -> Router {
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
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(world)
}

//! The route on which agents ask for the secrets of what they run. It proves who asks, once for each request; who may have
//! them is decided elsewhere.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use easyenclave_schemas::wire::{SecretsRequest, routes};

use super::agents::{find, note, sign, verified};
use super::{Refused, parse};
use crate::secrets;
use crate::world::World;

/// Gives an agent its secrets, sealed to the key that it asks with.
pub(super) async fn secrets(
    State(world): State<Arc<World>>,
    Path(agent): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let now = world.clock.now();
    let record = find(&world, agent)?;
    let path = routes::secrets(&record.agent);
    let verified = verified(&world, &record, &path, &headers, &body, now)?;
    let admitted = world.releases.admit(&record.agent, &verified, now);
    admitted.map_err(|refused| note(&world, record.agent.as_str(), refused))?;
    let request: SecretsRequest = parse(&body)?;
    let answer = secrets::release(&world, &record.agent, &request, now).await?;
    Ok(sign(&world.keypair, &answer, &verified, now))
}

//! The token of an agent's tunnel: given to the agent that is trusted now and that something is published on, sealed for its one
//! request, and kept nowhere.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use easyenclave_schemas::records::AgentRecord;
use easyenclave_schemas::sealed::{Case, seal};
use easyenclave_schemas::signature::PublicKey;
use easyenclave_schemas::wire::{TunnelRequest, TunnelToken, routes};
use easyenclave_schemas::{Generation, Timestamp};

use super::agents::{find, note, sign, verified};
use super::{Refused, parse};
use crate::revision::Policies;
use crate::tunnels::{NotNow, is_trusted};
use crate::world::World;

/// What the answer is for; see [`Case::what`].
const TUNNEL: &str = "tunnel";

pub(super) async fn token(
    State(world): State<Arc<World>>,
    Path(agent): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let now = world.clock.now();
    let record = find(&world, agent)?;
    let path = routes::tunnel(&record.agent);
    let verified = verified(&world, &record, &path, &headers, &body, now)?;
    let request: TunnelRequest = parse(&body)?;
    let refused = |refused: Refused| note(&world, record.agent.as_str(), refused);
    is_entitled(&world, &record, &request, now).map_err(refused)?;
    let by = world
        .ways
        .give(&record.agent, request.version, now)
        .map_err(not_now)?;
    let token = by.token(&record.agent).await.map_err(|error| {
        let error = error.to_string();
        tracing::warn!(agent = %record.agent, error, "no token for a tunnel");
        not_yet("the token of the tunnel cannot be read now")
    })?;
    let token = token.ok_or_else(|| not_yet("there is no such tunnel"))?;
    // Asking for it takes its time, in which the world may have moved on.
    let now = world.clock.now();
    let record = find(&world, record.agent.to_string())?;
    is_entitled(&world, &record, &request, now).map_err(refused)?;
    let key: PublicKey = record
        .public_key
        .parse()
        .map_err(|_| not_yet("the agent's key cannot be read"))?;
    let case = Case {
        what: TUNNEL,
        agent: &record.agent,
        key: &key,
        generation: Generation::default(),
    };
    let plain = serde_json::to_vec(&TunnelToken { token }).expect("a token is plain data");
    let answer = seal(&request.public_key, &case, plain).map_err(|error| {
        Refused::new(StatusCode::BAD_REQUEST, "invalid_body", error.to_string())
    })?;
    tracing::info!(agent = %record.agent, "token of a tunnel given out");
    Ok(sign(&world.keypair, &answer, &verified, now))
}

/// Trusted now by the policy in force, in this boot, and published.
fn is_entitled(
    world: &World,
    record: &AgentRecord,
    request: &TunnelRequest,
    now: Timestamp,
) -> Result<(), Refused> {
    let heard = world.presence.heard(&record.agent);
    let is_this_boot = request.boot_id == record.boot_id
        && heard.is_some_and(|heard| heard.boot_id == record.boot_id);
    let revision = world.revision();
    let is_trusted = revision
        .is_some_and(|revision| is_trusted(world, &mut Policies::new(&revision), record, now));
    let is_published = record.exposed.is_some() && record.quarantined.is_none();
    match is_this_boot && is_trusted && is_published {
        true => Ok(()),
        false => {
            let message = "the agent has no tunnel: it is not trusted in this boot now, or nothing is published on it";
            Err(Refused::new(
                StatusCode::FORBIDDEN,
                "tunnel_refused",
                message,
            ))
        }
    }
}

fn not_now(why: NotNow) -> Refused {
    match why {
        NotNow::Unknown => Refused::new(
            StatusCode::CONFLICT,
            "tunnel_unknown",
            "the agent has no such tunnel",
        ),
        NotNow::TooOften => Refused::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_often",
            "the token was given out just now",
        ),
    }
}

fn not_yet(message: &str) -> Refused {
    Refused::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "tunnel_unavailable",
        message,
    )
}

//! Sessions: an agent that has proved its key agrees with us on another one, and signs its heartbeats with that.
//! Sessions lie in memory only; one that is not known any more is asked for anew.

use axum::http::{HeaderMap, StatusCode};
use easyenclave_schemas::Timestamp;
use easyenclave_schemas::records::AgentRecord;
use easyenclave_schemas::signature::{
    Session, SessionOffer, SignatureError, Verified, is_in_session, verify_request,
};

use super::agents::{note, signature_error};
use super::{Refused, WINDOW};
use crate::world::World;

/// The code of a refusal that is nobody's fault.
const UNKNOWN: &str = "session_unknown";

/// The session that a heartbeat says it is signed in, if it does. A session ends with the key that agreed on it.
pub(super) fn of(
    world: &World,
    record: &AgentRecord,
    headers: &HeaderMap,
) -> Result<Option<Session>, Refused> {
    if !is_in_session(headers) {
        return Ok(None);
    }
    let session = world.presence.session(&record.agent);
    let session = session.filter(|session| record.public_key == session.agent().to_string());
    session.map(Some).ok_or_else(unknown)
}

/// Verifies a heartbeat in its session.
pub(super) fn verified(
    session: &Session,
    path: &str,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Verified, Refused> {
    verify_request(session, "POST", path, body, headers, now, WINDOW).map_err(|error| match error {
        SignatureError::WrongKey => unknown(),
        error => signature_error(&error),
    })
}

/// A refusal in a session is told as any other, unless the session is not known.
pub(super) fn noted(world: &World, record: &AgentRecord, refused: Refused) -> Refused {
    match refused.code == UNKNOWN {
        true => refused,
        false => note(world, record.agent.as_str(), refused),
    }
}

/// Agrees on a session with an agent that has proved its key and asks for one. Answers our half of the exchange.
pub(super) fn agreed(world: &World, record: &AgentRecord, asked: &str) -> Option<String> {
    let offer = SessionOffer::new().ok()?;
    let half = offer.public().to_owned();
    let key = record.public_key.parse().ok()?;
    let session = offer.answered(asked, &key).ok()?;
    world.presence.agreed(&record.agent, session);
    Some(half)
}

/// Not told as a refusal of the agent: when a reconciler is started again, all agents are in a session of before.
fn unknown() -> Refused {
    let message = "no such session: sign with the agent's own key, and ask for a new one";
    Refused::new(StatusCode::UNAUTHORIZED, UNKNOWN, message)
}

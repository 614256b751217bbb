//! Agents: challenge, registration, heartbeats, fresh evidence. Requests are signed with the agent's
//! key and answers with ours, heartbeats within a session; what cannot be verified changes nothing.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use easyenclave_schemas::evidence::{ReasonCode, Rejection};
use easyenclave_schemas::records::{AgentRecord, OrderPhase, OrderRecord, TrustRecord};
use easyenclave_schemas::signature::{
    PublicKey, SignatureError, Signs, Verified, sign_response, verify_request,
};
use easyenclave_schemas::wire::{
    AttestRequest, CallRefusal, Challenge, HeartbeatRequest, HeartbeatResponse, RegisterRequest,
    RegisterResponse, WorkloadReport, routes,
};
use easyenclave_schemas::{AgentId, Generation, OrderId, Timestamp};
use serde::{Deserialize, Serialize};

use super::says::Says;
use super::{Refused, WINDOW, parse, sessions};
use crate::observe::HEARTBEAT;
use crate::origin::is_origin;
use crate::presence::Beat;
use crate::world::World;
use crate::{join, stages, trust};

/// The longest name of a boot, in bytes.
const BOOT_ID: usize = 100;

/// Whose challenge is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct For {
    /// The launch order of the agent that asks; its policy may want a nonce of Intel Trust Authority.
    order: Option<String>,
}

/// The part of the time of trust after which an agent may renew it by itself; agents begin at half of it.
const EARLIEST_RENEWAL: f64 = 0.4;

/// A nonce, for anybody: issuing one stores nothing.
pub(super) async fn challenge(
    State(world): State<Arc<World>>,
    Query(wanted): Query<For>,
) -> Result<Response, Refused> {
    let order = wanted.order.and_then(|order| OrderId::new(order).ok());
    let now = world.clock.now();
    let record =
        order.and_then(|order| join::find_order(&world, &world.journal.read(), &order, now));
    let record = record.filter(|record| may_attest(&world, record, now));
    if let Some(record) = &record {
        stages::booted(&world, record, now).await;
    }
    let issued = issued(&world, record.as_deref()).await;
    if let (Some(record), Err(rejection)) = (&record, &issued) {
        join::note(&world, &record.order, Some(rejection));
    }
    Ok(axum::Json(issued?).into_response())
}

async fn issued(world: &World, record: Option<&OrderRecord>) -> Result<Challenge, Rejection> {
    let applied = record.map(|record| join::policy_for(world, record));
    let policy = applied.transpose()?.map(|applied| applied.policy);
    let order = record.map(|record| &record.order);
    trust::issue(world, order, policy.as_ref()).await
}

/// Whether the agent of this order may be about to register or to renew its trust, so that a nonce of the Trust Authority
/// is fetched for it: strangers know the names of orders, and each nonce takes from our allowance.
fn may_attest(world: &World, record: &OrderRecord, now: Timestamp) -> bool {
    match record.state {
        OrderPhase::Claimed | OrderPhase::Provisioning => true,
        OrderPhase::Fulfilled => may_renew(world, &record.order.agent(), now),
        OrderPhase::Open | OrderPhase::Failed(_) | OrderPhase::Cancelled => false,
    }
}

/// Agents renew their trust when half of its time is over, or after another boot; the clocks may differ somewhat. Whoever
/// was not heard of may not know yet that it is registered.
fn may_renew(world: &World, agent: &AgentId, now: Timestamp) -> bool {
    let record = world.journal.read().agents.get(agent).cloned();
    let (Some(record), Some(heard)) = (record, world.presence.heard(agent)) else {
        return true;
    };
    match &record.trust {
        TrustRecord::Accepted(verdict) => {
            let life = verdict.trusted_until.since(verdict.accepted_at);
            let early = verdict.accepted_at.plus(life.mul_f64(EARLIEST_RENEWAL));
            now >= early || heard.boot_id != record.boot_id
        }
        TrustRecord::Refused { .. } => true,
    }
}

/// Takes an agent in, or says why not.
pub(super) async fn register(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let now = world.clock.now();
    let mut request: RegisterRequest = parse(&body)?;
    let subject = subject(&world, &request.order_id, now);
    let refused = |refused: Refused| note(&world, &subject, refused);
    let key: PublicKey = request
        .public_key
        .parse()
        .map_err(|_| signature_refused("key"))?;
    let signed = Signed {
        key: &key,
        path: routes::REGISTER,
        headers: &headers,
        body: &body,
    };
    let verified = signed.verify(now).map_err(refused)?;
    plain(&request.address, None, &request.boot_id).map_err(refused)?;
    bound(&world, &mut request.workload, None);
    let agent_id = request.order_id.agent();
    let verdict = join::register(&world, request, now)
        .await
        .map_err(|rejection| audited(&world, &subject, rejection))?;
    let answer = RegisterResponse {
        agent_id,
        heartbeat_millis: millis(HEARTBEAT),
        epoch: world.epoch,
        verdict,
    };
    Ok(sign(&world.keypair, &answer, &verified, now))
}

/// What a refusal is about. Nobody has proved anything yet, so only an order that is known here is named: whoever makes
/// names up gets one line for all of them.
fn subject(world: &World, order: &OrderId, now: Timestamp) -> String {
    match join::find_order(world, &world.journal.read(), order, now) {
        Some(known) => known.order.to_string(),
        None => "an unknown order".into(),
    }
}

/// Notes that an agent is alive and what runs on it.
pub(super) async fn heartbeat(
    State(world): State<Arc<World>>,
    Path(agent): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let now = world.clock.now();
    let record = find(&world, agent)?;
    let path = routes::heartbeat(&record.agent);
    let session = sessions::of(&world, &record, &headers)?;
    let verified = match &session {
        Some(session) => sessions::verified(session, &path, &headers, &body, now)
            .map_err(|refused| sessions::noted(&world, &record, refused)),
        None => verified(&world, &record, &path, &headers, &body, now),
    }?;
    let mut beat: HeartbeatRequest = parse(&body)?;
    if !is_possible(&beat) {
        return Err(note(&world, record.agent.as_str(), wrong_generation()));
    }
    plain(&beat.address, Some(&record.address), &beat.boot_id)
        .map_err(|refused| note(&world, record.agent.as_str(), refused))?;
    let url = world.presence.url(&record.agent);
    bound(&world, &mut beat.workload, url);
    let says = Says::of(&mut beat).news(&record);
    let refusals = world.presence.new_refusals(&record.agent, &beat);
    let tunnel = world.ways.order(&record, beat.connector.as_ref(), now);
    let asked_for = beat.session.take().filter(|_| session.is_none());
    match world.presence.heartbeat(&record.agent, beat, now) {
        Beat::Same => {}
        Beat::News => world.wake.notify_one(),
        Beat::Replayed => {
            let refused = Rejection::from(ReasonCode::MessageReplayed).into();
            return Err(note(&world, record.agent.as_str(), refused));
        }
    }
    if let Some(says) = says {
        says.keep(&world, &record).await?;
    }
    for reason in refusals {
        let message = "the agent refused a call of its own API";
        world.refuse(reason.code(), record.agent.as_str(), message);
    }
    let trusted_until = match &record.trust {
        TrustRecord::Accepted(verdict) => Some(verdict.trusted_until),
        TrustRecord::Refused { .. } => None,
    };
    let answer = HeartbeatResponse {
        epoch: world.epoch,
        heartbeat_millis: millis(HEARTBEAT),
        challenge: asked(&world, &record).await,
        trusted_until,
        session: asked_for.and_then(|half| sessions::agreed(&world, &record, &half)),
        tunnel,
    };
    Ok(match &session {
        Some(session) => sign(session, &answer, &verified, now),
        None => sign(&world.keypair, &answer, &verified, now),
    })
}

/// Where an agent answers is an origin, and its boot a short word. The address of before was looked at before.
fn plain(address: &str, before: Option<&str>, boot_id: &str) -> Result<(), Refused> {
    let refused = |message: &str| {
        let code = CallRefusal::InvalidBody.code();
        Err(Refused::new(StatusCode::BAD_REQUEST, code, message))
    };
    let is_plain = before == Some(address) || is_origin(address);
    match (is_plain, boot_id.len() <= BOOT_ID) {
        (false, _) => refused("the address is not http(s)://host:port of at most 200 bytes"),
        (_, false) => refused("the boot id is longer than 100 bytes"),
        (true, true) => Ok(()),
    }
}

/// What an agent says of its workload goes to the status branch: a text of some length, and an origin or nothing. The
/// url of before was looked at before. Before there is a revision nobody knows which images should run: the first pass looks.
fn bound(world: &World, workload: &mut Option<WorkloadReport>, before: Option<String>) {
    let Some(workload) = workload else { return };
    workload.bound();
    if let Some(revision) = world.revision() {
        world.judge_images(&world.journal.read(), &revision, workload);
    }
    if workload.url != before {
        workload.url = workload.url.take().filter(|url| is_origin(url));
    }
}

/// No reconciler gives so many instructions. An agent that claims to have taken in more cannot be instructed, so it
/// is not heard, and what is not heard is replaced.
const MOST_INSTRUCTIONS: Generation = Generation(1 << 48);

/// Whether the numbers in a heartbeat can have come from instructions.
fn is_possible(beat: &HeartbeatRequest) -> bool {
    let workload = beat.workload.as_ref().map(|report| report.generation);
    beat.generation.max(workload.unwrap_or_default()) <= MOST_INSTRUCTIONS
}

fn wrong_generation() -> Refused {
    let message = "the agent claims instructions that nobody gave";
    Refused::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "wrong_generation",
        message,
    )
}

/// The challenge for an agent that should attest again. None when the Trust Authority gives no nonce: the
/// next heartbeat asks again.
async fn asked(world: &World, record: &AgentRecord) -> Option<Challenge> {
    world.challenged(&record.agent)?;
    let revision = world.revision()?;
    let applied = trust::agent_policy(&revision, record).ok()?;
    let issued = trust::issue(world, Some(&record.agent.order()), Some(&applied.policy)).await;
    issued
        .map_err(|rejection| {
            world.refuse(
                rejection.code.code(),
                record.agent.as_str(),
                &rejection.message,
            )
        })
        .ok()
}

/// Judges an agent's fresh evidence.
pub(super) async fn attest(
    State(world): State<Arc<World>>,
    Path(agent): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let now = world.clock.now();
    let record = find(&world, agent)?;
    let path = routes::attest(&record.agent);
    let verified = verified(&world, &record, &path, &headers, &body, now)?;
    let request: AttestRequest = parse(&body)?;
    let verdict = trust::attest(&world, &record, request, now)
        .await
        .map_err(|rejection| audited(&world, record.agent.as_str(), rejection))?;
    Ok(sign(&world.keypair, &verdict, &verified, now))
}

struct Signed<'a> {
    key: &'a PublicKey,
    path: &'a str,
    headers: &'a HeaderMap,
    body: &'a [u8],
}

impl Signed<'_> {
    fn verify(&self, now: Timestamp) -> Result<Verified, Refused> {
        verify_request(
            self.key,
            "POST",
            self.path,
            self.body,
            self.headers,
            now,
            WINDOW,
        )
        .map_err(|error| signature_error(&error))
    }
}

pub(super) fn verified(
    world: &World,
    record: &AgentRecord,
    path: &str,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Verified, Refused> {
    let key: PublicKey = record
        .public_key
        .parse()
        .map_err(|_| signature_refused("key"))?;
    let signed = Signed {
        key: &key,
        path,
        headers,
        body,
    };
    signed
        .verify(now)
        .map_err(|refused| note(world, record.agent.as_str(), refused))
}

pub(super) fn find(world: &World, agent: String) -> Result<Arc<AgentRecord>, Refused> {
    let unknown = || Refused::new(StatusCode::NOT_FOUND, "agent_not_found", "no such agent");
    let agent = AgentId::new(agent).map_err(|_| unknown())?;
    world
        .journal
        .read()
        .agents
        .get(&agent)
        .cloned()
        .ok_or_else(unknown)
}

pub(super) fn note(world: &World, subject: &str, refused: Refused) -> Refused {
    world.refuse(&refused.code, subject, &refused.message);
    refused
}

/// A refusal that the audit log has told.
fn audited(world: &World, subject: &str, rejection: Rejection) -> Refused {
    world.report(rejection.code.code(), subject, &rejection.stamped());
    rejection.into()
}

fn signature_refused(what: &str) -> Refused {
    let message = format!("the {what} is not an Ed25519 public key in 64 hex digits");
    Refused::new(
        StatusCode::UNAUTHORIZED,
        ReasonCode::SignatureInvalid.code(),
        message,
    )
}

pub(super) fn signature_error(error: &SignatureError) -> Refused {
    let code = match error {
        SignatureError::TooOld | SignatureError::FromFuture => ReasonCode::MessageReplayed,
        _ => ReasonCode::SignatureInvalid,
    };
    Refused::new(StatusCode::UNAUTHORIZED, code.code(), error.to_string())
}

pub(super) fn sign<T: Serialize>(
    key: &impl Signs,
    answer: &T,
    request: &Verified,
    now: Timestamp,
) -> Response {
    let body = serde_json::to_vec(answer).expect("an answer is plain data");
    let headers = sign_response(key, StatusCode::OK.as_u16(), &body, request, now);
    let mut response = body.into_response();
    for (name, value) in headers {
        // From the text itself, which is not copied.
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! Unknown images on trusted platforms: a bounded list, once per policy, size and image. It only remembers; to
//! trust one is a person's commit.

use std::sync::{Arc, Mutex, PoisonError};

use easyenclave_attestation::{Case, EventLog, Reference, sight};
use easyenclave_schemas::OrderId;
use easyenclave_schemas::evidence::{MeasurementDigest, ReasonCode, Rejection, Verdict};
use easyenclave_schemas::records::{AgentRecord, TrustRecord};
use easyenclave_schemas::status::Sighting;
use tokio::task::spawn_blocking;

use super::Exhibit;
use crate::revision::{Applied, Revision};
use crate::world::World;

/// So many are kept, the first ones: a flood of images does not push out what a person is looking at.
const MOST: usize = 16;

/// So many events are shown of a log.
const EVENTS: usize = 40;

/// The sightings; a reconciler that starts goes on from those on the status branch.
#[derive(Debug, Default)]
pub struct Sightings(Mutex<Vec<Sighting>>);

impl Sightings {
    /// Notes a sighting. Tells whether it is a new one.
    pub fn note(&self, sighting: Sighting) -> bool {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &Sighting| {
            (&known.policy, &known.node_size, known.mrtd, known.rtmrs)
                == (
                    &sighting.policy,
                    &sighting.node_size,
                    sighting.mrtd,
                    sighting.rtmrs,
                )
        };
        if list.len() == MOST || list.iter().any(same) {
            return false;
        }
        list.push(sighting);
        true
    }

    /// Goes on from those that were reported.
    pub fn recall(&self, reported: &[Sighting]) {
        for sighting in reported {
            self.note(sighting.clone());
        }
    }

    /// Whether no look is needed: there is no room, or an image that shows this is noted.
    fn knows(&self, applied: &Applied, shown: &Verdict) -> bool {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &Sighting| {
            (&known.policy, &known.node_size, known.mrtd, known.rtmrs)
                == (
                    &applied.name,
                    &applied.document.node_size,
                    shown.mrtd,
                    shown.rtmrs,
                )
        };
        list.len() == MOST || list.iter().any(same)
    }

    /// The list, oldest first.
    pub fn list(&self) -> Vec<Sighting> {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.clone()
    }

    /// Forgets those that `known` knows by now.
    pub fn retain(&self, unknown: impl Fn(&Sighting) -> bool) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(unknown);
    }
}

/// Notes what refused evidence shows, when it was refused for its measurements alone.
pub(super) async fn look(
    world: &World,
    order: &OrderId,
    exhibit: Arc<Exhibit>,
    applied: Arc<Applied>,
    rejection: &Rejection,
) {
    if !matches!(
        rejection.code,
        ReasonCode::MrtdUntrusted | ReasonCode::RtmrMismatch
    ) {
        return;
    }
    let refused = rejection.to_string();
    let order = order.clone();
    let seen = spawn_blocking(move || seen(&exhibit, &order, &applied, refused)).await;
    if let Ok(Some(sighting)) = seen
        && world.sightings.note(sighting)
    {
        world.wake.notify_one();
    }
}

/// The same of kept evidence that a changed policy refuses. Agents of one image are looked at once.
pub(super) async fn look_again(
    world: &World,
    agent: &AgentRecord,
    exhibit: Arc<Exhibit>,
    applied: Arc<Applied>,
    rejection: &Rejection,
) {
    let known = match &agent.trust {
        TrustRecord::Accepted(verdict) => world.sightings.knows(&applied, verdict),
        TrustRecord::Refused { .. } => false,
    };
    if !known {
        let order = agent.agent.order();
        look(world, &order, exhibit, applied, rejection).await;
    }
}

/// Forgets sightings that their policies trust by now, and those of policies that are gone.
pub fn forget_trusted(world: &World, revision: &Revision) {
    world.sightings.retain(|sighting| {
        let Ok(applied) = revision.policy(&sighting.policy, &sighting.node_size) else {
            return revision.policies.contains_key(&sighting.policy);
        };
        !applied
            .policy
            .references
            .iter()
            .any(|known| is_trusted(sighting, known))
    });
}

fn is_trusted(sighting: &Sighting, known: &Reference) -> bool {
    let same =
        |wanted: Option<MeasurementDigest>, found| wanted.is_none_or(|wanted| wanted == found);
    let logged = |(rtmr, digest): &(usize, MeasurementDigest)| {
        let event = format!("RTMR{rtmr} {digest} ");
        sighting.events.iter().any(|seen| seen.starts_with(&event))
    };
    known.mrtd == sighting.mrtd
        && same(known.mrseam, sighting.mrseam)
        && same(known.mrconfigid, sighting.mrconfigid)
        && known
            .rtmrs
            .iter()
            .zip(sighting.rtmrs)
            .all(|(wanted, found)| same(*wanted, found))
        && known.events.iter().all(logged)
}

fn seen(
    exhibit: &Exhibit,
    order: &OrderId,
    applied: &Applied,
    refused: String,
) -> Option<Sighting> {
    let binding = exhibit.binding.parse().ok()?;
    let verdict = sight(&Case {
        evidence: &exhibit.evidence,
        binding: &binding,
        nonce: exhibit.nonce_failure.map_or(Ok(()), Err),
        collateral: exhibit.collateral.as_ref(),
        token_keys: exhibit.token_keys.as_ref(),
        policy: &applied.policy,
        now: exhibit.at,
    })?;
    Some(Sighting {
        agent: order.to_string(),
        policy: applied.name.clone(),
        node_size: applied.document.node_size.clone(),
        simulated: verdict.simulated,
        refused,
        mrtd: verdict.mrtd,
        mrseam: verdict.mrseam,
        mrconfigid: verdict.mrconfigid,
        rtmrs: verdict.rtmrs,
        events: events(exhibit, &verdict),
        first_at: exhibit.at.trunc_secs(),
    })
}

/// The log in words, when its replay gives what the quote holds.
fn events(exhibit: &Exhibit, verdict: &Verdict) -> Vec<String> {
    let log = exhibit.evidence.event_log.as_ref();
    let Some(log) = log.and_then(|log| EventLog::parse(log.as_bytes()).ok()) else {
        return Vec::new();
    };
    if log.replay()[..3] != verdict.rtmrs[..3] {
        return Vec::new();
    }
    let measured = log.events().filter_map(|event| Some((event.rtmr?, event)));
    measured
        .take(EVENTS)
        .map(|(rtmr, event)| format!("RTMR{rtmr} {} {}", event.digest, event.words()))
        .collect()
}

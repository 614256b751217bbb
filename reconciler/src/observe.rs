//! Observes: records, heartbeats and listings become the planner's model of the world.
//! What was not heard is unknown; only a worker's own complete listing proves a machine gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use easyenclave_plan::{
    Agent, Assigned, Exposure, LaunchOrder, Liveness, Observed, OrderState, Quarantine, Remedy,
    Replica, Reported, RetireOrder, Trust,
};
use easyenclave_schemas::evidence::ReasonCode;
use easyenclave_schemas::records::{
    AgentRecord, OrderPhase, OrderRecord, QuarantineRecord, TrustRecord, WorkRecord,
};
use easyenclave_schemas::{Datacenter, Digest, OrderId, ProviderName, Timestamp, WorkerId};

use crate::holds::Holds;
use crate::journal::Records;
use crate::presence::{Heard, Listing, SILENT_AFTER};
use crate::revision::{Policies, Revision};
use crate::shortages::shortages;
use crate::world::World;
use crate::{orphans, rollouts, tunnels};

/// Agents send a heartbeat this often.
pub const HEARTBEAT: Duration = Duration::from_secs(2);

/// The world as it is known now.
pub fn observe(world: &World, revision: &Revision, now: Timestamp) -> Observed {
    let listings = world.presence.listings();
    let unknown = orphans::unknown(&world.journal.read(), &listings);
    let homes = world.recall.look(revision, unknown);
    let records = world.journal.read();
    let judge = |report: &mut _| world.judge_images(&records, revision, report);
    world.presence.judge(judge);
    let retires = retires(&records);
    let holds = Holds {
        presence: &world.presence,
        revision,
        now,
    };
    let mut policies = Policies::new(revision);
    let rollouts = rollouts::facts(&records, revision);
    let sight = Sight {
        world,
        records: &records,
        listings: &listings,
        now,
    };
    let (mut agents, mut unlisted) = (BTreeMap::new(), BTreeSet::new());
    for record in records.agents.values() {
        let trust = trust(&mut policies, record, now);
        let mut agent = sight.agent(record, trust);
        rollouts::forget_when_proved(&mut agent, revision, &rollouts);
        if agent.liveness == Liveness::Heard && sight.proof(record) == Proof::Missing {
            unlisted.insert(record.agent.clone());
        }
        agents.insert(record.agent.clone(), agent);
    }
    Observed {
        agents,
        unlisted,
        launches: launches(&records, &holds),
        retires,
        orphans: orphans::orphans(revision, &records, &listings, &homes, now),
        spent: world.spent.all(),
        unheard: unheard(world, revision, &listings, now),
        shortages: shortages(&records, now),
        fronts: tunnels::fronts(world, revision, &records),
        rollouts,
    }
}

/// Places of targets where no worker has listed its machines now.
pub(crate) fn unheard_places(
    world: &World,
    revision: &Revision,
    now: Timestamp,
) -> BTreeSet<(ProviderName, Datacenter)> {
    unheard(world, revision, &world.presence.listings(), now)
}

/// The same by these listings.
fn unheard(
    world: &World,
    revision: &Revision,
    listings: &BTreeMap<WorkerId, Listing>,
    now: Timestamp,
) -> BTreeSet<(ProviderName, Datacenter)> {
    let targets = revision.desired.targets.values();
    let places = targets.flat_map(easyenclave_plan::Target::places);
    let heard = |(provider, datacenter): &(ProviderName, Datacenter)| {
        let here =
            |listing: &Listing| listing.provider == *provider && listing.datacenter == *datacenter;
        listings.values().any(here) && !world.presence.awaits_others(now)
    };
    places.filter(|place| !heard(place)).collect()
}

/// What listings say against an agent's machine.
#[derive(PartialEq, Eq)]
enum Proof {
    Nothing,
    /// It is not in them. They may be of another world, by a worker that was started with the settings of another fleet: whoever
    /// is heard is not gone because a list lacks it.
    Missing,
    /// It is there, and does not work.
    Dead,
}

/// What tells of agents.
struct Sight<'a> {
    world: &'a World,
    records: &'a Records,
    listings: &'a BTreeMap<WorkerId, Listing>,
    now: Timestamp,
}

impl Sight<'_> {
    fn agent(&self, record: &AgentRecord, trust: Trust) -> Agent {
        let (world, now) = (self.world, self.now);
        let heard = world.presence.heard(&record.agent);
        let boot = heard.as_ref().map(|heard| heard.boot_id.as_str());
        let trust = of_boot(trust, &record.boot_id, boot, now);
        Agent {
            target: record.target.clone(),
            slot: record.slot,
            datacenter: record.datacenter.clone(),
            size: record.size.clone(),
            runtimes: record.runtimes.iter().copied().collect(),
            liveness: self.liveness(record, heard.as_ref()),
            trust,
            attested: Some(record.trust.shown_at()),
            remedy: remedy(world, record, trust, boot),
            challenged: world.challenged(&record.agent),
            quarantined: record.quarantined.map(|reason| match reason {
                QuarantineRecord::TrustLapsed => Quarantine::TrustLapsed,
                QuarantineRecord::Refused => Quarantine::Refused,
            }),
            generation: record.generation,
            assigned: record.assigned.as_ref().map(|assigned| Assigned {
                deployment: assigned.deployment.clone(),
                workload: assigned.digest,
                since: assigned.since,
            }),
            idle_since: idle_since(record),
            reported: heard.as_ref().map_or(Reported::Unknown, reported),
            exposed: record
                .exposed
                .clone()
                .map_or(Exposure::Hidden, Exposure::Exposed),
        }
    }

    fn liveness(&self, record: &AgentRecord, heard: Option<&Heard>) -> Liveness {
        let last = heard.map_or(record.registered_at, |heard| heard.at);
        let last = last.max(self.world.presence.listening());
        let is_silent = self.now.since(last) > SILENT_AFTER;
        match self.proof(record) {
            Proof::Dead => Liveness::Gone,
            Proof::Missing if is_silent || self.is_taken_along(record) => Liveness::Gone,
            _ if is_silent => Liveness::Silent(last),
            _ => Liveness::Heard,
        }
    }

    /// Only a complete listing of its place by the worker that made the machine is proof, and only when it was begun after the
    /// agent registered: one that was under way while the machine was made does not hold it, whenever it arrives.
    fn proof(&self, record: &AgentRecord) -> Proof {
        let listing = self.listings.get(&record.worker);
        let later = |before| before > record.registered_at;
        let counts = |listing: &&Listing| {
            let of_its_place = listing.is_of(&record.provider, &record.datacenter);
            of_its_place && listing.before.is_some_and(later)
        };
        let unit = listing
            .filter(counts)
            .map(|listing| listing.units.get(&record.agent.order()));
        match unit {
            Some(None) => Proof::Missing,
            Some(Some(unit)) if !unit.alive => Proof::Dead,
            Some(Some(_)) | None => Proof::Nothing,
        }
    }

    /// Whether the worker that made the machine has said that it took it along when it ended.
    fn is_taken_along(&self, record: &AgentRecord) -> bool {
        let order = self.records.orders.get(record.agent.as_str());
        order.is_some_and(|order| order.state == OrderPhase::Cancelled)
    }
}

/// One that has never been told anything is idle since it came.
fn idle_since(record: &AgentRecord) -> Option<Timestamp> {
    let since = record.idle_since.unwrap_or(record.registered_at);
    record.assigned.is_none().then_some(since)
}

/// How an agent is trusted now, as the planner will be told.
pub(crate) fn trust_now(
    world: &World,
    policies: &mut Policies<'_>,
    record: &AgentRecord,
    now: Timestamp,
) -> Trust {
    let trust = trust(policies, record, now);
    let heard = world.presence.heard(&record.agent);
    let boot = heard.as_ref().map(|heard| heard.boot_id.as_str());
    of_boot(trust, &record.boot_id, boot, now)
}

fn trust(policies: &mut Policies<'_>, record: &AgentRecord, now: Timestamp) -> Trust {
    let current = match policies.revision.desired.targets.get(&record.target) {
        Some(target) => policies.current(target, &record.size),
        // A removed target has no policy any more; the last verdict stands until it runs out.
        None => judged_under(&record.trust),
    };
    trust_under(&record.trust, current, now)
}

/// What a record says under the policy of now. A verdict of another policy says nothing, except that it runs out
/// in its own time: what cannot be judged again must not be trusted for ever.
fn trust_under(trust: &TrustRecord, current: Option<Digest>, now: Timestamp) -> Trust {
    match trust {
        TrustRecord::Accepted(verdict)
            if Some(verdict.policy_digest) == current || verdict.trusted_until <= now =>
        {
            Trust::Accepted(verdict.trusted_until)
        }
        TrustRecord::Refused { policy, .. } if Some(*policy) == current => Trust::Refused,
        TrustRecord::Accepted(_) | TrustRecord::Refused { .. } => Trust::Unknown,
    }
}

/// Evidence of one boot says nothing of the next: fresh one is asked for. Until then nothing is taken away, and nothing
/// new is placed or exposed; what runs out does so in its own time.
fn of_boot(trust: Trust, attested: &str, heard: Option<&str>, now: Timestamp) -> Trust {
    match trust {
        Trust::Accepted(until) if is_another(attested, heard) && until > now => Trust::Unknown,
        trust => trust,
    }
}

fn is_another(attested: &str, heard: Option<&str>) -> bool {
    heard.is_some_and(|heard| heard != attested)
}

/// Whether fresh evidence may change that an agent is not trusted. While its kept evidence is still to be judged again
/// there is nothing to ask it for, unless that is of another boot.
fn remedy(world: &World, record: &AgentRecord, trust: Trust, boot: Option<&str>) -> Remedy {
    let helps = match (trust, &record.trust) {
        (Trust::Refused, TrustRecord::Refused { code, .. }) => {
            ReasonCode::from_code(code).is_none_or(ReasonCode::may_pass)
        }
        (Trust::Unknown, _) => {
            is_another(&record.boot_id, boot) || world.unjudged.holds(&record.agent)
        }
        _ => true,
    };
    match helps {
        true => Remedy::FreshEvidence,
        false => Remedy::NotItsOwn,
    }
}

/// The policy behind a record's verdict.
pub fn judged_under(trust: &TrustRecord) -> Option<Digest> {
    Some(match trust {
        TrustRecord::Accepted(verdict) => verdict.policy_digest,
        TrustRecord::Refused { policy, .. } => *policy,
    })
}

fn reported(heard: &Heard) -> Reported {
    let Some(report) = &heard.workload else {
        return Reported::Idle(heard.acknowledged);
    };
    let (ready, cause) = rollouts::health(report.state, report.cause);
    Reported::Running(Replica {
        generation: report.generation,
        deployment: report.deployment.clone(),
        workload: report.workload,
        ready,
        serving: report.serving,
        ready_since: heard.ready_since.filter(|_| ready),
        failing_since: heard.failing_since,
        cause,
    })
}

fn launches(records: &Records, holds: &Holds<'_>) -> BTreeMap<OrderId, LaunchOrder> {
    records
        .orders
        .values()
        .filter_map(|order| launch(order, holds).map(|launch| (order.order.clone(), launch)))
        .collect()
}

fn launch(order: &OrderRecord, holds: &Holds<'_>) -> Option<LaunchOrder> {
    let WorkRecord::Launch {
        target,
        slot,
        generation,
        failures,
        ..
    } = &order.work
    else {
        return None;
    };
    Some(LaunchOrder {
        target: target.clone(),
        slot: *slot,
        provider: order.provider.clone(),
        datacenter: order.datacenter.clone(),
        generation: *generation,
        failures: *failures,
        opened: order.opened_at,
        times: order.times,
        cause: order.cause,
        unaccounted: order.unaccounted && holds.may_live(order),
        state: match order.state {
            OrderPhase::Open => OrderState::Open,
            OrderPhase::Claimed => OrderState::Claimed,
            OrderPhase::Provisioning => OrderState::Provisioning,
            OrderPhase::Fulfilled => OrderState::Fulfilled,
            OrderPhase::Failed(at) => OrderState::Failed(at),
            OrderPhase::Cancelled => OrderState::Cancelled,
        },
    })
}

fn retires(records: &Records) -> BTreeMap<easyenclave_schemas::AgentId, RetireOrder> {
    let orders = records.orders.values();
    let pending = orders.filter(|order| order.state.is_pending());
    pending
        .filter_map(|order| match &order.work {
            WorkRecord::Retire { agent, .. } => Some((
                agent.clone(),
                RetireOrder {
                    opened: order.opened_at,
                },
            )),
            WorkRecord::Launch { .. } => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(policy: Digest, until: Timestamp) -> TrustRecord {
        let zero = "00".repeat(48);
        let verdict = serde_json::json!({
            "acceptedAt": "2026-01-01T00:00:00Z", "trustedUntil": until, "trustRoot": zero,
            "simulated": true, "tcbStatus": "UpToDate", "advisoryIds": [], "mrtd": zero,
            "rtmrs": [zero, zero, zero, zero], "mrseam": zero, "mrconfigid": zero,
            "fmspc": "000000000000", "policyDigest": policy, "evidenceDigest": policy,
            "collateralDigest": policy,
        });
        TrustRecord::Accepted(serde_json::from_value(verdict).expect("a verdict"))
    }

    #[test]
    fn a_verdict_of_another_boot_is_unknown_until_it_runs_out() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().expect("a time");
        let trusted = Trust::Accepted(now.plus(Duration::from_secs(1)));
        assert_eq!(of_boot(trusted, "a", Some("a"), now), trusted);
        assert_eq!(of_boot(trusted, "a", None, now), trusted);
        assert_eq!(of_boot(trusted, "a", Some("b"), now), Trust::Unknown);
        let over = Trust::Accepted(now);
        assert_eq!(of_boot(over, "a", Some("b"), now), over);
        assert_eq!(of_boot(Trust::Refused, "a", Some("b"), now), Trust::Refused);
    }

    #[test]
    fn a_verdict_of_another_policy_is_unknown_until_it_runs_out_and_never_longer_trusted() {
        let (own, other) = (Digest::of(b"own"), Digest::of(b"other"));
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().expect("a time");
        let later = now.plus(Duration::from_secs(1));
        let under = |policy, until, current| trust_under(&accepted(policy, until), current, now);
        assert_eq!(under(own, later, Some(own)), Trust::Accepted(later));
        assert_eq!(under(other, later, Some(own)), Trust::Unknown);
        assert_eq!(under(other, later, None), Trust::Unknown);
        assert_eq!(under(other, now, Some(own)), Trust::Accepted(now));
        assert_eq!(under(other, now, None), Trust::Accepted(now));
        let refused = TrustRecord::Refused {
            code: "EE-ATT-014".into(),
            message: String::new(),
            policy: other,
            shown_at: now,
            trust_root: None,
        };
        assert_eq!(trust_under(&refused, Some(other), now), Trust::Refused);
        assert_eq!(trust_under(&refused, Some(own), now), Trust::Unknown);
    }
}

//! Documents → model: the one place where what people wrote becomes what the planner and the executor use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use easyenclave_plan::{
    Approval, Breaker, Budget, Deployment, Desired, Disruption, Frozen, Limits, OnLapse, Pause,
    Placement, Reservation, Rollout, Target, Window,
};
use easyenclave_schemas::documents::{
    self, BudgetSpec, CollateralSpec, DeploymentSpec, DisruptionSpec, EvidenceSpec, FleetSpec,
    Identity, Kind, OwnerSpec, PlaceSpec, PolicySpec, ProviderSpec, ReservationSpec, RevertMode,
    Runtime, Span, StatusSpec, TargetSpec, TunnelSpec, WindowSpec,
};
use easyenclave_schemas::{
    DeploymentId, DeploymentName, Digest, FleetId, OwnerName, PolicyName, ProviderName,
    ReservationId, ReservationName, SecretName, Spot, TargetName,
};

use super::facts::{Facts, Held};
use crate::auth::Callers;
use crate::revision::WorkloadVersion;
use crate::secrets::Secrets;

/// What a revision asks for.
#[derive(Debug, Clone)]
pub struct Model {
    /// The planner's model.
    pub desired: Desired,
    /// What runs, by its digest.
    pub workloads: BTreeMap<Digest, Arc<WorkloadVersion>>,
    /// What workloads are given in secret, closed.
    pub secrets: Secrets,
    /// Policies.
    pub policies: BTreeMap<PolicyName, PolicySpec>,
    /// Providers.
    pub providers: BTreeMap<ProviderName, ProviderSpec>,
    /// The path that people should open, for deployments that are exposed.
    pub paths: BTreeMap<DeploymentId, String>,
    /// How status is written.
    pub status: StatusSpec,
    /// Where the collateral of real platforms comes from.
    pub collateral: CollateralSpec,
    /// How much evidence is kept.
    pub evidence: EvidenceSpec,
    /// How what runs is reached.
    pub tunnel: TunnelSpec,
    /// Who may call the deploy API.
    pub callers: Callers,
    /// Documents that cannot be used and are not removed, with why.
    pub kept: BTreeMap<Identity, String>,
}

/// A replica of a deployment that goes back by itself has proved good after this time, unless its document says otherwise.
/// Most programs that fail at their start have done so by then.
const PROBATION: Duration = Duration::from_secs(10);

/// The schema holds every name to at least the type's bounds.
const NAMED: &str = "the schema checked the name";

/// The model of documents that passed. `None` without a fleet.
pub(super) fn build(facts: &Facts<'_>) -> Option<Model> {
    let fleet = facts.fleet.as_ref()?;
    let mut model = Model {
        desired: Desired {
            fleet: FleetId::new(fleet.name()).expect(NAMED),
            limits: limits(&fleet.object.spec),
            quotas: BTreeMap::new(),
            targets: BTreeMap::new(),
            reservations: BTreeMap::new(),
            deployments: BTreeMap::new(),
            hostnames: BTreeMap::new(),
            frozen: facts.unreadable.iter().filter_map(frozen).collect(),
            approvals: facts
                .approvals
                .iter()
                .map(|held| Approval {
                    held: held.object.spec.plan_digest,
                    revision: held.object.spec.revision.clone(),
                })
                .collect(),
        },
        workloads: BTreeMap::new(),
        secrets: secrets(facts),
        policies: specs(&facts.policies, |name| PolicyName::new(name).expect(NAMED)),
        providers: specs(&facts.providers, |name| {
            ProviderName::new(name).expect(NAMED)
        }),
        paths: BTreeMap::new(),
        status: fleet.object.spec.status.clone(),
        collateral: fleet.object.spec.collateral.clone(),
        evidence: fleet.object.spec.evidence.clone(),
        tunnel: fleet.object.spec.tunnel.clone(),
        callers: Callers::of(&fleet.object.spec.api, owners(facts)),
        kept: facts.unreadable.clone(),
    };
    let quotas = owners(facts).map(|(name, owner)| (name, owner.quota.agents));
    model.desired.quotas.extend(quotas);
    facts
        .targets
        .values()
        .for_each(|held| add_target(&mut model.desired, facts, held));
    facts
        .reservations
        .iter()
        .for_each(|held| add_reservation(&mut model.desired, held));
    facts
        .deployments
        .iter()
        .for_each(|held| add_deployment(&mut model, facts, held));
    Some(model)
}

fn owners<'a>(facts: &'a Facts<'_>) -> impl Iterator<Item = (OwnerName, &'a OwnerSpec)> {
    let owners = facts.owners.iter();
    owners.map(|(name, held)| (OwnerName::new(*name).expect(NAMED), &held.object.spec))
}

fn secrets(facts: &Facts<'_>) -> Secrets {
    let mut secrets = Secrets::default();
    for held in &facts.secrets {
        let owner = OwnerName::new(held.owner()).expect(NAMED);
        let name = SecretName::new(held.name()).expect(NAMED);
        secrets.insert(owner, name, &held.object.spec.sealed);
    }
    secrets
}

fn specs<N: Ord, S: Clone>(
    documents: &BTreeMap<&str, Held<'_, S>>,
    name: fn(&str) -> N,
) -> BTreeMap<N, S> {
    documents
        .iter()
        .map(|(text, held)| (name(text), held.object.spec.clone()))
        .collect()
}

fn limits(spec: &FleetSpec) -> Limits {
    Limits {
        breaker: Breaker {
            max_removals: spec.breaker.max_removals,
            max_percent: spec.breaker.max_percent,
        },
        lost_after: spec.timing.lost_after.get(),
        claim_within: spec.timing.claim_within.get(),
        make_within: spec.timing.make_within.get(),
        boot_within: spec.timing.boot_within.get(),
        register_within: spec.timing.register_within.get(),
        ready_within: spec.timing.ready_within.get(),
        orphan_after: spec.timing.orphan_after().get(),
        worker_lost_after: spec.timing.worker_lost_after.get(),
    }
}

/// What must stay as it is while a document cannot be read.
fn frozen((identity, why): (&Identity, &String)) -> Option<(Frozen, String)> {
    let name = identity.name.as_str();
    let frozen = match identity.kind {
        Kind::Deployment => Frozen::Deployment(DeploymentId {
            owner: OwnerName::new(identity.owner.as_deref()?).ok()?,
            name: DeploymentName::new(name).ok()?,
        }),
        Kind::CapacityTarget => Frozen::Target(TargetName::new(name).ok()?),
        _ => return None,
    };
    Some((frozen, why.clone()))
}

/// A target whose policy or provider cannot be read stays as it is.
fn add_target(desired: &mut Desired, facts: &Facts<'_>, held: &Held<'_, TargetSpec>) {
    let name = TargetName::new(held.name()).expect(NAMED);
    let spec = &held.object.spec;
    let places = spec.all_places();
    let mut providers = places.iter().map(|place| place.provider.as_str());
    let provider =
        providers.find_map(|provider| facts.why_unreadable(Kind::Provider, None, provider));
    let policy = || facts.why_unreadable(Kind::AttestationPolicy, None, spec.policy.as_str());
    if let Some(why) = provider.or_else(policy) {
        desired.frozen.insert(Frozen::Target(name), why.clone());
        return;
    }
    let target = Target {
        datacenter: spec.datacenter.clone(),
        size: spec.node_size.clone(),
        provider: spec.provider.clone(),
        spots: spots(facts, spec),
        runtimes: runtimes(facts, spec),
        policy: spec.policy.clone(),
        on_lapse: on_lapse(facts, &spec.policy),
        min: spec.min,
        max: spec.max,
        warm: spec.warm,
        disruption: disruption(&spec.disruption),
    };
    desired.targets.insert(name, target);
}

/// What agents of a target may run wherever they are made.
fn runtimes(facts: &Facts<'_>, spec: &TargetSpec) -> BTreeSet<Runtime> {
    let places = spec.all_places();
    let providers = places.iter().map(|place| place.provider.as_str());
    let providers: Vec<_> = providers
        .filter_map(|name| facts.providers.get(name))
        .collect();
    let all_may = |runtime: &Runtime| {
        let mut providers = providers.iter();
        providers.all(|held| held.object.spec.may_run(*runtime))
    };
    Runtime::ALL.into_iter().filter(all_may).collect()
}

fn disruption(spec: &DisruptionSpec) -> Disruption {
    Disruption {
        budgets: spec.budgets.iter().map(budget).collect(),
        consolidate_after: spec.consolidate_after.get(),
        drain_within: spec.drain_within.map(Span::get),
    }
}

fn budget(spec: &BudgetSpec) -> Budget {
    let window = |spec: &WindowSpec| Window {
        days: spec.days.iter().copied().collect(),
        from: spec.from,
        lasts: spec.lasts.get(),
    };
    Budget {
        reasons: spec.reasons.iter().copied().collect(),
        most: spec.max,
        windows: spec.windows.iter().map(window).collect(),
    }
}

/// Where a target has a choice: its places, with the zones and kinds of machine of those whose providers have such.
fn spots(facts: &Facts<'_>, spec: &TargetSpec) -> Vec<Spot> {
    let places = spec.all_places().into_iter();
    let spots: Vec<Spot> = places
        .flat_map(|place| at_place(facts, spec, &place))
        .collect();
    let is_a_choice = |spot: &Spot| spot.zone.is_some() || spot.shape.is_some();
    match spots.as_slice() {
        [only] if !is_a_choice(only) => Vec::new(),
        _ => spots,
    }
}

fn at_place(facts: &Facts<'_>, spec: &TargetSpec, place: &PlaceSpec) -> Vec<Spot> {
    let spot = |zone, shape| Spot {
        provider: place.provider.clone(),
        datacenter: place.datacenter.clone(),
        zone,
        shape,
    };
    let provider = facts.providers.get(place.provider.as_str());
    let found = provider.map(|held| held.object.spec.spots(&spec.node_size));
    match found.unwrap_or_default() {
        none if none.is_empty() => vec![spot(None, None)],
        found => found
            .into_iter()
            .map(|(zone, shape)| spot(Some(zone), Some(shape)))
            .collect(),
    }
}

fn on_lapse(facts: &Facts<'_>, policy: &PolicyName) -> OnLapse {
    let policy = facts.policies.get(policy.as_str());
    match policy.map(|held| held.object.spec.on_lapse) {
        Some(documents::OnLapse::Stop) => OnLapse::Stop,
        Some(documents::OnLapse::Keep) | None => OnLapse::Keep,
    }
}

fn add_reservation(desired: &mut Desired, held: &Held<'_, ReservationSpec>) {
    let id = ReservationId {
        owner: OwnerName::new(held.owner()).expect(NAMED),
        name: ReservationName::new(held.name()).expect(NAMED),
    };
    let spec = &held.object.spec;
    let reservation = Reservation {
        target: spec.target.clone(),
        count: spec.count,
        until: spec.until,
    };
    desired.reservations.insert(id, reservation);
}

/// A deployment whose owner cannot be read stays as it is: the quota is not known. So does one whose secrets cannot be.
fn add_deployment(model: &mut Model, facts: &Facts<'_>, held: &Held<'_, DeploymentSpec>) {
    let id = DeploymentId {
        owner: OwnerName::new(held.owner()).expect(NAMED),
        name: DeploymentName::new(held.name()).expect(NAMED),
    };
    if let Some(why) = facts.why_unreadable(Kind::Owner, None, held.owner()) {
        let frozen = Frozen::Deployment(id);
        model.desired.frozen.insert(frozen, why.clone());
        return;
    }
    let spec = &held.object.spec;
    let (digest, version) = held
        .version
        .read
        .workload
        .as_ref()
        .expect("deployments are read with their workload");
    let Some((digest, version)) = with_secrets(&model.secrets, &id, *digest, version) else {
        let names = version.secrets.iter().map(|it| it.name.as_str());
        let why = facts.why_no_secret(held.owner(), names);
        model.desired.frozen.insert(Frozen::Deployment(id), why);
        return;
    };
    model.workloads.insert(digest, version);
    if let Some(expose) = &spec.expose {
        model.paths.insert(id.clone(), expose.path.clone());
        if let Some(hostname) = &expose.hostname {
            let hostnames = &mut model.desired.hostnames;
            hostnames.insert(id.clone(), hostname.clone());
        }
    }
    model
        .desired
        .deployments
        .insert(id, deployment(spec, digest));
}

/// A version together with those of its secrets; none when one of them is not there.
fn with_secrets(
    secrets: &Secrets,
    id: &DeploymentId,
    digest: Digest,
    version: &Arc<WorkloadVersion>,
) -> Option<(Digest, Arc<WorkloadVersion>)> {
    if version.secrets.is_empty() {
        return Some((digest, Arc::clone(version)));
    }
    let mut version = WorkloadVersion::clone(version);
    version.secrets_digest = Some(secrets.version(&id.owner, &version.secrets)?);
    Some((version.digest(), Arc::new(version)))
}

fn deployment(spec: &DeploymentSpec, workload: Digest) -> Deployment {
    let placement = &spec.placement;
    Deployment {
        workload,
        runtime: spec.workload.runtime(),
        replicas: spec.replicas,
        size: spec.node_size.clone(),
        placement: Placement {
            targets: set(&placement.targets),
            allowed_datacenters: set(&placement.allowed_datacenters),
            denied_datacenters: set(&placement.denied_datacenters),
            spread: placement.spread,
            agent: placement.agent.clone(),
            allowed_clouds: set(&placement.allowed_clouds),
            denied_clouds: set(&placement.denied_clouds),
        },
        rollout: rollout(&spec.rollout),
        exposed: spec.expose.is_some(),
    }
}

fn rollout(spec: &documents::Rollout) -> Rollout {
    Rollout {
        max_unavailable: spec.max_unavailable,
        max_surge: spec.max_surge,
        canary: spec.canary,
        waves: spec.waves.clone(),
        min_healthy: min_healthy(spec),
        deadline: spec.deadline.map(Span::get),
        reverts: spec.revert == RevertMode::Automatic,
        attempt: spec.attempt,
        pause: spec.pause.as_ref().map(|pause| Pause {
            owner: pause.owner.clone(),
            reason: pause.reason.clone(),
            until: pause.until,
        }),
    }
}

/// What is ready for a moment is not known to be healthy. That matters where it decides what is given up and gone back to.
fn min_healthy(spec: &documents::Rollout) -> Duration {
    match (spec.min_healthy, spec.revert) {
        (Some(least), _) => least.get(),
        (None, RevertMode::Automatic) => PROBATION,
        (None, RevertMode::Never) => Duration::ZERO,
    }
}

fn set<N: Ord + Clone>(names: &[N]) -> BTreeSet<N> {
    names.iter().cloned().collect()
}

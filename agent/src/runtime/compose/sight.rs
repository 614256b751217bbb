//! What containers come to: how each service is, and how the workload is. A decision over what was seen, without effects.

use std::collections::BTreeMap;

use easyenclave_engine::{Container, Health, Image, State};
use easyenclave_schemas::Digest;
use easyenclave_schemas::wire::{
    RunningImage, SERVICES, ServiceReport, WorkloadCause, WorkloadState,
};

/// How something is, why, and in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) state: WorkloadState,
    pub(super) cause: Option<WorkloadCause>,
    pub(super) message: String,
}

impl Condition {
    pub(super) fn of(state: WorkloadState) -> Self {
        Self {
            state,
            cause: None,
            message: String::new(),
        }
    }

    fn with(state: WorkloadState, cause: WorkloadCause, message: impl Into<String>) -> Self {
        Self {
            state,
            cause: Some(cause),
            message: message.into(),
        }
    }
}

/// How the services are, the worst of their containers each; and those that have none.
pub(super) fn services(
    names: &[String],
    containers: &[Container],
    was_ready: bool,
) -> (BTreeMap<String, Condition>, Vec<String>) {
    let mut found: BTreeMap<String, Condition> = BTreeMap::new();
    for container in containers {
        let condition = of_container(container, was_ready);
        match found.get(&container.service) {
            Some(known) if weight(known.state) >= weight(condition.state) => {}
            _ => {
                found.insert(container.service.clone(), condition);
            }
        }
    }
    let missing = names.iter().filter(|name| !found.contains_key(*name));
    (found.clone(), missing.cloned().collect())
}

/// The workload as a whole: as its worst service. It is completed when all of them are.
pub(super) fn whole(services: &BTreeMap<String, Condition>) -> Condition {
    let worst = services
        .iter()
        .max_by_key(|(_, condition)| weight(condition.state));
    let Some((name, worst)) = worst else {
        return Condition::of(WorkloadState::Starting);
    };
    let mut whole = worst.clone();
    if !whole.message.is_empty() {
        whole.message = format!("{name}: {}", whole.message);
    }
    whole
}

/// The worse, the more. What has done its work stands behind what still runs.
fn weight(state: WorkloadState) -> u8 {
    match state {
        WorkloadState::Completed => 0,
        WorkloadState::Ready => 1,
        WorkloadState::Stopping => 2,
        WorkloadState::Starting => 3,
        WorkloadState::Unready => 4,
        WorkloadState::Restarting => 5,
        WorkloadState::Failed => 6,
    }
}

fn of_container(container: &Container, was_ready: bool) -> Condition {
    use WorkloadCause::{Exited, ProbeFailing, StartFailed};
    match (container.state, container.health) {
        (State::Running, Health::None | Health::Healthy) => Condition::of(WorkloadState::Ready),
        (State::Running, Health::Starting) => Condition::of(WorkloadState::Starting),
        (State::Running, Health::Unhealthy) => {
            let state = match was_ready {
                true => WorkloadState::Unready,
                false => WorkloadState::Starting,
            };
            Condition::with(state, ProbeFailing, "its health check fails")
        }
        (State::Restarting, _) => Condition::with(
            WorkloadState::Restarting,
            Exited,
            "it ends, and is started again",
        ),
        (State::Exited(0), _) => Condition::of(WorkloadState::Completed),
        (State::Exited(code), _) if container.error.is_empty() => {
            let message = format!("exited with code {code}");
            Condition::with(WorkloadState::Failed, Exited, message)
        }
        (State::Created, _) if container.error.is_empty() => Condition::of(WorkloadState::Starting),
        (State::Exited(_) | State::Created, _) => {
            Condition::with(WorkloadState::Failed, StartFailed, container.error.as_str())
        }
        (State::Other, _) => Condition {
            state: WorkloadState::Unready,
            cause: None,
            message: "its container is paused or being removed".into(),
        },
    }
}

/// The services as they are told.
pub(super) fn told(services: &BTreeMap<String, Condition>) -> Vec<ServiceReport> {
    let service = |(name, condition): (&String, &Condition)| ServiceReport {
        service: name.clone(),
        state: condition.state,
        message: condition.message.clone(),
    };
    services.iter().take(SERVICES).map(service).collect()
}

/// Which services have other containers than before, which have the same, and which are gone.
pub(super) fn changes(before: &[Container], after: &[Container]) -> String {
    let ids = |containers: &[Container]| {
        let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for found in containers {
            ids.entry(found.service.clone())
                .or_default()
                .push(found.id.clone());
        }
        ids
    };
    let (before, after) = (ids(before), ids(after));
    let pick = |test: &dyn Fn(&String, &Vec<String>) -> bool| -> Vec<&str> {
        let found = after.iter().filter(|(name, ids)| test(name, ids));
        found.map(|(name, _)| name.as_str()).collect()
    };
    let kept = pick(&|name, ids| before.get(name) == Some(ids));
    let made = pick(&|name, ids| before.get(name).is_some_and(|old| old != ids));
    let new = pick(&|name, _| !before.contains_key(name));
    let gone: Vec<_> = before
        .keys()
        .filter(|name| !after.contains_key(*name))
        .map(String::as_str)
        .collect();
    let parts = [
        ("recreated", made),
        ("added", new),
        ("removed", gone),
        ("kept", kept),
    ];
    let parts = parts.iter().filter(|(_, names)| !names.is_empty());
    let parts: Vec<_> = parts
        .map(|(word, names)| format!("{word} {}", names.join(", ")))
        .collect();
    parts.join("; ")
}

/// The images that run, by service; one of each for a service with several containers.
pub(super) fn images(containers: &[Container], images: &[Image]) -> Vec<RunningImage> {
    let running = containers.iter().filter_map(|container| {
        let image = images.iter().find(|image| image.id == container.image)?;
        Some(RunningImage {
            service: container.service.clone(),
            image: container.wanted.clone(),
            id: sha256(&image.id)?,
            digest: manifest(&container.wanted, &image.digests),
        })
    });
    let mut running: Vec<_> = running.collect();
    running.sort();
    running.dedup();
    running.truncate(SERVICES);
    running
}

/// A service whose image is not the one that its name pins, if there is one.
pub(super) fn mismatch(running: &[RunningImage]) -> Option<Condition> {
    let wrong = running.iter().find(|image| {
        let pinned = image
            .image
            .rsplit_once('@')
            .and_then(|(_, pin)| sha256(pin));
        pinned.is_some_and(|pinned| image.digest != Some(pinned))
    })?;
    let message = format!(
        "{}: the image that runs is not {}",
        wrong.service, wrong.image
    );
    Some(Condition::with(
        WorkloadState::Unready,
        WorkloadCause::DigestMismatch,
        message,
    ))
}

/// An image may have several: the one that is named, or the one of the named repository, or any.
fn manifest(wanted: &str, digests: &[String]) -> Option<Digest> {
    let (name, pin) = wanted.rsplit_once('@').unwrap_or((wanted, ""));
    // A colon after the last slash begins a tag; one before it, a port.
    let repository = match (name.rfind(':'), name.rfind('/')) {
        (Some(colon), slash) if slash.is_none_or(|slash| slash < colon) => &name[..colon],
        _ => name,
    };
    let split = digests.iter().filter_map(|digest| digest.rsplit_once('@'));
    let of = |test: &dyn Fn(&str, &str) -> bool| {
        let mut split = split.clone();
        split.find(|(repository, digest)| test(repository, digest))
    };
    let found = of(&|_, digest| digest == pin)
        .or_else(|| of(&|found, _| found == repository))
        .or_else(|| of(&|_, _| true));
    sha256(found?.1)
}

fn sha256(text: &str) -> Option<Digest> {
    Digest::parse(text.strip_prefix("sha256:")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(service: &str, state: State, health: Health) -> Container {
        Container::sample(service, state, health)
    }

    fn of(containers: &[Container]) -> Condition {
        whole(&services(&[], containers, true).0)
    }

    #[test]
    fn the_worst_service_speaks_for_all() {
        let ready = container("db", State::Running, Health::Healthy);
        let done = container("setup", State::Exited(0), Health::None);
        let starting = container("web", State::Running, Health::Starting);
        let failing = container("web", State::Running, Health::Unhealthy);
        let ended = container("web", State::Exited(3), Health::None);
        assert_eq!(
            of(std::slice::from_ref(&done)).state,
            WorkloadState::Completed
        );
        assert_eq!(
            of(&[done.clone(), ready.clone()]).state,
            WorkloadState::Ready
        );
        assert_eq!(
            of(&[ready.clone(), starting]).state,
            WorkloadState::Starting
        );
        let failing = of(&[ready.clone(), failing]);
        assert_eq!(failing.cause, Some(WorkloadCause::ProbeFailing));
        assert_eq!(failing.message, "web: its health check fails");
        let ended = of(&[ready, done, ended]);
        assert_eq!(
            (ended.state, ended.cause),
            (WorkloadState::Failed, Some(WorkloadCause::Exited))
        );
        assert_eq!(ended.message, "web: exited with code 3");
    }

    #[test]
    fn a_service_without_a_container_is_missing() {
        let names = ["db".to_owned(), "web".to_owned()];
        let (_, missing) = services(
            &names,
            &[container("db", State::Running, Health::None)],
            false,
        );
        assert_eq!(missing, ["web"]);
    }

    #[test]
    fn a_digest_is_that_of_the_repository_that_is_named() {
        let digest = |n: u8| format!("sha256:{}", hex::encode([n; 32]));
        let digests = [
            format!("a/b@{}", digest(1)),
            format!("host:5000/b@{}", digest(2)),
        ];
        let found = |wanted: &str| manifest(wanted, &digests).map(|found| found.to_string());
        let hex = |n: u8| Some(hex::encode([n; 32]));
        assert_eq!(found("a/b:7"), hex(1));
        assert_eq!(found("host:5000/b"), hex(2));
        assert_eq!(found("host:5000/b:7"), hex(2));
        assert_eq!(found("other"), hex(1));
        assert_eq!(found(&format!("host:5000/b@{}", digest(1))), hex(1));
        assert_eq!(manifest("a/b:7", &[]), None);
    }

    #[test]
    fn an_image_that_is_not_the_pinned_one_is_told() {
        let pinned = |digest| RunningImage {
            service: "web".into(),
            image: format!("a/b@sha256:{}", hex::encode([7; 32])),
            id: Digest::of(b"id"),
            digest,
        };
        let right = sha256(&format!("sha256:{}", hex::encode([7; 32])));
        assert_eq!(mismatch(&[pinned(right)]), None);
        for wrong in [None, Some(Digest::of(b"other"))] {
            let found = mismatch(&[pinned(wrong)]).expect("a mismatch");
            assert_eq!(found.cause, Some(WorkloadCause::DigestMismatch));
        }
    }
}

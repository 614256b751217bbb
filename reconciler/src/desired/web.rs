//! Whether the service that answers for a deployment can be reached: its agent publishes one port, which leads to one
//! container that runs and has a network of its own.

use easyenclave_schemas::compose::{Composition, Service};
use easyenclave_schemas::decode::{Located, Problem};
use easyenclave_schemas::documents::{ComposeWorkload, Document, Workload};

/// Where a deployment says which service it is.
const SERVICE: &str = "/spec/workload/compose/web/service";

/// What has to be known to judge it.
const NEEDED: [&str; 2] = [SERVICE, "/spec/workload/compose/profiles"];

/// Why nobody would reach it. What is not there at all is said elsewhere.
pub(super) fn unreachable(located: &Located, composition: &Composition) -> Vec<Problem> {
    let Some((name, profiles)) = named(&located.document) else {
        return Vec::new();
    };
    let is_known = NEEDED.iter().all(|pointer| located.knows(pointer));
    let service = composition.services.get(name).filter(|_| is_known);
    let Some(service) = service else {
        return Vec::new();
    };
    let why = [
        profile(name, service, profiles),
        network(name, service),
        containers(name, service),
    ];
    let (line, column) = located.position(SERVICE);
    let problem = |message| Problem {
        line,
        column,
        pointer: SERVICE.to_owned(),
        code: "compose-web",
        message,
        suggestion: None,
    };
    why.into_iter().flatten().map(problem).collect()
}

/// The service, and the profiles that are on.
fn named(document: &Document) -> Option<(&str, &[String])> {
    let Document::Deployment(object) = document else {
        return None;
    };
    let Workload::Compose(ComposeWorkload { profiles, web, .. }) = &object.spec.workload else {
        return None;
    };
    Some((web.as_ref()?.service.as_str(), profiles.as_slice()))
}

fn profile(name: &str, service: &Service, on: &[String]) -> Option<String> {
    let of = &service.profiles;
    let runs = of.is_empty() || of.iter().any(|profile| on.contains(profile));
    let names: Vec<_> = of.iter().map(|profile| format!("`{profile}`")).collect();
    (!runs).then(|| {
        let names = names.join(" or ");
        format!("the service {name} runs with the profile {names} only; name it under `profiles` of the workload")
    })
}

fn network(name: &str, service: &Service) -> Option<String> {
    let mode = service.network_mode.as_ref()?;
    Some(format!(
        "the service {name} has no network of its own (`network_mode: {mode}`), so no port of it can be reached; leave `network_mode` out"
    ))
}

fn containers(name: &str, service: &Service) -> Option<String> {
    let count = service.replicas;
    (count != 1).then(|| {
        format!(
            "the service {name} has {count} containers on each agent, and the port of the workload leads to one; leave \
             `scale` and `deploy.replicas` out: `replicas` of the deployment says how many agents run it"
        )
    })
}

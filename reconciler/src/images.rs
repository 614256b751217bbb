//! Whether the images that run are those that a version names. An agent looks too; this is the reconciler's own comparison, of
//! what is reported with what its repository says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use easyenclave_schemas::documents::{ComposeSource, Workload};
use easyenclave_schemas::wire::{RunningImage, WorkloadCause, WorkloadReport, WorkloadState};
use easyenclave_schemas::{DeploymentId, Digest};
use serde_json::Value;

use crate::revision::WorkloadVersion;

/// So many versions are remembered: more than run at a time in any fleet that one reconciler has.
const MOST: usize = 4096;

/// The digest of each service's image, for services that name one.
type Pins = BTreeMap<String, Digest>;

/// What versions name, each read once: a digest never means another version.
#[derive(Debug, Default)]
pub(crate) struct Images {
    pins: Mutex<BTreeMap<Digest, Arc<Pins>>>,
}

impl Images {
    /// Takes what an agent says for what it comes to: a workload that runs another image than its version names is not ready,
    /// and serves nobody, whatever its agent thinks of it. Of a version that is not known here nobody knows what it names, and
    /// it stays as it is told.
    pub(crate) fn judge(
        &self,
        report: &mut WorkloadReport,
        version: impl FnOnce(&DeploymentId, Digest) -> Option<WorkloadVersion>,
    ) {
        let is_ready = report.state == WorkloadState::Ready;
        let serving = match is_ready {
            true => Some(report.workload),
            false => report.serving,
        };
        let Some(serving) = serving else {
            return;
        };
        let known = self.known(serving);
        let pins = known.or_else(|| {
            let version = version(&report.deployment, serving)?;
            Some(self.remember(serving, pins(&version.workload)))
        });
        let Some(doubt) = pins.and_then(|pins| doubt(&pins, &report.images)) else {
            return;
        };
        report.serving = None;
        if is_ready {
            report.state = WorkloadState::Unready;
            (report.cause, report.message) = doubt;
        }
    }

    fn known(&self, version: Digest) -> Option<Arc<Pins>> {
        let pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        pins.get(&version).cloned()
    }

    fn remember(&self, version: Digest, named: Pins) -> Arc<Pins> {
        let named = Arc::new(named);
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        if pins.len() >= MOST {
            pins.clear();
        }
        pins.insert(version, Arc::clone(&named));
        named
    }
}

/// Why what runs does not count as what was named, if it does not. An image that is not told is no other one, but where none is
/// told at all nobody knows, which is no fault of the version.
fn doubt(pins: &Pins, running: &[RunningImage]) -> Option<(Option<WorkloadCause>, String)> {
    if pins.is_empty() {
        return None;
    }
    if running.is_empty() {
        let message = "its agent does not tell which images run";
        return Some((None, message.into()));
    }
    let is_other = |image: &&RunningImage| {
        let pinned = pins.get(&image.service);
        pinned.is_some_and(|pinned| image.digest != Some(*pinned))
    };
    let other = running.iter().find(is_other)?;
    let message = format!(
        "{}: the image that runs is not the one that is named",
        other.service
    );
    Some((Some(WorkloadCause::DigestMismatch), message))
}

/// The services of a version by name, as agents are given them: the document that a Compose file came to, which is JSON.
/// A process has none.
pub(crate) fn services(workload: &Workload) -> serde_json::Map<String, Value> {
    let text = match workload {
        Workload::Compose(compose) => match &compose.source {
            ComposeSource::Inline(text) => text.as_str(),
            ComposeSource::File(_) => "",
        },
        Workload::Process(_) => "",
    };
    let mut document: Value = serde_json::from_str(text).unwrap_or_default();
    match document.get_mut("services").map(Value::take) {
        Some(Value::Object(services)) => services,
        _ => serde_json::Map::new(),
    }
}

fn pins(workload: &Workload) -> Pins {
    let services = services(workload);
    let pinned = services.iter().filter_map(|(name, service)| {
        let (_, pin) = service["image"].as_str()?.rsplit_once("@sha256:")?;
        Some((name.clone(), Digest::parse(pin)?))
    });
    pinned.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use easyenclave_schemas::Generation;
    use serde_json::json;

    fn running(service: &str, digest: Option<Digest>) -> RunningImage {
        RunningImage {
            service: service.into(),
            image: "a/b".into(),
            id: Digest::of(b"id"),
            digest,
        }
    }

    fn version(pin: Digest) -> WorkloadVersion {
        let text = json!({ "services": { "web": { "image": format!("a/b@sha256:{pin}") },
            "db": { "image": "a/db:1" } } });
        let workload = json!({ "compose": { "source": { "inline": text.to_string() } } });
        WorkloadVersion {
            workload: serde_json::from_value(workload).expect("a workload"),
            health: None,
            secrets: Vec::new(),
            secrets_digest: None,
        }
    }

    fn judged(images: &Images, of: Option<Digest>, told: &[RunningImage]) -> WorkloadReport {
        let mut report = WorkloadReport {
            generation: Generation(1),
            deployment: "acme/web".parse().expect("a deployment"),
            workload: Digest::of(b"version"),
            state: WorkloadState::Ready,
            restarts: 0,
            message: String::new(),
            url: None,
            serving: None,
            cause: None,
            images: told.to_vec(),
            services: Vec::new(),
        };
        images.judge(&mut report, |_, _| of.map(version));
        report
    }

    #[test]
    fn what_runs_has_to_be_what_is_named_whatever_the_agent_says() {
        let (pin, other) = (Digest::of(b"manifest"), Digest::of(b"another"));
        let right = running("web", Some(pin));
        let state = |told: &[RunningImage]| {
            let report = judged(&Images::default(), Some(pin), told);
            (report.state, report.cause, report.message)
        };
        let ready = (WorkloadState::Ready, None, String::new());
        assert_eq!(state(&[right.clone(), running("db", None)]), ready);
        let said = "web: the image that runs is not the one that is named".to_owned();
        let cause = Some(WorkloadCause::DigestMismatch);
        let wrong = (WorkloadState::Unready, cause, said);
        assert_eq!(state(&[running("web", Some(other))]), wrong);
        assert_eq!(state(&[right, running("web", None)]), wrong, "one of two");
        let unknown = "its agent does not tell which images run".to_owned();
        assert_eq!(state(&[]), (WorkloadState::Unready, None, unknown));
    }

    #[test]
    fn a_version_is_read_once_and_one_that_is_not_known_is_judged_by_its_agent() {
        let images = Images::default();
        let wrong = [running("web", Some(Digest::of(b"another")))];
        let state = |of| judged(&images, of, &wrong).state;
        assert_eq!(state(None), WorkloadState::Ready);
        assert_eq!(state(Some(Digest::of(b"manifest"))), WorkloadState::Unready);
        assert_eq!(state(None), WorkloadState::Unready, "it is remembered");
    }

    #[test]
    fn a_version_that_goes_on_serving_is_held_against_its_own_images() {
        let pin = Digest::of(b"manifest");
        let serving = |running_digest| {
            let mut report = judged(
                &Images::default(),
                None,
                &[running("web", Some(running_digest))],
            );
            report.state = WorkloadState::Starting;
            report.serving = Some(Digest::of(b"the one before"));
            Images::default().judge(&mut report, |_, _| Some(version(pin)));
            assert_eq!(
                (report.state, report.cause),
                (WorkloadState::Starting, None)
            );
            report.serving.is_some()
        };
        assert!(serving(pin) && !serving(Digest::of(b"another")));
    }

    #[test]
    fn a_process_names_no_images() {
        let workload = json!({ "process": { "command": ["a"] } });
        let workload = serde_json::from_value(workload).expect("a workload");
        assert_eq!(pins(&workload), Pins::new());
        assert_eq!(doubt(&Pins::new(), &[]), None);
    }
}

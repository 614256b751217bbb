//! How a workload is, as its agent tells it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::known;
use crate::{DeploymentId, Digest, Generation};

/// A workload as its agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadReport {
    /// The generation of the instruction that it follows.
    pub generation: Generation,
    /// The deployment.
    pub deployment: DeploymentId,
    /// The version.
    pub workload: Digest,
    /// How it is.
    pub state: WorkloadState,
    /// How often it was started again.
    pub restarts: u32,
    /// One bounded line for people, such as the last exit code or failed probe.
    pub message: String,
    /// Where it answers, such as `http://127.0.0.1:40002`, when it has a port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The version that answers now, as long as one does: this one, or the one before it while what this one needs is fetched.
    /// Said only by agents that take it back before they change anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Digest>,
    /// Why it is not ready, as far as the agent can tell. A word of a later version counts as none.
    #[serde(
        default,
        deserialize_with = "known::one",
        skip_serializing_if = "Option::is_none"
    )]
    pub cause: Option<WorkloadCause>,
    /// The images that run, by service, at most [`SERVICES`]; none of processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<RunningImage>,
    /// Its services, by name, at most [`SERVICES`]; none of processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceReport>,
}

/// The most services of a workload that are told.
pub const SERVICES: usize = 100;

/// The longest name of a service, in bytes.
const SERVICE: usize = 100;

/// The longest name of an image, in bytes.
const IMAGE: usize = 500;

/// The longest line about a workload or a service, in characters.
const MESSAGE: usize = 300;

impl WorkloadReport {
    /// Cuts what an agent says to what is kept and shown of it.
    pub fn bound(&mut self) {
        shorten(&mut self.message);
        self.images
            .retain(|image| image.service.len() <= SERVICE && image.image.len() <= IMAGE);
        self.images.truncate(SERVICES);
        self.services
            .retain(|service| service.service.len() <= SERVICE);
        self.services.truncate(SERVICES);
        for service in &mut self.services {
            shorten(&mut service.message);
        }
    }
}

/// No character is shorter than a byte.
fn shorten(line: &mut String) {
    if line.len() > MESSAGE {
        *line = line.chars().take(MESSAGE).collect();
    }
}

/// An image that a service runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunningImage {
    /// The service.
    pub service: String,
    /// The image as the Compose file names it.
    pub image: String,
    /// What runs: the SHA-256 of its configuration, which engines call the image's id.
    pub id: Digest,
    /// The SHA-256 of its manifest, by which a registry has it; none of an image that never was in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// A service as its agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceReport {
    /// The service.
    pub service: String,
    /// How it is.
    pub state: WorkloadState,
    /// One bounded line for people; empty when there is nothing to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Why a workload is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkloadCause {
    /// A registry has no such image.
    ImageMissing,
    /// An image that runs is not the one that is named.
    DigestMismatch,
    /// It cannot be started.
    StartFailed,
    /// It ended.
    Exited,
    /// It runs, and its probe or health check fails.
    ProbeFailing,
    /// A registry does not answer.
    RegistryDown,
    /// The container engine does not answer.
    EngineDown,
    /// Its secrets cannot be had.
    SecretsUnavailable,
}

impl WorkloadCause {
    /// Whether the version itself is at fault: another version may do better on the same agent, and the same version
    /// will do no better on another one. What it depends on is not its fault.
    pub fn is_versions_fault(self) -> bool {
        match self {
            Self::ImageMissing
            | Self::DigestMismatch
            | Self::StartFailed
            | Self::Exited
            | Self::ProbeFailing => true,
            Self::RegistryDown | Self::EngineDown | Self::SecretsUnavailable => false,
        }
    }

    /// The stable word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ImageMissing => "image_missing",
            Self::DigestMismatch => "digest_mismatch",
            Self::StartFailed => "start_failed",
            Self::Exited => "exited",
            Self::ProbeFailing => "probe_failing",
            Self::RegistryDown => "registry_down",
            Self::EngineDown => "engine_down",
            Self::SecretsUnavailable => "secrets_unavailable",
        }
    }
}

impl fmt::Display for WorkloadCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ImageMissing => "its image is missing",
            Self::DigestMismatch => "another image runs than is named",
            Self::StartFailed => "it cannot be started",
            Self::Exited => "it exits",
            Self::ProbeFailing => "its probe fails",
            Self::RegistryDown => "the registry of its images does not answer",
            Self::EngineDown => "the engine does not answer",
            Self::SecretsUnavailable => "its secrets cannot be had",
        })
    }
}

/// How a workload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkloadState {
    /// Started, not ready yet.
    Starting,
    /// Ready.
    Ready,
    /// It was ready and its probe fails now.
    Unready,
    /// It ended and waits to be started again.
    Restarting,
    /// It ended with 0 and its restart policy leaves it so.
    Completed,
    /// It ended otherwise, or cannot be started, and its restart policy leaves it so.
    Failed,
    /// It is being stopped.
    Stopping,
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"{"generation":1,"deployment":"acme/web","workload":"0000000000000000000000000000000000000000000000000000000000000000","state":"ready","restarts":0,"message":""}"#;

    #[test]
    fn a_report_is_as_it_was_before_there_were_containers() {
        let report: WorkloadReport = serde_json::from_str(BEFORE).expect("a report of before");
        assert_eq!(serde_json::to_string(&report).expect("data"), BEFORE);
    }

    #[test]
    fn a_cause_of_a_later_version_is_none() {
        for (cause, read) in [
            ("\"exited\"", Some(WorkloadCause::Exited)),
            ("\"eaten\"", None),
            ("7", None),
            ("null", None),
        ] {
            let text = BEFORE.replace("\"restarts\"", &format!("\"cause\":{cause},\"restarts\""));
            let report: WorkloadReport = serde_json::from_str(&text).expect("a report");
            assert_eq!(report.cause, read, "{cause}");
        }
    }

    #[test]
    fn what_an_agent_says_is_cut() {
        let mut report: WorkloadReport = serde_json::from_str(BEFORE).expect("a report");
        let service = |name: String| ServiceReport {
            service: name,
            state: WorkloadState::Ready,
            message: "é".repeat(1000),
        };
        report.message = "m".repeat(1000);
        report.services = (0..200).map(|n| service(n.to_string())).collect();
        report.services.insert(0, service("s".repeat(101)));
        report.bound();
        assert_eq!(
            (report.message.len(), report.services.len()),
            (300, SERVICES)
        );
        assert_eq!(report.services[0].service, "0");
        assert_eq!(report.services[0].message.chars().count(), 300);
    }

    #[test]
    fn causes_are_written_as_their_words() {
        for cause in [
            WorkloadCause::ImageMissing,
            WorkloadCause::DigestMismatch,
            WorkloadCause::StartFailed,
            WorkloadCause::Exited,
            WorkloadCause::ProbeFailing,
            WorkloadCause::RegistryDown,
            WorkloadCause::EngineDown,
            WorkloadCause::SecretsUnavailable,
        ] {
            let written = serde_json::to_value(cause).expect("data");
            assert_eq!(written, cause.as_str());
        }
    }
}

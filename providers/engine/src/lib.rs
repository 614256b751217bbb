//! A container engine, by its own programs: Docker or Podman, and the compose that is there. Finds what belongs to an
//! agent by labels, and removes it; never touches anything else. Nothing of an engine is kept here: it is asked each time.

mod compose;
mod fault;
mod find;
mod list;
mod remove;
mod run;
#[cfg(feature = "testing")]
pub mod testing;
mod traces;

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::process::Command;

pub use compose::{Compose, Generation, Project};
pub use fault::{Fault, fault};
pub use list::{Container, Health, Image, Line, State};
pub use traces::Traces;

/// Names of labels on containers, networks and volumes.
pub mod labels {
    /// The fleet, and whose machines these are.
    pub const FLEET: &str = "dev.easyenclave.fleet";
    /// The launch order of the agent.
    pub const ORDER: &str = "dev.easyenclave.order";
    /// The deployment.
    pub const DEPLOYMENT: &str = "dev.easyenclave.deployment";
    /// Compose's own label for the project, which each generation of it and Podman's give to all that they make.
    pub(crate) const PROJECT: &str = "com.docker.compose.project";
    /// Compose's own label for the service.
    pub(crate) const SERVICE: &str = "com.docker.compose.service";
}

/// What an engine's programs find around themselves, and nothing else.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Where programs are looked for.
    pub path: OsString,
    /// Where the engine listens, as `DOCKER_HOST` says it; its usual socket where there is none.
    pub host: Option<String>,
    /// A folder for what the programs want to remember. Settings and credentials of the user are none of theirs.
    pub home: PathBuf,
    /// What else they are given: labels by which their processes are found.
    pub labels: Vec<(&'static str, String)>,
}

/// Whose containers, networks and volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The fleet label of the agent's machine.
    pub fleet: String,
    /// The launch order of the agent.
    pub order: String,
}

impl Owner {
    /// The one compose project of this agent. Two agents never share a name, because neither part has the separator.
    pub fn project(&self) -> String {
        let plain = |text: &str| -> String {
            let keep = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            text.chars()
                .map(|c| if keep(c) { c } else { '_' })
                .collect()
        };
        format!("ee_{}_{}", plain(&self.fleet), plain(&self.order))
    }
}

/// An engine that has answered.
#[derive(Debug, Clone)]
pub struct Engine {
    program: PathBuf,
    kind: Kind,
    at: Surroundings,
}

/// Whose engine it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Docker's.
    Docker,
    /// Podman, by its own program.
    Podman,
}

impl Kind {
    /// Its program.
    fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

/// Why an engine did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No program of an engine is there.
    #[error("there is no docker and no podman in the search path")]
    Missing,
    /// The program is there and its engine does not answer.
    #[error("the engine does not answer: {0}")]
    Down(String),
    /// What an agent has is on another engine than the one that is at hand.
    #[error("what is left here is on {engine}, which cannot be asked")]
    Elsewhere {
        /// Which.
        engine: String,
        /// Why.
        #[source]
        source: Box<EngineError>,
    },
    /// A program took too long, and was ended.
    #[error("{what} took longer than {seconds} seconds")]
    Late {
        /// The call.
        what: String,
        /// Its deadline.
        seconds: u64,
    },
    /// A program has failed.
    #[error("{what} failed: {said}")]
    Failed {
        /// The call.
        what: String,
        /// The end of what it said, one line.
        said: String,
    },
    /// A program could not be run, or a file not be used.
    #[error("{what} cannot be used")]
    System {
        /// The program or file.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What a program put out is too long, or not what it should be.
    #[error("the output of {0} cannot be read")]
    Output(String),
    /// Something is still there after it was removed.
    #[error("{0} containers, networks or volumes are still there after they were removed")]
    Left(usize),
}

impl Engine {
    /// Whose engine it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A call of the engine's program.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.at.command(&self.program);
        command.args(arguments);
        command
    }
}

impl Surroundings {
    /// A program with exactly this environment.
    fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", &self.path);
        command.env("HOME", &self.home);
        command.env("DOCKER_CONFIG", self.home.join("docker"));
        command.env("COMPOSE_INTERACTIVE_NO_CLI", "1");
        if let Some(host) = &self.host {
            command.env("DOCKER_HOST", host);
        }
        let labels = self.labels.iter().map(|(name, value)| (name, value));
        command.envs(labels);
        command
    }
}

#[cfg(test)]
mod tests;

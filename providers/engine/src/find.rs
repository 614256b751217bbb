//! Finds an engine and a compose: by their programs in the search path, and by what these answer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::compose::{Compose, Generation};
use crate::run::{answer, last_line};
use crate::{Engine, EngineError, Kind, Surroundings};

/// How long an engine may take to say that it is there.
const ANSWERS: Duration = Duration::from_secs(10);

/// How long a compose may take to say what it is: that of the first generation is a slow starter.
const VERSION: Duration = Duration::from_secs(30);

impl Engine {
    /// The engine of these surroundings: Docker's, or Podman where there is no program of Docker's. One that is down is
    /// waited for; in the other one nothing of this agent would be found again.
    ///
    /// # Errors
    /// [`EngineError::Missing`] where there is none, [`EngineError::Down`] where one is and does not answer.
    pub async fn find(at: &Surroundings) -> Result<Self, EngineError> {
        let kind = Self::kind_of(at).ok_or(EngineError::Missing)?;
        Self::of_kind(at, kind).await
    }

    /// Whose engine these surroundings have.
    pub(crate) fn kind_of(at: &Surroundings) -> Option<Kind> {
        let mut kinds = [Kind::Docker, Kind::Podman].into_iter();
        kinds.find(|kind| program(at, kind.program()).is_some())
    }

    /// The one of this kind.
    pub(crate) async fn of_kind(at: &Surroundings, kind: Kind) -> Result<Self, EngineError> {
        let program = program(at, kind.program()).ok_or(EngineError::Missing)?;
        let engine = Self {
            program,
            kind,
            at: at.clone(),
        };
        match engine.answers().await {
            Ok(()) => Ok(engine),
            Err(EngineError::Failed { said, .. }) => Err(EngineError::Down(said)),
            Err(error) => Err(EngineError::Down(error.to_string())),
        }
    }

    async fn answers(&self) -> Result<(), EngineError> {
        let format = match self.kind {
            Kind::Docker => "{{.Server.Version}}",
            Kind::Podman => "{{.Client.Version}}",
        };
        let command = self.command(&["version", "--format", format]);
        answer("version of the engine", command, ANSWERS)
            .await
            .map(drop)
    }

    /// The compose of this engine: the plug-in of its second generation, a program of its own of either, or Podman's.
    /// None where there is none.
    pub async fn compose(&self) -> Option<Compose> {
        let own = match self.kind {
            Kind::Docker => Some((self.program.clone(), vec!["compose"])),
            Kind::Podman => None,
        };
        let name = match self.kind {
            Kind::Docker => "docker-compose",
            Kind::Podman => "podman-compose",
        };
        let apart = program(&self.at, name).map(|program| (program, Vec::new()));
        for (program, leading) in own.into_iter().chain(apart) {
            let mut command = self.at.command(&program);
            match self.kind {
                Kind::Docker => command.args(&leading).args(["version", "--short"]),
                Kind::Podman => command.args(&leading).arg("--version"),
            };
            let told = answer("version of compose", command, VERSION).await;
            let told = told
                .ok()
                .map(|told| last_line(&String::from_utf8_lossy(&told)));
            let generation = told.and_then(|told| generation(self.kind, &told));
            let is_podmans = self.kind == Kind::Podman;
            if is_podmans && !self.takes_values(&program).await {
                continue;
            }
            if let Some(generation) = generation {
                return Some(Compose::new(self, program, &leading, generation));
            }
        }
        None
    }

    /// Whether Podman's compose can be given values and profiles: those before 1.0.6 cannot, and would run another project
    /// than was asked for.
    async fn takes_values(&self, program: &Path) -> bool {
        let mut command = self.at.command(program);
        command.arg("--help");
        let told = answer("help of compose", command, VERSION).await;
        let told = told.unwrap_or_default();
        let told = String::from_utf8_lossy(&told);
        ["--env-file", "--profile"]
            .iter()
            .all(|option| told.contains(option))
    }
}

/// By its version alone; a program that says none is no compose.
fn generation(kind: Kind, version: &str) -> Option<Generation> {
    let major = version.trim_start_matches('v').split('.').next()?;
    match (kind, major.parse::<u32>().ok()) {
        (Kind::Podman, _) => Some(Generation::Podman),
        (Kind::Docker, Some(0 | 1)) => Some(Generation::First),
        (Kind::Docker, Some(_)) => Some(Generation::Second),
        (Kind::Docker, None) => None,
    }
}

/// A program of the search path.
fn program(at: &Surroundings, name: &str) -> Option<PathBuf> {
    let mut paths = std::env::split_paths(&at.path).map(|folder| folder.join(name));
    paths.find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_told_by_its_version() {
        let of = |version| generation(Kind::Docker, version);
        assert_eq!(of("2.40.3"), Some(Generation::Second));
        assert_eq!(of("v5.0.1"), Some(Generation::Second));
        assert_eq!(of("1.29.2"), Some(Generation::First));
        assert_eq!(of("docker: 'compose' is not a docker command."), None);
    }
}

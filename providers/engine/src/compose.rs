//! Compose, of whichever generation is there. It is asked for what only it can tell, which is what its files mean; the rest
//! is asked of the engine, where all generations leave the same labels.

use std::path::PathBuf;
use std::time::Duration;

use tokio::process::Command;

use crate::run::{answer, told};
use crate::{Engine, EngineError, Surroundings};

/// How long it may take to read its files.
const READS: Duration = Duration::from_secs(30);

/// How long it may take to fetch images.
const PULL: Duration = Duration::from_secs(30 * 60);

/// How long it may take to start a project whose images are there. Compose waits so long for what a service depends on.
const UP: Duration = Duration::from_secs(15 * 60);

/// Which compose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// Docker's first, in Python.
    First,
    /// Docker's second, a plug-in of the docker program.
    Second,
    /// Podman's.
    Podman,
}

/// A compose that has told its version.
#[derive(Debug, Clone)]
pub struct Compose {
    program: PathBuf,
    leading: Vec<String>,
    generation: Generation,
    at: Surroundings,
}

/// One project and the files that describe it.
#[derive(Debug, Clone)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// What relative paths in the files are relative to.
    pub folder: PathBuf,
    /// The files, later ones over earlier ones.
    pub files: Vec<PathBuf>,
    /// Values for variables of the files.
    pub env_file: PathBuf,
    /// Which optional services run too.
    pub profiles: Vec<String>,
}

impl Compose {
    pub(crate) fn new(
        engine: &Engine,
        program: PathBuf,
        leading: &[&str],
        generation: Generation,
    ) -> Self {
        Self {
            program,
            leading: leading.iter().map(ToString::to_string).collect(),
            generation,
            at: engine.at.clone(),
        }
    }

    /// Which compose it is.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The services that a project has, by name.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub async fn services(&self, project: &Project) -> Result<Vec<String>, EngineError> {
        self.names(project, "--services").await
    }

    /// The named volumes that a project has.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub async fn volumes(&self, project: &Project) -> Result<Vec<String>, EngineError> {
        match self.generation {
            // It tells the whole project and nothing less.
            Generation::Podman => Ok(volumes(&self.config(project, &["config"]).await?)),
            _ => self.names(project, "--volumes").await,
        }
    }

    async fn names(&self, project: &Project, what: &str) -> Result<Vec<String>, EngineError> {
        let told = self.config(project, &["config", what]).await?;
        let mut names: Vec<_> = told.lines().map(|line| line.trim().to_owned()).collect();
        names.retain(|name| !name.is_empty());
        names.sort();
        Ok(names)
    }

    async fn config(&self, project: &Project, arguments: &[&str]) -> Result<String, EngineError> {
        let command = self.command(project, arguments);
        let told = answer("compose config", command, READS).await?;
        Ok(String::from_utf8_lossy(&told).into_owned())
    }

    /// Fetches the images of these services. Nothing that runs is touched. `line` is given what compose says meanwhile.
    ///
    /// # Errors
    /// When one of them cannot be fetched.
    pub async fn pull(
        &self,
        project: &Project,
        services: &[&str],
        line: impl FnMut(&str),
    ) -> Result<(), EngineError> {
        let arguments = [&["pull"], services].concat();
        told(
            "compose pull",
            self.command(project, &arguments),
            PULL,
            line,
        )
        .await
    }

    /// Starts a project, or brings the one that runs to what its files say: what they do not change stays as it is.
    /// A container that is replaced may take `grace` to end, before it is killed. `line` is given what compose says
    /// meanwhile. Containers of services that the project has no more may stay; see [`Engine::remove_strays`].
    ///
    /// # Errors
    /// When something cannot be fetched or started; what was started stays.
    pub async fn up(
        &self,
        project: &Project,
        grace: Duration,
        line: impl FnMut(&str),
    ) -> Result<(), EngineError> {
        let grace = grace.as_secs().to_string();
        let mut arguments = vec!["up", "--detach", "--no-build", "-t", &grace];
        // Podman's would take what it does not change for orphans too.
        if self.generation != Generation::Podman {
            arguments.push("--remove-orphans");
        }
        told("compose up", self.command(project, &arguments), UP, line).await
    }

    /// Stops a project in the order that its files ask for, and removes it with its volumes.
    ///
    /// # Errors
    /// When it takes longer than this, or its files cannot be read.
    pub async fn down(
        &self,
        project: &Project,
        grace: Duration,
        deadline: Duration,
    ) -> Result<(), EngineError> {
        let grace = grace.as_secs().to_string();
        let arguments = ["down", "--volumes", "--remove-orphans", "-t", &grace];
        let command = self.command(project, &arguments);
        answer("compose down", command, deadline).await.map(drop)
    }

    fn command(&self, project: &Project, arguments: &[&str]) -> Command {
        let mut command = self.at.command(&self.program);
        command.args(&self.leading).args(["-p", &project.name]);
        for file in &project.files {
            command.arg("-f").arg(file);
        }
        command.current_dir(&project.folder);
        match self.generation {
            // It takes the folder from the first file. A pod has no label by which it would be found again; versions that read
            // any word here as yes make one all the same.
            Generation::Podman => command.args(["--no-ansi", "--in-pod", "false"]),
            _ => command
                .args(["--ansi", "never", "--project-directory"])
                .arg(&project.folder),
        };
        command.arg("--env-file").arg(&project.env_file);
        let profiles = project.profiles.iter();
        command.args(profiles.flat_map(|profile| ["--profile", profile]));
        command.args(arguments);
        command
    }
}

/// The names below `volumes:` in a project as Podman's compose tells it: YAML in one fixed shape, an indent of two.
fn volumes(told: &str) -> Vec<String> {
    let lines = told.lines().skip_while(|line| *line != "volumes:").skip(1);
    let below = lines.take_while(|line| line.starts_with(' '));
    let names = below.filter_map(|line| {
        let name = line.strip_prefix("  ").filter(|it| !it.starts_with(' '))?;
        Some(name.split_once(':')?.0.trim_matches('\'').to_owned())
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::volumes;

    /// As podman-compose 1.6.0 tells it.
    #[test]
    fn volumes_of_podmans_compose_are_read() {
        let told = "services:\n  web:\n    image: a:hello\n    volumes:\n    - data:/d\nvolumes:\n  '1.5':\n    \
                    labels:\n      a: b\n  data: {}\n  other: null\n\n";
        assert_eq!(volumes(told), ["1.5", "data", "other"]);
        assert_eq!(volumes("services:\n  web:\n    image: a\n"), [""; 0]);
        assert_eq!(volumes("volumes: {}\nx-a:\n  b: c\n"), [""; 0]);
    }
}

//! The files of an agent's one project, and what of it is on the data disk. The user's text is kept as it came; all that is
//! ours lies beside it, out of reach of what runs.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use easyenclave_engine::{
    Compose, Container, Engine, EngineError, Fault, Owner, Project, Surroundings, Traces, fault,
};
use easyenclave_processes::labels;
use easyenclave_schemas::DeploymentId;
use easyenclave_schemas::documents::{ComposeSource, ComposeWorkload};
use easyenclave_schemas::wire::{WorkloadCause, WorkloadReport};
use tokio::fs;

use super::before::Note;
use super::fetch;
use super::overlay::{self, Overlay};
use crate::runtime::process::{Place, free_port, named};
use crate::runtime::{Board, line};
use crate::vault::Mount;

/// How long a container may take to end when it is asked to.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// How long a project may take to end in the order of its file; what is left then is removed at once. The agent itself has
/// [`easyenclave_processes::LEAVE`] for all of it.
const DOWN: Duration = Duration::from_secs(7);

/// Why something cannot be done, and whose fault it is.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(super) cause: WorkloadCause,
    pub(super) message: String,
}

impl Trouble {
    /// Tells that an assignment waits for the end of this.
    pub(crate) fn show(self, board: &Board, first: WorkloadReport) {
        board.send_replace(Some(WorkloadReport {
            cause: Some(self.cause),
            message: line(&self.message),
            ..first
        }));
    }
}

impl From<EngineError> for Trouble {
    fn from(error: EngineError) -> Self {
        let cause = match error.fault() {
            Fault::Engine => WorkloadCause::EngineDown,
            Fault::Image => WorkloadCause::ImageMissing,
            Fault::Registry => WorkloadCause::RegistryDown,
            Fault::Start => WorkloadCause::StartFailed,
        };
        Self {
            cause,
            message: format!("{:#}", anyhow::Error::from(error)),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self {
            cause: WorkloadCause::StartFailed,
            message: error.to_string(),
        }
    }
}

/// What an agent has on an engine, and where.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) at: Surroundings,
    pub(super) owner: Owner,
    pub(super) traces: Traces,
    /// Where volumes are kept; the engine keeps them where the agent could not remove what containers write.
    disk: Option<PathBuf>,
}

impl Ground {
    pub(super) fn of(place: &Place) -> Self {
        let fleet = place.surroundings.fleet.clone();
        let order = place.order.to_string();
        let traces = Traces::of(&place.data);
        let at = Surroundings {
            path: place.surroundings.path.clone(),
            host: place.surroundings.engine.clone(),
            home: traces.home.clone(),
            labels: vec![
                (labels::FLEET, fleet.clone()),
                (labels::ORDER, order.clone()),
            ],
        };
        Self {
            at,
            owner: Owner { fleet, order },
            disk: place
                .surroundings
                .is_root
                .then(|| traces.folder.join("volumes")),
            traces,
        }
    }

    /// Takes over what there is of the deployment, and removes what there is of any other. Answers the engine of it: for as long
    /// as something is there, the one that it is on.
    pub(super) async fn begin(&self, deployment: &DeploymentId) -> Result<Engine, Trouble> {
        if self.has(deployment).await? {
            let engine = self.traces.engine(&self.at).await?;
            // An agent of before has not noted it.
            self.traces.leave(&engine).await?;
            return Ok(engine);
        }
        self.clear().await?;
        let engine = Engine::find(&self.at).await?;
        // Whatever carries our labels is nobody's, also where nothing tells of it.
        self.traces.leave(&engine).await?;
        self.clear().await?;
        self.traces.leave(&engine).await?;
        let project = self.file("project");
        fs::create_dir_all(&project).await?;
        fs::write(self.file("deployment"), deployment.to_string()).await?;
        Ok(engine)
    }

    /// Whether what there is, if anything, is of this deployment.
    ///
    /// # Errors
    /// When that cannot be told: it may be, and nothing of it may go.
    pub(super) async fn has(&self, deployment: &DeploymentId) -> Result<bool, EngineError> {
        let found = self.noted("deployment").await?;
        Ok(found.is_some_and(|found| found == deployment.to_string().as_bytes()))
    }

    /// What a file of ours says; none where there is no such file.
    async fn noted(&self, name: &str) -> Result<Option<Vec<u8>>, EngineError> {
        let path = self.file(name);
        match fs::read(&path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(EngineError::System {
                what: format!("file {}", path.display()),
                source,
            }),
        }
    }

    /// What runs, on the engine that it is on.
    pub(super) async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        let engine = self.traces.engine(&self.at).await?;
        engine.containers(&self.owner).await
    }

    /// The version of this deployment that was ready last, unless another one has begun to take its place.
    pub(super) async fn note(&self, deployment: &DeploymentId) -> Option<Note> {
        let is_its = self.has(deployment).await.is_ok_and(|is_its| is_its);
        let text = fs::read(self.file("ready.json")).await.ok()?;
        serde_json::from_slice(&text).ok().filter(|_| is_its)
    }

    /// Notes that a version is ready.
    pub(super) async fn put_note(&self, note: &Note) -> io::Result<()> {
        let text = serde_json::to_string(note).expect("a note is plain data");
        put(&self.file("ready.json"), &text).await
    }

    /// Whatever runs from now on is no version that was ready.
    pub(super) async fn forget_note(&self) -> io::Result<()> {
        match fs::remove_file(self.file("ready.json")).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes the files of a version.
    pub(super) async fn write(
        &self,
        compose: &Compose,
        workload: &ComposeWorkload,
        deployment: &DeploymentId,
        secrets: &[Mount],
    ) -> Result<Written, Trouble> {
        let text = resolved(workload)?;
        let mut project = Project {
            name: self.owner.project(),
            folder: self.file("project"),
            files: vec![self.file("compose.yaml")],
            env_file: self.file("values"),
            profiles: workload.profiles.clone(),
        };
        put(&project.files[0], text).await?;
        put(&project.env_file, "").await?;
        let services = compose.services(&project).await.map_err(start_failed)?;
        let volumes = compose.volumes(&project).await.map_err(start_failed)?;
        let port = match &workload.web {
            Some(_) => Some(self.port().await?),
            None => None,
        };
        let web = workload.web.as_ref().zip(port);
        let overlay = Overlay {
            owner: &self.owner,
            deployment,
            services: &services,
            volumes: &volumes,
            disk: self.disk.as_deref(),
            web: web.map(|(web, port)| (web.service.as_str(), web.port, port)),
            secrets,
            compose: compose.generation(),
        };
        let file = self.file("overlay.json");
        put(&file, &overlay.text()).await?;
        project.files.push(file);
        self.make_volumes(&volumes).await?;
        let images = fetch::images(text, &services);
        Ok(Written {
            project,
            services,
            images,
            port,
        })
    }

    async fn make_volumes(&self, volumes: &[String]) -> io::Result<()> {
        for volume in volumes {
            if let Some(disk) = &self.disk {
                fs::create_dir_all(overlay::folder(disk, volume)).await?;
            }
        }
        Ok(())
    }

    /// The port that leads to the workload. It stays: another one would make a new container.
    async fn port(&self) -> Result<u16, Trouble> {
        let file = self.file("port");
        let kept = self.noted("port").await?;
        let kept = kept.and_then(|text| str::from_utf8(&text).ok()?.parse().ok());
        if let Some(port) = kept {
            return Ok(port);
        }
        let port = free_port().map_err(|error| named(error, "no free port".into()))?;
        put(&file, &port.to_string()).await?;
        Ok(port)
    }

    /// Another one is taken at the next start, if somebody else has it.
    pub(super) async fn give_up_taken_port(&self, port: Option<u16>) {
        let is_taken = port.is_some_and(|port| TcpListener::bind(("127.0.0.1", port)).is_err());
        if is_taken {
            let _ = fs::remove_file(self.file("port")).await;
        }
    }

    /// Ends the project in the order of its file, as far as that goes in a short time, and removes all that is left of it.
    pub(super) async fn clear(&self) -> Result<(), EngineError> {
        if !self.traces.are_there().await? {
            return Ok(());
        }
        if let Err(error) = self.down().await {
            tracing::info!(error = %error, "the project is removed without being asked");
        }
        self.traces.remove(&self.at, &self.owner).await
    }

    async fn down(&self) -> Result<(), EngineError> {
        let engine = self.traces.engine(&self.at).await?;
        if engine.containers(&self.owner).await?.is_empty() {
            return Ok(());
        }
        engine
            .note_volumes(&self.owner, &self.traces.notes())
            .await?;
        let project = Project {
            name: self.owner.project(),
            folder: self.file("project"),
            files: vec![self.file("compose.yaml"), self.file("overlay.json")],
            env_file: self.file("values"),
            profiles: Vec::new(),
        };
        match engine.compose().await {
            Some(compose) => compose.down(&project, GRACE, DOWN).await,
            None => Ok(()),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.traces.folder.join(name)
    }
}

/// The text of the Compose file. What the reconciler has checked is a document in which nothing is open: no other file, and
/// no variable. Another one is nobody's.
fn resolved(workload: &ComposeWorkload) -> Result<&str, Trouble> {
    match &workload.source {
        ComposeSource::Inline(text) if workload.env.is_empty() => Ok(text),
        ComposeSource::Inline(_) | ComposeSource::File(_) => Err(Trouble {
            cause: WorkloadCause::StartFailed,
            message: "the instruction leaves a part of the Compose file open".into(),
        }),
    }
}

/// A version whose files are there.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) project: Project,
    /// Its services.
    pub(super) services: Vec<String>,
    /// Their images, as far as those are known before compose starts them.
    pub(super) images: BTreeMap<String, fetch::Wanted>,
    pub(super) port: Option<u16>,
}

/// A file that compose cannot read is its writer's fault; an engine that is down is not asked for it.
/// Why a project did not start. An engine that answers is not what took too long: a service waits for another one, such as a
/// job that never ends well.
pub(super) fn not_up(error: EngineError, answers: bool) -> Trouble {
    match error {
        EngineError::Late { .. } if answers => Trouble {
            cause: WorkloadCause::StartFailed,
            message: format!("{error}: a service waits for what it depends on"),
        },
        error => error.into(),
    }
}

fn start_failed(error: EngineError) -> Trouble {
    let is_engines =
        matches!(&error, EngineError::Failed { said, .. } if fault(said) == Fault::Engine);
    match error {
        EngineError::Failed { .. } if !is_engines => Trouble {
            cause: WorkloadCause::StartFailed,
            message: error.to_string(),
        },
        error => error.into(),
    }
}

/// Aside and renamed, so that no compose reads half of it.
async fn put(path: &Path, text: &str) -> io::Result<()> {
    let aside = path.with_extension("new");
    let failed = |error| named(error, format!("cannot write {}", path.display()));
    fs::write(&aside, text).await.map_err(failed)?;
    fs::rename(&aside, path).await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_takes_too_long_is_the_files_fault_where_the_engine_answers() {
        let late = || EngineError::Late {
            what: "compose up".into(),
            seconds: 900,
        };
        let trouble = not_up(late(), true);
        let told =
            "compose up took longer than 900 seconds: a service waits for what it depends on";
        let expected = (WorkloadCause::StartFailed, told);
        assert_eq!((trouble.cause, trouble.message.as_str()), expected);
        assert_eq!(not_up(late(), false).cause, WorkloadCause::EngineDown);
        assert_eq!(
            not_up(EngineError::Missing, true).cause,
            WorkloadCause::EngineDown
        );
    }
}

//! What an engine has of an owner: containers with their state, images with their digests, logs. A listing is complete or an
//! error.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::run::{answer, both, last_line};
use crate::{Engine, EngineError, Fault, Owner, labels};

/// How long one look may take.
pub(crate) const LOOK: Duration = Duration::from_secs(20);

/// What is listed may be gone when it is looked at; then all is listed again, so often.
const LISTINGS: u32 = 5;

/// A container, running or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The engine's id. Another container has another one.
    pub id: String,
    /// The service of the project; empty for one that compose did not make.
    pub service: String,
    /// The deployment that it was made for, if it is labelled so.
    pub deployment: Option<String>,
    /// The image as it was asked for.
    pub wanted: String,
    /// The id of the image that it was made of, `sha256:` and 64 hex digits.
    pub image: String,
    /// What it does.
    pub state: State,
    /// What its own health check says.
    pub health: Health,
    /// What went wrong at its start, in the engine's words; empty when nothing did.
    pub error: String,
    /// How often the engine has started it again.
    pub restarts: u64,
    /// Volumes of it that have no name but the engine's, and no label.
    pub(crate) unnamed: Vec<String>,
}

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It was made and has not been started.
    Created,
    /// It runs.
    Running,
    /// It has ended and the engine is about to start it again.
    Restarting,
    /// It has ended with this code.
    Exited(i64),
    /// Anything else: paused, being removed, or dead.
    Other,
}

/// What a container's own health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It has none.
    None,
    /// Not yet.
    Starting,
    /// All is well.
    Healthy,
    /// It is not.
    Unhealthy,
}

/// An image of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: String,
    /// Its names by digest, each `repository@sha256:…`; none of an image that no registry has seen.
    pub digests: Vec<String>,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// When it was written: a time in UTC with nine places, which sorts as a text.
    pub at: String,
    /// The line.
    pub text: String,
}

impl Engine {
    /// Every container of an owner, by service.
    ///
    /// # Errors
    /// When they cannot be listed in full.
    pub async fn containers(&self, owner: &Owner) -> Result<Vec<Container>, EngineError> {
        let mut error = None;
        for _ in 0..LISTINGS {
            let ids = self.container_ids(owner).await?;
            match self.inspect::<Inspected>("container", &ids).await {
                Ok(found) => {
                    let mut found: Vec<_> = found.into_iter().map(Container::from).collect();
                    found.sort_by(|a, b| (&a.service, &a.id).cmp(&(&b.service, &b.id)));
                    return Ok(found);
                }
                Err(late @ EngineError::Late { .. }) => return Err(late),
                // One of them is gone meanwhile, or the engine is; the next listing tells.
                Err(failed) => error = Some(failed),
            }
        }
        Err(error.expect("there was a listing"))
    }

    /// Images by their ids.
    ///
    /// # Errors
    /// When one of them is not there.
    pub async fn images(&self, ids: &[String]) -> Result<Vec<Image>, EngineError> {
        let found: Vec<InspectedImage> = self.inspect("image", ids).await?;
        let image = |image: InspectedImage| Image {
            id: with_algorithm(image.id),
            digests: image.repo_digests.unwrap_or_default(),
        };
        Ok(found.into_iter().map(image).collect())
    }

    /// Whether there is no image of this name.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn lacks(&self, image: &str) -> Result<bool, EngineError> {
        let what = "look for an image";
        let arguments = ["image", "inspect", "--format", "{{.Id}}", image];
        match answer(what, self.command(&arguments), LOOK).await {
            Ok(_) => Ok(false),
            Err(error @ EngineError::Failed { .. }) if error.fault() != Fault::Engine => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The last lines of a container's log, oldest first; with a time, only those that were written later.
    ///
    /// # Errors
    /// When there is no such container, or it keeps its log elsewhere.
    pub async fn log(
        &self,
        id: &str,
        lines: usize,
        after: Option<&str>,
    ) -> Result<Vec<Line>, EngineError> {
        let lines = lines.to_string();
        let mut arguments = vec!["logs", "--timestamps", "--tail", &lines];
        if let Some(after) = after {
            arguments.extend(["--since", after]);
        }
        arguments.push(id);
        let what = "log of a container";
        let (status, out, err) = both(what, self.command(&arguments), LOOK).await?;
        if !status.success() {
            let said = last_line(&String::from_utf8_lossy(&err));
            return Err(EngineError::Failed {
                what: what.into(),
                said,
            });
        }
        let texts = [out, err].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let all = texts.iter().flat_map(|text| text.lines());
        let later = |line: &Line| after.is_none_or(|after| line.at.as_str() > after);
        let mut found: Vec<_> = all.filter_map(line).filter(later).collect();
        found.sort();
        Ok(found)
    }

    /// The ids of an owner's containers.
    pub(crate) async fn container_ids(&self, owner: &Owner) -> Result<Vec<String>, EngineError> {
        let list = ["ps", "--all", "--quiet", "--no-trunc"];
        self.ids(&list, owner).await
    }

    /// What a listing command puts out for an owner: what carries our own labels, or is of his project.
    pub(crate) async fn ids(
        &self,
        list: &[&str],
        owner: &Owner,
    ) -> Result<Vec<String>, EngineError> {
        let label = |name: &str, value: &str| format!("label={name}={value}");
        let own = [
            label(labels::FLEET, &owner.fleet),
            label(labels::ORDER, &owner.order),
        ];
        let project = [label(labels::PROJECT, &owner.project())];
        let mut ids = Vec::new();
        for filters in [&own[..], &project[..]] {
            let filters = filters.iter().flat_map(|filter| ["--filter", filter]);
            let arguments: Vec<_> = list.iter().copied().chain(filters).collect();
            let told = answer(&list[..2].join(" "), self.command(&arguments), LOOK).await?;
            let told = String::from_utf8_lossy(&told);
            let found = told.split_whitespace().map(str::to_owned);
            ids.extend(found);
        }
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    async fn inspect<T: DeserializeOwned>(
        &self,
        kind: &str,
        ids: &[String],
    ) -> Result<Vec<T>, EngineError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let what = format!("look at a {kind}");
        let ids = ids.iter().map(String::as_str);
        let arguments: Vec<_> = [kind, "inspect"].into_iter().chain(ids).collect();
        let told = answer(&what, self.command(&arguments), LOOK).await?;
        serde_json::from_slice(&told).map_err(|_| EngineError::Output(what))
    }
}

/// A line behind its time, which Podman writes as it is where the engine runs.
fn line(line: &str) -> Option<Line> {
    let (at, text) = line.split_once(' ').unwrap_or((line, ""));
    let at: jiff::Timestamp = at.parse().ok()?;
    Some(Line {
        at: format!("{at:.9}"),
        text: text.into(),
    })
}

/// Podman leaves it away.
fn with_algorithm(id: String) -> String {
    match id.contains(':') {
        true => id,
        false => format!("sha256:{id}"),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    image: String,
    #[serde(default)]
    restart_count: u64,
    state: InspectedState,
    config: InspectedConfig,
    mounts: Option<Vec<Mount>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mount {
    #[serde(default)]
    name: String,
}

impl Mount {
    /// The engine gives a name of 64 hex digits to a volume that was given none.
    fn is_unnamed(&self) -> bool {
        self.name.len() == 64 && self.name.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedState {
    status: String,
    #[serde(default)]
    exit_code: i64,
    #[serde(default)]
    error: String,
    #[serde(alias = "Healthcheck")]
    health: Option<InspectedHealth>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedHealth {
    status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedConfig {
    #[serde(default)]
    image: String,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedImage {
    id: String,
    repo_digests: Option<Vec<String>>,
}

impl From<Inspected> for Container {
    fn from(found: Inspected) -> Self {
        let labels = found.config.labels.unwrap_or_default();
        let state = match found.state.status.as_str() {
            "created" | "configured" | "initialized" => State::Created,
            "running" => State::Running,
            "restarting" => State::Restarting,
            "exited" | "stopped" => State::Exited(found.state.exit_code),
            _ => State::Other,
        };
        let mounts = found.mounts.into_iter().flatten();
        let health = found.state.health.map(|health| health.status);
        Self {
            id: found.id,
            service: labels.get(labels::SERVICE).cloned().unwrap_or_default(),
            deployment: labels.get(labels::DEPLOYMENT).cloned(),
            wanted: found.config.image,
            image: with_algorithm(found.image),
            state,
            health: match health.as_deref() {
                None | Some("none" | "") => Health::None,
                Some("healthy") => Health::Healthy,
                Some("starting") => Health::Starting,
                Some(_) => Health::Unhealthy,
            },
            error: last_line_or_nothing(&found.state.error),
            restarts: found.restart_count,
            unnamed: mounts
                .filter(Mount::is_unnamed)
                .map(|mount| mount.name)
                .collect(),
        }
    }
}

fn last_line_or_nothing(text: &str) -> String {
    match text.trim().is_empty() {
        true => String::new(),
        false => last_line(text),
    }
}

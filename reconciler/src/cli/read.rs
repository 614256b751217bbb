//! Reading a status branch, from a data directory or from any repository.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use easyenclave_git::{CommitId, GitError, Past, Saying, Source};

use super::hint::Hints;
use super::seen::{self, Seen};
use crate::config::{self, DataDir};
use crate::report::{self, Status};
use crate::settings::Settings;

/// A fetch by the command line may take this long.
const DEADLINE: Duration = Duration::from_secs(60);

/// The status branch, unless told otherwise.
const STATUS: &str = "status";

/// Where the status is read from.
#[derive(Debug, clap::Args)]
pub(super) struct From {
    /// The data directory of `up` or `serve` on this machine [default: easyenclave-data, here or in a folder above]
    #[arg(long, value_name = "DIR", conflicts_with = "repo")]
    pub(super) data: Option<PathBuf>,
    /// Read the status branch of this repository instead
    #[arg(long, value_name = "URL")]
    pub(super) repo: Option<String>,
    /// The branch that status is written to
    #[arg(long, value_name = "BRANCH", default_value = STATUS)]
    pub(super) status_branch: String,
}

/// A fleet: where its status is read from, and its branch of desired state.
#[derive(Debug, clap::Args)]
pub(super) struct Fleet {
    #[command(flatten)]
    pub(super) from: From,
    /// The branch of desired state [default: the installation's, or else main]
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
}

impl Fleet {
    /// Where the desired state is.
    pub(super) fn desired(&self) -> anyhow::Result<Place> {
        self.from.desired(self.branch.as_deref())
    }
}

/// A state repository and its branch of desired state.
pub(super) struct Place {
    pub(super) repository: String,
    pub(super) branch: String,
}

/// A status, and where it comes from.
pub(super) struct Shown {
    pub(super) status: Status,
    pub(super) seen: Seen,
}

impl From {
    /// Where the desired state is: on the branch that is named, or else on that of the installation.
    pub(super) fn desired(&self, branch: Option<&str>) -> anyhow::Result<Place> {
        let place = match &self.repo {
            Some(repository) => Place {
                repository: repository.clone(),
                branch: "main".into(),
            },
            None => {
                let settings = Settings::load(&installation(self.data.as_deref())?)?;
                Place {
                    repository: settings.repository,
                    branch: settings.branch,
                }
            }
        };
        Ok(match branch {
            Some(branch) => Place {
                branch: branch.into(),
                ..place
            },
            None => place,
        })
    }

    /// The newest status. A data directory's is that of the reconciler's own clone, which may be
    /// ahead of the remote.
    pub(super) async fn status(&self) -> anyhow::Result<Shown> {
        let Some(repository) = &self.repo else {
            let data = installation(self.data.as_deref())?;
            return kept(&data).await;
        };
        let (status, saying) = at(repository, &self.status_branch).await?;
        let seen = Seen::of(&saying);
        Ok(Shown { status, seen })
    }

    /// Commands that look at the same fleet.
    pub(super) fn hints(&self) -> Hints {
        let mut hints = Hints::plain();
        if let Some(data) = &self.data {
            hints = hints.data(data);
        }
        if let Some(repository) = &self.repo {
            hints = hints.option("--repo", &easyenclave_git::redact(repository));
            if self.status_branch != STATUS {
                hints = hints.option("--status-branch", &self.status_branch);
            }
        }
        hints
    }
}

/// The data folder that is named, or else the nearest one, here or above.
pub(super) fn installation(named: Option<&Path>) -> anyhow::Result<DataDir> {
    if let Some(named) = named {
        return Ok(DataDir::new(named)?);
    }
    let here = config::here().context("finding the current folder")?;
    DataDir::above(&here).with_context(|| {
        format!(
            "there is no {} in {} nor in a folder above: name the data folder of `up` or `serve` with --data DIR",
            DataDir::DEFAULT,
            here.display()
        )
    })
}

async fn kept(data: &DataDir) -> anyhow::Result<Shown> {
    let settings = Settings::load(data)?;
    let ledger = data.ledger();
    if !ledger.exists() {
        bail!(
            "{} has no status yet: has the reconciler started?",
            data.path().display()
        );
    }
    let (status, saying) = at(&ledger.display().to_string(), &settings.status_branch).await?;
    let seen = Seen {
        signature: seen::signature(data, &saying),
        reconciler: seen::reconciler(&settings).await,
        ..Seen::of(&saying)
    };
    Ok(Shown { status, seen })
}

/// The newest status of a repository, and the commit that says it.
async fn at(repository: &str, branch: &str) -> anyhow::Result<(Status, Saying)> {
    let scratch = config::scratch()?;
    let shown = easyenclave_git::redact(repository);
    let source = Source::open(repository, scratch.path(), branch)
        .with_context(|| format!("opening {shown}"))?;
    source
        .fetch(DEADLINE)
        .await
        .with_context(|| format!("fetching {shown}"))?;
    let Some(tip) = source.head()? else {
        bail!("{shown} has no branch {branch} yet: nothing was reported")
    };
    let local = match source.is_local() {
        true => Path::new(repository),
        false => scratch.path(),
    };
    Ok((from_commit(&source, tip)?, seen::commit(local, tip)?))
}

/// The documents at the tip of a branch, by their paths. One that is no text has none; `check` says why.
pub(super) async fn documents(place: &Place) -> anyhow::Result<Vec<(String, Option<String>)>> {
    const FILE: usize = 256 * 1024;
    at_tip(place, |source, tip| {
        let mut files = Vec::new();
        for (path, blob) in source.entries(tip, &crate::desired::is_document)? {
            let text = String::from_utf8(source.blob(blob, FILE)?).ok();
            files.push((path, text));
        }
        Ok(files)
    })
    .await
}

/// What somebody reads at the newest tip of a branch.
pub(super) async fn at_tip<T>(
    place: &Place,
    read: impl FnOnce(&Source, CommitId) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (repository, branch) = (&place.repository, &place.branch);
    let scratch = config::scratch()?;
    let read = async {
        let source = Source::open(repository, scratch.path(), branch)?;
        source.fetch(DEADLINE).await?;
        let tip = source.head()?.context("the branch does not exist")?;
        read(&source, tip)
    };
    read.await.with_context(|| {
        let repository = easyenclave_git::redact(repository);
        format!("reading {branch} of {repository}")
    })
}

/// The clone that a command reads.
pub(super) fn clone(repo: &Path) -> anyhow::Result<Past> {
    Past::open(repo).map_err(|error| match error {
        GitError::NotARepository(_) | GitError::Absent(_) => anyhow::anyhow!(
            "{error}: run this in a clone of the state repository, or name one with --repo DIR"
        ),
        error => error.into(),
    })
}

/// The status in a commit of a repository.
pub(super) fn from_commit(source: &Source, commit: CommitId) -> anyhow::Result<Status> {
    const FILE: usize = 4 * 1024 * 1024;
    let mut files = std::collections::BTreeMap::new();
    for (path, blob) in source.entries(commit, &|path| path.ends_with(".yaml"))? {
        files.insert(path, source.blob(blob, FILE)?);
    }
    Ok(report::read(&files)?)
}

//! Reading a status branch, from a data directory or from any repository.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::config::{self, DataDir};
use crate::report::{self, Status};
use crate::settings::Settings;

/// A fetch by the command line may take this long.
const DEADLINE: Duration = Duration::from_secs(60);

/// Where the status is read from.
#[derive(Debug, clap::Args)]
pub(super) struct From {
    /// The data directory of `up` or `serve` on this machine
    #[arg(long, value_name = "DIR", default_value = DataDir::DEFAULT, conflicts_with = "repo")]
    pub(super) data: PathBuf,
    /// Read the status branch of this repository instead
    #[arg(long, value_name = "URL")]
    pub(super) repo: Option<String>,
    /// The branch that status is written to
    #[arg(long, value_name = "BRANCH", default_value = "status")]
    pub(super) status_branch: String,
}

/// A state repository and its branch of desired state.
pub(super) struct Place {
    pub(super) repository: String,
    pub(super) branch: String,
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
                let settings = Settings::load(&DataDir::new(&self.data)?)?;
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
    pub(super) async fn status(&self) -> anyhow::Result<Status> {
        match &self.repo {
            Some(repository) => at(repository, &self.status_branch).await,
            None => {
                let data = DataDir::new(&self.data)?;
                let settings = Settings::load(&data)?;
                let ledger = data.ledger().display().to_string();
                at(&ledger, &settings.status_branch).await
            }
        }
    }
}

/// The status that a revision of a repository holds.
pub(super) async fn at(repository: &str, branch: &str) -> anyhow::Result<Status> {
    read(repository, branch, config::scratch()?.path()).await
}

async fn read(repository: &str, branch: &str, scratch: &std::path::Path) -> anyhow::Result<Status> {
    let source = easyenclave_git::Source::open(repository, scratch, branch)
        .with_context(|| format!("opening {}", easyenclave_git::redact(repository)))?;
    source
        .fetch(DEADLINE)
        .await
        .with_context(|| format!("fetching {}", easyenclave_git::redact(repository)))?;
    let Some(tip) = source.head()? else {
        let repository = easyenclave_git::redact(repository);
        bail!("{repository} has no branch {branch} yet: nothing was reported")
    };
    from_commit(&source, tip)
}

/// The documents at the tip of a branch, by their paths.
pub(super) async fn documents(place: &Place) -> anyhow::Result<Vec<(String, String)>> {
    const FILE: usize = 256 * 1024;
    let (repository, branch) = (&place.repository, &place.branch);
    let scratch = config::scratch()?;
    let read = async {
        let source = easyenclave_git::Source::open(repository, scratch.path(), branch)?;
        source.fetch(DEADLINE).await?;
        let tip = source.head()?.context("the branch does not exist")?;
        let mut files = Vec::new();
        for (path, blob) in source.entries(tip, &crate::desired::is_document)? {
            // What cannot be read is for `check` to say.
            if let Ok(text) = String::from_utf8(source.blob(blob, FILE)?) {
                files.push((path, text));
            }
        }
        anyhow::Ok(files)
    };
    read.await.with_context(|| {
        let repository = easyenclave_git::redact(repository);
        format!("reading {branch} of {repository}")
    })
}

/// The status in a commit of a repository.
pub(super) fn from_commit(
    source: &easyenclave_git::Source,
    commit: easyenclave_git::CommitId,
) -> anyhow::Result<Status> {
    const FILE: usize = 4 * 1024 * 1024;
    let mut files = std::collections::BTreeMap::new();
    for (path, blob) in source.entries(commit, &|path| path.ends_with(".yaml"))? {
        files.insert(path, source.blob(blob, FILE)?);
    }
    Ok(report::read(&files)?)
}

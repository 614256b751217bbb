//! Reading a status branch, from a data directory or from any repository.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::config::DataDir;
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

impl From {
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
    let scratch = std::env::temp_dir().join(format!("easyenclave-read-{}", std::process::id()));
    let read = read(repository, branch, &scratch).await;
    let _ = std::fs::remove_dir_all(&scratch);
    read
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
pub(super) async fn documents(
    repository: &str,
    branch: &str,
) -> anyhow::Result<Vec<(String, String)>> {
    const FILE: usize = 256 * 1024;
    let scratch = std::env::temp_dir().join(format!("easyenclave-read-{}", std::process::id()));
    let read = async {
        let source = easyenclave_git::Source::open(repository, &scratch, branch)?;
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
    let files = read.await;
    let _ = std::fs::remove_dir_all(&scratch);
    files.with_context(|| {
        format!(
            "reading {branch} of {}",
            easyenclave_git::redact(repository)
        )
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

//! What an installation was started with, so that `status`, `why`, `approve` and a worker on the same
//! machine need only the data directory.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::config::DataDir;
use crate::daemon::Config;

/// The settings, as kept in the data directory. Nothing in them is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// The state repository.
    pub repository: String,
    /// The branch of desired state.
    pub branch: String,
    /// The branch of status.
    pub status_branch: String,
    /// Where the API answers.
    pub url: String,
    /// The simulated platform.
    pub platform: PathBuf,
}

impl Settings {
    /// The settings of a daemon that listens there.
    pub fn of(config: &Config, address: SocketAddr) -> Self {
        Self {
            repository: config.repository.clone(),
            branch: config.branch.clone(),
            status_branch: config.status_branch.clone(),
            url: config
                .public_url
                .clone()
                .unwrap_or_else(|| format!("http://{address}")),
            platform: config.platform.clone(),
        }
    }

    /// Keeps them.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, data: &DataDir) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        let path = data.settings();
        let aside = path.with_extension("new");
        std::fs::write(&aside, text)
            .and_then(|()| std::fs::rename(&aside, &path))
            .with_context(|| format!("writing {}", path.display()))
    }

    /// Reads them.
    ///
    /// # Errors
    /// When no daemon was ever started with this data directory.
    pub fn load(data: &DataDir) -> anyhow::Result<Self> {
        let path = data.settings();
        let text = std::fs::read(&path).with_context(|| {
            format!(
                "{}: has `up` or `serve` run with this data directory?",
                path.display()
            )
        })?;
        serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))
    }
}

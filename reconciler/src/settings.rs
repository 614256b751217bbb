//! What an installation was started with, so that `status`, `why`, `approve` and a worker on the same
//! machine need only the data directory.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, bail};
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
    /// The folder of the image that the agents of `up` start from, where they are virtual machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<PathBuf>,
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
            image: None,
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
        let (folder, path) = (data.path(), data.settings());
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && folder.is_dir() => bail!(
                "neither `up` nor `serve` has run with {}: name its data folder with --data DIR",
                folder.display()
            ),
            Err(_) if !folder.exists() => bail!(
                "there is no data folder {}: name that of `up` or `serve` with --data DIR",
                folder.display()
            ),
            Err(_) if !folder.is_dir() => bail!(
                "{} is a file: --data takes the data folder of `up` or `serve`",
                folder.display()
            ),
            Err(error) => {
                return Err(error).with_context(|| format!("reading {}", path.display()));
            }
        };
        serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_in_words() {
        let dir = tempfile::tempdir().expect("a folder");
        let said = |path: PathBuf| {
            let data = DataDir::new(&path).expect("a path");
            let error = Settings::load(&data).expect_err("nothing has run");
            format!("{error:#}")
        };
        std::fs::write(dir.path().join("file"), "").expect("written");
        let missing = said(dir.path().join("nowhere"));
        assert!(missing.contains("there is no data folder"), "{missing}");
        let other = said(dir.path().to_path_buf());
        assert!(other.contains("neither `up` nor `serve`"), "{other}");
        let file = said(dir.path().join("file"));
        assert!(file.contains("is a file"), "{file}");
        for text in [missing, other, file] {
            assert!(text.contains("--data"), "{text}");
            assert!(!text.contains("os error"), "{text}");
        }
    }
}

//! Where things lie on disk. The only file that reads the environment.

use std::path::{Path, PathBuf};

use easyenclave_schemas::Secret;

/// The folder in which `up` and `serve` keep everything that is theirs.
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// The folder that is used when none is named.
    pub const DEFAULT: &str = "easyenclave-data";

    /// The folder, as an absolute path.
    ///
    /// # Errors
    /// When the current directory cannot be read.
    pub fn new(path: &Path) -> std::io::Result<Self> {
        Ok(Self(std::path::absolute(path)?))
    }

    /// The nearest folder of the usual name, here or above, in which `up` or `serve` has run: as Git looks for its own.
    pub fn above(start: &Path) -> Option<Self> {
        let folders = start.ancestors().map(|folder| folder.join(Self::DEFAULT));
        let mut installed = folders.map(Self).filter(|data| data.settings().exists());
        installed.next()
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The state repository that `up` makes.
    pub fn state_repository(&self) -> PathBuf {
        self.0.join("state.git")
    }

    /// The mirror of a state repository that lies elsewhere.
    pub fn mirror(&self) -> PathBuf {
        self.0.join("cache.git")
    }

    /// Where commits of the deploy API to a state repository that lies elsewhere are made.
    pub fn desk(&self) -> PathBuf {
        self.0.join("desk.git")
    }

    /// The clone in which the status branch is written.
    pub fn ledger(&self) -> PathBuf {
        self.0.join("status.git")
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// The reconciler's message key.
    pub fn reconciler_key(&self) -> PathBuf {
        self.0.join("keys/reconciler.pk8")
    }

    /// The seed of nonces and bootstrap tokens.
    pub fn seed(&self) -> PathBuf {
        self.0.join("keys/seed")
    }

    /// The key that workers show.
    pub fn launcher_key(&self) -> PathBuf {
        self.0.join("keys/launcher.key")
    }

    /// The key for Intel Trust Authority, which a person puts there.
    pub fn ita_key(&self) -> PathBuf {
        self.0.join("keys/ita.key")
    }

    /// What opens the fleet's secrets.
    pub fn fleet_identities(&self) -> PathBuf {
        self.0.join("keys/fleet.age")
    }

    /// Collateral of real platforms, kept until it runs out.
    pub fn collateral(&self) -> PathBuf {
        self.0.join("collateral")
    }

    /// The SSH key that signs status commits.
    pub fn signing_key(&self) -> PathBuf {
        self.0.join("keys/status_signing")
    }

    /// Who may sign status commits, for `git verify-commit`.
    pub fn allowed_signers(&self) -> PathBuf {
        self.0.join("allowed_signers")
    }

    /// The simulated platform.
    pub fn platform(&self) -> PathBuf {
        self.0.join("platform")
    }

    /// The worker's folder.
    pub fn worker(&self) -> PathBuf {
        self.0.join("worker")
    }

    /// The image that `up` makes for its machines.
    pub fn image(&self) -> PathBuf {
        self.0.join("image")
    }

    /// What this installation was started with, for `status`, `why` and `approve`.
    pub fn settings(&self) -> PathBuf {
        self.0.join("settings.json")
    }
}

/// This program as whoever runs it called it, for commands that it suggests.
pub fn program() -> String {
    let name = std::env::args_os().next();
    let name = name.map(|name| name.to_string_lossy().into_owned());
    name.filter(|name| !name.is_empty())
        .unwrap_or_else(|| "easyenclave".into())
}

/// The folder that the program was started in.
///
/// # Errors
/// When it is gone.
pub fn here() -> std::io::Result<PathBuf> {
    std::env::current_dir()
}

/// A folder for what a command needs while it runs: its user's alone, and gone when it is dropped.
///
/// # Errors
/// When there is no place for it.
pub fn scratch() -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("easyenclave-").tempdir()
}

/// What the log shows: `EASYENCLAVE_LOG`, or else this.
pub fn log_filter(default: &str) -> String {
    std::env::var("EASYENCLAVE_LOG").unwrap_or_else(|_| default.into())
}

/// The launcher key itself, where a worker's environment has it.
pub fn launcher_api_key() -> Option<Secret<String>> {
    let key = std::env::var("LAUNCHER_API_KEY").ok();
    key.filter(|key| !key.is_empty()).map(Secret::new)
}

/// The key of an owner who calls the API, where the environment has it.
pub fn api_key() -> Option<Secret<String>> {
    let key = std::env::var("EASYENCLAVE_API_KEY").ok();
    let key = key.map(|key| key.trim().to_owned());
    key.filter(|key| !key.is_empty()).map(Secret::new)
}

/// What proves to Cloudflare who asks, where the reconciler's environment has it.
pub fn cloudflare_token() -> Option<Secret<String>> {
    let token = std::env::var("CLOUDFLARE_API_TOKEN").ok();
    token.filter(|token| !token.is_empty()).map(Secret::new)
}

/// Names that the environment of workers had once, and what there is instead.
const FORMER: [(&str, &str); 3] = [
    (
        "LAUNCHER_POLL_SECONDS",
        "the reconciler answers as soon as there is an order",
    ),
    ("INTEL_API_KEY", "--agent-ita-key names a file"),
    ("ITA_API_KEY", "--agent-ita-key names a file"),
];

/// What is set and changes nothing, with what there is instead. The values are not looked at.
pub fn without_effect() -> Vec<(&'static str, &'static str)> {
    let is_set = |(name, _): &(&str, &str)| std::env::var_os(name).is_some();
    FORMER.into_iter().filter(is_set).collect()
}

/// Who makes a commit on a person's behalf: as Git itself would say, by its own variables.
pub fn git_identity() -> Option<(String, String)> {
    let read = |name| {
        std::env::var(name)
            .ok()
            .filter(|value: &String| !value.is_empty())
    };
    Some((read("GIT_AUTHOR_NAME")?, read("GIT_AUTHOR_EMAIL")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_is_found_from_any_folder_below_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let below = dir.path().join("fleet/deployments");
        std::fs::create_dir_all(&below).expect("made");
        assert!(DataDir::above(&below).is_none());
        let data = dir.path().join(DataDir::DEFAULT);
        std::fs::create_dir_all(&data).expect("made");
        assert!(DataDir::above(&below).is_none(), "nothing has run there");
        std::fs::write(data.join("settings.json"), "{}").expect("written");
        let found = DataDir::above(&below).expect("found");
        assert_eq!(found.path(), data);
    }
}

//! What tells of an agent that it has used an engine: a folder among its files. It is made before the engine is asked for
//! anything, and is gone when the engine holds nothing of the agent any more; so who finds none has nothing to ask.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs;

use crate::{Engine, EngineError, Owner, Surroundings};

/// Where the folders of an agent are. They are not made by naming them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    /// The folder that tells.
    pub folder: PathBuf,
    /// A folder that the engine's programs call their home.
    pub home: PathBuf,
}

impl Traces {
    /// Those of the agent with this data folder.
    pub fn of(data_dir: &Path) -> Self {
        Self {
            folder: data_dir.join("compose"),
            home: data_dir.join("engine"),
        }
    }

    /// Where volumes without a name are noted.
    pub fn notes(&self) -> PathBuf {
        self.folder.join("unnamed-volumes")
    }

    /// Whether the engine may hold something of the agent.
    ///
    /// # Errors
    /// When it cannot be looked for.
    pub async fn are_there(&self) -> Result<bool, EngineError> {
        let found = fs::try_exists(&self.folder).await;
        found.map_err(|source| self.failed(source))
    }

    /// Makes the folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn leave(&self) -> Result<(), EngineError> {
        for folder in [&self.folder, &self.home] {
            let mut private = fs::DirBuilder::new();
            let made = private.recursive(true).mode(0o700).create(folder);
            made.await.map_err(|source| self.failed(source))?;
        }
        Ok(())
    }

    /// Empties the engine of all that is the owner's, where there are traces, and removes them last.
    ///
    /// # Errors
    /// When something may be left.
    pub async fn remove(&self, at: &Surroundings, owner: &Owner) -> Result<(), EngineError> {
        if !self.are_there().await? {
            return Ok(());
        }
        let engine = Engine::find(at).await?;
        engine.remove_all(owner, &self.notes()).await?;
        match fs::remove_dir_all(&self.folder).await {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(self.failed(source)),
            _ => Ok(()),
        }
    }

    fn failed(&self, source: io::Error) -> EngineError {
        EngineError::System {
            what: format!("folder {}", self.folder.display()),
            source,
        }
    }
}

//! What tells of an agent that it has used an engine, and which: a folder among its files. It is made before the engine is asked
//! for anything, and is gone when that engine holds nothing of the agent any more; so who finds none has nothing to ask, and
//! who finds one asks no other engine.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::fs;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{Engine, EngineError, Kind, Owner, Surroundings};

/// The most that is read of the file which names an engine, in bytes.
const NAMED: u64 = 16 * 1024;

/// An engine, as the traces name it.
#[derive(Debug, Serialize, Deserialize)]
struct Named {
    program: Kind,
    /// As [`Surroundings::host`].
    host: Option<String>,
}

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

    /// Makes the folder, and notes in it whose engine it tells of and where that listens. A note that says so already is not
    /// touched, and a new one is on the disk before it takes the place of another.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn leave(&self, engine: &Engine) -> Result<(), EngineError> {
        for folder in [&self.folder, &self.home] {
            let mut private = fs::DirBuilder::new();
            let made = private.recursive(true).mode(0o700).create(folder);
            made.await.map_err(|source| self.failed(source))?;
        }
        let named = Named {
            program: engine.kind,
            host: engine.at.host.clone(),
        };
        let text = serde_json::to_vec(&named).expect("plain data");
        let noted = self.note(&text).await;
        noted.map_err(|source| self.failed(source))
    }

    async fn note(&self, text: &[u8]) -> io::Result<()> {
        if self.noted().await?.as_deref() == Some(text) {
            return Ok(());
        }
        let aside = self.named().with_extension("new");
        let mut file = fs::File::create(&aside).await?;
        file.write_all(text).await?;
        file.sync_all().await?;
        fs::rename(&aside, self.named()).await?;
        fs::File::open(&self.folder).await?.sync_all().await
    }

    /// The engine that these tell of, wherever these surroundings would look for one now; another one knows nothing of what is
    /// there. Where nothing is told, the one of the surroundings.
    ///
    /// # Errors
    /// When it is not there or does not answer, and when what is told cannot be read.
    pub async fn engine(&self, at: &Surroundings) -> Result<Engine, EngineError> {
        let Some(named) = self.read().await? else {
            return Engine::find(at).await;
        };
        let own = Surroundings {
            host: named.host,
            ..at.clone()
        };
        let found = Engine::of_kind(&own, named.program).await;
        let is_usual = own.host == at.host && Engine::kind_of(at) == Some(named.program);
        found.map_err(|error| match is_usual {
            true => error,
            false => EngineError::Elsewhere {
                engine: place(named.program, own.host.as_deref()),
                source: Box::new(error),
            },
        })
    }

    /// Empties the engine of all that is the owner's, where there are traces, and removes them last.
    ///
    /// # Errors
    /// When something may be left.
    pub async fn remove(&self, at: &Surroundings, owner: &Owner) -> Result<(), EngineError> {
        if !self.are_there().await? {
            return Ok(());
        }
        let engine = self.engine(at).await?;
        engine.remove_all(owner, &self.notes()).await?;
        match fs::remove_dir_all(&self.folder).await {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(self.failed(source)),
            _ => Ok(()),
        }
    }

    /// The file that names an engine. An agent of before wrote none, or one that was empty after the power had failed.
    fn named(&self) -> PathBuf {
        self.folder.join("engine.json")
    }

    async fn read(&self) -> Result<Option<Named>, EngineError> {
        let text = self.noted().await.map_err(|source| self.failed(source))?;
        let named = text.as_deref().map(serde_json::from_slice).transpose();
        named.map_err(|error| self.failed(io::Error::other(error)))
    }

    /// What the file says; none where it says nothing.
    async fn noted(&self) -> io::Result<Option<Vec<u8>>> {
        let file = match fs::File::open(self.named()).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut text = Vec::new();
        file.take(NAMED).read_to_end(&mut text).await?;
        // What a disk has not written yet is of no length, or zeros.
        let says = text.iter().any(|byte| *byte != 0);
        Ok(says.then_some(text))
    }

    fn failed(&self, source: io::Error) -> EngineError {
        EngineError::System {
            what: format!("folder {}", self.folder.display()),
            source,
        }
    }
}

/// An engine in words.
fn place(kind: Kind, host: Option<&str>) -> String {
    match host {
        Some(host) => format!("{} at {host}", kind.program()),
        None => format!("{} at its usual place", kind.program()),
    }
}

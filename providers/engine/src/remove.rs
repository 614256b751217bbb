//! Removes what an engine has of an owner: containers, then networks and volumes. Complete or an error; nothing to remove
//! is no error. Images stay: they are the engine's store, and others may use them.
//!
//! A volume without a name has no label either: it is known by the container that has it, and outlives that one where
//! compose has handed it on to the next. So such volumes are noted in a file before their containers go.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::run::answer;
use crate::{Container, Engine, EngineError, Owner};

/// How long one removal may take.
const REMOVAL: Duration = Duration::from_secs(20);

/// The pause between two looks.
const BETWEEN: Duration = Duration::from_millis(100);

/// So many looks at the most.
const LOOKS: u32 = 20;

/// How long all looks and removals may take together.
const WHOLE: Duration = Duration::from_secs(120);

impl Engine {
    /// Removes all that the engine has of an owner, and what was noted of his volumes in this file, which may be missing.
    ///
    /// # Errors
    /// When something may be left.
    pub async fn remove_all(&self, owner: &Owner, notes: &Path) -> Result<(), EngineError> {
        let late = |_| EngineError::Late {
            what: "removing all".into(),
            seconds: WHOLE.as_secs(),
        };
        let removal = timeout(WHOLE, self.remove_until_clear(owner, notes));
        removal.await.map_err(late)?
    }

    async fn remove_until_clear(&self, owner: &Owner, notes: &Path) -> Result<(), EngineError> {
        let (mut clear, mut error) = (0, None);
        for _ in 0..LOOKS {
            match self.remove_once(owner, notes).await {
                Ok(0) => clear += 1,
                Ok(left) => (clear, error) = (0, Some(EngineError::Left(left))),
                // An engine that hangs is not asked again and again.
                Err(late @ EngineError::Late { .. }) => return Err(late),
                // What is being removed by somebody else refuses to be removed.
                Err(failed) => (clear, error) = (0, Some(failed)),
            }
            // What a program asked the engine to make just before it was ended may come after the first look.
            if clear == 2 {
                return forget(notes);
            }
            sleep(BETWEEN).await;
        }
        Err(error.unwrap_or(EngineError::Left(0)))
    }

    /// Notes which volumes without a name there are, before something may take their containers away.
    ///
    /// # Errors
    /// When containers cannot be listed, or the file cannot be written.
    pub async fn note_volumes(&self, owner: &Owner, notes: &Path) -> Result<(), EngineError> {
        let containers = self.containers(owner).await?;
        note(&containers, notes).map(drop)
    }

    /// Removes noted volumes that no container of the owner has any more.
    ///
    /// # Errors
    /// When one of them may be left.
    pub async fn remove_unused(&self, owner: &Owner, notes: &Path) -> Result<(), EngineError> {
        let containers = self.containers(owner).await?;
        let noted = note(&containers, notes)?;
        let used: BTreeSet<_> = containers.iter().flat_map(|found| &found.unnamed).collect();
        let unused: Vec<_> = noted
            .iter()
            .filter(|name| !used.contains(name))
            .cloned()
            .collect();
        self.remove_volumes(&unused).await.map(drop)
    }

    /// Removes those of these containers whose service a project has no more, where compose has not done so. Answers whether
    /// there were any.
    ///
    /// # Errors
    /// When one of them may be left.
    pub async fn remove_strays(
        &self,
        containers: &[Container],
        services: &[String],
    ) -> Result<bool, EngineError> {
        let strays = containers.iter();
        let strays: Vec<_> = strays
            .filter(|found| !services.contains(&found.service))
            .map(|found| found.id.clone())
            .collect();
        self.remove(&["rm", "--force"], &strays).await?;
        Ok(!strays.is_empty())
    }

    /// Answers how many things there were.
    async fn remove_once(&self, owner: &Owner, notes: &Path) -> Result<usize, EngineError> {
        let containers = self.containers(owner).await?;
        let noted: Vec<_> = note(&containers, notes)?.into_iter().collect();
        let ids: Vec<_> = containers
            .into_iter()
            .map(|container| container.id)
            .collect();
        self.remove(&["rm", "--force", "--volumes"], &ids).await?;
        let networks = self.ids(&["network", "ls", "--quiet"], owner).await?;
        self.remove(&["network", "rm"], &networks).await?;
        let volumes = self.ids(&["volume", "ls", "--quiet"], owner).await?;
        self.remove(&["volume", "rm"], &volumes).await?;
        let unnamed = self.remove_volumes(&noted).await?;
        Ok(ids.len() + networks.len() + volumes.len() + unnamed)
    }

    /// Removes those of these volumes that are there. Answers how many.
    async fn remove_volumes(&self, names: &[String]) -> Result<usize, EngineError> {
        if names.is_empty() {
            return Ok(0);
        }
        let list = self.command(&["volume", "ls", "--quiet"]);
        let told = answer("volume ls", list, REMOVAL).await?;
        let told = String::from_utf8_lossy(&told);
        let there: BTreeSet<_> = told.split_whitespace().collect();
        let left: Vec<_> = names
            .iter()
            .filter(|name| there.contains(name.as_str()))
            .cloned()
            .collect();
        self.remove(&["volume", "rm"], &left).await?;
        Ok(left.len())
    }

    async fn remove(&self, verb: &[&str], ids: &[String]) -> Result<(), EngineError> {
        if ids.is_empty() {
            return Ok(());
        }
        let ids = ids.iter().map(String::as_str);
        let arguments: Vec<_> = verb.iter().copied().chain(ids).collect();
        answer(&verb.join(" "), self.command(&arguments), REMOVAL)
            .await
            .map(drop)
    }
}

/// Adds the volumes of these containers to those in the file, and answers them all. Nothing to note makes no file.
fn note(containers: &[Container], notes: &Path) -> Result<BTreeSet<String>, EngineError> {
    let failed = |source| EngineError::System {
        what: format!("notes in {}", notes.display()),
        source,
    };
    let text = match fs::read_to_string(notes) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.map_err(failed)?,
    };
    let before: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    let found = containers
        .iter()
        .flat_map(|found| found.unnamed.iter().cloned());
    let all: BTreeSet<String> = before.iter().cloned().chain(found).collect();
    if all.len() > before.len() {
        let lines: String = all.iter().flat_map(|name| [name.as_str(), "\n"]).collect();
        write(notes, &lines).map_err(failed)?;
    }
    Ok(all)
}

/// Aside and renamed, and on the disk before anything goes.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let aside = path.with_extension("new");
    let mut file = fs::File::create(&aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(aside, path)
}

fn forget(notes: &Path) -> Result<(), EngineError> {
    match fs::remove_file(notes) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(EngineError::System {
            what: format!("notes in {}", notes.display()),
            source,
        }),
        _ => Ok(()),
    }
}

//! Bare clones of our own: the mirror that is read through, and the one that the ledger writes in. A clone
//! that is not ours alone is not used.

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use git2::Repository;

use crate::GitError;

/// Opens or makes a bare clone of ours. What a killed `git` left is removed: nobody else writes here.
pub(crate) fn open_bare(path: &Path) -> Result<Repository, GitError> {
    claim(path).map_err(|error| GitError::File(path.to_path_buf(), error))?;
    let repository = match Repository::open_bare(path) {
        Ok(repository) => repository,
        Err(_) => Repository::init_bare(path)?,
    };
    sweep(path);
    Ok(repository)
}

/// Removes what a `git` that was killed left in a clone of ours. None may be at work in it.
pub(crate) fn sweep(path: &Path) {
    for left in leftovers(path) {
        let _ = std::fs::remove_file(left);
    }
}

/// Whether a `git` that is at work in a clone has got anything of a pack yet.
pub(crate) fn is_arriving(path: &Path) -> bool {
    let entries = std::fs::read_dir(path.join("objects/pack"));
    let mut entries = entries.into_iter().flatten().flatten();
    entries.any(|entry| {
        let is_new = entry.file_name().to_string_lossy().starts_with("tmp_pack_");
        is_new && entry.metadata().is_ok_and(|metadata| metadata.len() > 0)
    })
}

/// Opens or makes a bare clone of ours that a check finds sound. One that is damaged, as a power cut can
/// leave it, is put aside.
pub(crate) fn open_sound(
    path: &Path,
    check: impl Fn(&Repository) -> Result<(), GitError>,
) -> Result<Repository, GitError> {
    let opened = open_bare(path).and_then(|clone| check(&clone).map(|()| clone));
    let Err(GitError::Damaged(said)) = opened else {
        return opened;
    };
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    tracing::warn!(said, aside = %Path::new(&aside).display(), "clone is damaged; made anew");
    // The newest is enough to find out what happened.
    let _ = std::fs::remove_dir_all(&aside);
    std::fs::rename(path, &aside).map_err(|error| GitError::File(path.to_path_buf(), error))?;
    open_bare(path)
}

/// Makes the folder, for its owner alone. One that somebody else put there first, as anybody can below
/// `/tmp`, could have `git` run programs by its configuration.
fn claim(path: &Path) -> std::io::Result<()> {
    let mut make = std::fs::DirBuilder::new();
    make.recursive(true).mode(0o700).create(path)?;
    // A link counts by who made it.
    let owner = std::fs::symlink_metadata(path)?.uid();
    match owner == rustix::process::geteuid().as_raw() {
        true => Ok(()),
        false => Err(std::io::Error::other("belongs to another user")),
    }
}

/// Locks, and packs that were not finished.
fn leftovers(path: &Path) -> Vec<PathBuf> {
    let mut left = Vec::new();
    let mut folders = vec![path.to_path_buf(), path.join("objects/pack")];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let unfinished = ["tmp_", ".tmp-", "pack_git2_"]
                .iter()
                .any(|start| name.starts_with(start));
            if is_folder && name != "objects" {
                folders.push(path);
            } else if name.ends_with(".lock") || (unfinished && folder.ends_with("objects/pack")) {
                left.push(path);
            }
        }
    }
    left
}

/// A relative path would be read from the clone's folder.
pub(crate) fn absolute(location: &str) -> String {
    let path = Path::new(location);
    match path.exists() {
        true => {
            std::path::absolute(path).map_or(location.into(), |path| path.display().to_string())
        }
        false => location.into(),
    }
}

#[cfg(test)]
mod tests {
    use git2::{Error, ErrorClass, ErrorCode};

    use super::*;

    #[test]
    fn a_clone_is_put_aside_for_damage_and_for_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let (clone, aside) = (dir.path().join("c.git"), dir.path().join("c.git.damaged"));
        open_bare(&clone).expect("made");
        std::fs::write(clone.join("ours"), "1").expect("written");
        let error = |class, code| move |_: &Repository| Err(Error::new(code, class, "x").into());
        for class in [ErrorClass::Os, ErrorClass::NoMemory] {
            let opened = open_sound(&clone, error(class, ErrorCode::GenericError));
            assert!(matches!(opened, Err(GitError::Objects(_))));
            assert!(clone.join("ours").exists() && !aside.exists());
        }
        let missing = error(ErrorClass::Odb, ErrorCode::NotFound);
        open_sound(&clone, missing).expect("made anew");
        assert!(aside.join("ours").exists() && !clone.join("ours").exists());
    }

    #[test]
    fn stale_locks_of_our_own_mirror_are_removed() {
        let dir = tempfile::tempdir().expect("a folder");
        let mirror = dir.path().join("mirror.git");
        open_bare(&mirror).expect("made");
        std::fs::create_dir_all(mirror.join("refs/heads")).expect("made");
        let left = [
            "refs/heads/main.lock",
            "config.lock",
            "objects/pack/tmp_pack_x",
        ];
        let kept = ["objects/pack/pack-x.keep", "refs/heads/tmp_branch"];
        for name in left.iter().chain(&kept) {
            std::fs::write(mirror.join(name), "").expect("written");
        }
        open_bare(&mirror).expect("opened");
        for name in left {
            assert!(!mirror.join(name).exists(), "{name}");
        }
        for name in kept {
            assert!(mirror.join(name).exists(), "{name}");
        }
    }

    #[test]
    fn a_clone_is_its_owners_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("mirror.git");
        open_bare(&path).expect("made");
        let mode = std::fs::metadata(&path).expect("there").mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
        let (theirs, link) = (dir.path().join("theirs.git"), dir.path().join("link.git"));
        std::fs::create_dir(&theirs).expect("made");
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        if std::os::unix::fs::lchown(&link, Some(1), None).is_err() {
            println!("SKIPPED: needs the right to give files away");
            return;
        }
        std::os::unix::fs::chown(&theirs, Some(1), None).expect("given away");
        for foreign in [theirs, link] {
            assert!(matches!(open_bare(&foreign), Err(GitError::File(..))));
        }
    }
}

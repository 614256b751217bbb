//! A package unpacked, to take single files out of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::ImageError;
use crate::child::Tool;
use crate::packages::Fetched;

/// A kernel's package is 100 MB unpacked.
const UNPACK: Tool = Tool {
    program: "dpkg-deb",
    package: "dpkg",
    limit: Duration::from_secs(120),
};

/// Where a package is unpacked in its temporary folder.
const FILES: &str = "files";

/// Folders of packages are at most ten deep; a package with deeper ones is none that we know.
const DEPTH: usize = 16;

/// A folder that is gone when it is dropped.
///
/// # Errors
/// When there is no place for it.
pub(crate) fn scratch() -> Result<TempDir, ImageError> {
    tempfile::tempdir().map_err(ImageError::file(Path::new("a temporary folder")))
}

/// A package's files, gone when this is dropped.
pub(crate) struct Unpacked {
    /// The package's name.
    pub(crate) package: String,
    /// Its files, in [`FILES`].
    folder: TempDir,
}

impl Unpacked {
    /// Unpacks a package: the very bytes that were held against its digest, in a folder of our own.
    ///
    /// # Errors
    /// When it is no package, or there is no place for it.
    pub(crate) async fn of(fetched: &Fetched) -> Result<Self, ImageError> {
        let folder = scratch()?;
        let file = folder.path().join("package.deb");
        fs::write(&file, &fetched.bytes).map_err(ImageError::file(&file))?;
        let args = ["--extract", "package.deb", FILES];
        UNPACK.run(folder.path(), &args).await?;
        let package = fetched.package.name.clone();
        Ok(Self { package, folder })
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join(FILES)
    }

    /// The bytes of the first of these files that is there. Links are followed within the package only.
    ///
    /// # Errors
    /// When none is there, or it cannot be read.
    pub(crate) fn read(&self, paths: &[&str]) -> Result<Vec<u8>, ImageError> {
        let found = paths.iter().find_map(|path| self.find(path));
        let found = found.ok_or_else(|| self.lacks(paths[0]))?;
        fs::read(&found).map_err(ImageError::file(&found))
    }

    /// Where a file of this path is, or that which a link of this path means.
    pub(crate) fn find(&self, path: &str) -> Option<PathBuf> {
        let full = self.root().join(path);
        let target = fs::read_link(&full).ok();
        let full = match target {
            Some(target) => match target.strip_prefix("/") {
                Ok(inside) => self.root().join(inside),
                Err(_) => full.parent()?.join(target),
            },
            None => full,
        };
        let real = fs::canonicalize(full).ok()?;
        let root = fs::canonicalize(self.root()).ok()?;
        (real.starts_with(root) && real.is_file()).then_some(real)
    }

    /// All files under a folder, sorted by path; none where there is no such folder.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub(crate) fn files(&self, below: &str) -> Result<Vec<PathBuf>, ImageError> {
        let folder = self.root().join(below);
        let mut found = Vec::new();
        if folder.is_dir() {
            walk(&folder, DEPTH, &mut found).map_err(ImageError::file(&folder))?;
        }
        found.sort();
        Ok(found)
    }

    /// The error for what is not in it.
    pub(crate) fn lacks(&self, missing: &str) -> ImageError {
        ImageError::Incomplete {
            package: self.package.clone(),
            missing: missing.to_owned(),
        }
    }
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_file() => found.push(entry.path()),
            kind if kind.is_dir() && depth > 0 => walk(&entry.path(), depth - 1, found)?,
            kind if kind.is_dir() => return Err(io::Error::other("its folders are too deep")),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_walked_to_its_end_is_an_error() {
        let folder = scratch().expect("a folder");
        let package = Unpacked {
            package: "one".into(),
            folder,
        };
        let deep = |levels: usize| package.root().join("lib/".repeat(levels));
        assert!(package.files("lib").expect("none").is_empty());
        fs::create_dir_all(deep(DEPTH)).expect("made");
        fs::write(deep(DEPTH).join("module.ko"), b"module").expect("written");
        assert_eq!(package.files("lib").expect("walked").len(), 1);
        fs::create_dir_all(deep(DEPTH + 2)).expect("made");
        assert!(package.files("lib").is_err());
    }
}

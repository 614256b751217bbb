//! A package unpacked, to take single files out of it.

use std::fs;
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

/// The folders below the root are three or four deep; deeper than this nothing is looked for.
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
    folder: TempDir,
}

impl Unpacked {
    /// Unpacks a package.
    ///
    /// # Errors
    /// When it is no package, or there is no place for it.
    pub(crate) async fn of(fetched: &Fetched) -> Result<Self, ImageError> {
        let folder = scratch()?;
        let args = [Path::new("--extract"), &fetched.file, folder.path()];
        UNPACK.run(Path::new("/"), &args).await?;
        let package = fetched.package.name.clone();
        Ok(Self { package, folder })
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
        let full = self.folder.path().join(path);
        let target = fs::read_link(&full).ok();
        let full = match target {
            Some(target) => match target.strip_prefix("/") {
                Ok(inside) => self.folder.path().join(inside),
                Err(_) => full.parent()?.join(target),
            },
            None => full,
        };
        let real = fs::canonicalize(full).ok()?;
        let root = fs::canonicalize(self.folder.path()).ok()?;
        (real.starts_with(root) && real.is_file()).then_some(real)
    }

    /// All files under a folder, sorted by path.
    pub(crate) fn files(&self, below: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.folder.path().join(below), DEPTH, &mut found);
        found.sort();
        found
    }

    /// The error for what is not in it.
    pub(crate) fn lacks(&self, missing: &str) -> ImageError {
        ImageError::Incomplete {
            package: self.package.clone(),
            missing: missing.to_owned(),
        }
    }
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        match entry.file_type() {
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            Ok(kind) if kind.is_dir() && depth > 0 => walk(&entry.path(), depth - 1, found),
            _ => {}
        }
    }
}

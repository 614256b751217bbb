//! Files and folders that are not there, in words: what was missing, and what it was for.

use std::io::{Error, ErrorKind};
use std::path::Path;

/// Why a file or folder could not be used, by what it is, such as `the launcher key`.
pub(super) fn because(what: &str, path: &Path, error: Error) -> anyhow::Error {
    let path = path.display();
    match error.kind() {
        ErrorKind::NotFound => anyhow::anyhow!("{what} {path} does not exist"),
        ErrorKind::NotADirectory => anyhow::anyhow!("{what} {path} is not a folder"),
        ErrorKind::IsADirectory => anyhow::anyhow!("{what} {path} is a folder"),
        ErrorKind::PermissionDenied => anyhow::anyhow!("{what} {path} may not be used by you"),
        _ => anyhow::Error::new(error).context(format!("{what} {path}")),
    }
}

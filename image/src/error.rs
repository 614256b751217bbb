//! What can go wrong when an image is made or opened.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use easyenclave_schemas::Digest;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file or folder cannot be read or written.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program that does part of the work cannot be run.
    #[error("{program} cannot be run (Debian: apt-get install {package})")]
    Missing {
        /// Its name.
        program: &'static str,
        /// The package that brings it.
        package: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A program that does part of the work has failed.
    #[error("{program} failed: {words}")]
    Failed {
        /// Its name.
        program: &'static str,
        /// The last it said.
        words: String,
    },
    /// A program that does part of the work did not end in time, and was ended.
    #[error("{program} has not ended within {} s", limit.as_secs())]
    Deadline {
        /// Its name.
        program: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// The package manager has no such package.
    #[error("apt knows no package {package} to download; `apt-get update` makes it look again")]
    UnknownPackage {
        /// Its name.
        package: String,
    },
    /// The package manager no longer has the version that the lock asks for.
    #[error(
        "apt has no version {wanted} of {package}, which the lock asks for; it has {}",
        now.as_deref().unwrap_or("none")
    )]
    VersionGone {
        /// The package.
        package: String,
        /// The version in the lock.
        wanted: String,
        /// The version that it would install today.
        now: Option<String>,
    },
    /// A lock that does not name a package which the image is made of.
    #[error("the lock has no package {package}")]
    NotLocked {
        /// The package.
        package: String,
    },
    /// Bytes that are not those that were asked for.
    #[error("{what} has the SHA-256 {found}, and {expected} was expected")]
    Digest {
        /// What was read.
        what: String,
        /// What it should have been.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// A package that does not hold what it should.
    #[error("package {package} has no {missing}")]
    Incomplete {
        /// The package.
        package: String,
        /// What it lacks.
        missing: String,
    },
    /// A kernel's module that is compressed in a way we do not undo.
    #[error(
        "the module {0} is neither plain nor compressed with xz: take another kernel's package"
    )]
    Module(String),
    /// A program that needs a library which the image does not have.
    #[error("{} needs {library}, which is in no package of the image", program.display())]
    Library {
        /// The program.
        program: PathBuf,
        /// The library.
        library: String,
    },
    /// Two programs of one name, or a name that no program can have.
    #[error("{} cannot be a program of the image: {reason}", program.display())]
    Program {
        /// The file.
        program: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// A program or library that needs a newer library than the image has.
    #[error(
        "{} needs {version} of {library}, and the image's {library} has no such version: build it where libraries are as old, or \
         take packages of a newer system",
        program.display()
    )]
    Version {
        /// The program or library.
        program: PathBuf,
        /// The library that it needs.
        library: String,
        /// The version of symbols in that library, such as `GLIBC_2.39`.
        version: String,
    },
    /// A folder that holds anything but an image is not replaced by one.
    #[error("{} holds something else than an image: it is left as it is", .0.display())]
    Occupied(PathBuf),
    /// Packages that lie in the image's own folder would be gone with the next image.
    #[error("packages cannot be kept in {}, which is in the image's folder: --cache names another", .0.display())]
    Inside(PathBuf),
    /// Packages are not taken from, nor left to, a folder in which others can write.
    #[error("others can write in {}, so no packages are kept there: `chmod go-w`, or --cache with a folder of your own", .0.display())]
    Shared(PathBuf),
    /// A manifest that cannot be understood.
    #[error("{} is no manifest of an image: {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

impl ImageError {
    /// Whether this machine lacks a part, such as a program or the package manager's offer, so that nothing is said
    /// about the image.
    pub fn is_of_the_machine(&self) -> bool {
        match self {
            Self::Missing { .. } | Self::UnknownPackage { .. } => true,
            Self::Failed { program, .. } | Self::Deadline { program, .. } => {
                program.starts_with("apt-")
            }
            _ => false,
        }
    }

    /// Adds the path to an error of the file system.
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { path, source }
    }
}

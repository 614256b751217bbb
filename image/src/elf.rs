//! Programs as they go into an image: without what only a debugger reads, and with the libraries that they name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use easyenclave_schemas::Digest;

use crate::ImageError;
use crate::child::Tool;

const STRIP: Tool = Tool {
    program: "strip",
    package: "binutils",
    limit: Duration::from_secs(60),
};

const READ: Tool = Tool {
    program: "objdump",
    package: "binutils",
    limit: Duration::from_secs(60),
};

/// What a program for the machine begins with. Scripts do not, and are taken as they are.
const MAGIC: &[u8] = b"\x7fELF";

/// How a table of versions marks what can be done without.
const WEAK: &str = "0x02";

/// The longest program, in bytes: an unstripped one of ours is 150 MB.
const LONGEST: u64 = 512 * 1024 * 1024;

/// The digest of a program's file, and its bytes without symbols and debugging information: the same for the same
/// program and the same `strip`.
///
/// # Errors
/// When it cannot be read, is too long, or is broken.
pub(crate) async fn stripped(
    program: &Path,
    scratch: &Path,
) -> Result<(Digest, Vec<u8>), ImageError> {
    let length = fs::metadata(program)
        .map_err(ImageError::file(program))?
        .len();
    if length > LONGEST {
        return Err(ImageError::Program {
            program: program.to_path_buf(),
            reason: "it is longer than 512 MiB",
        });
    }
    let bytes = fs::read(program).map_err(ImageError::file(program))?;
    let given = Digest::of(&bytes);
    if !bytes.starts_with(MAGIC) {
        return Ok((given, bytes));
    }
    let (whole, out) = (scratch.join("whole"), scratch.join("stripped"));
    fs::write(&whole, &bytes).map_err(ImageError::file(&whole))?;
    let args = ["--strip-all", "-o", "stripped", "whole"];
    STRIP.run(scratch, &args).await?;
    let bytes = fs::read(&out).map_err(ImageError::file(&out))?;
    Ok((given, bytes))
}

/// The name and version of `strip`, in its own words.
///
/// # Errors
/// When it cannot be run.
pub(crate) async fn version() -> Result<String, ImageError> {
    let said = STRIP.run(Path::new("/"), &["--version"]).await?;
    let said = String::from_utf8_lossy(&said);
    let first = said.lines().next().unwrap_or_default();
    Ok(first
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect())
}

/// What a program or library asks of libraries, and what it gives to those that ask it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Linked {
    /// The libraries that it names.
    pub(crate) libraries: Vec<String>,
    /// Versions of symbols, each with the library that must have it.
    needs: Vec<(String, String)>,
    /// The versions of its own symbols; none in a library that does not tell them apart.
    has: BTreeSet<String>,
}

impl Linked {
    /// The first version that it needs and one of these libraries lacks, with the library.
    pub(crate) fn lacks(&self, libraries: &BTreeMap<String, Self>) -> Option<(String, String)> {
        let is_lacking = |(library, version): &&(String, String)| {
            let found = libraries.get(library);
            found.is_some_and(|found| !found.has.is_empty() && !found.has.contains(version))
        };
        self.needs.iter().find(is_lacking).cloned()
    }

    /// Reads what `objdump -p` prints: names of libraries, then versions in two tables.
    fn read(said: &str) -> Self {
        let mut linked = Self::default();
        let (mut defines, mut from) = (false, None);
        for line in said.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["NEEDED", library] => linked.libraries.push(library.to_owned()),
                ["Version", "definitions:"] => defines = true,
                ["Version", "References:"] => defines = false,
                ["required", "from", library] => from = library.strip_suffix(':'),
                [_, _, hash, version] if defines && hash.starts_with("0x") => {
                    linked.has.insert(version.to_owned());
                }
                // The program runs without those that are marked as weak.
                [hash, flags, _, version]
                    if !defines && hash.starts_with("0x") && flags != WEAK =>
                {
                    let need = from.map(|library| (library.to_owned(), version.to_owned()));
                    linked.needs.extend(need);
                }
                _ => {}
            }
        }
        linked
    }
}

/// How a program or library hangs together with libraries; not at all, for a script.
///
/// # Errors
/// When it is broken.
pub(crate) async fn linked(bytes: &[u8], scratch: &Path) -> Result<Linked, ImageError> {
    if !bytes.starts_with(MAGIC) {
        return Ok(Linked::default());
    }
    let file = scratch.join("read");
    fs::write(&file, bytes).map_err(ImageError::file(&file))?;
    let said = READ.run(scratch, &["-p", "read"]).await?;
    Ok(Linked::read(&String::from_utf8_lossy(&said)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_loses_its_symbols_and_the_same_bytes_each_time() {
        let dir = tempfile::tempdir().expect("a folder");
        // The program of this test is one of ours, with symbols.
        let program = std::env::current_exe().expect("a program");
        let first = stripped(&program, dir.path()).await.expect("stripped");
        let other = tempfile::tempdir().expect("a folder");
        let copy = other.path().join("copy");
        fs::copy(&program, &copy).expect("copied");
        let second = stripped(&copy, other.path()).await.expect("stripped");
        assert!(first == second, "two bytes of the same program");
        let (given, first) = first;
        let whole = fs::read(&program).expect("there");
        assert!(first.len() < whole.len());
        assert_eq!(given, Digest::of(&whole));
        let linked = linked(&first, dir.path()).await.expect("read");
        let libc = "libc.so.6".to_owned();
        assert!(linked.libraries.contains(&libc), "{linked:?}");
        assert!(linked.needs.iter().any(|(library, _)| *library == libc));
        let version = version().await.expect("a version");
        assert!(version.contains("strip"), "{version}");
    }

    #[tokio::test]
    async fn a_script_stays_as_it_is_and_names_no_library() {
        let dir = tempfile::tempdir().expect("a folder");
        let script = dir.path().join("script");
        fs::write(&script, "#!/bin/sh\n").expect("written");
        let (given, bytes) = stripped(&script, dir.path()).await.expect("read");
        assert_eq!(bytes, b"#!/bin/sh\n");
        assert_eq!(given, Digest::of(&bytes));
        let linked = linked(&bytes, dir.path()).await.expect("read");
        assert_eq!(linked, Linked::default());
    }

    #[test]
    fn a_version_that_a_library_lacks_is_found_but_for_weak_ones() {
        let library = "Dynamic Section:\n  NEEDED               ld.so.2\n\nVersion definitions:\n\
                       1 0x01 0x04bd5c11 libc.so.6\n2 0x00 0x0b792650 GLIBC_2.35\n\
                       3 0x00 0x0b792653 GLIBC_2.36\n\tGLIBC_2.35 \n\n";
        let program = "  NEEDED               libc.so.6\n\nVersion References:\n  required from libc.so.6:\n    \
                       0x069691b5 0x00 18 GLIBC_2.36\n    0x06969194 0x02 17 GLIBC_2.40\n";
        let (library, program) = (Linked::read(library), Linked::read(program));
        assert_eq!(library.libraries, ["ld.so.2"]);
        let libraries = BTreeMap::from([("libc.so.6".to_owned(), library)]);
        assert_eq!(program.lacks(&libraries), None);
        let newer = Linked::read(
            "Version References:\n  required from libc.so.6:\n    0x069691b5 0x00 18 GLIBC_2.39\n",
        );
        let lacks = newer.lacks(&libraries).expect("a version");
        assert_eq!(lacks, ("libc.so.6".into(), "GLIBC_2.39".into()));
        // A library without a table of versions has all of them.
        let plain = BTreeMap::from([("libc.so.6".to_owned(), Linked::default())]);
        assert_eq!(newer.lacks(&plain), None);
    }
}

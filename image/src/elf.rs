//! Programs as they go into an image: without what only a debugger reads, and with the libraries that they name.

use std::fs;
use std::path::Path;
use std::time::Duration;

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

/// The longest program, in bytes: an unstripped one of ours is 150 MB.
const LONGEST: u64 = 512 * 1024 * 1024;

/// The bytes of a program without symbols and debugging information: the same for the same program.
///
/// # Errors
/// When it cannot be read, is too long, or is broken.
pub(crate) async fn stripped(program: &Path, scratch: &Path) -> Result<Vec<u8>, ImageError> {
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
    if !bytes.starts_with(MAGIC) {
        return Ok(bytes);
    }
    let (whole, out) = (scratch.join("whole"), scratch.join("stripped"));
    fs::write(&whole, &bytes).map_err(ImageError::file(&whole))?;
    let args = ["--strip-all", "-o", "stripped", "whole"];
    STRIP.run(scratch, &args).await?;
    fs::read(&out).map_err(ImageError::file(&out))
}

/// The libraries that a program or library names; none for a script.
///
/// # Errors
/// When it is broken.
pub(crate) async fn libraries(bytes: &[u8], scratch: &Path) -> Result<Vec<String>, ImageError> {
    if !bytes.starts_with(MAGIC) {
        return Ok(Vec::new());
    }
    let file = scratch.join("read");
    fs::write(&file, bytes).map_err(ImageError::file(&file))?;
    let said = READ.run(scratch, &["-p", "read"]).await?;
    let said = String::from_utf8_lossy(&said);
    let named = |line: &str| Some(line.trim().strip_prefix("NEEDED")?.trim().to_owned());
    Ok(said.lines().filter_map(named).collect())
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
        assert!((first.len() as u64) < fs::metadata(&program).expect("there").len());
        let named = libraries(&first, dir.path()).await.expect("read");
        assert!(named.contains(&"libc.so.6".to_owned()), "{named:?}");
    }

    #[tokio::test]
    async fn a_script_stays_as_it_is_and_names_no_library() {
        let dir = tempfile::tempdir().expect("a folder");
        let script = dir.path().join("script");
        fs::write(&script, "#!/bin/sh\n").expect("written");
        let bytes = stripped(&script, dir.path()).await.expect("read");
        assert_eq!(bytes, b"#!/bin/sh\n");
        assert!(
            libraries(&bytes, dir.path())
                .await
                .expect("read")
                .is_empty()
        );
    }
}

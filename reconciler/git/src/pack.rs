//! New objects as one pack file. The library's own writers set up a compressor for each object, which
//! costs more than all the rest of a status commit; here one compressor serves the whole pack. The
//! library still reads every byte back when it makes the index.

use std::io::Write;

use flate2::{Compress, Compression, FlushCompress};
use git2::{ObjectType, Odb, Oid, Repository};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

use crate::GitError;

/// Lets `make` write objects in memory, and keeps those that it names, on the disk, as one pack.
pub(crate) fn pack<T, E: From<GitError>>(
    repository: &Repository,
    make: impl FnOnce(&mut Vec<Oid>) -> Result<T, E>,
) -> Result<T, E> {
    let odb = repository.odb().map_err(GitError::from)?;
    // Above the files on disk, so that new objects go here.
    let memory = odb.add_new_mempack_backend(1000).map_err(GitError::from)?;
    let mut new = Vec::new();
    let made = make(&mut new)?;
    new.sort();
    new.dedup();
    if !new.is_empty() {
        keep(&odb, &new)?;
    }
    memory.reset().map_err(GitError::from)?;
    Ok(made)
}

fn keep(odb: &Odb<'_>, objects: &[Oid]) -> Result<(), GitError> {
    let bytes = bytes(odb, objects)?;
    let mut writer = odb.packwriter()?;
    writer
        .write_all(&bytes)
        .map_err(|error| GitError::Objects(error.to_string()))?;
    writer.commit()?;
    Ok(())
}

/// A pack, version 2: a header, each object behind its type and length, and a checksum.
fn bytes(odb: &Odb<'_>, objects: &[Oid]) -> Result<Vec<u8>, GitError> {
    let count = u32::try_from(objects.len())
        .map_err(|_| GitError::TooLarge("too many objects for one pack".into()))?;
    let mut pack = b"PACK".to_vec();
    pack.extend(2_u32.to_be_bytes());
    pack.extend(count.to_be_bytes());
    let mut compress = Compress::new(Compression::fast(), true);
    for object in objects {
        let object = odb.read(*object)?;
        head(&mut pack, object.kind(), object.len());
        deflate(&mut compress, object.data(), &mut pack)?;
    }
    let mut checksum = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    checksum.update(&pack);
    pack.extend(checksum.finish().as_ref());
    Ok(pack)
}

/// Three bits of type and four of length, then seven bits of length to a byte.
fn head(pack: &mut Vec<u8>, kind: ObjectType, mut length: usize) {
    let kind = match kind {
        ObjectType::Commit => 1,
        ObjectType::Tree => 2,
        ObjectType::Tag => 4,
        ObjectType::Blob | ObjectType::Any => 3,
    };
    let low = |length: usize, bits: u32| u8::try_from(length & ((1 << bits) - 1)).unwrap_or(0);
    let mut byte = (kind << 4) | low(length, 4);
    length >>= 4;
    while length > 0 {
        pack.push(byte | 0x80);
        byte = low(length, 7);
        length >>= 7;
    }
    pack.push(byte);
}

fn deflate(compress: &mut Compress, data: &[u8], pack: &mut Vec<u8>) -> Result<(), GitError> {
    compress.reset();
    // Room for data that does not shrink, so that one call is enough.
    pack.reserve(data.len() + data.len() / 100 + 64);
    let failed = |_| GitError::Objects("an object cannot be compressed".into());
    compress
        .compress_vec(data, pack, FlushCompress::Finish)
        .map_err(failed)?;
    match compress.total_in() == data.len() as u64 {
        true => Ok(()),
        false => Err(GitError::Objects(
            "an object was not compressed whole".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn git_reads_what_was_packed() {
        let dir = tempfile::tempdir().expect("a folder");
        let repository = Repository::init_bare(dir.path()).expect("made");
        let sizes = [0, 1, 15, 16, 2047, 2048, 100_000];
        let blob = |size: usize| (0..size).map(|n| (n * n % 251) as u8).collect::<Vec<_>>();
        let ids = pack(&repository, |new| {
            for size in sizes {
                new.push(repository.blob(&blob(size))?);
            }
            Ok::<_, GitError>(new.clone())
        });
        let repository = Repository::open(dir.path()).expect("opened");
        for (id, size) in ids.expect("packed").iter().zip(sizes) {
            assert_eq!(
                repository.find_blob(*id).expect("there").content(),
                blob(size)
            );
        }
        let mut check = Command::new("git");
        check
            .arg("--git-dir")
            .arg(dir.path())
            .args(["fsck", "--strict"]);
        let check = check.output().expect("git runs");
        assert!(
            check.status.success(),
            "{}",
            String::from_utf8_lossy(&check.stderr)
        );
    }
}

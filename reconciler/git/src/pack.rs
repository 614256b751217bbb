//! New objects as one pack file with its index, on the disk before anything names them. The library's
//! writers set up a compressor for each object and inflate every pack again to index it, which costs more
//! than all the rest of a status commit; here one compressor serves a pack, and its index is known.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use git2::{ObjectType, Oid};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

use crate::GitError;

/// The longest pack. An index of this kind has 31 bits for where an object begins.
const LONGEST: usize = 1 << 30;

/// Objects that are not on the disk yet.
pub(crate) struct Pack {
    bytes: Vec<u8>,
    compress: Compress,
    /// Where each object begins, and the checksum of its packed form.
    objects: BTreeMap<Oid, (u32, u32)>,
}

impl Pack {
    /// A pack without objects.
    pub(crate) fn new() -> Self {
        let mut bytes = b"PACK".to_vec();
        bytes.extend(2_u32.to_be_bytes());
        // How many objects there are is written last.
        bytes.extend(0_u32.to_be_bytes());
        Self {
            bytes,
            compress: Compress::new(Compression::fast(), true),
            objects: BTreeMap::new(),
        }
    }

    /// Adds an object and answers its id.
    pub(crate) fn add(&mut self, kind: ObjectType, data: &[u8]) -> Result<Oid, GitError> {
        let id = Oid::hash_object(kind, data)?;
        if self.objects.contains_key(&id) {
            return Ok(id);
        }
        let start = self.bytes.len();
        if start + data.len() > LONGEST {
            return Err(GitError::TooLarge("too much for one pack".into()));
        }
        head(&mut self.bytes, kind, data.len());
        deflate(&mut self.compress, data, &mut self.bytes)?;
        let mut crc = Crc::new();
        crc.update(&self.bytes[start..]);
        let start = u32::try_from(start).expect("below the longest pack's length");
        self.objects.insert(id, (start, crc.sum()));
        Ok(id)
    }

    /// Keeps the objects below a folder of objects. Returns when they are there for good.
    pub(crate) fn keep(mut self, objects: &Path) -> Result<(), GitError> {
        let count = u32::try_from(self.objects.len()).expect("fewer objects than bytes");
        self.bytes[8..12].copy_from_slice(&count.to_be_bytes());
        let sum = sum(&self.bytes);
        self.bytes.extend(&sum);
        let index = self.index(&sum);
        let folder = objects.join("pack");
        let name: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        let write = || -> io::Result<()> {
            std::fs::create_dir_all(&folder)?;
            // The index last: a pack is seen by its index.
            place(&folder, &format!("pack-{name}.pack"), &self.bytes)?;
            place(&folder, &format!("pack-{name}.idx"), &index)?;
            File::open(&folder)?.sync_all()
        };
        write().map_err(|error| GitError::File(folder.clone(), error))
    }

    /// An index, version 2: how many ids begin with at most each byte, the ids, their checksums, where
    /// they begin, and two checksums.
    fn index(&self, pack: &[u8]) -> Vec<u8> {
        let mut index = b"\xfftOc".to_vec();
        index.extend(2_u32.to_be_bytes());
        let mut counts = [0_u32; 256];
        for id in self.objects.keys() {
            counts[usize::from(id.as_bytes()[0])] += 1;
        }
        let mut total = 0;
        for count in counts {
            total += count;
            index.extend(total.to_be_bytes());
        }
        self.objects
            .keys()
            .for_each(|id| index.extend(id.as_bytes()));
        let values = || self.objects.values();
        values().for_each(|(_, crc)| index.extend(crc.to_be_bytes()));
        values().for_each(|(start, _)| index.extend(start.to_be_bytes()));
        index.extend(pack);
        let sum = sum(&index);
        index.extend(sum);
        index
    }
}

/// Written aside and renamed: half a file never has the name.
fn place(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let aside = folder.join(format!("tmp_{name}"));
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&aside, folder.join(name))
    };
    let written = write();
    if written.is_err() {
        // Otherwise it would be in the way when the same is written again.
        let _ = std::fs::remove_file(&aside);
    }
    written
}

fn sum(bytes: &[u8]) -> Vec<u8> {
    let mut sum = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    sum.update(bytes);
    sum.finish().as_ref().to_vec()
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
    let ended = compress
        .compress_vec(data, pack, FlushCompress::Finish)
        .map_err(failed)?;
    match ended {
        Status::StreamEnd => Ok(()),
        _ => Err(GitError::Objects(
            "an object was not compressed whole".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use git2::Repository;

    use super::*;

    fn blob(size: usize) -> Vec<u8> {
        (0..size).map(|n| (n * n % 251) as u8).collect()
    }

    #[test]
    fn git_reads_what_was_packed() {
        let dir = tempfile::tempdir().expect("a folder");
        Repository::init_bare(dir.path()).expect("made");
        let mut pack = Pack::new();
        let sizes = [0, 1, 15, 16, 2047, 2048, 100_000];
        let add = |size: &usize| pack.add(ObjectType::Blob, &blob(*size)).expect("added");
        let ids: Vec<_> = sizes.iter().chain(&sizes).map(add).collect();
        pack.keep(&dir.path().join("objects")).expect("kept");
        let repository = Repository::open(dir.path()).expect("opened");
        for (id, size) in ids.iter().zip(sizes) {
            let found = repository.find_blob(*id).expect("there");
            assert_eq!(found.content(), blob(size));
        }
        for args in [
            ["fsck", "--strict"].as_slice(),
            &["repack", "-a", "-d", "-q"],
        ] {
            let mut check = Command::new("git");
            check.arg("--git-dir").arg(dir.path()).args(args);
            let check = check.output().expect("git runs");
            let words = String::from_utf8_lossy(&check.stderr).into_owned();
            assert!(check.status.success(), "{words}");
        }
    }

    #[test]
    fn the_index_is_the_one_that_git_makes() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut pack = Pack::new();
        for size in 0..600 {
            pack.add(ObjectType::Blob, &blob(size)).expect("added");
        }
        pack.keep(dir.path()).expect("kept");
        let files = std::fs::read_dir(dir.path().join("pack")).expect("a folder");
        let mut files: Vec<_> = files.flatten().map(|file| file.path()).collect();
        files.sort();
        let [index, pack] = files.as_slice() else {
            panic!("{files:?}");
        };
        let theirs = dir.path().join("theirs.idx");
        let mut make = Command::new("git");
        make.arg("index-pack").arg("-o").arg(&theirs).arg(pack);
        assert!(make.output().expect("git runs").status.success());
        assert_eq!(
            std::fs::read(index).expect("read"),
            std::fs::read(theirs).expect("read")
        );
    }
}

//! The file system itself: numbers for paths, one write at a time, and reads that see what the first one saw.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request,
    WriteFlags,
};

use super::kernel::{Kernel, Kind};
use super::lock;
use super::report::Read;

/// Nothing is remembered by the caller's kernel: it always asks.
const NOW: Duration = Duration::ZERO;

pub(super) struct Files {
    kernel: Arc<Mutex<Kernel>>,
    parked: Arc<Mutex<Vec<ReplyData>>>,
    paths: Mutex<Vec<String>>,
    handles: AtomicU64,
    /// What open files were read as.
    seen: Mutex<HashMap<u64, Vec<u8>>>,
}

impl Files {
    pub(super) fn new(kernel: Arc<Mutex<Kernel>>, parked: Arc<Mutex<Vec<ReplyData>>>) -> Self {
        Self {
            kernel,
            parked,
            paths: Mutex::new(vec![String::new()]),
            handles: AtomicU64::new(1),
            seen: Mutex::default(),
        }
    }

    fn path(&self, ino: INodeNo) -> Result<String, Errno> {
        let index = usize::try_from(ino.0)
            .ok()
            .and_then(|ino| ino.checked_sub(1));
        let paths = lock(&self.paths);
        let path = index.and_then(|index| paths.get(index));
        path.cloned().ok_or(Errno::ENOENT)
    }

    fn below(&self, parent: INodeNo, name: &OsStr) -> Result<String, Errno> {
        let (parent, name) = (self.path(parent)?, name.to_str().ok_or(Errno::ENOENT)?);
        match parent.is_empty() {
            true => Ok(name.to_owned()),
            false => Ok(format!("{parent}/{name}")),
        }
    }

    fn attributes(&self, path: &str) -> Result<FileAttr, Errno> {
        let kind = lock(&self.kernel).kind(path).ok_or(Errno::ENOENT)?;
        let mut paths = lock(&self.paths);
        let known = paths.iter().position(|known| known == path);
        let index = known.unwrap_or_else(|| {
            paths.push(path.to_owned());
            paths.len() - 1
        });
        let (kind, perm) = match kind {
            Kind::Folder => (FileType::Directory, 0o755),
            Kind::File => (FileType::RegularFile, 0o600),
        };
        Ok(FileAttr {
            ino: INodeNo(index as u64 + 1),
            size: 0,
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    /// What an open file holds; none when nobody answers.
    fn content(&self, path: &str, handle: FileHandle) -> Result<Option<Vec<u8>>, Errno> {
        if let Some(seen) = lock(&self.seen).get(&handle.0) {
            return Ok(Some(seen.clone()));
        }
        match lock(&self.kernel).read(path) {
            Read::Fails(errno) => Err(errno),
            Read::Hangs => Ok(None),
            Read::Bytes(bytes) => {
                lock(&self.seen).insert(handle.0, bytes.clone());
                Ok(Some(bytes))
            }
        }
    }
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self
            .below(parent, name)
            .and_then(|path| self.attributes(&path));
        match found {
            Ok(attributes) => reply.entry(&NOW, &attributes, Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.path(ino).and_then(|path| self.attributes(&path)) {
            Ok(attributes) => reply.attr(&NOW, &attributes),
            Err(errno) => reply.error(errno),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        let made = self.below(parent, name).and_then(|path| {
            lock(&self.kernel).make(&path)?;
            self.attributes(&path)
        });
        match made {
            Ok(attributes) => reply.entry(&NOW, &attributes, Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let path = self.below(parent, name);
        match path.and_then(|path| lock(&self.kernel).remove(&path)) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    /// Every read and write comes here as it was made.
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let handle = self.handles.fetch_add(1, Ordering::Relaxed);
        reply.opened(FileHandle(handle), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.path(ino).and_then(|path| self.content(&path, handle)) {
            Err(errno) => reply.error(errno),
            Ok(None) => lock(&self.parked).push(reply),
            Ok(Some(bytes)) => {
                let from = usize::try_from(offset)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                let until = from.saturating_add(size as usize).min(bytes.len());
                reply.data(&bytes[from..until]);
            }
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let whole = (offset == 0).then_some(()).ok_or(Errno::EINVAL);
        let written = whole.and_then(|()| lock(&self.kernel).write(&self.path(ino)?, data));
        match written {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(errno) => reply.error(errno),
        }
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        lock(&self.seen).remove(&handle.0);
        reply.ok();
    }
}

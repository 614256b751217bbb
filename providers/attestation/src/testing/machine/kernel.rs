//! What the files hold: the one place that knows their paths. A path is relative to the root of the machine.

use easyenclave_schemas::evidence::MeasurementDigest;
use fuser::Errno;
use ring::digest::{SHA384, digest};

use super::report::{Read, Reports};
use crate::event_log::{self, extended};
use crate::simulated::{Guest, TdBody};

const REPORTS: &str = "sys/kernel/config/tsm/report";
const ATTRIBUTES: [&str; 4] = ["provider", "generation", "inblob", "outblob"];
const BOOT_ID: &str = "proc/sys/kernel/random/boot_id";
const EVENT_LOG: &str = "sys/firmware/acpi/tables/data/CCEL";
const REGISTER: &str = "sys/devices/virtual/misc/tdx_guest/measurements/rtmr3:sha384";
const DEVICE: &str = "dev/tdx_guest";
/// The size of the area behind the event log, most of which is unused.
const AREA: usize = 64 * 1024;

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    File,
}

/// The state behind the files.
pub(super) struct Kernel {
    guest: Guest,
    pub(super) body: TdBody,
    pub(super) reports: Reports,
    pub(super) event_log: Option<Vec<u8>>,
    pub(super) boot_id: String,
    pub(super) extends: bool,
    pub(super) device: bool,
}

impl Kernel {
    pub(super) fn new(guest: Guest, mut body: TdBody) -> Self {
        let records = ["firmware settings", "kernel", "command line"];
        let mut log = event_log::opening();
        body.rtmrs = [MeasurementDigest::new([0; 48]); 4];
        for (index, text) in records.iter().enumerate() {
            let measured = sha_384(text.as_bytes());
            log.extend(event_log::text_record(index, &measured, text));
            body.rtmrs[index] = extended(&body.rtmrs[index], &measured);
        }
        log.resize(AREA, 0xFF);
        Self {
            guest,
            body,
            reports: Reports::new(),
            event_log: Some(log),
            boot_id: "0b8e1c5e-0000-4000-8000-000000000001".into(),
            extends: true,
            device: true,
        }
    }

    pub(super) fn extend(&mut self, index: usize, digest: [u8; 48]) {
        self.body.rtmrs[index] = extended(&self.body.rtmrs[index], &digest);
    }

    pub(super) fn kind(&self, path: &str) -> Option<Kind> {
        if let Some(request) = path
            .strip_prefix(REPORTS)
            .and_then(|rest| rest.strip_prefix('/'))
        {
            return match request.split_once('/') {
                None => self
                    .reports
                    .entries
                    .contains_key(request)
                    .then_some(Kind::Folder),
                Some((name, attribute)) => (self.reports.entries.contains_key(name)
                    && ATTRIBUTES.contains(&attribute))
                .then_some(Kind::File),
            };
        }
        if self.files().any(|file| file == path) {
            return Some(Kind::File);
        }
        let above = |file: &str| {
            let rest = file.strip_prefix(path);
            path.is_empty() || rest.is_some_and(|rest| rest.starts_with('/'))
        };
        let folder = path == REPORTS || above(REPORTS) || self.files().any(above);
        folder.then_some(Kind::Folder)
    }

    fn files(&self) -> impl Iterator<Item = &'static str> {
        let log = self.event_log.as_ref().map(|_| EVENT_LOG);
        let register = self.extends.then_some(REGISTER);
        let device = self.device.then_some(DEVICE);
        [Some(BOOT_ID), device, log, register].into_iter().flatten()
    }

    /// The whole of a file, as the first read of an open one makes it.
    pub(super) fn read(&mut self, path: &str) -> Read {
        let text = |text: &str| Read::Bytes(format!("{text}\n").into_bytes());
        match path {
            BOOT_ID => return text(&self.boot_id),
            EVENT_LOG => return Read::Bytes(self.event_log.clone().unwrap_or_default()),
            REGISTER => return Read::Bytes(self.body.rtmrs[3].as_bytes().to_vec()),
            _ => {}
        }
        let Some((name, attribute)) = request(path) else {
            return Read::Fails(Errno::EACCES);
        };
        match attribute {
            "provider" => match &self.reports.provider {
                Some(provider) => text(provider),
                None => Read::Fails(Errno::ENOTTY),
            },
            "generation" => match self.reports.entries.get(name) {
                Some(entry) => text(&entry.generation.to_string()),
                None => Read::Fails(Errno::ENOENT),
            },
            "outblob" => self.reports.read(name, &self.guest, &self.body),
            _ => Read::Fails(Errno::EACCES),
        }
    }

    /// Takes one write, which starts at the beginning of a file.
    pub(super) fn write(&mut self, path: &str, data: &[u8]) -> Result<(), Errno> {
        if path == REGISTER {
            let digest = data.try_into().map_err(|_| Errno::EINVAL)?;
            self.extend(3, digest);
            return Ok(());
        }
        match request(path) {
            Some((name, "inblob")) => self.reports.write(name, data),
            _ => Err(Errno::EACCES),
        }
    }

    pub(super) fn make(&mut self, path: &str) -> Result<(), Errno> {
        match request(&format!("{path}/.")) {
            Some((name, _)) => self.reports.make(name),
            None => Err(Errno::EPERM),
        }
    }

    pub(super) fn remove(&mut self, path: &str) -> Result<(), Errno> {
        let name = request(&format!("{path}/.")).map(|(name, _)| name.to_owned());
        let entry = name.and_then(|name| self.reports.entries.remove(&name));
        entry.map(|_| ()).ok_or(Errno::ENOENT)
    }
}

/// The name of a request and what follows.
fn request(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix(REPORTS)?
        .strip_prefix('/')?
        .split_once('/')
}

fn sha_384(bytes: &[u8]) -> [u8; 48] {
    let mut measured = [0; 48];
    measured.copy_from_slice(digest(&SHA384, bytes).as_ref());
    measured
}

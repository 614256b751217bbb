//! The report interface as the kernel keeps it: requests, their generations, what was written and what comes of it.

use std::collections::{BTreeMap, VecDeque};

use fuser::Errno;

use crate::simulated::{Guest, TdBody};

/// The longest report data that the kernel takes from a writer at all.
const LONGEST: usize = 64;

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Making the folder fails with this error of the kernel.
    Make(i32),
    /// Writing the report data fails with it.
    Write(i32),
    /// Reading the quote fails with it.
    Read(i32),
    /// Reading the quote succeeds, with nothing in it.
    Empty,
    /// It succeeds, with zeros.
    Zeros,
    /// Somebody else writes between our write and our read: the quote is over their data.
    Race,
    /// The quote ends in so many zeros.
    Padded(usize),
    /// Nobody answers until [`super::TestMachine::release`].
    Hang,
}

/// One request.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// How often anybody has written.
    pub(super) generation: u64,
    /// What was written last.
    inblob: Option<Vec<u8>>,
    fault: Option<Fault>,
}

/// What reading a quote comes to.
pub(super) enum Read {
    Bytes(Vec<u8>),
    Fails(Errno),
    Hangs,
}

/// All requests.
#[derive(Debug)]
pub(super) struct Reports {
    pub(super) provider: Option<String>,
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) names: Vec<String>,
    /// The greatest number of entries at one time.
    pub(super) most: usize,
    pub(super) faults: VecDeque<Fault>,
}

impl Reports {
    pub(super) fn new() -> Self {
        Self {
            provider: Some("tdx_guest".into()),
            entries: BTreeMap::new(),
            names: Vec::new(),
            most: 0,
            faults: VecDeque::new(),
        }
    }

    /// A request takes the next fault with it.
    pub(super) fn make(&mut self, name: &str) -> Result<(), Errno> {
        if self.provider.is_none() {
            return Err(Errno::ENXIO);
        }
        if self.entries.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let fault = self.faults.pop_front();
        if let Some(Fault::Make(errno)) = fault {
            return Err(Errno::from_i32(errno));
        }
        let entry = Entry {
            fault,
            ..Entry::default()
        };
        self.names.push(name.to_owned());
        self.entries.insert(name.to_owned(), entry);
        self.most = self.most.max(self.entries.len());
        Ok(())
    }

    /// Takes one whole write.
    pub(super) fn write(&mut self, name: &str, data: &[u8]) -> Result<(), Errno> {
        let entry = self.entries.get_mut(name).ok_or(Errno::ENOENT)?;
        if let Some(Fault::Write(errno)) = entry.fault {
            return Err(Errno::from_i32(errno));
        }
        if data.len() > LONGEST {
            return Err(Errno::EINVAL);
        }
        entry.generation += 1;
        entry.inblob = Some(data.to_owned());
        Ok(())
    }

    /// Makes a report of what was written last.
    pub(super) fn read(&mut self, name: &str, guest: &Guest, body: &TdBody) -> Read {
        let gone = self.provider.is_none();
        let Some(entry) = self.entries.get_mut(name) else {
            return Read::Fails(Errno::ENOENT);
        };
        match entry.fault {
            Some(Fault::Read(errno)) => return Read::Fails(Errno::from_i32(errno)),
            Some(Fault::Empty) => return Read::Bytes(Vec::new()),
            Some(Fault::Zeros) => return Read::Bytes(vec![0; 8192]),
            Some(Fault::Hang) => return Read::Hangs,
            Some(Fault::Race) => {
                entry.generation += 1;
                entry.inblob = Some(vec![0xEE; LONGEST]);
            }
            _ if gone => return Read::Fails(Errno::ENOTTY),
            _ => {}
        }
        let inblob = entry.inblob.as_deref().unwrap_or_default();
        // The driver of TDX demands all 64 bytes, and only notices here.
        let Ok(report_data) = inblob.try_into() else {
            return Read::Fails(Errno::EINVAL);
        };
        let Ok(mut quote) = guest.quote(report_data, body) else {
            return Read::Fails(Errno::EIO);
        };
        if let Some(Fault::Padded(zeros)) = entry.fault {
            quote.resize(quote.len() + zeros, 0);
        }
        Read::Bytes(quote)
    }
}

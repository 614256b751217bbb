//! A TDX guest as its agent sees it: quotes, the log of what was measured, and the runtime register that is free for
//! workloads. The log is not judged here; it is only made to tell of what the agent itself measured.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::sync::{Mutex, PoisonError};

use easyenclave_schemas::Digest;
use easyenclave_schemas::evidence::{EventLogBytes, MeasurementDigest};
use ring::digest::{SHA384, digest};

use crate::collect::{CollectError, QuoteSource};
use crate::event_log::{EventLog, EventLogError, extended, text_record};
use crate::layout::{LayoutError, QuoteView};
use crate::machine::{Machine, bounded};
use crate::tsm::{Patience, TsmSource};

/// The register that neither firmware nor kernel uses.
const REGISTER: usize = 3;

/// The greatest area behind an event log, most of which is unused; they have 64 to 256 KiB.
const AREA: usize = 4 * 1024 * 1024;

/// One agent runs no more different workloads than this in a boot.
const MOST_WORKLOADS: usize = 1000;

/// The guest in which an agent runs.
#[derive(Debug)]
pub struct TdxGuest {
    machine: Machine,
    source: TsmSource,
    /// What was measured into the register, in order.
    measured: Mutex<Vec<Digest>>,
}

/// Why evidence goes without an event log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The kernel does not give it.
    #[error("the event log cannot be read")]
    Read(#[source] io::Error),
    /// It is not a log.
    #[error("the event log is not usable")]
    Log(#[from] EventLogError),
    /// It is longer than evidence may be.
    #[error("the event log has {0} bytes, more than evidence may have")]
    Long(usize),
    /// The quote that it belongs to cannot be read.
    #[error("the quote is not usable")]
    Quote(#[from] LayoutError),
}

impl TdxGuest {
    /// The guest whose kernel is here. Nothing was measured yet.
    pub fn new(machine: Machine, patience: Patience) -> Self {
        Self {
            source: TsmSource::new(machine.clone(), patience),
            machine,
            measured: Mutex::default(),
        }
    }

    /// The id of this boot.
    ///
    /// # Errors
    /// When the kernel does not give it.
    pub fn boot_id(&self) -> io::Result<String> {
        self.machine.boot_id()
    }

    /// Extends the register with a workload, once for each, and remembers it for the log.
    ///
    /// # Errors
    /// When the kernel does not let it: Linux 6.16 and later do.
    pub fn measure(&self, workload: &Digest) -> io::Result<()> {
        // Held over both steps, so that no log lacks what a quote already has.
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        if measured.contains(workload) {
            return Ok(());
        }
        if measured.len() == MOST_WORKLOADS {
            return Err(io::Error::other("too many different workloads in one boot"));
        }
        let path = self.machine.register(REGISTER);
        let mut register = OpenOptions::new().write(true).open(path)?;
        // The kernel takes the whole digest in one write, or nothing.
        register.write_all(&workload_digest(workload))?;
        measured.push(*workload);
        Ok(())
    }

    /// The event log that belongs to a quote: the firmware's, without its unused tail, and behind it what the agent
    /// measured. None where the machine keeps none. If the register holds something else as well, the log says
    /// nothing of it: what was measured by others cannot be told.
    ///
    /// # Errors
    /// When there is one that cannot be sent.
    pub fn event_log(&self, quote: &[u8]) -> Result<Option<EventLogBytes>, LogError> {
        let bytes = match bounded(&self.machine.event_log(), AREA) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(LogError::Read)?,
        };
        let log = EventLog::parse(&bytes)?;
        let mut sent = bytes[..log.used()].to_vec();
        let start = log.replay()[REGISTER];
        let end = QuoteView::parse(quote)?.rtmr(REGISTER);
        for workload in self.explaining(start, end) {
            let text = workload_text(&workload);
            sent.extend(text_record(REGISTER, &workload_digest(&workload), &text));
        }
        let length = sent.len();
        let sent = EventLogBytes::new(sent).map_err(|_| LogError::Long(length))?;
        Ok(Some(sent))
    }

    /// So many of the measured workloads as lead from one value of the register to the other; none if none do.
    fn explaining(&self, start: MeasurementDigest, end: MeasurementDigest) -> Vec<Digest> {
        let measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let mut register = start;
        for (count, workload) in measured.iter().enumerate() {
            if register == end {
                return measured[..count].to_vec();
            }
            register = extended(&register, &workload_digest(workload));
        }
        match register == end {
            true => measured.clone(),
            false => Vec::new(),
        }
    }
}

impl QuoteSource for TdxGuest {
    fn quote(&self, report_data: [u8; 64]) -> Result<Vec<u8>, CollectError> {
        self.source.quote(report_data)
    }
}

/// What is measured for a workload: SHA-384 of this text.
fn workload_text(workload: &Digest) -> String {
    format!("easyenclave workload {workload}")
}

fn workload_digest(workload: &Digest) -> [u8; 48] {
    let mut measured = [0; 48];
    measured.copy_from_slice(digest(&SHA384, workload_text(workload).as_bytes()).as_ref());
    measured
}

#[cfg(all(test, feature = "testing"))]
mod tests;

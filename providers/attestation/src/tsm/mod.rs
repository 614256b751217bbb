//! Quotes of real TDX guests, through the kernel's report interface (configfs-tsm, Linux 6.7 and later). The kernel
//! serves one request at a time and may hold it for half a minute, so each has a deadline and they wait in line.

mod entry;
mod error;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use entry::Entry;
pub use error::{Step, TsmError};

use crate::collect::{CollectError, QuoteSource};
use crate::layout::QuoteView;
use crate::machine::Machine;

/// How patient a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long one quote may take, with all attempts. The kernel waits for the host for about 30 seconds.
    pub deadline: Duration,
    /// How often it is tried while what is in the way may pass.
    pub attempts: u32,
    /// The pause before another attempt.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(45),
            attempts: 4,
            pause: Duration::from_secs(2),
        }
    }
}

/// Quotes of this guest, by its kernel.
#[derive(Debug, Clone)]
pub struct TsmSource {
    machine: Machine,
    patience: Patience,
    line: Arc<Line>,
}

impl TsmSource {
    /// The source of a machine.
    pub fn new(machine: Machine, patience: Patience) -> Self {
        let line = Arc::default();
        Self {
            machine,
            patience,
            line,
        }
    }

    /// A quote over `inblob`. The kernel's call cannot be ended from outside: when the deadline is over, its thread
    /// stays with it, removes its folder when it comes back, and nothing else is asked meanwhile.
    fn request(&self, inblob: &[u8]) -> Result<Vec<u8>, TsmError> {
        let Patience { deadline, .. } = self.patience;
        let turn = Turn::take(&self.line, deadline).ok_or(TsmError::StillUnderWay)?;
        let (answer, answered) = sync_channel(1);
        let given_up = Arc::new(AtomicBool::new(false));
        let (source, inblob) = (self.clone(), inblob.to_owned());
        let waits = Arc::clone(&given_up);
        let work = move || {
            let result = source.attempts(&inblob, &waits);
            drop(turn);
            // Nobody may be waiting any more.
            let _ = answer.send(result);
        };
        let started = thread::Builder::new().name("tsm".into()).spawn(work);
        started.map_err(|source| TsmError::Unexpected {
            step: Step::Make,
            source,
        })?;
        answered.recv_timeout(deadline).unwrap_or_else(|_| {
            given_up.store(true, Ordering::Relaxed);
            let seconds = deadline.as_secs();
            Err(TsmError::Deadline { seconds })
        })
    }

    fn attempts(&self, inblob: &[u8], given_up: &AtomicBool) -> Result<Vec<u8>, TsmError> {
        let mut attempts = 1;
        loop {
            let result = Entry::make(&self.machine.reports()).and_then(|mut one| one.quote(inblob));
            match result {
                Err(ref error) if error.passes() && attempts < self.patience.attempts => {}
                Err(TsmError::Interfered { .. }) => return Err(TsmError::Interfered { attempts }),
                result => return result,
            }
            thread::sleep(self.patience.pause);
            if given_up.load(Ordering::Relaxed) {
                return result;
            }
            attempts += 1;
        }
    }
}

impl QuoteSource for TsmSource {
    fn quote(&self, report_data: [u8; 64]) -> Result<Vec<u8>, CollectError> {
        let quote = self.request(&report_data);
        let quote = quote.map_err(|error| CollectError::Platform(Box::new(error)))?;
        // Providers may pad what they give.
        Ok(QuoteView::parse(&quote)?.bytes().to_owned())
    }
}

/// Who makes quotes on a machine. None where nobody does, or where this process may not ask.
///
/// # Errors
/// When the interface is there and its answer cannot be read.
#[cfg(feature = "simulated")]
pub(crate) fn provider(machine: &Machine) -> Result<Option<String>, TsmError> {
    let found = Entry::make(&machine.reports()).and_then(|entry| entry.provider());
    match found {
        Ok(name) => Ok(Some(name)),
        Err(TsmError::NotMounted { .. } | TsmError::NoProvider | TsmError::NotPermitted { .. }) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The line in which requests wait for their turn.
#[derive(Debug, Default)]
struct Line {
    busy: Mutex<bool>,
    free: Condvar,
}

/// The right to ask the kernel.
struct Turn(Arc<Line>);

impl Turn {
    /// Waits for a turn, for so long at most.
    fn take(line: &Arc<Line>, patience: Duration) -> Option<Self> {
        let busy = line.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = line.free.wait_timeout_while(busy, patience, |busy| *busy);
        let (mut busy, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *busy {
            return None;
        }
        *busy = true;
        Some(Self(Arc::clone(line)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0.busy.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.free.notify_one();
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests;

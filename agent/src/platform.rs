//! The platform that makes this agent's quotes, which its configuration names and nothing else chooses. What the
//! machine does not offer is said once and fails nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use easyenclave_attestation::simulated::{Guest, SimulatedSource, TdBody};
use easyenclave_attestation::{Machine, Patience, QuoteSource, TdxGuest};
use easyenclave_schemas::Digest;
use easyenclave_schemas::evidence::Evidence;
use easyenclave_schemas::wire::{AgentConfig, PlatformConfig};

use crate::{clock, config};

/// Who makes the quotes of this agent.
pub(crate) struct Platform {
    source: Arc<dyn QuoteSource>,
    /// None where the platform is simulated.
    guest: Option<Arc<TdxGuest>>,
    /// Tells this start of the agent from all others.
    start: String,
    /// The last boot id that the kernel gave.
    boot: Mutex<Option<String>>,
    said: Said,
}

/// What was said already.
#[derive(Default)]
struct Said {
    log: AtomicBool,
    register: AtomicBool,
}

impl Platform {
    /// The platform that the configuration names.
    ///
    /// # Errors
    /// When a simulated one cannot be opened, or this is real hardware.
    pub(crate) fn of(config: &AgentConfig) -> anyhow::Result<Self> {
        let (source, guest): (Arc<dyn QuoteSource>, _) = match &config.platform {
            PlatformConfig::Simulated { dir, image } => {
                let label = image.as_deref().unwrap_or(config.node_size.as_str());
                let mut body = TdBody::of_image(label);
                if let Some(id) = config::launched_for(dir)? {
                    body.mrconfigid = id;
                }
                (
                    Arc::new(SimulatedSource::new(Guest::open(dir)?, body)),
                    None,
                )
            }
            PlatformConfig::Tdx { root } => {
                let guest = Arc::new(TdxGuest::new(Machine::at(root), Patience::default()));
                (Arc::clone(&guest) as Arc<dyn QuoteSource>, Some(guest))
            }
        };
        Ok(Self {
            source,
            guest,
            start: clock::unique(),
            boot: Mutex::default(),
            said: Said::default(),
        })
    }

    /// Where quotes come from.
    pub(crate) fn source(&self) -> &dyn QuoteSource {
        self.source.as_ref()
    }

    /// Another one after each start of the machine or of the agent. What a real machine's kernel says is asked anew
    /// each time, because a process that was put back from a checkpoint remembers the boot before.
    pub(crate) fn boot_id(&self) -> String {
        let Some(guest) = &self.guest else {
            return self.start.clone();
        };
        let mut boot = self.boot.lock().unwrap_or_else(PoisonError::into_inner);
        match guest.boot_id() {
            Ok(id) => *boot = Some(id),
            // An answer that is missing is no other boot.
            Err(error) if boot.is_none() => {
                tracing::warn!(error = %error, "the kernel gives no boot id");
                *boot = Some(String::new());
            }
            Err(_) => {}
        }
        format!("{}.{}", boot.as_deref().unwrap_or_default(), self.start)
    }

    /// The boot of this machine by its kernel alone, whatever has been started on it since. None where it is not told.
    pub(crate) fn machine_boot(&self) -> Option<String> {
        match &self.guest {
            Some(guest) => guest.boot_id().ok(),
            None => {
                let told = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
                Some(told.trim().to_owned()).filter(|told| !told.is_empty())
            }
        }
    }

    /// The evidence with the log of what was measured, where the machine keeps one. It reads files.
    pub(crate) fn with_log(&self, mut evidence: Evidence) -> Evidence {
        let Some(guest) = &self.guest else {
            return evidence;
        };
        match guest.event_log(evidence.quote.as_bytes()) {
            Ok(log) => evidence.event_log = log,
            Err(error) => once(&self.said.log, || {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::warn!(error, "evidence goes without an event log");
            }),
        }
        evidence
    }

    /// Measures a workload into the runtime register that is free for it, where the kernel lets it. It writes a file.
    pub(crate) fn measure(&self, workload: &Digest) {
        let Some(guest) = &self.guest else { return };
        match guest.measure(workload) {
            Ok(()) => tracing::info!(%workload, "measured into RTMR3"),
            Err(error) => once(&self.said.register, || {
                tracing::warn!(error = %error, "workloads are not measured into RTMR3: it takes Linux 6.16 or later");
            }),
        }
    }
}

fn once(said: &AtomicBool, say: impl FnOnce()) {
    if !said.swap(true, Ordering::Relaxed) {
        say();
    }
}

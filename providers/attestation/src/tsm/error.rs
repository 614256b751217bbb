//! Why configfs-tsm gave no quote: each failure says what happened, and behind the semicolon what to do about it.

use std::io;
use std::path::PathBuf;

/// Numbers of the kernel's errors, which are the same on every architecture that TDX runs on.
mod number {
    pub(super) const EPERM: i32 = 1;
    pub(super) const EINTR: i32 = 4;
    pub(super) const EIO: i32 = 5;
    pub(super) const ENXIO: i32 = 6;
    pub(super) const EACCES: i32 = 13;
    pub(super) const EBUSY: i32 = 16;
    pub(super) const EINVAL: i32 = 22;
    pub(super) const ENOTTY: i32 = 25;
    pub(super) const EFBIG: i32 = 27;
    pub(super) const ETIMEDOUT: i32 = 110;
}

/// What a request to configfs-tsm was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It makes its folder.
    Make,
    /// It reads who makes quotes.
    Provider,
    /// It reads the number of writes.
    Generation,
    /// It writes the report data.
    Write,
    /// It reads the quote.
    Read,
}

impl Step {
    fn words(self) -> &'static str {
        match self {
            Self::Make => "making a request",
            Self::Provider => "reading the provider",
            Self::Generation => "reading the generation",
            Self::Write => "writing the report data",
            Self::Read => "reading the quote",
        }
    }
}

/// Why there is no quote, and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum TsmError {
    /// The interface is not there.
    #[error("configfs-tsm: {} does not exist; mount configfs on /sys/kernel/config, load the module tdx_guest, and use a kernel of version 6.7 or later", path.display())]
    NotMounted {
        /// Where it should be.
        path: PathBuf,
    },
    /// The interface is there, and nobody makes quotes.
    #[error(
        "configfs-tsm: no provider makes quotes; check that this is a TDX guest, and load the module tdx_guest"
    )]
    NoProvider,
    /// Quotes here are another technology's.
    #[error("configfs-tsm: the provider is {name}, not tdx_guest; run the agent in a TDX guest")]
    OtherProvider {
        /// What it calls itself.
        name: String,
    },
    /// The kernel does not let this process.
    #[error("configfs-tsm: {} is not permitted; run the agent as root, with configfs writable", step.words())]
    NotPermitted {
        /// What was tried.
        step: Step,
    },
    /// A request that timed out earlier is still with the host.
    #[error(
        "configfs-tsm: an earlier request is still with the host; wait, and launch the guest again if it stays so"
    )]
    Busy,
    /// The host has not answered the kernel in its time.
    #[error(
        "configfs-tsm: the host has not answered in time; check that its quote service (QGS) runs"
    )]
    HostTimeout,
    /// The host has refused the kernel's call.
    #[error(
        "configfs-tsm: the host refused the request; check its quote service (QGS) and its TDX setup"
    )]
    HostRefused,
    /// The kernel does not take the report data.
    #[error(
        "configfs-tsm: the kernel refuses report data of {length} bytes; it has to be 64, in one write"
    )]
    Input {
        /// How long it was.
        length: usize,
    },
    /// The provider has gone since the request was made.
    #[error("configfs-tsm: the provider went away; load the module tdx_guest again")]
    ProviderGone,
    /// The quote is longer than the kernel or we accept.
    #[error(
        "configfs-tsm: the quote is too long; report it with the versions of kernel and TDX module"
    )]
    TooLong,
    /// Success, with nothing in it.
    #[error(
        "configfs-tsm: the quote is empty; check the socket of the host's quote service (QGS) and that the platform is registered with Intel"
    )]
    Empty,
    /// Somebody else writes to the same request, again and again.
    #[error(
        "configfs-tsm: somebody else wrote to the request, {attempts} times in a row; find out what else writes below tsm/report"
    )]
    Interfered {
        /// How often it was tried.
        attempts: u32,
    },
    /// Signals kept the kernel from waiting for the host.
    #[error("configfs-tsm: {} was interrupted again and again; find out what signals the agent gets", step.words())]
    Interrupted {
        /// What was tried.
        step: Step,
    },
    /// What the kernel says cannot be read.
    #[error("configfs-tsm: {} gave something unreadable; report it with the version of the kernel", step.words())]
    Unreadable {
        /// What was tried.
        step: Step,
    },
    /// Nothing came within our own deadline.
    #[error(
        "configfs-tsm: no quote within {seconds} seconds; check the host's quote service (QGS), and launch the guest again if it stays so"
    )]
    Deadline {
        /// How long it was waited for.
        seconds: u64,
    },
    /// A request of this process that ran over its deadline has still not come back.
    #[error(
        "configfs-tsm: an earlier request of this agent has not come back; launch the guest again if it stays so"
    )]
    StillUnderWay,
    /// Anything else.
    #[error("configfs-tsm: {} failed; look up the error of the kernel", step.words())]
    Unexpected {
        /// What was tried.
        step: Step,
        /// What the kernel said.
        source: io::Error,
    },
}

impl TsmError {
    /// What an error of the kernel means at this step. `length` is that of the report data.
    pub(super) fn of(step: Step, source: io::Error, length: usize) -> Self {
        use number::{EACCES, EBUSY, EFBIG, EINTR, EINVAL, EIO, ENOTTY, ENXIO, EPERM, ETIMEDOUT};
        match (source.raw_os_error(), step) {
            (Some(ENXIO), Step::Make) => Self::NoProvider,
            (Some(EPERM | EACCES), _) => Self::NotPermitted { step },
            (Some(EBUSY), Step::Write | Step::Read) => Self::Busy,
            (Some(ETIMEDOUT), Step::Read) => Self::HostTimeout,
            (Some(EIO), Step::Read) => Self::HostRefused,
            (Some(EINVAL), Step::Write | Step::Read) | (Some(EFBIG), Step::Write) => {
                Self::Input { length }
            }
            (Some(ENOTTY | ENXIO), _) => Self::ProviderGone,
            (Some(EFBIG), Step::Read) => Self::TooLong,
            (Some(EINTR), _) => Self::Interrupted { step },
            _ => Self::Unexpected { step, source },
        }
    }

    /// Whether asking again soon may help.
    pub(super) fn passes(&self) -> bool {
        matches!(
            self,
            Self::Busy | Self::Interfered { .. } | Self::Interrupted { .. }
        )
    }
}

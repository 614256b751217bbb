//! What a command says: its answer on stdout, everything else on stderr. A reader that has gone, such as `head`,
//! is no fault: what nobody reads is not said.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

/// The command's answer, whole, as it is. Colours are left out where they would not show.
///
/// # Errors
/// When stdout cannot be written, other than for want of a reader.
pub(super) fn answer(text: impl Display) -> std::io::Result<()> {
    let mut out = anstream::stdout();
    let written = write!(out, "{text}").and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A line for people, beside the answer. Nothing depends on whether it could be said.
pub(super) fn tell(line: impl Display) {
    let _ = writeln!(anstream::stderr(), "{line}");
}

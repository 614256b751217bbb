//! What a workload prints, as its agent gives it: the last lines as text, or a page of those that came after another.

use serde::{Deserialize, Serialize};

/// The most lines of output that an agent gives at a time.
pub const LOG_LINES: usize = 1000;

/// The most bytes of output that it gives at a time.
pub const LOG_BYTES: usize = 256 * 1024;

/// The longest that it waits for a line to come, in seconds.
pub const LOG_WAIT: u64 = 5;

/// The longest cursor, in bytes: the engine's time of the last line of each of some hundred containers.
const CURSOR: usize = 8 * 1024;

/// A page of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPage {
    /// Whole lines, oldest first.
    pub text: String,
    /// What to show for the lines that come after these. Only the agent that gave it understands it.
    pub cursor: String,
    /// Whether there may have been lines between the cursor that was shown and this page that are not there any more.
    pub missed: bool,
}

impl LogPage {
    /// Nothing came after a cursor.
    pub fn nothing(after: &str) -> Self {
        Self {
            text: String::new(),
            cursor: after.to_owned(),
            missed: false,
        }
    }
}

/// Whether a text can be a cursor. It is written into addresses, and comes from agents.
pub fn is_cursor(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".,:=-_".contains(&byte);
    text.len() <= CURSOR && text.bytes().all(is_plain)
}

//! Colours, by what they mean.

use anstyle::{AnsiColor, Style};

/// Something is as wanted.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// Something is on its way.
pub(super) const BUSY: Style = AnsiColor::Yellow.on_default();
/// Something is wrong.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// A heading.
pub(super) const HEAD: Style = Style::new().bold();
/// Of less interest.
pub(super) const DIM: Style = Style::new().dimmed();

/// A text in a style. Colours are removed where they cannot be shown.
pub(super) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{}{text}{}", style.render(), style.render_reset())
}

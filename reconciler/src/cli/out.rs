//! What a command says: its answer on stdout, everything else on stderr. A reader that has gone, such as `head`,
//! is no fault: what nobody reads is not said.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};

/// The command's answer, whole, for people. Much of it was written by others: what would make a terminal do something
/// shows as `�`. Colours are left out where they would not show.
///
/// # Errors
/// When stdout cannot be written, other than for want of a reader.
pub(super) fn answer(text: impl Display) -> std::io::Result<()> {
    write(anstream::stdout(), &harmless(&text.to_string()))
}

/// The command's answer for programs, as it is.
///
/// # Errors
/// As `answer`.
pub(super) fn data(text: &str) -> std::io::Result<()> {
    write(std::io::stdout(), text)
}

/// Passes on what others wrote, as it comes: as it is to a file or a program, and on a terminal without what that would obey.
/// Answers whether anybody still reads.
///
/// # Errors
/// When stdout cannot be written, other than for want of a reader.
pub(super) fn pass_on(lines: &[u8]) -> std::io::Result<bool> {
    let mut out = std::io::stdout();
    let written = match out.is_terminal() {
        true => out.write_all(harmless(&String::from_utf8_lossy(lines)).as_bytes()),
        false => out.write_all(lines),
    };
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true),
    }
}

fn write(mut out: impl Write, text: &str) -> std::io::Result<()> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A line for people, beside the answer. Nothing depends on whether it could be said.
pub(super) fn tell(line: impl Display) {
    let _ = writeln!(anstream::stderr(), "{}", harmless(&line.to_string()));
}

/// A text without what a terminal would obey, but for lines, tabs and colours: other control characters, and those that
/// turn the direction of writing.
fn harmless(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let length = style(rest).unwrap_or(letter.len_utf8());
        let (one, left) = rest.split_at(length);
        let is_kept = length > 1 && letter == ESCAPE || !is_harmful(letter);
        clean.push_str(if is_kept { one } else { "\u{fffd}" });
        rest = left;
    }
    clean
}

const ESCAPE: char = '\u{1b}';

/// Whether a terminal would obey it, or text would read otherwise than it is written.
pub(super) fn is_harmful(letter: char) -> bool {
    let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || letter.is_control() && !matches!(letter, '\n' | '\t')
}

/// The length of the style that a text begins with: `ESC [`, numbers, `m`.
fn style(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\u{1b}[")?;
    let end = numbers.find(|letter: char| !letter.is_ascii_digit() && letter != ';')?;
    numbers[end..].starts_with('m').then_some(end + 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::style::{BAD, paint};

    #[test]
    fn nothing_that_a_terminal_obeys_is_left_but_colours() {
        let plain = format!("a\tb\n{} — ü…", paint(BAD, "red"));
        assert_eq!(harmless(&plain), plain);
        let title = "\u{1b}]0;owned\u{7}";
        assert_eq!(harmless(title), "\u{fffd}]0;owned\u{fffd}");
        assert_eq!(
            harmless("a\rb\u{8}\u{9b}2J"),
            "a\u{fffd}b\u{fffd}\u{fffd}2J"
        );
        assert_eq!(harmless("\u{1b}[2J\u{1b}"), "\u{fffd}[2J\u{fffd}");
        assert_eq!(harmless("\u{202e}dab"), "\u{fffd}dab");
    }
}

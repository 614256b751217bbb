//! A value that must not be printed: it shows as `<secret>` wherever it is formatted.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A secret. Only [`Secret::reveal`] gives the value out; `Debug` and `Display` never do.
/// It is serialisable because bootstrap tokens do travel in one message each.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for the one place that needs it.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

/// A part of a secret that is shorter than this, in characters, helps nobody.
const PART: usize = 8;

/// A longer word that has so much of a secret in it is taken for the secret.
const WINDOW: usize = 16;

impl Secret<String> {
    /// The text with `<secret>` in the place of each word of letters and digits that is this secret, has it in it, or is a
    /// part of it, as where a text was cut. It is never longer than it was.
    pub fn hide_in(&self, text: &str) -> String {
        let secret = self.0.to_ascii_lowercase();
        let is_end = |c: char| !c.is_ascii_alphanumeric();
        let shown = |piece: &str| {
            let word = piece.trim_end_matches(is_end);
            match is_part(&secret, &word.to_ascii_lowercase()) {
                true => format!("<secret>{}", &piece[word.len()..]),
                false => piece.to_owned(),
            }
        };
        text.split_inclusive(is_end).map(shown).collect()
    }
}

fn is_part(secret: &str, word: &str) -> bool {
    let windows = word.len().saturating_sub(WINDOW - 1);
    word.len() >= PART
        && (secret.contains(word) || (0..windows).any(|at| secret.contains(&word[at..at + WINDOW])))
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_never_prints() {
        let secret = Secret::new("s3cr3t");
        assert_eq!(format!("{secret} {secret:?}"), "<secret> <secret>");
    }

    #[test]
    fn a_secret_is_hidden_in_a_text_however_it_was_cut_or_written() {
        let token = "0123456789abcdef".repeat(4);
        let secret = Secret::new(token.clone());
        let hidden = |text: &str| secret.hide_in(text);
        assert_eq!(hidden(&format!("a \"{token}\"\nb")), "a \"<secret>\"\nb");
        assert_eq!(hidden(&token.to_uppercase()), "<secret>");
        assert_eq!(hidden(&format!("x{token}y,")), "<secret>,");
        assert_eq!(hidden(&format!("{} end", &token[50..])), "<secret> end");
        let wrapped = format!("{}\n{}", &token[..30], &token[30..]);
        assert_eq!(hidden(&wrapped), "<secret>\n<secret>");
        let other = format!("digest {} é 01234567 ok", "fedcba9876543210".repeat(4));
        assert_eq!(hidden(&other), other.replace("01234567 ", "<secret> "));
        assert_eq!(Secret::new(String::new()).hide_in("all of it"), "all of it");
    }
}

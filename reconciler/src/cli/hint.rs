//! Commands that this program suggests, as whoever reads them can run them: by the name that it was called by, with the
//! options that said where the fleet is.

use std::path::Path;

use crate::config;

/// What every suggested command needs beside its own words.
#[derive(Debug, Clone, Default)]
pub(super) struct Hints {
    program: String,
    options: String,
}

impl Hints {
    /// Commands of this program without any option.
    pub(super) fn plain() -> Self {
        Self {
            program: quoted(&config::program()),
            options: String::new(),
        }
    }

    /// With a data folder that was named.
    pub(super) fn data(self, data: &Path) -> Self {
        self.option("--data", &data.display().to_string())
    }

    /// With another option that was given.
    pub(super) fn option(mut self, name: &str, value: &str) -> Self {
        self.options += &format!(" {name} {}", quoted(value));
        self
    }

    /// A command as it can be run.
    pub(super) fn line(&self, words: &str) -> String {
        format!("{} {words}{}", self.program, self.options)
    }
}

/// A word as a shell takes it for one.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_suggested_as_it_can_be_run() {
        let hints = Hints {
            program: "target/release/easyenclave".into(),
            options: String::new(),
        };
        assert_eq!(hints.line("status"), "target/release/easyenclave status");
        let named = hints.data(Path::new("my data"));
        assert_eq!(
            named.line("approve ab12"),
            "target/release/easyenclave approve ab12 --data 'my data'"
        );
        let both = named.option("--status-branch", "it's");
        assert!(both.line("why web").ends_with(r"--status-branch 'it'\''s'"));
    }
}

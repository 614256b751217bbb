//! How far the fetching of images has come, by what compose says: layers done of those that are known so far. Coarse on
//! purpose, because each change is told to the reconciler.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

/// A change is told no more often than this.
const BETWEEN: Duration = Duration::from_secs(2);

/// So many layers are counted.
const LAYERS: usize = 4096;

/// What was counted so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    known: BTreeSet<String>,
    done: BTreeSet<String>,
    told: Option<Instant>,
}

impl Progress {
    /// Reads a line of compose. Answers what is to be told now, if anything.
    pub(super) fn note(&mut self, line: &str) -> Option<String> {
        let (layer, rest) = layer(line)?;
        let is_done = ["pull complete", "already exists"]
            .iter()
            .any(|word| rest.starts_with(word));
        let seen = match is_done {
            true => &mut self.done,
            false => &mut self.known,
        };
        if seen.len() >= LAYERS || !seen.insert(layer.to_owned()) {
            return None;
        }
        self.known.insert(layer.to_owned());
        if self.told.is_some_and(|told| told.elapsed() < BETWEEN) {
            return None;
        }
        self.told = Some(Instant::now());
        let (done, known) = (self.done.len(), self.known.len());
        Some(format!("fetching images: {done} of {known} layers"))
    }
}

/// A layer's id, twelve hex digits, and what is said of it: `29fd0c9807fd: Pull complete` in the first generation,
/// ` 29fd0c9807fd Pull complete` in the second.
fn layer(line: &str) -> Option<(&str, String)> {
    let (id, rest) = line.trim_start().split_at_checked(12)?;
    let is_id = id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let rest = rest.trim_start_matches(':').trim();
    (is_id && !rest.is_empty()).then(|| (id, rest.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn layers_are_counted_in_the_words_of_both_generations() {
        for [one, two, three] in [
            [
                "29fd0c9807fd: Pulling fs layer",
                "29fd0c9807fe: Pulling fs layer",
                "29fd0c9807fd: Pull complete",
            ],
            [
                " 29fd0c9807fd Pulling fs layer ",
                " 29fd0c9807fe Waiting ",
                " 29fd0c9807fd Pull complete ",
            ],
        ] {
            let mut progress = Progress::default();
            assert_eq!(progress.note("web Pulling"), None);
            assert_eq!(
                progress.note(one).as_deref(),
                Some("fetching images: 0 of 1 layers")
            );
            assert_eq!(progress.note(two), None, "so soon after the last");
            progress.told = None;
            assert_eq!(progress.note(two), None, "nothing new");
            assert_eq!(
                progress.note(three).as_deref(),
                Some("fetching images: 1 of 2 layers")
            );
        }
    }
}

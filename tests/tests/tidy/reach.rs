//! Who may touch what: the system's clock, the environment, Git's network, unsafe code. One file each, or none.

use crate::expect_none;
use crate::mask::lines_with;
use crate::tree::{Source, sources};

/// Something that few may touch.
struct Reach {
    /// What it is.
    what: &'static str,
    /// How code says it.
    words: &'static [&'static str],
    /// The files that may.
    only: &'static [&'static str],
}

const REACHES: [Reach; 4] = [
    Reach {
        what: "the system's clock is read in one file of a program",
        words: &["SystemTime", "UNIX_EPOCH"],
        // A file system of the tests has to say something of its files' age.
        only: &[
            "reconciler/src/clock.rs",
            "agent/src/clock.rs",
            "providers/attestation/src/testing/machine/files.rs",
        ],
    },
    Reach {
        what: "durations are measured with tokio's clock, which tests can hold; progress lines are for eyes",
        words: &["std::time::Instant"],
        only: &["reconciler/src/cli/progress.rs"],
    },
    Reach {
        what: "the environment is read in one file of a program",
        words: &["env::var", "env::var_os", "env::vars", "env::vars_os"],
        only: &[
            "reconciler/src/config.rs",
            "reconciler/git/src/process.rs",
            "reconciler/git/src/secret.rs",
            "agent/src/config.rs",
            "providers/capacity/src/config.rs",
            "hello-tdx/src/config.rs",
            // Tests find the engine that they are given by it.
            "providers/engine/src/testing.rs",
        ],
    },
    Reach {
        what: "libgit2 never uses the network, where it cannot be stopped; the git program does",
        words: &[
            "RemoteCallbacks",
            "FetchOptions",
            "PushOptions",
            "RepoBuilder",
            "ProxyOptions",
            "find_remote",
            "remote_anonymous",
            "remote_with_fetch",
            "git2::Remote",
        ],
        only: &[],
    },
];

#[test]
fn few_touch_what_few_may_touch() {
    let sources = sources();
    for reach in &REACHES {
        let problems: Vec<_> = sources
            .iter()
            .flat_map(|source| found(source, reach))
            .collect();
        expect_none(reach.what, &problems);
    }
}

/// A row that nobody needs any more would hide the next one who steps over the line.
#[test]
fn those_who_may_do_so() {
    let sources = sources();
    let idle = |reach: &Reach, path: &str| {
        let source = sources.iter().find(|source| source.path == path);
        source.is_none_or(|source| says(source, reach).is_empty())
    };
    for reach in &REACHES {
        let files = reach.only.iter().filter(|path| idle(reach, path));
        let files: Vec<_> = files.map(ToString::to_string).collect();
        expect_none("a file may, and does not", &files);
    }
}

fn found(source: &Source, reach: &Reach) -> Vec<String> {
    match reach.only.contains(&source.path.as_str()) {
        true => Vec::new(),
        false => says(source, reach),
    }
}

fn says(source: &Source, reach: &Reach) -> Vec<String> {
    let code = source.product();
    let lines = reach.words.iter().flat_map(|word| {
        let lines = lines_with(code, word);
        lines.into_iter().map(move |line| (line, *word))
    });
    lines
        .map(|(line, word)| format!("{}:{line}: {word}", source.path))
        .collect()
}

#[test]
fn a_step_over_the_line_is_seen() {
    let code = "use git2::RepoBuilder;\nfn now() -> SystemTime { SystemTime::now() }\n";
    let source = |path: &str| Source {
        path: path.into(),
        text: code.into(),
        code: code.into(),
        is_test: false,
    };
    let problems = |path: &str| {
        let source = source(path);
        REACHES
            .iter()
            .flat_map(|reach| found(&source, reach))
            .count()
    };
    assert_eq!(problems("reconciler/src/pass.rs"), 2);
    assert_eq!(problems("reconciler/src/clock.rs"), 1);
}

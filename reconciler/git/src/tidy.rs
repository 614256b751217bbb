//! Keeps a clone of ours small and quick for months: a pack for each status commit, and some loose
//! objects for each fetch, become few packs. Nothing is ever dropped, whether it is reachable or not.

use std::path::Path;
use std::time::Duration;

use crate::process::git;

/// So many packs are put together.
const PACKS: usize = 50;

/// So many loose objects in one of the 256 folders, as Git itself counts: about 6,700 in all.
const LOOSE: usize = 27;

/// Repacks when there is something to gain. It can always be done later, so a failure is only noted.
pub(crate) async fn tidy(repository: &Path, deadline: Duration) {
    if deadline.is_zero() || !untidy(repository) {
        return;
    }
    // One thread and little memory: this runs beside the daemon's work.
    let args = [
        "-c",
        "pack.threads=1",
        "-c",
        "pack.windowMemory=32m",
        "repack",
        "--geometric=2",
        "-d",
        "--quiet",
    ];
    match git(repository, "repack", &args, deadline).await {
        Ok(output) if output.success => {}
        Ok(output) => tracing::warn!(said = output.stderr, "clone not repacked"),
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "clone not repacked"
        ),
    }
}

fn untidy(repository: &Path) -> bool {
    let names = |folder: &str| {
        let entries = std::fs::read_dir(repository.join(folder));
        let names = entries.into_iter().flatten().flatten();
        names.map(|entry| entry.path())
    };
    let packs = names("objects/pack").filter(|name| name.extension().is_some_and(|x| x == "pack"));
    packs.count() >= PACKS || names("objects/17").count() >= LOOSE
}

//! Work on all cores, with answers in the order of the work.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use easyenclave_git::{GitError, Past};

/// So many jobs in a row are one thread's: neighbours read much the same objects.
const SHARE: usize = 8;

/// More threads do not help: they wait for the disk and for each other.
const THREADS: usize = 32;

/// Does the work of each job, each thread with a repository of its own, which keeps what it has read in memory no longer
/// than that.
pub(super) fn spread<Job: Sync, Done: Send>(
    past: &Past,
    jobs: &[Job],
    work: impl Fn(&Past, &Job) -> Done + Sync,
) -> Result<Vec<Done>, GitError> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = jobs.len().div_ceil(SHARE).min(cores).min(THREADS);
    let shares: Vec<&[Job]> = jobs.chunks(SHARE).collect();
    let pasts: Result<Vec<_>, _> = (0..threads).map(|_| past.again()).collect();
    let next = AtomicUsize::new(0);
    let run = |past: Past| {
        let mut done = Vec::new();
        while let Some((share, jobs)) = take(&shares, &next) {
            done.push((share, jobs.iter().map(|job| work(&past, job)).collect()));
        }
        done
    };
    let mut done: Vec<(usize, Vec<Done>)> = thread::scope(|scope| {
        let spawn = |past| scope.spawn(|| run(past));
        let running: Vec<_> = pasts?.into_iter().map(spawn).collect();
        let ended = running.into_iter().map(|running| running.join());
        let done = ended.map(|ended| ended.unwrap_or_else(|panic| resume_unwind(panic)));
        Ok::<_, GitError>(done.flatten().collect())
    })?;
    done.sort_by_key(|(share, _)| *share);
    Ok(done.into_iter().flat_map(|(_, done)| done).collect())
}

/// The next share that no thread has.
fn take<'j, Job>(shares: &[&'j [Job]], next: &AtomicUsize) -> Option<(usize, &'j [Job])> {
    let share = next.fetch_add(1, Ordering::Relaxed);
    Some((share, *shares.get(share)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_jobs() {
        let dir = tempfile::tempdir().expect("a folder");
        let files = std::collections::BTreeMap::new();
        let author = ("Ada", "ada@example.invalid");
        easyenclave_git::init_repository(dir.path(), "main", &files, "start", author, 1)
            .expect("made");
        let past = Past::open(dir.path()).expect("opened");
        for count in [0, 1, SHARE, 10 * SHARE + 1] {
            let jobs: Vec<_> = (0..count).collect();
            let done = spread(&past, &jobs, |_, job| job * 2).expect("opened");
            assert_eq!(done, jobs.iter().map(|job| job * 2).collect::<Vec<_>>());
        }
    }
}

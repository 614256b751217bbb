//! What a person may believe to be in a plan and is not: edits that are not committed.

use std::path::Path;

use easyenclave_git::{CommitId, uncommitted};

use crate::desired::{is_read, places};

/// So many files are named; the rest is counted.
const NAMED: usize = 3;

/// A line on state documents of the work tree that are not as the planned commit has them, if there are some and that commit
/// is checked out.
pub(super) fn note(repo: &Path, planned: CommitId) -> Option<String> {
    match uncommitted(repo, planned, places()) {
        Ok(files) => said(files.into_iter().filter(|path| is_read(path)).collect()),
        Err(error) => Some(format!(
            "whether files have edits that are not committed cannot be told: {error}"
        )),
    }
}

fn said(files: Vec<String>) -> Option<String> {
    let have = match files.len() {
        0 => return None,
        1 => "1 file has".to_owned(),
        count => format!("{count} files have"),
    };
    let mut names = files[..files.len().min(NAMED)].join(", ");
    if files.len() > NAMED {
        names += ", …";
    }
    Some(format!(
        "{have} edits that are not committed: not in this plan ({names})"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_one_line_however_much_it_is() {
        let files = |count: usize| (0..count).map(|n| format!("owners/{n}.yaml")).collect();
        assert_eq!(said(files(0)), None);
        assert_eq!(
            said(files(1)).as_deref(),
            Some("1 file has edits that are not committed: not in this plan (owners/0.yaml)")
        );
        let many = said(files(5000)).expect("a line");
        assert!(
            many.starts_with("5000 files have edits that are not committed"),
            "{many}"
        );
        assert!(many.ends_with("owners/2.yaml, …)"), "{many}");
    }
}

//! Git in, Git out. `Source` can only read, `Ledger` can only write its one branch. Objects are read and
//! made in process; every remote operation is the `git` program, a child with a deadline. No branch is ever forced back.

mod brought;
mod budget;
mod bundle;
mod changes;
mod checkout;
mod clone;
mod commit;
mod elsewhere;
mod entries;
mod error;
mod folders;
mod identity;
mod ids;
mod ledger;
mod location;
mod names;
mod pack;
mod past;
mod process;
mod raw;
mod remote;
mod secret;
mod sign;
mod source;
mod sums;
mod tidy;
mod tree;
mod versions;
mod watch;
mod worktree;

pub use brought::Brought;
pub use budget::{PushBudget, Slot, Urgency};
pub use bundle::{BundleError, unbundle};
pub use changes::{
    Author, Changes, Proposal, commit_files, commit_onto, create_branch, init_repository,
    init_work_tree, trust_signers,
};
pub use elsewhere::commit_and_push;
pub use error::{GitError, LedgerError};
pub use folders::name_as_text;
pub use identity::configured_identity;
pub use ids::{BlobId, CommitId, IdError};
pub use ledger::{Ledger, Pushed};
pub use location::Location;
pub use past::{Deeds, Flaw, FlawKind, Past, Saying};
pub use process::redact;
pub use sign::{SignError, SignatureFlaw, Signer, Signers, SignersError};
pub use source::Source;
pub use sums::{SUMS, SUMS_TRAILER, Sha256, Sums, SumsError, trailer};
pub use tidy::{tidy, tidy_beside_others};
pub use versions::Met;
pub use watch::Watch;
pub use worktree::uncommitted;

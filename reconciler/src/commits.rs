//! Commits to the state repository that owners ask for over the API: one at a time, each foreseen right before, and only
//! of deployments of the caller's owner. Nothing else in this program writes desired state while it serves.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use easyenclave_git::{self as git, Changes, CommitId, GitError, Proposal};
use easyenclave_plan::{Plan, plan};
use easyenclave_schemas::decode::identify;
use easyenclave_schemas::documents::{Identity, Kind};
use easyenclave_schemas::status::ProblemStatus;
use easyenclave_schemas::{AgentId, DeploymentId, DeploymentName, Timestamp};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::api::Refused;
use crate::auth::{Caller, still};
use crate::manifest;
use crate::observe::observe;
use crate::preflight::Foreseen;
use crate::report::in_whole_seconds;
use crate::shares::Shares;
use crate::source::{Draft, Source};
use crate::world::World;

/// So many callers wait for their turn, and so many of one owner; further ones are told to come back.
const WAITING: usize = 64;
const WAITING_OF_ONE: usize = 16;

/// For no longer than this.
const WAIT: Duration = Duration::from_secs(30);

/// So many changes are only looked at, at a time.
const LOOKS: usize = 2;

/// A fetch or a push that takes longer is stopped.
const REMOTE: Duration = Duration::from_secs(20);

/// So often a change is foreseen anew because somebody else was faster.
const TRIES: usize = 3;

/// After so many commits to a repository on this machine it is looked whether it has many packs.
const TIDY_EVERY: usize = 50;

/// Putting them together is stopped after this, and begun anew after as many commits.
const TIDY: Duration = Duration::from_secs(60);

/// The clone that pushes are made in: others wait for their turn meanwhile, and have time left after it.
const TIDY_SCRATCH: Duration = Duration::from_secs(10);

/// Where owners' changes become commits.
pub struct Desk {
    source: Source,
    repository: String,
    branch: String,
    /// Where a repository that lies elsewhere is committed to before it is pushed.
    scratch: PathBuf,
    looks: Semaphore,
    queue: Arc<Shares>,
    turn: Arc<Semaphore>,
    /// How many commits were made, and whether they are being tidied up.
    commits: AtomicUsize,
    tidying: Arc<Semaphore>,
}

/// A change that an owner wants.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// Who wants it.
    pub(crate) caller: Caller,
    /// Of which of their deployments.
    pub(crate) name: DeploymentName,
    /// The document that is wanted; none when the deployment is to go.
    pub(crate) text: Option<String>,
    /// What the caller calls the version.
    pub(crate) version: Option<String>,
}

/// A change that is committed.
pub(crate) struct Committed {
    /// The commit.
    pub(crate) commit: CommitId,
    /// What was foreseen of it.
    pub(crate) foreseen: Foreseen,
}

/// Why nothing is committed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeskError {
    /// No revision is in force yet, or the repository cannot be read.
    #[error("the state repository cannot be read at the moment; try again")]
    NotReady,
    /// Too many want something.
    #[error("too many changes are waiting; try again")]
    Busy,
    /// Who calls may do so no more.
    #[error("{}", .0.message)]
    Denied(Refused),
    /// There is no such deployment.
    #[error("there is no such deployment of this owner")]
    NotFound,
    /// A person wrote the document.
    #[error(
        "{0} was not written by this API for this deployment, or was changed by hand: change it by a commit"
    )]
    ByHand(String),
    /// It would be a change of more than the deployment.
    #[error(
        "this would change more than the deployment, by what else is broken or was moved in the state repository: mend that, or make this change by a commit"
    )]
    OfOthers,
    /// The document would not come into force.
    #[error("the deployment is refused")]
    Refused(Vec<ProblemStatus>),
    /// Nothing could run it, and no waiting would help.
    #[error("there is no capacity for it")]
    NoCapacity(Box<Foreseen>),
    /// Nothing could run it, because the one agent that may is nowhere.
    #[error("there is no agent {0}, and none of this name is being launched")]
    NoAgent(AgentId, Box<Foreseen>),
    /// Others are faster, again and again.
    #[error("others are changing the state repository; try again")]
    Moved,
    /// The repository takes no commit.
    #[error("the state repository takes no commit at the moment; try again")]
    Git(#[source] GitError),
}

impl Wish {
    /// The deployment.
    pub(crate) fn id(&self) -> DeploymentId {
        DeploymentId {
            owner: self.caller.owner.clone(),
            name: self.name.clone(),
        }
    }

    fn identity(&self) -> Identity {
        Identity {
            kind: Kind::Deployment,
            owner: Some(self.caller.owner.to_string()),
            name: self.name.to_string(),
        }
    }

    /// Whether a text is a document of the deployment, good or not.
    fn is_in(&self, text: &[u8]) -> bool {
        identify(text).is_some_and(|identity| identity == self.identity())
    }

    fn message(&self) -> String {
        let verb = if self.text.is_some() {
            "deploy"
        } else {
            "undeploy"
        };
        let version = self.version.as_deref().unwrap_or_default();
        let subject = format!("{verb}: {} {version}", self.id());
        format!(
            "{}\n\nDeployed-By: {}\n",
            subject.trim_end(),
            self.caller.identity
        )
    }
}

/// A wish, and what would come of it on one commit.
struct Looked {
    head: CommitId,
    path: String,
    foreseen: Foreseen,
}

impl Desk {
    /// One for this branch of a repository, which `source` reads. `scratch` is a folder of its own.
    pub fn new(source: Source, repository: String, branch: String, scratch: PathBuf) -> Self {
        Self {
            source,
            repository,
            branch,
            scratch,
            looks: Semaphore::new(LOOKS),
            queue: Shares::new(WAITING, WAITING_OF_ONE),
            turn: Arc::new(Semaphore::new(1)),
            commits: AtomicUsize::new(0),
            tidying: Arc::new(Semaphore::new(1)),
        }
    }

    /// What would come of a wish. Changes nothing.
    pub(crate) async fn foresee(
        self: &Arc<Self>,
        world: &Arc<World>,
        wish: &Wish,
    ) -> Result<Foreseen, DeskError> {
        let (desk, world, wish) = (Arc::clone(self), Arc::clone(world), wish.clone());
        finished(async move { desk.look_once(&world, &wish).await }).await
    }

    /// Commits a wish, if something can come of it.
    pub(crate) async fn commit(
        self: &Arc<Self>,
        world: &Arc<World>,
        wish: &Wish,
    ) -> Result<Committed, DeskError> {
        let (desk, world, wish) = (Arc::clone(self), Arc::clone(world), wish.clone());
        finished(async move { desk.commit_once(&world, &wish).await }).await
    }

    async fn look_once(&self, world: &Arc<World>, wish: &Wish) -> Result<Foreseen, DeskError> {
        let place = self.queue.take(&wish.caller.owner);
        let _place = place.ok_or(DeskError::Busy)?;
        let _turn = turn(&self.looks).await?;
        Ok(self.look(world, wish).await?.foreseen)
    }

    async fn commit_once(&self, world: &Arc<World>, wish: &Wish) -> Result<Committed, DeskError> {
        let place = self.queue.take(&wish.caller.owner);
        let _place = place.ok_or(DeskError::Busy)?;
        let _turn = turn(&self.turn).await?;
        for _ in 0..TRIES {
            self.catch_up().await?;
            let looked = self.look(world, wish).await?;
            if let Some(agent) = looked.foreseen.not_found.clone() {
                return Err(DeskError::NoAgent(agent, Box::new(looked.foreseen)));
            }
            if looked.foreseen.hopeless {
                return Err(DeskError::NoCapacity(Box::new(looked.foreseen)));
            }
            match self.write(wish, &looked, world.clock.now()).await {
                Ok(commit) => {
                    world.wake.notify_one();
                    // The next one is to see it. Where that fails, it is committed all the same: the next one catches up.
                    let _ = self.catch_up().await;
                    let foreseen = looked.foreseen;
                    return Ok(Committed { commit, foreseen });
                }
                Err(GitError::Moved) => {}
                Err(GitError::Taken(_) | GitError::WorkTree(_)) => {
                    return Err(DeskError::ByHand(looked.path));
                }
                Err(error) => return Err(git_failed(error)),
            }
        }
        Err(DeskError::Moved)
    }

    async fn catch_up(&self) -> Result<(), DeskError> {
        self.source.catch_up(REMOTE).await.map_err(git_failed)
    }

    async fn look(&self, world: &Arc<World>, wish: &Wish) -> Result<Looked, DeskError> {
        let draft = self.source.draft().await;
        let draft = draft.map_err(|_| DeskError::NotReady)?;
        let (world, wish) = (Arc::clone(world), wish.clone());
        let looked = spawn_blocking(move || foreseen(&world, &wish, draft)).await;
        looked.expect("planning does not panic")
    }

    async fn write(
        &self,
        wish: &Wish,
        looked: &Looked,
        now: Timestamp,
    ) -> Result<CommitId, GitError> {
        let text = wish.text.as_ref().map(|text| text.clone().into_bytes());
        let owner = wish.caller.owner.to_string();
        let proposal = Proposal {
            branch: self.branch.clone(),
            onto: Some(looked.head),
            changes: Changes::from([(looked.path.clone(), text)]),
            message: wish.message(),
            author: (owner.clone(), format!("{owner}@easyenclave.invalid")),
            when: now.as_millis() / 1000,
        };
        if !self.source.is_local() {
            let scratch = &self.scratch;
            let commit = git::commit_and_push(&self.repository, scratch, proposal, REMOTE).await?;
            self.tidy_scratch();
            return Ok(commit);
        }
        let repository = self.repository.clone();
        let commit = spawn_blocking(move || git::commit_onto(&repository, &proposal)).await;
        let commit = commit.expect("committing does not panic")?;
        self.tidy();
        Ok(commit)
    }

    /// Each push leaves something in the clone that it is made in. Who asked for it does not wait until that is tidied up; it
    /// takes its turn, so that nobody is at work there meanwhile.
    fn tidy_scratch(&self) {
        if let Ok(tidying) = Arc::clone(&self.tidying).try_acquire_owned() {
            let (turn, scratch) = (Arc::clone(&self.turn), self.scratch.clone());
            tokio::spawn(async move {
                let _tidying = tidying;
                let _turn = turn.acquire_owned().await;
                git::tidy(&scratch, TIDY_SCRATCH).await;
            });
        }
    }

    /// Each commit here is a pack, and perhaps nobody else ever tidies the repository up. Nobody waits for that either.
    fn tidy(&self) {
        let before = self.commits.fetch_add(1, Ordering::Relaxed);
        if let Ok(turn) = Arc::clone(&self.tidying).try_acquire_owned()
            && before.is_multiple_of(TIDY_EVERY)
        {
            let repository = self.repository.clone();
            tokio::spawn(async move {
                let _turn = turn;
                git::tidy_beside_others(&repository, TIDY).await;
            });
        }
    }
}

/// Does something to its end, also when whoever asked for it hangs up: what it has begun goes on, and keeps its places in
/// the queues until then.
async fn finished<T: Send + 'static>(
    work: impl Future<Output = Result<T, DeskError>> + Send + 'static,
) -> Result<T, DeskError> {
    let done = tokio::spawn(work).await;
    done.expect("no wish panics, and none is aborted")
}

async fn turn(turns: &Semaphore) -> Result<SemaphorePermit<'_>, DeskError> {
    let turn = timeout(WAIT, turns.acquire()).await;
    Ok(turn.map_err(|_| DeskError::Busy)?.expect("never closed"))
}

fn git_failed(error: GitError) -> DeskError {
    tracing::warn!(
        error = &error as &dyn std::error::Error,
        "an owner's change is not committed"
    );
    DeskError::Git(error)
}

/// The file that a wish is about: the deployment's own, which nobody but the API may have written, or a new one in the
/// owner's folder. A path is no name: a file that is called like the deployment may hold another one.
fn place(draft: &Draft, wish: &Wish) -> Result<String, DeskError> {
    let (owner, name) = (&wish.caller.owner, &wish.name);
    let known = draft.place(owner.as_str(), name.as_str());
    let is_known = known.is_some();
    let path = known.unwrap_or_else(|| format!("deployments/{owner}/{name}.yaml"));
    let text = draft.text(&path).map_err(|_| DeskError::NotReady)?;
    let is_it = text.as_deref().is_some_and(|text| wish.is_in(text));
    match (text, &wish.text) {
        (_, None) if !is_known && !is_it => Err(DeskError::NotFound),
        (None, None) => Err(DeskError::NotFound),
        (Some(text), _) if !is_it || !manifest::is_ours(&text) => Err(DeskError::ByHand(path)),
        // Whoever may write to this folder speaks for this owner and for nobody else.
        _ if !path.starts_with(&format!("deployments/{owner}/")) => Err(DeskError::ByHand(path)),
        _ => Ok(path),
    }
}

/// Plans with a wish and without it, on the newest commit. Who calls was known by the revision in force and has waited
/// since, so they are held against that commit, too.
fn foreseen(world: &World, wish: &Wish, draft: Draft) -> Result<Looked, DeskError> {
    let revision = world.revision().ok_or(DeskError::NotReady)?;
    let now = world.clock.now();
    let model = draft.model().ok_or(DeskError::NotReady)?;
    still(world, &model.callers, &wish.caller, now).map_err(DeskError::Denied)?;
    let path = place(&draft, wish)?;
    let observed = in_whole_seconds(observe(world, &revision, now));
    let now = now.trunc_secs();
    let before: Plan = plan(&model.desired, &observed, now);
    let head = draft.head();
    let text = wish.text.as_ref().map(|text| text.clone().into_bytes());
    let (loaded, mut changed) = draft.with(&path, text);
    if loaded.outage {
        return Err(DeskError::NotReady);
    }
    let wrong: Vec<_> = loaded
        .problems
        .into_iter()
        .filter(|one| one.file == path)
        .collect();
    if !wrong.is_empty() {
        return Err(DeskError::Refused(wrong));
    }
    let model = loaded.model.ok_or(DeskError::NotReady)?;
    changed.remove(&wish.identity());
    if !changed.is_empty() {
        return Err(DeskError::OfOthers);
    }
    Ok(Looked {
        head,
        foreseen: Foreseen::of(&wish.id(), &model.desired, &before, &observed, now),
        path,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::{Semaphore, oneshot};
    use tokio::time::timeout;

    use super::finished;

    #[tokio::test]
    async fn what_is_begun_goes_on_and_keeps_its_place_when_its_caller_hangs_up() {
        let places = Arc::new(Semaphore::new(1));
        let (go, wait) = oneshot::channel::<()>();
        let (say, said) = oneshot::channel();
        let work = {
            let places = Arc::clone(&places);
            async move {
                let _place = places.try_acquire().expect("there is room");
                let _ = wait.await;
                let _ = say.send(());
                Ok(())
            }
        };
        let hung_up = timeout(Duration::from_millis(50), finished(work)).await;
        assert!(hung_up.is_err(), "nobody waits any more");
        assert_eq!(places.available_permits(), 0, "it has its place still");
        go.send(()).expect("it waits");
        said.await.expect("it came to its end");
    }
}

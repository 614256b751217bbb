//! A remote that refuses pushes: the pause grows from failure to failure, and nothing that is to be said meanwhile
//! makes it shorter.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use easyenclave::clock::Clock;
use easyenclave::outage::Outage;
use easyenclave::pass::pass;
use easyenclave::report::{Notes, Status, status};
use easyenclave::status::Publisher;
use easyenclave_git::{Ledger, Signer, init_repository};
use easyenclave_schemas::status::paths;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::place::Place;

const HOOK: &str = "#!/bin/sh\necho refused >> pushes\nexit 1\n";

/// A publisher and its remote, and a fleet that always has something urgent to say.
struct Stand {
    place: Place,
    dir: tempfile::TempDir,
    newest: watch::Sender<Option<Arc<Status>>>,
    publisher: JoinHandle<()>,
    said: usize,
}

impl Stand {
    fn new() -> Self {
        let place = Place::new(&serde_json::json!({}));
        let mut revision = place.world.revision().expect("a revision").as_ref().clone();
        revision.status.pushes_per_minute = 600;
        place.world.adopt(Arc::new(revision));
        let dir = tempfile::tempdir().expect("a folder");
        let remote = dir.path().join("state.git");
        let files = std::collections::BTreeMap::from([("fleet.yaml".into(), Vec::new())]);
        let author = ("Ada", "ada@example.invalid");
        init_repository(&remote, "main", &files, "start", author, 1).expect("made");
        let hook = remote.join("hooks/pre-receive");
        std::fs::create_dir_all(remote.join("hooks")).expect("made");
        std::fs::write(&hook, HOOK).expect("written");
        std::fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).expect("executable");
        let signer = Signer::open_or_create(&dir.path().join("key")).expect("a key");
        let clone = dir.path().join("status.git");
        let ledger = Ledger::open(&remote.display().to_string(), &clone, "status", signer);
        let ledger = ledger.expect("opened").marked_by(paths::PROBLEMS);
        let (newest, statuses) = watch::channel(None);
        let world = Arc::clone(&place.world);
        let publisher = Publisher::new(world, ledger, None, Outage::default());
        Self {
            publisher: tokio::spawn(publisher.run(statuses)),
            place,
            dir,
            newest,
            said: 0,
        }
    }

    /// Something urgent, this long after the last; a pause may be counted from then. Returns when it is committed in
    /// the clone, so that whatever was to be done about the one before is done.
    async fn says(&mut self, after: Duration) {
        self.place.clock.forward(after);
        self.said += 1;
        let (world, now) = (&self.place.world, self.place.clock.now());
        world.refuse("a_code", &format!("agent-{}", self.said), "no");
        let revision = world.revision().expect("a revision");
        let report = pass(world, revision, now).await.expect("a pass");
        let notes = Notes {
            refusals: world.refusals.list(),
            ..Notes::default()
        };
        let next = status(
            &report,
            &world.journal.read(),
            &world.presence,
            &notes,
            None,
        );
        self.newest.send_replace(Some(Arc::new(next)));
        let clone = self.dir.path().join("status.git");
        self.until("it is committed", || commits(&clone) == self.said)
            .await;
    }

    /// Pushes that the remote has refused.
    fn refused(&self) -> usize {
        let pushes = std::fs::read_to_string(self.dir.path().join("state.git/pushes"));
        pushes.unwrap_or_default().lines().count()
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while !holds() {
            assert!(tokio::time::Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.publisher.abort();
    }
}

/// Commits of the status branch.
fn commits(repository: &Path) -> usize {
    let mut git = Command::new("git");
    let counted = git
        .arg("-C")
        .arg(repository)
        .args(["rev-list", "--count", "status"])
        .output();
    let counted = counted.expect("git runs").stdout;
    String::from_utf8_lossy(&counted)
        .trim()
        .parse()
        .unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_there_is_to_say_the_pause_after_a_refused_push_is_kept_and_grows() {
    let mut stand = Stand::new();
    let second = Duration::from_secs(1);
    stand.says(second).await;
    stand.until("it is pushed", || stand.refused() == 1).await;
    // The first pause is five seconds, and up to a quarter more.
    for _ in 0..3 {
        stand.says(second).await;
    }
    assert_eq!(stand.refused(), 1);
    stand.says(second * 8).await;
    stand
        .until("it is pushed again", || stand.refused() == 2)
        .await;
    // The second is ten.
    for _ in 0..4 {
        stand.says(second * 2).await;
    }
    assert_eq!(stand.refused(), 2);
    let remote = stand.dir.path().join("state.git");
    std::fs::remove_file(remote.join("hooks/pre-receive")).expect("removed");
    stand.says(second * 8).await;
    stand
        .until("all of it arrives", || commits(&remote) == stand.said)
        .await;
    stand.says(second).await;
    stand
        .until("no pause is left", || commits(&remote) == stand.said)
        .await;
}

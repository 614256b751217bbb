//! Changes that wait for the disk together, and writes that fail.

use std::sync::Condvar;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use easyenclave_schemas::records::OrderRecord;
use easyenclave_store::SledStore;

use super::*;

/// A store whose disk can be held up and can fail, and that counts.
struct Disk {
    store: SledStore,
    held: Mutex<bool>,
    freed: Condvar,
    fails: AtomicBool,
    flushes: AtomicUsize,
}

impl Disk {
    fn open(dir: &std::path::Path) -> Arc<Self> {
        Arc::new(Self {
            store: SledStore::open(dir).expect("the folder is free"),
            held: Mutex::new(false),
            freed: Condvar::new(),
            fails: AtomicBool::new(false),
            flushes: AtomicUsize::new(0),
        })
    }

    fn hold(&self, held: bool) {
        *self.held.lock().expect("no panic") = held;
        self.freed.notify_all();
    }

    fn flushes(&self) -> usize {
        self.flushes.load(Ordering::SeqCst)
    }
}

impl Store for Disk {
    fn get(&self, space: Space, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(space, key)
    }

    fn list(&self, space: Space) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.store.list(space)
    }

    fn keys(&self, space: Space) -> Result<Vec<String>, StoreError> {
        self.store.keys(space)
    }

    fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        self.store.apply(batch)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        let held = self.held.lock().expect("no panic");
        drop(self.freed.wait_while(held, |held| *held).expect("no panic"));
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Engine("no space left".into()));
        }
        self.store.flush()
    }
}

fn order(name: &str) -> OrderRecord {
    let text = format!(
        r#"{{"order": "{name}", "datacenter": "dc", "provider": "local", "state": "open", "openedAt": "2026-01-01T00:00:00Z",
            "work": {{"retire": {{"agent": "{name}", "reason": "r"}}}}}}"#
    );
    serde_json::from_str(&text).expect("an order")
}

async fn open_order(journal: Journal, name: &'static str) -> Result<Result<(), ()>, JournalError> {
    let decide = move |_: &Records, change: &mut Change| {
        change.put_order(order(name));
        Ok(())
    };
    journal.transact(decide).await
}

async fn until(condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("it does not come to that");
}

#[tokio::test]
async fn changes_that_come_while_the_disk_works_share_the_next_flush() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = Disk::open(dir.path());
    let journal = Journal::open(Arc::clone(&disk) as Arc<dyn Store>).expect("opened");
    disk.hold(true);
    let first = tokio::spawn(open_order(journal.clone(), "first"));
    until(|| disk.flushes() == 1).await;
    let names = ["a", "b", "c", "d"];
    let others = names.map(|name| tokio::spawn(open_order(journal.clone(), name)));
    let applied = || disk.list(Space::Orders).expect("readable").len();
    until(|| applied() == 5).await;
    assert!(journal.read().orders.is_empty(), "nothing is on the disk");
    disk.hold(false);
    for call in std::iter::once(first).chain(others) {
        call.await
            .expect("no panic")
            .expect("kept")
            .expect("decided");
    }
    assert_eq!((disk.flushes(), journal.read().orders.len()), (2, 5));
}

#[tokio::test]
async fn a_decision_without_a_change_waits_for_what_it_was_decided_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = Disk::open(dir.path());
    let journal = Journal::open(Arc::clone(&disk) as Arc<dyn Store>).expect("opened");
    disk.hold(true);
    let first = tokio::spawn(open_order(journal.clone(), "first"));
    until(|| disk.flushes() == 1).await;
    let decided = Arc::new(AtomicBool::new(false));
    let (asks, knows) = (journal.clone(), Arc::clone(&decided));
    let look = tokio::spawn(async move {
        let decide = move |records: &Records, _: &mut Change| {
            knows.store(true, Ordering::SeqCst);
            Ok::<_, ()>(records.orders.len())
        };
        asks.transact(decide).await
    });
    until(|| decided.load(Ordering::SeqCst)).await;
    assert!(!look.is_finished() && journal.read().orders.is_empty());
    disk.hold(false);
    first
        .await
        .expect("no panic")
        .expect("kept")
        .expect("decided");
    let seen = look
        .await
        .expect("no panic")
        .expect("kept")
        .expect("decided");
    assert_eq!((seen, journal.read().orders.len()), (1, 1));
}

#[tokio::test]
async fn a_failed_write_is_told_to_whoever_waits_and_a_conflict_is_none() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = Disk::open(dir.path());
    let journal = Journal::open(Arc::clone(&disk) as Arc<dyn Store>).expect("opened");
    for _ in 0..2 {
        let used = journal.transact(|_, change| {
            change.use_nonce("n", Timestamp::default());
            Ok::<_, ()>(())
        });
        let _ = used.await;
    }
    assert!(journal.inner.failed.borrow().is_none(), "it was a conflict");
    disk.fails.store(true, Ordering::SeqCst);
    let failed = open_order(journal.clone(), "first").await;
    assert!(matches!(failed, Err(JournalError::Store(_))), "{failed:?}");
    assert_eq!(journal.failed().await, "no space left");
}

#[tokio::test]
async fn a_nonce_that_was_used_counts_no_more_when_the_clock_jumps_there_and_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = Journal::open(Disk::open(dir.path())).expect("opened");
    let expires = Timestamp::from_millis(1000);
    let uses = || async {
        let used = journal.transact(move |_, change| {
            change.use_nonce("n", expires);
            Ok::<_, ()>(())
        });
        used.await
    };
    uses().await.expect("kept").expect("for the first time");
    let day = Duration::from_secs(86_400);
    journal
        .forget_nonces(expires.plus(day))
        .await
        .expect("looked");
    let again = uses().await;
    assert!(
        matches!(again, Err(JournalError::Store(StoreError::Conflict { .. }))),
        "{again:?}"
    );
    let later = expires.plus(day + Duration::from_millis(1));
    journal.forget_nonces(later).await.expect("looked");
    uses().await.expect("kept").expect("forgotten");
}

#[tokio::test]
async fn what_a_failed_flush_left_behind_is_seen_when_it_is_on_the_disk() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = Disk::open(dir.path());
    let journal = Journal::open(Arc::clone(&disk) as Arc<dyn Store>).expect("opened");
    disk.fails.store(true, Ordering::SeqCst);
    let failed = open_order(journal.clone(), "first").await;
    assert!(matches!(failed, Err(JournalError::Store(_))), "{failed:?}");
    assert!(journal.read().orders.is_empty());
    disk.fails.store(false, Ordering::SeqCst);
    let kept = open_order(journal.clone(), "second").await;
    kept.expect("kept").expect("decided");
    assert_eq!(journal.read().orders.len(), 2);
}

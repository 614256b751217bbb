//! What every store must do, line by line of the trait's guarantees. Panics with the broken promise.

use std::path::Path;

use crate::{Batch, Expect, Space, Store, StoreError};

type Case = (&'static str, fn(&dyn Store));

/// Runs the whole suite. `open` opens the store of a folder; opening the same folder again after
/// the first was dropped must find what was committed.
///
/// # Panics
/// When a guarantee is broken.
pub fn run(open: impl Fn(&Path) -> Box<dyn Store>) {
    let cases: [Case; 5] = [
        ("values are read back", read_back),
        ("spaces are apart", spaces_are_apart),
        ("lists are in key order", list_in_order),
        ("a failed expectation writes nothing", expectation),
        ("one of many racing batches wins", race),
    ];
    for (name, case) in cases {
        let dir = tempfile::tempdir().expect("a folder for the store");
        println!("store: {name}");
        case(open(dir.path()).as_ref());
    }
    survives_reopening(open);
}

fn put(store: &dyn Store, space: Space, key: &str, value: &str) {
    let mut batch = Batch::new();
    batch.put(space, key, value.into());
    store.commit(&batch).expect("an unguarded batch is applied");
}

fn read_back(store: &dyn Store) {
    assert_eq!(store.get(Space::Agents, "a").expect("readable"), None);
    put(store, Space::Agents, "a", "1");
    put(store, Space::Agents, "a", "2");
    assert_eq!(
        store.get(Space::Agents, "a").expect("readable"),
        Some(b"2".to_vec())
    );
    let mut batch = Batch::new();
    batch
        .delete(Space::Agents, "a")
        .delete(Space::Agents, "never there");
    store
        .commit(&batch)
        .expect("removing what is absent is no error");
    assert_eq!(store.get(Space::Agents, "a").expect("readable"), None);
}

fn spaces_are_apart(store: &dyn Store) {
    put(store, Space::Agents, "x", "agent");
    put(store, Space::Orders, "x", "order");
    assert_eq!(
        store.get(Space::Agents, "x").expect("readable"),
        Some(b"agent".to_vec())
    );
    assert_eq!(store.list(Space::Nonces).expect("readable"), vec![]);
}

fn list_in_order(store: &dyn Store) {
    for key in ["b", "c", "a"] {
        put(store, Space::Orders, key, key);
    }
    let keys: Vec<_> = store.list(Space::Orders).expect("readable");
    let keys: Vec<_> = keys.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["a", "b", "c"]);
}

fn expectation(store: &dyn Store) {
    put(store, Space::Nonces, "n", "used");
    for expect in [Expect::Absent, Expect::Value(b"other".to_vec())] {
        let mut batch = Batch::new();
        batch
            .put(Space::Agents, "a", b"1".to_vec())
            .expect(Space::Nonces, "n", expect);
        let error = store
            .commit(&batch)
            .expect_err("the expectation does not hold");
        assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
        assert_eq!(store.get(Space::Agents, "a").expect("readable"), None);
    }
    let mut batch = Batch::new();
    batch.put(Space::Agents, "a", b"1".to_vec());
    batch.expect(Space::Nonces, "n", Expect::Value(b"used".to_vec()));
    batch.expect(Space::Nonces, "other", Expect::Absent);
    store.commit(&batch).expect("both expectations hold");
}

fn race(store: &dyn Store) {
    let wins = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|racer: u8| {
                scope.spawn(move || {
                    let mut batch = Batch::new();
                    batch.put(Space::Nonces, "n", vec![racer]);
                    batch.expect(Space::Nonces, "n", Expect::Absent);
                    store.commit(&batch).is_ok()
                })
            })
            .collect();
        racers
            .into_iter()
            .map(|racer| racer.join().expect("no panic"))
            .fold(0, |wins, won| wins + u32::from(won))
    });
    assert_eq!(wins, 1, "exactly one racer may use up a nonce");
}

fn survives_reopening(open: impl Fn(&Path) -> Box<dyn Store>) {
    println!("store: a committed batch survives reopening");
    let dir = tempfile::tempdir().expect("a folder for the store");
    put(open(dir.path()).as_ref(), Space::Meta, "key", "value");
    let store = open(dir.path());
    assert_eq!(
        store.get(Space::Meta, "key").expect("readable"),
        Some(b"value".to_vec())
    );
}

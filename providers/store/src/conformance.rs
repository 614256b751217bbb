//! What every store must do, line by line of the trait's guarantees. Panics with the broken promise.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

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
    commit(store, &batch).expect("an unguarded batch is applied");
}

fn commit(store: &dyn Store, batch: &Batch) -> Result<(), StoreError> {
    store.apply(batch)?;
    store.flush()
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
        .apply(&batch)
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
    assert_eq!(store.keys(Space::Orders).expect("readable"), keys);
}

fn expectation(store: &dyn Store) {
    put(store, Space::Nonces, "n", "used");
    for expect in [Expect::Absent, Expect::Value(b"other".to_vec())] {
        let mut batch = Batch::new();
        batch
            .put(Space::Agents, "a", b"1".to_vec())
            .expect(Space::Nonces, "n", expect);
        let error = store
            .apply(&batch)
            .expect_err("the expectation does not hold");
        assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
        assert_eq!(store.get(Space::Agents, "a").expect("readable"), None);
    }
    let mut batch = Batch::new();
    batch.put(Space::Agents, "a", b"1".to_vec());
    batch.expect(Space::Nonces, "n", Expect::Value(b"used".to_vec()));
    batch.expect(Space::Nonces, "other", Expect::Absent);
    store.apply(&batch).expect("both expectations hold");
}

fn race(store: &dyn Store) {
    let wins = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|racer: u8| {
                scope.spawn(move || {
                    let mut batch = Batch::new();
                    batch.put(Space::Nonces, "n", vec![racer]);
                    batch.expect(Space::Nonces, "n", Expect::Absent);
                    store.apply(&batch).is_ok()
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
    println!("store: a batch over several spaces is there whole after reopening");
    let dir = tempfile::tempdir().expect("a folder for the store");
    let store = open(dir.path());
    put(store.as_ref(), Space::Meta, "old", "value");
    let mut batch = Batch::new();
    batch.delete(Space::Meta, "old");
    for space in Space::ALL {
        batch.put(space, "key", space.name().into());
    }
    commit(store.as_ref(), &batch).expect("an unguarded batch is applied");
    drop(store);
    let store = open(dir.path());
    for space in Space::ALL {
        let entries = store.list(space).expect("readable");
        assert_eq!(entries, [("key".to_owned(), space.name().into())]);
    }
}

/// A value that is too long to lie among the others in any engine we know, in bytes.
const LONG: usize = 600 * 1024;

/// Every so many batches have a long value.
const EVERY: usize = 8;

/// What the process does that [`survives_kill`] kills: commits batches, one after the other, and says so.
/// Ends by itself when nobody listens, and when the store has failed.
///
/// # Panics
/// When a store that has failed takes the next batch: nobody knows what of the one before is on the disk.
pub fn commit_until_killed(store: &dyn Store) {
    let start = store.list(Space::Agents).expect("readable").len();
    for number in start..start + 10_000 {
        let mut batch = Batch::new();
        let long = if number % EVERY == 0 { LONG } else { 10 };
        batch
            .put(Space::Agents, key(number), b"agent".to_vec())
            .put(Space::Orders, key(number), b"order".to_vec())
            .put(Space::Evidence, key(number % 24), value(number, long));
        if commit(store, &batch).is_err() {
            commit(store, &batch).expect_err("a store that has failed takes nothing more");
            return;
        }
        if writeln!(std::io::stdout(), "committed {number}").is_err() {
            return;
        }
    }
}

fn key(number: usize) -> String {
    format!("{number:06}")
}

fn value(number: usize, length: usize) -> Vec<u8> {
    let mut value = number.to_string().into_bytes();
    value.resize(length, b'.');
    value
}

/// Kills a process that commits, several times, and reads what it left. `command` makes the command of a process
/// that calls [`commit_until_killed`] with the store of this folder.
///
/// # Panics
/// When a guarantee is broken.
pub fn survives_kill(open: impl Fn(&Path) -> Box<dyn Store>, command: impl Fn(&Path) -> Command) {
    let dir = tempfile::tempdir().expect("a folder for the store");
    for lines in [1, 2, 5, 17, 30] {
        println!("store: killed after {lines} batches");
        let (last, _) = killed_after(command(dir.path()), lines);
        holds_all_up_to(last, open(dir.path()).as_ref());
    }
}

/// The same with a disk that is full after a while: whoever commits is told, and what was committed until then is
/// there once there is room again.
///
/// # Panics
/// When a guarantee is broken.
pub fn survives_a_full_disk(
    open: impl Fn(&Path) -> Box<dyn Store>,
    command: impl Fn(&Path) -> Command,
) {
    for kib in [700, 1000, 1300] {
        let dir = tempfile::tempdir().expect("a folder for the store");
        println!("store: no file may be longer than {kib} KiB");
        let (last, ended) = killed_after(bounded(&command(dir.path()), kib), usize::MAX);
        assert!(ended.success(), "{ended}");
        let store = open(dir.path());
        holds_all_up_to(last, store.as_ref());
        put(store.as_ref(), Space::Meta, "there is", "room");
    }
}

/// The same command, which can write no file beyond so many KiB.
fn bounded(command: &Command, kib: usize) -> Command {
    let mut bounded = Command::new("sh");
    let limit = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", 2 * kib);
    bounded.args(["-c", &limit]).arg(command.get_program());
    bounded.args(command.get_args());
    let given = command
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    bounded.envs(given);
    bounded
}

fn holds_all_up_to(last: usize, store: &dyn Store) {
    let numbers = |space| -> BTreeSet<String> {
        let entries = store.list(space).expect("readable");
        entries.into_iter().map(|(key, _)| key).collect()
    };
    let (agents, orders) = (numbers(Space::Agents), numbers(Space::Orders));
    assert_eq!(agents, orders, "a batch was applied in part");
    let all: BTreeSet<String> = (0..agents.len()).map(key).collect();
    assert_eq!(agents, all, "a batch is there without one before it");
    assert!(agents.contains(&key(last)), "batch {last} is lost");
    for number in agents.len().saturating_sub(24)..agents.len() {
        let long = if number % EVERY == 0 { LONG } else { 10 };
        let found = store.get(Space::Evidence, &key(number % 24));
        assert_eq!(found.expect("readable"), Some(value(number, long)));
    }
}

/// Starts it and kills it when it has said so many lines, if it has not ended by then. Answers the last number that it
/// said, and how it ended.
fn killed_after(mut command: Command, lines: usize) -> (usize, ExitStatus) {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let said = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut numbers = said.map_while(Result::ok).filter_map(|line| {
        let number = line.strip_prefix("committed ")?;
        number.parse().ok()
    });
    let last = numbers.by_ref().take(lines).last();
    if lines < usize::MAX {
        child.kill().expect("killed");
    }
    let ended = child.wait().expect("ended");
    (last.expect("it commits"), ended)
}

//! How long documents take, beside the bars that they must hold: `cargo bench -p easyenclave --bench check`.
//! Prints medians; it fails nothing, because a timed test fails on a slow day.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use easyenclave::desired::{Loaded, Loader};
use easyenclave_schemas::decode::decode;

/// Documents of the repository that is loaded.
const DOCUMENTS: usize = 10_000;

/// How often each thing is measured.
const RUNS: usize = 11;

fn main() {
    let (files, blobs) = repository();
    let hello = deployment(0, 1);
    let one = median(
        || (),
        |()| {
            for _ in 0..100 {
                black_box(decode(black_box(hello.as_bytes())).is_ok());
            }
        },
    );
    print("one document", one / 100, Duration::from_micros(100));

    let hostile = hostile();
    let worst = median(|| (), |()| decode(black_box(hostile.as_bytes())).is_err());
    print("one hostile document", worst, Duration::from_millis(100));

    let cold = median(Loader::default, |mut loader| {
        let loaded = load(&mut loader, &files, &blobs);
        assert!(loaded.problems.is_empty() && loaded.model.is_some());
        (loader, loaded)
    });
    print(
        &format!("{DOCUMENTS} documents, cold"),
        cold,
        Duration::from_secs(1),
    );

    let mut loader = Loader::default();
    load(&mut loader, &files, &blobs);
    let (mut files, mut blobs, mut next) = (files, blobs, DOCUMENTS);
    let changed = median(
        || {
            next += 1;
            blobs.push(deployment(7, next));
            files.insert(path(7), key(blobs.len() - 1));
            (files.clone(), blobs.clone())
        },
        |(files, blobs)| load(&mut loader, &files, &blobs),
    );
    print(
        &format!("one changed of {DOCUMENTS}"),
        changed,
        Duration::from_millis(50),
    );
}

/// The median time of a piece of work; making what it works on, and dropping what it made, do not count.
fn median<T, R>(mut prepare: impl FnMut() -> T, mut work: impl FnMut(T) -> R) -> Duration {
    let mut times: Vec<_> = (0..RUNS)
        .map(|_| {
            let prepared = prepare();
            let start = Instant::now();
            let made = black_box(work(prepared));
            let time = start.elapsed();
            drop(made);
            time
        })
        .collect();
    times.sort();
    times[RUNS / 2]
}

fn print(what: &str, time: Duration, bar: Duration) {
    let verdict = if time <= bar {
        "holds"
    } else {
        "does not hold"
    };
    println!("{what}: {time:?}, bar {bar:?}: {verdict}");
}

fn load(loader: &mut Loader, files: &BTreeMap<String, [u8; 20]>, blobs: &[String]) -> Loaded {
    let blob = |key: [u8; 20]| {
        let index = usize::from_be_bytes(*key.first_chunk().expect("longer than a number"));
        Ok(blobs[index - 1].clone().into_bytes())
    };
    loader.load(files, &blob, &|_| Ok(Vec::new()))
}

fn key(index: usize) -> [u8; 20] {
    let mut key = [0; 20];
    // Nothing but zeros stands for what is no file.
    key[..8].copy_from_slice(&(index + 1).to_be_bytes());
    key
}

fn path(index: usize) -> String {
    format!("deployments/acme/hello-{index}.yaml")
}

/// The example repository with many more deployments.
fn repository() -> (BTreeMap<String, [u8; 20]>, Vec<String>) {
    let mut files = BTreeMap::new();
    let mut blobs = Vec::new();
    let mut add = |path: String, text: String| {
        files.insert(path, key(blobs.len()));
        blobs.push(text);
    };
    let examples = easyenclave::examples::files(None);
    for (path, bytes) in examples
        .into_iter()
        .filter(|(path, _)| !path.starts_with("deployments/"))
    {
        let text = String::from_utf8(bytes).expect("examples are text");
        let text = text.replace("agents: 20", "agents: 4000000");
        if path.ends_with(".yaml") {
            add(path, text);
        }
    }
    for index in 0..DOCUMENTS - 5 {
        add(path(index), deployment(index, index));
    }
    (files, blobs)
}

/// As many fields that nobody knows as a document can hold.
fn hostile() -> String {
    let frame = deployment(0, 0);
    let fields = (0..9_900).map(|index| format!("  replica{index}: 1\n"));
    frame.replace("  replicas: 2\n", &fields.collect::<String>())
}

/// A typical deployment; `version` makes its text another one.
fn deployment(index: usize, version: usize) -> String {
    let files = easyenclave::examples::files(None);
    let text = String::from_utf8_lossy(&files["deployments/acme/hello-again.yaml"]).into_owned();
    text.replace("name: hello-again", &format!("name: hello-{index}"))
        .replace("Hello again", &format!("Hello {version}"))
}

//! Searches everything that a fleet writes and runs for values, in whatever way they could be written.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// What is looked for: a value in one of its spellings.
struct Needle {
    /// Of what, and how it is written.
    what: String,
    bytes: Vec<u8>,
}

/// Looks for some values.
pub(crate) struct Search {
    needles: Vec<Needle>,
    /// The first two bytes of needles, so that most of a text is passed over quickly.
    starts: Vec<bool>,
}

/// Where something was found, and what.
pub(crate) type Findings = BTreeMap<String, String>;

impl Search {
    pub(crate) fn new(values: &[(&str, &[u8])]) -> Self {
        let needles: Vec<_> = values
            .iter()
            .flat_map(|(name, value)| spellings(name, value))
            .collect();
        let mut starts = vec![false; 1 << 16];
        for needle in &needles {
            starts[start(&needle.bytes)] = true;
        }
        Self { needles, starts }
    }

    /// What of the values is in these bytes.
    pub(crate) fn within(&self, bytes: &[u8]) -> Option<&str> {
        let begins = |at: &usize| self.starts[start(&bytes[*at..])];
        let mut places = (0..bytes.len().saturating_sub(1)).filter(begins);
        places.find_map(|at| {
            let found = self
                .needles
                .iter()
                .find(|one| bytes[at..].starts_with(&one.bytes));
            found.map(|one| one.what.as_str())
        })
    }

    fn note(&self, place: String, bytes: &[u8], findings: &mut Findings) {
        if let Some(what) = self.within(bytes) {
            findings.insert(place, what.into());
        }
    }

    /// Every file below a folder, by content and by name. What is removed meanwhile was not there to be read.
    fn files(&self, folder: &Path, findings: &mut Findings) {
        let Ok(entries) = fs::read_dir(folder) else {
            return;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let place = path.display().to_string();
            self.note(format!("name {place}"), place.as_bytes(), findings);
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.files(&path, findings),
                Ok(kind) if kind.is_file() => match fs::read(&path) {
                    Ok(bytes) => self.note(place, &bytes, findings),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    // What stands for a namespace of the kernel holds nothing.
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                    Err(error) => panic!("{place}: {error}"),
                },
                _ => {}
            }
        }
    }

    /// Every object of the repositories below a folder, reachable or not, inflated. One that is being made has none yet.
    fn objects(&self, folder: &Path, findings: &mut Findings) {
        for repository in repositories(folder) {
            let objects = Command::new("git")
                .arg("-C")
                .arg(&repository)
                .args(["cat-file", "--batch-all-objects", "--batch", "--unordered"])
                .output()
                .expect("git runs");
            let place = format!("objects of {}", repository.display());
            self.note(place, &objects.stdout, findings);
        }
    }

    /// The command line and environment of every process but those that the values are for.
    fn processes(&self, findings: &mut Findings) {
        let own = std::process::id().to_string();
        for entry in fs::read_dir("/proc").expect("a Linux system").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == own || !name.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            let read = |what| fs::read(entry.path().join(what)).unwrap_or_default();
            let (line, environ) = (read("cmdline"), read("environ"));
            let shown = String::from_utf8_lossy(&line).replace('\0', " ");
            self.note(format!("command line {name} {shown}"), &line, findings);
            let is_workload = String::from_utf8_lossy(&environ).contains("EASYENCLAVE_DEPLOYMENT=");
            if !is_workload {
                self.note(format!("environment {name} {shown}"), &environ, findings);
            }
        }
    }

    /// All of it, below these folders.
    pub(crate) fn everywhere(&self, folders: &[PathBuf]) -> Findings {
        let mut findings = Findings::new();
        for folder in folders {
            self.files(folder, &mut findings);
            self.objects(folder, &mut findings);
        }
        self.processes(&mut findings);
        findings
    }
}

/// Searches again and again, beside what goes on.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    found: Arc<Mutex<Findings>>,
    thread: JoinHandle<()>,
}

impl Watch {
    pub(crate) fn start(search: Arc<Search>, folders: Vec<PathBuf>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicUsize::new(0));
        let found = Arc::new(Mutex::new(Findings::new()));
        let (stops, counts, finds) = (Arc::clone(&stop), Arc::clone(&rounds), Arc::clone(&found));
        let thread = thread::spawn(move || {
            while !stops.load(Ordering::Relaxed) {
                let findings = search.everywhere(&folders);
                finds.lock().expect("whole").extend(findings);
                counts.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self {
            stop,
            rounds,
            found,
            thread,
        }
    }

    /// What was found meanwhile, after at least one more round.
    pub(crate) fn end(self) -> (usize, Findings) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it does not panic");
        let found = self.found.lock().expect("whole").clone();
        (self.rounds.load(Ordering::Relaxed), found)
    }
}

/// The first two bytes as a number.
fn start(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

/// A value as it is, and as programs write it: in hex, in base64 at each place that it can have in a longer text, once and twice
/// over, as JSON and in a URL.
fn spellings(name: &str, value: &[u8]) -> Vec<Needle> {
    let mut found = Vec::new();
    let mut add = |how: &str, bytes: Vec<u8>| {
        let what = format!("{name} {how}");
        found.push(Needle { what, bytes });
    };
    add("as it is", value.to_vec());
    add("in hex", hex::encode(value).into_bytes());
    add("in upper hex", hex::encode_upper(value).into_bytes());
    for shift in 0..3 {
        for (how, alphabet) in [("base64", &STANDARD), ("base64 for URLs", &URL_SAFE)] {
            add(
                how,
                inner_base64(value, shift, |bytes| alphabet.encode(bytes)),
            );
        }
        let once = STANDARD.encode(value);
        add(
            "base64 twice",
            inner_base64(once.as_bytes(), shift, |bytes| STANDARD.encode(bytes)),
        );
    }
    let text = String::from_utf8_lossy(value);
    let json = serde_json::to_string(&text).expect("text");
    add("as JSON", json.trim_matches('"').as_bytes().to_vec());
    let numbers = serde_json::to_string(value).expect("numbers");
    add(
        "as numbers",
        numbers.trim_matches(['[', ']']).as_bytes().to_vec(),
    );
    let url: String = value.iter().map(|byte| format!("%{byte:02X}")).collect();
    add("in a URL", url.into_bytes());
    let url = value.iter().map(|byte| match byte.is_ascii_alphanumeric() {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    add(
        "in a URL, where it must",
        url.collect::<String>().into_bytes(),
    );
    let debug = format!("{:?}", String::from_utf8_lossy(value));
    add(
        "as Rust shows it",
        debug.trim_matches('"').as_bytes().to_vec(),
    );
    found
}

/// What of the base64 of a longer text depends on this part alone, when so many bytes stand before it.
fn inner_base64(value: &[u8], before: usize, encode: impl Fn(&[u8]) -> String) -> Vec<u8> {
    let mut longer = vec![0; before];
    longer.extend_from_slice(value);
    let whole = longer.len() / 3 * 4;
    let skipped = if before == 0 { 0 } else { 4 };
    encode(&longer).into_bytes()[skipped..whole].to_vec()
}

/// The Git repositories below a folder.
fn repositories(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let path = entry.path();
        match path.join("objects").is_dir() {
            true => found.push(path),
            false => found.extend(repositories(&path)),
        }
    }
    found
}

#[test]
fn each_spelling_of_a_value_is_found_and_nothing_else() {
    let value: Vec<u8> = (0..32u8).map(|byte| byte.wrapping_mul(37) ^ 0x5a).collect();
    let search = Search::new(&[("a value", &value)]);
    let json = serde_json::json!({ "x": String::from_utf8_lossy(&value), "y": value });
    let before = [b"abc".as_slice(), &value, b"defg"].concat();
    let texts = [
        before.clone(),
        hex::encode(&value).into_bytes(),
        STANDARD.encode(&value).into_bytes(),
        STANDARD.encode(&before).into_bytes(),
        STANDARD.encode(&before[1..]).into_bytes(),
        URL_SAFE.encode(&before[2..]).into_bytes(),
        STANDARD
            .encode(format!("x{}", STANDARD.encode(&value)))
            .into_bytes(),
        json["x"].to_string().into_bytes(),
        json["y"].to_string().into_bytes(),
    ];
    for (at, text) in texts.iter().enumerate() {
        assert!(search.within(text).is_some(), "{at}");
        assert!(search.within(&text[..text.len() / 3]).is_none(), "{at}");
    }
    assert_eq!(search.within(&vec![0x5a; 10_000]), None);
}

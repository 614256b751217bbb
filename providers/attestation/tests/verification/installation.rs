//! A simulated platform on disk: it outlives restarts, survives races, and keeps its private parts private.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use easyenclave_attestation::simulated::{Guest, Platform, SimulatedError};
use easyenclave_attestation::testing::judge;
use easyenclave_attestation::{CollateralSource, PlatformFacts, testing};

use crate::bench::{Bench, data, evidence, now};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn open(dir: &Path) -> Platform {
    Platform::open_or_create(dir, now()).expect("a platform")
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[test]
fn a_restart_keeps_the_root_and_old_quotes_verify_under_new_collateral() {
    let bench = Bench::new();
    let dir = tempfile::tempdir().expect("a directory");
    let before = open(dir.path());
    let quote = before
        .guest()
        .quote(data(&bench.binding), &bench.body)
        .expect("a quote");
    let policy = testing::policy(&before, &bench.body);
    let old = before.collateral(now()).expect("collateral");
    drop(before);
    let later = now().plus(DAY * 100);
    let after = Platform::open_or_create(dir.path(), later).expect("the same platform");
    assert_eq!(policy.trust_root.key_id(), after.root_key_id());
    let new = after.collateral(later).expect("collateral");
    judge(&evidence(&quote), &bench.binding, &new, &policy, later).expect("accepted");
    assert!(judge(&evidence(&quote), &bench.binding, &old, &policy, later).is_err());
}

#[test]
fn collateral_is_shared_for_half_a_month_and_then_minted_again() {
    let bench = Bench::new();
    let at = |days| {
        bench
            .platform
            .collateral(now().plus(DAY * days))
            .expect("collateral")
    };
    assert_eq!(at(0), at(15));
    assert_ne!(at(0), at(16));
}

#[test]
fn the_collateral_source_answers_for_every_platform() {
    let bench = Bench::new();
    let facts = PlatformFacts::of(&bench.evidence()).expect("facts");
    let answer = CollateralSource::collateral(&bench.platform, &facts, now());
    let mut answer = std::pin::pin!(answer);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match answer.as_mut().poll(&mut context) {
        std::task::Poll::Ready(collateral) => {
            assert_eq!(collateral.expect("collateral"), bench.collateral)
        }
        std::task::Poll::Pending => panic!("a simulated source has nothing to wait for"),
    }
}

#[test]
fn two_installations_have_two_roots() {
    let (one, two) = (
        tempfile::tempdir().expect("one"),
        tempfile::tempdir().expect("two"),
    );
    assert_ne!(
        open(one.path()).root_key_id(),
        open(two.path()).root_key_id()
    );
}

#[test]
fn private_files_are_their_owners_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    open(dir.path());
    let files = files(dir.path());
    assert_eq!(files.len(), 8);
    for file in files {
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        let parent = fs::metadata(file.parent().expect("a parent")).expect("a directory");
        assert_eq!(parent.permissions().mode() & 0o777, 0o700);
    }
}

#[test]
fn a_guest_needs_only_its_own_part() {
    let bench = Bench::new();
    let dir = tempfile::tempdir().expect("a directory");
    let platform = open(dir.path());
    let elsewhere = tempfile::tempdir().expect("a directory");
    for file in files(&Platform::guest_dir(dir.path())) {
        fs::copy(
            &file,
            elsewhere.path().join(file.file_name().expect("a name")),
        )
        .expect("copies");
    }
    let guest = Guest::open(elsewhere.path()).expect("a guest");
    let quote = guest
        .quote(data(&bench.binding), &bench.body)
        .expect("a quote");
    let policy = testing::policy(&platform, &bench.body);
    let collateral = platform.collateral(now()).expect("collateral");
    judge(
        &evidence(&quote),
        &bench.binding,
        &collateral,
        &policy,
        now(),
    )
    .expect("accepted");
    for file in files(elsewhere.path()) {
        let text = fs::read_to_string(&file).expect("text");
        let root = fs::read_to_string(dir.path().join("pki/root/root.key")).expect("the root key");
        assert!(
            !text.contains(root.lines().nth(1).expect("a second line")),
            "{}",
            file.display()
        );
    }
}

#[test]
fn missing_and_damaged_files_are_named() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(matches!(
        Guest::open(dir.path()),
        Err(SimulatedError::Read { .. })
    ));
    open(dir.path());
    let key = dir.path().join("pki/platform/pck.key");
    fs::write(&key, "not a key").expect("writes");
    let error = Guest::open(&Platform::guest_dir(dir.path()))
        .err()
        .expect("damaged");
    assert_eq!(
        error.to_string(),
        "pck.key of the simulated platform is damaged"
    );
    fs::remove_file(&key).expect("removes");
    let error = Platform::open_or_create(dir.path(), now())
        .err()
        .expect("missing");
    assert!(error.to_string().contains("pck.key"), "{error}");
}

#[test]
fn every_certificate_says_that_it_is_simulated() {
    let bench = Bench::new();
    let dir = tempfile::tempdir().expect("a directory");
    open(dir.path());
    let chains = files(dir.path())
        .into_iter()
        .filter(|file| file.extension().is_some_and(|e| e == "pem"));
    let mut seen = 0;
    for chain in chains {
        for certificate in pem::parse_many(fs::read(&chain).expect("a chain")).expect("PEM") {
            let stamps = certificate
                .contents()
                .windows(22)
                .filter(|text| text == b"SIMULATED - NOT INTEL ");
            // Issuer and subject.
            assert_eq!(stamps.count(), 2, "{}", chain.display());
            seen += 1;
        }
    }
    assert_eq!(seen, 7);
    assert!(
        bench.quote.len() < 8192,
        "a simulated quote is no longer than a real one may be"
    );
}

const DIR: &str = "EASYENCLAVE_TEST_INSTALLATION";

/// Run by the test below in processes of its own; alone it opens a directory of its own.
#[test]
fn a_process_of_the_race() {
    let own = tempfile::tempdir().expect("a directory");
    let dir = std::env::var_os(DIR).map_or_else(|| own.path().to_owned(), PathBuf::from);
    println!("root {}", open(&dir).root_key_id());
}

#[test]
fn processes_that_open_one_new_directory_at_once_get_one_root() {
    let dir = tempfile::tempdir().expect("a directory");
    let shared = dir.path().join("made-by-the-first");
    let start = |_| {
        Command::new(std::env::current_exe().expect("this test"))
            .args([
                "--exact",
                "installation::a_process_of_the_race",
                "--nocapture",
            ])
            .env(DIR, &shared)
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts")
    };
    let processes: Vec<_> = (0..6).map(start).collect();
    let roots: Vec<String> = processes
        .into_iter()
        .map(|process| process.wait_with_output().expect("ends"))
        .map(|output| String::from_utf8(output.stdout).expect("text"))
        .map(|text| {
            text.lines()
                .find_map(|line| Some(line.split_once("root ")?.1.to_owned()))
                .expect("a root")
        })
        .collect();
    let root = open(&shared).root_key_id().to_string();
    assert!(roots.iter().all(|other| *other == root), "{roots:?}");
    assert_eq!(
        fs::read_dir(&shared).expect("a directory").count(),
        1,
        "no draft is left behind"
    );
}

#[test]
fn threads_that_open_one_new_directory_at_once_get_one_root() {
    let dir = tempfile::tempdir().expect("a directory");
    let roots = std::thread::scope(|scope| {
        let start = || scope.spawn(|| open(dir.path()).root_key_id());
        let threads: Vec<_> = (0..8).map(|_| start()).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect::<Vec<_>>()
    });
    assert!(roots.iter().all(|root| *root == roots[0]), "{roots:?}");
}

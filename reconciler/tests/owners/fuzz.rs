//! The served OpenAPI document in the hands of schemathesis, which makes calls of it, good and bad: none is answered with
//! a fault, none with what the document does not have, and none hangs. It is fetched when it is needed, into an
//! environment of Python's under `target/`; what cannot be fetched is not run, and never passed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use easyenclave_tests::{given, run};

use crate::caller::Caller;
use crate::harness::{Fleet, now, target};
use crate::proofs::new_key;

/// What is fetched, to the version.
const PACKAGE: &str = "schemathesis==4.32.5";

/// How long one step may take.
const STEP: Duration = Duration::from_secs(900);

/// So many calls are made of each operation in the phase that makes them at random.
const EXAMPLES: &str = "25";

/// What is not so, and not meant to be: that every call of the right shape is good (rules across fields and documents are
/// in no schema, and are answered with 400 as the document says), and that what was committed is there, or gone, at once.
const NOT_CHECKED: &str = "positive_data_acceptance,use_after_free,ensure_resource_availability";

/// A call takes no longer, in seconds; a deploy answers within some more than two.
const LONGEST: &str = "15";

#[tokio::test(flavor = "multi_thread")]
async fn no_call_by_the_document_is_answered_otherwise_than_the_document_says() {
    let Some(python) = environment() else { return };
    let mut fleet = Fleet::new(0, 2);
    fleet.commit_all(&[
        ("deployments/acme/web.yaml", None),
        ("capacity/tiny.yaml", Some(&target(4, 2))),
    ]);
    fleet.start_serve();
    fleet.start_worker();
    let caller = Caller::of(&fleet);
    let key = new_key(&fleet, &[]);
    caller.until(&key, Ok("acme")).await;
    fleet.wait("agents are warm", |status| {
        status["agents"].as_array().map_or(0, Vec::len) >= 2
    });
    let seed = match std::env::var("EASYENCLAVE_SEED") {
        Ok(seed) => seed,
        Err(_) => now().as_millis().rem_euclid(1_000_000_007).to_string(),
    };
    println!("seed {seed}: EASYENCLAVE_SEED={seed} makes the same calls");
    // Whoever follows logs does so for ten minutes.
    let launchers = fleet.log("data/keys/launcher.key");
    let config = format!(
        "[auth.openapi.owner]\nbearer = \"{key}\"\n[auth.openapi.launcherKey]\nbearer = \"{}\"\n\n[parameters]\n\
         \"path.owner\" = \"acme\"\n\"query.follow\" = false\n",
        launchers.trim()
    );
    std::fs::write(fleet.path("schemathesis.toml"), config).expect("written");
    let program = python.with_file_name("schemathesis");
    let mut command = Command::new(program);
    command
        .arg("run")
        .arg(format!("{}/api/v1/openapi.json", fleet.url()))
        .args(["--url", &fleet.url(), "--seed", &seed, "-n", EXAMPLES])
        // A claim waits for an order as long as it is told to, up to 30 seconds.
        .args(["--exclude-path-regex", "/claim$"])
        .args(["--request-timeout", LONGEST, "--no-color"])
        .args(["--exclude-checks", NOT_CHECKED])
        .current_dir(fleet.path(""));
    let said = run(&mut command, STEP);
    if let Err(said) = said {
        panic!("seed {seed}\n{said}\n{}", fleet.log("serve.log"));
    }
    println!("{}", said.map(tail).unwrap_or_default());
    // It still works, and whatever was said, no key is in the log.
    assert_eq!(caller.me(&key).await, Ok("acme".into()));
    assert!(!fleet.log("serve.log").contains(&key[30..]));
    fleet.stop();
}

fn tail(output: Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

/// The program of an environment with the package, if it can be had.
fn environment() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemathesis");
    let made = easyenclave_tests::environment(&folder, &[PACKAGE]);
    let how = "Debian: apt-get install python3-venv; and a package index";
    given("schemathesis", how, made)
}

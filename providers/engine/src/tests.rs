//! Programs of engines as scripts, one for each shape of their answers. What they say was recorded from the real ones.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use easyenclave_tests::put_program;
use tempfile::TempDir;

use super::*;

/// A search path with these programs, and nothing of the system's but a shell's own words.
struct Programs(TempDir);

const DOCKER: &str = "case \"$1\" in version) echo 20.10.24;; compose) [ \"$2\" = version ] && echo 2.40.3;; *) exit 1;; esac";
const DOCKER_ALONE: &str = "case \"$1\" in version) echo 20.10.24;; \
    *) echo \"docker: 'compose' is not a docker command.\" >&2; exit 1;; esac";
const DEAD: &str = "echo 'Cannot connect to the Docker daemon at unix:///nowhere. Is the docker daemon running?' >&2; exit 1";

impl Programs {
    fn new(programs: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, script) in programs {
            put_program(&folder.path().join(name), &format!("#!/bin/sh\n{script}\n"));
        }
        Self(folder)
    }

    fn at(&self) -> Surroundings {
        Surroundings {
            path: self.0.path().into(),
            host: Some("unix:///nowhere".into()),
            home: self.0.path().join("home"),
            labels: vec![("EASYENCLAVE_ORDER", "tiny-1".into())],
        }
    }

    async fn compose(&self) -> Option<Generation> {
        let engine = Engine::find(&self.at()).await.expect("an engine");
        let compose = engine.compose().await;
        compose.map(|compose| compose.generation())
    }
}

fn owner() -> Owner {
    Owner {
        fleet: "demo@0123456789ab".into(),
        order: "tiny-1".into(),
    }
}

/// What a program has written into a file, as soon as that is a line.
async fn once_written(file: &Path) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        if text.ends_with('\n') {
            return text;
        }
        assert!(Instant::now() < deadline, "{} is written", file.display());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Lets so much time pass in no time.
async fn skip(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[test]
fn a_project_is_named_by_fleet_and_order() {
    assert_eq!(owner().project(), "ee_demo_0123456789ab_tiny-1");
}

#[tokio::test]
async fn an_engine_is_found_by_its_program_and_its_answer() {
    let none = Programs::new(&[]);
    assert!(matches!(
        Engine::find(&none.at()).await,
        Err(EngineError::Missing)
    ));
    let dead = Programs::new(&[("docker", DEAD)]);
    let error = Engine::find(&dead.at()).await.expect_err("it is dead");
    assert!(
        error
            .to_string()
            .starts_with("the engine does not answer: Cannot connect"),
        "{error}"
    );
    assert_eq!(error.fault(), Fault::Engine);
    let both = Programs::new(&[("docker", DEAD), ("podman", "echo 4.3.1")]);
    let error = Engine::find(&both.at()).await;
    error.expect_err("one that is down is waited for");
    let podman = Programs::new(&[("podman", "echo 4.3.1")]);
    let engine = Engine::find(&podman.at()).await.expect("Podman");
    assert_eq!(engine.kind(), Kind::Podman);
    fs::set_permissions(
        podman.0.path().join("podman"),
        fs::Permissions::from_mode(0o644),
    )
    .expect("set");
    assert!(
        Engine::find(&podman.at()).await.is_err(),
        "what cannot be run is no program"
    );
}

#[tokio::test]
async fn the_plug_in_comes_first_and_what_is_no_compose_is_passed_over() {
    let first = ("docker-compose", "echo 1.29.2");
    let second = ("docker-compose", "echo v2.27.0");
    let broken = ("docker-compose", "echo 'no python'; exit 0");
    let found = async |programs: &[(&str, &str)]| Programs::new(programs).compose().await;
    assert_eq!(
        found(&[("docker", DOCKER), first]).await,
        Some(Generation::Second)
    );
    assert_eq!(
        found(&[("docker", DOCKER_ALONE), first]).await,
        Some(Generation::First)
    );
    assert_eq!(
        found(&[("docker", DOCKER_ALONE), second]).await,
        Some(Generation::Second)
    );
    assert_eq!(found(&[("docker", DOCKER_ALONE), broken]).await, None);
    assert_eq!(found(&[("docker", DOCKER_ALONE)]).await, None);
    let podman = |compose| [("podman", "echo 4.3.1"), ("podman-compose", compose)];
    assert_eq!(found(&podman(PODMANS)).await, Some(Generation::Podman));
    let old = "echo podman-compose version 1.0.3; echo '  [--no-ansi] [--dry-run]'";
    assert_eq!(found(&podman(old)).await, None, "it has no values");
}

/// It tells its arguments, and what it has of a project.
const PODMANS: &str = r#"case "$1" in
--version) echo podman-compose version 1.6.0;;
--help) echo '[--env-file env_file] [-f file] [--profile profile]';;
*) echo "$*" >>told; case "$*" in *" config") printf 'volumes:\n  data: {}\n';; esac;;
esac"#;

#[tokio::test]
async fn podmans_compose_is_given_values_and_profiles() {
    let programs = Programs::new(&[("podman", "echo 4.3.1"), ("podman-compose", PODMANS)]);
    let engine = Engine::find(&programs.at()).await.expect("Podman");
    let compose = engine.compose().await.expect("a compose");
    let folder = programs.0.path().to_owned();
    let project = Project {
        name: "p".into(),
        folder: folder.clone(),
        files: vec!["a".into(), "b".into()],
        env_file: "values".into(),
        profiles: vec!["one".into(), "two".into()],
    };
    assert_eq!(compose.volumes(&project).await.expect("told"), ["data"]);
    let up = compose.up(&project, Duration::from_secs(3), |_| {});
    up.await.expect("started");
    let told = fs::read_to_string(folder.join("told")).expect("told");
    let all =
        "-p p -f a -f b --no-ansi --in-pod false --env-file values --profile one --profile two";
    assert_eq!(
        told,
        format!("{all} config\n{all} up --detach --no-build -t 3\n")
    );
}

#[tokio::test]
async fn an_engine_that_hangs_is_not_asked_again_and_again() {
    let hangs = "case \"$1\" in version) echo 1;; ps) echo a;; \
                 *) echo look >>\"$HOME/looks\"; exec /bin/sleep 300;; esac";
    let programs = Programs::new(&[("docker", hangs)]);
    let home = programs.0.path().join("home");
    fs::create_dir(&home).expect("a folder");
    let engine = Engine::find(&programs.at()).await.expect("an engine");
    let looks = home.join("looks");
    let hang = async {
        once_written(&looks).await;
        skip(Duration::from_secs(20)).await;
    };
    let (owner, notes) = (owner(), home.join("notes"));
    let (removed, ()) = tokio::join!(engine.remove_all(&owner, &notes), hang);
    let late = removed.expect_err("it hangs");
    assert!(matches!(late, EngineError::Late { .. }), "{late}");
    assert_eq!(fs::read_to_string(&looks).expect("written"), "look\n");
}

#[tokio::test]
async fn a_program_has_exactly_its_environment() {
    let report = "case \"$1\" in version) echo 1;; ps) /usr/bin/env >\"$HOME/env\"; exit 1;; esac";
    let programs = Programs::new(&[("docker", report)]);
    fs::create_dir(programs.0.path().join("home")).expect("a folder");
    let engine = Engine::find(&programs.at()).await.expect("an engine");
    engine.containers(&owner()).await.expect_err("it fails");
    let env = fs::read_to_string(programs.0.path().join("home/env")).expect("written");
    let mut names: Vec<_> = env
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    names.retain(|name| !["PWD", "SHLVL", "_"].contains(name));
    names.sort_unstable();
    let expected = [
        "COMPOSE_INTERACTIVE_NO_CLI",
        "DOCKER_CONFIG",
        "DOCKER_HOST",
        "EASYENCLAVE_ORDER",
        "HOME",
        "PATH",
    ];
    assert_eq!(names, expected);
}

/// It notes whom it was asked for, and answers that nothing is there unless it is dead.
const ASKED: &str = r#"echo "$DOCKER_HOST" >>"$HOME/asked"
[ -e "$HOME/dead" ] && { echo 'is the docker daemon running?' >&2; exit 1; }
case "$1" in version) echo 1;; esac"#;

#[tokio::test]
async fn an_engine_is_asked_for_what_is_on_it_wherever_another_one_is() {
    let programs = Programs::new(&[("docker", ASKED)]);
    let home = programs.0.path().join("home");
    let traces = Traces::of(programs.0.path());
    let there = |host: &str| Surroundings {
        host: Some(host.into()),
        ..programs.at()
    };
    fs::create_dir(&home).expect("a folder");
    let first = Engine::find(&there("unix:///a")).await.expect("an engine");
    traces.leave(&first).await.expect("left");
    fs::write(home.join("dead"), "").expect("written");
    let error = traces.remove(&there("unix:///b"), &owner()).await;
    let error = error.expect_err("it does not answer");
    assert_eq!(
        error.to_string(),
        "what is left here is on docker at unix:///a, which cannot be asked"
    );
    assert_eq!(error.fault(), Fault::Engine);
    let error = traces.remove(&there("unix:///a"), &owner()).await;
    assert!(matches!(error, Err(EngineError::Down(_))), "{error:?}");
    let named = traces.folder.join("engine.json");
    let noted = || fs::metadata(&named).expect("there").ino();
    let before = noted();
    traces.leave(&first).await.expect("left");
    assert_eq!(noted(), before, "it said so already");
    fs::write(&named, "{").expect("written");
    let error = traces.remove(&there("unix:///b"), &owner()).await;
    error.expect_err("nobody knows where it is");
    assert!(traces.folder.exists());
    traces.leave(&first).await.expect("left");
    fs::remove_file(home.join("dead")).expect("removed");
    let removed = traces.remove(&there("unix:///b"), &owner()).await;
    removed.expect("removed");
    assert!(!traces.folder.exists());
    let asked = fs::read_to_string(home.join("asked")).expect("written");
    assert!(asked.lines().all(|host| host == "unix:///a"), "{asked}");
    // Of another program the one that is told is asked, too.
    let both = Programs::new(&[("docker", ASKED), ("podman", DEAD)]);
    let traces = Traces::of(both.0.path());
    traces.leave(&first).await.expect("left");
    let podman = r#"{"program":"podman","host":null}"#;
    fs::write(traces.folder.join("engine.json"), podman).expect("written");
    let error = traces.remove(&both.at(), &owner()).await;
    assert!(
        matches!(error, Err(EngineError::Elsewhere { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_note_that_the_power_has_failed_before_is_none_and_is_made_anew() {
    let programs = Programs::new(&[("docker", ASKED)]);
    let home = programs.0.path().join("home");
    fs::create_dir(&home).expect("a folder");
    let traces = Traces::of(programs.0.path());
    let engine = Engine::find(&programs.at()).await.expect("an engine");
    traces.leave(&engine).await.expect("left");
    let named = traces.folder.join("engine.json");
    let good = fs::read(&named).expect("noted");
    for lost in [Vec::new(), vec![0; good.len()]] {
        fs::write(&named, lost).expect("written");
        let found = traces.engine(&programs.at()).await.expect("the usual one");
        traces.leave(&found).await.expect("left");
        assert_eq!(fs::read(&named).expect("noted"), good);
    }
    fs::write(&named, "").expect("written");
    fs::write(home.join("dead"), "").expect("written");
    let error = traces.remove(&programs.at(), &owner()).await;
    error.expect_err("what is there is not gone");
    assert!(traces.folder.exists());
}

/// Two containers' lines as Podman writes them, an hour east of Greenwich and, after a change of the clock, two.
const EAST: &str = r#"case "$1" in version) echo 4.3.1;; logs)
echo "2026-10-25T02:30:00.500000000+01:00 later"; echo "2026-10-25T02:59:59.000000000+02:00 sooner"
echo "2026-10-25T01:31:00.1Z last"; echo "7 is no time";; esac"#;

#[tokio::test]
async fn times_of_lines_are_in_utc_wherever_the_engine_is() {
    let programs = Programs::new(&[("podman", EAST)]);
    let engine = Engine::find(&programs.at()).await.expect("Podman");
    let lines = async |after| {
        let found = engine.log("a", 9, after).await.expect("read");
        let line = |line: Line| format!("{} {}", line.at, line.text);
        found.into_iter().map(line).collect::<Vec<_>>()
    };
    let all = [
        "2026-10-25T00:59:59.000000000Z sooner",
        "2026-10-25T01:30:00.500000000Z later",
        "2026-10-25T01:31:00.100000000Z last",
    ];
    assert_eq!(lines(None).await, all);
    let after = "2026-10-25T00:59:59.000000000Z";
    assert_eq!(lines(Some(after)).await, all[1..]);
}

/// Podman's words for the same things: another order, no algorithm before an id, and a health that says nothing.
const PODMAN: &str = r#"case "$1 $2" in
"version "*) echo 4.3.1;;
"ps "*) echo 34eb9c16;;
"container inspect") echo '[{"Id":"34eb9c16","State":{"Status":"exited","ExitCode":3,"Error":"","Health":{"Status":"",
"FailingStreak":0,"Log":null}},"Image":"d07516d0","RestartCount":2,"Mounts":[],"Config":{"Image":"localhost/a:1",
"Labels":{"com.docker.compose.service":"web","dev.easyenclave.deployment":"acme/web"}}}]';;
"image inspect") echo '[{"Id":"d07516d0","RepoDigests":["localhost/a@sha256:5443"]}]';;
esac"#;

#[tokio::test]
async fn podmans_words_are_understood() {
    let programs = Programs::new(&[("podman", PODMAN)]);
    let engine = Engine::find(&programs.at()).await.expect("Podman");
    let found = engine.containers(&owner()).await.expect("listed");
    let expected = Container {
        id: "34eb9c16".into(),
        service: "web".into(),
        deployment: Some("acme/web".into()),
        wanted: "localhost/a:1".into(),
        image: "sha256:d07516d0".into(),
        state: State::Exited(3),
        health: Health::None,
        error: String::new(),
        restarts: 2,
        unnamed: Vec::new(),
    };
    assert_eq!(found, [expected]);
    let images = engine
        .images(&["sha256:d07516d0".into()])
        .await
        .expect("there");
    assert_eq!(images[0].id, "sha256:d07516d0");
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_no_empty_listing() {
    let cases = [
        "case \"$1\" in version) echo 1;; ps) echo a;; *) echo nothing;; esac",
        "case \"$1\" in version) echo 1;; ps) echo a;; *) echo '[{\"Id\":1}]';; esac",
        "case \"$1\" in version) echo 1;; ps) echo 'no such label' >&2; exit 1;; esac",
        "case \"$1\" in version) echo 1;; ps) exec /usr/bin/head -c 20000000 /dev/zero;; esac",
    ];
    for script in cases {
        let programs = Programs::new(&[("docker", script)]);
        let engine = Engine::find(&programs.at()).await.expect("an engine");
        engine.containers(&owner()).await.expect_err("nobody knows");
        let notes = programs.0.path().join("notes");
        engine
            .remove_all(&owner(), &notes)
            .await
            .expect_err("nobody knows");
    }
}

#[tokio::test]
async fn one_that_hangs_is_ended_with_what_it_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let numbers = folder.path().join("numbers");
    let script = format!("/bin/sleep 300 & echo $! $$ >{}; wait", numbers.display());
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    let limit = Duration::from_secs(300);
    let (late, told) = tokio::join!(run::answer("it", command, limit), async {
        let told = once_written(&numbers).await;
        skip(limit).await;
        told
    });
    assert!(matches!(late, Err(EngineError::Late { .. })), "{late:?}");
    let begun = Instant::now();
    for number in told.split_whitespace() {
        let status = Path::new("/proc").join(number).join("status");
        let runs = || fs::read_to_string(&status).is_ok_and(|status| !status.contains("State:\tZ"));
        while runs() {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{number} still runs"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn lines_are_told_as_they_come_and_the_last_one_is_the_reason() {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "echo one; echo two >&2; printf '%70000s' x; echo; echo why >&2; exit 1",
    ]);
    let mut longest = 0;
    let mut lines = 0;
    let failed = run::told("it", command, Duration::from_secs(60), |line| {
        (longest, lines) = (longest.max(line.len()), lines + 1);
    });
    let failed = failed.await.expect_err("it fails").to_string();
    assert!(longest <= 64 * 1024 && lines >= 4, "{longest} {lines}");
    assert!(failed.starts_with("it failed: "), "{failed}");
}

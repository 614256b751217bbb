//! The connector as a stand-in for it: a program that reads its token as the real one does, and says when it is connected.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use easyenclave_processes::{Process, labels, list};
use easyenclave_tests::{program_given, put_program};
use tempfile::TempDir;

use super::*;
use crate::config::Surroundings;

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(60);
const STAND_IN: &str = include_str!("stand_in.py");
const TOKEN_TEXT: &str = "eyJhIjoiNjk5ZDk4NjQyYzU2NGQyZSIsInQiOiJmNzBmZjk4NSJ9";

struct Stage {
    folder: TempDir,
    wanted: watch::Sender<Option<Digest>>,
    board: watch::Sender<Option<ConnectorState>>,
    fleet: String,
    /// What the reconciler gives; nothing while there is none.
    token: Mutex<Option<String>>,
    asked: Mutex<Vec<Digest>>,
}

/// None where there is no Python for the stand-in.
fn stage() -> Option<Stage> {
    program_given("python3", "Debian: apt-get install python3")?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().expect("a folder");
    let fleet = format!("connectors-{}", folder.path().display());
    let token = Mutex::new(Some(TOKEN_TEXT.to_owned()));
    let stage = Stage {
        folder,
        wanted: watch::Sender::default(),
        board: watch::Sender::default(),
        fleet,
        token,
        asked: Mutex::default(),
    };
    stage.install(STAND_IN);
    Some(stage)
}

fn version(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

impl Stage {
    /// Puts a program there that is called as the connector is.
    fn install(&self, text: &str) {
        put_program(&self.file("cloudflared"), text);
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn kit(&self) -> Kit {
        let system = std::env::var_os("PATH").expect("a path");
        let own = [self.folder.path().to_path_buf()].into_iter();
        let path = std::env::join_paths(own.chain(std::env::split_paths(&system)));
        Kit {
            surroundings: Surroundings {
                path: path.expect("a path"),
                fleet: self.fleet.clone(),
                engine: None,
                is_root: false,
            },
            order: "tiny-1".parse().expect("a name"),
            home: self.file("home"),
        }
    }

    async fn follow(&self, stop: watch::Receiver<()>) {
        let ask = |version| {
            self.asked.lock().expect("no panic").push(version);
            let token = self.token.lock().expect("no panic").clone();
            async move {
                token
                    .map(Secret::new)
                    .ok_or_else(|| anyhow::anyhow!("none"))
            }
        };
        follow(self.wanted.subscribe(), &self.board, ask, &self.kit(), stop).await;
    }

    /// Runs a story beside the connector, and ends it.
    async fn play(&self, story: impl AsyncFnOnce(&Self)) {
        let (stop, stopped) = watch::channel(());
        let story = async {
            story(self).await;
            drop(stop);
        };
        tokio::join!(self.follow(stopped), story);
        assert_eq!(self.processes().len(), 0, "nothing is left");
        assert_eq!(*self.board.borrow(), None);
    }

    fn processes(&self) -> Vec<Process> {
        let mut found = list().expect("a list");
        found.retain(|process| process.label(labels::FLEET) == Some(&self.fleet));
        found
    }

    async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + SOON;
        while !is(self) {
            assert!(
                Instant::now() < deadline,
                "{what}: {:?}",
                self.board.borrow()
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the connector of this version says so.
    async fn until_connected(&self, text: &str, connected: bool) {
        let state = Some(ConnectorState {
            version: version(text),
            connected,
        });
        self.until("the state", |stage| *stage.board.borrow() == state)
            .await;
    }

    /// What each start of the stand-in was given.
    fn starts(&self) -> Vec<String> {
        let text = fs::read_to_string(self.file("home/starts")).unwrap_or_default();
        text.lines().map(ToOwned::to_owned).collect()
    }
}

#[tokio::test]
async fn a_connector_runs_while_a_tunnel_is_wanted_and_has_its_token_by_a_pipe() {
    let Some(stage) = stage() else { return };
    stage
        .play(async |stage| {
            stage.wanted.send_replace(Some(version("one")));
            stage.until_connected("one", false).await;
            stage
                .until("a start", |stage| stage.starts().len() == 1)
                .await;
            fs::write(stage.file("home/connected"), "").expect("written");
            stage.until_connected("one", true).await;
            assert_eq!(stage.starts(), [TOKEN_TEXT]);
            assert_eq!(*stage.asked.lock().expect("no panic"), [version("one")]);
            let processes = stage.processes();
            assert!(!processes.is_empty());
            for process in &processes {
                for file in ["cmdline", "environ"] {
                    let bytes =
                        fs::read(format!("/proc/{}/{file}", process.id())).unwrap_or_default();
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    assert!(!text.contains(TOKEN_TEXT), "{file}");
                }
            }
            stage.wanted.send_replace(None);
            stage
                .until("its end", |stage| {
                    stage.board.borrow().is_none() && stage.processes().is_empty()
                })
                .await;
        })
        .await;
}

#[tokio::test]
async fn one_that_loses_its_connection_says_so() {
    let Some(stage) = stage() else { return };
    stage
        .play(async |stage| {
            fs::create_dir_all(stage.file("home")).expect("made");
            fs::write(stage.file("home/connected"), "").expect("written");
            stage.wanted.send_replace(Some(version("one")));
            stage.until_connected("one", true).await;
            fs::remove_file(stage.file("home/connected")).expect("removed");
            stage.until_connected("one", false).await;
            assert_eq!(stage.starts().len(), 1, "it runs on");
        })
        .await;
}

#[tokio::test]
async fn one_that_ends_is_started_again_and_another_tunnel_has_another() {
    let Some(stage) = stage() else { return };
    stage
        .play(async |stage| {
            fs::create_dir_all(stage.file("home")).expect("made");
            fs::write(stage.file("home/connected"), "").expect("written");
            stage.wanted.send_replace(Some(version("one")));
            stage.until_connected("one", true).await;
            for process in stage.processes() {
                let id = process.id().to_string();
                let killed = std::process::Command::new("kill")
                    .args(["-9", &id])
                    .status();
                assert!(killed.expect("it runs").success());
            }
            stage
                .until("another start", |stage| stage.starts().len() == 2)
                .await;
            stage.until_connected("one", true).await;
            *stage.token.lock().expect("no panic") = Some("another-token".into());
            stage.wanted.send_replace(Some(version("two")));
            stage.until_connected("two", true).await;
            assert_eq!(stage.starts(), [TOKEN_TEXT, TOKEN_TEXT, "another-token"]);
            assert_eq!(stage.processes().len(), 1);
        })
        .await;
}

#[tokio::test]
async fn one_that_is_not_there_costs_no_token() {
    let Some(stage) = stage() else { return };
    fs::remove_file(stage.file("cloudflared")).expect("removed");
    let ask = async |_| panic!("nobody is asked");
    let mut kit = stage.kit();
    kit.surroundings.path = stage.folder.path().into();
    let ended = once(version("one"), &ask, &kit, |_| {}).await;
    let error = ended.expect_err("there is none").to_string();
    assert_eq!(error, "there is no cloudflared in the search path");
}

#[tokio::test]
async fn one_that_gets_no_token_is_tried_again() {
    let Some(stage) = stage() else { return };
    *stage.token.lock().expect("no panic") = None;
    stage
        .play(async |stage| {
            stage.wanted.send_replace(Some(version("one")));
            stage
                .until("two tries", |stage| {
                    stage.asked.lock().expect("no panic").len() >= 2
                })
                .await;
            stage.until_connected("one", false).await;
            *stage.token.lock().expect("no panic") = Some(TOKEN_TEXT.into());
            stage
                .until("a start", |stage| stage.starts().len() == 1)
                .await;
        })
        .await;
}

#[tokio::test]
async fn what_it_said_last_is_known_without_its_token() {
    let Some(stage) = stage() else { return };
    stage.install("#!/bin/sh\ntoken=$(cat /dev/stdin)\necho \"cannot use $token\" >&2\nexit 3\n");
    let ask = |_| async { Ok(Secret::new(TOKEN_TEXT.to_owned())) };
    let kit = stage.kit();
    let ended = once(version("one"), &ask, &kit, |_| {}).await;
    let error = ended.expect_err("it has ended").to_string();
    assert_eq!(
        error,
        "cloudflared ended (exit status: 3): cannot use <secret>"
    );
}

#[tokio::test]
async fn what_an_earlier_process_has_left_is_ended_when_no_tunnel_is_wanted() {
    let Some(stage) = stage() else { return };
    let left = stage.kit().start(&Secret::new("left".into()));
    let watching = tokio::spawn(left.expect("started").exit);
    stage
        .until("a start", |stage| stage.starts() == ["left"])
        .await;
    watching.abort();
    stage
        .play(async |stage| {
            stage
                .until("its end", |stage| stage.processes().is_empty())
                .await;
        })
        .await;
}

#[tokio::test]
async fn what_an_earlier_process_has_left_is_ended() {
    let Some(stage) = stage() else { return };
    let kit = stage.kit();
    let left = kit.start(&Secret::new("left".into())).expect("started");
    let watching = tokio::spawn(left.exit);
    stage
        .until("a start", |stage| stage.starts() == ["left"])
        .await;
    // Nobody watches it any more, and it does not end by itself.
    watching.abort();
    assert_eq!(stage.processes().len(), 1);
    stage
        .play(async |stage| {
            stage.wanted.send_replace(Some(version("one")));
            stage
                .until("a start", |stage| stage.starts().len() == 2)
                .await;
            assert_eq!(stage.processes().len(), 1);
        })
        .await;
    assert!(Path::new(&stage.file("home")).exists());
}

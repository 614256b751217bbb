//! Secrets of services, on a real engine: files that the right ones see, and nothing that the engine keeps.

use std::path::Path;

use easyenclave_schemas::{Secret, SecretName};

use super::*;
use crate::vault::Values;

/// Gives the stage values for its next assignment, and answers what the first one is known by.
fn give(stage: &mut Stage, compose: &Value, [db, key]: [&str; 2]) -> String {
    stage.version = Some(Digest::of(format!("{db} {key}").as_bytes()));
    let assignment = stage.assignment(compose, &Value::Null);
    let name = |name| SecretName::new(name).expect("a name");
    let values = Values::from([
        (name("db"), Secret::new(db.into())),
        (name("key"), Secret::new(key.into())),
    ]);
    stage.place.vault.put(&assignment, values).expect("memory");
    Digest::of(db.as_bytes()).to_string()
}

/// The agent is killed, and started again on the same boot: it has what is in memory, and its own knowledge no more.
async fn restart(stage: &mut Stage) {
    let (_stop, run) = stage.running.take().expect("it runs");
    run.abort();
    assert!(run.await.expect_err("ended").is_cancelled());
    let memory = Memory::of(&stage.place.surroundings.fleet, "tiny-1");
    let place = Arc::get_mut(&mut stage.place).expect("its own");
    place.vault = Vault::new(memory);
}

/// Files below a folder that hold a text.
fn with(folder: &Path, text: &str, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => with(&path, text, found),
            Ok(kind) if kind.is_file() => {
                let bytes = std::fs::read(&path).unwrap_or_default();
                let mut windows = bytes.windows(text.len());
                if windows.any(|window| window == text.as_bytes()) {
                    found.push(path);
                }
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn only_the_services_that_it_is_for_see_a_secret_and_the_engine_keeps_none() {
    story(Compose::Second).await;
}

#[tokio::test]
async fn the_first_generation_shows_secrets_to_the_same_services() {
    story(Compose::First).await;
}

#[tokio::test]
async fn podman_shows_secrets_to_the_same_services() {
    story(Compose::Podman).await;
}

async fn story(compose: Compose) {
    let Some(bed) = Bed::take(compose) else {
        return;
    };
    let root = match compose {
        Compose::First | Compose::Second => "{{.DockerRootDir}}",
        Compose::Podman => "{{.Store.GraphRoot}}",
    };
    let before = bed.holdings();
    let mut stage = Stage::on(bed);
    let uses = json!([{ "name": "db", "file": "db.txt", "services": ["web"] },
        { "name": "key", "file": "key", "services": ["other"] }]);
    stage.secrets = serde_json::from_value(uses).expect("uses");
    let look = "command: [sh, -c, 'sha256sum </run/secrets/db.txt || echo none; sleep 300']";
    let service = format!("image: {IMAGE}\n    init: true\n    user: '65534'\n    {look}\n");
    let text =
        format!("services:\n  web:\n    {service}  other:\n    {service}  none:\n    {service}");
    let compose = json!({ "source": { "inline": text } });
    let [first, second, key] = [(); 3].map(|()| clock::unique());
    let known = give(&mut stage, &compose, [&first, &key]);
    stage.start(1, &compose, &Value::Null);
    stage.ready(1).await;
    let ids = stage.ids();
    let asked = "{{range .Mounts}}{{.RW}}{{end}}";
    let mounts = stage
        .bed
        .docker(&["inspect", "--format", asked, &ids["web"]]);
    assert_eq!(mounts.trim(), "false", "it can change none");
    until_says(&stage, "web", &known).await;
    until_says(&stage, "other", "none").await;
    // Another value of one of them makes the containers anew that see it, and no others.
    stage.stop(true).await;
    let known = give(&mut stage, &compose, [&second, &key]);
    stage.start(2, &compose, &Value::Null);
    let report = stage.ready(2).await;
    assert_eq!(report.message, "recreated web; kept none, other");
    until_says(&stage, "web", &known).await;
    let now = stage.ids();
    assert_ne!(now["web"], ids["web"]);
    assert_eq!([&now["other"], &now["none"]], [&ids["other"], &ids["none"]]);
    restart(&mut stage).await;
    give(&mut stage, &compose, [&second, &key]);
    stage.start(2, &compose, &Value::Null);
    stage
        .until(|report| report.message == "kept none, other, web")
        .await;
    assert_eq!(stage.ids(), now);
    let root = stage.bed.docker(&["info", "--format", root]);
    let mut found = Vec::new();
    for value in [&first, &second, &key] {
        with(Path::new(root.trim()), value, &mut found);
        with(&stage.place.data, value, &mut found);
    }
    assert_eq!(found, [] as [PathBuf; 0]);
    with(Path::new(root.trim()), &ids["other"], &mut found);
    assert!(!found.is_empty(), "what the engine keeps was looked at");
    let memory = Memory::of(&stage.place.surroundings.fleet, "tiny-1");
    assert!(memory.path().exists());
    stage.stop(false).await;
    assert!(!memory.path().exists(), "nothing is left in memory");
    assert_eq!(stage.bed.holdings(), before);
}

async fn until_says(stage: &Stage, service: &str, what: &str) {
    let says = async {
        while !lines(stage, Some(service)).await.contains(what) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let said = timeout(PATIENCE, says).await;
    assert!(said.is_ok(), "{service} does not say {what}");
}

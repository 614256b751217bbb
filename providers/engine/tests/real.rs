//! The crate on a real engine, with each generation of compose: what is listed, what is kept over an update, and that
//! nothing is left.

use std::path::Path;
use std::time::Duration;

use easyenclave_engine::testing::{Bed, Holdings, IMAGE, Registry};
use easyenclave_engine::{Engine, Fault, Generation, Health, Owner, Project, State, labels};

const GRACE: Duration = Duration::from_secs(1);

fn owner() -> Owner {
    Owner {
        fleet: "test@0123456789ab".into(),
        order: "tiny-1".into(),
    }
}

/// The files of a project, with an overlay as an agent makes one.
fn project(folder: &Path, text: &str, values: &str) -> Project {
    let (file, overlay) = (folder.join("compose.yaml"), folder.join("overlay.json"));
    let env_file = folder.join("values");
    std::fs::write(&file, text).expect("written");
    std::fs::write(&env_file, values).expect("written");
    let labelled = serde_json::json!({ "labels": {
        labels::FLEET: owner().fleet, labels::ORDER: owner().order, labels::DEPLOYMENT: "acme/web" } });
    let overlay_text = serde_json::json!({ "services": { "web": labelled, "worker": labelled } });
    std::fs::write(&overlay, overlay_text.to_string()).expect("written");
    Project {
        name: owner().project(),
        folder: folder.to_owned(),
        files: vec![file, overlay],
        env_file,
        profiles: Vec::new(),
    }
}

fn text(word: &str) -> String {
    format!(
        "services:\n  web:\n    image: {IMAGE}\n    init: true\n    command: [sh, -c, 'echo hello ${{WORD}}; sleep 300']\n    \
         healthcheck: {{test: [CMD, 'true'], interval: 1s}}\n    volumes: ['data:/data']\n  worker:\n    \
         image: {IMAGE}\n    init: true\n    command: [sh, -c, 'echo {word}; sleep 300']\n    volumes: ['/none']\n\
         volumes: {{data: {{}}}}\n"
    )
}

async fn story(generation: Generation) {
    let Some(bed) = Bed::take(generation) else {
        return;
    };
    let before = bed.holdings();
    let folder = tempfile::tempdir().expect("a folder");
    let notes = folder.path().join("notes");
    let engine = Engine::find(&bed.surroundings()).await.expect("an engine");
    let compose = engine.compose().await.expect("a compose");
    assert_eq!(compose.generation(), generation);
    let first = project(folder.path(), &text("one"), "WORD='to all'\n");
    assert_eq!(
        compose.services(&first).await.expect("read"),
        ["web", "worker"]
    );
    assert_eq!(compose.volumes(&first).await.expect("read"), ["data"]);
    compose.up(&first, GRACE, |_| {}).await.expect("started");
    let containers = engine.containers(&owner()).await.expect("listed");
    let services: Vec<_> = containers
        .iter()
        .map(|found| found.service.as_str())
        .collect();
    assert_eq!(services, ["web", "worker"]);
    let states: Vec<_> = containers
        .iter()
        .map(|found| (found.state, found.wanted.trim_start_matches("localhost/")))
        .collect();
    assert_eq!(states, [(State::Running, IMAGE); 2]);
    assert_ne!(containers[0].health, Health::None);
    assert_eq!(containers[1].health, Health::None);
    assert_eq!(containers[0].deployment.as_deref(), Some("acme/web"));
    // Podman makes one up for an image that never was in a registry.
    let digests = usize::from(generation == Generation::Podman);
    let image = engine
        .images(&[containers[0].image.clone()])
        .await
        .expect("there");
    assert_eq!(
        (image[0].id.as_str(), image[0].digests.len()),
        (containers[0].image.as_str(), digests)
    );

    let log = engine
        .log(&containers[0].id, 10, None)
        .await
        .expect("a log");
    let texts: Vec<_> = log.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["hello to all"]);
    let later = engine.log(&containers[0].id, 10, Some(&log[0].at)).await;
    assert_eq!(later.expect("a log"), []);

    let second = project(folder.path(), &text("two"), "WORD='to all'\n");
    engine.note_volumes(&owner(), &notes).await.expect("noted");
    compose.up(&second, GRACE, |_| {}).await.expect("updated");
    engine
        .remove_unused(&owner(), &notes)
        .await
        .expect("nothing is unused");
    let updated = engine.containers(&owner()).await.expect("listed");
    assert_eq!(updated[0].id, containers[0].id, "what is not changed stays");
    assert_ne!(updated[1].id, containers[1].id);

    // A service that is there no more takes what it had with it.
    let mut lone = project(
        folder.path(),
        &text("two").replace("  worker", "  other"),
        "WORD='to all'\n",
    );
    lone.files.pop();
    engine.note_volumes(&owner(), &notes).await.expect("noted");
    compose.up(&lone, GRACE, |_| {}).await.expect("updated");
    let services = compose.services(&lone).await.expect("read");
    let strays = engine.containers(&owner()).await.expect("listed");
    let removed = engine.remove_strays(&strays, &services).await;
    let is_podman = generation == Generation::Podman;
    assert_eq!(removed.expect("removed"), is_podman, "Docker's has done so");
    engine
        .remove_unused(&owner(), &notes)
        .await
        .expect("removed");
    let unnamed = |holdings: &Holdings| holdings.0.lines().filter(|line| line.len() > 70).count();
    // Podman's compose names the volume of `worker` after it, and it stays until all goes.
    assert_eq!(
        unnamed(&bed.holdings()),
        unnamed(&before) + 4 + usize::from(is_podman),
        "two containers, a network, a volume of `other`"
    );

    engine.remove_all(&owner(), &notes).await.expect("removed");
    engine
        .remove_all(&owner(), &notes)
        .await
        .expect("nothing is no error");
    assert_eq!(bed.holdings(), before);
}

#[tokio::test]
async fn a_project_comes_changes_and_goes_with_the_second_generation() {
    story(Generation::Second).await;
}

#[tokio::test]
async fn a_project_comes_changes_and_goes_with_the_first_generation() {
    story(Generation::First).await;
}

#[tokio::test]
async fn a_project_comes_changes_and_goes_with_podman() {
    story(Generation::Podman).await;
}

/// What others have on the engine, also by a name that only starts like ours.
#[tokio::test]
async fn what_is_not_the_owners_is_not_touched() {
    let Some(bed) = Bed::take(Generation::Second) else {
        return;
    };
    let label = |name: &str, value: &str| format!("{name}={value}");
    let mine = label(labels::ORDER, "tiny-1");
    let other_fleet = label(labels::FLEET, "other@0123456789ab");
    let longer = label(
        "com.docker.compose.project",
        &format!("{}0", owner().project()),
    );
    let made = [
        vec![
            "create",
            "--label",
            &mine,
            "--label",
            &other_fleet,
            IMAGE,
            "true",
        ],
        vec!["create", "--label", &longer, IMAGE, "true"],
    ];
    let ids = made.map(|line| bed.docker(&line).trim().to_owned());
    let others = [["network", "create"], ["volume", "create"]].map(|[kind, verb]| {
        let name = format!("{}0_default", owner().project());
        let line = [kind, verb, "--label", &other_fleet, "--label", &mine, &name];
        bed.docker(&line);
        [kind, "rm"].map(str::to_owned).into_iter().chain([name])
    });
    let before = bed.holdings();
    let folder = tempfile::tempdir().expect("a folder");
    let notes = folder.path().join("notes");
    let engine = Engine::find(&bed.surroundings()).await.expect("an engine");
    assert_eq!(engine.containers(&owner()).await.expect("listed"), []);
    engine
        .remove_all(&owner(), &notes)
        .await
        .expect("nothing is no error");
    let after = bed.holdings();
    for id in &ids {
        bed.docker(&["rm", id]);
    }
    for line in others {
        let line: Vec<_> = line.collect();
        bed.docker(&line.iter().map(String::as_str).collect::<Vec<_>>());
    }
    assert_eq!(after, before);
}

async fn faults(generation: Generation) {
    let Some(bed) = Bed::take(generation) else {
        return;
    };
    let mut registry = Registry::start();
    let before = bed.holdings();
    let digest = registry.push(&bed, "web:1", "one");
    let folder = tempfile::tempdir().expect("a folder");
    let notes = folder.path().join("notes");
    let engine = Engine::find(&bed.surroundings()).await.expect("an engine");
    let compose = engine.compose().await.expect("a compose");
    let of = |image: &str, command: &str| {
        let service =
            |name: &str| format!("  {name}:\n    image: {image}\n    command: {command}\n");
        project(
            folder.path(),
            &format!("services:\n{}{}", service("web"), service("worker")),
            "",
        )
    };
    let missing = format!("{}@sha256:{}", registry.name("web"), "0".repeat(64));
    let failed = |project: Project| {
        let compose = compose.clone();
        async move {
            let failed = compose.up(&project, GRACE, |_| {}).await;
            let failed = failed.expect_err("it cannot be started");
            (failed.fault(), failed.to_string())
        }
    };
    let (fault, said) = failed(of(&missing, "[sleep, '300']")).await;
    assert_eq!(fault, Fault::Image, "{said}");
    let (fault, said) = failed(of(&registry.name("none:1"), "[sleep, '300']")).await;
    assert_eq!(fault, Fault::Image, "{said}");
    let (fault, said) = failed(of(IMAGE, "[nothing]")).await;
    assert_eq!(fault, Fault::Start, "{said}");
    registry.stop();
    let (fault, said) = failed(of(&digest, "[sleep, '300']")).await;
    assert_eq!(fault, Fault::Registry, "{said}");
    registry.restart();
    let mut told = Vec::new();
    let project = of(&digest, "[sleep, '300']");
    let up = compose.up(&project, GRACE, |line| told.push(line.to_owned()));
    up.await.expect("started");
    assert!(
        told.iter().any(|line| line.to_lowercase().contains("pull")),
        "{told:?}"
    );
    let container = engine.containers(&owner()).await.expect("listed").remove(0);
    let image = engine
        .images(&[container.image])
        .await
        .expect("there")
        .remove(0);
    assert!(image.digests.contains(&digest), "{image:?} {digest}");
    engine.remove_all(&owner(), &notes).await.expect("removed");
    bed.docker(&["image", "rm", "--force", &digest]);
    assert_eq!(bed.holdings(), before);
}

#[tokio::test]
async fn whose_fault_it_is_is_told_with_the_second_generation() {
    faults(Generation::Second).await;
}

#[tokio::test]
async fn whose_fault_it_is_is_told_with_the_first_generation() {
    faults(Generation::First).await;
}

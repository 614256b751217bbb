//! One deployment of a Compose file from its first commit to its last: what a team does with it, and what happens to it. The
//! same with both generations of Docker's compose.

use easyenclave_engine::Generation;
use easyenclave_engine::testing::{Bed, Registry};

use crate::ground::{Ground, WEB, get};
use crate::harness::signal;

/// A deployment of two services of this image; `word` is in the command of one of them.
fn document(image: &str, word: &str) -> String {
    format!(
        "apiVersion: easyenclave.dev/v1\nkind: Deployment\nmetadata:\n  name: web\n  owner: acme\nspec:\n  workload:\n    \
         compose:\n      source:\n        inline: |\n          services:\n            web:\n              \
         image: {image}\n              init: true\n              command: [sh, -c, 'echo serving; exec httpd -f -p 8080 -h /data']\n              \
         volumes: ['data:/data', /cache]\n            worker:\n              image: {image}\n              init: true\n              \
         command: [sh, -c, 'echo writing {word}; echo {word} >/data/index.html; exec sleep 3000']\n              \
         volumes: ['data:/data']\n          volumes: {{data: {{}}}}\n      web:\n        service: web\n        port: 8080\n  \
         replicas: 1\n  nodeSize: tiny\n  health:\n    probe:\n      http:\n        path: /index.html\n    \
         interval: 200ms\n  expose: {{}}\n"
    )
}

fn story(generation: Generation) {
    let Some(bed) = Bed::take(generation) else {
        return;
    };
    let registry = Registry::start();
    let before = bed.holdings();
    let image = registry.push(&bed, "web:1", "one");
    let digest = image.rsplit_once("sha256:").expect("pinned").1.to_owned();

    // Deployed by a commit: the image comes from the registry, by its digest.
    let mut ground = Ground::started(bed, Some(&document(&image, "one")));
    let agent = ground.ready("the first version runs", |_| true);
    assert_eq!(get(&agent["replica"]["url"]).trim(), "one");
    let images = &agent["replica"]["images"];
    assert_eq!(images[0]["image"], image.as_str());
    assert_eq!(images[0]["digest"], digest.as_str());

    // Updated by a commit: what it does not change stays.
    let first = ground.containers();
    ground.fleet.commit(WEB, Some(&document(&image, "two")));
    let updated =
        |agent: &serde_json::Value| agent["replica"]["message"] == "recreated worker; kept web";
    let agent = ground.ready("the second version runs", updated);
    assert_eq!(get(&agent["replica"]["url"]).trim(), "two");
    let second = ground.containers();
    assert_eq!(second["web"], first["web"]);
    assert_ne!(second["worker"], first["worker"]);

    // Logs of both services.
    let pid = ground.agent(&agent);
    assert_eq!(
        ground.ask(pid, "/api/logs/acme/web?service=web"),
        "serving\n"
    );
    let both = ground.ask(pid, "/api/logs/acme/web?lines=10");
    assert!(
        both.contains("web | serving\n") && both.contains("worker | writing two\n"),
        "{both}"
    );

    agent_killed(&mut ground, &agent, pid);
    worker_killed(&mut ground);

    // Undeployed by a commit.
    ground.fleet.commit(WEB, None);
    ground
        .fleet
        .until("nothing of it is left", || ground.containers().is_empty());
    ground.bed.docker(&["image", "rm", "--force", &image]);
    ground.stop(&before);
}

/// The worker is away, so that nobody takes the machine for dead meanwhile.
fn agent_killed(ground: &mut Ground, agent: &serde_json::Value, pid: u32) {
    let worker = ground.fleet.worker.as_ref().expect("started").id();
    signal(worker, "STOP");
    let before = ground.containers();
    ground.restart_agent(pid);
    let kept = |agent: &serde_json::Value| agent["replica"]["message"] == "kept web, worker";
    let again = ground.ready("the same agent has found its project again", kept);
    assert_eq!(again["agent"], agent["agent"]);
    assert_ne!(ground.agent(&again), pid);
    assert_eq!(ground.containers(), before);
    signal(worker, "CONT");
}

/// Worker and agent die together: the next worker removes what the agent has left, and another agent takes its place.
fn worker_killed(ground: &mut Ground) {
    let before = ground.containers();
    let agent = ground.ready("it runs", |_| true);
    ground.fleet.kill_worker();
    signal(ground.agent(&agent), "KILL");
    assert_eq!(ground.containers(), before, "they are nobody's children");
    ground.fleet.start_worker();
    let next = ground.ready("it runs on another agent", |next| {
        next["agent"] != agent["agent"]
    });
    assert_eq!(get(&next["replica"]["url"]).trim(), "two");
    let now = ground.containers();
    assert!(
        now.values().all(|id| !before.values().any(|old| old == id)),
        "{now:?}"
    );
    ground.fleet.until("nothing of the dead agent is left", || {
        let label = format!(
            "label=dev.easyenclave.order={}",
            agent["agent"].as_str().expect("a name")
        );
        ground
            .bed
            .docker(&["ps", "--all", "--quiet", "--filter", &label])
            .is_empty()
    });
}

#[test]
fn a_deployment_of_a_compose_file_lives_its_life_with_the_second_generation() {
    story(Generation::Second);
}

#[test]
fn a_deployment_of_a_compose_file_lives_its_life_with_the_first_generation() {
    story(Generation::First);
}

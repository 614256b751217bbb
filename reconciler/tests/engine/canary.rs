//! Two replicas of a Compose file that lies beside its deployment: one version that is given up, one that waits for its
//! registry, and a secret that is changed. Who asks is answered all the time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use easyenclave_engine::Generation;
use easyenclave_engine::testing::{Bed, Registry};
use serde_json::Value;

use crate::ground::{Ground, WEB, get, heard};
use crate::harness::{condition, find};

const COMPOSE: &str = "deployments/acme/compose.yaml";

/// So long a version has to become ready, in seconds.
const DEADLINE: u64 = 5;

fn document() -> String {
    format!(
        "apiVersion: easyenclave.dev/v1\nkind: Deployment\nmetadata: {{name: web, owner: acme}}\nspec:\n  workload:\n    \
         compose:\n      source: {{file: compose.yaml}}\n      web: {{service: web, port: 8080}}\n  replicas: 2\n  \
         nodeSize: tiny\n  secrets:\n    - {{name: word, file: word}}\n  health:\n    probe: {{http: {{path: /index.html}}}}\n    \
         interval: 200ms\n  rollout: {{canary: 1, deadline: {DEADLINE}s, revert: automatic}}\n  expose: {{}}\n"
    )
}

/// A service that answers with its version and the secret that it reads.
fn compose(image: &str, version: &str) -> String {
    format!(
        "services:\n  web:\n    image: {image}\n    init: true\n    command:\n      - sh\n      - -c\n      - |\n        \
         mkdir -p /srv\n        echo \"{version} $$(cat /run/secrets/word)\" >/srv/index.html\n        \
         exec httpd -f -p 8080 -h /srv\n"
    )
}

fn web(status: &Value) -> &Value {
    find(&status["deployments"], "deployment", "acme/web")
}

/// The agents that have it.
fn agents(status: &Value) -> Vec<&Value> {
    let agents = status["agents"].as_array().map(Vec::as_slice);
    let is_of_web = |agent: &&Value| agent["assigned"]["deployment"] == "acme/web";
    agents
        .unwrap_or_default()
        .iter()
        .filter(is_of_web)
        .collect()
}

/// Both replicas of a deployment, and the ways to hurt it.
struct Story {
    ground: Ground,
    registry: Registry,
    image: String,
}

/// Asks addresses again and again.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Watch {
    /// From now on each of them answers this, every time.
    fn start(urls: Vec<Value>, answer: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut asked = 0;
            while !stops.load(Ordering::Relaxed) {
                for url in &urls {
                    assert_eq!(get(url).trim(), answer, "{url} when asked {asked} times");
                    asked += 1;
                }
                thread::sleep(Duration::from_millis(50));
            }
            asked
        });
        Self { stop, thread }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let asked = self.thread.join().expect("it answered every time");
        assert!(asked > 100, "asked {asked} times only");
        println!("asked {asked} times, and answered each time");
    }
}

impl Story {
    /// A deployment of two replicas, of which nothing runs yet.
    fn begun(bed: Bed) -> Self {
        let registry = Registry::start();
        let image = registry.push(&bed, "web:1", "one");
        let ground = Ground::started(bed, None);
        // Both replicas are undeployed at once in the end, which a person would have to approve otherwise.
        ground.takes_secrets("  breaker: {maxRemovals: 2}\n");
        let story = Self {
            ground,
            registry,
            image,
        };
        story.give("set", "salt");
        let (document, compose) = (document(), compose(&story.image, "one"));
        let files = [(WEB, Some(&*document)), (COMPOSE, Some(&*compose))];
        story.ground.fleet.commit_all(&files);
        story
    }

    /// Commits another value of the secret.
    fn give(&self, verb: &str, value: &str) {
        std::fs::write(self.ground.fleet.path("value"), value).expect("written");
        let line = [
            "secret",
            verb,
            "acme/word",
            "--file",
            "value",
            "--data",
            "data",
        ];
        self.ground.done(&line);
    }

    /// Waits until both replicas run the wanted version, which has proved good, and answer this. Tells their addresses.
    fn settled(&self, answer: &str) -> Vec<Value> {
        let what = format!("both replicas answer {answer}");
        let status = self.ground.fleet.wait(&what, |status| {
            let found = web(status);
            let is_good = found["rollout"]["healthy"] == found["workload"];
            let answers = |agent: &&Value| {
                let url = &agent["replica"]["url"];
                url.is_string() && heard(url).is_ok_and(|told| told.trim() == answer)
            };
            found["ready"] == 2
                && found["updated"] == 2
                && is_good
                && agents(status).iter().all(answers)
        });
        let agents = agents(&status);
        assert_eq!(agents.len(), 2, "{agents:?}");
        agents
            .iter()
            .map(|agent| agent["replica"]["url"].clone())
            .collect()
    }

    /// A version whose image no registry has comes to the canary, and no further.
    fn bad_image(&self) {
        let before = self.containers();
        let (name, _) = self.image.split_once('@').expect("pinned");
        let bad = compose(&format!("{name}@sha256:{}", "f".repeat(64)), "two");
        let commit = self.ground.fleet.commit(COMPOSE, Some(&bad));
        let mut told = BTreeSet::new();
        let reverted = |status: &Value| {
            let found = web(status);
            let wanted = found["workload"].as_str();
            let with_it = agents(status).into_iter();
            let with_it = with_it.filter(|agent| agent["assigned"]["workload"].as_str() == wanted);
            if found["rollout"]["commit"] == commit.as_str() {
                told.extend(with_it.map(|agent| agent["agent"].to_string()));
            }
            found["rollout"]["reverted"].is_object() && found["ready"] == 2 && found["updated"] == 0
        };
        let status = self.ground.fleet.wait("the version is given up", reverted);
        assert_eq!(told.len(), 1, "the canary only: {told:?}");
        let rollout = &web(&status)["rollout"];
        assert_eq!(rollout["reverted"]["cause"], "image_missing", "{rollout}");
        assert_eq!(rollout["aim"], rollout["healthy"]);
        assert_eq!(condition(web(&status), "UpToDate")["reason"], "Reverted");
        assert_eq!(self.containers(), before, "no container was touched");
        self.told_to_people(&commit);
    }

    /// Pipelines and people hear of it.
    fn told_to_people(&self, commit: &str) {
        let fleet = &self.ground.fleet;
        let line = [
            "wait",
            "--data",
            "data",
            "--commit",
            commit,
            "--timeout",
            "60s",
        ];
        let output = fleet.run(&line);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(6), "{said}");
        assert!(said.contains("acme/web was reverted at "), "{said}");
        println!("wait ends with 6: {said}");
        assert_eq!(self.outcomes(), ["settled", "reverted"]);
    }

    /// What became of each roll-out, by `rollout history`.
    fn outcomes(&self) -> Vec<String> {
        let line = [
            "rollout", "history", "web", "--data", "data", "--output", "json",
        ];
        let shown: Value = serde_json::from_str(&self.ground.done(&line)).expect("JSON");
        let past = shown[0]["history"].as_array().expect("a list").iter();
        past.map(|past| past["outcome"].as_str().expect("a word").to_owned())
            .collect()
    }

    /// A version waits for its registry, however long that is away.
    fn registry_down(&mut self) {
        let image = self.registry.push(&self.ground.bed, "web:3", "three");
        self.registry.stop();
        let text = compose(&image, "three");
        let commit = self.ground.fleet.commit(COMPOSE, Some(&text));
        let mut since = None;
        let status = self
            .ground
            .fleet
            .wait("its deadline is long past", |status| {
                let found = web(status);
                let is_told = found["rollout"]["commit"] == commit.as_str();
                let waits = is_told && found["waits"].to_string().contains("DependencyDown");
                if waits {
                    since.get_or_insert_with(Instant::now);
                }
                let rollout = &found["rollout"];
                let is_given_up = rollout["reverted"]["attempt"] == rollout["attempt"];
                assert!(!is_told || !is_given_up, "{found}");
                waits
                    && since.is_some_and(|since: Instant| since.elapsed().as_secs() > 2 * DEADLINE)
            });
        let causes: Vec<_> = agents(&status)
            .iter()
            .map(|agent| agent["replica"]["cause"].clone())
            .collect();
        assert!(causes.contains(&"registry_down".into()), "{causes:?}");
        // Both replicas serve in the version before, and are published.
        let found = web(&status);
        let replicas = found["replicas"].as_array().expect("a list");
        assert!(replicas.iter().all(|it| it["url"].is_string()), "{found}");
        assert_eq!(
            (&found["ready"], &found["updated"]),
            (&2.into(), &0.into()),
            "{found}"
        );
        self.image = image;
    }

    /// The containers of the deployment, of both replicas.
    fn containers(&self) -> BTreeSet<String> {
        let label = "label=dev.easyenclave.deployment=acme/web";
        let line = ["ps", "--all", "--no-trunc", "--quiet", "--filter", label];
        let told = self.ground.bed.docker(&line);
        told.lines().map(str::to_owned).collect()
    }
}

#[test]
fn a_compose_file_beside_its_deployment_is_rolled_out_given_up_waits_and_reads_new_secrets() {
    let Some(bed) = Bed::take(Generation::Second) else {
        return;
    };
    let before = bed.holdings();
    let mut story = Story::begun(bed);
    let first = story.image.clone();
    let urls = story.settled("one salt");
    println!("settled");

    let watch = Watch::start(urls, "one salt");
    story.bad_image();
    println!("given up");
    story.registry_down();
    watch.end();
    println!("waits for its registry");
    story.registry.restart();
    story.settled("three salt");
    println!("rolled out");

    story.give("rotate", "pepper");
    story.settled("three pepper");
    let outcomes = ["settled", "reverted", "settled", "settled"];
    let fleet = &story.ground.fleet;
    fleet.until("all of it is told", || story.outcomes() == outcomes);
    println!("has the new secret");

    fleet.commit_all(&[(WEB, None), (COMPOSE, None)]);
    fleet.until("nothing of it is left", || story.containers().is_empty());
    let images = ["image", "rm", "--force", &first, &story.image];
    story.ground.bed.docker(&images);
    story.ground.stop(&before);
}

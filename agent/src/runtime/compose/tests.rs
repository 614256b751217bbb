//! Compose files on a real engine, with both generations of Docker's compose. Each test ends by showing that the engine holds
//! what it held before.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use easyenclave_engine::testing::{Bed, IMAGE, Registry};
use easyenclave_engine::{Generation as Compose, Owner};
use easyenclave_processes::Memory;
use easyenclave_schemas::documents::SecretUse;
use easyenclave_schemas::{Digest, OrderId};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::config::Surroundings;
use crate::runtime::Log;
use crate::vault::Vault;

mod before;
mod secrets;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// One agent's place beside a real engine.
struct Stage {
    bed: Bed,
    _folder: tempfile::TempDir,
    place: Arc<Place>,
    board: Arc<Board>,
    running: Option<(oneshot::Sender<bool>, JoinHandle<()>)>,
    secrets: Vec<SecretUse>,
    /// Their version.
    version: Option<Digest>,
}

/// What a test that fails has left in memory goes.
impl Drop for Stage {
    fn drop(&mut self) {
        let _ = Memory::of(&self.place.surroundings.fleet, "tiny-1").remove();
    }
}

impl Stage {
    fn on(bed: Bed) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let fleet = format!("test@{}", &clock::unique()[..12]);
        let place = Place {
            surroundings: Surroundings {
                path: bed.path().clone(),
                fleet: fleet.clone(),
                engine: bed.told(),
                is_root: true,
            },
            order: OrderId::new("tiny-1").expect("a name"),
            agent_url: "http://127.0.0.1:9".into(),
            data: folder.path().to_owned(),
            home: folder.path().join("work"),
            log: Log::new(folder.path()),
            door: None,
            vault: Vault::new(Memory::of(&fleet, "tiny-1")),
        };
        Self {
            bed,
            _folder: folder,
            place: Arc::new(place),
            board: Arc::new(watch::Sender::default()),
            running: None,
            secrets: Vec::new(),
            version: None,
        }
    }

    fn assignment(&self, compose: &Value, health: &Value) -> Assignment {
        Assignment {
            deployment: "acme/web".parse().expect("a deployment"),
            digest: Digest::of(compose.to_string().as_bytes()),
            secrets: self.secrets.clone(),
            secrets_digest: self.version,
            workload: serde_json::from_value(json!({ "compose": compose })).expect("a workload"),
            health: serde_json::from_value(health.clone()).expect("a probe"),
        }
    }

    fn start(&mut self, generation: u64, compose: &Value, health: &Value) {
        let assignment = Arc::new(self.assignment(compose, health));
        let (stop, stopped) = oneshot::channel();
        let (place, board) = (Arc::clone(&self.place), Arc::clone(&self.board));
        let run = tokio::spawn(async move {
            let goes_on = AtomicBool::new(false);
            let told =
                async { goes_on.store(stopped.await.expect("the stage lives"), Ordering::Relaxed) };
            let generation = Generation(generation);
            supervise(&place, generation, assignment, &board, told, || {
                goes_on.load(Ordering::Relaxed)
            })
            .await;
        });
        self.running = Some((stop, run));
    }

    /// Ends what runs; with another version to come, it goes on.
    async fn stop(&mut self, goes_on: bool) {
        let (stop, run) = self.running.take().expect("something was started");
        stop.send(goes_on).expect("it listens");
        timeout(PATIENCE, run)
            .await
            .expect("it stops")
            .expect("it does not panic");
    }

    async fn until(&self, what: impl Fn(&WorkloadReport) -> bool) -> WorkloadReport {
        let mut reports = self.board.subscribe();
        let wanted = reports.wait_for(|report| report.as_ref().is_some_and(&what));
        let found = timeout(PATIENCE, wanted).await;
        let found = found.unwrap_or_else(|_| panic!("last: {:?}", self.board.borrow()));
        found.expect("the board lives").clone().expect("a report")
    }

    async fn ready(&self, generation: u64) -> WorkloadReport {
        let generation = Generation(generation);
        self.until(|report| report.generation == generation && report.state == WorkloadState::Ready)
            .await
    }

    /// The container of each service.
    fn ids(&self) -> BTreeMap<String, String> {
        let owner = Owner {
            fleet: self.place.surroundings.fleet.clone(),
            order: "tiny-1".into(),
        };
        let project = format!("label=com.docker.compose.project={}", owner.project());
        let list = ["ps", "--all", "--no-trunc", "--quiet", "--filter", &project];
        let listed = self.bed.docker(&list);
        let ids: Vec<_> = listed.split_whitespace().collect();
        if ids.is_empty() {
            return BTreeMap::new();
        }
        // Docker and Podman tell labels alike only here.
        let format = "{{index .Config.Labels \"com.docker.compose.service\"}} {{.Id}}";
        let inspect = [&["container", "inspect", "--format", format], &ids[..]].concat();
        let told = self.bed.docker(&inspect);
        let pairs = told.lines().filter_map(|line| line.split_once(' '));
        pairs
            .map(|(service, id)| (service.to_owned(), id.to_owned()))
            .collect()
    }

    fn traces(&self) -> PathBuf {
        self.place.data.join("compose")
    }
}

/// Two services; `word` is in the command of one of them.
fn two(word: &str) -> Value {
    let text = format!(
        "services:\n  web:\n    image: {IMAGE}\n    init: true\n    command: [sh, -c, 'echo $$GREETING; httpd -f -p 8080 -h /data']\n    \
         environment: {{GREETING: hello}}\n    volumes: ['data:/data', /none]\n  worker:\n    image: {IMAGE}\n    \
         init: true\n    command: [sh, -c, 'echo {word}; echo {word} >/data/index.html; sleep 300']\n    \
         volumes: ['data:/data']\nvolumes: {{data: {{}}}}\n"
    );
    json!({ "source": { "inline": text }, "web": { "service": "web", "port": 8080 } })
}

fn health() -> Value {
    json!({ "probe": { "http": { "path": "/index.html" } }, "interval": "100ms", "failures": 2 })
}

async fn get(url: &str) -> String {
    let address = url.strip_prefix("http://").expect("an address");
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let request = "GET /index.html HTTP/1.0\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("asked");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("answered");
    text.lines().last().unwrap_or_default().to_owned()
}

async fn lines(stage: &Stage, service: Option<&str>) -> String {
    let asked = Page {
        of: "acme/web".parse().expect("a name"),
        service: service.map(str::to_owned),
        lines: 10,
        after: String::new(),
    };
    page(&stage.place, &asked).await.expect("logs").text
}

/// What came after a cursor, whether something may be missing there, and the next one.
async fn after(stage: &Stage, cursor: &str) -> (String, bool, String) {
    let asked = Page {
        of: "acme/web".parse().expect("a name"),
        service: None,
        lines: 10,
        after: cursor.into(),
    };
    let page = page(&stage.place, &asked).await.expect("logs");
    (page.text, page.missed, page.cursor)
}

async fn story(generation: Compose) {
    let Some(bed) = Bed::take(generation) else {
        return;
    };
    let before = bed.holdings();
    let mut stage = Stage::on(bed);
    stage.start(1, &two("one"), &health());
    let first = stage.ready(1).await;
    assert_eq!(get(first.url.as_deref().expect("an address")).await, "one");
    assert_eq!((first.images.len(), first.services.len()), (2, 2));
    assert_eq!(
        (
            first.images[0].service.as_str(),
            // Podman says where an image is that was in no registry.
            first.images[0].image.trim_start_matches("localhost/")
        ),
        ("web", IMAGE)
    );
    assert_eq!(first.message, "");
    assert_eq!(lines(&stage, Some("web")).await, "hello\n");
    let both = lines(&stage, None).await;
    assert!(
        both.contains("web | hello") && both.contains("worker | one"),
        "{both}"
    );
    let (_, missed, cursor) = after(&stage, "").await;
    assert!(!missed);
    let nothing = (String::new(), false, cursor.clone());
    assert_eq!(after(&stage, &cursor).await, nothing);

    // Another version: what it does not change stays, its address too.
    let ids = stage.ids();
    stage.stop(true).await;
    stage.start(2, &two("two"), &health());
    let second = stage.ready(2).await;
    assert_eq!(second.message, "recreated worker; kept web");
    assert_eq!(second.url, first.url);
    let now = stage.ids();
    assert_eq!(now["web"], ids["web"]);
    assert_ne!(now["worker"], ids["worker"]);
    // The old container may have printed something in the end.
    let (text, missed, cursor) = after(&stage, &cursor).await;
    assert!(
        text.contains("worker | two") && !text.contains("web | hello") && missed,
        "{text}"
    );
    assert!(!after(&stage, &cursor).await.1, "it is told once");
    assert_eq!(get(second.url.as_deref().expect("an address")).await, "two");

    // An agent that is killed: its project runs on, and the next one takes it over, wherever it is told to look for an engine.
    let (_stop, run) = stage.running.take().expect("it runs");
    run.abort();
    assert!(run.await.expect_err("ended").is_cancelled());
    assert_eq!(stage.ids(), now);
    let place = Arc::get_mut(&mut stage.place).expect("its own");
    place.surroundings.engine = Some("unix:///nowhere.sock".into());
    stage.start(2, &two("two"), &health());
    let third = stage
        .until(|report| report.message.starts_with("kept"))
        .await;
    assert_eq!(third.message, "kept web, worker");
    assert_eq!(stage.ids(), now);

    // Somebody takes a container away: it comes back.
    stage.bed.docker(&["rm", "--force", &now["worker"]]);
    stage
        .until(|report| report.message.contains("worker: its container is gone"))
        .await;
    stage
        .until(|report| report.message == "added worker; kept web")
        .await;

    stage.stop(false).await;
    assert_eq!(*stage.board.borrow(), None);
    assert_eq!(stage.bed.holdings(), before);
    assert!(!stage.traces().exists());
}

#[tokio::test]
async fn a_file_comes_changes_outlives_its_agent_and_goes_with_the_second_generation() {
    story(Compose::Second).await;
}

#[tokio::test]
async fn a_file_comes_changes_outlives_its_agent_and_goes_with_the_first_generation() {
    story(Compose::First).await;
}

#[tokio::test]
async fn a_file_comes_changes_outlives_its_agent_and_goes_with_podman() {
    story(Compose::Podman).await;
}

fn one(image: &str, rest: &str) -> Value {
    json!({ "source": { "inline": format!("services:\n  web:\n    image: {image}\n    {rest}\n") } })
}

#[tokio::test]
async fn what_goes_wrong_has_a_cause() {
    use WorkloadCause::*;
    let Some(bed) = Bed::take(Compose::Second) else {
        return;
    };
    let registry = Registry::start();
    let before = bed.holdings();
    let pinned = registry.push(&bed, "web:1", "one");
    let missing = format!("{}@sha256:{}", registry.name("web"), "0".repeat(64));
    let dead = "127.0.0.1:9/web:1".to_owned();
    let unwell = "init: true\n    command: [sleep, '300']\n    \
        healthcheck: {test: ['CMD', 'test', '-e', '/no'], interval: 1s, retries: 1}";
    let cases = [
        (one(&missing, "command: [sleep, '300']"), ImageMissing),
        (one(&dead, "command: [sleep, '300']"), RegistryDown),
        (one(IMAGE, "command: [nothing]"), StartFailed),
        (one(IMAGE, "command: [sh, -c, 'exit 3']"), Exited),
        (
            one(IMAGE, "command: [sh, -c, 'exit 3']\n    restart: always"),
            Exited,
        ),
        (one(IMAGE, unwell), ProbeFailing),
        (
            json!({ "source": { "inline": "services: 7\n" } }),
            StartFailed,
        ),
    ];
    let mut stage = Stage::on(bed);
    for (number, (compose, cause)) in cases.into_iter().enumerate() {
        let number = number as u64 + 1;
        stage.start(number, &compose, &Value::Null);
        let report = stage
            .until(|report| report.generation == Generation(number) && report.cause.is_some())
            .await;
        assert_eq!(report.cause, Some(cause), "{report:?}");
        assert_ne!(report.message, "");
        stage.stop(false).await;
    }
    stage.start(
        9,
        &one(&pinned, "init: true\n    command: [sleep, '300']"),
        &Value::Null,
    );
    let report = stage.ready(9).await;
    let digest = report.images[0]
        .digest
        .expect("one from a registry")
        .to_string();
    assert!(pinned.ends_with(&digest), "{report:?}");
    stage.stop(false).await;
    stage.bed.docker(&["image", "rm", "--force", &pinned]);
    assert_eq!(stage.bed.holdings(), before);
}

#[tokio::test]
async fn an_engine_that_is_down_is_waited_for() {
    let Some(bed) = Bed::take(Compose::Second) else {
        return;
    };
    let before = bed.holdings();
    let mut stage = Stage::on(bed);
    let place = Arc::get_mut(&mut stage.place).expect("its own");
    place.surroundings.engine = Some("unix:///nowhere.sock".into());
    stage.start(1, &two("one"), &Value::Null);
    let down = stage.until(|report| report.cause.is_some()).await;
    assert_eq!(down.cause, Some(WorkloadCause::EngineDown), "{down:?}");
    assert!(!stage.traces().exists(), "nothing was asked of it");
    stage.stop(false).await;
    assert_eq!(stage.bed.holdings(), before);
}

#[tokio::test]
async fn what_another_deployment_left_is_removed_first() {
    let Some(bed) = Bed::take(Compose::Second) else {
        return;
    };
    let before = bed.holdings();
    let mut stage = Stage::on(bed);
    stage.start(1, &two("one"), &health());
    stage.ready(1).await;
    let (_stop, run) = stage.running.take().expect("it runs");
    run.abort();
    assert!(run.await.is_err());
    std::fs::write(stage.traces().join("deployment"), "acme/other").expect("written");
    let ids = stage.ids();
    stage.start(2, &two("one"), &health());
    let report = stage.ready(2).await;
    assert_eq!(report.message, "", "all of it is new");
    assert_ne!(stage.ids()["web"], ids["web"]);
    let (_stop, run) = stage.running.take().expect("it runs");
    run.abort();
    assert!(run.await.is_err());
    clear(&stage.place, |_| ()).await;
    assert_eq!(stage.bed.holdings(), before);
}

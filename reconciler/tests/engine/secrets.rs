//! A secret of a Compose file is never readable: while it is deployed, rotated, outlives its agent and is undeployed, all that
//! the fleet and the engine write and run is searched for its value again and again, in every spelling.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use easyenclave_engine::Generation;
use easyenclave_engine::testing::{Bed, Holdings, IMAGE};
use easyenclave_schemas::Digest;

use crate::ground::{Ground, WEB};
use crate::harness::signal;
use crate::search::{Search, Watch};

/// Two services, each with a file of its own, who show that they have it by its digest, which gives nothing away of 32 random
/// bytes.
fn document() -> String {
    let service = |name: &str| {
        format!(
            "            {name}:\n              image: {IMAGE}\n              init: true\n              \
             command: [sh, -c, 'sha256sum </run/secrets/{name}.bin; exec sleep 3000']\n"
        )
    };
    format!(
        "apiVersion: easyenclave.dev/v1\nkind: Deployment\nmetadata: {{name: web, owner: acme}}\nspec:\n  workload:\n    \
         compose:\n      source:\n        inline: |\n          services:\n{}{}  replicas: 1\n  nodeSize: tiny\n  \
         secrets:\n    - {{name: web, file: web.bin, services: [web]}}\n    \
         - {{name: worker, file: worker.bin, services: [worker]}}\n",
        service("web"),
        service("worker")
    )
}

/// The values of both.
#[derive(Clone)]
struct Values([Vec<u8>; 2]);

const NAMES: [&str; 2] = ["web", "worker"];

struct Story {
    ground: Ground,
    before: Holdings,
    /// Where values are handed to the command from; nothing is searched there.
    desk: tempfile::TempDir,
}

impl Story {
    fn begun(bed: Bed) -> Self {
        let before = bed.holdings();
        let ground = Ground::started(bed, None);
        ground.takes_secrets("");
        let desk = tempfile::tempdir().expect("a folder");
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(desk.path(), private).expect("set");
        Self {
            ground,
            before,
            desk,
        }
    }

    /// Commits a value of a secret.
    fn give(&self, verb: &str, name: &str, value: &[u8]) {
        let file = self.desk.path().join("value");
        std::fs::write(&file, value).expect("written");
        let (name, file) = (format!("acme/{name}"), file.display().to_string());
        let line = ["secret", verb, &name, "--file", &file, "--data", "data"];
        self.ground.done(&line);
        std::fs::remove_file(file).expect("removed");
    }

    /// Waits until both services tell that they have these.
    fn until_given(&self, what: &str, values: &Values) {
        let tells = |name: &str, value: &[u8]| {
            let containers = self.ground.containers();
            let Some(id) = containers.get(name) else {
                return false;
            };
            let log = self.ground.bed.run(&["docker", "logs", id]);
            String::from_utf8_lossy(&log.stdout).contains(&Digest::of(value).to_string())
        };
        self.ground.fleet.until(what, || {
            let mut both = NAMES.iter().zip(&values.0);
            both.all(|(name, value)| tells(name, value))
        });
        self.ground.ready(what, |_| true);
        println!("{what}");
    }

    /// Where the fleet, and the engine with all that it keeps, write.
    fn folders(&self) -> Vec<PathBuf> {
        let asked = ["info", "--format", "{{.DockerRootDir}}"];
        let root = PathBuf::from(self.ground.bed.docker(&asked).trim());
        // The one of the tests has its log and what runs beside what it keeps.
        let own = root.parent().map(std::path::Path::to_owned);
        let own = own.filter(|own| own.join("easyenclave-engine").exists());
        vec![self.ground.fleet.path(""), own.unwrap_or(root)]
    }
}

fn random() -> Vec<u8> {
    let mut bytes = [0; 32];
    let file = std::fs::File::open("/dev/urandom").expect("randomness");
    std::io::Read::read_exact(&mut &file, &mut bytes).expect("randomness");
    bytes.to_vec()
}

#[test]
fn a_secret_of_containers_is_never_readable_but_by_them() {
    let Some(bed) = Bed::take(Generation::Second) else {
        return;
    };
    let mut story = Story::begun(bed);
    let first = Values([random(), random()]);
    let second = Values([random(), first.0[1].clone()]);
    let search = Arc::new(Search::new(&[
        ("the first of web", &first.0[0]),
        ("that of worker", &first.0[1]),
        ("the second of web", &second.0[0]),
    ]));
    let watch = Watch::start(Arc::clone(&search), story.folders());

    for (name, value) in NAMES.iter().zip(&first.0) {
        story.give("set", name, value);
    }
    story.ground.fleet.commit(WEB, Some(&document()));
    story.until_given("deployed", &first);
    let before = story.ground.containers();

    story.give("rotate", "web", &second.0[0]);
    story.until_given("rotated by commit", &second);
    let after = story.ground.containers();
    assert_ne!(after["web"], before["web"]);
    assert_eq!(after["worker"], before["worker"], "its secret is the same");

    killed(&mut story);
    story.until_given("its agent is killed, and started again", &second);
    assert_eq!(story.ground.containers(), after);

    story.ground.fleet.commit(WEB, None);
    let nothing = || story.ground.containers().is_empty();
    story.ground.fleet.until("nothing is left", nothing);
    let (rounds, found) = watch.end();
    assert!(found.is_empty(), "{found:#?}");
    assert!(rounds > 3, "searched {rounds} times only");
    println!("undeployed; searched {rounds} times: nothing found");
    what_is_planted_is_found(&story, &search, &first);
    story.ground.stop(&story.before);
}

/// The worker is away, so that nobody takes the machine for dead meanwhile.
fn killed(story: &mut Story) {
    let worker = story.ground.fleet.worker.as_ref().expect("started").id();
    signal(worker, "STOP");
    let agent = story.ground.ready("it runs", |_| true);
    let pid = story.ground.agent(&agent);
    story.ground.restart_agent(pid);
    let kept = |agent: &serde_json::Value| agent["replica"]["message"] == "kept web, worker";
    story.ground.ready("it has found its project again", kept);
    signal(worker, "CONT");
}

/// The same search, with values where an engine and an agent would write them; otherwise it would prove nothing.
fn what_is_planted_is_found(story: &Story, search: &Search, values: &Values) {
    let bed = &story.ground.bed;
    let [web, worker] = &values.0;
    let variable = format!("LEAK={}", STANDARD.encode(web));
    let container = bed.docker(&["create", "--env", &variable, IMAGE, "true"]);
    let says = format!("echo {}", hex::encode(worker));
    let talks = bed.docker(&["create", IMAGE, "sh", "-c", &says]);
    bed.docker(&["start", "--attach", talks.trim()]);
    let units = std::fs::read_dir(story.ground.fleet.path("data/worker/units"));
    let unit = units.expect("units").next().expect("one").expect("read");
    let overlay = unit.path().join("state/planted.json");
    let text = serde_json::json!({ "a": web }).to_string();
    std::fs::write(&overlay, text).expect("written");
    // It starts nobody, who would outlive it.
    let mut process = Command::new("sh")
        .args(["-c", "read -r line", &hex::encode(worker)])
        .stdin(Stdio::piped())
        .spawn()
        .expect("started");
    let found = search.everywhere(&story.folders());
    process.kill().expect("it runs");
    process.wait().expect("ended");
    std::fs::remove_file(overlay).expect("removed");
    bed.docker(&["rm", container.trim(), talks.trim()]);
    let kept = |id: &str, file: &str| format!("{}/{file}", id.trim());
    for place in [
        kept(&container, "config.v2.json"),
        kept(&talks, &format!("{}-json.log", talks.trim())),
        "state/planted.json".into(),
        "command line ".into(),
    ] {
        let is_there = found.keys().any(|found| found.contains(&place));
        assert!(is_there, "{place} is not in {found:#?}");
    }
    println!(
        "planted in four places, and found in {} files and processes",
        found.len()
    );
}

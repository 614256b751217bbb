//! A Compose file that a pipeline gives to the deploy API as text: it runs, is updated in place, can be followed, and leaves
//! nothing.

use easyenclave_engine::Generation;
use easyenclave_engine::testing::{Bed, Registry};
use reqwest::Method;
use serde_json::{Value, json};

use crate::caller::Caller;
use crate::ground::{Ground, get};
use crate::harness::target;

const ONE: &str = "/api/v1/deployments/acme/web";

/// The call of a version: two services of an image, of which the one writes what the other serves.
fn call(image: &str, word: &str) -> Value {
    let compose = format!(
        "# As it lies in the team's own repository.\nservices:\n  web:\n    image: {image}\n    init: true\n    command: \
         [sh, -c, 'echo serving; exec httpd -f -p 8080 -h /data']\n    volumes: ['data:/data']\n  worker:\n    \
         image: {image}\n    init: true\n    command:\n      - sh\n      - -c\n      - |\n        \
         echo ${{WORD}} >/data/index.html\n        n=0\n        while sleep 0.2; do n=$$((n+1)); echo ${{WORD}} $$n; done\n    \
         volumes: ['data:/data']\nvolumes: {{data: {{}}}}\n"
    );
    json!({
        "app_name": "web",
        "app_version": word,
        "compose": compose,
        "config": {"WORD": word},
        "web": {"service": "web", "port": 8080},
        "node_size": "tiny",
        "health": {"probe": {"http": {"path": "/index.html"}}, "interval": "200ms"},
        "expose": {},
    })
}

/// Deploys a version. Answers the agent that was told, and the commit.
async fn deploy(caller: &Caller, key: &str, call: Value) -> (Value, Value) {
    let (status, answer) = caller
        .call(Method::POST, "/api/v1/deploy", key, Some(call))
        .await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(answer["deployment_id"], "acme/web", "{answer}");
    (answer["agent_id"].clone(), answer["commit"].clone())
}

/// Lines of one service come as they are, one after the other, and of all with their services.
async fn logs(caller: &Caller, key: &str, word: &str) {
    let logs = format!("{ONE}/logs");
    let web = caller.text(&format!("{logs}?service=web"), key).await;
    assert_eq!(web, "serving\n");
    let all = caller.text(&logs, key).await;
    let has = |line: &str| all.contains(line);
    assert!(
        has("web | serving\n") && has(&format!("worker | {word} 1\n")),
        "{all}"
    );
    let (status, refused) = caller
        .call(Method::GET, &format!("{logs}?service=wrker"), key, None)
        .await;
    let message = "there is no such service; there are web, worker";
    assert_eq!(
        (status, &refused["code"], &refused["message"]),
        (404, &json!("service_not_found"), &json!(message))
    );
    let path = format!("{logs}?service=worker&lines=2&follow=true");
    let lines = caller.lines(&path, key, 20).await;
    let number = |line: &String| line.strip_prefix(&format!("{word} "))?.parse::<u32>().ok();
    let numbers: Option<Vec<u32>> = lines.iter().map(number).collect();
    let numbers = numbers.unwrap_or_else(|| panic!("{lines:?}"));
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "each once: {numbers:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compose_file_that_is_deployed_by_a_call_lives_its_life() {
    let Some(bed) = Bed::take(Generation::Second) else {
        return;
    };
    let registry = Registry::start();
    let before = bed.holdings();
    let image = registry.push(&bed, "web:1", "one");
    let ground = Ground::started(bed, None);
    ground
        .fleet
        .commit("capacity/tiny.yaml", Some(&target(40, 1)));
    let key = ground.done(&["key", "new", "acme", "--name", "ci", "--data", "data"]);
    let key = key.trim();
    let caller = Caller::of(&ground.fleet);
    caller.until(key, Ok("acme")).await;
    ground.fleet.wait("an agent is warm", |status| {
        let agents = status["agents"].as_array().cloned().unwrap_or_default();
        agents.iter().any(|agent| agent["assigned"].is_null())
    });

    // The call answers with the agent that was told, which runs it.
    let (told, first) = deploy(&caller, key, call(&image, "one")).await;
    let agent = ground.ready("the first version runs", |_| true);
    assert_eq!(agent["agent"], told);
    assert_eq!(get(&agent["replica"]["url"]).trim(), "one");
    let (_, view) = caller.call(Method::GET, ONE, key, None).await;
    let url = agent["replica"]["url"].as_str().expect("an address");
    assert_eq!(view["agents"][0]["url"], format!("{url}/"), "{view}");
    let containers = ground.containers();
    assert_eq!(containers.len(), 2, "{containers:?}");
    logs(&caller, key, "one").await;

    // The next one, in place: what it does not change stays.
    let (told, second) = deploy(&caller, key, call(&image, "two")).await;
    assert_eq!(agent["agent"], told);
    assert_ne!(first, second);
    let updated = |agent: &Value| agent["replica"]["message"] == "recreated worker; kept web";
    let agent = ground.ready("the second version runs", updated);
    assert_eq!(get(&agent["replica"]["url"]).trim(), "two");
    assert_eq!(ground.containers()["web"], containers["web"]);
    assert_ne!(ground.containers()["worker"], containers["worker"]);
    logs(&caller, key, "two").await;

    // And away with it.
    let (status, answer) = caller.call(Method::DELETE, ONE, key, None).await;
    assert_eq!(
        (status, &answer["status"]),
        (202, &json!("removing")),
        "{answer}"
    );
    let is_empty = || ground.containers().is_empty();
    ground.fleet.until("nothing of it is left", is_empty);
    ground.bed.docker(&["image", "rm", "--force", &image]);
    ground.stop(&before);
}

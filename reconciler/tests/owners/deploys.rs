//! The deploy API against a fleet of real processes: a call is a commit of the caller's owner and of nothing else, and a
//! dry run is none.

use easyenclave_attestation::testing::authority::Authority;
use reqwest::Method;
use serde_json::{Value, json};

use crate::caller::{Caller, believing, owner, token};
use crate::harness::{Fleet, deployment, now, target};
use crate::proofs::new_key;

pub(crate) const DEPLOY: &str = "/api/v1/deploy";

/// What hello-tdx is called with.
pub(crate) fn hello(name: &str, version: &str) -> Value {
    json!({
        "app_name": name,
        "app_version": version,
        "process": {"command": ["easyenclave", "hello-tdx"], "env": {"VERSION": version}},
        "health": {"probe": {"http": {"path": "/healthz"}}, "interval": "100ms"},
        "expose": {},
    })
}

/// A fleet with warm agents and nothing deployed, and a key of acme.
pub(crate) async fn fleet(warm: u32) -> (Fleet, Caller, String) {
    let mut fleet = Fleet::new(0, warm);
    fleet.commit("deployments/acme/web.yaml", None);
    fleet.start_serve();
    fleet.start_worker();
    let caller = Caller::of(&fleet);
    let key = new_key(&fleet, &[]);
    caller.until(&key, Ok("acme")).await;
    fleet.wait("agents are warm", |status| {
        let agents = status["agents"].as_array().map_or(0, Vec::len);
        agents >= warm as usize
    });
    (fleet, caller, key)
}

pub(crate) fn refs(fleet: &Fleet) -> String {
    let shown = fleet.git(&["rev-parse", "main"]);
    String::from_utf8(shown.stdout).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_is_a_commit_an_agent_is_told_and_it_can_be_read_and_taken_away() {
    let (fleet, caller, key) = fleet(2).await;
    let call = |method, path: String, body| {
        let (caller, key) = (&caller, key.as_str());
        async move { caller.call(method, &path, key, body).await }
    };
    // A dry run tells the agent, and changes nothing.
    let before = (
        refs(&fleet),
        fleet.status().expect("a status")["fleet"]["desiredCommit"].clone(),
    );
    let mut dry = hello("api", "1");
    dry["dry_run"] = true.into();
    let (status, body) = call(Method::POST, DEPLOY.into(), Some(dry.clone())).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        (
            &body["eligible"],
            &body["selected_datacenter"],
            &body["selected_cloud"]
        ),
        (&json!(true), &json!("local"), &json!("local"))
    );
    let agent = body["selected_agent_id"]
        .as_str()
        .expect("an agent")
        .to_owned();
    assert!(body["plan"].to_string().contains("assign"), "{body}");
    let after = (
        refs(&fleet),
        fleet.status().expect("a status")["fleet"]["desiredCommit"].clone(),
    );
    assert_eq!(before, after, "a dry run changes nothing");
    // Where none can be chosen, it says of each agent why.
    dry["agent_name"] = "tiny-000000000000".into();
    let (status, body) = call(Method::POST, DEPLOY.into(), Some(dry.clone())).await;
    assert_eq!((status, &body["eligible"]), (200, &json!(false)), "{body}");
    assert_eq!(body["issues"][0]["code"], "AGENT_NOT_FOUND", "{body}");
    assert_eq!(body["issues"][1]["code"], "AGENT_NOT_NAMED", "{body}");
    assert!(body["issues"][1]["agent_id"].is_string(), "{body}");
    dry["dry_run"] = false.into();
    let (status, body) = call(Method::POST, DEPLOY.into(), Some(dry)).await;
    assert_eq!((status, &body["code"]), (404, &json!("agent_not_found")));
    assert_eq!(body["issues"][0]["code"], "AGENT_NOT_FOUND", "{body}");
    // What is allowed and denied at once is refused, however it is written.
    let mut both = hello("api", "1");
    both["allowed_datacenters"] = json!(["gcp:a", "local"]);
    both["denied_datacenters"] = json!(["google:a"]);
    let (status, body) = call(Method::POST, DEPLOY.into(), Some(both)).await;
    assert_eq!((status, &body["code"]), (400, &json!("invalid_deploy")));
    let codes = (&body["problems"][0]["code"], &body["issues"][0]["code"]);
    let wanted = ("datacenter-policy-conflict", "DATACENTER_POLICY_CONFLICT");
    assert_eq!(codes, (&json!(wanted.0), &json!(wanted.1)), "{body}");
    assert_eq!(refs(&fleet), before.0, "nothing was committed");
    // A deploy is a commit, and the agent that was foreseen is told.
    let (status, body) = call(Method::POST, DEPLOY.into(), Some(hello("api", "1"))).await;
    assert_eq!(
        (status, &body["status"]),
        (202, &json!("deploying")),
        "{body}"
    );
    assert_eq!(
        (&body["deployment_id"], body["agent_id"].as_str()),
        (&json!("acme/api"), Some(agent.as_str()))
    );
    assert_eq!(body["commit"].as_str(), Some(refs(&fleet).trim()));
    let shown = fleet.git(&["show", "--stat", "--format=%an%n%B", "main"]);
    let shown = String::from_utf8(shown.stdout).expect("UTF-8");
    assert!(
        shown.starts_with("acme\ndeploy: acme/api 1\n\nDeployed-By: API key "),
        "{shown}"
    );
    assert!(
        shown.contains("deployments/acme/api.yaml") && shown.contains("1 file changed"),
        "{shown}"
    );
    // The same once more makes no commit.
    let (status, again) = call(Method::POST, DEPLOY.into(), Some(hello("api", "1"))).await;
    assert_eq!(
        (status, &again["commit"], &again["agent_id"]),
        (202, &body["commit"], &body["agent_id"])
    );
    // It runs, and its output can be read.
    let one = "/api/v1/deployments/acme/api".to_owned();
    let view = running(&caller, &key, &one).await;
    assert_eq!(
        (&view["ready"], &view["agents"][0]["agent_id"]),
        (&json!(1), &json!(agent))
    );
    let (_, all) = call(Method::GET, "/api/v1/deployments".into(), None).await;
    assert_eq!(all, json!([view]));
    for (asked, shown) in [("running", json!([view])), ("frozen", json!([]))] {
        let path = format!("/api/v1/deployments?status={asked}");
        let (status, some) = call(Method::GET, path, None).await;
        assert_eq!((status, some), (200, shown), "{asked}");
    }
    // What it prints can be read, and followed.
    let prints = json!([
        "sh",
        "-c",
        "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.3; done"
    ]);
    let talks = json!({"app_name": "talks", "process": {"command": prints}});
    let (status, body) = call(Method::POST, DEPLOY.into(), Some(talks)).await;
    assert_eq!(status, 202, "{body}");
    let logs = "/api/v1/deployments/acme/talks/logs";
    running(&caller, &key, "/api/v1/deployments/acme/talks").await;
    let lines = caller
        .lines(&format!("{logs}?lines=3&follow=true"), &key, 8)
        .await;
    let numbers = lines
        .iter()
        .map(|line| line.strip_prefix("line ")?.parse::<u32>().ok());
    let numbers: Vec<u32> = numbers.map(|number| number.expect("a line")).collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "each once: {numbers:?}"
    );
    let text = caller.text(&format!("{logs}?lines=2"), &key).await;
    assert_eq!(text.lines().count(), 2, "{text}");
    // Another version is another commit of the same file.
    let (status, next) = call(Method::POST, DEPLOY.into(), Some(hello("api", "2"))).await;
    assert_eq!(status, 202, "{next}");
    assert_ne!(next["commit"], body["commit"]);
    assert!(
        fleet
            .file("deployments/acme/api.yaml")
            .contains("VERSION: \"2\"")
    );
    // Taking it away leaves the owner another, so nothing is held.
    let (status, gone) = call(Method::DELETE, one.clone(), None).await;
    assert_eq!(
        (status, &gone["status"], &gone["held"]),
        (202, &json!("removing"), &Value::Null),
        "{gone}"
    );
    let (status, twice) = call(Method::DELETE, one, None).await;
    assert_eq!(
        (status, &twice["code"]),
        (404, &json!("deployment_not_found"))
    );
    fleet.stop();
}

/// Waits until it runs in the wanted version.
pub(crate) async fn running(caller: &Caller, key: &str, path: &str) -> Value {
    let mut last = Value::Null;
    for _ in 0..600 {
        let (status, body) = caller.call(Method::GET, path, key, None).await;
        if status == 200 && body["status"] == "running" {
            return body;
        }
        last = body;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("it does not run: {last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_may_not_do_is_refused_and_nothing_is_committed() {
    let (fleet, caller, key) = fleet(0).await;
    let by_hand = deployment("web", 0, "");
    let ours = "# Written by the deploy API, which writes it anew at each deploy. To edit it, take this line out.\n";
    fleet.commit_all(&[
        ("deployments/acme/web.yaml", Some(&by_hand)),
        (
            "deployments/acme/mine.yaml",
            Some(&format!(
                "{ours}{}# and a line of mine\n",
                deployment("mine", 0, "")
            )),
        ),
        ("owners/zeta.yaml", Some(&owner("zeta"))),
        (
            "deployments/zeta/theirs.yaml",
            Some(&format!(
                "{ours}{}",
                deployment("theirs", 0, "").replace("acme", "zeta")
            )),
        ),
        ("capacity/tiny.yaml", Some(&target(0, 0))),
    ]);
    let before = refs(&fleet);
    let mut named = hello("x", "1");
    named["app_name"] = "../../owners/acme".into();
    let mut unknown = hello("x", "1");
    unknown["node_sise"] = "tiny".into();
    let mut both = hello("x", "1");
    both["compose"] = "services: {}\n".into();
    let mut size = hello("x", "1");
    size["node_size"] = "huge".into();
    let mut probe = hello("x", "1");
    probe["health"]["interval"] = "1ms".into();
    let mut version = hello("x", "1");
    version["app_version"] = "1\n\nDeployed-By: the king".into();
    let none = json!({"app_name": "x"});
    let text = "services:\n  web:\n    image: x\n    privileged: true\n";
    let broken = json!({"app_name": "x", "node_size": "tiny", "compose": text});
    let rows = [
        (Method::POST, DEPLOY, Some(named), 400, "invalid_body"),
        (Method::POST, DEPLOY, Some(unknown), 400, "invalid_body"),
        (Method::POST, DEPLOY, Some(both), 400, "invalid_body"),
        (Method::POST, DEPLOY, Some(none), 400, "invalid_body"),
        (Method::POST, DEPLOY, Some(version), 400, "invalid_body"),
        (Method::POST, DEPLOY, Some(json!([])), 400, "invalid_body"),
        (Method::POST, DEPLOY, Some(size), 400, "invalid_deploy"),
        (Method::POST, DEPLOY, Some(probe), 400, "invalid_deploy"),
        (Method::POST, DEPLOY, Some(broken), 400, "invalid_deploy"),
        (
            Method::POST,
            DEPLOY,
            Some(hello("web", "1")),
            409,
            "written_by_hand",
        ),
        (
            Method::POST,
            DEPLOY,
            Some(hello("mine", "1")),
            409,
            "written_by_hand",
        ),
        (
            Method::POST,
            DEPLOY,
            Some(hello("x", "1")),
            409,
            "no_capacity",
        ),
        (
            Method::DELETE,
            "/api/v1/deployments/acme/web",
            None,
            409,
            "written_by_hand",
        ),
        (
            Method::DELETE,
            "/api/v1/deployments/acme/none",
            None,
            404,
            "deployment_not_found",
        ),
        (
            Method::DELETE,
            "/api/v1/deployments/zeta/theirs",
            None,
            404,
            "deployment_not_found",
        ),
        (
            Method::GET,
            "/api/v1/deployments/zeta/theirs",
            None,
            404,
            "deployment_not_found",
        ),
        (
            Method::GET,
            "/api/v1/deployments/acme/..%2Fx",
            None,
            404,
            "deployment_not_found",
        ),
        (
            Method::GET,
            "/api/v1/deployments/acme/%FF",
            None,
            404,
            "deployment_not_found",
        ),
        (
            Method::GET,
            "/api/v1/deployments/acme/web/logs",
            None,
            409,
            "not_running",
        ),
        (
            Method::GET,
            "/api/v1/deployments/acme/web/logs?lines=0",
            None,
            400,
            "invalid_query",
        ),
        (
            Method::GET,
            "/api/v1/deployments/acme/web/logs?service=a%26b",
            None,
            400,
            "invalid_query",
        ),
        (
            Method::GET,
            "/api/v1/deployments?status=deploying",
            None,
            400,
            "invalid_query",
        ),
        (
            Method::GET,
            "/api/v1/deployments?state=running",
            None,
            400,
            "invalid_query",
        ),
        (Method::PUT, DEPLOY, None, 405, "wrong_method"),
    ];
    // The commit above has to be in force first.
    fleet.wait("it is in force", |status| {
        status["fleet"]["desiredCommit"].as_str() == Some(before.trim())
    });
    for (method, path, body, wanted, code) in rows {
        let said = format!("{method} {path} {body:?}");
        let (status, answer) = caller.call(method, path, &key, body).await;
        assert_eq!(
            (status, answer["code"].as_str()),
            (wanted, Some(code)),
            "{said}: {answer}"
        );
        if code == "invalid_deploy" {
            let problem = &answer["problems"][0];
            assert_eq!(problem["file"], "deployments/acme/x.yaml", "{answer}");
            let field = problem["field"].as_str().expect("a field of the call");
            assert!(said.contains(&format!("\"{field}\"")), "{said}: {answer}");
            if field == "compose" {
                let place = (&problem["line"], &problem["column"]);
                assert_eq!(place, (&json!(4), &json!(17)), "{answer}");
            }
        }
        if code == "no_capacity" {
            assert_eq!(
                answer["issues"][0]["code"], "NO_VERIFIED_CAPACITY",
                "{answer}"
            );
        }
    }
    assert_eq!(refs(&fleet), before, "nothing was committed");
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_deploys_for_its_owner_and_several_owners_at_once_lose_nothing() {
    let authority = Authority::start(now()).await;
    let mut fleet = Fleet::new(0, 0);
    fleet.commit_all(&[
        ("fleet.yaml", Some(&believing(&authority))),
        ("owners/acme.yaml", Some(&owner("acme"))),
        ("owners/zeta.yaml", Some(&owner("zeta"))),
        ("deployments/acme/web.yaml", None),
    ]);
    fleet.start_serve();
    let caller = Caller::of(&fleet);
    let acme = token(&authority, &[]);
    let zeta = [
        ("repository", json!("zeta/web")),
        ("repository_owner", json!("zeta")),
    ];
    let zeta = token(&authority, &zeta);
    caller.until(&acme, Ok("acme")).await;
    let calls = (0..20).map(|n| {
        let shown = if n % 2 == 0 { &acme } else { &zeta };
        let mut call = hello(&format!("app-{n}"), "1");
        call["replicas"] = 0.into();
        caller.call(Method::POST, DEPLOY, shown, Some(call))
    });
    let answers = futures_util::future::join_all(calls).await;
    for (status, answer) in &answers {
        assert_eq!(*status, 202, "{answer}");
    }
    for n in 0..20 {
        let owner = if n % 2 == 0 { "acme" } else { "zeta" };
        fleet.file(&format!("deployments/{owner}/app-{n}.yaml"));
    }
    let log = fleet.git(&["log", "--format=%B", "main"]);
    let log = String::from_utf8(log.stdout).expect("UTF-8");
    let by = "Deployed-By: GitHub Actions of zeta/web at refs/heads/main, run 7";
    assert_eq!(log.matches(by).count(), 10, "{log}");
    fleet.stop();
}

//! A policy that wants a token of Intel Trust Authority beside local verification: both have to accept, and a
//! Trust Authority that is away is nobody's fault.

use easyenclave_attestation::testing::authority::{API_KEY, Authority, Fault, Kind};
use easyenclave_schemas::documents::{ItaVersion, SigningAlgorithm};

use crate::harness::{Fleet, condition, find, now};

/// A fleet whose policy asks this Trust Authority, and who asks for tokens.
fn fleet(authority: &Authority, mint: &str) -> (Fleet, String) {
    let settings = authority.settings(ItaVersion::V2, SigningAlgorithm::PS384);
    let fleet = Fleet::new(1, 0);
    let keys = fleet.path("data/keys");
    std::fs::create_dir_all(&keys).expect("a folder");
    std::fs::write(keys.join("ita.key"), format!("{API_KEY}\n")).expect("written");
    let policy = fleet.file("policies/simulated.yaml").replace(
        "spec:\n",
        &format!(
            "spec:\n  verifiers:\n    dcap: {{}}\n    ita:\n      apiUrl: {}\n      jwksUrl: {}\n      issuer: {}\n      \
             trustEnds: maxAge\n      mint: {mint}\n",
            settings.api_url, settings.jwks_url, settings.issuer
        ),
    );
    fleet.commit("policies/simulated.yaml", Some(&policy));
    (fleet, settings.api_url)
}

#[test]
fn a_policy_that_wants_both_verifiers_gets_both_and_waits_for_one_that_is_away() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let authority = runtime.block_on(Authority::start(now()));
    let (mut fleet, _) = fleet(&authority, "reconciler");
    authority.always(Kind::Attest, Some(Fault::Status(503, "away".into())));
    fleet.start_serve();
    fleet.start_worker();
    let status = fleet.wait("the Trust Authority is away", |status| {
        !find(&status["fleet"]["refusals"], "code", "EE-ATT-018").is_null()
    });
    assert!(
        status["agents"].as_array().is_none_or(Vec::is_empty),
        "{status}"
    );
    authority.always(Kind::Attest, None);
    let status = fleet.wait_running(1);
    let agent = &status["agents"][0];
    assert_eq!(
        agent["trust"]["verifiers"],
        serde_json::json!(["dcap", "ita"])
    );
    let attested = condition(agent, "Attested");
    let message = attested["message"].as_str().expect("a message");
    assert!(
        message.contains("simulated") && message.contains("Trust Authority"),
        "{message}"
    );
    let log = fleet.log("serve.log");
    assert!(!log.contains(API_KEY), "the key is in no log");
    fleet.stop();
}

#[test]
fn agents_ask_for_their_own_tokens_where_the_policy_wants_it() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let authority = runtime.block_on(Authority::start(now()));
    let (mut fleet, url) = fleet(&authority, "agent");
    let key = fleet.path("agents.key");
    std::fs::write(&key, format!("{API_KEY}\n")).expect("written");
    fleet.start_serve();
    let key = key.to_str().expect("UTF-8");
    fleet.start_worker_with(&["--agent-ita-key", key, "--agent-ita-url", &url]);
    let status = fleet.wait_running(1);
    let verifiers = &status["agents"][0]["trust"]["verifiers"];
    assert_eq!(*verifiers, serde_json::json!(["dcap", "ita"]));
    for log in ["serve.log", "worker.log"] {
        assert!(!fleet.log(log).contains(API_KEY), "the key is in no log");
    }
    fleet.stop();
}

//! A policy that wants a token of Intel Trust Authority beside local verification: both have to accept, and a
//! Trust Authority that is away is nobody's fault.

use easyenclave_attestation::testing::authority::{API_KEY, Authority, Fault, Kind};
use easyenclave_schemas::documents::{ItaVersion, SigningAlgorithm};

use crate::harness::{Fleet, condition, find, now};

#[test]
fn a_policy_that_wants_both_verifiers_gets_both_and_waits_for_one_that_is_away() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let authority = runtime.block_on(Authority::start(now()));
    let settings = authority.settings(ItaVersion::V2, SigningAlgorithm::PS384);
    let mut fleet = Fleet::new(1, 0);
    let keys = fleet.path("data/keys");
    std::fs::create_dir_all(&keys).expect("a folder");
    std::fs::write(keys.join("ita.key"), format!("{API_KEY}\n")).expect("written");
    let policy = fleet.file("policies/simulated.yaml").replace(
        "spec:\n",
        &format!(
            "spec:\n  verifiers:\n    dcap: {{}}\n    ita:\n      apiUrl: {}\n      jwksUrl: {}\n      issuer: {}\n      \
             trustEnds: maxAge\n",
            settings.api_url, settings.jwks_url, settings.issuer
        ),
    );
    authority.always(Kind::Attest, Some(Fault::Status(503, "away".into())));
    fleet.commit("policies/simulated.yaml", Some(&policy));
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

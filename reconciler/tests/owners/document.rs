//! The served OpenAPI document and the router are of one mind: every operation is there and behind the door, and no other
//! method is.

use reqwest::Method;
use serde_json::Value;

use crate::caller::Caller;
use crate::harness::Fleet;

#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_owners_is_there_and_no_other_method_is() {
    let mut fleet = Fleet::new(0, 0);
    fleet.start_serve();
    let caller = Caller::of(&fleet);
    // Until a revision is in force, nobody can be told from anybody.
    caller.until("ee_nobody", Err("invalid_api_key")).await;
    let served = caller.text("/api/v1/openapi.json", "nobody").await;
    let served: Value = serde_json::from_str(&served).expect("JSON");
    assert_eq!(served, easyenclave_schemas::wire::openapi());
    let known: Vec<_> = easyenclave_schemas::wire::owners_routes().collect();
    assert_eq!(known.len(), 6);
    for (method, path) in &known {
        assert!(
            served["paths"][*path][*method]["operationId"].is_string(),
            "{method} {path}"
        );
        let path = path.replace("{owner}", "acme").replace("{name}", "web");
        for tried in ["get", "post", "put", "patch", "delete"] {
            let is_known = known.iter().any(|(method, at)| {
                *method == tried && at.replace("{owner}", "acme").replace("{name}", "web") == path
            });
            let verb = Method::from_bytes(tried.to_uppercase().as_bytes()).expect("a method");
            let (status, body) = caller.call(verb, &path, "ee_nobody", None).await;
            let wanted = if is_known {
                (401, "invalid_api_key")
            } else {
                (405, "wrong_method")
            };
            assert_eq!(
                (status, body["code"].as_str()),
                (wanted.0, Some(wanted.1)),
                "{tried} {path}"
            );
        }
    }
    fleet.stop();
}

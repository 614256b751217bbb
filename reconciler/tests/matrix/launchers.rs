//! Callers of workers' routes: who shows no launcher key is told that, whatever else is wrong.

use easyenclave_schemas::wire::routes;
use serde_json::Value;

use crate::api::{Served, serve};
use crate::place::Place;

/// The launcher key of every place.
const KEY: &str = "the launcher's own key";

/// Sends what no route takes. Answers the status, the code and the message.
async fn send(served: &Served, path: &str, key: Option<&str>) -> (u16, String, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build();
    let call = client
        .expect("a client")
        .post(format!("{}{path}", served.url))
        .body("no message");
    let call = key
        .into_iter()
        .fold(call, |call, key| call.bearer_auth(key));
    let answer = call.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.expect("JSON");
    let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    (status, text("code"), text("message"))
}

#[tokio::test]
async fn a_worker_is_told_of_its_key_before_its_message_is_read() {
    let place = Place::new(&serde_json::json!({}));
    let served = serve(&place).await;
    let order = "/api/v1/launchers/capacity/orders/tiny-1";
    for path in [routes::CLAIM, routes::INVENTORY, order] {
        let (status, code, message) = send(&served, path, None).await;
        assert_eq!((status, code.as_str()), (401, "missing_launcher_key"));
        assert!(message.contains("no launcher key is shown"), "{message}");
        let (status, code, _) = send(&served, path, Some("another")).await;
        assert_eq!((status, code.as_str()), (403, "invalid_launcher_key"));
        let (status, code, _) = send(&served, path, Some(KEY)).await;
        assert_eq!((status, code.as_str()), (400, "invalid_body"), "{path}");
    }
}

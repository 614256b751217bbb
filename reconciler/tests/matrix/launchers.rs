//! Callers of workers' routes: who shows no launcher key is told that, whatever else is wrong.

use easyenclave_schemas::wire::routes;

use crate::api::serve;
use crate::document::Worker;
use crate::place::Place;

/// The launcher key of every place.
pub(crate) const KEY: &str = "the launcher's own key";

#[tokio::test]
async fn a_worker_is_told_of_its_key_before_its_message_is_read() {
    let place = Place::new(&serde_json::json!({}));
    let served = serve(&place).await;
    let worker = Worker::of(&served).await;
    let order = "/api/v1/launchers/capacity/orders/tiny-1";
    for path in [routes::CLAIM, routes::INVENTORY, order] {
        let send = |key| worker.say(path, key, b"no message".to_vec());
        let (status, refusal) = send(None).await;
        assert_eq!(status, 401);
        assert_eq!(refusal["code"], "missing_launcher_key");
        let message = refusal["message"].as_str().unwrap_or_default();
        assert!(message.contains("no launcher key is shown"), "{message}");
        let (status, refusal) = send(Some("another")).await;
        assert_eq!(status, 403);
        assert_eq!(refusal["code"], "invalid_launcher_key");
        let (status, refusal) = send(Some(KEY)).await;
        assert_eq!(status, 400);
        assert_eq!(refusal["code"], "invalid_body", "{path}");
    }
}

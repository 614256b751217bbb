//! Many at once: a nonce counts once, and no two challenges are alike.

use std::collections::BTreeSet;
use std::sync::Arc;

use easyenclave_schemas::evidence::ReasonCode;
use serde_json::json;
use tokio::task::JoinSet;

use crate::place::Place;

const TOGETHER: usize = 32;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn matrix_con_001_of_many_registrations_with_one_nonce_one_succeeds() {
    let place = Arc::new(Place::new(&json!({})));
    let nonce = place.nonce().await;
    let mut attempts = JoinSet::new();
    for _ in 0..TOGETHER {
        // Each with an order and a key of its own, so that nothing but the nonce stands between them.
        let (place, nonce) = (Arc::clone(&place), nonce.clone());
        let agent = place.agent().await;
        let request = place.request(&agent, &nonce, place.evidence(&agent, &nonce));
        attempts.spawn(async move { place.register(request).await });
    }
    let results = attempts.join_all().await;
    let refused: Vec<_> = results
        .iter()
        .filter_map(|result| result.as_ref().err())
        .collect();
    assert_eq!(refused.len(), TOGETHER - 1);
    assert!(
        refused
            .iter()
            .all(|no| no.code == ReasonCode::NonceReplayed)
    );
    assert_eq!(place.world.journal.read().agents.len(), 1);
    assert!(
        place
            .world
            .metrics
            .text()
            .contains("attestation_nonce_consumed_total 1\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn matrix_con_003_challenges_are_all_different() {
    let place = Arc::new(Place::new(&json!({})));
    let mut asking = JoinSet::new();
    for _ in 0..8 {
        let place = Arc::clone(&place);
        asking.spawn(async move {
            let mut nonces = Vec::new();
            for _ in 0..250 {
                nonces.push(place.nonce().await);
            }
            nonces
        });
    }
    let nonces: Vec<_> = asking.join_all().await.into_iter().flatten().collect();
    let different: BTreeSet<_> = nonces.iter().collect();
    assert_eq!((nonces.len(), different.len()), (2000, 2000));
}

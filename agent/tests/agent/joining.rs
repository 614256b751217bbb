//! How an agent joins, and what keeps it out.

use std::collections::BTreeSet;

use easyenclave_agent::{Refused, exit};
use easyenclave_schemas::signature::Keypair;
use easyenclave_schemas::wire::AgentActivity;
use http::StatusCode;

use crate::fleet::{Agent, Script};

fn nonces(script: &Script) -> BTreeSet<String> {
    script
        .registrations
        .iter()
        .map(|request| request.nonce.clone())
        .collect()
}

#[tokio::test]
async fn it_registers_with_a_bound_quote_and_then_reports() {
    let agent = Agent::start().await;
    let first = |script: &Script| script.beats.first().cloned();
    let beat = agent.reconciler.until("it reports", first).await;
    {
        let script = agent.reconciler.script();
        let registration = &script.registrations[0];
        assert_eq!(script.registrations.len(), 1);
        assert_eq!(registration.order_id, agent.config.order_id);
        assert_eq!(registration.bootstrap_token.reveal(), "token");
        assert_eq!(registration.boot_id, beat.boot_id);
        assert_eq!(registration.address, beat.address);
    }
    let health = agent.health().await;
    assert_eq!(
        (health.agent_id, health.phase),
        (agent.id(), AgentActivity::Idle)
    );
    assert!(health.verdict.expect("trusted").simulated);
    agent.stop().await;
}

#[tokio::test]
async fn what_may_pass_is_tried_again_with_a_new_nonce() {
    let agent = Agent::with(|script| {
        script.refusals = vec![
            (StatusCode::SERVICE_UNAVAILABLE, "EE-ATT-018"),
            (StatusCode::FORBIDDEN, "EE-ATT-014"),
            (StatusCode::UNAUTHORIZED, "EE-ATT-004"),
            (StatusCode::FORBIDDEN, "EE-ATT-014"),
            (StatusCode::NOT_FOUND, "whoever"),
        ];
    })
    .await;
    agent
        .reconciler
        .until("it reports", |script| script.beats.first().map(|_| ()))
        .await;
    assert_eq!(agent.reconciler.script().registrations.len(), 6);
    assert_eq!(nonces(&agent.reconciler.script()).len(), 6);
    agent.stop().await;
}

#[tokio::test]
async fn a_final_refusal_ends_it_after_a_few_tries() {
    for code in ["EE-ATT-014", "EE-ATT-031", "EE-ATT-032", "EE-ATT-030"] {
        let mut agent = Agent::with(|script| {
            script.refusals = vec![(StatusCode::FORBIDDEN, code); 100];
        })
        .await;
        let error = agent.ended().await;
        assert_eq!(error.downcast_ref::<Refused>().expect("refused").code, code);
        assert_eq!(exit::code(&error), exit::REFUSED);
        let script = agent.reconciler.script();
        assert_eq!((script.registrations.len(), nonces(&script).len()), (3, 3));
    }
}

#[tokio::test]
async fn an_answer_of_somebody_else_is_not_believed() {
    let (known, stranger) = (
        Keypair::generate().expect("a key"),
        Keypair::generate().expect("a key"),
    );
    let agent = Agent::signed(known, stranger, |_| ()).await;
    let tried = |script: &Script| (script.registrations.len() >= 3).then_some(());
    agent.reconciler.until("it tries again", tried).await;
    let health = agent.health().await;
    assert_eq!(
        (health.phase, health.verdict),
        (AgentActivity::Registering, None)
    );
    assert!(agent.reconciler.script().beats.is_empty());
    agent.stop().await;
}

#[tokio::test]
async fn another_start_is_another_agent() {
    let (one, two) = (Agent::start().await, Agent::start().await);
    one.address().await;
    two.address().await;
    let key = |agent: &Agent| {
        let script = agent.reconciler.script();
        (
            script.registrations[0].public_key.clone(),
            script.registrations[0].boot_id.clone(),
        )
    };
    assert_ne!(key(&one).0, key(&two).0);
    assert_ne!(key(&one).1, key(&two).1);
    let kept: Vec<_> = std::fs::read_dir(&one.config.data_dir)
        .expect("its folder")
        .collect();
    assert!(kept.is_empty(), "nothing of the key is written: {kept:?}");
    one.stop().await;
    two.stop().await;
}

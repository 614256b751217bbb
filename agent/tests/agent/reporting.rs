//! What an agent reports, when, and what it makes of the answers.

use std::time::Duration;

use easyenclave_schemas::Epoch;
use easyenclave_schemas::wire::{WorkloadReport, WorkloadState};
use http::StatusCode;
use tokio::time::Instant;

use crate::fleet::{Agent, Script, nonce};

fn is_ready(report: &WorkloadReport) -> bool {
    report.state == WorkloadState::Ready
}

#[tokio::test]
async fn a_change_is_reported_at_once_however_rare_heartbeats_are() {
    let mut agent = Agent::with(|script| script.heartbeat_millis = 60_000).await;
    agent
        .reconciler
        .until("it reports", |script| script.beats.first().map(|_| ()))
        .await;
    let started = Instant::now();
    agent.run("exec sleep 300").await;
    agent.reported("it is ready", is_ready).await;
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "not with the next heartbeat"
    );
    let beats = agent.reconciler.script().beats.len();
    assert!(beats <= 4, "{beats} heartbeats for two changes");
    agent.stop().await;
}

#[tokio::test]
async fn trouble_on_the_network_does_not_touch_the_workload() {
    let mut agent = Agent::start().await;
    agent.run("echo started; exec sleep 300").await;
    agent.reported("it is ready", is_ready).await;
    let before = {
        let mut script = agent.reconciler.script();
        script.down = true;
        script.beats.len()
    };
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(
        (agent.processes(), agent.reconciler.script().beats.len()),
        (1, before)
    );
    agent.reconciler.script().down = false;
    let again = |script: &Script| script.beats.get(before).cloned();
    let beat = agent.reconciler.until("it reports again", again).await;
    assert!(
        beat.workload
            .is_some_and(|workload| is_ready(&workload) && workload.restarts == 0)
    );
    agent.stop().await;
}

#[tokio::test]
async fn a_reconciler_that_has_forgotten_the_agent_is_joined_again_while_the_workload_runs_on() {
    let mut agent = Agent::start().await;
    agent.run("exec sleep 300").await;
    agent.reported("it is ready", is_ready).await;
    let beats = {
        let mut script = agent.reconciler.script();
        script.forgets = u32::MAX;
        // Not even a refusal that would be final at the first start ends the agent now.
        script.refusals = vec![(StatusCode::CONFLICT, "EE-ATT-030"); 4];
        script.beats.len()
    };
    let again = |script: &Script| script.beats.get(beats).cloned();
    let beat = agent.reconciler.until("it reports again", again).await;
    {
        let script = agent.reconciler.script();
        let key = |at: usize| &script.registrations[at].public_key;
        assert_eq!((script.registrations.len(), key(5)), (6, key(0)));
    }
    let workload = beat.workload.expect("it runs on");
    assert!(is_ready(&workload) && workload.restarts == 0);
    assert_eq!(agent.processes(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn an_answer_or_two_that_do_not_know_the_agent_change_nothing() {
    let agent = Agent::start().await;
    let first = |script: &Script| script.beats.first().map(|_| ());
    agent.reconciler.until("it reports", first).await;
    let beats = {
        let mut script = agent.reconciler.script();
        script.forgets = 2;
        script.beats.len()
    };
    let again = |script: &Script| script.beats.get(beats).map(|_| ());
    agent.reconciler.until("it reports again", again).await;
    assert_eq!(agent.reconciler.script().registrations.len(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn heartbeats_go_in_a_session_and_without_a_break_when_it_is_forgotten() {
    let agent = Agent::with(|script| script.grants = true).await;
    let third = |script: &Script| script.in_session.get(2).copied();
    let number = agent.reconciler.until("they go in a session", third).await;
    assert_eq!(number, 4, "all but the first, which asked for it");
    let (beats, calls) = {
        let mut script = agent.reconciler.script();
        script.session = None;
        (script.beats.len(), script.in_session.len())
    };
    let again = |script: &Script| script.in_session.get(calls + 1).copied();
    agent.reconciler.until("they go in another", again).await;
    {
        let script = agent.reconciler.script();
        let last = script.beats.last().map(|beat| beat.sequence);
        let sent = script.beats.len() as u64 + 1;
        assert_eq!(last, Some(sent), "one was sent anew, none lost");
        let asked = script.beats.iter().map(|beat| beat.session.is_some());
        let asked: Vec<_> = asked.enumerate().filter(|(_, asks)| *asks).collect();
        assert_eq!(asked, [(0, true), (beats, true)], "once for each session");
    }
    agent.stop().await;
}

/// The script takes no number twice.
#[tokio::test]
async fn a_heartbeat_whose_answer_was_replaced_is_sent_as_another_one() {
    let agent = Agent::with(|script| script.grants = true).await;
    let first = |script: &Script| script.in_session.first().copied();
    agent.reconciler.until("it is in a session", first).await;
    let calls = {
        let mut script = agent.reconciler.script();
        script.replaced = 1;
        script.in_session.len()
    };
    let again = |script: &Script| script.in_session.get(calls + 1).copied();
    agent.reconciler.until("it is in another", again).await;
    {
        let script = agent.reconciler.script();
        let asked = script.beats.iter().filter(|beat| beat.session.is_some());
        assert_eq!((asked.count(), script.registrations.len()), (2, 1));
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_crash_is_reported_with_its_exit_code() {
    let mut agent = Agent::start().await;
    agent.run("exit 4").await;
    let restarting = |report: &WorkloadReport| report.state == WorkloadState::Restarting;
    let report = agent.reported("it has crashed", restarting).await;
    assert_eq!(report.message, "exited with code 4");
    agent.stop().await;
}

#[tokio::test]
async fn a_challenge_brings_fresh_evidence() {
    let agent = Agent::with(|script| script.challenge = Some(nonce(4711))).await;
    let evidence = |script: &Script| script.evidence.first().cloned();
    let evidence = agent.reconciler.until("it attests", evidence).await;
    assert_eq!(evidence.nonce, nonce(4711).nonce);
    agent.stop().await;
}

#[tokio::test]
async fn lost_trust_is_shown_and_an_older_leader_says_nothing_about_it() {
    let agent = Agent::start().await;
    agent
        .reconciler
        .until("it reports", |script| script.beats.first().map(|_| ()))
        .await;
    assert!(agent.health().await.verdict.is_some());
    let two_more = async |change: &dyn Fn(&mut Script)| {
        let until = {
            let mut script = agent.reconciler.script();
            change(&mut script);
            script.beats.len() + 3
        };
        let enough = |script: &Script| (script.beats.len() >= until).then_some(());
        agent.reconciler.until("it reports", enough).await;
    };
    two_more(&|script| (script.epoch, script.trusted_until) = (Epoch(1), None)).await;
    assert!(agent.health().await.verdict.is_some(), "epoch 2 was seen");
    two_more(&|script| script.epoch = Epoch(3)).await;
    assert!(agent.health().await.verdict.is_none());
    agent.stop().await;
}

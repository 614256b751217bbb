//! Evidence of an agent in a TDX guest, whose kernel is a real file system; tokens that an agent asks for; and fresh
//! evidence that nobody had to ask for.

use std::path::Path;
use std::time::Duration;

use easyenclave_attestation::simulated::TdBody;
use easyenclave_attestation::testing::authority::{API_KEY, Authority, Fault, Kind};
use easyenclave_attestation::testing::machine::{self, TestMachine, can_mount};
use easyenclave_attestation::testing::platform;
use easyenclave_attestation::{Account, EventLog, ItaClient};
use easyenclave_schemas::Secret;
use easyenclave_schemas::documents::{ItaSpec, ItaVersion, SigningAlgorithm};
use easyenclave_schemas::evidence::Evidence;
use easyenclave_schemas::signature::Keypair;
use easyenclave_schemas::wire::{
    ItaChallenge, ItaMint, PlatformConfig, TrustAuthorityConfig, WorkloadState,
};
use easyenclave_tests::given;

use crate::fleet::{Agent, Reconciler, Script, copy, nonce, now};

/// The kernel of a TDX guest, where file systems can be mounted.
fn kernel() -> Option<TestMachine> {
    given("file systems of our own", "see tests/setup", can_mount())?;
    let guest = platform(now()).expect("a platform").into_guest();
    Some(TestMachine::mount(guest, TdBody::of_image("tiny")).expect("mounted"))
}

async fn agent_in(kernel: &TestMachine, change: impl FnOnce(&mut Script)) -> Agent {
    let keypair = Keypair::generate().expect("randomness");
    let reconciler = Reconciler::start(copy(&keypair)).await;
    change(&mut reconciler.script());
    let root = kernel.root().to_owned();
    Agent::configured(keypair, reconciler, |config| {
        config.platform = PlatformConfig::Tdx { root };
    })
}

/// What the log of some evidence says of the register that is free for workloads.
fn measured(evidence: &Evidence) -> Vec<String> {
    let log = evidence.event_log.as_ref().expect("a log");
    let log = EventLog::parse(log.as_bytes()).expect("a log");
    let own = log.events().filter(|event| event.rtmr == Some(3));
    own.map(easyenclave_attestation::Event::words).collect()
}

#[tokio::test]
async fn a_guest_attests_by_its_kernel_and_measures_what_it_runs_before_it_runs() {
    let Some(kernel) = kernel() else { return };
    kernel.fail([machine::Fault::Race]);
    let mut agent = agent_in(&kernel, |_| ()).await;
    agent.address().await;
    let first = agent.reconciler.script().registrations[0].clone();
    assert_eq!(measured(&first.evidence), Vec::<String>::new());
    let boot = kernel.machine().boot_id().expect("a boot id");
    assert!(
        first.boot_id.starts_with(&format!("{boot}.")),
        "{}",
        first.boot_id
    );

    let register = format!(
        "[ $(head -c 48 '{}' | tr -d '\\0' | wc -c) -gt 0 ] || exit 1; exec sleep 300",
        kernel.machine().register(3).display()
    );
    agent.run(&register).await;
    let ready = |report: &easyenclave_schemas::wire::WorkloadReport| {
        assert_eq!(report.restarts, 0, "it was measured before it started");
        report.state == WorkloadState::Ready
    };
    agent.reported("it is ready", ready).await;
    agent.reconciler.script().challenge = Some(nonce(4711));
    let evidence = |script: &Script| script.evidence.first().cloned();
    let evidence = agent.reconciler.until("it attests", evidence).await;
    let workload = easyenclave_schemas::Digest::of(register.as_bytes());
    assert_eq!(
        measured(&evidence.evidence),
        [format!("text: easyenclave workload {workload}")]
    );
    assert_eq!(evidence.boot_id.as_deref(), Some(first.boot_id.as_str()));
    assert_eq!(kernel.requests(), 0);
    agent.stop().await;
}

#[tokio::test]
async fn a_guest_without_log_and_register_attests_all_the_same() {
    let Some(kernel) = kernel() else { return };
    kernel.log(None);
    kernel.extends(false);
    let mut agent = agent_in(&kernel, |_| ()).await;
    agent.run("exec sleep 300").await;
    let ready =
        |report: &easyenclave_schemas::wire::WorkloadReport| report.state == WorkloadState::Ready;
    agent.reported("it is ready", ready).await;
    let script = agent.reconciler.script().registrations[0].clone();
    assert_eq!(script.evidence.event_log, None);
    agent.stop().await;
}

#[tokio::test]
async fn another_boot_brings_fresh_evidence_and_shows_in_heartbeats() {
    let Some(kernel) = kernel() else { return };
    let life = Duration::from_secs(4000);
    let agent = agent_in(&kernel, |script| script.trust_for(life)).await;
    agent.address().await;
    // Short from now on, so that renewals may be close to each other; half of it is not over soon.
    agent.reconciler.script().trust_for(Duration::from_secs(60));
    kernel.boot("another-boot");
    let told = |script: &Script| {
        let evidence = script.evidence.last()?;
        evidence
            .boot_id
            .as_deref()?
            .starts_with("another-boot.")
            .then_some(())
    };
    agent.reconciler.until("it attests", told).await;
    let shown = |script: &Script| {
        let boot = &script.beats.last()?.boot_id;
        boot.starts_with("another-boot.").then_some(())
    };
    agent.reconciler.until("it shows", shown).await;
    agent.stop().await;
}

#[tokio::test]
async fn trust_is_renewed_before_it_runs_out_and_nobody_asks() {
    let agent = Agent::with(|script| script.trust_for(Duration::from_secs(3))).await;
    let renewed = |script: &Script| (script.evidence.len() >= 2).then_some(());
    agent.reconciler.until("it renews twice", renewed).await;
    let challenges = agent.reconciler.script().challenges;
    assert!(challenges > 2, "each with a nonce of its own");
    agent.stop().await;
}

/// An agent whose policy wants it to ask `named` for tokens, and whose own key is for `own`.
async fn minting(named: &Authority, own: Option<&Authority>, folder: &Path) -> Agent {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let settings =
        |authority: &Authority| authority.settings(ItaVersion::V2, SigningAlgorithm::PS384);
    let wanted = settings(named);
    let client = ItaClient::new(Some(&Secret::new(API_KEY.into()))).expect("a client");
    let fresh = client.fresh_nonce(Account::from(&wanted)).await;
    let ItaSpec {
        api_url,
        version,
        algorithm,
        policy_ids,
        ..
    } = wanted;
    let challenge = ItaChallenge {
        nonce: fresh.expect("a nonce"),
        mint: Some(ItaMint {
            api_url,
            version,
            algorithm,
            policy_ids,
        }),
    };
    let key_file = folder.join("ita.key");
    std::fs::write(&key_file, format!("{API_KEY}\n")).expect("written");
    let keypair = Keypair::generate().expect("randomness");
    let reconciler = Reconciler::start(copy(&keypair)).await;
    reconciler.script().ita = Some(challenge);
    let trust_authority = own.map(|own| TrustAuthorityConfig {
        api_url: settings(own).api_url,
        key_file,
    });
    Agent::configured(keypair, reconciler, |config| {
        config.trust_authority = trust_authority;
    })
}

#[tokio::test]
async fn an_agent_asks_for_its_token_with_its_own_key() {
    let authority = Authority::start(now()).await;
    authority.next(Kind::Attest, Fault::Status(503, "away".into()));
    let folder = tempfile::tempdir().expect("a folder");
    let agent = minting(&authority, Some(&authority), folder.path()).await;
    agent.address().await;
    let registration = agent.reconciler.script().registrations[0].clone();
    let token = registration.evidence.token.expect("a token");
    let parts = token.as_bytes().split(|byte| *byte == b'.').count();
    assert_eq!(parts, 3, "a token has three parts");
    assert!(registration.ita_nonce.is_some());
    assert_eq!(authority.count(Kind::Attest), 2, "tried again after 503");
    agent.stop().await;
}

#[tokio::test]
async fn a_key_is_sent_nowhere_but_where_the_configuration_says() {
    let (own, other) = (Authority::start(now()).await, Authority::start(now()).await);
    let folder = tempfile::tempdir().expect("a folder");
    for own in [Some(&own), None] {
        let agent = minting(&other, own, folder.path()).await;
        let tried = |script: &Script| (script.challenges >= 3).then_some(());
        agent.reconciler.until("it tries again", tried).await;
        assert!(agent.reconciler.script().registrations.is_empty());
        agent.stop().await;
    }
    assert_eq!((own.count(Kind::Attest), other.count(Kind::Attest)), (0, 0));
}

//! The table of docs/attestation.md: each fault of a service that verification needs, and what the agent is told, what
//! the status branch says, what the metrics count. The services are real HTTP on loopback, the reconciler is whole.
//! `cargo test -p easyenclave --test matrix -- services --nocapture` prints it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use easyenclave::pass::pass;
use easyenclave::report::{Notes, status};
use easyenclave::trust::{self, Judge, Sources};
use easyenclave_attestation::testing::authority::{API_KEY, Authority, Claim, Fault, Kind, Signer};
use easyenclave_attestation::testing::pcs::{self, Part, Pcs};
use easyenclave_attestation::testing::{self};
use easyenclave_attestation::{
    ItaClient, NoAuthority, NoCollateral, PcsClient, PlatformFacts, Policy, TrustAuthority,
    TrustRoot, ita_report_data,
};
use easyenclave_schemas::Secret;
use easyenclave_schemas::documents::{ItaVersion, SigningAlgorithm};
use easyenclave_schemas::evidence::{Evidence, QuoteBytes, Rejection, Verdict};
use easyenclave_schemas::status::{ConditionStatus, ConditionType};
use serde_json::json;

use crate::place::{Place, name};

const DOCUMENT: &str = include_str!("../../../docs/attestation.md");

/// Longer than any answer takes that comes.
const DEADLINE: Duration = Duration::from_secs(3);

const PCS: &str = "PCS";
const ITA: &str = "ITA";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_with_faults_are_as_the_document_says() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut rows = Vec::new();
    for (what, part, fault) in collateral_faults() {
        rows.push(collateral(what, &[(part, fault)], Serves::Good).await);
    }
    rows.push(collateral("the wrong key", &[], Serves::Foreign).await);
    rows.push(collateral("expired collateral", &[], Serves::Expired).await);
    rows.push(collateral("nothing wrong", &[], Serves::Good).await);
    for (what, prepare) in authority_faults() {
        for version in [ItaVersion::V1, ItaVersion::V2] {
            rows.push(authority(what, version, prepare).await);
        }
    }
    let table = rows.join("\n");
    println!("{table}");
    assert!(
        DOCUMENT.contains(&table),
        "docs/attestation.md has another table than:\n{table}"
    );
}

#[derive(Clone, Copy)]
enum Serves {
    Good,
    Foreign,
    Expired,
}

fn collateral_faults() -> Vec<(&'static str, Part, pcs::Fault)> {
    use pcs::Fault::{Huge, Reordered, RetryAfter, Silent, Status};
    vec![
        ("400", Part::TcbInfo, Status(400)),
        ("401", Part::TcbInfo, Status(401)),
        ("404, an unknown platform", Part::TcbInfo, Status(404)),
        ("429", Part::TcbInfo, RetryAfter(429, 30)),
        ("503", Part::QeIdentity, Status(503)),
        ("no answer", Part::PckCrl, Silent),
        ("no list of the root", Part::RootCrl, Status(404)),
        ("another order of fields", Part::TcbInfo, Reordered),
        ("too much", Part::TcbInfo, Huge(1024 * 1024)),
    ]
}

type Prepare = fn(&Authority);

fn authority_faults() -> Vec<(&'static str, Prepare)> {
    fn answers(authority: &Authority, status: u16, body: &str) {
        authority.always(Kind::Attest, Some(Fault::Status(status, body.into())));
    }
    vec![
        ("400", |of| {
            answers(of, 400, r#"{"error":"Failed to verify quote"}"#);
        }),
        ("401", |of| answers(of, 401, "")),
        ("429", |of| {
            of.always(Kind::Attest, Some(Fault::RetryAfter(429, 30)));
        }),
        ("503", |of| answers(of, 503, "")),
        ("no answer", |of| {
            let fault = Fault::Slow(Duration::from_secs(60));
            of.always(Kind::Attest, Some(fault));
        }),
        ("503 for a nonce", |of| {
            of.always(Kind::Nonce, Some(Fault::Status(503, String::new())));
        }),
        ("503 for its keys", |of| {
            of.always(Kind::Keys, Some(Fault::Status(503, String::new())));
        }),
        ("an unknown key", |of| of.signs_with(Signer::Second)),
        ("the wrong key", |of| of.signs_with(Signer::Impostor)),
        ("an expired token", |of| {
            of.says(Claim::Top("exp", json!(1)))
        }),
        ("claims of the other version", |of| {
            of.says(Claim::Misplaced)
        }),
        ("nothing wrong", |_| {}),
    ]
}

async fn collateral(what: &str, faults: &[(Part, pcs::Fault)], serves: Serves) -> String {
    let pcs = Pcs::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place::judged(&json!({}), |source, metrics| {
        let root = TrustRoot::simulated(source.platform.root_key_id()).expect("not Intel's");
        let counted = metrics.clone();
        let client = PcsClient::with_deadline(folder.path(), root, DEADLINE).expect("a client");
        let client = client
            .watched(move |fetch| counted.collateral_fetched(fetch))
            .build();
        client.asks(&[pcs.base()]);
        let sources = Sources {
            simulated: Arc::new(client),
            intel: Arc::new(NoCollateral("not in this place")),
        };
        Judge::new(sources, Arc::new(NoAuthority), metrics)
    });
    let agent = place.agent().await;
    let evidence = place.evidence(&agent, &"00".repeat(32));
    let facts = PlatformFacts::of(&evidence).expect("facts");
    let now = easyenclave::clock::Clock::now(&*place.clock);
    let served = match serves {
        Serves::Good => place.source.platform.collateral(now),
        Serves::Foreign => testing::platform(now).expect("a platform").collateral(now),
        Serves::Expired => testing::expired_collateral(&place.source.platform, now),
    };
    pcs.serves(facts, &served.expect("collateral"));
    for (part, fault) in faults {
        pcs.always(*part, Some(fault.clone()));
    }
    let told = place.join(&agent).await;
    let row = row(&place, PCS, what, &told).await;
    row.replace(&pcs.base(), "URL")
}

async fn authority(what: &str, version: ItaVersion, prepare: Prepare) -> String {
    let clock = crate::place::SetClock::default();
    let authority = Authority::start(easyenclave::clock::Clock::now(&clock)).await;
    let settings = authority.settings(version, SigningAlgorithm::PS384);
    let ita = serde_json::to_value(&settings).expect("plain data");
    let verifiers = json!({"verifiers": {"dcap": {}, "ita": ita}});
    let place = Place::judged(&verifiers, |source, metrics| {
        let key = Secret::new(API_KEY.to_owned());
        let client = ItaClient::with_deadline(Some(&key), DEADLINE).expect("a client");
        let sources = Sources {
            simulated: Arc::clone(source) as Arc<_>,
            intel: Arc::new(NoCollateral("not in this place")),
        };
        Judge::new(
            sources,
            Arc::new(client) as Arc<dyn TrustAuthority>,
            metrics,
        )
    });
    prepare(&authority);
    let told = join(&place).await;
    let service = match version {
        ItaVersion::V1 => format!("{ITA} v1"),
        ItaVersion::V2 => format!("{ITA} v2"),
    };
    let row = row(&place, &service, what, &told).await;
    row.replace(&settings.api_url, "URL")
}

/// What an honest agent does that was asked to bind a Trust Authority's nonce.
async fn join(place: &Place) -> Result<Verdict, Rejection> {
    let agent = place.agent().await;
    let policy = Policy::new(&place.spec(), &name("tiny")).expect("a policy");
    let challenge = trust::issue(&place.world, Some(&agent.order), Some(&policy)).await?;
    let nonce = challenge.ita.expect("the policy wants one").nonce;
    let data = ita_report_data(&nonce, agent.key.public().as_bytes()).expect("a nonce");
    let quote = place.source.platform.guest().quote(data, &agent.body);
    let quote = QuoteBytes::new(quote.expect("a quote")).expect("short enough");
    let mut request = place.request(&agent, &challenge.nonce, Evidence::of_quote(quote));
    request.ita_nonce = Some(nonce);
    place.register(request).await
}

async fn row(
    place: &Place,
    service: &str,
    what: &str,
    told: &Result<Verdict, Rejection>,
) -> String {
    let told = match told {
        Ok(_) => "accepted".into(),
        Err(rejection) => steady(&rejection.to_string()),
    };
    let (said, counted) = (said(place).await, counted(place));
    format!("| {service} | {what} | {told} | {said} | {counted} |")
}

/// Numbers of calls are different each time.
fn steady(text: &str) -> String {
    let cut = text.split(" (request-id").next().unwrap_or_default();
    cut.to_owned()
}

/// The fleet's condition as a pass would write it.
async fn said(place: &Place) -> String {
    let now = easyenclave::clock::Clock::now(&*place.clock);
    let revision = place.world.revision().expect("a revision");
    let report = pass(&place.world, revision, now).await.expect("a pass");
    let notes = Notes {
        verifying: trust::trouble(&place.world.judge, &report.revision, now),
        ..Notes::default()
    };
    let records = place.world.journal.read();
    let status = status(&report, &records, &place.world.presence, &notes, None);
    let mut conditions = status.fleet.conditions.iter();
    let condition = conditions.find(|one| one.kind == ConditionType::Verifiable);
    let condition = condition.expect("there always is one");
    match condition.status {
        ConditionStatus::True => condition.reason.clone(),
        _ => format!("{}: {}", condition.reason, condition.message),
    }
}

fn counted(place: &Place) -> String {
    let text = place.world.metrics.text();
    let names = [
        "reject_total",
        "fetch_total",
        "call_total",
        "jwks",
        "accept_total",
    ];
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let counted: BTreeMap<_, _> = lines
        .filter(|line| names.iter().any(|name| line.contains(name)))
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(name, _)| !name.contains("success"))
        .collect();
    let counted: Vec<_> = counted
        .into_keys()
        .map(|name| format!("`{name}`"))
        .collect();
    counted.join(" ")
}

//! The log and the register of a guest whose kernel is a real file system, judged by the real verifier.

use easyenclave_schemas::Timestamp;
use easyenclave_schemas::evidence::{Evidence, ReasonCode, Rejection, Verdict};
use easyenclave_tests::given;

use super::*;
use crate::collect::{collect, report_data};
use crate::simulated::{Platform, TdBody};
use crate::testing::machine::{TestMachine, can_mount};
use crate::testing::{self, judge, reference};
use crate::{Binding, Policy};

const NONCE: [u8; 32] = [1; 32];
const KEY: [u8; 32] = [2; 32];

struct Bench {
    machine: TestMachine,
    guest: TdxGuest,
    platform: Platform,
    now: Timestamp,
}

impl Bench {
    fn new() -> Option<Self> {
        given("file systems of our own", "see tests/setup", can_mount())?;
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().expect("a time");
        let folder = tempfile::tempdir().expect("a folder");
        let platform = Platform::open_or_create(folder.path(), now).expect("a platform");
        let part = crate::simulated::Guest::open(&Platform::guest_dir(folder.path()));
        let body = TdBody::of_image("tiny");
        let machine = TestMachine::mount(part.expect("a guest"), body).expect("mounted");
        let guest = TdxGuest::new(machine.machine(), Patience::default());
        Some(Self {
            machine,
            guest,
            platform,
            now,
        })
    }

    fn evidence(&self) -> Evidence {
        let mut evidence = collect(&self.guest, &NONCE, &KEY).expect("evidence");
        let log = self.guest.event_log(evidence.quote.as_bytes());
        evidence.event_log = log.expect("a log or none");
        evidence
    }

    /// What the verifier says where the policy wants this workload to have been measured, if any.
    fn judged(&self, evidence: &Evidence, wanted: Option<&Digest>) -> Result<Verdict, Rejection> {
        let body = TdBody::of_image("tiny");
        let mut wants = reference("the image", body.mrtd);
        let event = |workload| (REGISTER, MeasurementDigest::new(workload_digest(workload)));
        wants.events = wanted.map(event).into_iter().collect();
        let policy = Policy {
            references: vec![wants],
            ..testing::policy(&self.platform, &body)
        };
        let binding = Binding {
            nonce: NONCE,
            ita: None,
            public_key: KEY,
        };
        let collateral = self.platform.collateral(self.now).expect("collateral");
        judge(evidence, &binding, &collateral, &policy, self.now)
    }

    fn texts(evidence: &Evidence) -> Vec<String> {
        let log = evidence.event_log.as_ref().expect("a log").as_bytes();
        let log = EventLog::parse(log).expect("a log");
        let own = log.events().filter(|event| event.rtmr == Some(REGISTER));
        own.map(crate::Event::words).collect()
    }
}

#[test]
fn the_log_is_sent_without_its_tail_and_replays_to_the_quote() {
    let Some(bench) = Bench::new() else { return };
    let evidence = bench.evidence();
    let log = evidence.event_log.as_ref().expect("a log").as_bytes();
    assert!(log.len() < 1000, "{} bytes", log.len());
    assert_eq!(EventLog::parse(log).expect("a log").used(), log.len());
    bench.judged(&evidence, None).expect("accepted");
    assert!(Bench::texts(&evidence).is_empty());
}

#[test]
fn a_workload_is_measured_once_and_the_log_explains_the_register() {
    let Some(bench) = Bench::new() else { return };
    let (web, database) = (Digest::of(b"web"), Digest::of(b"database"));
    for workload in [&web, &database, &web] {
        bench.guest.measure(workload).expect("extended");
    }
    let evidence = bench.evidence();
    let text = |digest: &Digest| format!("text: easyenclave workload {digest}");
    assert_eq!(Bench::texts(&evidence), [text(&web), text(&database)]);
    bench.judged(&evidence, Some(&web)).expect("accepted");
    bench.judged(&evidence, Some(&database)).expect("accepted");
    let other = bench.judged(&evidence, Some(&Digest::of(b"other")));
    let refused = other.expect_err("never measured");
    assert_eq!(refused.code, ReasonCode::RtmrMismatch);
}

#[test]
fn a_quote_from_before_a_workload_gets_the_log_of_its_own_time() {
    let Some(bench) = Bench::new() else { return };
    bench.guest.measure(&Digest::of(b"web")).expect("extended");
    let mut early = collect(&bench.guest, &NONCE, &KEY).expect("evidence");
    bench.guest.measure(&Digest::of(b"new")).expect("extended");
    let log = bench.guest.event_log(early.quote.as_bytes());
    early.event_log = log.expect("a log");
    assert_eq!(Bench::texts(&early).len(), 1);
    bench.judged(&early, None).expect("accepted");
}

#[test]
fn what_others_measure_is_not_explained_and_takes_no_trust() {
    let Some(bench) = Bench::new() else { return };
    let web = Digest::of(b"web");
    bench.machine.extend(REGISTER, [9; 48]);
    bench.guest.measure(&web).expect("extended");
    let evidence = bench.evidence();
    assert!(Bench::texts(&evidence).is_empty());
    bench.judged(&evidence, None).expect("accepted");
    let refused = bench.judged(&evidence, Some(&web)).expect_err("not shown");
    assert_eq!(refused.code, ReasonCode::RtmrMismatch);
}

#[test]
fn a_kernel_that_does_not_extend_says_so_and_measures_nothing() {
    let Some(bench) = Bench::new() else { return };
    bench.machine.extends(false);
    let error = bench
        .guest
        .measure(&Digest::of(b"web"))
        .expect_err("no file");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(bench.machine.register(REGISTER).as_bytes(), &[0; 48]);
    bench.judged(&bench.evidence(), None).expect("accepted");
}

#[test]
fn a_log_that_cannot_be_sent_is_named() {
    let Some(bench) = Bench::new() else { return };
    let quote = bench
        .guest
        .quote(report_data(&NONCE, &KEY))
        .expect("a quote");
    let log = |bytes: Option<Vec<u8>>| {
        bench.machine.log(bytes);
        bench.guest.event_log(&quote)
    };
    assert!(log(None).expect("none is fine").is_none());
    assert!(matches!(log(Some(vec![0xFF; 4096])), Err(LogError::Log(_))));
    let mut long = crate::event_log::opening();
    while long.len() <= EventLogBytes::MAX {
        long.extend(text_record(0, &[1; 48], &"a".repeat(8000)));
    }
    assert!(matches!(log(Some(long)), Err(LogError::Long(_))));
    let endless = log(Some(vec![0; AREA + 1])).expect_err("too long");
    assert!(matches!(endless, LogError::Read(_)), "{endless}");
}

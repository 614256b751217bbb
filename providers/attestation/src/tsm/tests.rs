//! Every failure of the report interface, by real system calls on a real file system.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use easyenclave_schemas::Timestamp;
use easyenclave_tests::given;

use super::*;
use crate::collect::{collect, report_data};
use crate::simulated::TdBody;
use crate::testing;
use crate::testing::machine::{Fault, TestMachine, can_mount};

const EPERM: i32 = 1;
const EINTR: i32 = 4;
const EIO: i32 = 5;
const ENXIO: i32 = 6;
const EACCES: i32 = 13;
const EBUSY: i32 = 16;
const EINVAL: i32 = 22;
const ENOTTY: i32 = 25;
const EFBIG: i32 = 27;
const EROFS: i32 = 30;
const ETIMEDOUT: i32 = 110;

const DATA: [u8; 64] = [7; 64];

/// No pauses: what is waited for here is an answer, never a time.
const AT_ONCE: Patience = Patience {
    deadline: Duration::from_secs(60),
    attempts: 3,
    pause: Duration::ZERO,
};

/// A guest's kernel, where file systems can be mounted.
fn machine() -> Option<TestMachine> {
    given("file systems of our own", "see tests/setup", can_mount())?;
    let now: Timestamp = "2026-01-31T12:00:00Z".parse().expect("a time");
    let guest = testing::platform(now).expect("a platform").into_guest();
    Some(TestMachine::mount(guest, TdBody::of_image("tiny")).expect("mounted"))
}

fn source(machine: &TestMachine) -> TsmSource {
    TsmSource::new(machine.machine(), AT_ONCE)
}

/// What a request comes to when this goes wrong with each attempt, and how many attempts there were.
fn failing(machine: &TestMachine, fault: Fault) -> (String, usize) {
    let before = machine.names().len();
    machine.fail([fault; 3]);
    let error = source(machine).request(&DATA).expect_err("it fails");
    machine.forget_faults();
    assert_eq!(machine.requests(), 0, "{error} leaves nothing behind");
    let message = error.to_string();
    let (cause, next) = message.split_once("; ").expect("a cause and a next step");
    assert!(cause.starts_with("configfs-tsm: ") && !next.is_empty());
    (
        cause["configfs-tsm: ".len()..].to_owned(),
        machine.names().len() - before,
    )
}

#[test]
fn a_write_triggers_a_new_quote_over_it() {
    let Some(machine) = machine() else { return };
    let source = source(&machine);
    let quote = |data: [u8; 64]| source.quote(data).expect("a quote");
    let (one, other) = (quote([1; 64]), quote([2; 64]));
    for (quote, data) in [(&one, [1; 64]), (&other, [2; 64])] {
        let view = QuoteView::parse(quote).expect("a quote");
        assert_eq!(view.report_data(), data);
        assert_eq!(view.bytes(), quote, "nothing behind it");
    }
    assert_ne!(one, other);
    let names = machine.names();
    assert_eq!(names.len(), 2);
    assert_ne!(names[0], names[1]);
    let own = format!("easyenclave-{}-", std::process::id());
    assert!(names.iter().all(|name| name.starts_with(&own)), "{names:?}");
    assert_eq!(machine.requests(), 0);
}

#[test]
fn two_writes_to_one_request_give_two_quotes_and_two_generations() {
    let Some(machine) = machine() else { return };
    let mut entry = Entry::make(&machine.machine().reports()).expect("made");
    let first = entry.quote(&[1; 64]).expect("a quote");
    let second = entry.quote(&[2; 64]).expect("a quote");
    let data = |quote: &[u8]| {
        QuoteView::parse(quote)
            .expect("a quote")
            .report_data()
            .to_vec()
    };
    assert_eq!((data(&first), data(&second)), (vec![1; 64], vec![2; 64]));
    let generation = std::fs::read_to_string(
        machine
            .machine()
            .reports()
            .join(&machine.names()[0])
            .join("generation"),
    );
    assert_eq!(generation.expect("read"), "2\n");
    assert_eq!(machine.requests(), 1);
    drop(entry);
    assert_eq!(machine.requests(), 0);
}

#[test]
fn each_error_of_the_kernel_has_its_own_words() {
    let Some(machine) = machine() else { return };
    let once = [
        (Fault::Make(ENXIO), "no provider makes quotes"),
        (Fault::Make(EPERM), "making a request is not permitted"),
        (Fault::Make(EACCES), "making a request is not permitted"),
        (Fault::Make(EROFS), "making a request failed"),
        (
            Fault::Write(EPERM),
            "writing the report data is not permitted",
        ),
        (
            Fault::Write(EFBIG),
            "the kernel refuses report data of 64 bytes",
        ),
        (
            Fault::Read(EINVAL),
            "the kernel refuses report data of 64 bytes",
        ),
        (Fault::Read(ETIMEDOUT), "the host has not answered in time"),
        (Fault::Read(EIO), "the host refused the request"),
        (Fault::Read(ENOTTY), "the provider went away"),
        (Fault::Read(ENXIO), "the provider went away"),
        (Fault::Read(EFBIG), "the quote is too long"),
        (Fault::Padded(200_000), "the quote is too long"),
        (Fault::Empty, "the quote is empty"),
        (Fault::Zeros, "the quote is empty"),
    ];
    for (fault, words) in once {
        assert_eq!(
            failing(&machine, fault),
            (words.into(), usize::from(!matches!(fault, Fault::Make(_)))),
            "{fault:?}"
        );
    }
    // These may pass, so they are tried as often as patience allows.
    let again = [
        (
            Fault::Write(EBUSY),
            "an earlier request is still with the host",
        ),
        (
            Fault::Read(EBUSY),
            "an earlier request is still with the host",
        ),
        (
            Fault::Read(EINTR),
            "reading the quote was interrupted again and again",
        ),
        (
            Fault::Race,
            "somebody else wrote to the request, 3 times in a row",
        ),
    ];
    for (fault, words) in again {
        assert_eq!(failing(&machine, fault), (words.into(), 3), "{fault:?}");
    }
}

#[test]
fn what_passes_is_outlived() {
    let Some(machine) = machine() else { return };
    for fault in [Fault::Read(EBUSY), Fault::Race, Fault::Read(EINTR)] {
        machine.fail([fault, fault]);
        let quote = source(&machine).quote(DATA).expect("the third attempt");
        let view = QuoteView::parse(&quote).expect("a quote");
        assert_eq!(view.report_data(), DATA, "ours, whoever else wrote");
    }
    assert_eq!(machine.names().len(), 9);
    assert_eq!(machine.requests(), 0);
}

#[test]
fn sixty_three_and_sixty_five_bytes_are_refused_by_the_kernel_and_named() {
    let Some(machine) = machine() else { return };
    for length in [0, 1, 63, 65, 128] {
        let error = source(&machine)
            .request(&vec![7; length])
            .expect_err("refused");
        assert!(
            matches!(error, TsmError::Input { length: named } if named == length),
            "{length}: {error}"
        );
    }
    assert_eq!(machine.requests(), 0);
}

#[test]
fn a_machine_without_the_interface_says_what_to_mount() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = TsmSource::new(Machine::at(folder.path()), AT_ONCE);
    let error = source.request(&DATA).expect_err("not there").to_string();
    assert!(
        error.contains("tsm/report does not exist; mount configfs on"),
        "{error}"
    );
}

#[test]
fn another_providers_quotes_are_not_asked_for() {
    let Some(machine) = machine() else { return };
    machine.provide(Some("sev_guest"));
    let error = source(&machine)
        .request(&DATA)
        .expect_err("another's")
        .to_string();
    assert!(
        error.contains("the provider is sev_guest, not tdx_guest; run the agent in"),
        "{error}"
    );
    machine.provide(Some("\u{1b}[31m"));
    let error = source(&machine)
        .request(&DATA)
        .expect_err("nobody's")
        .to_string();
    assert!(error.contains("the provider is 31m,"), "{error}");
    machine.provide(Some(""));
    let error = source(&machine)
        .request(&DATA)
        .expect_err("nobody's")
        .to_string();
    assert!(
        error.contains("reading the provider gave something unreadable"),
        "{error}"
    );
    machine.provide(None);
    let error = source(&machine)
        .request(&DATA)
        .expect_err("nobody")
        .to_string();
    assert!(error.contains("no provider makes quotes"), "{error}");
    assert_eq!(machine.requests(), 0);
}

#[test]
fn padding_is_left_out_of_the_evidence() {
    let Some(machine) = machine() else { return };
    machine.fail([Fault::Padded(3000)]);
    let evidence = collect(&source(&machine), &[1; 32], &[2; 32]).expect("evidence");
    let view = QuoteView::parse(evidence.quote.as_bytes()).expect("a quote");
    assert_eq!(view.report_data(), report_data(&[1; 32], &[2; 32]));
    assert_eq!(view.bytes(), evidence.quote.as_bytes());
}

#[test]
fn an_answer_that_does_not_come_holds_nobody_longer_than_the_deadline() {
    let Some(machine) = machine() else { return };
    let short = Patience {
        // Longer than the request takes to come to where it hangs.
        deadline: Duration::from_secs(2),
        ..AT_ONCE
    };
    let source = TsmSource::new(machine.machine(), short);
    machine.fail([Fault::Hang]);
    let error = source.request(&DATA).expect_err("it hangs");
    assert!(matches!(error, TsmError::Deadline { .. }), "{error}");
    assert_eq!((machine.requests(), machine.parked()), (1, 1));
    let error = source.request(&DATA).expect_err("it still hangs");
    assert!(matches!(error, TsmError::StillUnderWay), "{error}");
    assert_eq!(machine.names().len(), 1, "the kernel was not asked again");
    machine.release(ETIMEDOUT);
    let patient = TsmSource {
        patience: AT_ONCE,
        ..source
    };
    patient.request(&DATA).expect("the late one has made room");
    assert_eq!(machine.requests(), 0, "the late one has cleaned up");
}

#[test]
fn requests_wait_for_each_other() {
    let Some(machine) = machine() else { return };
    let source = Arc::new(source(&machine));
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let source = Arc::clone(&source);
            thread::spawn(move || source.quote([number; 64]).expect("a quote"))
        })
        .collect();
    for (number, thread) in (0..8).zip(threads) {
        let quote = thread.join().expect("no panic");
        let view = QuoteView::parse(&quote).expect("a quote");
        assert_eq!(view.report_data(), [number; 64]);
    }
    assert_eq!((machine.requests(), machine.names().len()), (0, 8));
    assert_eq!(
        machine.most_requests(),
        1,
        "the kernel serves one at a time"
    );
}

#[test]
fn a_provider_of_quotes_stops_the_simulation() {
    use crate::simulated::{SimulatedError, refuse_beside};
    let Some(machine) = machine() else { return };
    let refused = || refuse_beside(&machine.machine());
    assert!(matches!(
        refused(),
        Err(SimulatedError::RealHardware { .. })
    ));
    machine.device(false);
    for name in ["tdx_guest", "sev_guest"] {
        machine.provide(Some(name));
        let error = refused().expect_err("refused").to_string();
        assert!(
            error.contains(&format!("provider {name}: the simulated")),
            "{error}"
        );
    }
    machine.fail([Fault::Make(EIO)]);
    assert!(matches!(refused(), Err(SimulatedError::Untold { .. })));
    machine.fail([Fault::Make(EPERM)]);
    refused().expect("who may not ask goes by the devices");
    machine.provide(None);
    refused().expect("nothing real is here");
    assert_eq!(machine.requests(), 0);
}

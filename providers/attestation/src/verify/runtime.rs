//! Runtime measurements: registers against their references, and the event log against the registers. The log
//! is believed only when its replay gives what the verified quote holds.

use easyenclave_schemas::documents::Enforcement;
use easyenclave_schemas::evidence::{MeasurementDigest, ReasonCode, Rejection, Warning};

use super::facts::Body;
use super::policy::{Policy, Reference};
use crate::event_log::EventLog;

/// The name of the reference that fits.
pub(super) fn judge(
    body: &Body,
    log: Result<Option<EventLog>, Rejection>,
    references: &[&Reference],
    policy: &Policy,
    warnings: &mut Vec<Warning>,
) -> Result<String, Rejection> {
    let first = || {
        references
            .first()
            .map_or_else(String::new, |one| one.name.clone())
    };
    let mut let_pass = |message: String| {
        warnings.push(Warning {
            code: ReasonCode::RtmrWarning,
            message,
        });
        Ok(first())
    };
    if policy.modes.rtmr == Enforcement::Disabled {
        return let_pass("runtime measurements were not judged".into());
    }
    match fitting(body, log, references) {
        Ok(name) => Ok(name),
        Err(rejection) if policy.modes.rtmr == Enforcement::Warn => let_pass(rejection.message),
        Err(rejection) => Err(rejection),
    }
}

fn fitting(
    body: &Body,
    log: Result<Option<EventLog>, Rejection>,
    references: &[&Reference],
) -> Result<String, Rejection> {
    let log = log?;
    if let Some(log) = &log {
        replays(body, log)?;
    }
    let mut difference = None;
    for reference in references {
        match differs(body, log.as_ref(), reference) {
            None => return Ok(reference.name.clone()),
            Some(message) => difference = difference.or(Some(message)),
        }
    }
    let message = difference.unwrap_or_default();
    Err(Rejection::new(ReasonCode::RtmrMismatch, message))
}

/// Registers 0 to 2 are complete before the guest runs; register 3 grows later, so it is compared only
/// when the log speaks of it.
fn replays(body: &Body, log: &EventLog) -> Result<(), Rejection> {
    let replayed = log.replay();
    let differing = (0..4).find(|&index| {
        let spoken_of = index < 3 || log.events().any(|event| event.rtmr == Some(3));
        spoken_of && replayed[index] != body.rtmrs[index]
    });
    match differing {
        None => Ok(()),
        Some(index) => Err(Rejection::new(
            ReasonCode::EventLogMismatch,
            format!(
                "the event log replays RTMR{index} to {}, and the quote has {}",
                replayed[index], body.rtmrs[index]
            ),
        )),
    }
}

fn differs(body: &Body, log: Option<&EventLog>, reference: &Reference) -> Option<String> {
    let register = reference
        .rtmrs
        .iter()
        .zip(&body.rtmrs)
        .position(|(wanted, found)| wanted.is_some_and(|wanted| wanted != *found));
    if let Some(index) = register {
        return Some(format!(
            "RTMR{index} is {}, and the measurement {} has another value",
            body.rtmrs[index], reference.name
        ));
    }
    let missing = |(rtmr, digest): &&(usize, MeasurementDigest)| {
        !log.is_some_and(|log| holds(log, *rtmr, digest))
    };
    let (rtmr, digest) = reference.events.iter().find(missing)?;
    Some(match log {
        None => format!(
            "the measurement {} asks for an event log, and none was sent",
            reference.name
        ),
        Some(_) => format!("no event of RTMR{rtmr} has the digest {digest}"),
    })
}

fn holds(log: &EventLog, rtmr: usize, digest: &MeasurementDigest) -> bool {
    log.events()
        .any(|event| event.rtmr == Some(rtmr) && event.digest == *digest)
}

//! `easyenclave why NAME`: why something is not moving, in the words of the plan.

use std::collections::BTreeSet;

use easyenclave_schemas::decode::did_you_mean;
use easyenclave_schemas::evidence::ReasonCode;
use easyenclave_schemas::status::{
    CapacityStatus, Condition, ConditionStatus, ConditionType, DeploymentStatus, ReservationStatus,
    WaitStatus,
};
use easyenclave_schemas::wire::WorkloadState;
use serde::Serialize;

use super::hint::Hints;
use super::style::{BAD, GOOD, HEAD, paint};
use super::{Ended, Output, exit, held, launch, out, read};
use crate::clock::{Clock, System};
use crate::report::Status;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A deployment or reservation (owner/name or name), agent, order, target, document's file or held plan's digest
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    from: read::From,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// One thing by that name, and all that is known of why it does not move.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    kind: &'static str,
    name: String,
    phase: String,
    conditions: Vec<Condition>,
    waits: Vec<WaitStatus>,
    /// Held plans and problems that name it, and what agents say of its replicas.
    notes: Vec<String>,
}

pub(super) async fn run(args: Args) -> Ended {
    let read::Shown { status, seen } = args.from.status().await?;
    let hints = args.from.hints();
    let answers = answers(&status, &args.name, &hints);
    if answers.is_empty() && args.output == Output::Text {
        anyhow::bail!(unnamed(&status, &args.name, &hints));
    }
    let now = System.now();
    match args.output {
        Output::Json => {
            out::data(&(serde_json::to_string_pretty(&answers)? + "\n"))?;
            if let Some(doubt) = seen.doubt(&status, now) {
                out::tell(doubt);
            }
        }
        Output::Text => {
            let origin = seen.lines(&status, now).join("\n") + "\n";
            out::answer(origin + &answers.iter().map(text).collect::<String>())?;
        }
    }
    if answers.is_empty() {
        anyhow::bail!(unnamed(&status, &args.name, &hints));
    }
    Ok(exit::OK)
}

/// Why there is no answer, with the name that was probably meant.
fn unnamed(status: &Status, name: &str, hints: &Hints) -> String {
    let meant = near(status, name).map(|near| format!("; did you mean `{near}`?"));
    let all = hints.line("status");
    format!(
        "nothing is named {name}{}\n  `{all}` shows all names",
        meant.unwrap_or_default()
    )
}

/// A name of the status that is nearly this one, or goes on from it.
fn near(status: &Status, name: &str) -> Option<String> {
    let mut names: Vec<String> = Vec::new();
    for id in status.deployments.keys() {
        names.extend([id.to_string(), id.name.to_string()]);
    }
    for target in status.capacity.values() {
        names.push(target.target.to_string());
        let reservations = target.reservations.iter();
        names.extend(reservations.map(|one| one.reservation.to_string()));
    }
    names.extend(status.agents.keys().map(ToString::to_string));
    names.extend(status.orders.keys().map(ToString::to_string));
    let goes_on = |one: &&String| !name.is_empty() && one.starts_with(name);
    let longer = names.iter().find(goes_on).map(String::as_str);
    let nearest = || did_you_mean(name, names.iter().map(String::as_str));
    longer.or_else(nearest).map(str::to_owned)
}

fn answers(status: &Status, name: &str, hints: &Hints) -> Vec<Answer> {
    let mut answers = things(status, name);
    for answer in &mut answers {
        answer.notes.extend(held(status, &answer.name, hints));
    }
    if answers.is_empty() {
        answers.extend(plan(status, name, hints));
    }
    answers
}

fn things(status: &Status, name: &str) -> Vec<Answer> {
    let mut answers = deployments(status, name);
    let agents = status.agents.iter().filter(|(id, _)| id.as_str() == name);
    answers.extend(agents.map(|(id, thing)| {
        let phase = format!("{:?}", thing.phase).to_lowercase();
        answer(
            status,
            "agent",
            id.to_string(),
            phase,
            &thing.conditions,
            &thing.waits,
        )
    }));
    answers.extend(reservations(status, name));
    let targets = status.capacity.iter().filter(|(id, _)| id.as_str() == name);
    answers.extend(targets.map(|(id, thing)| {
        let (name, phase) = (id.to_string(), thing.phase.clone());
        let (conditions, waits) = (&thing.conditions, &thing.waits);
        let mut answer = answer(status, "target", name, phase, conditions, waits);
        answer.notes.extend(launch::target(status, id));
        answer
    }));
    let orders = status.orders.iter().filter(|(id, _)| id.as_str() == name);
    answers.extend(orders.map(|(id, thing)| {
        let (name, phase) = (id.to_string(), thing.phase.clone());
        let (conditions, waits) = (&thing.conditions, &thing.waits);
        let mut answer = answer(status, "order", name, phase, conditions, waits);
        answer.notes.extend(launch::notes(thing));
        answer
    }));
    if answers.is_empty() {
        answers.extend(unmade(status, name));
    }
    answers
}

/// What never became a thing: a document that is rejected, a caller that is refused.
fn unmade(status: &Status, name: &str) -> Option<Answer> {
    let mut problems = status.problems.iter();
    let mut refusals = status.fleet.refusals.iter();
    let (kind, phase) = if problems.any(|problem| is_of(&problem.file, name)) {
        ("document", "rejected")
    } else if refusals.any(|refusal| refusal.subject == name) {
        ("caller", "refused")
    } else {
        return None;
    };
    Some(answer(status, kind, name.into(), phase.into(), &[], &[]))
}

/// A deployment waits for what its replicas' agents wait for, too.
fn deployments(status: &Status, name: &str) -> Vec<Answer> {
    let named = status
        .deployments
        .iter()
        .filter(|(id, _)| id.to_string() == name || id.name.as_str() == name);
    named
        .map(|(id, thing)| {
            let agents = thing
                .replicas
                .iter()
                .filter_map(|one| status.agents.get(&one.agent));
            let mut waits = thing.waits.clone();
            waits.extend(agents.flat_map(|agent| agent.waits.iter().cloned()));
            let mut alike = BTreeSet::new();
            waits.retain(|wait| alike.insert((wait.reason.clone(), wait.message.clone())));
            let phase = format!("{:?}", thing.phase).to_lowercase();
            let mut answer = answer(
                status,
                "deployment",
                id.to_string(),
                phase,
                &thing.conditions,
                &waits,
            );
            answer.notes.extend(complaints(status, thing));
            answer
        })
        .collect()
}

fn reservations(status: &Status, name: &str) -> Vec<Answer> {
    let all = status.capacity.values().flat_map(|target| {
        let on_target = move |one| (target, one);
        target.reservations.iter().map(on_target)
    });
    let named = all.filter(|(_, one)| {
        let id = &one.reservation;
        id.to_string() == name || id.name.as_str() == name
    });
    named
        .map(|(target, one)| {
            let id = one.reservation.to_string();
            let phase = reserved(target, one);
            answer(status, "reservation", id, phase, &[], &one.waits)
        })
        .collect()
}

/// Whether a target has as many agents for a reservation as it asks for.
pub(super) fn reserved(target: &CapacityStatus, one: &ReservationStatus) -> String {
    let lacks = |wait: &WaitStatus| wait.reason != "ReservationEnds";
    let word = match one.waits.iter().any(lacks) {
        true => "short",
        false => "kept",
    };
    format!("{word}: {} on {}", one.count, target.target)
}

/// What agents say of replicas that are not ready: why a program does not start, or its probe fails.
pub(super) fn complaints(status: &Status, thing: &DeploymentStatus) -> Vec<String> {
    let replicas = thing
        .replicas
        .iter()
        .filter_map(|one| Some((&one.agent, status.agents.get(&one.agent)?.replica.as_ref()?)));
    replicas
        .filter(|(_, replica)| replica.state != WorkloadState::Ready && !replica.message.is_empty())
        .map(|(agent, replica)| format!("on {agent}: {}", replica.message))
        .collect()
}

fn answer(
    status: &Status,
    kind: &'static str,
    name: String,
    phase: String,
    conditions: &[Condition],
    waits: &[WaitStatus],
) -> Answer {
    let notes = notes(status, &name);
    Answer {
        kind,
        name,
        phase,
        conditions: conditions.to_vec(),
        waits: waits.to_vec(),
        notes,
    }
}

/// Held plans that name it, each with what it removes: to approve one is to approve all of it.
fn held(status: &Status, name: &str, hints: &Hints) -> Vec<String> {
    let is_named = |action: &String| held::names(action, name);
    let held = status.fleet.held.iter();
    let held = held.filter(|held| held.actions.iter().any(is_named));
    held.flat_map(|held| {
        let approve = held::approve(held, hints);
        let head = format!("{}; approve with `{approve}`", held.reason);
        std::iter::once(head).chain(held::some(held, Some(name), hints))
    })
    .map(|line| format!("held: {line}"))
    .collect()
}

/// The held plan whose digest begins so, whole.
fn plan(status: &Status, digits: &str, hints: &Hints) -> Option<Answer> {
    let held = held::chosen(&status.fleet.held, digits).ok()?;
    let approve = held::approve(held, hints);
    let mut notes = vec![format!("{}; approve with `{approve}`", held.reason)];
    notes.extend(held::removals(held, usize::MAX, None));
    Some(Answer {
        kind: "plan",
        name: held.digest.to_string(),
        phase: "held".into(),
        conditions: Vec::new(),
        waits: Vec::new(),
        notes,
    })
}

/// Problems of its document, requests of it that were refused, what to do about its evidence, what verification lacks.
fn notes(status: &Status, name: &str) -> Vec<String> {
    let problems = status
        .problems
        .iter()
        .filter(|problem| is_of(&problem.file, name));
    let problems = problems.map(|problem| {
        let place = format!("{}:{}:{}", problem.file, problem.line, problem.column);
        format!(
            "problem: {place}: {}; {}",
            problem.message, problem.consequence
        )
    });
    let refusals = status.fleet.refusals.iter();
    let refusals = refusals.filter(|refusal| refusal.subject == name);
    let refusals = refusals.map(|refusal| {
        let (code, at) = (&refusal.code, refusal.first_at);
        format!("refused: {code}: {} (first at {at})", refusal.message)
    });
    problems
        .chain(refusals)
        .chain(remedies(status, name))
        .chain(lacking(status))
        .collect()
}

/// What to do about each code that an agent's evidence or requests were refused or let pass with.
fn remedies(status: &Status, name: &str) -> Vec<String> {
    let agents = status.agents.values();
    let agent = agents.filter(|agent| agent.agent.as_str() == name);
    let refusals = status.fleet.refusals.iter();
    let refused = refusals.filter(|refusal| refusal.subject == name);
    let codes = agent.flat_map(|agent| &agent.trust.codes);
    let codes = codes.chain(refused.map(|refusal| &refusal.code));
    let codes: BTreeSet<_> = codes
        .filter_map(|code| ReasonCode::from_code(code))
        .collect();
    codes
        .into_iter()
        .map(|code| format!("{code}, {}: {}", code.cause(), code.next_step()))
        .collect()
}

/// What verification lacks is nobody's own fault, and may be why anybody is not trusted.
fn lacking(status: &Status) -> Option<String> {
    let conditions = status.fleet.conditions.iter();
    let mut verifiable = conditions.filter(|condition| condition.kind == ConditionType::Verifiable);
    let lacking = verifiable.find(|condition| condition.status != ConditionStatus::True)?;
    Some(format!(
        "verification: {}: {}",
        lacking.reason, lacking.message
    ))
}

/// Whether a file is the one that is named: by its path, or by the last parts of it without the ending.
fn is_of(file: &str, name: &str) -> bool {
    let stem = file
        .strip_suffix(".yaml")
        .or_else(|| file.strip_suffix(".yml"));
    let is_end = |stem: &str| {
        let rest = stem.strip_suffix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
    };
    file == name || stem.is_some_and(is_end)
}

fn text(answer: &Answer) -> String {
    let head = format!("{} {} is {}", answer.kind, answer.name, answer.phase);
    let mut lines = vec![paint(HEAD, head)];
    for condition in &answer.conditions {
        let style = if condition.status == ConditionStatus::True {
            GOOD
        } else {
            BAD
        };
        let kind = paint(style, format!("{:<10}", format!("{:?}", condition.kind)));
        let since = condition.last_transition;
        let line = format!("  {kind} {} since {since}", condition.reason);
        lines.push(match condition.message.as_str() {
            "" => line,
            message => format!("{line}: {message}"),
        });
    }
    for wait in &answer.waits {
        let until = wait
            .until
            .map(|until| format!(" (until {until})"))
            .unwrap_or_default();
        lines.push(format!(
            "  waits for {}: {}{until}",
            wait.reason, wait.message
        ));
    }
    lines.extend(answer.notes.iter().map(|note| format!("  {note}")));
    if answer.waits.is_empty() && answer.notes.is_empty() {
        lines.push("  it waits for nothing".into());
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use easyenclave_schemas::status::Refusal;
    use expect_test::expect;

    use super::*;
    use crate::cli::samples;

    #[test]
    fn a_name_that_is_nearly_one_of_the_fleet_is_suggested() {
        let status = samples::status();
        let meant = |name: &str| near(&status, name);
        assert_eq!(meant("helo").as_deref(), Some("hello"));
        assert_eq!(meant("acme/helo").as_deref(), Some("acme/hello"));
        assert_eq!(meant("tinny").as_deref(), Some("tiny"));
        assert_eq!(meant("tiny-5e62").as_deref(), Some("tiny-5e62aa4020c4"));
        assert_eq!(meant("tiny-5").as_deref(), Some("tiny-5e62aa4020c4"));
        assert_eq!(meant("nothing-alike"), None);
        let said = unnamed(&status, "helo", &Hints::default());
        assert!(said.contains("did you mean `hello`?"), "{said}");
    }

    #[test]
    fn a_name_that_nobody_has_is_no_document_because_verification_lacks_something() {
        let mut status = samples::status();
        for condition in &mut status.fleet.conditions {
            condition.status = ConditionStatus::False;
        }
        assert_eq!(answers(&status, "nobody", &Hints::default()).len(), 0);
    }

    #[test]
    fn a_reservation_that_ends_soon_is_kept_and_says_so() {
        let mut status = samples::with_reservation();
        let said = |status: &Status| {
            let answers = answers(status, "acme/gold", &Hints::default());
            answers.iter().map(text).collect::<String>()
        };
        expect![[r#"
            reservation acme/gold is kept: 2 on tiny
              waits for ReservationEnds: ends; agents of target tiny reserved until then: 2 (until 2027-01-15T08:00:00Z)
        "#]].assert_eq(&anstream::adapter::strip_str(&said(&status)).to_string());
        let reservation = &mut status
            .capacity
            .values_mut()
            .next()
            .expect("a target")
            .reservations[0];
        reservation.waits[0].reason = "CapacityExhausted".into();
        assert!(said(&status).contains("is short: 2 on tiny"));
    }

    #[test]
    fn a_refused_caller_is_answered_for_with_what_to_do() {
        let mut status = samples::status();
        status.fleet.refusals = vec![Refusal {
            code: "EE-ATT-032".into(),
            subject: "tiny-000000000000".into(),
            message: "the bootstrap token was used before".into(),
            first_at: samples::noon(),
        }];
        let answers = answers(&status, "tiny-000000000000", &Hints::default());
        assert_eq!(answers.len(), 1);
        let said = answers[0].notes.join("\n");
        assert!(
            said.contains("refused: EE-ATT-032: the bootstrap"),
            "{said}"
        );
        assert!(said.contains("retire the agent; a new order"), "{said}");
    }

    #[test]
    fn a_problem_belongs_to_the_thing_of_its_whole_name() {
        assert!(is_of("capacity/tiny.yaml", "tiny"));
        assert!(is_of("capacity/tiny.yml", "tiny"));
        assert!(is_of("deployments/acme/web.yaml", "acme/web"));
        assert!(is_of(
            "deployments/acme/web.yaml",
            "deployments/acme/web.yaml"
        ));
        assert!(!is_of("capacity/not-tiny.yaml", "tiny"));
        assert!(!is_of("deployments/acme/web.yaml", "cme/web"));
        assert!(!is_of("tiny.md", "tiny"));
    }
}

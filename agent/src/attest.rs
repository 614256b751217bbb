//! Fresh evidence: in answer to a challenge, before trust runs out, and after another boot. Agents spread their
//! renewals so that a fleet never comes at once, and an agent that is refused or alone backs off.

use std::sync::Arc;
use std::time::Duration;

use easyenclave_schemas::Timestamp;
use easyenclave_schemas::evidence::Verdict;
use easyenclave_schemas::wire::{AttestRequest, Challenge, routes};
use tokio::time::{sleep, timeout};

use crate::clock;
use crate::node::{Node, Trust};

/// The longest time for one quote, a token, and their way to the reconciler.
const ATTEST: Duration = Duration::from_secs(60);

/// Renewals come no more often than this, or an eighth of the time of a shorter trust.
const OFTENEST: Duration = Duration::from_secs(30);
const EIGHTH: u32 = 8;

/// However short trust is, renewals are this far apart.
const LEAST: Duration = Duration::from_secs(1);

/// The pauses after failed renewals grow to this; the reconciler asks by itself before trust runs out.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// So often the system's clock is looked at again: it may have been set, or the machine been asleep.
const LOOK: Duration = Duration::from_secs(60);

/// Part of the time of trust after which it is renewed: the first, and so much more for the last agents. The
/// reconciler itself asks in the last quarter.
const FIRST: f64 = 0.5;
const SPREAD: f64 = 0.2;

/// Sends fresh evidence for a challenge. It is not tried again here: the challenge comes again.
pub(crate) async fn answer(node: Arc<Node>, challenge: Challenge) {
    if let Err(error) = within(attest(&node, &challenge)).await {
        tracing::warn!(
            error = format!("{error:#}"),
            "fresh evidence was not accepted"
        );
    }
}

/// Renews trust until it is dropped.
pub(crate) async fn renew(node: Arc<Node>) {
    let mut schedule = Schedule::default();
    let mut trust = node.trust.subscribe();
    loop {
        let seen = trust.borrow_and_update().clone();
        let due = schedule.due(&seen, clock::now());
        if due != Some(Duration::ZERO) {
            tokio::select! {
                () = sleep(due.unwrap_or(LOOK).min(LOOK)) => {}
                // The sender lives as long as the node.
                _ = trust.changed() => {}
            }
            continue;
        }
        schedule.tried = Some(clock::now());
        match within(challenged(&node)).await {
            Ok(()) => schedule.failures = 0,
            Err(error) => schedule.failed(&error),
        }
    }
}

/// Asks for a challenge and answers it.
async fn challenged(node: &Node) -> anyhow::Result<()> {
    let challenge = node.client.challenge(&node.config.order_id).await?;
    attest(node, &challenge).await
}

async fn attest(node: &Node, challenge: &Challenge) -> anyhow::Result<()> {
    // The boot before the quote: if it changes in between, the evidence is of the one before.
    let boot_id = node.platform.boot_id();
    let request = AttestRequest {
        boot_id: Some(boot_id.clone()),
        evidence: node.evidence(challenge).await?,
        nonce: challenge.nonce.clone(),
        ita_nonce: challenge.ita.as_ref().map(|ita| ita.nonce.clone()),
    };
    let path = routes::attest(&node.id);
    let verdict: Verdict = node.client.post(&path, &request).await?;
    tracing::info!(trusted_until = %verdict.trusted_until, "attested again");
    node.accepted(verdict, boot_id);
    Ok(())
}

async fn within(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let late = |_| anyhow::anyhow!("it took longer than {} seconds", ATTEST.as_secs());
    timeout(ATTEST, work).await.map_err(late)?
}

/// When this agent renews its trust.
#[derive(Debug, Default)]
struct Schedule {
    /// The trust that the place was drawn for, by its time.
    since: Option<Timestamp>,
    /// This agent's place in the spread, from 0 to 1.
    place: f64,
    tried: Option<Timestamp>,
    failures: u32,
    /// The pause after the last failure.
    pause: Duration,
}

impl Schedule {
    fn failed(&mut self, error: &anyhow::Error) {
        self.failures += 1;
        self.pause = clock::pause(self.failures, OFTENEST, LONGEST_PAUSE);
        if self.failures.is_power_of_two() {
            let (failures, error) = (self.failures, format!("{error:#}"));
            tracing::warn!(failures, error, "trust was not renewed");
        }
    }

    /// How long from now, zero being now. None while nobody has trusted this agent, or has refused it: the same
    /// machine would give the same evidence.
    fn due(&mut self, trust: &Trust, now: Timestamp) -> Option<Duration> {
        let (since, life) = (trust.since?, trust.life?);
        if self.since != Some(since) {
            (self.since, self.place) = (Some(since), clock::fraction());
        }
        let renewal = since.plus(life.mul_f64(FIRST + SPREAD * self.place));
        let wanted = if trust.rebooted { now } else { renewal };
        let pause = match self.failures {
            0 => (life / EIGHTH).clamp(LEAST, OFTENEST),
            _ => self.pause,
        };
        let last = self.tried.map_or(since, |tried| tried.max(since));
        Some(wanted.max(last.plus(pause)).since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn start() -> Timestamp {
        "2026-01-31T12:00:00Z".parse().expect("a time")
    }

    fn trusted(life: Duration) -> Trust {
        Trust {
            since: Some(start()),
            life: Some(life),
            ..Trust::default()
        }
    }

    #[test]
    fn a_thousand_agents_that_were_trusted_at_once_renew_over_a_fifth_of_the_time() {
        let mut minutes = [0; 60];
        for _ in 0..1000 {
            let due = Schedule::default()
                .due(&trusted(HOUR), start())
                .expect("due");
            minutes[usize::try_from(due.as_secs() / 60).expect("small")] += 1;
        }
        assert_eq!(minutes[..30].iter().sum::<i32>(), 0, "before half the time");
        assert_eq!(
            minutes[42..].iter().sum::<i32>(),
            0,
            "in the reconciler's quarter"
        );
        // 83 are expected in each of 12 minutes, give or take nine.
        let all = minutes[30..42]
            .iter()
            .all(|count| (30..150).contains(count));
        assert!(all, "{minutes:?}");
    }

    #[test]
    fn the_place_is_drawn_once_for_each_verdict() {
        let mut schedule = Schedule::default();
        let first = schedule.due(&trusted(HOUR), start());
        assert_eq!(schedule.due(&trusted(HOUR), start()), first);
        let later = start().plus(Duration::from_secs(60));
        let rest = schedule.due(&trusted(HOUR), later).expect("due");
        assert_eq!(Some(rest + Duration::from_secs(60)), first);
    }

    #[test]
    fn renewals_are_apart_and_failures_back_off() {
        let mut schedule = Schedule::default();
        let past = start().plus(HOUR);
        assert_eq!(schedule.due(&trusted(HOUR), past), Some(Duration::ZERO));
        schedule.tried = Some(past);
        assert_eq!(schedule.due(&trusted(HOUR), past), Some(OFTENEST));
        for failures in 1..=10 {
            schedule.failed(&anyhow::anyhow!("away"));
            let least = (OFTENEST * (1 << (failures - 1))).min(LONGEST_PAUSE);
            let due = schedule.due(&trusted(HOUR), past).expect("due");
            assert!(
                (least..=least * 3 / 2).contains(&due),
                "{failures}: {due:?}"
            );
        }
        let mut schedule = Schedule::default();
        let moment = Duration::from_millis(1);
        assert_eq!(schedule.due(&trusted(moment), start()), Some(LEAST));
    }

    #[test]
    fn another_boot_is_not_waited_for_and_refused_agents_do_not_insist() {
        let mut schedule = Schedule::default();
        let rebooted = Trust {
            rebooted: true,
            ..trusted(HOUR)
        };
        let later = start().plus(OFTENEST);
        assert_eq!(schedule.due(&rebooted, later), Some(Duration::ZERO));
        assert_eq!(schedule.due(&rebooted, start()), Some(OFTENEST));
        let refused = Trust {
            life: None,
            ..rebooted
        };
        assert_eq!(schedule.due(&refused, later), None);
        assert_eq!(schedule.due(&Trust::default(), later), None);
    }
}

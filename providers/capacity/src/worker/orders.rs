//! One order from its claim to its end, and what is reported of it. A retirement is tried until nothing is left.

use std::sync::Arc;

use easyenclave_schemas::wire::{LaunchSpec, Order, OrderReport, OrderUpdate, OrderWork};
use easyenclave_schemas::{FailureCause, OrderId, Secret, Stage};
use tokio::time::{Instant, sleep};

use super::client::CallError;
use super::lease::Lease;
use super::pace::Pace;
use super::{Desk, chain};
use crate::LaunchRequest;

/// The longest error in a report, in characters.
const ERROR: usize = 450;

/// A claimed order.
pub(super) struct Claim {
    pub(super) order: Order,
    pub(super) bootstrap_token: Option<Secret<String>>,
    /// When it was asked for.
    pub(super) asked: Instant,
}

/// What is reported of an order.
#[derive(Default)]
pub(super) struct Words {
    pub(super) error: Option<String>,
    pub(super) cause: Option<FailureCause>,
    pub(super) console: Option<String>,
    pub(super) stage: Option<Stage>,
    /// What was made has yet to be removed.
    pub(super) remains: bool,
}

impl Words {
    /// The machine has been started.
    pub(super) fn made() -> Self {
        Self {
            stage: Some(Stage::Made),
            ..Self::default()
        }
    }

    fn error(error: String) -> Self {
        Self {
            error: Some(error),
            ..Self::default()
        }
    }
}

/// How an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is ours to carry out.
    Held,
    /// Its agent has joined, or its machine is gone: done.
    Done,
    /// It failed, was cancelled, or another worker holds it.
    Lost,
    /// The reconciler does not know it. Its store may be lost, so that says nothing of the machine.
    Forgotten,
    /// The reconciler does not say.
    Unknown,
}

/// Carries out an order.
pub(super) async fn work(desk: Arc<Desk>, claim: Claim) {
    let Claim {
        order,
        bootstrap_token,
        asked,
    } = claim;
    tracing::info!(order = %order.order_id, fence = order.fence, "order claimed");
    let job = Job {
        desk: &desk,
        order: &order,
    };
    match (&order.work, bootstrap_token) {
        (OrderWork::Launch(spec), Some(token)) => {
            let lease = Lease::new(&order, asked);
            job.launch(job.request(&desk, spec, token), lease).await;
        }
        (OrderWork::Launch(_), None) => {
            let words = Words::error("the order came without a bootstrap token".into());
            job.fail(words).await;
        }
        (OrderWork::Retire { unit }, _) => job.retire(unit).await,
    }
}

pub(super) struct Job<'a> {
    pub(super) desk: &'a Desk,
    pub(super) order: &'a Order,
}

impl Job<'_> {
    fn request(&self, desk: &Desk, spec: &LaunchSpec, token: Secret<String>) -> LaunchRequest {
        LaunchRequest {
            order: self.order.order_id.clone(),
            fence: self.order.fence,
            fleet: self.order.fleet_id.clone(),
            datacenter: self.order.datacenter.clone(),
            worker: desk.worker.clone(),
            spec: spec.clone(),
            bootstrap_token: token,
        }
    }

    async fn retire(&self, unit: &OrderId) {
        let mut pace = Pace::default();
        let mut words = Words::default();
        loop {
            let standing = self.report(OrderReport::Provisioning, &words).await;
            match standing {
                Standing::Lost | Standing::Done | Standing::Forgotten => return,
                Standing::Held | Standing::Unknown => {}
            }
            match self.desk.remove(unit).await {
                Ok(()) => break,
                Err(failed) => words = Words::error(chain(&failed)),
            }
            sleep(pace.failed()).await;
        }
        self.desk.changed.notify_one();
        self.settle(OrderReport::Removed, &Words::default()).await;
        tracing::info!(unit = %unit, "unit removed");
    }

    /// Leaves a unit to the reconciler, which sees it in the listings: its agent may register again, and if nobody
    /// does, the reconciler decides on its end.
    pub(super) fn leave(&self, unit: &OrderId) {
        tracing::warn!(unit = %unit, "the reconciler does not know the order; its unit stays");
        self.desk.changed.notify_one();
    }

    /// Removes the unit of an order that is over, for as long as it takes.
    pub(super) async fn clean_up(&self, unit: &OrderId) {
        let mut pace = Pace::default();
        while let Err(error) = self.desk.remove(unit).await {
            let pause = pace.failed();
            if pace.is_told() {
                let (failures, error) = (pace.failures(), chain(&error));
                tracing::warn!(unit = %unit, failures, error, "unit cannot be removed");
            }
            sleep(pause).await;
        }
        self.desk.changed.notify_one();
    }

    pub(super) async fn fail(&self, words: Words) {
        let error = words.error.as_deref().unwrap_or_default();
        tracing::warn!(order = %self.order.order_id, error, "order failed");
        self.settle(OrderReport::Failed, &words).await;
    }

    /// Reports until the reconciler has heard it.
    pub(super) async fn settle(&self, status: OrderReport, words: &Words) -> Standing {
        let mut pace = Pace::default();
        loop {
            match self.report(status, words).await {
                Standing::Unknown => sleep(pace.failed()).await,
                standing => return standing,
            }
        }
    }

    pub(super) async fn report(&self, status: OrderReport, words: &Words) -> Standing {
        let update = OrderUpdate {
            worker_id: self.desk.worker.clone(),
            fence: self.order.fence,
            status,
            error: words.error.as_deref().map(line),
            cause: words.cause,
            console: words.console.clone(),
            stage: words.stage,
            remains: words.remains,
        };
        let answer = self.desk.client.update(&self.order.order_id, &update).await;
        let (epoch, standing) = match &answer {
            Ok(answer) => (answer.epoch, standing(&answer.status)),
            Err(error) => (error.epoch(), refused(error)),
        };
        // What a reconciler says that leads no more says nothing.
        match epoch.is_none_or(|epoch| self.desk.see(epoch)) {
            true => standing,
            false => Standing::Unknown,
        }
    }
}

fn standing(status: &str) -> Standing {
    match status {
        "open" | "claimed" | "provisioning" => Standing::Held,
        "fulfilled" => Standing::Done,
        "failed" | "cancelled" => Standing::Lost,
        _ => Standing::Unknown,
    }
}

/// Only these two codes mean that the order is not ours to go on with. Whatever else a server says that may not be
/// the reconciler, such as a bare 404, changes nothing.
fn refused(error: &CallError) -> Standing {
    match error.code() {
        "claim_lost" => Standing::Lost,
        "order_not_found" => Standing::Forgotten,
        _ => Standing::Unknown,
    }
}

/// One bounded line.
fn line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(ERROR)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_reconcilers_own_words_give_an_order_up() {
        assert_eq!(standing("provisioning"), Standing::Held);
        assert_eq!(standing("fulfilled"), Standing::Done);
        assert_eq!(standing("cancelled"), Standing::Lost);
        assert_eq!(standing("something new"), Standing::Unknown);
        let refusal = |code: &str| CallError::Refused {
            code: code.into(),
            message: "no".into(),
            epoch: None,
        };
        assert_eq!(refused(&refusal("claim_lost")), Standing::Lost);
        assert_eq!(refused(&refusal("order_not_found")), Standing::Forgotten);
        for code in ["404", "409", "store_unavailable", "wrong_report"] {
            assert_eq!(refused(&refusal(code)), Standing::Unknown, "{code}");
        }
        assert_eq!(refused(&CallError::Answer), Standing::Unknown);
    }

    #[test]
    fn an_error_is_one_bounded_line() {
        let long = format!("a\nb{}", "x".repeat(1000));
        assert_eq!(line(&long).chars().count(), ERROR);
        assert!(line(&long).starts_with("a bx"));
    }
}

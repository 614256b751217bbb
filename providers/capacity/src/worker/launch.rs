//! A launch from its claim to its agent's registration. Nothing is made unless the claim is surely this worker's, and when
//! the order fails, is cancelled or overtaken, its unit is removed.

use std::time::Duration;

use easyenclave_schemas::wire::OrderReport;
use easyenclave_schemas::{FailureCause, OrderId};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::chain;
use super::lease::Lease;
use super::orders::{Job, Standing, Words};
use super::pace::Pace;
use crate::{LaunchRequest, ProvideError};

/// The second look whether a launched agent has joined comes after this; later ones come more rarely …
const FIRST_LOOK: Duration = Duration::from_millis(250);
/// … down to this. Each look also renews the claim, which lasts a minute.
const RAREST_LOOK: Duration = Duration::from_secs(10);

/// What may work later is tried so often before the order counts as failed.
const TRIES: u32 = 4;

/// How a launch has ended for this worker.
enum End {
    /// Its agent has joined.
    Joined,
    /// It failed, was cancelled, or another worker holds it.
    Lost,
    /// The reconciler does not know it.
    Forgotten,
    /// Nothing was heard of the reconciler for so long that another worker may soon make the machine.
    LetGo,
    /// It failed here.
    Failed(Words),
}

/// What the reconciler says of a launch.
enum Said {
    /// It is still ours.
    Held,
    /// Nothing.
    Nothing,
    /// It is over.
    Over(End),
}

impl Job<'_> {
    pub(super) async fn launch(&self, request: LaunchRequest, mut lease: Lease) {
        let unit = &request.order;
        match self.see_through(&request, &mut lease).await {
            // No other agent can join under this claim: what is there is not touched.
            End::Joined => {}
            End::Forgotten => self.leave(unit),
            End::Lost => {
                let words = self.end_of_console(&request).await;
                self.clean_up(unit).await;
                let status = match words.console {
                    Some(_) => OrderReport::Failed,
                    None => OrderReport::Removed,
                };
                self.settle(status, &words).await;
            }
            End::LetGo => {
                tracing::warn!(unit = %unit, "the reconciler was silent for long; its unit goes");
                self.clean_up(unit).await;
            }
            End::Failed(words) => self.give_up(unit, words, &lease).await,
        }
    }

    /// Ends the order first and removes its unit then: a machine that could not be seen may run, and its agent may have joined.
    /// Nobody can join an order that is over. Where nobody answers, the unit stays for as long as it does in any outage.
    async fn give_up(&self, unit: &OrderId, words: Words, lease: &Lease) {
        let mut words = Words {
            remains: true,
            ..words
        };
        let ended = self.settle(OrderReport::Failed, &words);
        let standing = match lease.go_at() {
            Some(at) => timeout_at(at, ended).await.unwrap_or(Standing::Unknown),
            None => ended.await,
        };
        match standing {
            Standing::Done => {}
            Standing::Forgotten => self.leave(unit),
            Standing::Held | Standing::Lost | Standing::Unknown => {
                self.clean_up(unit).await;
                words.remains = false;
                self.fail(words).await;
            }
        }
    }

    /// Makes the machine and watches it for as long as the claim is surely ours. When it may have run out, nothing more
    /// is made until the reconciler is heard again; what is there stays until it is all but given to somebody else, because
    /// its agent may have joined meanwhile.
    async fn see_through(&self, request: &LaunchRequest, lease: &mut Lease) -> End {
        let made = watch::Sender::new(false);
        loop {
            if let Some(end) = self.regain(lease, &made).await {
                return end;
            }
            let end = tokio::select! {
                biased;
                end = self.hold(lease, &made) => end,
                words = self.bring_up(request, &made) => Some(End::Failed(words)),
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Waits until the reconciler says that the order is ours. Answers how it has ended otherwise.
    async fn regain(&self, lease: &mut Lease, made: &watch::Sender<bool>) -> Option<End> {
        let go_at = lease.go_at();
        let answered = self.answered(lease, made);
        match go_at {
            Some(at) => timeout_at(at, answered).await.unwrap_or(Some(End::LetGo)),
            None => answered.await,
        }
    }

    async fn answered(&self, lease: &mut Lease, made: &watch::Sender<bool>) -> Option<End> {
        let mut pace = Pace::default();
        loop {
            match self.renew(lease, made).await {
                Said::Held => return None,
                Said::Over(end) => return Some(end),
                Said::Nothing => sleep(pace.failed()).await,
            }
        }
    }

    /// Renews the claim until the order is over, which it answers, or until the claim may have run out.
    async fn hold(&self, lease: &mut Lease, made: &watch::Sender<bool>) -> Option<End> {
        let mut pause = FIRST_LOOK;
        let mut news = made.subscribe();
        loop {
            let until = lease.make_until();
            tokio::select! {
                () = sleep(pause) => pause = (pause * 2).min(RAREST_LOOK),
                _ = news.changed() => {}
                () = sleep_until(until) => return None,
            }
            match timeout_at(until, self.renew(lease, made)).await {
                Ok(Said::Over(end)) => return Some(end),
                Ok(Said::Held | Said::Nothing) => {}
                Err(_) => return None,
            }
        }
    }

    /// Says how far the launch has come, which renews its claim.
    async fn renew(&self, lease: &mut Lease, made: &watch::Sender<bool>) -> Said {
        let words = match *made.borrow() {
            true => Words::made(),
            false => Words::default(),
        };
        let sent = Instant::now();
        match self.report(OrderReport::Provisioning, &words).await {
            Standing::Held => {
                lease.renewed(sent);
                Said::Held
            }
            Standing::Unknown => Said::Nothing,
            Standing::Done => Said::Over(End::Joined),
            Standing::Lost => Said::Over(End::Lost),
            Standing::Forgotten => Said::Over(End::Forgotten),
        }
    }

    /// Makes the machine and waits for its death. Answers why the launch has failed.
    async fn bring_up(&self, request: &LaunchRequest, made: &watch::Sender<bool>) -> Words {
        if let Err(error) = self.make(request).await {
            return self.words(request, &chain(&error), error.cause()).await;
        }
        made.send_replace(true);
        self.desk.changed.notify_one();
        let unit = &request.order;
        let mut pause = FIRST_LOOK;
        while !self.is_dead(unit).await {
            sleep(pause).await;
            pause = (pause * 2).min(RAREST_LOOK);
        }
        let last = self.desk.provider.last_words(unit).await;
        let last = last.unwrap_or_default();
        let error = format!("the agent ended before it joined: {last}");
        self.words(request, &error, FailureCause::MachineDied).await
    }

    /// All that is known of a failed launch, before what is left of it is removed. The machine knows its token and may
    /// have said it; nobody else needs to.
    async fn words(&self, request: &LaunchRequest, error: &str, cause: FailureCause) -> Words {
        Words {
            error: Some(request.bootstrap_token.hide_in(error)),
            cause: Some(cause),
            ..self.end_of_console(request).await
        }
    }

    async fn end_of_console(&self, request: &LaunchRequest) -> Words {
        let console = self.desk.provider.console(&request.order).await;
        let console = console.ok().filter(|text| !text.trim().is_empty());
        Words {
            console: console.map(|text| request.bootstrap_token.hide_in(&text)),
            ..Words::default()
        }
    }

    async fn make(&self, request: &LaunchRequest) -> Result<(), ProvideError> {
        let mut pace = Pace::default();
        loop {
            let made = {
                let _place = self.desk.place(&self.desk.making).await;
                self.desk.provider.ensure(request).await
            };
            match made {
                Err(error @ ProvideError::Retry { .. }) => {
                    let pause = pace.failed();
                    if pace.failures() >= TRIES {
                        return Err(error);
                    }
                    sleep(pause).await;
                }
                result => return result,
            }
        }
    }

    /// Whether the unit is known to be dead; a listing that fails says nothing.
    async fn is_dead(&self, unit: &OrderId) -> bool {
        let listed = self.desk.provider.list().await;
        listed.is_ok_and(|units| {
            !units
                .iter()
                .any(|known| known.order_id == *unit && known.alive)
        })
    }
}

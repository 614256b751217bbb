//! The worker from claim to removal, on the fake and on processes.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use easyenclave_capacity::conformance::request;
use easyenclave_capacity::fake::FakeProvider;
use easyenclave_capacity::worker::{WorkerConfig, WorkerError, run, run_with, worker_id};
use easyenclave_capacity::{LaunchRequest, ProvideError, Provider};
use easyenclave_processes::Process;
use easyenclave_schemas::wire::{
    InventoryResponse, OrderReport, OrderUpdate, OrderWork, PlatformConfig, Superseded, Unit,
};
use easyenclave_schemas::{Epoch, FailureCause, OrderId, Secret, Stage};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::provider::{processes, until};
use crate::reconciler::{KEY, Reconciler, Script, TOKEN};

const SOON: Duration = Duration::from_secs(60);

fn config(url: &str, folder: &Path) -> WorkerConfig {
    let _ = rustls::crypto::ring::default_provider().install_default();
    WorkerConfig {
        reconciler_url: url.into(),
        launcher_key: Secret::new(KEY.into()),
        worker_id: worker_id(folder).expect("a name"),
        provider: "local".parse().expect("a name"),
        datacenter: "local".parse().expect("a name"),
        fleet: None,
        project: None,
        node_size: None,
        data_dir: folder.into(),
        platform: PlatformConfig::Simulated {
            dir: folder.join("guest"),
            image: None,
        },
        trust_authority: None,
        agent_program: "sh".into(),
        agent_args: vec!["-c".into(), "echo up > up; exec sleep 300".into()],
        one_shot: false,
        max_orders: 0,
        stop_units_on_exit: true,
    }
}

/// A worker on the fake provider.
struct Bench {
    reconciler: Reconciler,
    provider: Arc<FakeProvider>,
    worker: JoinHandle<Result<(), WorkerError>>,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl Fn(&mut WorkerConfig)) -> Self {
        Self::on(change, |fake| fake as Arc<dyn Provider>).await
    }

    /// With a provider around the fake.
    async fn on(
        change: impl Fn(&mut WorkerConfig),
        around: impl Fn(Arc<FakeProvider>) -> Arc<dyn Provider>,
    ) -> Self {
        let reconciler = Reconciler::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = config(&reconciler.url, folder.path());
        change(&mut config);
        let provider = Arc::new(FakeProvider::default());
        let of_worker = around(Arc::clone(&provider));
        let worker =
            tokio::spawn(async move { run_with(of_worker, &config, std::future::pending()).await });
        Self {
            reconciler,
            provider,
            worker,
            _folder: folder,
        }
    }

    async fn exists(&self, order: &OrderId) {
        until("the unit is made", || {
            self.provider.request(order).is_some()
        })
        .await;
    }

    async fn is_gone(&self, order: &OrderId) {
        until("the unit is removed", || {
            self.provider.request(order).is_none()
        })
        .await;
    }

    /// Waits for a worker that ends by itself.
    async fn ended(&mut self) -> Result<(), WorkerError> {
        let ended = timeout(SOON, &mut self.worker).await;
        ended.expect("it ends").expect("it does not panic")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

/// Reports on an order with this status.
fn reports(script: &Script, order: &OrderId, status: OrderReport) -> Vec<OrderUpdate> {
    let of_order = script
        .updates
        .iter()
        .filter(|(id, update)| id == order && update.status == status);
    of_order.map(|(_, update)| update.clone()).collect()
}

fn reported(
    order: &OrderId,
    status: OrderReport,
    times: usize,
) -> impl Fn(&Script) -> Option<OrderUpdate> {
    move |script| reports(script, order, status).into_iter().nth(times - 1)
}

#[tokio::test]
async fn a_launch_is_renewed_until_its_agent_has_joined() {
    let bench = Bench::new().await;
    let order = bench.reconciler.launch("a");
    let renewed = reported(&order, OrderReport::Provisioning, 3);
    let update = bench.reconciler.until("it is renewed", renewed).await;
    assert_eq!(update.fence, 3);
    let made_of = bench.provider.request(&order).expect("made");
    assert_eq!(
        (
            made_of.bootstrap_token.reveal().as_str(),
            made_of.spec.max_units
        ),
        (TOKEN, 4)
    );
    let in_hand = |script: &Script| script.claims.last()?.in_hand.contains(&order).then_some(());
    bench.reconciler.until("it is in hand", in_hand).await;
    bench.reconciler.stands(&order, "fulfilled");
    let free = |script: &Script| script.claims.last()?.in_hand.is_empty().then_some(());
    bench.reconciler.until("it is put away", free).await;
    bench.exists(&order).await;
    let listed = |script: &Script| Some(script.listings.last()?.units.first()?.alive);
    assert!(bench.reconciler.until("it is listed", listed).await);
}

/// As after a restart of the worker, when the agent joined meanwhile: one that was made now could not join.
#[tokio::test]
async fn a_launch_whose_agent_has_joined_by_then_makes_nothing() {
    let bench = Bench::new().await;
    let order = OrderId::new("a").expect("a name");
    bench.reconciler.stands(&order, "fulfilled");
    bench.reconciler.launch("a");
    let reported = reported(&order, OrderReport::Provisioning, 1);
    bench.reconciler.until("it is reported", reported).await;
    let free = |script: &Script| script.claims.last()?.in_hand.is_empty().then_some(());
    bench.reconciler.until("it is put away", free).await;
    assert!(bench.provider.request(&order).is_none());
}

#[tokio::test]
async fn nothing_is_made_before_the_reconciler_has_said_that_the_order_is_held() {
    let bench = Bench::new().await;
    bench.reconciler.script().deaf = true;
    let order = bench.reconciler.launch("a");
    bench.reconciler.turned_away(3).await;
    assert!(bench.provider.request(&order).is_none());
    bench.reconciler.script().deaf = false;
    bench.exists(&order).await;
}

/// The reconciler gives its order to another worker ten minutes after the last word that it has heard.
#[tokio::test(start_paused = true)]
async fn a_machine_that_has_not_joined_stays_in_an_outage_and_goes_before_another_is_made() {
    let bench = Bench::new().await;
    let order = bench.reconciler.launch("a");
    let renewed = reported(&order, OrderReport::Provisioning, 3);
    bench.reconciler.until("it is renewed", renewed).await;
    bench.reconciler.script().down = true;
    sleep(Duration::from_secs(430)).await;
    assert!(
        bench.provider.request(&order).is_some(),
        "it may have joined"
    );
    sleep(Duration::from_secs(30)).await;
    assert!(
        bench.provider.request(&order).is_none(),
        "it is all but lost"
    );
    bench.reconciler.script().down = false;
    let free = |script: &Script| script.claims.last()?.in_hand.is_empty().then_some(());
    bench.reconciler.until("it is put away", free).await;
    let said = bench.reconciler.script();
    assert!(reports(&said, &order, OrderReport::Failed).is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_machine_of_an_agent_that_has_joined_stays_however_long_the_outage_is() {
    let bench = Bench::new().await;
    let order = bench.reconciler.launch("a");
    bench.exists(&order).await;
    bench.reconciler.stands(&order, "fulfilled");
    let free = |script: &Script| script.claims.last()?.in_hand.is_empty().then_some(());
    bench.reconciler.until("it is put away", free).await;
    bench.reconciler.script().down = true;
    sleep(Duration::from_secs(3600)).await;
    assert!(bench.provider.request(&order).is_some());
}

/// Takes longer to make a machine than a claim lasts.
struct Slow(Arc<FakeProvider>);

const MAKING: Duration = Duration::from_secs(100);

#[async_trait]
impl Provider for Slow {
    async fn ensure(&self, request: &LaunchRequest) -> Result<(), ProvideError> {
        sleep(MAKING).await;
        self.0.ensure(request).await
    }

    async fn remove(&self, order: &OrderId) -> Result<(), ProvideError> {
        self.0.remove(order).await
    }

    async fn remove_older(&self, order: &OrderId, fence: u64) -> Result<(), ProvideError> {
        self.0.remove_older(order, fence).await
    }

    async fn list(&self) -> Result<Vec<Unit>, ProvideError> {
        self.0.list().await
    }

    async fn last_words(&self, order: &OrderId) -> Result<String, ProvideError> {
        self.0.last_words(order).await
    }

    async fn console(&self, order: &OrderId) -> Result<String, ProvideError> {
        self.0.console(order).await
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_made_any_more_when_the_claim_may_have_run_out() {
    let bench = Bench::on(|_| (), |fake| Arc::new(Slow(fake))).await;
    let order = bench.reconciler.launch("a");
    let begun = reported(&order, OrderReport::Provisioning, 1);
    bench.reconciler.until("it has begun", begun).await;
    bench.reconciler.script().deaf = true;
    sleep(MAKING * 3).await;
    assert!(bench.provider.request(&order).is_none());
    bench.reconciler.script().deaf = false;
    let before = bench.reconciler.script().updates.len();
    sleep(MAKING + Duration::from_secs(60)).await;
    assert!(bench.provider.request(&order).is_some(), "it goes on");
    let renewals = bench.reconciler.script().updates.len() - before;
    assert!(renewals >= 10, "the claim is renewed while it is made");
}

#[tokio::test]
async fn an_order_that_is_over_takes_its_unit_with_it() {
    for standing in ["cancelled", "failed", "!claim_lost"] {
        let bench = Bench::new().await;
        let order = bench.reconciler.launch("a");
        bench.exists(&order).await;
        bench.reconciler.stands(&order, standing);
        bench.is_gone(&order).await;
        let said = reported(&order, OrderReport::Removed, 1);
        bench.reconciler.until("it says so", said).await;
        let failed = reports(&bench.reconciler.script(), &order, OrderReport::Failed);
        assert!(failed.is_empty(), "{standing}");
    }
}

/// Only the reconciler knows of a deadline, and only the worker of the console.
#[tokio::test]
async fn a_launch_that_failed_of_a_deadline_is_told_with_its_console() {
    let bench = Bench::new().await;
    let order = bench.reconciler.launch("a");
    bench.exists(&order).await;
    bench
        .provider
        .say(&order, &format!("no route to host, {TOKEN}"));
    bench.reconciler.stands(&order, "failed");
    let failed = reported(&order, OrderReport::Failed, 1);
    let update = bench.reconciler.until("it is told", failed).await;
    assert_eq!(
        update.console.as_deref(),
        Some("no route to host, <secret>")
    );
    assert!(
        bench.provider.request(&order).is_none(),
        "it is gone by then"
    );
}

#[tokio::test]
async fn the_unit_of_an_order_that_the_reconciler_has_forgotten_stays() {
    let bench = Bench::new().await;
    let order = bench.reconciler.launch("a");
    bench.exists(&order).await;
    bench.reconciler.stands(&order, "!order_not_found");
    let free = |script: &Script| script.claims.last()?.in_hand.is_empty().then_some(());
    bench.reconciler.until("it is given up", free).await;
    bench.exists(&order).await;
    let listed = |script: &Script| Some(script.listings.last()?.units.first()?.alive);
    assert!(bench.reconciler.until("it is listed", listed).await);
}

#[tokio::test]
async fn removals_wait_neither_for_agents_that_do_not_join_nor_for_removals_that_fail() {
    let bench = Bench::new().await;
    let offer = |name: String| {
        let work = OrderWork::Launch(request(&name, 50).spec);
        bench.reconciler.offer(&name, work, 1)
    };
    let waiting: Vec<_> = (0..20).map(|n| offer(format!("waiting-{n}"))).collect();
    for order in &waiting {
        bench.exists(order).await;
    }
    let (last, jammed) = waiting.split_last().expect("twenty");
    for order in jammed {
        bench.provider.jam(order);
        bench.reconciler.retire(order.as_str());
    }
    let failed = |script: &Script| {
        let failed = script
            .updates
            .iter()
            .filter(|(_, update)| update.error.is_some());
        let orders: BTreeSet<_> = failed.map(|(order, _)| order).collect();
        (orders.len() == jammed.len()).then_some(())
    };
    bench.reconciler.until("all of them fail", failed).await;
    bench.reconciler.retire(last.as_str());
    bench.is_gone(last).await;
    let one_more = offer("one-more".into());
    bench.exists(&one_more).await;
}

#[tokio::test]
async fn what_a_reconciler_says_that_leads_no_more_ends_no_order() {
    let bench = Bench::new().await;
    let work = || OrderWork::Launch(request("a", 4).spec);
    let order = bench.reconciler.offer("a", work(), 2);
    bench.exists(&order).await;
    bench.reconciler.script().epoch = Some(Epoch(1));
    for standing in ["failed", "!claim_lost"] {
        bench.reconciler.stands(&order, standing);
        let reports = bench.reconciler.script().updates.len();
        let heard = |script: &Script| script.updates.get(reports + 1).map(|_| ());
        bench.reconciler.until("it reports again", heard).await;
        bench.exists(&order).await;
    }
    bench.reconciler.script().epoch = Some(Epoch(2));
    bench.is_gone(&order).await;
}

#[tokio::test]
async fn an_agent_that_dies_before_it_joins_fails_its_order_with_its_last_words() {
    let bench = Bench::new().await;
    let order = bench.reconciler.launch("a");
    bench.exists(&order).await;
    bench.provider.crash(&order, "refused with EE-ATT-031");
    let failed = reported(&order, OrderReport::Failed, 1);
    let update = bench.reconciler.until("it fails", failed).await;
    let error = update.error.expect("why");
    assert_eq!(
        error,
        "the agent ended before it joined: refused with EE-ATT-031"
    );
    bench.is_gone(&order).await;
}

/// The cloud has taken the request, and cannot be asked what came of it.
#[tokio::test]
async fn the_machine_of_a_launch_that_failed_stays_when_its_agent_has_joined_by_then() {
    let bench = Bench::new().await;
    bench.reconciler.script().joined = true;
    let order = bench.reconciler.launch("a");
    bench.exists(&order).await;
    bench.provider.crash(&order, "nothing was heard of it");
    let failed = reported(&order, OrderReport::Failed, 1);
    bench.reconciler.until("it fails", failed).await;
    let free = |script: &Script| script.claims.last()?.in_hand.is_empty().then_some(());
    bench.reconciler.until("it is put away", free).await;
    assert!(bench.provider.request(&order).is_some(), "an agent has it");
    let said = reports(&bench.reconciler.script(), &order, OrderReport::Failed);
    assert_eq!(said.len(), 1, "nothing more is said");
}

#[tokio::test]
async fn a_launch_that_failed_is_over_before_its_machine_is_removed_and_said_to_be_gone_after() {
    let bench = Bench::new().await;
    let order = bench.reconciler.launch("a");
    bench.exists(&order).await;
    bench.reconciler.script().deaf = true;
    bench.provider.crash(&order, "");
    bench.reconciler.turned_away(3).await;
    assert!(
        bench.provider.request(&order).is_some(),
        "its agent may join"
    );
    bench.provider.jam(&order);
    bench.reconciler.script().deaf = false;
    let failed = reported(&order, OrderReport::Failed, 1);
    let update = bench.reconciler.until("it fails", failed).await;
    assert!(update.remains, "nothing was removed yet");
    bench.provider.free(&order);
    bench.is_gone(&order).await;
    let said = reported(&order, OrderReport::Failed, 2);
    let update = bench.reconciler.until("it is gone", said).await;
    assert!(!update.remains);
}

#[tokio::test(start_paused = true)]
async fn the_machine_of_a_launch_that_failed_in_an_outage_goes_before_another_is_made() {
    let bench = Bench::new().await;
    let order = bench.reconciler.launch("a");
    let renewed = reported(&order, OrderReport::Provisioning, 3);
    bench.reconciler.until("it is renewed", renewed).await;
    bench.reconciler.script().down = true;
    bench.provider.crash(&order, "");
    sleep(Duration::from_secs(430)).await;
    assert!(
        bench.provider.request(&order).is_some(),
        "it may have joined"
    );
    sleep(Duration::from_secs(30)).await;
    assert!(
        bench.provider.request(&order).is_none(),
        "it is all but lost"
    );
    bench.reconciler.script().down = false;
    let said = reported(&order, OrderReport::Failed, 1);
    let update = bench.reconciler.until("it is told", said).await;
    assert!(!update.remains);
}

#[tokio::test]
async fn a_failed_launch_is_reported_with_its_cause_and_console_and_without_its_token() {
    let bench = Bench::new().await;
    let order = bench.reconciler.launch("a");
    let made = reported(&order, OrderReport::Provisioning, 2);
    let update = bench.reconciler.until("it is made", made).await;
    assert_eq!(update.stage, Some(Stage::Made));
    let words = format!("token {TOKEN}");
    bench.provider.crash(&order, &words);
    let failed = reported(&order, OrderReport::Failed, 1);
    let update = bench.reconciler.until("it fails", failed).await;
    assert_eq!(update.cause, Some(FailureCause::MachineDied));
    assert_eq!(update.console.as_deref(), Some("token <secret>"));
    let error = update.error.expect("why");
    assert_eq!(error, "the agent ended before it joined: token <secret>");
    assert_eq!(update.stage, None);
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_may_not_fails_the_order() {
    let bench = Bench::new().await;
    let retry = || ProvideError::Retry {
        what: "folder".into(),
        source: std::io::Error::other("disk is busy"),
    };
    let listed = |script: &Script| (!script.listings.is_empty()).then_some(());
    bench
        .reconciler
        .until("the first listing is over", listed)
        .await;
    bench.provider.fail(retry());
    bench.provider.fail(retry());
    let order = bench.reconciler.launch("a");
    bench.exists(&order).await;
    bench.reconciler.stands(&order, "fulfilled");
    // Four fit, and there is one already.
    let orders: Vec<_> = ["b", "c", "d", "e"]
        .map(|name| bench.reconciler.launch(name))
        .into();
    let failed = |script: &Script| {
        let of = |order| reports(script, order, OrderReport::Failed).pop();
        orders.iter().find_map(of)
    };
    let update = bench.reconciler.until("one fails", failed).await;
    assert_eq!(update.cause, Some(FailureCause::NoCapacity));
    let error = update.error.expect("why");
    assert_eq!(error, "4 agents are running, and no more are allowed here");
}

#[tokio::test]
async fn a_retirement_is_tried_until_nothing_is_left() {
    let bench = Bench::new().await;
    let launch = bench.reconciler.launch("a");
    bench.exists(&launch).await;
    bench.reconciler.stands(&launch, "fulfilled");
    let busy = || ProvideError::Retry {
        what: "processes of a cannot be ended".into(),
        source: std::io::Error::other("busy"),
    };
    // More faults than listings take meanwhile.
    for _ in 0..3 {
        bench.provider.fail(busy());
    }
    let order = bench.reconciler.retire("a");
    bench
        .reconciler
        .until("it is done", reported(&order, OrderReport::Removed, 1))
        .await;
    bench.is_gone(&launch).await;
    let empty = |script: &Script| script.listings.last()?.units.is_empty().then_some(());
    bench
        .reconciler
        .until("the empty listing is sent", empty)
        .await;
}

#[tokio::test]
async fn removal_is_reported_until_it_is_heard() {
    let bench = Bench::new().await;
    let order = bench.reconciler.retire("never-made");
    bench
        .reconciler
        .until(
            "it is claimed",
            reported(&order, OrderReport::Provisioning, 1),
        )
        .await;
    bench
        .reconciler
        .until("it is done", reported(&order, OrderReport::Removed, 1))
        .await;
    bench.reconciler.script().deaf = true;
    let other = bench.reconciler.retire("neither");
    bench.reconciler.turned_away(3).await;
    bench.reconciler.script().deaf = false;
    bench
        .reconciler
        .until("it is done too", reported(&other, OrderReport::Removed, 1))
        .await;
}

#[tokio::test]
async fn units_outlive_an_outage_of_the_reconciler() {
    let bench = Bench::new().await;
    let order = bench.reconciler.launch("a");
    bench.exists(&order).await;
    bench.reconciler.script().down = true;
    let before = bench.reconciler.script().claims.len();
    bench.reconciler.turned_away(5).await;
    assert!(bench.provider.request(&order).is_some());
    bench.reconciler.script().down = false;
    let again = |script: &Script| (script.claims.len() > before).then_some(());
    bench.reconciler.until("it claims again", again).await;
    bench
        .reconciler
        .until("it renews", reported(&order, OrderReport::Provisioning, 2))
        .await;
}

#[tokio::test]
async fn orders_of_an_older_leader_are_not_carried_out() {
    let bench = Bench::new().await;
    let newer = bench.reconciler.launch("a");
    bench.exists(&newer).await;
    let spec = bench.provider.request(&newer).expect("made").spec;
    let (launch, retire) = (
        OrderWork::Launch(spec),
        OrderWork::Retire {
            unit: newer.clone(),
        },
    );
    let old = bench.reconciler.offer("old", retire, 0);
    let taken = |script: &Script| script.orders.is_empty().then_some(());
    bench.reconciler.until("it is offered", taken).await;
    let last = bench.reconciler.offer("b", launch, 1);
    bench.exists(&last).await;
    assert!(
        bench
            .reconciler
            .script()
            .updates
            .iter()
            .all(|(order, _)| *order != old)
    );
    assert!(bench.provider.request(&newer).is_some());
}

/// Another worker holds the order of one unit; the other units are of the newest claim.
#[tokio::test]
async fn a_unit_of_an_older_claim_is_removed_and_no_other() {
    let bench = Bench::new().await;
    let orders = ["a", "b", "c"].map(|name| bench.reconciler.launch(name));
    for order in &orders {
        bench.exists(order).await;
    }
    let answer = |epoch, fences: [u64; 3]| InventoryResponse {
        epoch: Epoch(epoch),
        superseded: orders
            .iter()
            .zip(fences)
            .map(|(order, fence)| Superseded {
                order_id: order.clone(),
                fence,
            })
            .collect(),
    };
    let heard = async |answer| {
        bench.reconciler.script().inventory = Some(answer);
        // The answer is heeded before the next listing is made.
        for _ in 0..2 {
            let told = bench.reconciler.script().listings.len();
            let news = request(&format!("news-{told}"), 100);
            bench.provider.ensure(&news).await.expect("made");
            let again = |script: &Script| (script.listings.len() > told).then_some(());
            bench.reconciler.until("it lists again", again).await;
        }
    };
    heard(answer(0, [9, 9, 9])).await;
    assert!(
        bench.provider.request(&orders[0]).is_some(),
        "an older leader says nothing"
    );
    heard(answer(1, [4, 3, 2])).await;
    bench.is_gone(&orders[0]).await;
    assert!(bench.provider.request(&orders[1]).is_some());
    assert!(bench.provider.request(&orders[2]).is_some());
}

#[tokio::test]
async fn a_wrong_key_ends_the_worker() {
    let wrong = |config: &mut WorkerConfig| config.launcher_key = Secret::new("stolen".into());
    let mut bench = Bench::with(wrong).await;
    let error = bench.ended().await.expect_err("refused");
    assert!(matches!(error, WorkerError::Refused(_)), "{error:?}");
    assert!(!error.to_string().contains("stolen"));
}

#[tokio::test]
async fn one_shot_is_one_order() {
    let mut bench = Bench::with(|config| config.one_shot = true).await;
    let (first, _) = (bench.reconciler.retire("a"), bench.reconciler.retire("b"));
    bench.ended().await.expect("it ends by itself");
    let script = bench.reconciler.script();
    assert_eq!(reports(&script, &first, OrderReport::Removed).len(), 1);
    assert_eq!(script.orders.len(), 1, "the second is not claimed");
}

mod on_processes {
    use super::*;

    /// A running worker, and what ends it.
    type Running = (oneshot::Sender<()>, JoinHandle<Result<(), WorkerError>>);

    fn start(config: WorkerConfig) -> Running {
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { stopped.await.unwrap_or(()) };
        (stop, tokio::spawn(async { run(config, shutdown).await }))
    }

    async fn end((stop, worker): Running) {
        stop.send(()).expect("it runs");
        let ended = timeout(SOON, worker)
            .await
            .expect("it ends")
            .expect("it does not panic");
        ended.expect("it ends well");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn units_stay_over_a_restart_and_go_with_the_last_worker() {
        let reconciler = Reconciler::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = config(&reconciler.url, folder.path());
        config.stop_units_on_exit = false;
        let order = reconciler.launch("a");
        let other = reconciler.launch("b");
        let worker = start(config.clone());
        until("both run", || processes(folder.path()).len() == 2).await;
        let ids = || -> Vec<_> { processes(folder.path()).iter().map(Process::id).collect() };
        let before = ids();
        end(worker).await;
        assert_eq!(ids(), before, "units stay");
        reconciler.script().listings.clear();
        config.stop_units_on_exit = true;
        config.worker_id = worker_id(folder.path()).expect("a name");
        assert_eq!(
            Some(&config.worker_id),
            reconciler
                .script()
                .claims
                .first()
                .map(|claim| &claim.worker_id)
        );
        let worker = start(config);
        let listed = |script: &Script| (script.listings.last()?.units.len() == 2).then_some(());
        reconciler.until("the same are listed", listed).await;
        reconciler.launch("a");
        reconciler
            .until("it goes on", reported(&order, OrderReport::Provisioning, 2))
            .await;
        assert_eq!(ids(), before, "and none was added");
        let removed = |order: &OrderId| reports(&reconciler.script(), order, OrderReport::Removed);
        assert!(
            removed(&order).is_empty(),
            "a worker that leaves them says nothing"
        );
        end(worker).await;
        assert_eq!(processes(folder.path()), []);
        for order in [order, other] {
            let removed = removed(&order);
            assert_eq!(removed.len(), 1, "that {order} was ended is said");
            assert_eq!(removed[0].fence, 3, "under its claim");
        }
        let left = std::fs::read_dir(folder.path().join("units"))
            .expect("there")
            .count();
        assert_eq!(left, 0);
    }
}

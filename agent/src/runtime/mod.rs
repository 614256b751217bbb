//! Runs one assignment until it is told to stop: starts it, watches it, starts it again with growing
//! pauses, and ends with all its processes gone. It reports each change and never fails: what cannot be done
//! is a state with a message.

pub(crate) mod compose;
mod log;
mod probe;
mod process;

use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use easyenclave_schemas::Generation;
use easyenclave_schemas::documents::{RestartPolicy, Workload};
use easyenclave_schemas::wire::{WorkloadCause, WorkloadReport, WorkloadState};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::clock;
use crate::instructions::Assignment;
pub(crate) use log::Log;
use probe::Target;
pub(crate) use process::Place;
use process::{Exit, Running, Scope};

/// The pauses between starts grow from this …
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// … to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// After being ready for so long, the next failure counts as the first.
const SETTLED: Duration = Duration::from_secs(10);

/// How long a workload may take to end by itself when it is asked to.
const GRACE: Duration = Duration::from_secs(5);

/// How long what a workload left behind may take.
const GRACE_LEFTOVERS: Duration = Duration::from_secs(1);

/// The pause before trying again to end what could not be ended.
pub(crate) const END_AGAIN: Duration = Duration::from_secs(2);

/// The longest message in a report, in characters.
const MESSAGE: usize = 300;

/// Where a report of the workload is put for everybody to see.
pub(crate) type Board = watch::Sender<Option<WorkloadReport>>;

/// Runs an assignment until `stop`, then ends it. When this returns, no process of it is left.
pub(crate) async fn supervise(
    place: &Place,
    generation: Generation,
    assignment: Arc<Assignment>,
    board: &Board,
    stop: impl Future<Output = ()>,
) {
    let mut life = Life::new(place, generation, assignment, board);
    tokio::select! {
        never = life.run() => match never {},
        () = stop => {}
    }
    life.end().await;
}

/// The first report of an assignment.
pub(crate) fn starting(generation: Generation, assignment: &Assignment) -> WorkloadReport {
    WorkloadReport {
        generation,
        deployment: assignment.deployment.clone(),
        workload: assignment.digest,
        state: WorkloadState::Starting,
        restarts: 0,
        message: String::new(),
        url: None,
        serving: None,
        cause: None,
        images: Vec::new(),
        services: Vec::new(),
    }
}

/// One assignment's life on this agent.
struct Life<'a> {
    place: &'a Place,
    assignment: Arc<Assignment>,
    scope: Scope,
    board: &'a Board,
    report: WorkloadReport,
    running: Option<Running>,
    /// Since when it has been ready without a break.
    ready: Option<Instant>,
    failures: u32,
}

impl<'a> Life<'a> {
    fn new(
        place: &'a Place,
        generation: Generation,
        assignment: Arc<Assignment>,
        board: &'a Board,
    ) -> Self {
        let report = starting(generation, &assignment);
        let scope = place.scope(generation, &assignment);
        let (running, ready, failures) = (None, None, 0);
        Self {
            place,
            assignment,
            scope,
            board,
            report,
            running,
            ready,
            failures,
        }
    }

    /// Keeps the workload going. May be dropped at any point; [`Life::end`] then finds what runs.
    async fn run(&mut self) -> Infallible {
        let mut fresh = false;
        loop {
            self.show(WorkloadState::Starting, String::new());
            let exit = match self.prepare(&mut fresh).await {
                Ok(()) => self.once().await,
                Err(exit) => exit,
            };
            if matches!(exit, Exit::Ended(_)) {
                self.report.cause = Some(WorkloadCause::Exited);
            }
            self.sweep(WorkloadState::Restarting, GRACE_LEFTOVERS).await;
            match after(restart(&self.assignment.workload), &exit) {
                WorkloadState::Restarting => self.pause(&exit).await,
                state => {
                    self.show(state, exit.to_string());
                    pending::<()>().await;
                }
            }
        }
    }

    /// Gives the assignment empty folders, once.
    async fn prepare(&mut self, fresh: &mut bool) -> Result<(), Exit> {
        if !*fresh {
            let next = &self.assignment.deployment;
            self.place.clear(next).await.map_err(Exit::NotStarted)?;
            *fresh = true;
        }
        Ok(())
    }

    /// Starts the workload and watches it until it has ended.
    async fn once(&mut self) -> Exit {
        let launch = self.place.launch(&mut self.scope, &self.assignment);
        let launch = match launch.await {
            Ok(launch) => launch,
            Err(error) => return Exit::NotStarted(error),
        };
        let mut running = match launch.start() {
            Ok(running) => running,
            Err(error) => {
                self.report.cause = not_started(&error);
                return Exit::NotStarted(error);
            }
        };
        self.report.url = Some(self.place.url(launch.port()));
        let exited = running.take_exit();
        self.running = Some(running);
        let health = self.assignment.health.clone();
        let probing = probe::watch(
            health.as_ref(),
            Target::Process(&launch),
            |state, message| {
                self.show(state, message);
            },
        );
        tokio::select! {
            exit = exited => exit,
            never = probing => match never {},
        }
    }

    async fn pause(&mut self, exit: &Exit) {
        let settled = self.ready.is_some_and(|since| since.elapsed() >= SETTLED);
        self.failures = if settled { 1 } else { self.failures + 1 };
        self.show(WorkloadState::Restarting, exit.to_string());
        sleep(clock::pause(self.failures, FIRST_PAUSE, LONGEST_PAUSE)).await;
        self.report.restarts += 1;
    }

    async fn end(&mut self) {
        self.show(WorkloadState::Stopping, String::new());
        self.sweep(WorkloadState::Stopping, GRACE).await;
        if let Some(door) = &self.place.door {
            door.close();
        }
        self.place.forget_output().await;
        self.place.vault.clear();
        self.board.send_replace(None);
    }

    /// Ends what runs of the workload, and keeps trying for as long as something is left: nothing is
    /// started beside it, and nobody is told that it has stopped.
    async fn sweep(&mut self, state: WorkloadState, grace: Duration) {
        while let Err(error) = self.scope.end(self.running.as_ref(), grace).await {
            let message = format!("{:#}", anyhow::Error::from(error));
            tracing::error!(error = message, "the workload cannot be ended");
            self.show(state, message);
            sleep(END_AGAIN).await;
        }
        if let Some(running) = self.running.take() {
            running.close().await;
        }
    }

    fn show(&mut self, state: WorkloadState, message: String) {
        match state {
            WorkloadState::Ready => self.ready = self.ready.or_else(|| Some(Instant::now())),
            // How long it was ready is still to be known when it has ended.
            WorkloadState::Restarting => {}
            _ => self.ready = None,
        }
        self.report.cause = match state {
            WorkloadState::Ready | WorkloadState::Completed => None,
            WorkloadState::Unready => Some(WorkloadCause::ProbeFailing),
            WorkloadState::Starting if !message.is_empty() => Some(WorkloadCause::ProbeFailing),
            // What ended it last is why it is not ready yet.
            _ => self.report.cause,
        };
        self.report.state = state;
        self.report.message = line(&message);
        let report = Some(self.report.clone());
        self.board.send_if_modified(|shown| {
            let changed = *shown != report;
            *shown = report;
            changed
        });
    }
}

/// What happens when it ends. What this agent cannot run is not tried again.
fn restart(workload: &Workload) -> RestartPolicy {
    match workload {
        Workload::Process(process) => process.restart,
        Workload::Compose(_) => RestartPolicy::Never,
    }
}

/// Why a program does not start, if that is its own fault. What the machine lacks at the moment is not.
fn not_started(error: &io::Error) -> Option<WorkloadCause> {
    use io::ErrorKind::{InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied};
    let is_its_own = matches!(
        error.kind(),
        NotFound | PermissionDenied | NotADirectory | IsADirectory | InvalidInput
    );
    // ENOEXEC: the file is no program for this machine.
    let is_no_program = error.raw_os_error() == Some(8);
    (is_its_own || is_no_program).then_some(WorkloadCause::StartFailed)
}

/// The state after an exit.
fn after(policy: RestartPolicy, exit: &Exit) -> WorkloadState {
    match (policy, exit.is_success()) {
        (RestartPolicy::Always, _) | (RestartPolicy::OnFailure, false) => WorkloadState::Restarting,
        (_, true) => WorkloadState::Completed,
        (RestartPolicy::Never, false) => WorkloadState::Failed,
    }
}

/// One bounded line.
fn line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MESSAGE)
        .collect()
}

#[cfg(test)]
mod tests;

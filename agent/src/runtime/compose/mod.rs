//! Runs the services of one Compose file until it is told to stop: fetches what it needs while the version before goes on, brings
//! the engine to what the file says, watches, brings it there again with growing pauses, and ends with nothing of it left. It
//! reports each change and never fails, as the runtime of processes. What runs is the engine's, so it outlives an agent that is
//! killed, and is taken over by the next.

mod before;
mod fetch;
mod find;
mod left;
mod logs;
mod overlay;
mod progress;
mod project;
mod sight;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use easyenclave_engine::{Compose, Container, Engine, State};
use easyenclave_schemas::Generation;
use easyenclave_schemas::documents::{ComposeWorkload, Workload};
use easyenclave_schemas::wire::{WorkloadCause, WorkloadReport, WorkloadState};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::probe::{self, Target};
use super::process::Place;
use super::{Board, END_AGAIN, FIRST_PAUSE, LONGEST_PAUSE, SETTLED, line, starting};
use crate::clock;
use crate::instructions::Assignment;
use before::{Before, Note};
pub(crate) use find::{look_for_engine, runtimes};
pub(crate) use left::{clear, has};
pub(crate) use logs::{Page, page};
pub(crate) use project::Trouble;
use project::{GRACE, Ground, Written};
use sight::Condition;

/// Until all is ready, containers are looked at this often …
const SOON: Duration = Duration::from_millis(500);
/// … and then this often. Each look starts two programs.
const LATER: Duration = Duration::from_secs(2);

/// Runs an assignment until `stop`. Unless `goes_on` says then that the next one is of the same deployment, nothing of it is
/// left when this returns.
pub(crate) async fn supervise(
    place: &Place,
    generation: Generation,
    assignment: Arc<Assignment>,
    board: &Board,
    stop: impl Future<Output = ()>,
    goes_on: impl FnOnce() -> bool,
) {
    let Workload::Compose(workload) = &assignment.workload else {
        return;
    };
    let ground = Ground::of(place);
    let note = ground.note(&assignment.deployment).await;
    let before = Before::of(place, note, board.borrow().as_ref());
    let mut life = Life {
        place,
        ground: &ground,
        before: &before,
        workload,
        assignment: &assignment,
        board,
        report: starting(generation, &assignment),
        news: String::new(),
        ready: None,
        noted: false,
        failures: 0,
    };
    tokio::select! {
        never = life.run() => match never {},
        never = before.watch(&ground, board) => match never {},
        () = stop => {}
    }
    if !goes_on() {
        life.end().await;
    }
}

/// One assignment's life on this agent.
struct Life<'a> {
    place: &'a Place,
    ground: &'a Ground,
    before: &'a Before,
    workload: &'a ComposeWorkload,
    assignment: &'a Assignment,
    board: &'a Board,
    report: WorkloadReport,
    /// What the last update has made anew, told for as long as all is well.
    news: String,
    /// Since when it has been ready without a break.
    ready: Option<Instant>,
    /// Whether it is noted that it was ready.
    noted: bool,
    failures: u32,
}

impl Life<'_> {
    /// Keeps the workload going. May be dropped at any point.
    async fn run(&mut self) -> Infallible {
        self.show(Condition::of(WorkloadState::Starting));
        loop {
            let trouble = match self.once().await {
                Ok(never) => match never {},
                Err(trouble) => trouble,
            };
            // What it was before counts once.
            let settled = self
                .ready
                .take()
                .is_some_and(|since| since.elapsed() >= SETTLED);
            self.failures = if settled { 1 } else { self.failures + 1 };
            self.show(Condition {
                state: WorkloadState::Restarting,
                cause: Some(trouble.cause),
                message: trouble.message,
            });
            sleep(clock::pause(self.failures, FIRST_PAUSE, LONGEST_PAUSE)).await;
        }
    }

    /// Brings the engine to what the file says, and watches for as long as it stays there.
    async fn once(&mut self) -> Result<Infallible, Trouble> {
        let deployment = &self.assignment.deployment;
        let engine = self.ground.begin(deployment).await?;
        let compose = engine.compose().await.ok_or_else(|| Trouble {
            cause: WorkloadCause::EngineDown,
            message: "there is an engine and no compose".into(),
        })?;
        let secrets = self.place.vault.mounts();
        let written = self
            .ground
            .write(&compose, self.workload, deployment, &secrets)
            .await?;
        fetch::fetch(&engine, &compose, &written, |message| {
            self.show(Condition {
                message,
                ..Condition::of(WorkloadState::Starting)
            });
        })
        .await?;
        self.supersede().await?;
        let services = self.update(&engine, &compose, &written).await?;
        self.report.url = written.port.map(|port| self.place.url(port));
        let (told, heard) = watch::channel(None);
        let target = Target::Port(written.port);
        let probing = probe::watch(self.assignment.health.as_ref(), target, |state, message| {
            told.send_replace(Some((state, message)));
        });
        tokio::select! {
            never = probing => match never {},
            trouble = self.watch(&engine, (&services, written.port), heard) => Err(trouble),
        }
    }

    /// Takes back that another version serves, before anything of it is touched. One that is wanted again goes on.
    async fn supersede(&mut self) -> Result<(), Trouble> {
        let digest = self.assignment.digest;
        if !self.noted && !self.before.is(digest) {
            self.ground.forget_note().await?;
            self.before.end();
            self.show(Condition::of(WorkloadState::Starting));
        }
        Ok(())
    }

    /// Starts what is not as it should be, and notes what was made anew. Answers the services that are there.
    async fn update(
        &mut self,
        engine: &Engine,
        compose: &Compose,
        written: &Written,
    ) -> Result<Vec<String>, Trouble> {
        let (owner, notes) = (self.ground.owner.clone(), self.ground.traces.notes());
        let before = engine.containers(&owner).await?;
        engine.note_volumes(&owner, &notes).await?;
        let mut progress = progress::Progress::default();
        let up = compose.up(&written.project, GRACE, |line| {
            if let Some(message) = progress.note(line) {
                let state = Condition::of(WorkloadState::Starting);
                self.show(Condition { message, ..state });
            }
        });
        if let Err(error) = up.await {
            if !self.has_port(engine).await {
                self.ground.give_up_taken_port(written.port).await;
            }
            let answers = engine.containers(&owner).await.is_ok();
            return Err(project::not_up(error, answers));
        }
        let mut after = engine.containers(&owner).await?;
        if engine.remove_strays(&after, &written.services).await? {
            after = engine.containers(&owner).await?;
        }
        engine.remove_unused(&owner, &notes).await?;
        self.place.vault.keep_mounts();
        if !before.is_empty() {
            self.news = sight::changes(&before, &after);
        }
        let mut services: Vec<_> = after.into_iter().map(|found| found.service).collect();
        services.dedup();
        Ok(services)
    }

    /// Whether the port is taken by its own service, which still runs as it was. It is while nobody can tell.
    async fn has_port(&self, engine: &Engine) -> bool {
        let service = self.workload.web.as_ref().map(|web| &web.service);
        let has =
            |found: &Container| found.state == State::Running && Some(&found.service) == service;
        let found = engine.containers(&self.ground.owner).await;
        found.map_or(true, |found| found.iter().any(has))
    }

    /// Tells how the containers are, until one is missing that should be there.
    async fn watch(
        &mut self,
        engine: &Engine,
        (names, port): (&[String], Option<u16>),
        mut heard: watch::Receiver<Option<(WorkloadState, String)>>,
    ) -> Trouble {
        loop {
            let probed = heard.borrow_and_update().clone();
            if let Err(trouble) = self.look(engine, (names, port), probed).await {
                return trouble;
            }
            let pause = match self.report.state {
                WorkloadState::Ready => LATER,
                _ => SOON,
            };
            // The probe's sender lives as long as this.
            let _ = timeout(pause, heard.changed()).await;
        }
    }

    /// Notes once that this version is ready, before anybody is told. Where that cannot be written, the next one hides it while it
    /// is fetched.
    async fn note(&mut self, names: &[String], port: Option<u16>) {
        if self.noted {
            return;
        }
        let note = Note {
            workload: self.assignment.digest,
            health: self.assignment.health.clone(),
            services: names.to_vec(),
            port,
            images: self.report.images.clone(),
        };
        if let Err(error) = self.ground.put_note(&note).await {
            tracing::warn!(error = %error, "it cannot be noted that this version is ready");
        }
        self.noted = true;
    }

    async fn look(
        &mut self,
        engine: &Engine,
        (names, port): (&[String], Option<u16>),
        probed: Option<(WorkloadState, String)>,
    ) -> Result<(), Trouble> {
        let containers = engine.containers(&self.ground.owner).await?;
        let (services, missing) = sight::services(names, &containers, self.ready.is_some());
        if let Some(name) = missing.first() {
            return Err(Trouble {
                cause: WorkloadCause::Exited,
                message: format!("{name}: its container is gone"),
            });
        }
        self.see_images(engine, &containers).await?;
        self.report.services = sight::told(&services);
        let restarts = containers.iter().map(|found| found.restarts).sum::<u64>();
        self.report.restarts = u32::try_from(restarts).unwrap_or(u32::MAX);
        let mut whole = sight::whole(&services);
        if whole.state == WorkloadState::Ready {
            whole = sight::mismatch(&self.report.images).unwrap_or_else(|| self.probed(probed));
        }
        if whole.state == WorkloadState::Ready {
            self.note(names, port).await;
        }
        self.show(whole);
        Ok(())
    }

    /// Looks at images only when others run than before.
    async fn see_images(
        &mut self,
        engine: &Engine,
        containers: &[Container],
    ) -> Result<(), Trouble> {
        let mut ids: Vec<_> = containers.iter().map(|found| found.image.clone()).collect();
        ids.sort();
        ids.dedup();
        let known: BTreeMap<_, _> = self
            .report
            .images
            .iter()
            .map(|image| ((image.service.as_str(), format!("sha256:{}", image.id)), ()))
            .collect();
        let is_known =
            |found: &Container| known.contains_key(&(found.service.as_str(), found.image.clone()));
        if !containers.iter().all(is_known) || known.len() > containers.len() {
            let images = engine.images(&ids).await?;
            self.report.images = sight::images(containers, &images);
        }
        Ok(())
    }

    /// What the probe says once all containers are well.
    fn probed(&self, probed: Option<(WorkloadState, String)>) -> Condition {
        match probed {
            None => Condition::of(WorkloadState::Starting),
            Some((WorkloadState::Ready, _)) => Condition {
                message: self.news.clone(),
                ..Condition::of(WorkloadState::Ready)
            },
            Some((state, message)) => Condition {
                state,
                cause: Some(WorkloadCause::ProbeFailing),
                message,
            },
        }
    }

    /// Ends all of it, and keeps trying for as long as something is left: nothing is started beside it, and nobody is
    /// told that it has stopped.
    async fn end(&mut self) {
        self.before.end();
        self.show(Condition::of(WorkloadState::Stopping));
        while let Err(error) = self.ground.clear().await {
            let trouble = Trouble::from(error);
            tracing::error!(error = trouble.message, "the project cannot be removed");
            self.show(Condition {
                state: WorkloadState::Stopping,
                cause: Some(trouble.cause),
                message: trouble.message,
            });
            sleep(END_AGAIN).await;
        }
        if let Some(door) = &self.place.door {
            door.close();
        }
        self.place.vault.clear();
        self.board.send_replace(None);
    }

    fn show(&mut self, condition: Condition) {
        match condition.state {
            WorkloadState::Ready => self.ready = self.ready.or_else(|| Some(Instant::now())),
            // How long it was ready is still to be known when it is brought back.
            WorkloadState::Restarting => {}
            _ => self.ready = None,
        }
        self.report.state = condition.state;
        self.report.cause = condition.cause;
        self.report.message = line(&condition.message);
        if condition.state == WorkloadState::Ready {
            self.before.end();
        }
        self.report.serving =
            (condition.state == WorkloadState::Ready).then_some(self.assignment.digest);
        let report = Some(match self.report.serving {
            Some(_) => self.report.clone(),
            None => self.before.beside(self.report.clone()),
        });
        self.board.send_if_modified(|shown| {
            let changed = *shown != report;
            *shown = report;
            changed
        });
    }
}

#[cfg(test)]
mod tests;

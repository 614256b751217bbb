//! What ran here before, and serves until the wanted version takes its place. The version that was ready last is noted among the
//! agent's files, so that the next start of the agent knows it too; it is watched with its own probe, and taken for no more than
//! what is seen of it.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use easyenclave_engine::Container;
use easyenclave_schemas::Digest;
use easyenclave_schemas::documents::Health;
use easyenclave_schemas::wire::{RunningImage, WorkloadReport, WorkloadState};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;

use super::project::Ground;
use super::sight;
use crate::runtime::Board;
use crate::runtime::probe::{self, Target};
use crate::runtime::process::Place;

/// It is looked at this often.
const LOOK: Duration = Duration::from_secs(2);

/// The version that was ready here last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) workload: Digest,
    pub(super) health: Option<Health>,
    pub(super) services: Vec<String>,
    pub(super) port: Option<u16>,
    pub(super) images: Vec<RunningImage>,
}

impl Note {
    /// Whether these containers are those of this version, and well.
    fn is_of(&self, containers: &[Container]) -> bool {
        let (services, missing) = sight::services(&self.services, containers, true);
        let is_noted = |found: &Container| {
            let id = |image: &RunningImage| format!("sha256:{}", image.id);
            let is_it = |image: &&RunningImage| image.service == found.service;
            let mut of_service = self.images.iter().filter(is_it);
            of_service.any(|image| id(image) == found.image)
        };
        missing.is_empty()
            && sight::whole(&services).state == WorkloadState::Ready
            && containers.iter().all(is_noted)
    }
}

/// How far the version before goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Going {
    /// It does not serve.
    Fails,
    Serves,
    /// Another version has begun to take its place.
    Over,
}

/// What ran here before.
#[derive(Debug)]
pub(super) struct Before {
    note: Option<Note>,
    url: Option<String>,
    going: watch::Sender<Going>,
}

impl Before {
    /// What is noted. It serves until it is seen not to, if that was told last.
    pub(super) fn of(place: &Place, note: Option<Note>, told: Option<&WorkloadReport>) -> Self {
        let noted = note.as_ref().map(|note| note.workload);
        let going = match told.and_then(|report| report.serving) {
            Some(serving) if Some(serving) == noted => Going::Serves,
            _ => Going::Fails,
        };
        let port = note.as_ref().and_then(|note| note.port);
        Self {
            note,
            url: port.map(|port| place.url(port)),
            going: watch::Sender::new(going),
        }
    }

    /// Whether it is this version.
    pub(super) fn is(&self, workload: Digest) -> bool {
        let note = self.note.as_ref();
        note.is_some_and(|note| note.workload == workload)
    }

    /// From now on nobody is served by it as it was.
    pub(super) fn end(&self) {
        self.going.send_replace(Going::Over);
    }

    /// Adds to a report of what is wanted, and not ready, what serves meanwhile.
    pub(super) fn beside(&self, mut report: WorkloadReport) -> WorkloadReport {
        let serves = *self.going.borrow() == Going::Serves;
        report.serving = None;
        if let Some(note) = self.note.as_ref().filter(|_| serves) {
            report.serving = Some(note.workload);
            report.images.clone_from(&note.images);
            report.url.clone_from(&self.url);
        }
        report
    }

    /// Watches it for as long as it goes on, and tells when it begins or ends to serve.
    pub(super) async fn watch(&self, ground: &Ground, board: &Board) -> Infallible {
        let mut going = self.going.subscribe();
        if let Some(note) = &self.note {
            let (told, heard) = watch::channel(None);
            let target = Target::Port(note.port);
            let probing = probe::watch(note.health.as_ref(), target, |state, _| {
                told.send_replace(Some(state));
            });
            tokio::select! {
                never = probing => match never {},
                never = self.look(ground, note, heard, board) => match never {},
                _ = going.wait_for(|going| *going == Going::Over) => {}
            }
        }
        pending().await
    }

    async fn look(
        &self,
        ground: &Ground,
        note: &Note,
        mut heard: watch::Receiver<Option<WorkloadState>>,
        board: &Board,
    ) -> Infallible {
        loop {
            let probed = *heard.borrow_and_update();
            let is_there = ground.containers().await.is_ok_and(|it| note.is_of(&it));
            match (is_there, probed) {
                // What its probe says is not known yet.
                (true, None) => {}
                (true, Some(WorkloadState::Ready)) => self.tell(Going::Serves, board),
                _ => self.tell(Going::Fails, board),
            }
            // The probe's sender lives as long as this.
            let _ = timeout(LOOK, heard.changed()).await;
        }
    }

    fn tell(&self, now: Going, board: &Board) {
        let is_news = self.going.send_if_modified(|going| {
            let is_news = *going != now && *going != Going::Over;
            if is_news {
                *going = now;
            }
            is_news
        });
        if is_news {
            board.send_if_modified(|shown| {
                let report = shown.take();
                *shown = report.map(|report| self.beside(report));
                true
            });
        }
    }
}

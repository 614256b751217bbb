//! Images that run and are not those that a version names, whatever the agent makes of them.

use std::sync::Arc;

use easyenclave::clock::Clock;
use easyenclave::observe::observe;
use easyenclave::presence::Heard;
use easyenclave::revision::{Revision, WorkloadVersion};
use easyenclave_plan::{Replica, Reported};
use easyenclave_schemas::wire::{
    CallRefusals, HeartbeatRequest, RunningImage, WorkloadCause, WorkloadReport, WorkloadState,
    routes,
};
use easyenclave_schemas::{Digest, Generation};
use serde_json::json;

use crate::api::{Served, post, serve};
use crate::place::{Agent, Place};

/// An agent that says of its Compose file that it is ready.
struct Desk {
    place: Place,
    served: Served,
    agent: Agent,
    version: WorkloadVersion,
    beats: u64,
}

impl Desk {
    async fn new(pin: Digest) -> Self {
        let place = Place::new(&json!({}));
        let served = serve(&place).await;
        let agent = place.agent().await;
        place.join(&agent).await.expect("accepted");
        let text = json!({ "services": { "web": { "image": format!("a/web@sha256:{pin}") },
            "db": { "image": "a/db:1" } } });
        let workload = json!({ "compose": { "source": { "inline": text.to_string() } } });
        let version = WorkloadVersion {
            workload: serde_json::from_value(workload).expect("a workload"),
            health: None,
            secrets: Vec::new(),
            secrets_digest: None,
        };
        Self {
            place,
            served,
            agent,
            version,
            beats: 0,
        }
    }

    /// The version is of the revision in force from now on.
    fn adopt(&self) {
        let world = &self.place.world;
        let mut revision = Revision::clone(&world.revision().expect("a revision"));
        let version = Arc::new(self.version.clone());
        revision.workloads.insert(version.digest(), version);
        world.adopt(Arc::new(revision));
    }

    /// Its agent says that these run, and that all is well.
    async fn say(&mut self, images: Vec<RunningImage>) {
        self.beats += 1;
        let beat = HeartbeatRequest {
            sequence: self.beats,
            boot_id: "boot".into(),
            address: "http://127.0.0.1:10".into(),
            generation: Generation(1),
            workload: Some(WorkloadReport {
                generation: Generation(1),
                deployment: "acme/web".parse().expect("an id"),
                workload: self.version.digest(),
                state: WorkloadState::Ready,
                restarts: 0,
                message: String::new(),
                url: None,
                serving: Some(self.version.digest()),
                cause: None,
                images,
                services: Vec::new(),
            }),
            refusals: CallRefusals::default(),
            session: None,
            connector: None,
            runtimes: None,
        };
        let path = routes::heartbeat(&self.agent.order.agent());
        let (status, body) = post(&self.served, &self.agent, &path, &beat).await;
        assert_eq!(status, 200, "{body}");
    }

    /// What the planner is told of it.
    fn seen(&self) -> Replica {
        let world = &self.place.world;
        let revision = world.revision().expect("a revision");
        let observed = observe(world, &revision, self.place.clock.now());
        match &observed.agents[&self.agent.order.agent()].reported {
            Reported::Running(replica) => replica.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// What of it is kept for the status.
    fn heard(&self) -> Heard {
        let heard = self.place.world.presence.heard(&self.agent.order.agent());
        heard.expect("heard")
    }
}

fn running(service: &str, digest: Option<Digest>) -> RunningImage {
    RunningImage {
        service: service.into(),
        image: format!("a/{service}"),
        id: Digest::of(service.as_bytes()),
        digest,
    }
}

#[tokio::test]
async fn a_replica_that_runs_another_image_than_its_version_names_is_not_ready_whatever_it_says() {
    let pin = Digest::of(b"manifest");
    let mut desk = Desk::new(pin).await;
    desk.adopt();
    let db = running("db", None);
    desk.say(vec![db.clone(), running("web", Some(pin))]).await;
    assert!(desk.seen().ready);
    let other = Digest::of(b"another");
    desk.say(vec![db.clone(), running("web", Some(other))])
        .await;
    let seen = desk.seen();
    let mismatch = Some(WorkloadCause::DigestMismatch);
    assert_eq!(
        (seen.ready, seen.cause, seen.ready_since),
        (false, mismatch, None)
    );
    let heard = desk.heard();
    assert_eq!(heard.failing_since, Some(desk.place.clock.now()));
    let heard = heard.workload.expect("a workload");
    assert_eq!(heard.state, WorkloadState::Unready);
    assert_eq!(
        heard.message,
        "web: the image that runs is not the one that is named"
    );
    assert_eq!(heard.images[1].digest, Some(other), "status shows it");
    desk.say(Vec::new()).await;
    let seen = desk.seen();
    assert_eq!((seen.ready, seen.cause), (false, None), "nobody knows");
    desk.say(vec![db, running("web", Some(pin))]).await;
    assert!(desk.seen().ready);
}

#[tokio::test]
async fn what_was_heard_before_its_version_was_known_is_judged_by_the_next_pass() {
    let mut desk = Desk::new(Digest::of(b"manifest")).await;
    desk.say(vec![running("web", Some(Digest::of(b"another")))])
        .await;
    assert!(desk.seen().ready, "nobody knows what it should be");
    desk.adopt();
    assert_eq!(desk.seen().cause, Some(WorkloadCause::DigestMismatch));
    let heard = desk.heard().workload.expect("a workload");
    assert_eq!(heard.state, WorkloadState::Unready);
}

//! Google Cloud: units are confidential virtual machines of Compute Engine. Nothing is kept here: names and request ids
//! follow from the order, and what exists is found by its labels. Never touches a machine that is not of its owner.

mod cloud;
#[cfg(feature = "testing")]
pub mod fake;
mod fault;
mod listing;
mod machine;
pub mod names;
mod seats;

use std::sync::Arc;

use async_trait::async_trait;
use easyenclave_capacity::{LaunchRequest, ProvideError, Provider};
use easyenclave_schemas::OrderId;
use easyenclave_schemas::wire::{CONSOLE, GcpMachine, Unit, console};
use google_cloud_auth::credentials::{self, Credentials};
use google_cloud_compute_v1::model::Operation;
use google_cloud_compute_v1::model::instance::Status;
use tokio::time::{Instant, sleep};

pub use cloud::Pace;
use cloud::{Cloud, Inserted, is_over};
use fault::Fault;
use listing::{Found, Listing, Listings};
pub use machine::{CONFIG, PORTS, TAG};
use names::Owner;
use seats::Seats;

/// How often an answer may be an old one's, which is followed by one more request. Each is a machine of the same order and
/// claim that was there before.
const MEMORIES: usize = 16;

/// The longest last words, in characters.
const WORDS: usize = 300;

/// What a provider needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The project that the machines are in.
    pub project: String,
    /// Whose they are.
    pub owner: Owner,
    /// How long things may take.
    pub pace: Pace,
    /// Where Compute Engine answers, if not where Google has it.
    pub endpoint: Option<String>,
    /// Without proof of who asks; for a Compute Engine that asks for none.
    pub anonymous: bool,
}

impl Settings {
    /// Machines where Google has them, at the usual pace.
    pub fn of(project: String, owner: Owner) -> Self {
        Self {
            project,
            owner,
            pace: Pace::default(),
            endpoint: None,
            anonymous: false,
        }
    }
}

/// Units as machines of Google Cloud.
pub struct GcpProvider {
    cloud: Cloud,
    owner: Owner,
    listings: Listings,
    seats: Seats,
}

impl GcpProvider {
    /// Finds credentials as Google's own tools do: `GOOGLE_APPLICATION_CREDENTIALS`, what `gcloud` has left, or the
    /// machine's own. Nothing is sent yet.
    ///
    /// # Errors
    /// When there are none that can be read.
    pub async fn open(settings: Settings) -> Result<Self, ProvideError> {
        let Settings {
            project,
            owner,
            pace,
            endpoint,
            anonymous,
        } = settings;
        let cloud = Cloud::new(project, endpoint.as_deref(), proof(anonymous)?, pace).await?;
        tracing::info!(project = cloud.project, "machines are made by Google Cloud");
        Ok(Self {
            cloud,
            owner,
            listings: Listings::default(),
            seats: Seats::default(),
        })
    }

    async fn look(&self) -> Result<Arc<Listing>, Fault> {
        self.listings.look(&self.cloud, &self.owner).await
    }

    /// Makes the machine, or waits for one that is being made. An old answer is one that was over when it came and of
    /// which nothing is left: it is of an earlier request, for a machine that was there before.
    async fn make(&self, request: &LaunchRequest, machine: &GcpMachine) -> Result<(), Fault> {
        let zone = machine.zone.as_str();
        let what = format!("machine of {} in {zone}", request.order);
        let purpose = format!("make {}", request.fence);
        let (mut after, mut last) = (String::new(), None);
        for _ in 0..MEMORIES {
            self.between(&after).await;
            let id = self.owner.request_id(&request.order, &purpose, &after);
            let body = machine::body(request, machine, &self.owner);
            let operation = match self.cloud.insert(zone, body, &id).await? {
                Inserted::Taken(fault) => return self.take(request, zone, fault).await,
                Inserted::Operation(operation) => *operation,
            };
            let is_old = is_over(&operation);
            let operation = self.cloud.over(zone, operation).await?;
            match Fault::of_operation(&what, &operation) {
                Some(fault) if !is_old => return Err(fault),
                None if self.is_made(request, zone, is_old).await? => return Ok(()),
                None if !is_old => return Err(Fault::later(what, "it is gone again")),
                fault => (after, last) = (named(&operation), fault),
            }
        }
        Err(last.unwrap_or_else(|| Fault::later(what, "only old answers come")))
    }

    /// The pause after an old answer.
    async fn between(&self, after: &str) {
        if !after.is_empty() {
            sleep(self.cloud.pace.look).await;
        }
    }

    /// Whether the machine of this very claim is there. By an old answer it has to run: one that is about to is of a later
    /// request.
    async fn is_made(
        &self,
        request: &LaunchRequest,
        zone: &str,
        by_old: bool,
    ) -> Result<bool, Fault> {
        let made = self.at(&request.order, zone).await?;
        Ok(made.is_some_and(|found| {
            is_of(&found, request) && (!by_old || found.status == Some(Status::Running))
        }))
    }

    /// Our machine of an order in a zone, whatever listings say; they are expected to have it from now on. One that is not
    /// ours and has its name is an error.
    async fn at(&self, order: &OrderId, zone: &str) -> Result<Option<Found>, Fault> {
        let name = self.owner.machine(order);
        let Some(instance) = self.cloud.get(zone, &name).await? else {
            return Ok(None);
        };
        match Found::of(&self.owner, zone, &instance) {
            Some(found) if found.order == *order => {
                self.listings.expect(found.clone());
                Ok(Some(found))
            }
            _ => Err(Fault::person(
                format!("machine of {order} in {zone}"),
                format!("{name} is there already, and is not ours"),
            )),
        }
    }

    /// The same without a word about what is not ours.
    async fn ours(&self, order: &OrderId, zone: &str) -> Result<Option<Found>, Fault> {
        let there = self.cloud.get(zone, &self.owner.machine(order)).await?;
        let ours = there.and_then(|there| Found::of(&self.owner, zone, &there));
        if let Some(found) = &ours {
            self.listings.expect(found.clone());
        }
        Ok(ours)
    }

    /// The name is in use: by the very machine that is wanted, or else by one of ours that has to go first. Where no
    /// machine has it, something else may, such as a disk that was left behind.
    async fn take(&self, request: &LaunchRequest, zone: &str, taken: Fault) -> Result<(), Fault> {
        let deadline = Instant::now() + self.cloud.pace.operation;
        let what = format!("machine of {} in {zone}", request.order);
        loop {
            let Some(found) = self.at(&request.order, zone).await? else {
                return Err(Fault::later(
                    what,
                    format!("its name is in use: {}", taken.why),
                ));
            };
            if !is_of(&found, request) {
                self.destroy(&found).await?;
                return Err(Fault::later(what, "its name was in use by an older one"));
            }
            if found.status == Some(Status::Running) {
                return Ok(());
            }
            if Instant::now() + self.cloud.pace.look > deadline {
                return Err(Fault::later(what, "it does not run yet"));
            }
            sleep(self.cloud.pace.look).await;
        }
    }

    /// Ends one machine, named by its number, and waits until it is gone.
    async fn destroy(&self, found: &Found) -> Result<(), Fault> {
        let Found {
            order, zone, id, ..
        } = found;
        let what = format!("removing machine {} in {zone}", found.name);
        let purpose = format!("remove {id}");
        let (mut after, mut last) = (String::new(), None);
        for _ in 0..MEMORIES {
            self.between(&after).await;
            let request = self.owner.request_id(order, &purpose, &after);
            let Some(operation) = self.cloud.delete(zone, *id, &request).await? else {
                self.listings.forget(*id);
                return Ok(());
            };
            let is_old = is_over(&operation);
            let operation = self.cloud.over(zone, operation).await?;
            if self.cloud.get(zone, &id.to_string()).await?.is_none() {
                self.listings.forget(*id);
                return Ok(());
            }
            match Fault::of_operation(&what, &operation) {
                Some(fault) if !is_old => return Err(fault),
                None if !is_old => return Err(Fault::later(what, "it is there still")),
                fault => (after, last) = (named(&operation), fault),
            }
        }
        Err(last.unwrap_or_else(|| Fault::later(what, "only old answers come")))
    }

    /// Ends the machines of an order that these words are true of, also one that no listing shows yet.
    async fn remove_those(
        &self,
        order: &OrderId,
        which: impl Fn(&Found) -> bool + Send,
    ) -> Result<(), Fault> {
        let listing = self.look().await?;
        let mut those: Vec<Found> = listing.of(order).cloned().collect();
        if let Some(zone) = self.seats.zone(order) {
            let ours = self.ours(order, zone.as_str()).await?;
            let unseen = |found: &Found| those.iter().all(|listed| listed.id != found.id);
            those.extend(ours.filter(unseen));
        }
        for found in those.iter().filter(|found| which(found)) {
            self.destroy(found).await?;
        }
        Ok(())
    }

    /// Ends what is in the way of an order's machine. Answers with the machines that there are then, and the state of the
    /// one of this very claim, if it is there.
    async fn make_room(
        &self,
        request: &LaunchRequest,
    ) -> Result<(Arc<Listing>, Option<Status>), Fault> {
        let mut listing = self.look().await?;
        let (mut there, mut destroyed) = (None, false);
        for found in listing.of(&request.order) {
            match is_of(found, request) {
                true => there = found.status.clone(),
                false => {
                    self.destroy(found).await?;
                    destroyed = true;
                }
            }
        }
        if destroyed {
            // That takes a while, in which others have been made.
            listing = self.look().await?;
        }
        Ok((listing, there))
    }

    /// The end of what a machine of an order has written to its serial port.
    async fn serial(&self, order: &OrderId) -> Result<String, Fault> {
        let listing = self.look().await?;
        let newest = listing
            .of(order)
            .max_by_key(|found| (found.is_alive(), found.fence));
        let Some(found) = newest else {
            return Ok(String::new());
        };
        let last = i64::try_from(CONSOLE).expect("small");
        let output = self.cloud.serial(&found.zone, found.id, last).await?;
        let text = output.and_then(|output| output.contents);
        Ok(console(&text.unwrap_or_default()))
    }
}

#[async_trait]
impl Provider for GcpProvider {
    async fn ensure(&self, request: &LaunchRequest) -> Result<(), ProvideError> {
        let machine = machine::wanted(request, &self.owner, &self.cloud.project)?;
        let (listing, there) = self.make_room(request).await?;
        if there == Some(Status::Running) {
            return Ok(());
        }
        let limit = request.spec.max_units;
        let (order, zone) = (&request.order, &machine.zone);
        let seat = self.seats.take(order, zone, &listing, limit);
        let seat = seat.ok_or(ProvideError::NoCapacity { limit })?;
        match self.make(request, machine).await {
            Ok(()) => {
                seat.settle();
                Ok(())
            }
            Err(fault) => Err(fault
                .without(&request.bootstrap_token)
                .at(zone, &machine.machine_type)),
        }
    }

    async fn remove(&self, order: &OrderId) -> Result<(), ProvideError> {
        self.remove_those(order, |_| true).await?;
        self.seats.free(order);
        Ok(())
    }

    async fn remove_older(&self, order: &OrderId, fence: u64) -> Result<(), ProvideError> {
        let older = |found: &Found| found.fence.is_some_and(|made_under| made_under < fence);
        Ok(self.remove_those(order, older).await?)
    }

    async fn list(&self) -> Result<Vec<Unit>, ProvideError> {
        let listing = self.look().await?;
        let mut units: Vec<Unit> = listing.machines.iter().map(Found::unit).collect();
        // What was asked for a moment ago may be there and not be listed yet.
        for (order, zone) in self.seats.unseen(&listing) {
            let found = self.ours(&order, zone.as_str()).await?;
            units.extend(found.as_ref().map(Found::unit));
        }
        units.sort();
        Ok(units)
    }

    async fn last_words(&self, order: &OrderId) -> Result<String, ProvideError> {
        let text = self.serial(order).await?;
        let line = text.lines().rev().find(|line| !line.trim().is_empty());
        Ok(line
            .unwrap_or_default()
            .trim()
            .chars()
            .take(WORDS)
            .collect())
    }

    async fn console(&self, order: &OrderId) -> Result<String, ProvideError> {
        Ok(self.serial(order).await?)
    }
}

/// Whether a machine is the living one of this very claim.
fn is_of(found: &Found, request: &LaunchRequest) -> bool {
    found.fence == Some(request.fence) && found.is_alive()
}

fn named(operation: &Operation) -> String {
    operation.name.clone().unwrap_or_default()
}

fn proof(anonymous: bool) -> Result<Credentials, ProvideError> {
    if anonymous {
        return Ok(credentials::anonymous::Builder::new().build());
    }
    credentials::Builder::default()
        .build()
        .map_err(|error| Fault::person("credentials for Google Cloud", error.to_string()).into())
}

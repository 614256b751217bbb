//! Listings: all machines of ours, or an error. A listing was begun after it was asked for, by whomever; those who ask at
//! the same time share one, and no two are begun within a pause, so that the cloud is asked no more often than it likes.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use easyenclave_schemas::{OrderId, wire};
use google_cloud_compute_v1::model::instance::Status;
use google_cloud_compute_v1::model::{Instance, InstanceAggregatedList, instances_scoped_list};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::cloud::Cloud;
use crate::fault::Fault;
use crate::names::{Owner, fence};

/// A listing has no more pages than this: many times what a provider document allows.
const PAGES: usize = 200;

/// One machine of ours.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) order: OrderId,
    pub(crate) fence: Option<u64>,
    pub(crate) zone: String,
    pub(crate) name: String,
    /// Names this machine and no later one of the same name.
    pub(crate) id: u64,
    pub(crate) status: Option<Status>,
}

impl Found {
    /// This machine, if it is ours.
    pub(crate) fn of(owner: &Owner, zone: &str, instance: &Instance) -> Option<Self> {
        let name = instance.name.as_deref()?;
        Some(Self {
            order: owner.order(name, &instance.labels)?,
            fence: fence(&instance.labels),
            zone: zone.to_owned(),
            name: name.to_owned(),
            id: instance.id?,
            status: instance.status.clone(),
        })
    }

    /// Whether it runs or is about to. What the cloud says of it that is not known counts for life.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(
            self.status,
            Some(
                Status::PendingStop
                    | Status::Stopping
                    | Status::Stopped
                    | Status::Suspending
                    | Status::Suspended
                    | Status::Terminated
                    | Status::Deprovisioning
            )
        )
    }

    pub(crate) fn unit(&self) -> wire::Unit {
        wire::Unit {
            order_id: self.order.clone(),
            alive: self.is_alive(),
            fence: self.fence,
        }
    }
}

/// A complete listing.
#[derive(Debug)]
pub(crate) struct Listing {
    /// When it was begun.
    pub(crate) begun: Instant,
    pub(crate) machines: Vec<Found>,
}

impl Listing {
    pub(crate) fn of(&self, order: &OrderId) -> impl Iterator<Item = &Found> {
        self.machines
            .iter()
            .filter(move |found| found.order == *order)
    }
}

/// What came of the last one that was begun.
#[derive(Default)]
struct Last {
    begun: Option<Instant>,
    ended: Option<Result<Arc<Listing>, Fault>>,
}

/// Who has listed, and what is expected to be listed.
#[derive(Default)]
pub(crate) struct Listings {
    last: Mutex<Last>,
    /// Machines that were there, by their number. One that a listing lacks is looked at by itself.
    known: std::sync::Mutex<BTreeMap<u64, Found>>,
}

impl Listings {
    /// A listing that was begun after now.
    pub(crate) async fn look(&self, cloud: &Cloud, owner: &Owner) -> Result<Arc<Listing>, Fault> {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let (Some(begun), Some(ended)) = (last.begun, &last.ended)
            && begun >= asked
        {
            return ended.clone();
        }
        if let Some(begun) = last.begun {
            sleep_until(begun + cloud.pace.listing).await;
        }
        let begun = Instant::now();
        *last = Last {
            begun: Some(begun),
            ended: None,
        };
        let machines = self.complete(cloud, owner).await;
        let ended = machines.map(|machines| Arc::new(Listing { begun, machines }));
        last.ended = Some(ended.clone());
        ended
    }

    /// A machine is there: the next listing has it, or is not believed.
    pub(crate) fn expect(&self, found: Found) {
        self.known().insert(found.id, found);
    }

    /// A machine is gone.
    pub(crate) fn forget(&self, id: u64) {
        self.known().remove(&id);
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Found>> {
        self.known
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn complete(&self, cloud: &Cloud, owner: &Owner) -> Result<Vec<Found>, Fault> {
        let known: Vec<Found> = self.known().values().cloned().collect();
        let machines = all(cloud, owner).await?;
        let there: HashSet<u64> = machines.iter().map(|found| found.id).collect();
        for missed in known.iter().filter(|known| !there.contains(&known.id)) {
            self.is_gone(cloud, owner, missed).await?;
        }
        for found in &machines {
            self.expect(found.clone());
        }
        Ok(machines)
    }

    /// Proves that a machine is gone which a listing lacks.
    async fn is_gone(&self, cloud: &Cloud, owner: &Owner, missed: &Found) -> Result<(), Fault> {
        let there = cloud.get(&missed.zone, &missed.id.to_string()).await?;
        if let Some(instance) = there {
            let what = format!("listing the machines of {}", cloud.project);
            let name = &missed.name;
            return Err(match Found::of(owner, &missed.zone, &instance) {
                Some(_) => Fault::later(what, format!("it lacks {name}, which is there")),
                // It may serve: that somebody has taken its marks away is no proof that it is gone.
                None => Fault::person(what, format!("the labels of {name} are not ours any more")),
            });
        }
        self.forget(missed.id);
        Ok(())
    }
}

/// Every machine of ours, in the order of orders.
async fn all(cloud: &Cloud, owner: &Owner) -> Result<Vec<Found>, Fault> {
    let filter = owner.filter();
    let mut found: BTreeMap<(OrderId, u64), Found> = BTreeMap::new();
    let mut token: Option<String> = None;
    for _ in 0..PAGES {
        let page = cloud.page(&filter, token.as_deref()).await?;
        whole(&page).map_err(|why| {
            Fault::later(format!("listing the machines of {}", cloud.project), why)
        })?;
        for machine in machines(owner, &page) {
            found.insert((machine.order.clone(), machine.id), machine);
        }
        match page.next_page_token.filter(|next| !next.is_empty()) {
            None => return Ok(found.into_values().collect()),
            next if next == token => break,
            next => token = next,
        }
    }
    let what = format!("listing the machines of {}", cloud.project);
    Err(Fault::later(what, "it does not come to an end"))
}

/// Whether a page holds all that it should.
fn whole(page: &InstanceAggregatedList) -> Result<(), String> {
    if let Some(place) = page.unreachables.first() {
        return Err(format!("{place} and perhaps more cannot be reached"));
    }
    if let Some(warning) = &page.warning {
        let code = warning.code.as_ref().and_then(|code| code.name());
        if code != Some(EMPTY) {
            return Err(format!("it is not complete: {}", code.unwrap_or("no code")));
        }
    }
    for (scope, list) in &page.items {
        if let Some(code) = list.warning.as_ref().and_then(warned) {
            return Err(format!("it is not complete in {scope}: {code}"));
        }
    }
    Ok(())
}

/// The only warning that takes nothing away.
const EMPTY: &str = "NO_RESULTS_ON_PAGE";

fn warned(warning: &instances_scoped_list::Warning) -> Option<String> {
    let code = warning.code.as_ref().and_then(|code| code.name());
    (code != Some(EMPTY)).then(|| code.unwrap_or("no code").to_owned())
}

fn machines(owner: &Owner, page: &InstanceAggregatedList) -> Vec<Found> {
    let mut found = Vec::new();
    for (scope, list) in &page.items {
        let zone = scope.strip_prefix("zones/").unwrap_or(scope);
        for instance in &list.instances {
            match Found::of(owner, zone, instance) {
                Some(machine) => found.push(machine),
                None => {
                    let name = instance.name.as_deref().unwrap_or_default();
                    tracing::warn!(name, zone, "a machine has our labels and is not ours");
                }
            }
        }
    }
    found
}

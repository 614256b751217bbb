//! The source: what is kept while it counts, and otherwise the first address that has something that does. Nobody
//! waits for a fetch while there is something that counts, and nobody fetches what another is fetching.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use easyenclave_schemas::Timestamp;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::fetch::{Fetched, Fetcher, Nothing};
use super::places::trimmed;
use super::shelf::Shelf;
use super::slot::{Kept, Slot, Step, Why};
use crate::TrustRoot;
use crate::collateral::{Collateral, CollateralError, CollateralSource, PlatformFacts, Stock};
use crate::verify::standing;

/// How long asking one address may take. Those who judge wait for ten seconds, so a second address still counts.
const DEADLINE: Duration = Duration::from_secs(4);

/// The most addresses that are asked.
const ADDRESSES: usize = 10;

/// A client of Intel's service and of caches of it. Copies share all that they know.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    addresses: RwLock<Vec<String>>,
    fetcher: Fetcher,
    shelf: Shelf,
    watch: Option<Watch>,
}

type Watch = Box<dyn Fn(Fetched) + Send + Sync>;

/// No client can be made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be used.
    #[error("folder of collateral")]
    Folder(#[source] std::io::Error),
    /// The system's certificates or TLS are not to be had.
    #[error("cannot make a client for collateral")]
    Client(#[source] reqwest::Error),
}

/// What a client is made of.
pub struct Builder {
    fetcher: Fetcher,
    shelf: Shelf,
    watch: Option<Watch>,
}

impl Client {
    /// A client that takes what is signed under `root` and keeps it in `folder`. It asks nobody until it is told
    /// whom. The process must have a TLS provider.
    ///
    /// # Errors
    /// When the folder cannot be used, or TLS is not to be had.
    pub fn builder(folder: &Path, root: TrustRoot) -> Result<Builder, OpenError> {
        Self::with_deadline(folder, root, DEADLINE)
    }

    /// One that gives each address so long.
    ///
    /// # Errors
    /// As [`Client::builder`].
    pub fn with_deadline(
        folder: &Path,
        root: TrustRoot,
        deadline: Duration,
    ) -> Result<Builder, OpenError> {
        Ok(Builder {
            fetcher: Fetcher::new(deadline).map_err(OpenError::Client)?,
            shelf: Shelf::open(folder, root).map_err(OpenError::Folder)?,
            watch: None,
        })
    }

    /// From now on these are asked, in this order.
    pub fn asks(&self, addresses: &[String]) {
        let wanted = &addresses[..addresses.len().min(ADDRESSES)];
        let mut known = self
            .0
            .addresses
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if known.as_slice() != wanted {
            *known = wanted.to_vec();
        }
    }

    /// Fetches what is due, and forgets what nobody asks for. To be called every minute or so.
    pub async fn tend(&self, now: Timestamp) {
        for slot in self.0.shelf.in_use(now) {
            if slot.is_due(now) {
                landed(self.fetch(&slot, now)).await;
            }
        }
    }

    fn fetch(&self, slot: &Arc<Slot>, now: Timestamp) -> watch::Receiver<()> {
        let (inner, of) = (Arc::clone(&self.0), Arc::clone(slot));
        slot.flight(move |done| {
            drop(tokio::spawn(async move {
                inner.fetch(&of, now).await;
                drop(done);
            }));
        })
    }
}

impl Builder {
    /// Tells `watch` how asking an address went, each time.
    #[must_use]
    pub fn watched(mut self, watch: impl Fn(Fetched) + Send + Sync + 'static) -> Self {
        self.watch = Some(Box::new(watch));
        self
    }

    /// Takes this for Intel's own service, and has the root's revocation list from there.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn with_intel_at(mut self, api: &str, root_crl: &str) -> Self {
        self.fetcher.intel = super::places::Intel {
            api: api.into(),
            root_crl: root_crl.into(),
        };
        self
    }

    /// The client.
    pub fn build(self) -> Client {
        Client(Arc::new(Inner {
            addresses: RwLock::default(),
            fetcher: self.fetcher,
            shelf: self.shelf,
            watch: self.watch,
        }))
    }
}

/// The sender is dropped when the fetch is over, however it ended.
async fn landed(mut flight: watch::Receiver<()>) {
    let _ = flight.changed().await;
}

#[async_trait]
impl CollateralSource for Client {
    async fn collateral(
        &self,
        platform: &PlatformFacts,
        now: Timestamp,
    ) -> Result<Collateral, CollateralError> {
        let slot = self.0.shelf.slot(platform, now);
        match slot.step(now) {
            Step::Use(collateral) => Ok(collateral),
            Step::UseAndFetch(collateral) => {
                self.fetch(&slot, now);
                Ok(collateral)
            }
            Step::Never(error) => Err(error),
            Step::Fetch => {
                landed(self.fetch(&slot, now)).await;
                slot.answer(now)
            }
        }
    }

    fn stock(&self, now: Timestamp) -> Vec<Stock> {
        let slots = self.0.shelf.in_use(now);
        slots.iter().filter_map(|slot| slot.stock(now)).collect()
    }
}

impl Inner {
    /// Asks one address after the other until one has something that counts.
    async fn fetch(self: Arc<Self>, slot: &Slot, now: Timestamp) {
        let addresses = self.addresses();
        let mut why = Vec::new();
        let mut unknown = 0;
        for address in &addresses {
            match self.ask(address, slot, now).await {
                Ok(kept) => return self.keep(slot, kept).await,
                Err(Nothing::Unknown) => unknown += 1,
                Err(Nothing::Failed(words) | Nothing::LeftAlone(words)) => {
                    why.push(format!("{}: {words}", trimmed(address)));
                }
            }
        }
        let why = match (addresses.is_empty(), unknown == addresses.len()) {
            (true, _) => Why::Because("no address is to be asked".into()),
            (false, true) => Why::Unknown,
            (false, false) => Why::Because(why.join("; ")),
        };
        slot.fail(why, now);
    }

    async fn ask(&self, address: &str, slot: &Slot, now: Timestamp) -> Result<Kept, Nothing> {
        let fetched = self.fetcher.fetch(address, &slot.platform).await;
        let collateral = fetched.inspect_err(|nothing| match nothing {
            Nothing::Unknown => self.tell(Fetched::Unknown),
            Nothing::Failed(_) => self.tell(Fetched::Failed),
            Nothing::LeftAlone(_) => {}
        })?;
        match self.taken(collateral, slot, now) {
            Ok(kept) => {
                self.tell(Fetched::Taken);
                Ok(kept)
            }
            Err(why) => {
                self.tell(Fetched::Refused);
                self.fetcher.refused(address, why.clone());
                Err(Nothing::Failed(why))
            }
        }
    }

    /// An address that gives what counts for nobody must not keep others from being asked, nor be taken for a fault of
    /// those whose quotes it is for.
    fn taken(&self, collateral: Collateral, slot: &Slot, now: Timestamp) -> Result<Kept, String> {
        if collateral.size() > Collateral::MAX {
            return Err(format!("it is longer than {} bytes", Collateral::MAX));
        }
        let standing = standing(self.shelf.root(), slot.platform.fmspc, &collateral)?;
        if now < standing.from {
            return Err("it was issued after our time".into());
        }
        if standing.until <= now {
            return Err("it has expired".into());
        }
        if slot.is_older(&standing, now) {
            return Err("it is older than what is kept".into());
        }
        Ok(Kept {
            collateral,
            standing,
            fetched: now,
            chance: self.fetcher.chance(),
        })
    }

    /// A file that cannot be written is missed at the next start, and at no other time.
    async fn keep(self: &Arc<Self>, slot: &Slot, kept: Kept) {
        slot.keep(kept.clone());
        let (inner, platform) = (Arc::clone(self), slot.platform);
        let _ = spawn_blocking(move || inner.shelf.write(&platform, &kept)).await;
    }

    fn addresses(&self) -> Vec<String> {
        let addresses = self.addresses.read();
        addresses.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tell(&self, fetched: Fetched) {
        if let Some(watch) = &self.watch {
            watch(fetched);
        }
    }
}

//! What verifies evidence, made from what an installation has: the simulated platform, Intel's collateral, Intel Trust
//! Authority. Which of them counts is for each policy to say.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use easyenclave_attestation::simulated::{Platform, SimulatedError};
use easyenclave_attestation::{
    CollateralSource, ItaClient, KeyRefresh, NoAuthority, NoCollateral, PcsClient, TrustAuthority,
    TrustRoot,
};
use easyenclave_schemas::Timestamp;
use tokio::time::sleep;

use crate::config::DataDir;
use crate::daemon::Config;
use crate::keys;
use crate::metrics::Metrics;
use crate::trust::{Judge, Sources};
use crate::world::World;

/// Collateral that is due is fetched this often.
const TEND: Duration = Duration::from_secs(60);

/// The judge of this installation.
pub(crate) fn judge(
    config: &Config,
    collateral: &PcsClient,
    metrics: &Metrics,
    now: Timestamp,
) -> anyhow::Result<Judge> {
    let sources = Sources {
        simulated: simulated(config, now)?,
        intel: Arc::new(collateral.clone()),
    };
    let authority = authority(&config.data, metrics)?;
    Ok(Judge::new(sources, authority, metrics.clone()))
}

/// The simulated platform's collateral. A machine with real hardware simulates nothing, and verifies others' quotes all
/// the same.
fn simulated(config: &Config, now: Timestamp) -> anyhow::Result<Arc<dyn CollateralSource>> {
    match Platform::open_or_create(&config.platform, now) {
        Ok(platform) => Ok(Arc::new(platform)),
        Err(SimulatedError::RealHardware { .. }) => Ok(Arc::new(NoCollateral(
            "this machine has real hardware and simulates no platform",
        ))),
        Err(error) => Err(error).context("opening the simulated platform"),
    }
}

/// Intel's collateral, from the addresses that the fleet names, kept in the data folder.
pub(crate) fn collateral(data: &DataDir, metrics: &Metrics) -> anyhow::Result<PcsClient> {
    let metrics = metrics.clone();
    let builder = PcsClient::builder(&data.collateral(), TrustRoot::Intel)?;
    Ok(builder
        .watched(move |fetch| metrics.collateral_fetched(fetch))
        .build())
}

/// Fetches collateral before it runs out, also when no agent asks for it.
pub(crate) async fn tend(world: Arc<World>, collateral: PcsClient) {
    loop {
        if let Some(revision) = world.revision() {
            collateral.asks(&revision.collateral.urls);
            collateral.tend(world.clock.now()).await;
        }
        sleep(TEND).await;
    }
}

/// Intel Trust Authority, when there is a key for it.
fn authority(data: &DataDir, metrics: &Metrics) -> anyhow::Result<Arc<dyn TrustAuthority>> {
    let Some(key) = keys::given(&data.ita_key())? else {
        return Ok(Arc::new(NoAuthority));
    };
    let metrics = metrics.clone();
    let client = ItaClient::new(Some(&key))
        .context("Intel Trust Authority")?
        .watched(move |refresh| metrics.keys_refreshed(refresh == KeyRefresh::Fetched));
    Ok(Arc::new(client))
}

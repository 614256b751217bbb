//! What a daemon opens before it runs: its ledger, its store and its keys.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use easyenclave_attestation::PcsClient;
use easyenclave_git::{Ledger, Signer};
use easyenclave_schemas::status::paths;
use easyenclave_store::{SledStore, StoreError};

use crate::auth::Door;
use crate::clock::{Clock, System};
use crate::config::DataDir;
use crate::daemon::Config;
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::presence::Presence;
use crate::secrets::Keyring;
use crate::world::Parts;
use crate::{keys, verifiers};

/// The writer of the status branch.
pub(crate) fn ledger(config: &Config) -> anyhow::Result<Ledger> {
    let data = &config.data;
    let ledger = Ledger::open(
        &config.repository,
        &data.ledger(),
        &config.status_branch,
        Signer::open_or_create(&data.signing_key())?,
    )?;
    Ok(ledger.marked_by(paths::PROBLEMS))
}

/// The parts of a world, each from its own file or section.
pub(crate) fn parts(
    config: &Config,
    public_url: String,
    metrics: Metrics,
    collateral: &PcsClient,
) -> anyhow::Result<Parts> {
    let data = &config.data;
    let clock = System;
    let journal = Journal::open(Arc::new(store(data)?))?;
    let presence = Presence::at_start(&journal.read(), data.seed().exists(), clock.now());
    Ok(Parts {
        presence,
        clock: Arc::new(clock),
        entropy: Arc::new(System),
        journal,
        seed: keys::seed(&data.seed())?,
        keyring: Arc::new(Keyring::open_or_create(&data.fleet_identities())?),
        keypair: keys::keypair(&data.reconciler_key())?,
        launcher_key: keys::launcher_key(&data.launcher_key())?,
        judge: verifiers::judge(config, collateral, &metrics, clock.now())?,
        door: Door::new().context("the deploy API")?,
        metrics,
        public_url,
    })
}

fn store(data: &DataDir) -> anyhow::Result<SledStore> {
    let opened = SledStore::open(&data.store());
    opened.map_err(|error| match error {
        StoreError::InUse(_) => anyhow!(
            "another `up` or `serve` runs with the data folder {}: stop that one, or name another folder with --data",
            data.path().display()
        ),
        other => other.into(),
    })
}

//! The status as files, and back. One thing is one file; only what changed is written again.

use std::collections::BTreeMap;

use easyenclave_schemas::Timestamp;
use easyenclave_schemas::status::{ProblemStatus, paths};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Status, readme};

/// Changed files: new bytes, or none for a file that goes.
pub type Changes = BTreeMap<String, Option<Vec<u8>>>;

/// A status branch that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadStatusError {
    /// A file is missing.
    #[error("the status branch has no {0}")]
    Missing(&'static str),
    /// A file holds something else.
    #[error("{path} on the status branch cannot be read: {message}")]
    Content {
        /// The file.
        path: String,
        /// Why.
        message: String,
    },
}

impl Status {
    /// The files that differ from those of `previous`.
    pub fn changes(&self, previous: Option<&Status>) -> Changes {
        let mut changes = Changes::new();
        differ(
            &mut changes,
            &self.agents,
            previous.map(|old| &old.agents),
            paths::agent,
        );
        differ(
            &mut changes,
            &self.orders,
            previous.map(|old| &old.orders),
            paths::order,
        );
        differ(
            &mut changes,
            &self.capacity,
            previous.map(|old| &old.capacity),
            paths::capacity,
        );
        let deployments = previous.map(|old| &old.deployments);
        differ(
            &mut changes,
            &self.deployments,
            deployments,
            paths::deployment,
        );
        if previous.is_none_or(|previous| previous.fleet != self.fleet) {
            changes.insert(paths::FLEET.into(), Some(yaml(&self.fleet)));
        }
        if previous.is_none_or(|previous| previous.problems != self.problems) {
            changes.insert(paths::PROBLEMS.into(), Some(yaml(&self.problems)));
        }
        if !changes.is_empty() {
            changes.insert(
                paths::README.into(),
                Some(readme::readme(self).into_bytes()),
            );
        }
        changes
    }
}

/// Whether a status is made of files of this path, among others.
pub fn is_status(path: &str) -> bool {
    let folders = [
        paths::AGENTS,
        paths::ORDERS,
        paths::CAPACITY,
        paths::DEPLOYMENTS,
    ];
    let files = [paths::FLEET, paths::PROBLEMS, paths::README];
    files.contains(&path) || folders.iter().any(|folder| path.starts_with(folder))
}

/// Reads a status back from its files.
///
/// # Errors
/// When `fleet.yaml` is missing or a file cannot be read.
pub fn read(files: &BTreeMap<String, Vec<u8>>) -> Result<Status, ReadStatusError> {
    let fleet = files
        .get(paths::FLEET)
        .ok_or(ReadStatusError::Missing(paths::FLEET))?;
    let mut status = Status {
        at: Timestamp::default(),
        fleet: parse(paths::FLEET, fleet)?,
        agents: BTreeMap::new(),
        deployments: BTreeMap::new(),
        capacity: BTreeMap::new(),
        orders: BTreeMap::new(),
        problems: match files.get(paths::PROBLEMS) {
            Some(bytes) => parse::<Vec<ProblemStatus>>(paths::PROBLEMS, bytes)?,
            None => Vec::new(),
        },
    };
    for (path, bytes) in files {
        if path.starts_with(paths::AGENTS) {
            let agent: easyenclave_schemas::status::AgentStatus = parse(path, bytes)?;
            status.agents.insert(agent.agent.clone(), agent);
        } else if path.starts_with(paths::ORDERS) {
            let order: easyenclave_schemas::status::OrderStatus = parse(path, bytes)?;
            status.orders.insert(order.order.clone(), order);
        } else if path.starts_with(paths::CAPACITY) {
            let target: easyenclave_schemas::status::CapacityStatus = parse(path, bytes)?;
            status.capacity.insert(target.target.clone(), target);
        } else if path.starts_with(paths::DEPLOYMENTS) {
            let deployment: easyenclave_schemas::status::DeploymentStatus = parse(path, bytes)?;
            status
                .deployments
                .insert(deployment.deployment.clone(), deployment);
        }
    }
    Ok(status)
}

fn differ<K: Ord, T: PartialEq + Serialize>(
    changes: &mut Changes,
    now: &BTreeMap<K, T>,
    before: Option<&BTreeMap<K, T>>,
    path: impl Fn(&K) -> String,
) {
    for (key, thing) in now {
        if before.and_then(|before| before.get(key)) != Some(thing) {
            changes.insert(path(key), Some(yaml(thing)));
        }
    }
    for key in before.into_iter().flat_map(BTreeMap::keys) {
        if !now.contains_key(key) {
            changes.insert(path(key), None);
        }
    }
}

fn yaml<T: Serialize>(thing: &T) -> Vec<u8> {
    serde_yaml::to_string(thing)
        .expect("a status is plain data")
        .into_bytes()
}

fn parse<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, ReadStatusError> {
    serde_yaml::from_slice(bytes).map_err(|error| ReadStatusError::Content {
        path: path.into(),
        message: error.to_string().chars().take(300).collect(),
    })
}

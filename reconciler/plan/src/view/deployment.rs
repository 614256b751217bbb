//! A deployment, and the versions that its replicas may have. Derives only.

use easyenclave_schemas::documents::Runtime;
use easyenclave_schemas::{DeploymentId, Digest, Revert};

use super::{OwnerIx, Wanted};
use crate::{Deployment, RolloutFact};

/// A deployment.
pub(crate) struct DeploymentView<'a> {
    pub(crate) id: &'a DeploymentId,
    pub(crate) owner: OwnerIx,
    pub(crate) state: Wanted<&'a Deployment>,
    /// The version that its replicas are brought to: the wanted one, unless that was given up.
    pub(crate) aim: Option<Digest>,
    /// What an agent needs in order to run the aim, if anything is wanted.
    runtime: Option<Runtime>,
    /// The version that was healthy last, where it can still be run.
    pub(crate) healthy: Option<Digest>,
    /// What an agent needs in order to run that.
    healthy_runtime: Option<Runtime>,
    /// Why the wanted version is not the aim. Where none is known that was healthy, it goes no further all the same.
    pub(crate) reverted: Option<&'a Revert>,
    /// Whether anything is recorded of its roll-outs.
    pub(crate) is_recorded: bool,
}

impl<'a> DeploymentView<'a> {
    pub(super) fn new(
        id: &'a DeploymentId,
        state: Wanted<&'a Deployment>,
        fact: Option<&'a RolloutFact>,
    ) -> Self {
        let spec = state.spec();
        let healthy = fact.and_then(|fact| fact.healthy);
        let is_this =
            |reverted: &&Revert| spec.is_some_and(|spec| spec.attempt() == reverted.attempt);
        let reverted = fact.and_then(|fact| fact.reverted.as_ref());
        let reverted = reverted.filter(is_this);
        let wanted = spec.map(|spec| spec.workload);
        let aim = reverted.and(healthy).or(wanted);
        let wanted_runtime = spec.map(|spec| spec.runtime);
        let healthy_runtime = fact.and_then(|fact| fact.runtime).or(wanted_runtime);
        Self {
            id,
            owner: OwnerIx(0),
            state,
            aim,
            runtime: match aim == wanted {
                true => wanted_runtime,
                false => healthy_runtime,
            },
            healthy,
            healthy_runtime,
            reverted,
            is_recorded: fact.is_some(),
        }
    }

    /// What an agent needs in order to run a version: the one that was healthy last, or else the aim.
    pub(crate) fn runtime(&self, version: Digest) -> Option<Runtime> {
        let is_before = Some(version) != self.aim && Some(version) == self.healthy;
        match is_before {
            true => self.healthy_runtime,
            false => self.runtime,
        }
    }

    /// The versions that its replicas may be given: the aim first.
    pub(crate) fn versions(&self) -> impl Iterator<Item = Digest> + use<> {
        let before = self.healthy.filter(|healthy| Some(*healthy) != self.aim);
        self.aim.into_iter().chain(before)
    }

    /// Whether the wanted version was given up and nothing is known that could take its place.
    pub(crate) fn is_at_a_loss(&self) -> bool {
        self.reverted.is_some() && self.healthy.is_none()
    }

    /// Whether the aim has proved good before.
    pub(crate) fn is_proved(&self) -> bool {
        self.healthy.is_some() && self.healthy == self.aim
    }
}

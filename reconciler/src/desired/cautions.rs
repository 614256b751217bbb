//! What is valid, and does something else than it seems to.

use easyenclave_schemas::decode::{Located, Problem};
use easyenclave_schemas::documents::Document;

use super::blobs::{Part, Read};

/// All that an author may not expect of a version.
pub(super) fn of(read: &Read) -> Vec<(Part, Problem)> {
    let composed = read.composed.iter();
    let composed = composed.flat_map(|it| it.warnings.iter().cloned());
    composed.chain(canary(&read.located)).collect()
}

/// A canary that nobody waits for.
fn canary(located: &Located) -> Option<(Part, Problem)> {
    let Document::Deployment(object) = &located.document else {
        return None;
    };
    let (canary, replicas) = (object.spec.rollout.canary, object.spec.replicas);
    if replicas < 2 || canary < replicas {
        return None;
    }
    let pointer = "/spec/rollout/canary".to_owned();
    let (line, column) = located.position(&pointer);
    let problem = Problem {
        line,
        column,
        pointer,
        code: "canary-of-all",
        message: format!(
            "`spec.rollout.canary` is {canary} of {replicas} replicas: none is left that waits until it has proved good"
        ),
        suggestion: None,
    };
    Some((Part::Document, problem))
}

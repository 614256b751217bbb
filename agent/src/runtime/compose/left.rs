//! What an agent of before has left on the engine.

use easyenclave_schemas::DeploymentId;
use tokio::time::sleep;

use super::END_AGAIN;
use super::project::{Ground, Trouble};
use crate::runtime::process::Place;

/// Removes what an agent of before has left on the engine, when it is not to run. Tries until nothing is left, and tells what is
/// in the way meanwhile.
pub(crate) async fn clear(place: &Place, tell: impl Fn(Trouble)) {
    let ground = Ground::of(place);
    while let Err(error) = ground.clear().await {
        let trouble = Trouble::from(error);
        tracing::error!(error = trouble.message, "the engine cannot be emptied");
        tell(trouble);
        sleep(END_AGAIN).await;
    }
}

/// Whether what is on the engine, if anything, is of this deployment. Tries until that can be told, and tells what is in the way
/// meanwhile.
pub(crate) async fn has(place: &Place, deployment: &DeploymentId, tell: impl Fn(Trouble)) -> bool {
    let ground = Ground::of(place);
    loop {
        let trouble = match ground.has(deployment).await {
            Ok(has) => return has,
            Err(error) => Trouble::from(error),
        };
        tracing::error!(
            error = trouble.message,
            "it cannot be told what is on the engine"
        );
        tell(trouble);
        sleep(END_AGAIN).await;
    }
}

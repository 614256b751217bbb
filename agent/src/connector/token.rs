//! How the agent gets the token of its tunnel: it asks with a key that it made for this one answer.

use easyenclave_schemas::sealed::{Asking, Case};
use easyenclave_schemas::wire::{SealedAnswer, TunnelRequest, TunnelToken, routes};
use easyenclave_schemas::{Digest, Generation, Secret};

use crate::node::Node;

/// The longest token, in bytes.
const LONGEST: usize = 4096;

/// The token of the tunnel of this version.
pub(super) async fn ask(node: &Node, version: Digest) -> anyhow::Result<Secret<String>> {
    let asking = Asking::new()?;
    let request = TunnelRequest {
        boot_id: node.boot_id(),
        version,
        public_key: asking.public().to_owned(),
    };
    let answer: SealedAnswer = node
        .client
        .post(&routes::tunnel(&node.id), &request)
        .await?;
    let case = Case {
        what: "tunnel",
        agent: &node.id,
        key: &node.keypair.public(),
        // A tunnel is not of an instruction.
        generation: Generation::default(),
    };
    let opened = asking.open(&answer, &case)?;
    // What does not read is not told: it may be the token.
    let token: TunnelToken = serde_json::from_slice(&opened)
        .map_err(|_| anyhow::anyhow!("the answer does not hold a token"))?;
    let fits = !token.token.reveal().is_empty() && token.token.reveal().len() <= LONGEST;
    anyhow::ensure!(fits, "the token is empty or too long");
    Ok(token.token)
}

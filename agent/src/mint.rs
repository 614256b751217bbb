//! Tokens of Intel Trust Authority, where a policy wants agents to ask for their own. The key comes from a file and
//! goes to the one address that the configuration names: challenges are not signed, and may name another.

use easyenclave_attestation::{Account, ItaClient};
use easyenclave_schemas::evidence::{Evidence, TokenBytes};
use easyenclave_schemas::wire::{AgentConfig, ItaChallenge};

use crate::config;

/// An agent's own access to Intel Trust Authority.
pub(crate) struct Minter(ItaClient);

impl Minter {
    /// The access that the configuration gives, if it does.
    ///
    /// # Errors
    /// When the key cannot be read or sent.
    pub(crate) fn of(config: &AgentConfig) -> anyhow::Result<Option<Self>> {
        let Some(own) = &config.trust_authority else {
            return Ok(None);
        };
        let key = config::secret(&own.key_file)?;
        Ok(Some(Self(
            ItaClient::new(Some(&key))?.only_to(&own.api_url),
        )))
    }
}

/// A token for evidence, if the challenge wants the agent to ask for it. The client has deadlines of its own.
///
/// # Errors
/// When one is wanted and there is no key, or no token at present.
pub(crate) async fn token(
    minter: Option<&Minter>,
    challenge: &ItaChallenge,
    evidence: &Evidence,
    public_key: &[u8; 32],
) -> anyhow::Result<Option<TokenBytes>> {
    let Some(wanted) = &challenge.mint else {
        return Ok(None);
    };
    let Some(Minter(client)) = minter else {
        anyhow::bail!(
            "the policy wants agents to ask Intel Trust Authority, and this one has no key for it; give it \
             `trust_authority` in its configuration"
        );
    };
    let account = Account::from(wanted);
    let minted = client.mint(account, evidence, &challenge.nonce, public_key);
    Ok(Some(minted.await?))
}

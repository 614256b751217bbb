//! What the agent tells its workload through the environment, which is read here and nowhere else.

use std::env;

use anyhow::Context;

/// What a workload knows of its surroundings.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// The port to serve on.
    pub(crate) port: u16,
    /// Where the agent's own API answers.
    pub(crate) agent_url: String,
    /// The deployment that this is a replica of.
    pub(crate) deployment: String,
}

impl Surroundings {
    pub(crate) fn of_process() -> anyhow::Result<Self> {
        let read = |name: &str| env::var(name).with_context(|| name.to_owned());
        Ok(Self {
            port: read("PORT")?.parse().context("PORT")?,
            agent_url: read("EASYENCLAVE_AGENT_URL")?,
            deployment: read("EASYENCLAVE_DEPLOYMENT")?,
        })
    }
}

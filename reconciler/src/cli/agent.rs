//! `easyenclave agent`: the agent, in the one binary.

use std::path::PathBuf;

use anyhow::Context;
use easyenclave_agent::AgentError;

use super::{Ended, exit, shutdown};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration that a worker wrote
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) async fn run(args: Args) -> Ended {
    let text = std::fs::read(&args.config)
        .with_context(|| format!("reading {}", args.config.display()))?;
    let config = serde_json::from_slice(&text)
        .with_context(|| format!("reading {}", args.config.display()))?;
    match easyenclave_agent::run(config, shutdown()).await {
        Ok(()) => Ok(exit::OK),
        Err(error @ AgentError::Refused(..)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "refused for good");
            Ok(exit::REFUSED)
        }
        Err(error) => Err(error.into()),
    }
}

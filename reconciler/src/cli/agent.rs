//! `easyenclave agent`: the agent, in the one binary.

use std::path::PathBuf;

use super::{Ended, absent, exit, shutdown};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration that a worker wrote
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The machine's quotes have to name the configuration (MRCONFIGID); the agent ends when they do not
    #[arg(long)]
    bound: bool,
}

pub(super) async fn run(args: Args) -> Ended {
    if let Err(error) = args.config.metadata() {
        return Err(absent::because("the configuration", &args.config, error));
    }
    let (config, bound) = easyenclave_agent::load(&args.config)?;
    let bound = args.bound.then_some(bound);
    match easyenclave_agent::run(config, bound, shutdown()).await {
        Ok(()) => Ok(exit::OK),
        Err(error) if error.is::<easyenclave_agent::Refused>() => {
            tracing::error!(error = format!("{error:#}"), "refused for good");
            Ok(exit::REFUSED)
        }
        Err(error) if error.is::<easyenclave_agent::Unbound>() => {
            tracing::error!(error = format!("{error:#}"), "the configuration is another");
            Ok(exit::USAGE)
        }
        Err(error) => Err(error),
    }
}

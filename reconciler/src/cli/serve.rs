//! `easyenclave serve`: the reconciler.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use easyenclave_attestation::simulated::Platform;
use easyenclave_git::Location;

use super::{Ended, exit, out, shutdown};
use crate::clock::{Clock, System};
use crate::config::DataDir;
use crate::daemon::{Config, Daemon};
use crate::settings::Settings;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The state repository: a local path, or any URL that git can fetch and push
    #[arg(long, value_name = "URL")]
    repo: String,
    /// The branch of desired state
    #[arg(long, default_value = "main")]
    branch: String,
    /// The branch that status is written to
    #[arg(long, default_value = "status")]
    status_branch: String,
    /// Where the reconciler keeps what is its own
    #[arg(long, value_name = "DIR", default_value = DataDir::DEFAULT)]
    data: PathBuf,
    /// Where the API listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where agents and workers reach the API, when that is another address
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// The simulated platform's directory [default: platform under --data]
    #[arg(long, value_name = "DIR")]
    platform: Option<PathBuf>,
}

pub(super) async fn run(args: Args) -> Ended {
    if args.branch == args.status_branch {
        anyhow::bail!(
            "--branch and --status-branch are both {}: what should be and what is need a branch each",
            args.branch
        );
    }
    // Before anything is made: a wrong path leaves nothing behind.
    let repository = repository(&args.repo)?;
    let data = DataDir::new(&args.data)?;
    let config = Config {
        repository,
        branch: args.branch,
        status_branch: args.status_branch,
        platform: args.platform.unwrap_or_else(|| data.platform()),
        data,
        listen: args.listen,
        public_url: args.public_url,
    };
    let daemon = Daemon::open(config.clone()).await?;
    let mut settings = Settings::of(&config, daemon.address()?);
    // What `up` makes here, it makes also after this.
    settings.image = Settings::load(&config.data).ok().and_then(|old| old.image);
    settings.save(&config.data)?;
    name_root(&config);
    tracing::info!(
        address = %daemon.address()?,
        repository = easyenclave_git::redact(&config.repository),
        launcher_key = %config.data.launcher_key().display(),
        allowed_signers = %config.data.allowed_signers().display(),
        "serving"
    );
    daemon.run(shutdown()).await?;
    Ok(exit::OK)
}

/// The state repository, for commands that are run in other folders too. A remote may be away for now; a path that is
/// not there is a mistake, which waiting does not cure.
fn repository(repo: &str) -> anyhow::Result<String> {
    let found = Location::of(repo).context("--repo names no state repository")?;
    Ok(match found {
        Location::Local(path) => path.to_str().unwrap_or(repo).to_owned(),
        Location::Remote(url) => url,
    })
}

/// Which root a policy has to name for agents of the simulated platform. A machine with real hardware simulates none.
fn name_root(config: &Config) {
    let Ok(platform) = Platform::open_or_create(&config.platform, System.now()) else {
        return;
    };
    out::tell(format_args!(
        "simulated platform in {}; a policy trusts it by\n  \
         trustRoot: {{ kind: simulated, keyId: {:?} }}",
        config.platform.display(),
        platform.root_key_id().to_string()
    ));
}

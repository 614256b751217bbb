//! The agent: makes a key that never leaves the machine's memory, proves where it runs, takes instructions from one
//! reconciler, and keeps what it was told to run running. It decides nothing about the fleet, and it ends
//! what it started before it ends itself.

mod api;
mod attest;
mod client;
mod clock;
mod config;
mod connector;
mod converge;
mod ear;
mod forward;
mod identity;
mod instructions;
mod join;
mod mint;
mod node;
mod platform;
mod report;
mod runtime;
pub mod serve;
mod vault;

use std::future::Future;
use std::sync::Arc;

use anyhow::Context;
use easyenclave_processes::{LEAVE, Memory, forbid_core_dumps};
use easyenclave_schemas::wire::AgentConfig;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use config::{Bound, Unbound, load};
pub use join::Refused;

use api::Api;
use config::Surroundings;
use connector::Kit;
use ear::Ear;
use node::Node;
use runtime::{Log, Place, compose};
use serve::Bounds;
use vault::Vault;

/// So many connections to its own API at a time: the reconciler's, its workload's, and some visitors'.
const CONNECTIONS: usize = 256;

/// Exit codes of the agent's program.
pub mod exit {
    /// It was told to end, and nothing of its workload is left.
    pub const DONE: u8 = 0;
    /// Something failed; starting another agent may help.
    pub const FAILED: u8 = 1;
    /// It was called wrongly, or its configuration is not one.
    pub const USAGE: u8 = 2;
    /// The reconciler refuses it for good; starting it again does not help.
    pub const REFUSED: u8 = 3;

    /// The code for an error of [`crate::run`].
    pub fn code(error: &anyhow::Error) -> u8 {
        if error.is::<crate::Refused>() {
            REFUSED
        } else if error.is::<crate::Unbound>() {
            USAGE
        } else {
            FAILED
        }
    }
}

/// Runs an agent until `shutdown`, then ends its workload. With a bound it shows no evidence that does not name its
/// configuration.
///
/// # Errors
/// When it cannot be set up, its quotes do not name what they are bound to, or the reconciler refuses it for good; see
/// [`exit::code`].
pub async fn run(
    config: AgentConfig,
    bound: Option<Bound>,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    settle_in(&config).await?;
    let surroundings = Surroundings::of_process(&config)?;
    let kit = Kit::of(&config, &surroundings);
    let reconciler = config::reconciler_key(&config)?;
    let own = Ear::open(&config).await?;
    let address = match &config.address {
        Some(address) => address.clone(),
        None => own.outside(&config).await?,
    };
    let log = Log::new(&config.data_dir);
    let mut server = JoinSet::new();
    let memory = Memory::of(&surroundings.fleet, config.order_id.as_str());
    let place = Arc::new(Place {
        surroundings,
        order: config.order_id.clone(),
        agent_url: own.inside(),
        data: config.data_dir.clone(),
        home: config.data_dir.join("work"),
        log,
        door: ear::door(&config, &mut server).await?,
        vault: Vault::new(memory.clone()),
    });
    let runtimes = compose::runtimes(&place).await;
    let node = Arc::new(Node::new(config, bound, address, (runtimes, memory))?);
    let routes = api::router(Api {
        node: Arc::clone(&node),
        reconciler,
        place: Arc::clone(&place),
        waiting: Semaphore::new(api::WAITING),
    });
    server.spawn(serve::serve(own.listener, routes, Bounds::of(CONNECTIONS)));
    let (stop, stopped) = watch::channel(());
    let mut work = JoinSet::new();
    work.spawn(connector::serve(Arc::clone(&node), kit, stopped.clone()));
    work.spawn(converge::converge(
        Arc::clone(&node),
        Arc::clone(&place),
        stopped,
    ));
    let result = tokio::select! {
        result = take_part(&node) => result,
        never = compose::look_for_engine(&place, &node.runtimes) => match never {},
        () = shutdown => Ok(()),
        _ = server.join_next() => Err(anyhow::anyhow!("the agent's own API has ended")),
        _ = work.join_next() => Err(anyhow::anyhow!("the agent's runtime has ended")),
    };
    drop(stop);
    leave(&node, work).await;
    result
}

/// What holds for the whole process, and the agent's folder.
async fn settle_in(config: &AgentConfig) -> anyhow::Result<()> {
    // Another part of the same program may have chosen a provider already; there is only this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if let Err(error) = forbid_core_dumps() {
        tracing::warn!(error = %error, "a crash may write what is in memory to a disk");
    }
    let folder = config.data_dir.display().to_string();
    let made = tokio::fs::create_dir_all(&config.data_dir).await;
    made.with_context(|| folder)
}

/// Waits until what the agent has started has ended, and forgets its key, unless what an agent of before has left is as it was.
async fn leave(node: &Node, mut work: JoinSet<()>) {
    let ended = async { while work.join_next().await.is_some() {} };
    if timeout(LEAVE, ended).await.is_err() {
        tracing::error!("what the agent has started has not ended in time and is left behind");
    }
    if node.is_instructed()
        && let Err(error) = node.forget()
    {
        tracing::error!(error = %error, "the agent's key is left in memory");
    }
}

/// Joins, then reports and renews its trust for good.
async fn take_part(node: &Arc<Node>) -> anyhow::Result<()> {
    let interval = join::join(node).await?;
    tokio::select! {
        () = report::report(Arc::clone(node), interval) => {}
        () = attest::renew(Arc::clone(node)) => {}
    }
    Ok(())
}

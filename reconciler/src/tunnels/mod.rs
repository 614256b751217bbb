//! Ways to agents: follows what the records say is published, as delivery follows instructions. Makes, moves and removes tunnels
//! again and again until what is there is what should be, so that a crash is followed by the same loop. It decides nothing about
//! what is published.

mod fronts;
mod jobs;
mod turn;
mod ways;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use easyenclave_schemas::documents::TunnelSpec;
use easyenclave_schemas::{AgentId, FleetId, Secret};
use easyenclave_tunnel::{Cloudflare, Direct, Next, Pace, Settings, TunnelError, Tunnels};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::config;
use crate::revision::Revision;
use crate::world::World;
pub use fronts::fronts;
use turn::Turns;
pub(crate) use ways::is_trusted;
pub use ways::{NotNow, Way, Ways};

/// Without any news, records are looked at this often.
const IDLE: Duration = Duration::from_secs(5);

/// The shortest pause between two looks.
const SHORTEST: Duration = Duration::from_millis(50);

/// Where what is published is reached; none where that is where agents answer.
pub fn urls(world: &World, revision: &Revision) -> Option<BTreeMap<AgentId, String>> {
    let is_direct = matches!(revision.tunnel, TunnelSpec::Direct {});
    (!is_direct).then(|| world.ways.urls(&world.presence))
}

/// Follows the records whenever a pass has decided something, a call is over, or a pause is.
pub async fn run(world: Arc<World>, changed: Arc<Notify>) {
    let mut turns = Turns::new(config::cloudflare_token());
    loop {
        let next = turns.begin(&world, world.clock.now());
        let wait = next.map_or(IDLE, |next| next.since(world.clock.now()).min(IDLE));
        tokio::select! {
            () = changed.notified() => {}
            () = turns.ended(&world) => {}
            () = sleep(wait.max(SHORTEST)) => {}
        }
    }
}

/// What makes the ways of a fleet.
fn open(
    fleet: &FleetId,
    spec: &TunnelSpec,
    token: Option<&Secret<String>>,
) -> Result<Arc<dyn Tunnels>, TunnelError> {
    let TunnelSpec::Cloudflare(spec) = spec else {
        return Ok(Arc::new(Direct::default()));
    };
    let token = token.cloned().ok_or_else(|| {
        let why = "CLOUDFLARE_API_TOKEN is not set where the reconciler was started";
        TunnelError::new(Next::NeedsPerson, "making tunnels", why)
    })?;
    let protected = spec.protected.iter().map(ToString::to_string);
    let client = Cloudflare::new(Settings {
        account: spec.account_id.clone(),
        zone_id: spec.zone_id.clone(),
        zone: spec.zone.clone(),
        fleet: fleet.clone(),
        token,
        api: spec.api_url.clone(),
        protected: protected.collect(),
        pace: Pace::default(),
    })?;
    Ok(Arc::new(client))
}

//! Tunnels of Cloudflare by its API: each agent has a tunnel with our mark as its name, and records with the same mark as their
//! comment. Nothing is kept here: what is there is found by these marks, and looked at before it is changed.

mod budget;
mod call;
mod dns;
mod fault;
mod id;
mod listing;
mod pages;
mod tunnels;

use std::collections::BTreeSet;

use async_trait::async_trait;
use easyenclave_schemas::{AgentId, Digest, FleetId, Secret};

use call::Api;
pub use call::Pace;
use dns::{Bond, Record, Which};
use id::Id;
use tunnels::Tunnel;

use crate::{Ensured, Hostname, Listing, Mark, Next, Route, TunnelError, Tunnels};

/// Where Cloudflare has its API.
pub const API: &str = "https://api.cloudflare.com/client/v4";

/// What has to be known of an account.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The account's id.
    pub account: String,
    /// The zone's id.
    pub zone_id: String,
    /// The zone's name. Names are made directly below it: certificates of the edge reach no further.
    pub zone: Hostname,
    /// The fleet whose tunnels these are.
    pub fleet: FleetId,
    /// What proves who asks.
    pub token: Secret<String>,
    /// Where the API is, such as [`API`].
    pub api: String,
    /// Names of hosts, names of tunnels, and ids, that are never touched; nor are tunnels that such a name leads to.
    pub protected: BTreeSet<String>,
    /// How often and how long it is asked.
    pub pace: Pace,
}

/// Tunnels of Cloudflare.
#[derive(Clone)]
pub struct Cloudflare {
    api: Api,
    account: Id,
    zone_id: Id,
    zone: Hostname,
    fleet: FleetId,
    protected: BTreeSet<String>,
}

impl Cloudflare {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// When it could not be asked.
    pub fn new(settings: Settings) -> Result<Self, TunnelError> {
        let id = |what: &str, text: String| {
            Id::try_from(text).map_err(|why| TunnelError::person(what.to_owned(), why))
        };
        Ok(Self {
            api: Api::new(&settings.api, settings.token, settings.pace)?,
            account: id("the account of Cloudflare", settings.account)?,
            zone_id: id("the zone of Cloudflare", settings.zone_id)?,
            zone: settings.zone,
            fleet: settings.fleet,
            protected: settings.protected,
        })
    }

    /// The same, with the calls that are kept for taking away.
    fn for_removal(&self) -> Self {
        Self {
            api: self.api.for_removal(),
            ..self.clone()
        }
    }

    fn mark(&self, agent: &AgentId) -> Mark {
        Mark {
            fleet: self.fleet.clone(),
            agent: agent.clone(),
        }
    }

    /// The name that an agent always has.
    fn own(&self, agent: &AgentId) -> Result<Hostname, TunnelError> {
        let name = format!("{agent}.{}", self.zone);
        Hostname::new(name)
            .map_err(|_| TunnelError::person(format!("the name of {agent}"), "it is too long"))
    }

    /// Fails for a name that is not ours to give.
    fn may_be_named(&self, hostname: &Hostname) -> Result<(), TunnelError> {
        let above = hostname.as_str().strip_suffix(self.zone.as_str());
        let above = above.and_then(|above| above.strip_suffix('.'));
        if above.is_none_or(|above| above.contains('.')) {
            let why = format!("it is not one label below {}", self.zone);
            return Err(TunnelError::person(hostname.to_string(), why));
        }
        match self.protected.contains(hostname.as_str()) {
            true => Err(TunnelError::not_ours(
                hostname.to_string(),
                "it is protected",
            )),
            false => Ok(()),
        }
    }

    /// Whether a tunnel is protected by its name or id.
    fn is_protected(&self, tunnel: &Tunnel) -> bool {
        self.protected.contains(&tunnel.name) || self.protected.contains(tunnel.id.as_str())
    }

    /// Whether a record is protected by its name or id.
    fn is_kept(&self, record: &Record) -> bool {
        let name = record.name.to_ascii_lowercase();
        self.protected.contains(&name) || self.protected.contains(record.id.as_str())
    }

    /// Removes those records with an agent's mark that are ours, and says whether the tunnel is nobody else's then.
    async fn remove_names(
        &self,
        what: &str,
        mark: &Mark,
        leading: &[Record],
        target: Option<&str>,
    ) -> Result<bool, TunnelError> {
        for record in self.records(what, Which::Marked(mark)).await? {
            let is_proved = target.is_some_and(|target| record.leads_to(target));
            if is_proved && !self.is_kept(&record) || self.is_ours(&record).await? {
                self.delete_record(what, &record).await?;
            }
        }
        let is_marked = |record: &Record| record.mark().as_ref() == Some(mark);
        Ok(leading.iter().all(is_marked))
    }
}

#[async_trait]
impl Tunnels for Cloudflare {
    async fn ensure(&self, route: &Route) -> Result<Ensured, TunnelError> {
        let own = self.own(&route.agent)?;
        for hostname in route.hostnames.iter().chain([&own]) {
            self.may_be_named(hostname)?;
        }
        let mark = self.mark(&route.agent);
        let tunnel = match self.tunnel(&mark).await? {
            Some(tunnel) => tunnel,
            None => self.make_tunnel(&mark).await?,
        };
        self.lead(&tunnel, route, &own).await?;
        self.name(&own, &mark, &tunnel).await?;
        Ok(Ensured {
            url: format!("https://{own}"),
            connector: Some(Digest::of(tunnel.id.as_str().as_bytes())),
        })
    }

    async fn token(&self, agent: &AgentId) -> Result<Option<Secret<String>>, TunnelError> {
        let what = format!("reading the token of {agent}");
        match self.tunnel(&self.mark(agent)).await? {
            Some(tunnel) => self.token_of(&what, &tunnel).await.map(Some),
            None => Ok(None),
        }
    }

    async fn point(&self, hostname: &Hostname, to: &AgentId) -> Result<(), TunnelError> {
        self.may_be_named(hostname)?;
        let mark = self.mark(to);
        let Some(tunnel) = self.tunnel(&mark).await? else {
            let what = format!("pointing {hostname} at {to}");
            return Err(TunnelError::retry(what, "the agent has no tunnel yet"));
        };
        self.name(hostname, &mark, &tunnel).await
    }

    async fn unpoint(&self, hostname: &Hostname) -> Result<(), TunnelError> {
        self.may_be_named(hostname)?;
        let what = format!("removing {hostname}");
        let by = self.for_removal();
        for record in by.records(&what, Which::Named(hostname)).await? {
            match by.bond(&record).await? {
                Bond::Ours(of, tunnel) => {
                    by.is_to_give(&what, hostname, &of, &tunnel)?;
                    by.delete_record(&what, &record).await?;
                }
                Bond::Uses => {
                    let why = "it has a record that is not ours, and leads to a tunnel of ours";
                    return Err(TunnelError::not_ours(what, why));
                }
                Bond::Nothing => {}
            }
        }
        Ok(())
    }

    async fn remove(&self, agent: &AgentId) -> Result<(), TunnelError> {
        let what = format!("removing the tunnel of {agent}");
        let mark = self.mark(agent);
        let by = self.for_removal();
        let Some(tunnel) = by.tunnel(&mark).await? else {
            by.remove_names(&what, &mark, &[], None).await?;
            return Ok(());
        };
        let target = tunnel.target();
        let leading = match by.is_free(&what, &tunnel).await {
            Ok(leading) => leading,
            // Its rules are left, since somebody else may rely on them.
            Err(error) => {
                match error.next {
                    // A protected name leads to it, and is served by its connections. What is ours is nobody else's.
                    Next::NotOurs => {
                        let names = by.remove_names(&what, &mark, &[], Some(&target));
                        names.await?;
                    }
                    // Who obeys does not connect again.
                    Next::Retry | Next::NeedsPerson => by.drop_connections(&what, &tunnel).await?,
                    Next::WaitUntil(_) => {}
                }
                return Err(error);
            }
        };
        // First, so that nobody comes in any more while a name cannot be removed.
        by.close(&what, &tunnel).await?;
        let is_alone = by
            .remove_names(&what, &mark, &leading, Some(&target))
            .await?;
        match is_alone {
            true => by.delete(&what, &tunnel).await,
            false => Err(TunnelError::not_ours(
                what,
                "a record that is not ours leads to it; it lets nobody in",
            )),
        }
    }

    async fn list(&self) -> Result<Listing, TunnelError> {
        listing::whole(self).await
    }
}

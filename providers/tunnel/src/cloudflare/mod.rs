//! Tunnels of Cloudflare by its API: each agent has a tunnel with our mark as its name, and records with the same mark as their
//! comment. Nothing is kept here: what is there is found by these marks, and looked at before it is changed.

mod budget;
mod call;
mod dns;
mod fault;
mod id;
mod pages;
mod tunnels;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use easyenclave_schemas::{AgentId, Digest, FleetId, Secret};

use call::Api;
pub use call::Pace;
use dns::{Record, Which};
use id::Id;
use tunnels::Tunnel;

use crate::{Ensured, Hostname, Link, Listing, Mark, Route, STRANGE, Seen, TunnelError, Tunnels};

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
        for record in self.records(&what, Which::Named(hostname)).await? {
            if self.is_ours(&record).await? {
                self.delete_record(&what, &record).await?;
            }
        }
        Ok(())
    }

    async fn remove(&self, agent: &AgentId) -> Result<(), TunnelError> {
        let what = format!("removing the tunnel of {agent}");
        let mark = self.mark(agent);
        let Some(tunnel) = self.tunnel(&mark).await? else {
            self.remove_names(&what, &mark, &[], None).await?;
            return Ok(());
        };
        let leading = self.is_free(&what, &tunnel).await?;
        let target = tunnel.target();
        let is_alone = self
            .remove_names(&what, &mark, &leading, Some(&target))
            .await?;
        self.close(&what, &tunnel).await?;
        match is_alone {
            true => self.delete(&what, &tunnel).await,
            false => Err(TunnelError::not_ours(
                what,
                "a record that is not ours leads to it; it lets nobody in",
            )),
        }
    }

    async fn list(&self) -> Result<Listing, TunnelError> {
        let what = format!("listing the tunnels of {}", self.fleet);
        let prefix = Mark::prefix(&self.fleet);
        let tunnels = self.tunnels(&what, ("include_prefix", &prefix)).await?;
        let records = self.records(&what, Which::Ours).await?;
        let mut told = Told::default();
        for tunnel in tunnels
            .iter()
            .filter(|tunnel| tunnel.name.starts_with(&prefix))
        {
            match Mark::read(&tunnel.name).filter(|_| !self.is_protected(tunnel)) {
                Some(mark) => told.tunnel(mark, tunnel),
                None => told.strange(format!("tunnel {}", tunnel.name)),
            }
        }
        let mut looks = LOOKS;
        for record in &records {
            let is_kept = self.is_kept(record);
            if !told.leads(record, is_kept) {
                let is_left = looks > 0 && self.is_ours(record).await?;
                looks = looks.saturating_sub(1);
                told.left(record, is_left);
            }
        }
        Ok(told.listing())
    }
}

/// The most records of which a listing finds out whether they lead to a tunnel of before; it takes a call each.
const LOOKS: usize = 50;

/// What a listing has told so far.
#[derive(Default)]
struct Told<'a> {
    tunnels: BTreeMap<AgentId, &'a Tunnel>,
    names: BTreeMap<AgentId, BTreeSet<Hostname>>,
    left: BTreeMap<AgentId, BTreeSet<Hostname>>,
    strange: Vec<String>,
}

impl<'a> Told<'a> {
    fn tunnel(&mut self, mark: Mark, tunnel: &'a Tunnel) {
        if self.tunnels.insert(mark.agent, tunnel).is_some() {
            self.strange(format!("another tunnel {}", tunnel.name));
        }
    }

    /// Takes a record in that leads to the tunnel of its agent, and says whether it does.
    fn leads(&mut self, record: &Record, is_kept: bool) -> bool {
        let (Some(mark), Some(name)) = (record.mark(), record.hostname()) else {
            return false;
        };
        let tunnel = self.tunnels.get(&mark.agent);
        let leads = tunnel.is_some_and(|tunnel| record.leads_to(&tunnel.target()));
        if leads && !is_kept {
            self.names.entry(mark.agent).or_default().insert(name);
        }
        leads && !is_kept
    }

    /// Takes a record in that does not: it is left of a tunnel of ours, or not ours.
    fn left(&mut self, record: &Record, is_left: bool) {
        match (record.mark().filter(|_| is_left), record.hostname()) {
            (Some(mark), Some(name)) => drop(self.left.entry(mark.agent).or_default().insert(name)),
            _ => self.strange(format!("record {}", record.name)),
        }
    }

    fn strange(&mut self, what: String) {
        if self.strange.len() < STRANGE {
            self.strange.push(what.chars().take(300).collect());
        }
    }

    fn listing(mut self) -> Listing {
        let agents = self
            .tunnels
            .keys()
            .chain(self.names.keys())
            .chain(self.left.keys());
        let agents: BTreeSet<AgentId> = agents.cloned().collect();
        let seen = |agent: AgentId| {
            let link = |tunnel: &&Tunnel| match tunnel.is_connected() {
                true => Link::Connected,
                false => Link::Down,
            };
            Seen {
                tunnel: self.tunnels.get(&agent).map(link),
                hostnames: self.names.remove(&agent).unwrap_or_default(),
                left: self.left.remove(&agent).unwrap_or_default(),
                agent,
            }
        };
        Listing {
            ours: agents.into_iter().map(seen).collect(),
            strange: self.strange,
        }
    }
}

//! What is there, as one listing: all tunnels with our marks, then all records with them. Who is made or removed between the two
//! is told wrongly by neither.

use std::collections::{BTreeMap, BTreeSet};

use easyenclave_schemas::AgentId;

use super::Cloudflare;
use super::dns::{Record, Which};
use super::id::Id;
use super::tunnels::Tunnel;
use crate::{Hostname, Link, Listing, Mark, STRANGE, Seen, TunnelError};

/// The most tunnels of before that a listing looks at, to find out whether records that lead to them are ours; it takes a call
/// each.
const LOOKS: usize = 200;

/// All of it.
pub(super) async fn whole(cloudflare: &Cloudflare) -> Result<Listing, TunnelError> {
    let what = format!("listing the tunnels of {}", cloudflare.fleet);
    let prefix = Mark::prefix(&cloudflare.fleet);
    let tunnels = cloudflare
        .tunnels(&what, ("include_prefix", &prefix))
        .await?;
    let records = cloudflare.records(&what, Which::Ours).await?;
    let mut told = Told::default();
    for tunnel in tunnels.iter().filter(|it| it.name.starts_with(&prefix)) {
        match Mark::read(&tunnel.name).filter(|_| !cloudflare.is_protected(tunnel)) {
            Some(mark) => told.tunnel(mark, tunnel),
            None => told.other(tunnel),
        }
    }
    let mut before = Before::new(cloudflare, &what);
    for record in &records {
        let is_kept = cloudflare.is_kept(record);
        if !told.leads(record, is_kept) {
            let is_known = told.led_to(record).is_some();
            let is_left = !is_kept && !is_known && before.has(record).await?;
            told.left(record, is_left);
        }
    }
    Ok(told.listing())
}

/// Tunnels that were not listed and that records lead to, each looked at once.
struct Before<'a> {
    cloudflare: &'a Cloudflare,
    what: &'a str,
    tunnels: BTreeMap<Id, Option<Tunnel>>,
}

impl<'a> Before<'a> {
    fn new(cloudflare: &'a Cloudflare, what: &'a str) -> Self {
        Self {
            cloudflare,
            what,
            tunnels: BTreeMap::new(),
        }
    }

    /// Whether a record is ours and leads to a tunnel of before. One that is there was made after the tunnels were listed, and
    /// its records are no remains.
    async fn has(&mut self, record: &Record) -> Result<bool, TunnelError> {
        let (Some(mark), Some(id)) = (record.mark(), record.tunnel()) else {
            return Ok(false);
        };
        let name = mark.to_string();
        let is_of = |tunnel: &&Tunnel| tunnel.name == name;
        let (cloudflare, what) = (self.cloudflare, self.what);
        let tunnel = self.look(id).await?.filter(is_of);
        match tunnel.filter(|tunnel| !cloudflare.is_protected(tunnel)) {
            None => Ok(false),
            Some(tunnel) if tunnel.is_there() => {
                let why = "the listing is not complete: it changed while it was read";
                Err(TunnelError::retry(what, why))
            }
            Some(_) => Ok(true),
        }
    }

    async fn look(&mut self, id: Id) -> Result<Option<&Tunnel>, TunnelError> {
        if !self.tunnels.contains_key(&id) {
            if self.tunnels.len() >= LOOKS {
                let why = format!(
                    "its records lead to more than {LOOKS} tunnels that are gone: remove some"
                );
                return Err(TunnelError::person(self.what, why));
            }
            let tunnel = self.cloudflare.tunnel_by_id(&id).await?;
            self.tunnels.insert(id.clone(), tunnel);
        }
        Ok(self.tunnels.get(&id).and_then(Option::as_ref))
    }
}

/// What a listing has told so far.
#[derive(Default)]
struct Told<'a> {
    /// All tunnels that were listed, and which agent's each is.
    listed: BTreeMap<&'a Id, Option<AgentId>>,
    tunnels: BTreeMap<AgentId, &'a Tunnel>,
    names: BTreeMap<AgentId, BTreeSet<Hostname>>,
    dead: BTreeMap<AgentId, BTreeSet<Hostname>>,
    left: BTreeMap<AgentId, BTreeSet<Hostname>>,
    strange: Vec<String>,
}

impl<'a> Told<'a> {
    fn tunnel(&mut self, mark: Mark, tunnel: &'a Tunnel) {
        self.listed.insert(&tunnel.id, Some(mark.agent.clone()));
        if self.tunnels.insert(mark.agent, tunnel).is_some() {
            self.strange(format!("another tunnel {}", tunnel.name));
        }
    }

    fn other(&mut self, tunnel: &'a Tunnel) {
        self.listed.insert(&tunnel.id, None);
        self.strange(format!("tunnel {}", tunnel.name));
    }

    /// The agent of the listed tunnel that a record leads to; of one that was not listed nothing is known.
    fn led_to(&self, record: &Record) -> Option<&Option<AgentId>> {
        self.listed.get(&record.tunnel()?)
    }

    /// Takes a record in that leads to a tunnel of its agent, and says whether it does.
    fn leads(&mut self, record: &Record, is_kept: bool) -> bool {
        let (Some(mark), Some(name)) = (record.mark(), record.hostname()) else {
            return false;
        };
        let agent = self.led_to(record).and_then(Option::as_ref);
        let leads = !is_kept && agent == Some(&mark.agent);
        if leads && !record.is_served() {
            let dead = self.dead.entry(mark.agent.clone()).or_default();
            dead.insert(name.clone());
        }
        if leads {
            self.names.entry(mark.agent).or_default().insert(name);
        }
        leads
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
                dead: self.dead.remove(&agent).unwrap_or_default(),
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

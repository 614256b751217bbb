//! Records of a zone: what is asked about them, and whose they are. A record is ours by two marks that have to agree: its comment
//! names an agent of ours, and its content is the tunnel of that agent, be it there or deleted.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::Ask;
use super::id::Id;
use super::pages::{self, Entry};
use super::tunnels::Tunnel;
use super::{Cloudflare, Hostname};
use crate::{Mark, TunnelError};

/// A record as Cloudflare tells of it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: Id,
    #[serde(rename = "type")]
    kind: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) content: Option<String>,
    #[serde(default)]
    comment: Option<String>,
    #[serde(default)]
    proxied: Option<bool>,
}

impl Entry for Record {
    fn id(&self) -> &str {
        self.id.as_str()
    }
}

impl Record {
    /// The mark of its comment, if it has one.
    pub(crate) fn mark(&self) -> Option<Mark> {
        Mark::read(self.comment.as_deref()?)
    }

    /// Whether its content is this; names of hosts have no case.
    pub(crate) fn leads_to(&self, target: &str) -> bool {
        let content = self.content.as_deref();
        self.kind == "CNAME" && content.is_some_and(|content| content.eq_ignore_ascii_case(target))
    }

    /// The tunnel that it leads to, if it leads to any.
    pub(crate) fn tunnel(&self) -> Option<Id> {
        let content = self.content.as_deref()?.to_ascii_lowercase();
        let id = content.strip_suffix(".cfargotunnel.com")?.to_owned();
        (self.kind == "CNAME").then(|| Id::try_from(id).ok())?
    }

    /// Whether the edge serves its name: unproxied, a name of a tunnel resolves for nobody.
    pub(crate) fn is_served(&self) -> bool {
        self.proxied == Some(true)
    }

    pub(crate) fn hostname(&self) -> Option<Hostname> {
        Hostname::new(self.name.to_ascii_lowercase()).ok()
    }

    pub(crate) fn is_named(&self, hostname: &Hostname) -> bool {
        self.name.eq_ignore_ascii_case(hostname.as_str())
    }
}

/// What a record is to us.
pub(crate) enum Bond {
    /// It is ours, and leads to this tunnel of ours, be it there or deleted.
    Ours(Mark, Tunnel),
    /// It is not ours, and leads to a tunnel of ours all the same.
    Uses,
    /// It has nothing to do with us.
    Nothing,
}

/// Which records are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which<'a> {
    /// Those of a name, of any kind.
    Named(&'a Hostname),
    /// Those that lead to a tunnel.
    LeadingTo(&'a str),
    /// Those with the mark of an agent.
    Marked(&'a Mark),
    /// Those with a mark of the fleet.
    Ours,
}

impl Cloudflare {
    /// All records of a kind, which is looked at here again.
    pub(crate) async fn records(
        &self,
        what: &str,
        which: Which<'_>,
    ) -> Result<Vec<Record>, TunnelError> {
        let filter = match which {
            Which::Named(name) => ("name.exact", name.to_string()),
            Which::LeadingTo(target) => ("content.exact", target.to_owned()),
            Which::Marked(mark) => ("comment.exact", mark.to_string()),
            Which::Ours => ("comment.startswith", Mark::prefix(&self.fleet)),
        };
        let ask = || {
            let mut ask = Ask::new(Method::GET, self.zone_path(""), what);
            ask.query = vec![filter.clone()];
            ask
        };
        let mut records: Vec<Record> = pages::all(&self.api, ask).await?;
        records.retain(|record| match which {
            Which::Named(name) => record.is_named(name),
            Which::LeadingTo(target) => record.leads_to(target),
            Which::Marked(mark) => record.mark().as_ref() == Some(mark),
            Which::Ours => record.mark().is_some_and(|mark| mark.fleet == self.fleet),
        });
        Ok(records)
    }

    /// Makes a name lead to a tunnel of ours, if it leads nowhere or is ours.
    pub(crate) async fn name(
        &self,
        hostname: &Hostname,
        mark: &Mark,
        tunnel: &Tunnel,
    ) -> Result<(), TunnelError> {
        let what = format!("pointing {hostname} at {}", mark.agent);
        let found = self.records(&what, Which::Named(hostname)).await?;
        let target = tunnel.target();
        let body =
            json!({"content": target, "comment": mark.to_string(), "proxied": true, "ttl": 1});
        let [record] = found.as_slice() else {
            return match found.is_empty() {
                true => self.make_record(&what, hostname, body).await,
                false => Err(TunnelError::not_ours(what, "it has several records")),
            };
        };
        let is_marked = record.mark().as_ref() == Some(mark) && record.leads_to(&target);
        if is_marked && record.is_served() {
            return Ok(());
        }
        let Bond::Ours(before, of) = self.bond(record).await? else {
            let why = "it has a record that is not ours";
            return Err(TunnelError::not_ours(what, why));
        };
        if before != *mark {
            self.is_to_give(&what, hostname, &before, &of)?;
        }
        let path = self.zone_path(&format!("/{}", record.id));
        let ask = Ask::new(Method::PATCH, path, &what).with(body);
        self.api.ask::<Value>(ask).await?;
        Ok(())
    }

    async fn make_record(
        &self,
        what: &str,
        hostname: &Hostname,
        mut body: Value,
    ) -> Result<(), TunnelError> {
        body["type"] = json!("CNAME");
        body["name"] = json!(hostname.as_str());
        let ask = Ask::new(Method::POST, self.zone_path(""), what).with(body);
        self.api.ask::<Value>(ask).await?;
        Ok(())
    }

    pub(crate) async fn delete_record(
        &self,
        what: &str,
        record: &Record,
    ) -> Result<(), TunnelError> {
        let ask = Ask::new(
            Method::DELETE,
            self.zone_path(&format!("/{}", record.id)),
            what,
        );
        let deleted = self.api.ask::<Value>(ask).await.map(drop);
        deleted.or_else(super::fault::Fault::unless_absent)
    }

    /// What a record is to us: by its comment, and by the tunnel that it leads to.
    pub(crate) async fn bond(&self, record: &Record) -> Result<Bond, TunnelError> {
        let Some(id) = record.tunnel() else {
            return Ok(Bond::Nothing);
        };
        let tunnel = self.tunnel_by_id(&id).await?;
        let Some(tunnel) = tunnel.filter(|tunnel| !self.is_protected(tunnel)) else {
            return Ok(Bond::Nothing);
        };
        match Mark::read(&tunnel.name).filter(|mark| mark.fleet == self.fleet) {
            Some(mark) if record.mark().as_ref() == Some(&mark) && !self.is_kept(record) => {
                Ok(Bond::Ours(mark, tunnel))
            }
            Some(_) if tunnel.is_there() => Ok(Bond::Uses),
            _ => Ok(Bond::Nothing),
        }
    }

    pub(crate) async fn is_ours(&self, record: &Record) -> Result<bool, TunnelError> {
        Ok(matches!(self.bond(record).await?, Bond::Ours(..)))
    }

    /// Fails for the name that an agent always has, as long as its tunnel is there: nobody else is given it.
    pub(crate) fn is_to_give(
        &self,
        what: &str,
        hostname: &Hostname,
        of: &Mark,
        tunnel: &Tunnel,
    ) -> Result<(), TunnelError> {
        let is_own = self.own(&of.agent).is_ok_and(|own| own == *hostname);
        match is_own && tunnel.is_there() {
            true => {
                let why = format!("it is the own name of agent {}", of.agent);
                Err(TunnelError::not_ours(what, why))
            }
            false => Ok(()),
        }
    }

    /// Fails when a protected name leads to a tunnel: it is protected, too.
    pub(crate) async fn is_free(
        &self,
        what: &str,
        tunnel: &Tunnel,
    ) -> Result<Vec<Record>, TunnelError> {
        let leading = self
            .records(what, Which::LeadingTo(&tunnel.target()))
            .await?;
        match leading.iter().find(|record| self.is_kept(record)) {
            None => Ok(leading),
            Some(kept) => {
                let why = format!(
                    "{} is protected, and leads to tunnel {}",
                    kept.name, tunnel.name
                );
                Err(TunnelError::not_ours(what, why))
            }
        }
    }

    fn zone_path(&self, rest: &str) -> String {
        format!("/zones/{}/dns_records{rest}", self.zone_id)
    }
}

//! Tunnels of an account: what is asked about them. The name of a tunnel is the only mark that it has.

use std::collections::BTreeSet;

use easyenclave_schemas::Secret;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::call::Ask;
use super::id::Id;
use super::pages::{self, Entry};
use super::{Cloudflare, Hostname};
use crate::{Mark, Route, TunnelError};

/// A tunnel as Cloudflare tells of it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Tunnel {
    pub(crate) id: Id,
    pub(crate) name: String,
    #[serde(default)]
    deleted_at: Option<String>,
    #[serde(default)]
    config_src: Option<String>,
    #[serde(default)]
    status: Option<String>,
}

impl Entry for Tunnel {
    fn id(&self) -> &str {
        self.id.as_str()
    }
}

impl Tunnel {
    /// What a record has to say to lead here.
    pub(crate) fn target(&self) -> String {
        format!("{}.cfargotunnel.com", self.id)
    }

    pub(crate) fn is_there(&self) -> bool {
        self.deleted_at.is_none()
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.status.as_deref(), Some("healthy" | "degraded"))
    }

    /// Whether its rules are kept on the machine of its connector, where nobody changes them from here.
    fn is_local(&self) -> bool {
        self.config_src.as_deref() == Some("local")
    }
}

/// The configuration of a tunnel. All of it is ours: what somebody adds is taken away again.
#[derive(Debug, Default, Deserialize)]
struct Configuration {
    #[serde(default)]
    config: Option<Config>,
}

#[derive(Debug, Default, Deserialize)]
struct Config {
    #[serde(default)]
    ingress: Option<Vec<Rule>>,
    /// Changes what every rule does.
    #[serde(default, rename = "originRequest")]
    origin_request: Option<Value>,
    /// Lets in people of the account's private network, past the rules.
    #[serde(default, rename = "warp-routing")]
    warp_routing: Option<Value>,
}

impl Configuration {
    /// Whether it has these rules, and nothing else that counts.
    fn is(self, rules: &[Value]) -> bool {
        let config = self.config.unwrap_or_default();
        let now = config.ingress.unwrap_or_default();
        let is_off = |value: &Value| is_nothing(value) || *value == json!({"enabled": false});
        now.len() == rules.len()
            && now.iter().zip(rules).all(|(now, rule)| now.is(rule))
            && config.origin_request.as_ref().is_none_or(is_nothing)
            && config.warp_routing.as_ref().is_none_or(is_off)
    }
}

fn is_nothing(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty)
}

#[derive(Debug, Deserialize)]
struct Rule {
    #[serde(default)]
    hostname: Option<String>,
    #[serde(default)]
    path: Option<String>,
    service: String,
    #[serde(default, rename = "originRequest")]
    origin_request: Option<Value>,
}

impl Rule {
    fn is(&self, wanted: &Value) -> bool {
        let hostname = self.hostname.as_deref().filter(|name| !name.is_empty());
        wanted["hostname"].as_str() == hostname
            && wanted["service"] == self.service.as_str()
            && self.path.as_deref().is_none_or(str::is_empty)
            && self.origin_request.as_ref().is_none_or(is_nothing)
    }
}

/// What everybody gets whom no rule lets in.
const NOBODY: &str = "http_status:404";

/// The rules of a route: its names, and nobody else.
fn rules(route: &Route, own: &Hostname) -> Vec<Value> {
    let names: BTreeSet<&Hostname> = route.hostnames.iter().chain([own]).collect();
    let rule = |name: &Hostname| json!({"hostname": name.as_str(), "service": route.inside});
    let rules = names.into_iter().map(rule);
    rules.chain([json!({"service": NOBODY})]).collect()
}

impl Cloudflare {
    /// The tunnel with this mark, if there is one.
    pub(crate) async fn tunnel(&self, mark: &Mark) -> Result<Option<Tunnel>, TunnelError> {
        let what = format!("looking for the tunnel of {}", mark.agent);
        let name = mark.to_string();
        let mut found = self.tunnels(&what, ("name", &name)).await?;
        // Filters are Cloudflare's business; whose it is, is ours.
        found.retain(|tunnel| tunnel.name == name);
        let first = found.pop();
        if !found.is_empty() {
            let why = format!("several tunnels are called {name}: remove all but one");
            return Err(TunnelError::person(what, why));
        }
        if let Some(tunnel) = first.as_ref().filter(|tunnel| self.is_protected(tunnel)) {
            let why = format!("tunnel {} is protected", tunnel.name);
            return Err(TunnelError::not_ours(what, why));
        }
        Ok(first)
    }

    /// The tunnels that are there by a filter.
    pub(crate) async fn tunnels(
        &self,
        what: &str,
        filter: (&'static str, &str),
    ) -> Result<Vec<Tunnel>, TunnelError> {
        let ask = || {
            let mut ask = Ask::new(Method::GET, self.account_path(""), what);
            ask.query = vec![
                (filter.0, filter.1.to_owned()),
                ("is_deleted", "false".into()),
            ];
            ask
        };
        let mut tunnels: Vec<Tunnel> = pages::all(&self.api, ask).await?;
        tunnels.retain(Tunnel::is_there);
        Ok(tunnels)
    }

    /// The tunnel with an id, also one that is deleted.
    pub(crate) async fn tunnel_by_id(&self, id: &Id) -> Result<Option<Tunnel>, TunnelError> {
        let what = format!("looking at tunnel {id}");
        let ask = Ask::new(Method::GET, self.account_path(&format!("/{id}")), &what);
        match self.api.get::<Tunnel>(ask).await {
            Ok(tunnel) if tunnel.id == *id => Ok(Some(tunnel)),
            Ok(_) => Err(TunnelError::retry(what, "another came")),
            Err(fault) => fault.unless_absent().map(|()| None),
        }
    }

    pub(crate) async fn make_tunnel(&self, mark: &Mark) -> Result<Tunnel, TunnelError> {
        let what = format!("making the tunnel of {}", mark.agent);
        let name = mark.to_string();
        let body = json!({"name": name, "config_src": "cloudflare"});
        let ask = Ask::new(Method::POST, self.account_path(""), &what).with(body);
        let made: Tunnel = self.api.get(ask).await?;
        match made.name == name && made.is_there() {
            true => Ok(made),
            false => Err(TunnelError::retry(what, "another came")),
        }
    }

    /// Lets a route's names in through a tunnel, and nobody else.
    pub(crate) async fn lead(
        &self,
        tunnel: &Tunnel,
        route: &Route,
        own: &Hostname,
    ) -> Result<(), TunnelError> {
        let what = format!("setting what the tunnel of {} leads to", route.agent);
        if tunnel.is_local() {
            let why = "its rules are kept on its machine: remove the tunnel";
            return Err(TunnelError::person(what, why));
        }
        let path = self.account_path(&format!("/{}/configurations", tunnel.id));
        let rules = rules(route, own);
        let ask = Ask::new(Method::GET, path.clone(), &what);
        let now: Configuration = self.api.get(ask).await?;
        if now.is(&rules) {
            return Ok(());
        }
        self.is_free(&what, tunnel).await?;
        let set = self.set_rules(&what, tunnel, &rules).await?;
        if set.is_some_and(|set: Configuration| !set.is(&rules)) {
            let why = "it keeps settings that are not ours: take them away in the dashboard";
            return Err(TunnelError::person(what, why));
        }
        Ok(())
    }

    /// Lets nobody in through a tunnel any more, and drops who is connected.
    pub(crate) async fn close(&self, what: &str, tunnel: &Tunnel) -> Result<(), TunnelError> {
        if !tunnel.is_local() {
            let nobody = [json!({"service": NOBODY})];
            self.set_rules::<Value>(what, tunnel, &nobody).await?;
        }
        self.drop_connections(what, tunnel).await
    }

    /// Drops who is connected through a tunnel.
    pub(crate) async fn drop_connections(
        &self,
        what: &str,
        tunnel: &Tunnel,
    ) -> Result<(), TunnelError> {
        let path = self.account_path(&format!("/{}/connections", tunnel.id));
        let ask = Ask::new(Method::DELETE, path, what);
        let dropped = self.api.ask::<Value>(ask).await.map(drop);
        dropped.or_else(super::fault::Fault::unless_absent)
    }

    pub(crate) async fn delete(&self, what: &str, tunnel: &Tunnel) -> Result<(), TunnelError> {
        let path = self.account_path(&format!("/{}", tunnel.id));
        let ask = Ask::new(Method::DELETE, path, what);
        let deleted = self.api.ask::<Value>(ask).await.map(drop);
        deleted.or_else(super::fault::Fault::unless_absent)
    }

    pub(crate) async fn token_of(
        &self,
        what: &str,
        tunnel: &Tunnel,
    ) -> Result<Secret<String>, TunnelError> {
        let path = self.account_path(&format!("/{}/token", tunnel.id));
        Ok(self.api.get(Ask::new(Method::GET, path, what)).await?)
    }

    /// Sets the whole configuration. Answers what it is then, where Cloudflare says so.
    async fn set_rules<T: DeserializeOwned>(
        &self,
        what: &str,
        tunnel: &Tunnel,
        rules: &[Value],
    ) -> Result<Option<T>, TunnelError> {
        let path = self.account_path(&format!("/{}/configurations", tunnel.id));
        let body = json!({"config": {"ingress": rules}});
        let ask = Ask::new(Method::PUT, path, what).with(body);
        Ok(self.api.ask::<T>(ask).await?.result)
    }

    fn account_path(&self, rest: &str) -> String {
        format!("/accounts/{}/cfd_tunnel{rest}", self.account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_let_names_in_and_nobody_else() {
        let name = |text: &str| Hostname::new(text).expect("a name");
        let route = Route {
            agent: "a".parse().expect("a name"),
            inside: "http://127.0.0.1:8080".into(),
            outside: String::new(),
            hostnames: [name("app.example.com")].into(),
        };
        let rules = rules(&route, &name("a.example.com"));
        assert_eq!(
            serde_json::to_string(&rules).expect("JSON"),
            r#"[{"hostname":"a.example.com","service":"http://127.0.0.1:8080"},{"hostname":"app.example.com","service":"http://127.0.0.1:8080"},{"service":"http_status:404"}]"#
        );
    }

    #[test]
    fn a_configuration_is_the_same_when_nothing_was_added_to_it() {
        let rules = [json!({"service": NOBODY})];
        let is = |more: &str| {
            let text = format!(r#"{{"config":{{"ingress":[{{"service":"{NOBODY}"}}]{more}}}}}"#);
            let read: Configuration = serde_json::from_str(&text).expect("a configuration");
            read.is(&rules)
        };
        for same in [
            "",
            r#","originRequest":{},"warp-routing":{}"#,
            r#","originRequest":null,"warp-routing":{"enabled":false}"#,
        ] {
            assert!(is(same), "{same}");
        }
        for other in [
            r#","originRequest":{"noTLSVerify":true}"#,
            r#","warp-routing":{"enabled":true}"#,
        ] {
            assert!(!is(other), "{other}");
        }
        assert!(!Configuration::default().is(&rules));
    }

    #[test]
    fn a_rule_is_the_same_when_nothing_was_added_to_it() {
        let wanted = json!({"hostname": "a.b", "service": "http://c"});
        let is = |text: &str| {
            serde_json::from_str::<Rule>(text)
                .expect("a rule")
                .is(&wanted)
        };
        assert!(is(r#"{"hostname":"a.b","service":"http://c"}"#));
        assert!(is(
            r#"{"hostname":"a.b","service":"http://c","path":"","originRequest":{},"id":"1"}"#
        ));
        assert!(!is(r#"{"hostname":"a.b","service":"http://d"}"#));
        assert!(!is(r#"{"service":"http://c"}"#));
        assert!(!is(
            r#"{"hostname":"a.b","service":"http://c","path":"/x"}"#
        ));
        assert!(!is(
            r#"{"hostname":"a.b","service":"http://c","originRequest":{"noTLSVerify":true}}"#
        ));
    }
}

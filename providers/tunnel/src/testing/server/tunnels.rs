//! What is answered about tunnels.

use serde_json::{Value, json};

use super::answers::{Answer, good, refused};
use super::state::{State, Tunnel};
use super::{Said, Verb};

impl State {
    /// The tunnels that a listing asks for, or all when it is deaf to that.
    pub(super) fn filter_tunnels(&self, said: &Said) -> Vec<Value> {
        let wanted = |tunnel: &&Tunnel| {
            let is = |name: &str, fits: &dyn Fn(&str) -> bool| said.query(name).is_none_or(fits);
            is("name", &|name| tunnel.name == name)
                && is("include_prefix", &|prefix| tunnel.name.starts_with(prefix))
                && is("exclude_prefix", &|prefix| !tunnel.name.starts_with(prefix))
                && is("is_deleted", &|deleted| {
                    tunnel.deleted == (deleted == "true")
                })
                && is("uuid", &|id| tunnel.id == id)
        };
        let found = self
            .tunnels
            .iter()
            .filter(|tunnel| self.deaf || wanted(tunnel));
        found.map(Tunnel::show).collect()
    }

    pub(super) fn make_tunnel(&mut self, said: &Said) -> Answer {
        let body = said.body.clone().unwrap_or_default();
        let Some(name) = body["name"].as_str().filter(|name| !name.is_empty()) else {
            return refused(400, 1002, "tunnel name is required");
        };
        if self.find(name).is_some() && !self.lenient {
            return refused(409, 1013, "You already have a tunnel with this name.");
        }
        let id = self.put_tunnel(name, body["config_src"].as_str().unwrap_or("local"));
        let made = self.tunnels.iter().find(|tunnel| tunnel.id == id);
        good(made.expect("made").show())
    }

    /// A request about one tunnel.
    pub(super) fn tunnel(&mut self, verb: Verb, id: &str, said: &Said) -> Answer {
        if self.lenient && !self.tunnels.iter().any(|tunnel| tunnel.id == id) {
            self.put_tunnel("blog", "cloudflare");
            self.tunnels.last_mut().expect("put").id = id.to_owned();
        }
        let lenient = self.lenient;
        let Some(tunnel) = self.tunnels.iter_mut().find(|tunnel| tunnel.id == id) else {
            return refused(404, 1003, "Tunnel not found");
        };
        if tunnel.deleted && verb != Verb::GetTunnel && !lenient {
            return refused(404, 1003, "Tunnel not found");
        }
        match verb {
            Verb::GetTunnel => good(tunnel.show()),
            Verb::ChangeTunnel => tunnel.change(said),
            Verb::DeleteTunnel => tunnel.delete(),
            Verb::Token => good(json!(tunnel.token)),
            Verb::GetRules => good(tunnel.rules()),
            Verb::SetRules => tunnel.set_rules(said, lenient),
            Verb::GetConnections => good(tunnel.clients()),
            _ => tunnel.drop_connections(),
        }
    }
}

impl Tunnel {
    fn change(&mut self, said: &Said) -> Answer {
        if let Some(name) = said.body.as_ref().and_then(|body| body["name"].as_str()) {
            name.clone_into(&mut self.name);
        }
        good(self.show())
    }

    fn delete(&mut self) -> Answer {
        if self.connected {
            return refused(
                400,
                1022,
                "Cannot delete tunnel because it has active connections.",
            );
        }
        self.deleted = true;
        good(self.show())
    }

    fn drop_connections(&mut self) -> Answer {
        self.connected = self.connected && self.stubborn > 0;
        self.stubborn = self.stubborn.saturating_sub(1);
        good(json!({}))
    }

    fn clients(&self) -> Value {
        let shown = self.show();
        let client = json!({
            "id": "1bedc50d-42b3-473c-b108-ff3d10c0d925", "arch": "linux_amd64", "config_version": self.version,
            "conns": shown["connections"], "features": [], "version": "2026.11.0",
        });
        if self.connected {
            json!([client])
        } else {
            json!([])
        }
    }

    fn rules(&self) -> Value {
        json!({
            "account_id": super::ACCOUNT, "tunnel_id": self.id, "version": self.version, "source": self.config_src,
            "created_at": super::state::NOW, "config": self.config,
        })
    }

    fn set_rules(&mut self, said: &Said, lenient: bool) -> Answer {
        let config = said.body.as_ref().map(|body| body["config"].clone());
        let config = config.unwrap_or_default();
        if self.config_src == "local" && !lenient {
            return refused(400, 1056, "The tunnel is configured on its machine.");
        }
        let rules = config["ingress"].as_array().cloned().unwrap_or_default();
        let is_last = |rule: Option<&Value>| rule.is_some_and(|rule| rule["hostname"].is_null());
        let others = rules
            .iter()
            .rev()
            .skip(1)
            .all(|rule| rule["hostname"].is_string());
        if !(lenient || is_last(rules.last()) && others) {
            return refused(400, 1056, "The last ingress rule must match all URLs.");
        }
        self.config = config;
        self.version += 1;
        good(self.rules())
    }
}

//! What exists: tunnels, with their rules and connectors, and records.

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{ACCOUNT, Fault, Said, Verb};

/// When everything happens here.
pub(super) const NOW: &str = "2026-11-27T12:00:00Z";

/// A tunnel, as long as it is remembered.
#[derive(Debug, Clone)]
pub(super) struct Tunnel {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) config_src: String,
    pub(super) config: Value,
    pub(super) version: u64,
    pub(super) token: String,
    pub(super) connected: bool,
    /// How often its connector comes back when it is dropped.
    pub(super) stubborn: u32,
    pub(super) deleted: bool,
}

impl Tunnel {
    /// As Cloudflare tells of it.
    pub(super) fn show(&self) -> Value {
        let connection = json!({
            "id": "1bedc50d-42b3-473c-b108-ff3d10c0d925", "client_id": "1bedc50d-42b3-473c-b108-ff3d10c0d925",
            "client_version": "2026.11.0", "colo_name": "fra01", "is_pending_reconnect": false,
            "opened_at": NOW, "origin_ip": "192.0.2.1", "uuid": "1bedc50d-42b3-473c-b108-ff3d10c0d925",
        });
        let connections = if self.connected {
            vec![connection]
        } else {
            vec![]
        };
        json!({
            "id": self.id, "account_tag": ACCOUNT, "name": self.name, "config_src": self.config_src,
            "remote_config": self.config_src == "cloudflare", "created_at": NOW,
            "deleted_at": self.deleted.then_some(NOW), "connections": connections, "metadata": {},
            "status": if self.connected { "healthy" } else { "inactive" }, "tun_type": "cfd_tunnel",
            "conns_active_at": self.connected.then_some(NOW), "conns_inactive_at": null,
        })
    }
}

/// A kind of request that is kept waiting, once.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) verb: Verb,
    pub(super) page: usize,
    pub(super) arrives: oneshot::Sender<()>,
    pub(super) goes: oneshot::Receiver<()>,
}

/// All there is.
pub(super) struct State {
    pub(super) lenient: bool,
    pub(super) tunnels: Vec<Tunnel>,
    pub(super) records: Vec<Value>,
    pub(super) faults: Vec<Fault>,
    pub(super) holds: Vec<Hold>,
    pub(super) page: usize,
    pub(super) deaf: bool,
    pub(super) short: bool,
    pub(super) limit: Option<usize>,
    pub(super) said: Vec<Said>,
    pub(super) numbers: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            lenient: false,
            tunnels: Vec::new(),
            records: Vec::new(),
            faults: Vec::new(),
            holds: Vec::new(),
            page: 1000,
            deaf: false,
            short: false,
            limit: None,
            said: Vec::new(),
            numbers: 0,
        }
    }
}

impl State {
    pub(super) fn heal(&mut self) {
        self.faults.clear();
        self.deaf = false;
        self.short = false;
        self.limit = None;
    }

    /// The fault that a request of this kind meets.
    pub(super) fn fault(&mut self, verb: Verb, page: usize) -> Option<Fault> {
        let is_met = |fault: &Fault| {
            let late = matches!(fault, Fault::NoSecondPage(_));
            fault.verb() == verb && (!late || page > 1)
        };
        let at = self.faults.iter().position(is_met)?;
        Some(self.faults.remove(at))
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn put_tunnel(&mut self, name: &str, config_src: &str) -> String {
        let number = self.number();
        let id = format!("f70ff985-a4ef-4643-bbbc-{number:012x}");
        self.tunnels.push(Tunnel {
            id: id.clone(),
            name: name.into(),
            config_src: config_src.into(),
            config: Value::Null,
            version: 0,
            token: format!("connector-token-{number:08}-0123456789abcdef"),
            connected: false,
            stubborn: 0,
            deleted: false,
        });
        id
    }

    pub(super) fn put_record(
        &mut self,
        kind: &str,
        name: &str,
        content: &str,
        comment: Option<&str>,
    ) -> String {
        let id = format!("372e67954025e0ba6aaa{:012x}", self.number());
        self.records.push(json!({
            "id": id, "type": kind, "name": name, "content": content, "comment": comment, "proxied": true,
            "proxiable": true, "ttl": 1, "meta": {}, "settings": {}, "tags": [], "created_on": NOW,
            "modified_on": NOW,
        }));
        id
    }

    /// A field of the configuration of a tunnel becomes this.
    pub(super) fn set_config(&mut self, id: &str, field: &str, value: Value) {
        let tunnel = self.tunnels.iter_mut().find(|tunnel| tunnel.id == id);
        tunnel.expect("a tunnel").config[field] = value;
    }

    pub(super) fn set_record(&mut self, id: &str, field: &str, value: Value) {
        let record = self.records.iter_mut().find(|record| record["id"] == *id);
        record.expect("a record")[field] = value;
    }

    pub(super) fn set_deleted(&mut self, id: &str) {
        let tunnel = self.tunnels.iter_mut().find(|tunnel| tunnel.id == id);
        let tunnel = tunnel.expect("a tunnel");
        tunnel.deleted = true;
        tunnel.connected = false;
    }

    pub(super) fn connect(&mut self, name: &str, connected: bool, stubborn: u32) {
        let those = self.tunnels.iter_mut();
        for tunnel in those.filter(|tunnel| tunnel.name == name && !tunnel.deleted) {
            tunnel.connected = connected;
            tunnel.stubborn = stubborn;
        }
    }

    /// The tunnel with this name that is there.
    pub(super) fn find(&self, name: &str) -> Option<&Tunnel> {
        let mut there = self.tunnels.iter().filter(|tunnel| !tunnel.deleted);
        there.find(|tunnel| tunnel.name == name)
    }

    pub(super) fn dump(&self) -> Vec<Value> {
        let dump = |tunnel: &Tunnel| {
            let mut shown = tunnel.show();
            shown["config"] = tunnel.config.clone();
            shown["version"] = json!(tunnel.version);
            shown
        };
        self.tunnels.iter().map(dump).collect()
    }
}

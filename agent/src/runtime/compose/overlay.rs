//! What is laid over the user's Compose file: labels, bounded logs, volumes on the data disk, the published address, files
//! with secrets. It is JSON, which is YAML too. What changes here makes new containers, so it is the same for every version of
//! a deployment, but for the files of secrets: another value of one is another file.

use std::path::{Path, PathBuf};

use easyenclave_engine::{Generation, Owner, labels};
use easyenclave_schemas::DeploymentId;
use serde_json::{Map, Value, json};

use crate::vault::Mount;

/// The most that an engine keeps of one container's output: two files of this many bytes.
const LOG: &str = "1048576";

/// What is laid over.
#[derive(Debug)]
pub(super) struct Overlay<'a> {
    pub(super) owner: &'a Owner,
    pub(super) deployment: &'a DeploymentId,
    /// The services of the file.
    pub(super) services: &'a [String],
    /// The named volumes of the file.
    pub(super) volumes: &'a [String],
    /// Where volumes are kept; the engine keeps them where there is none.
    pub(super) disk: Option<&'a Path>,
    /// The service that answers, its port, and the port of this machine that leads there.
    pub(super) web: Option<(&'a str, u16, u16)>,
    /// Files that services see, and no others do.
    pub(super) secrets: &'a [Mount],
    /// Which compose reads it.
    pub(super) compose: Generation,
}

impl Overlay<'_> {
    /// The text of the file.
    pub(super) fn text(&self) -> String {
        let entry = |name: &String, value: Value| (name.clone(), value);
        let services: Map<_, _> = self
            .services
            .iter()
            .map(|name| entry(name, self.service(name)))
            .collect();
        let volumes: Map<_, _> = self
            .volumes
            .iter()
            .map(|name| entry(name, self.volume(name)))
            .collect();
        let mut all = Map::from_iter([("services".to_owned(), services.into())]);
        if !volumes.is_empty() {
            all.insert("volumes".to_owned(), volumes.into());
        }
        Value::from(all).to_string()
    }

    fn labels(&self) -> Value {
        json!({
            labels::FLEET: self.owner.fleet,
            labels::ORDER: self.owner.order,
            labels::DEPLOYMENT: self.deployment.to_string(),
        })
    }

    fn service(&self, name: &str) -> Value {
        let mut service = json!({
            "labels": self.labels(),
            "logging": { "driver": "json-file", "options": { "max-size": LOG, "max-file": "2" } },
        });
        let given = self.secrets.iter().filter(|one| one.is_for(name));
        let given: Vec<_> = given.map(|one| one.entry(self.compose)).collect();
        if !given.is_empty() {
            service["volumes"] = given.into();
        }
        if let Some((_, inside, outside)) = self.web.filter(|(service, _, _)| *service == name) {
            service["ports"] = json!([format!("127.0.0.1:{outside}:{inside}")]);
        }
        service
    }

    /// Two agents may use one engine, so the name is the project's own, whatever the file says.
    fn volume(&self, name: &str) -> Value {
        let mut volume = json!({
            "name": format!("{}_{name}", self.owner.project()),
            "labels": self.labels(),
        });
        if let Some(disk) = self.disk {
            let device = folder(disk, name);
            volume["driver"] = "local".into();
            volume["driver_opts"] = json!({ "type": "none", "o": "bind", "device": device });
        }
        volume
    }
}

/// The folder of a volume.
pub(super) fn folder(disk: &Path, volume: &str) -> PathBuf {
    disk.join(volume)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlay_says_nothing_of_the_version() {
        let owner = Owner {
            fleet: "demo@0123".into(),
            order: "tiny-1".into(),
        };
        let deployment = "acme/web".parse().expect("a deployment");
        let overlay = Overlay {
            owner: &owner,
            deployment: &deployment,
            services: &["db".into(), "web".into()],
            volumes: &["data".into()],
            disk: Some(Path::new("/data/volumes")),
            web: Some(("web", 80, 40000)),
            secrets: &[],
            compose: Generation::Second,
        };
        let found: Value = serde_json::from_str(&overlay.text()).expect("JSON");
        let labels = json!({ "dev.easyenclave.fleet": "demo@0123", "dev.easyenclave.order": "tiny-1",
            "dev.easyenclave.deployment": "acme/web" });
        let logging =
            json!({ "driver": "json-file", "options": { "max-size": "1048576", "max-file": "2" } });
        let expected = json!({
            "services": {
                "db": { "labels": labels, "logging": logging },
                "web": { "labels": labels, "logging": logging, "ports": ["127.0.0.1:40000:80"] },
            },
            "volumes": { "data": { "name": "ee_demo_0123_tiny-1_data", "labels": labels, "driver": "local",
                "driver_opts": { "type": "none", "o": "bind", "device": "/data/volumes/data" } } },
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_secret_is_a_file_of_the_services_that_it_is_for() {
        let owner = Owner {
            fleet: "demo@0123".into(),
            order: "tiny-1".into(),
        };
        let deployment = "acme/web".parse().expect("a deployment");
        let mount = |name: &str, services: &[&str]| Mount {
            source: Path::new("/dev/shm/x").join(name),
            name: name.into(),
            services: services.iter().map(|one| (*one).to_owned()).collect(),
        };
        let overlay = Overlay {
            owner: &owner,
            deployment: &deployment,
            services: &["db".into(), "web".into()],
            volumes: &[],
            disk: None,
            web: None,
            secrets: &[mount("key", &[]), mount("password", &["db"])],
            compose: Generation::First,
        };
        let found: Value = serde_json::from_str(&overlay.text()).expect("JSON");
        let [key, password] =
            ["key", "password"].map(|name| mount(name, &[]).entry(Generation::First));
        assert_eq!(found["services"]["db"]["volumes"], json!([key, password]));
        assert_eq!(found["services"]["web"]["volumes"], json!([key]));
    }
}

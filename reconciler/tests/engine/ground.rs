//! A fleet beside a real engine, and the means to look at its containers, agents and logs.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use easyenclave_engine::testing::Bed;
use easyenclave_schemas::Digest;
use easyenclave_schemas::signature::{Keypair, sign_request};
use serde_json::Value;

use crate::harness::{Fleet, deployment, find, now, signal};

/// The deployment of the stories.
pub(crate) const WEB: &str = "deployments/acme/web.yaml";

/// A fleet, and the engine that its agents use.
pub(crate) struct Ground {
    pub(crate) bed: Bed,
    pub(crate) fleet: Fleet,
    /// Agents that were started again here.
    again: Vec<Child>,
    /// After the fleet, so that nothing is made any more.
    sweep: Sweep,
}

/// A story that has failed leaves nothing for the next one.
struct Sweep {
    host: String,
    /// The label of this fleet's machines.
    fleet: String,
}

impl Drop for Sweep {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let docker = |line: &[&str]| {
            let output = Command::new("docker")
                .args(line)
                .env("DOCKER_HOST", &self.host)
                .output();
            String::from_utf8(output.map(|output| output.stdout).unwrap_or_default())
                .unwrap_or_default()
        };
        let mark = self.fleet.replace('@', "_");
        let label = format!("label=dev.easyenclave.fleet={}", self.fleet);
        for id in docker(&["ps", "--all", "--quiet", "--filter", &label]).lines() {
            docker(&["rm", "--force", "--volumes", id]);
        }
        for kind in ["network", "volume"] {
            let name = format!("name=ee_{mark}_");
            for id in docker(&[kind, "ls", "--quiet", "--filter", &name]).lines() {
                docker(&[kind, "rm", id]);
            }
        }
    }
}

impl Ground {
    /// A fleet with this deployment, and a process that is none of its business.
    pub(crate) fn started(bed: Bed, document: Option<&str>) -> Self {
        let mut fleet = Fleet::new(1, 0);
        let path = bed.path().to_str().expect("UTF-8").to_owned();
        fleet.environment = vec![("PATH", path), ("DOCKER_HOST", bed.host().to_owned())];
        let other = deployment("other", 1, "");
        fleet.commit_all(&[
            (WEB, document),
            ("deployments/acme/other.yaml", Some(&other)),
        ]);
        let units = fleet.path("data/worker/units");
        std::fs::create_dir_all(&units).expect("a folder");
        let units = units.canonicalize().expect("there");
        let mark = Digest::of(units.as_os_str().as_encoded_bytes()).short(12);
        let sweep = Sweep {
            host: bed.host().to_owned(),
            fleet: format!("test@{mark}"),
        };
        fleet.start_serve();
        fleet.start_worker();
        Self {
            sweep,
            bed,
            fleet,
            again: Vec::new(),
        }
    }

    /// Waits until the replica runs the version of this commit and is ready. Answers the agent that runs it.
    pub(crate) fn ready(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let agent = |status: &Value| -> Value {
            let agents = status["agents"].as_array().cloned().unwrap_or_default();
            let of_web = |agent: &Value| {
                agent["replica"]["deployment"] == "acme/web"
                    && agent["replica"]["workload"] == agent["assigned"]["workload"]
                    && agent["replica"]["generation"] == agent["generation"]
            };
            agents.into_iter().find(of_web).unwrap_or_default()
        };
        let status = self.fleet.wait(what, |status| {
            let web = find(&status["deployments"], "deployment", "acme/web");
            web["phase"] == "running" && web["ready"] == 1 && holds(&agent(status))
        });
        agent(&status)
    }

    /// The container of each service of `acme/web`.
    pub(crate) fn containers(&self) -> BTreeMap<String, String> {
        let format = "{{.Label \"com.docker.compose.service\"}} {{.ID}}";
        let label = format!("label=dev.easyenclave.fleet={}", self.sweep.fleet);
        let told = self.bed.docker(&[
            "ps",
            "--all",
            "--no-trunc",
            "--filter",
            &label,
            "--format",
            format,
        ]);
        let pairs = told.lines().filter_map(|line| line.split_once(' '));
        pairs
            .map(|(service, id)| (service.to_owned(), id.to_owned()))
            .collect()
    }

    /// Secrets can be sealed to the fleet from now on, which is told this too.
    pub(crate) fn takes_secrets(&self, rest: &str) {
        let recipient = self.done(&["secret", "recipient", "--data", "data"]);
        let fleet = self.fleet.file("fleet.yaml");
        let fleet = format!(
            "{fleet}{rest}  secrets:\n    recipients: [{}]\n",
            recipient.trim()
        );
        self.fleet.commit("fleet.yaml", Some(&fleet));
    }

    /// Runs a command that succeeds. Answers what it printed.
    pub(crate) fn done(&self, line: &[&str]) -> String {
        let output = self.fleet.run(line);
        assert!(output.status.success(), "{line:?}: {output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// What the reconciler is told when it asks an agent.
    pub(crate) fn ask(&self, pid: u32, target: &str) -> String {
        let key = std::fs::read(self.fleet.path("data/keys/reconciler.pk8")).expect("a key");
        let key = Keypair::from_pkcs8(&key).expect("a key");
        let nonce = format!("{:032x}", now().as_millis());
        let headers = sign_request(&key, "GET", target, b"", now(), &nonce);
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let port = port(pid);
        let request = format!(
            "GET {target} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n{headers}\r\n"
        );
        http(port, &request).expect("answered")
    }

    /// The process of an agent.
    pub(crate) fn agent(&self, agent: &Value) -> u32 {
        let order = agent["agent"].as_str().expect("a name");
        let agents = self.fleet.agents();
        agents
            .iter()
            .find(|found| found.order == order)
            .expect("it runs")
            .pid
    }

    /// `kill -9` of an agent, and another start of it, as by whoever supervises it on its machine.
    pub(crate) fn restart_agent(&mut self, pid: u32) {
        let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).expect("it runs");
        let words = |bytes: Vec<u8>| -> Vec<String> {
            let text = String::from_utf8(bytes).expect("UTF-8");
            text.split_terminator('\0').map(str::to_owned).collect()
        };
        let (line, environment) = (words(read("cmdline")), words(read("environ")));
        let folder = std::fs::read_link(format!("/proc/{pid}/cwd")).expect("it runs");
        signal(pid, "KILL");
        let log = std::fs::OpenOptions::new()
            .append(true)
            .open(folder.join("agent.log"));
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .env_clear()
            .current_dir(&folder)
            .process_group(0);
        command.envs(environment.iter().filter_map(|entry| entry.split_once('=')));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(log.map_or_else(|_| Stdio::null(), Stdio::from));
        self.again.push(command.spawn().expect("it starts"));
    }

    /// Takes all down, and shows that nothing is left.
    pub(crate) fn stop(self, before: &easyenclave_engine::testing::Holdings) {
        let Self {
            bed, fleet, again, ..
        } = self;
        fleet.stop();
        for mut agent in again {
            agent.wait().expect("ended");
        }
        assert_eq!(bed.holdings(), *before);
    }
}

/// What a service answers.
pub(crate) fn get(url: &Value) -> String {
    heard(url).expect("answered")
}

/// The same of one that may be away.
pub(crate) fn heard(url: &Value) -> std::io::Result<String> {
    let address = url
        .as_str()
        .and_then(|url| url.strip_prefix("http://"))
        .expect("an address");
    let port = address
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok());
    http(port.expect("a port"), "GET /index.html HTTP/1.0\r\n\r\n")
}

fn http(port: u16, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text
        .split_once("\r\n\r\n")
        .map_or(text.clone(), |(_, body)| body.to_owned()))
}

/// Where a process listens.
fn port(pid: u32) -> u16 {
    let sockets = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("it runs")
        .flatten();
    let sockets: Vec<_> = sockets
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter_map(|link| {
            Some(
                link.to_str()?
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .to_owned(),
            )
        })
        .collect();
    let table = std::fs::read_to_string("/proc/net/tcp").expect("a table");
    let listening = table.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_own = *fields.get(3)? == "0A" && sockets.iter().any(|own| own == fields[9]);
        let (_, port) = fields[1].split_once(':')?;
        is_own.then(|| u16::from_str_radix(port, 16).ok()).flatten()
    });
    listening.expect("it listens")
}

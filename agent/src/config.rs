//! What an agent is given: its configuration file, and the surroundings of its process. The environment
//! is read here and nowhere else.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Context;
use easyenclave_attestation::QuoteView;
use easyenclave_processes::labels;
use easyenclave_schemas::evidence::MeasurementDigest;
use easyenclave_schemas::signature::PublicKey;
use easyenclave_schemas::wire::{AgentConfig, CONFIG_ID};
use easyenclave_schemas::{Digest, Secret};

/// Quotes of this machine do not name the configuration that it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this machine was started for another configuration: its quotes name {quoted} (MRCONFIGID), and what it was given is {given}"
)]
pub struct Unbound {
    /// What whoever started the machine named.
    pub quoted: MeasurementDigest,
    /// The digest of what it was given.
    pub given: MeasurementDigest,
}

/// The digest of a configuration's bytes, which quotes have to name as MRCONFIGID: so whoever sees a quote can tell which
/// configuration its agent obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound(MeasurementDigest);

impl Bound {
    fn of(text: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA384, text);
        let mut bytes = [0; 48];
        bytes.copy_from_slice(digest.as_ref());
        Self(MeasurementDigest::new(bytes))
    }

    /// Whether a quote of this machine names the configuration.
    ///
    /// # Errors
    /// [`Unbound`] when it names another or none, or what it is when it is no quote.
    pub(crate) fn check(self, quote: &[u8]) -> anyhow::Result<()> {
        let (quoted, given) = (QuoteView::parse(quote)?.measured().mrconfigid, self.0);
        match quoted == given {
            true => Ok(()),
            false => Err(Unbound { quoted, given }.into()),
        }
    }
}

/// The longest configuration file, in bytes.
const LONGEST: u64 = 64 * 1024;

/// The longest key in a file, in bytes.
const LONGEST_KEY: u64 = 4096;

/// Where programs are looked for when the agent was given no search path.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Reads a configuration file, and tells what quotes name that are bound to it.
///
/// # Errors
/// When it cannot be read, or is not a configuration; the error names the file and never quotes it.
pub fn load(path: &Path) -> anyhow::Result<(AgentConfig, Bound)> {
    let named = || format!("agent configuration {}", path.display());
    let length = fs::metadata(path).with_context(named)?.len();
    if length > LONGEST {
        anyhow::bail!("{} is longer than {LONGEST} bytes", named());
    }
    let text = fs::read(path).with_context(named)?;
    let config: AgentConfig = serde_json::from_slice(&text)
        .map_err(|error| anyhow::anyhow!("line {}, column {}", error.line(), error.column()))
        .with_context(|| format!("{} is not in the expected format", named()))?;
    reconciler_key(&config).with_context(named)?;
    Ok((config, Bound::of(&text)))
}

/// What a simulated machine was started for, where whoever started it said so.
pub(crate) fn launched_for(platform: &Path) -> anyhow::Result<Option<MeasurementDigest>> {
    let path = platform.join(CONFIG_ID);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => {
            let named = || format!("{}", path.display());
            let id = read.with_context(named)?;
            id.trim().parse().map(Some).with_context(named)
        }
    }
}

/// The only key that instructs this agent.
pub(crate) fn reconciler_key(config: &AgentConfig) -> anyhow::Result<PublicKey> {
    config.reconciler_key.parse().context("reconciler_key")
}

/// The secret that a file holds, one line. An error names the file and never quotes it.
pub(crate) fn secret(path: &Path) -> anyhow::Result<Secret<String>> {
    let named = || format!("key file {}", path.display());
    let mut text = String::new();
    let file = fs::File::open(path).with_context(named)?;
    let read = file.take(LONGEST_KEY + 1).read_to_string(&mut text);
    read.with_context(named)?;
    let key = text.trim();
    if key.is_empty() || key.len() as u64 > LONGEST_KEY || key.contains('\n') {
        anyhow::bail!(
            "{}: expected one line, of {LONGEST_KEY} bytes at most",
            named()
        );
    }
    Ok(Secret::new(key.to_owned()))
}

/// What a process finds around itself.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// Where workloads look for programs.
    pub(crate) path: OsString,
    /// The label that tells this fleet's machines of this worker from all others.
    pub(crate) fleet: String,
    /// Where a container engine listens, when it is not at its usual place.
    pub(crate) engine: Option<String>,
    /// Whether this process may remove what containers have written.
    pub(crate) is_root: bool,
}

impl Surroundings {
    /// Those of this process. The folder of the agent's program comes first in the search path, so
    /// that a workload finds what was installed beside it.
    pub(crate) fn of_process(config: &AgentConfig) -> anyhow::Result<Self> {
        let own = env::current_exe().context("the agent's own program")?;
        let system = env::var_os("PATH").unwrap_or_else(|| SYSTEM_PATH.into());
        let folder = own.parent().map(Path::to_path_buf);
        let path = env::join_paths(folder.into_iter().chain(env::split_paths(&system)));
        let fleet = env::var(labels::FLEET).unwrap_or_else(|_| own_fleet(config));
        let own = fs::metadata("/proc/self").context("the agent's own process")?;
        Ok(Self {
            path: path.context("the search path of the agent")?,
            fleet,
            engine: env::var("DOCKER_HOST").ok(),
            is_root: own.uid() == 0,
        })
    }
}

/// An agent that nobody labelled is told from others by its folder.
fn own_fleet(config: &AgentConfig) -> String {
    let folder = config.data_dir.as_os_str().as_encoded_bytes();
    format!("{}@{}", config.fleet_id, Digest::of(folder).short(12))
}

#[cfg(test)]
mod tests {
    use easyenclave_schemas::wire::PlatformConfig;

    use super::*;

    const CONFIG: &str = r#"{"fleet_id":"demo","order_id":"tiny-1","bootstrap_token":"s3cr3t",
        "reconciler_url":"http://127.0.0.1:1","reconciler_key":"KEY","datacenter":"local",
        "node_size":"tiny","platform":{"simulated":{"dir":"/nowhere"}},"data_dir":"/nowhere",
        "worker_id":"worker-1"}"#;

    fn read(text: &str) -> Result<AgentConfig, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("written");
        let loaded = load(file.path()).map_err(|error| format!("{error:#}"));
        loaded.map(|(config, _)| config)
    }

    #[test]
    fn a_configuration_is_read_and_labelled_by_its_folder() {
        let config = read(&CONFIG.replace("KEY", &"ab".repeat(32))).expect("a configuration");
        assert_eq!(config.order_id.as_str(), "tiny-1");
        assert!(
            own_fleet(&config).starts_with("demo@"),
            "{}",
            own_fleet(&config)
        );
        let path = Surroundings::of_process(&config).expect("a process").path;
        let own = env::current_exe().expect("a program");
        assert_eq!(env::split_paths(&path).next().as_deref(), own.parent());
    }

    #[test]
    fn a_key_is_one_line_of_a_file_and_is_never_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ita.key");
        let read = |text: &str| {
            fs::write(&path, text).expect("written");
            secret(&path)
        };
        assert_eq!(read("s3cr3t\n").expect("a key").reveal(), "s3cr3t");
        for wrong in ["", " \n", "s3cr3t\ns3cr3t", &"s3cr3t".repeat(1000)] {
            let error = format!("{:#}", read(wrong).expect_err("not a key"));
            assert!(
                error.contains("expected one line") && !error.contains("s3cr3t"),
                "{error}"
            );
        }
        let error = format!(
            "{:#}",
            secret(Path::new("/nowhere/key")).expect_err("missing")
        );
        assert!(error.contains("/nowhere/key: No such file"), "{error}");
    }

    #[test]
    fn a_platform_and_an_account_are_read() {
        let own = r#","trust_authority":{"api_url":"https://a","key_file":"/k"}"#;
        let text = CONFIG
            .replace("KEY", &"ab".repeat(32))
            .replace(r#"{"simulated":{"dir":"/nowhere"}}"#, r#"{"tdx":{}}"#)
            .replace(
                r#""worker_id":"worker-1""#,
                &format!(r#""worker_id":"worker-1"{own}"#),
            );
        let config = read(&text).expect("a configuration");
        let root = "/".into();
        assert_eq!(config.platform, PlatformConfig::Tdx { root });
        assert_eq!(
            config.trust_authority.expect("an account").api_url,
            "https://a"
        );
    }

    #[test]
    fn a_wrong_one_says_where_and_gives_nothing_away() {
        let error = read(&CONFIG.replace("\"tiny\"", "7")).expect_err("a number");
        assert!(error.contains("line 3, column"), "{error}");
        let error = read(CONFIG).expect_err("no key");
        assert!(
            error.contains("reconciler_key: expected an Ed25519"),
            "{error}"
        );
        let error = read(&" ".repeat(100_000)).expect_err("long");
        assert!(error.contains("longer than 65536"), "{error}");
        let error = format!(
            "{:#}",
            load(Path::new("/nowhere/config")).expect_err("missing")
        );
        assert!(error.contains("/nowhere/config: No such file"), "{error}");
        assert!(!read("s3cr3t").expect_err("no JSON").contains("s3cr3t"));
    }
}

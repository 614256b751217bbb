//! `easyenclave up`: a whole fleet on this machine, in one supervised tree: state repository,
//! reconciler, worker, agents. Ctrl-C stops all of it.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use easyenclave_attestation::simulated::Platform;
use easyenclave_capacity::Provider;
use easyenclave_capacity::worker::{self as capacity, WorkerConfig, WorkerError};
use easyenclave_git::Signer;
use easyenclave_schemas::decode::decode;
use easyenclave_schemas::documents::{Document, ProviderSpec};
use tokio::sync::watch;
use tokio::time::timeout;

use super::hint::Hints;
use super::machines::Machines;
use super::progress::Progress;
use super::style::{DIM, HEAD, paint};
use super::{Ended, absent, edit, exit, out, shutdown, worker};
use crate::clock::{Clock, System};
use crate::config::DataDir;
use crate::daemon::{Config, Daemon};
use crate::desired::is_read;
use crate::secrets::Keyring;
use crate::settings::Settings;
use crate::{examples, keys};

/// Stopping agents and their workloads may take this long.
const STOP: Duration = Duration::from_secs(30);

/// Signals that come so soon after another are the same wish: `timeout`, and a terminal that is closed, signal the
/// program and then its whole group, and a busy machine delivers them late. Who is impatient signals again later.
const SAME_WISH: Duration = Duration::from_secs(2);

/// Done when the worker is to stop.
type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The state to start with: a directory of state documents, copied once [default: a small example]
    #[arg(value_name = "STATE")]
    state: Option<PathBuf>,
    /// Where everything is kept; started again with the same directory, `up` goes on where it was
    #[arg(long, value_name = "DIR", default_value = DataDir::DEFAULT)]
    data: PathBuf,
    /// Where the reconciler's API listens; port 0 takes the one it had before, or else any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// What agents run in [default: processes; started again with the same directory, what it was before]
    #[arg(long, value_enum, value_name = "KIND")]
    machines: Option<Kind>,
    /// The folder of the image that virtual machines start from; one is made where there is none [default: image under
    /// --data]
    #[arg(long, value_name = "DIR")]
    image: Option<PathBuf>,
}

/// What agents run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Processes of this machine
    Process,
    /// Virtual machines on this machine, by QEMU
    Qemu,
}

pub(super) async fn run(args: Args) -> Ended {
    let data = DataDir::new(&args.data)?;
    let before = Settings::load(&data).ok();
    // Before anything is made: a wrong directory or an address in use leaves nothing behind.
    let image = image(&args, &data, before.as_ref())?;
    let state = state(&data, args.state.as_deref(), image.is_some())?;
    if let Some(files) = &state {
        suits(files, image.is_some())?;
    }
    let listen = address(before, args.listen)?;
    let machines = match &image {
        Some(folder) => Some(Machines::ready(folder).await?),
        None => None,
    };
    std::fs::create_dir_all(data.path())
        .with_context(|| format!("data directory {}", data.path().display()))?;
    let root = Platform::open_or_create(&data.platform(), System.now())
        .context("opening the simulated platform")?
        .root_key_id()
        .to_string();
    let fresh = state.is_some();
    if let Some(mut files) = state {
        if let Some(machines) = &machines {
            machines.name_in(&mut files)?;
        }
        prepare(&data, files, &root)?;
    }
    let config = config(&data, listen);
    let daemon = Daemon::open(config.clone()).await?;
    let mut settings = Settings::of(&config, daemon.address()?);
    settings.image = image;
    settings.save(&data)?;
    easyenclave_git::trust_signers(&data.state_repository(), &data.allowed_signers())?;
    let worker = worker(&data, &settings)?;
    let provider: Arc<dyn Provider> = match &machines {
        Some(machines) => machines.provider(&worker).await?,
        None => Arc::new(capacity::processes(&worker)?),
    };
    let left = match fresh {
        true => None,
        false => left(provider.as_ref()).await,
    };
    greet(&data, &settings, fresh);
    tell_of(machines.as_ref(), left);
    let capacity = |stop| capacity::run_on(provider, worker, stop);
    supervise(daemon, &data, capacity).await?;
    let next = "stopped; the next start goes on from the same state repository, with new agents";
    out::tell(paint(DIM, next));
    Ok(exit::OK)
}

/// A reconciler of the state repository in this folder.
fn config(data: &DataDir, listen: SocketAddr) -> Config {
    Config {
        repository: data.state_repository().display().to_string(),
        branch: "main".into(),
        status_branch: "status".into(),
        platform: data.platform(),
        data: data.clone(),
        listen,
        public_url: None,
    }
}

/// The folder of the image that agents start from, if they are virtual machines.
fn image(
    args: &Args,
    data: &DataDir,
    before: Option<&Settings>,
) -> anyhow::Result<Option<PathBuf>> {
    let goes_on = before.is_some() && data.state_repository().exists();
    let before = before.and_then(|settings| settings.image.clone());
    let is_virtual = match args.machines {
        Some(kind) => kind == Kind::Qemu,
        None => before.is_some(),
    };
    if goes_on && is_virtual != before.is_some() {
        let (is, hint) = match is_virtual {
            true => ("processes", "a fleet of virtual machines"),
            false => ("virtual machines", "a fleet of processes"),
        };
        let folder = data.path().display();
        bail!("the fleet in {folder} has {is}: start {hint} with another --data DIR");
    }
    match (is_virtual, &args.image) {
        (false, None) => Ok(None),
        (false, Some(_)) => bail!("--image is for --machines qemu"),
        (true, Some(named)) => Ok(Some(std::path::absolute(named)?)),
        (true, None) => Ok(Some(before.unwrap_or_else(|| data.image()))),
    }
}

/// How many agents are alive from an earlier run.
async fn left(provider: &dyn Provider) -> Option<usize> {
    let units = provider.list().await.ok()?;
    Some(units.iter().filter(|unit| unit.alive).count())
}

/// Where to listen. Agents that outlived a crash know the old address and no other.
fn address(before: Option<Settings>, wanted: SocketAddr) -> anyhow::Result<SocketAddr> {
    if wanted.port() == 0 {
        let old = before.and_then(|old| old.url.strip_prefix("http://")?.parse().ok());
        let old = old.filter(|old: &SocketAddr| old.ip() == wanted.ip());
        return Ok(old
            .filter(|old| TcpListener::bind(old).is_ok())
            .unwrap_or(wanted));
    }
    TcpListener::bind(wanted).with_context(|| format!("listening on {wanted}"))?;
    Ok(wanted)
}

/// Reconciler, worker and progress run until one of the first two ends, or a signal comes. The worker
/// goes first, and takes its agents with it; the reconciler reports what it saw last.
async fn supervise<W>(
    daemon: Daemon,
    data: &DataDir,
    worker: impl FnOnce(Stop) -> W,
) -> anyhow::Result<()>
where
    W: Future<Output = Result<(), WorkerError>> + Send + 'static,
{
    let (stop_worker, worker_stops) = watch::channel(false);
    let (stop_daemon, daemon_stops) = watch::channel(false);
    let progress = tokio::spawn(Progress::start(
        daemon.status(),
        Hints::plain().data(data.path()),
    ));
    let stop: Stop = Box::pin(signalled(worker_stops));
    let mut capacity = tokio::spawn(worker(stop));
    let mut reconciler = tokio::spawn(daemon.run(signalled(daemon_stops)));
    let ended = tokio::select! {
        () = shutdown() => None,
        ended = &mut capacity => Some(format!("the worker ended: {ended:?}")),
        ended = &mut reconciler => Some(format!("the reconciler ended: {ended:?}")),
    };
    out::tell(paint(DIM, "stopping agents and workloads"));
    let stopped = async {
        let _ = stop_worker.send(true);
        let units = capacity.is_finished() || timeout(STOP, &mut capacity).await.is_ok();
        let _ = stop_daemon.send(true);
        let status = reconciler.is_finished() || timeout(STOP, &mut reconciler).await.is_ok();
        units && status
    };
    let clean = tokio::select! {
        clean = stopped => clean,
        () = impatience() => false,
    };
    progress.abort();
    match ended {
        Some(why) => bail!(why),
        None if clean => Ok(()),
        None => bail!(
            "not everything has stopped: agents may be left, which the next `up` with {} finds again",
            data.path().display()
        ),
    }
}

/// A worker that takes its agents with it.
fn worker(data: &DataDir, settings: &Settings) -> anyhow::Result<WorkerConfig> {
    let key = keys::launcher_key(&data.launcher_key())?;
    let (folder, url) = (data.worker(), settings.url.clone());
    let mut config = worker::local(&folder, &settings.platform, url, key.reveal())?;
    config.stop_units_on_exit = true;
    Ok(config)
}

/// A signal that is another wish than the one which is being carried out.
async fn impatience() {
    while timeout(SAME_WISH, shutdown()).await.is_ok() {}
    shutdown().await;
}

async fn signalled(mut stop: watch::Receiver<bool>) {
    // A sender that is gone means the same as its signal.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Whether the provider that `up` serves makes what agents are to run in.
fn suits(files: &BTreeMap<String, Vec<u8>>, is_virtual: bool) -> anyhow::Result<()> {
    for (path, bytes) in files {
        let Ok(Document::Provider(provider)) = decode(bytes).map(|located| located.document) else {
            continue;
        };
        let makes = match &provider.spec {
            _ if provider.metadata.name != worker::LOCAL => continue,
            ProviderSpec::Process(_) if is_virtual => "`process`, and --machines qemu takes `qemu`",
            ProviderSpec::Qemu(_) if !is_virtual => "`qemu`: start it with --machines qemu",
            ProviderSpec::Gcp(_) => "`gcp`, and `up` makes agents on this machine",
            _ => continue,
        };
        bail!("{path}: the provider {} is of {makes}", worker::LOCAL);
    }
    Ok(())
}

/// The files that the state repository starts with; none if there is one already.
fn state(
    data: &DataDir,
    state: Option<&Path>,
    is_virtual: bool,
) -> anyhow::Result<Option<BTreeMap<String, Vec<u8>>>> {
    let repository = data.state_repository();
    if repository.exists() {
        if let Some(state) = state {
            out::tell(format_args!(
                "{} exists already and goes on; {} was its start at most, and is not read again",
                repository.display(),
                state.display()
            ));
        }
        return Ok(None);
    }
    let Some(dir) = state else {
        let example = match is_virtual {
            true => examples::machines(None),
            false => examples::files(None),
        };
        return Ok(Some(example));
    };
    let files = read(dir).map_err(|error| absent::because("the state directory", dir, error))?;
    if !files.contains_key("fleet.yaml") {
        bail!(
            "{} has no fleet.yaml, so it is no state directory: `{}` makes one",
            dir.display(),
            Hints::plain().line("init DIR")
        );
    }
    Ok(Some(files))
}

/// Makes the state repository, with this machine's root and signer in it, and the key to seal secrets to.
fn prepare(data: &DataDir, files: BTreeMap<String, Vec<u8>>, root: &str) -> anyhow::Result<()> {
    let repository = data.state_repository();
    let trusting = |bytes| examples::trusting(bytes, Some(root));
    let files = files.into_iter();
    let mut files = files.map(|(path, bytes)| (path, trusting(bytes))).collect();
    let signer = Signer::open_or_create(&data.signing_key())?.public_openssh();
    if !examples::name_signer(&mut files, &signer) {
        out::tell(format_args!(
            "fleet.yaml has no line `signers: []` below spec.status to put the key into that signs status;\n\
             `easyenclave verify` wants it there unless another is named: {signer}"
        ));
    }
    let recipients = Keyring::open_or_create(&data.fleet_identities())?.recipients();
    examples::name_recipients(&mut files, &recipients);
    let (name, email) = edit::identity(&repository);
    let author = (name.as_str(), email.as_str());
    let when = System.now().as_millis() / 1000;
    let aside = repository.with_extension("new");
    let _ = std::fs::remove_dir_all(&aside);
    easyenclave_git::init_repository(&aside, "main", &files, "state: start a fleet", author, when)?;
    std::fs::rename(&aside, &repository)?;
    Ok(())
}

/// The documents and pages of a directory.
fn read(dir: &Path) -> std::io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            let name = path.strip_prefix(dir).unwrap_or(&path);
            let name = name.to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                if name != ".git" {
                    folders.push(path);
                }
            } else if is_read(&name) || name.ends_with(".md") {
                files.insert(name, std::fs::read(&path)?);
            }
        }
    }
    Ok(files)
}

fn greet(data: &DataDir, settings: &Settings, fresh: bool) {
    let repository = data.state_repository();
    let repository = repository.display();
    let word = if fresh {
        "made just now"
    } else {
        "found; going on where it was"
    };
    out::tell(paint(
        HEAD,
        "EasyEnclave, simulated platform, on this machine",
    ));
    out::tell(format_args!("  state repository  {repository} ({word})"));
    out::tell(format_args!(
        "  change it         git clone {repository} fleet, edit a file, git push"
    ));
    let status = Hints::plain().data(data.path()).line("status");
    out::tell(format_args!("  what is           {status}"));
    out::tell(format_args!(
        "  what was          git -C {repository} log --show-signature status"
    ));
    out::tell(format_args!("  API               {}", settings.url));
}

fn tell_of(machines: Option<&Machines>, left: Option<usize>) {
    if let Some(machines) = machines {
        out::tell(format_args!("  machines          {}", machines.shown()));
    }
    if let Some(left) = left {
        out::tell(format_args!("  agents            {}", agents(left)));
    }
    out::tell("  stop              Ctrl-C\n");
}

/// What has become of the agents of the last run, of which so many are left.
fn agents(left: usize) -> String {
    match left {
        0 => {
            "those of the last run have ended: new ones start, at new addresses, once that is sure"
                .into()
        }
        1 => "1 of the last run is still there and goes on".into(),
        many => format!("{many} of the last run are still there and go on"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Up {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_state_has_to_suit_what_agents_run_in() {
        let (processes, machines) = (examples::files(None), examples::machines(None));
        assert!(suits(&processes, false).is_ok() && suits(&machines, true).is_ok());
        for (files, is_virtual) in [(processes, true), (machines, false)] {
            let error = suits(&files, is_virtual).expect_err("it does not suit");
            let error = error.to_string();
            assert!(error.starts_with("providers/local.yaml: "), "{error}");
        }
    }

    #[test]
    fn a_fleet_goes_on_with_what_its_agents_run_in() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataDir::new(folder.path()).expect("a folder");
        let before = |image: Option<&str>| Settings {
            repository: String::new(),
            branch: "main".into(),
            status_branch: "status".into(),
            url: String::new(),
            platform: data.platform(),
            image: image.map(PathBuf::from),
        };
        let chosen = |words: &[&str], before: &Settings| {
            let words = std::iter::once(&"up").chain(words);
            let up = Up::try_parse_from(words).expect("arguments");
            image(&up.args, &data, Some(before)).map_err(|error| error.to_string())
        };
        let (processes, machines) = (before(None), before(Some("/i")));
        // Without a state repository there is no fleet yet.
        let made = chosen(&["--machines", "qemu"], &processes);
        assert_eq!(made, Ok(Some(data.image())));
        std::fs::create_dir(data.state_repository()).expect("made");
        assert_eq!(chosen(&[], &processes), Ok(None));
        assert_eq!(chosen(&[], &machines), Ok(Some("/i".into())));
        for (kind, before, is) in [
            ("qemu", &processes, "has processes"),
            ("process", &machines, "has virtual machines"),
        ] {
            let error = chosen(&["--machines", kind], before).expect_err(kind);
            assert!(error.contains(is) && error.contains("--data"), "{error}");
        }
    }
}

//! The command line. Data goes to stdout, everything else to stderr; colours only on a terminal.

mod absent;
mod agent;
mod approve;
mod approved;
mod changes;
mod check;
mod cost;
mod diff;
mod edit;
mod evidence;
mod foresight;
mod guards;
mod held;
mod hint;
mod image;
mod init;
mod key;
mod launch;
mod leftout;
mod logs;
mod machines;
mod measure;
mod out;
mod outlook;
mod plan;
mod preview;
mod progress;
mod read;
mod rollout;
#[cfg(test)]
mod samples;
mod secret;
mod seen;
mod serve;
mod status;
mod style;
mod up;
mod verify;
mod wait;
mod why;
mod why_not;
mod worker;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::config;

/// Exit codes: documented constants, the same for every command.
pub mod exit {
    /// All is well.
    pub const OK: u8 = 0;
    /// The command could not be done, or what it looked at is not as it should be.
    pub const FAILED: u8 = 1;
    /// The command line is wrong. Clap uses the same number.
    pub const USAGE: u8 = 2;
    /// An agent or worker was refused for good; starting it again does not help.
    pub const REFUSED: u8 = 3;
    /// `plan` or `wait`: removals are held that a person must approve.
    pub const HELD: u8 = 4;
    /// `plan --exit-code`: documents differ in effect or something is done, and nothing of it is wrong or held.
    pub const CHANGES: u8 = 5;
    /// `wait`: the commit cannot be done: documents are rejected, or a version was reverted.
    pub const REVERTED: u8 = 6;
    /// `wait`: the commit is not done in time.
    pub const TIMED_OUT: u8 = 7;
}

/// Keeps a fleet of attested confidential-computing agents in the state that a Git repository
/// describes, and writes what it saw and did back to Git.
#[derive(Debug, Parser)]
#[command(name = "easyenclave", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on this machine, from a state directory: reconciler, worker, agents
    Up(up::Args),
    /// Make a new, valid state repository in a directory
    Init(init::Args),
    /// Validate state documents; every problem as file:line:col
    Check(check::Args),
    /// Show what a change would do, from nothing but a clone
    Plan(plan::Args),
    /// Run the reconciler
    Serve(serve::Args),
    /// Run a capacity worker
    Worker(worker::Args),
    /// Run an agent
    Agent(agent::Args),
    /// Show what is: deployments, agents, orders, targets, problems
    Status(status::Args),
    /// Say why something is not moving
    Why(why::Args),
    /// Say of every agent why it was not chosen for a deployment, from nothing but a clone
    WhyNot(why_not::Args),
    /// Show what a replica prints, over the reconciler's API
    Logs(logs::Args),
    /// Show how roll-outs stand, and what became of those before
    #[command(subcommand)]
    Rollout(rollout::What),
    /// Wait until the fleet has done what a commit asks for; exit 4 held, 6 rejected or reverted, 7 not in time
    Wait(wait::Args),
    /// Make a policy change of measurements that were seen and are not known
    Measure(measure::Args),
    /// Approve a held plan by its digest
    Approve(approve::Args),
    /// Keys for the deploy API: make, list, revoke
    #[command(subcommand)]
    Key(key::What),
    /// Secrets of workloads: set, rotate, list
    #[command(subcommand)]
    Secret(secret::What),
    /// Check the status branch offline: signatures, history, files, and each verdict made again
    Verify(verify::Args),
    /// Show what one agent's evidence says, and what came of it, from a clone
    Evidence(evidence::Args),
    /// Make the image that machines boot, and show what it measures
    #[command(subcommand)]
    Image(image::What),
    /// Run the example workload
    #[command(hide = true)]
    HelloTdx,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// A call that does not come back from the disk keeps the program no longer than this.
const LEAVE: Duration = Duration::from_secs(10);

/// What a command ended with.
type Ended = anyhow::Result<u8>;

/// Runs a command and tells the exit code.
pub fn run(cli: Cli) -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    log(&cli.command);
    let ended = match cli.command {
        Command::Up(args) => wait(up::run(args)),
        Command::Init(args) => init::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Plan(args) => wait(plan::run(args)),
        Command::Serve(args) => wait(serve::run(args)),
        Command::Worker(args) => wait(worker::run(args)),
        Command::Agent(args) => wait(agent::run(args)),
        Command::Status(args) => wait(status::run(args)),
        Command::Why(args) => wait(why::run(args)),
        Command::WhyNot(args) => wait(why_not::run(args)),
        Command::Approve(args) => wait(approve::run(args)),
        Command::Logs(args) => wait(logs::run(args)),
        Command::Rollout(what) => wait(rollout::run(what)),
        Command::Wait(args) => wait(wait::run(args)),
        Command::Key(what) => wait(key::run(what)),
        Command::Secret(what) => wait(secret::run(what)),
        Command::Measure(args) => wait(measure::run(args)),
        Command::Verify(args) => wait(verify::run(args)),
        Command::Evidence(args) => evidence::run(&args),
        Command::Image(what) => wait(image::run(what)),
        Command::HelloTdx => wait(async { hello_tdx::run().await.map(|()| exit::OK) }),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            out::tell(format_args!(
                "{}error:{} {error:#}",
                style::BAD.render(),
                style::BAD.render_reset()
            ));
            ExitCode::from(exit::FAILED)
        }
    }
}

fn wait(command: impl Future<Output = Ended>) -> Ended {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(command);
    runtime.shutdown_timeout(LEAVE);
    ended
}

/// Logs go to stderr. `up` shows progress lines instead, so it logs warnings only.
fn log(command: &Command) {
    let default = match command {
        Command::Up(_) => "error",
        Command::Serve(_) | Command::Worker(_) | Command::Agent(_) => "info",
        _ => "warn",
    };
    let filter =
        EnvFilter::try_new(config::log_filter(default)).unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        // A log that nobody reads any more must not end the program.
        .log_internal_errors(false)
        .init();
}

/// Done when the process is asked to end.
async fn shutdown() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be handled");
    let mut interrupt = signal(SignalKind::interrupt()).expect("signals can be handled");
    // A terminal that is closed.
    let mut hang_up = signal(SignalKind::hangup()).expect("signals can be handled");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hang_up.recv() => {}
    }
}

/// What `status --output json` prints.
#[cfg(test)]
pub(crate) fn status_document(status: &crate::report::Status) -> serde_json::Value {
    serde_json::to_value(status::Document::of(status, None)).expect("a status is plain data")
}

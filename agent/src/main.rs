//! The agent's own small program: `easyenclave-agent --config FILE`. Exit codes are those of
//! `easyenclave_agent::exit`.

use std::path::PathBuf;
use std::process::ExitCode;

use easyenclave_agent::{exit, load, run};
use easyenclave_schemas::wire::AgentConfig;
use tokio::signal::unix::{Signal, SignalKind, signal};

const USAGE: &str = "usage: easyenclave-agent --config FILE";

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let config = match arguments().and_then(|path| load(&path)) {
        Ok(config) => config,
        Err(error) => return fail(&error, exit::USAGE),
    };
    match start(config).await {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(error) => fail(&error, exit::code(&error)),
    }
}

async fn start(config: AgentConfig) -> anyhow::Result<()> {
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    run(config, told(&mut term, &mut int)).await
}

async fn told(term: &mut Signal, int: &mut Signal) {
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

fn arguments() -> anyhow::Result<PathBuf> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [option, path] if option == "--config" => Ok(path.into()),
        _ => anyhow::bail!(USAGE),
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    tracing::error!(error = format!("{error:#}"), "the agent ends");
    ExitCode::from(code)
}

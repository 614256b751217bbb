//! The agent's own small program: `easyenclave-agent --config FILE`. Exit codes are those of
//! `easyenclave_agent::exit`.

use std::path::PathBuf;
use std::process::ExitCode;

use easyenclave_agent::{Bound, exit, load, run};
use easyenclave_schemas::wire::AgentConfig;
use tokio::signal::unix::{Signal, SignalKind, signal};

const USAGE: &str = "usage: easyenclave-agent --config FILE [--bound]";

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let loaded = arguments().and_then(|(path, is_bound)| Ok((load(&path)?, is_bound)));
    let ((config, bound), is_bound) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => return fail(&error, exit::USAGE),
    };
    match start(config, is_bound.then_some(bound)).await {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(error) => fail(&error, exit::code(&error)),
    }
}

async fn start(config: AgentConfig, bound: Option<Bound>) -> anyhow::Result<()> {
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    run(config, bound, told(&mut term, &mut int)).await
}

async fn told(term: &mut Signal, int: &mut Signal) {
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// The configuration's file, and whether quotes have to name it.
fn arguments() -> anyhow::Result<(PathBuf, bool)> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [option, path] if option == "--config" => Ok((path.into(), false)),
        [option, path, bound] if option == "--config" && bound == "--bound" => {
            Ok((path.into(), true))
        }
        _ => anyhow::bail!(USAGE),
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    tracing::error!(error = format!("{error:#}"), "the agent ends");
    ExitCode::from(code)
}

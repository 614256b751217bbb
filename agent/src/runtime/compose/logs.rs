//! Logs of services, as the engine keeps them: bounded by the overlay there, and by lines and bytes here.

use std::time::Duration;

use easyenclave_engine::{EngineError, Line};
use tokio::time::timeout;

use super::project::Ground;
use crate::runtime::process::Place;

/// How long a page may take to be read.
const DEADLINE: Duration = Duration::from_secs(4);

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page {
    /// One service; all when none is named.
    pub(crate) service: Option<String>,
    /// The most lines, the newest ones.
    pub(crate) lines: usize,
}

/// The last lines of services, oldest first: each with its service where several are asked for.
pub(crate) async fn page(place: &Place, page: &Page) -> Result<String, EngineError> {
    let ground = Ground::of(place);
    let reading = read(&ground, page);
    match timeout(DEADLINE, reading).await {
        Ok(read) => read,
        Err(_) => Err(EngineError::Late {
            what: "logs".into(),
            seconds: DEADLINE.as_secs(),
        }),
    }
}

async fn read(ground: &Ground, page: &Page) -> Result<String, EngineError> {
    let engine = ground.traces.engine(&ground.at).await?;
    let containers = engine.containers(&ground.owner).await?;
    let is_asked = |service: &str| page.service.as_deref().is_none_or(|asked| asked == service);
    let mut lines: Vec<(Line, String)> = Vec::new();
    for container in containers.iter().filter(|found| is_asked(&found.service)) {
        let found = engine.log(&container.id, page.lines, None).await?;
        lines.extend(
            found
                .into_iter()
                .map(|line| (line, container.service.clone())),
        );
    }
    lines.sort();
    let skipped = lines.len().saturating_sub(page.lines);
    let written = lines
        .into_iter()
        .skip(skipped)
        .map(|(line, service)| match &page.service {
            Some(_) => format!("{}\n", line.text),
            None => format!("{service} | {}\n", line.text),
        });
    Ok(written.collect())
}

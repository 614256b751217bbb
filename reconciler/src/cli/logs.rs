//! `easyenclave logs`: what a replica prints, by the reconciler's API. The key comes from a file or the environment, never from the
//! command line. Ctrl-C ends it at once: there is nothing to tidy up.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use easyenclave_schemas::wire::{ErrorBody, Me};
use easyenclave_schemas::{DeploymentId, DeploymentName, Secret};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Response, StatusCode, Url};
use tokio::time::timeout;

use super::{Ended, absent, exit, out, read};
use crate::config;
use crate::http;
use crate::settings::Settings;

/// How long an answer may take to begin.
const BEGINS: Duration = Duration::from_secs(20);

/// How long the last lines may take to come.
const COMES: Duration = Duration::from_secs(30);

/// A reconciler sends for ten minutes at most; one that goes on for longer is another.
const FOLLOWS: Duration = Duration::from_secs(660);

/// The most bytes of a refusal, or of who calls.
const SHORT: usize = 64 * 1024;

/// The most bytes of the last lines.
const LAST: usize = 2 * 1024 * 1024;

/// The most bytes of a line; a longer one is shown in parts.
const LINE: usize = 64 * 1024;

/// The most bytes of a file with a key.
const KEY: usize = 4096;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The deployment (owner/name, or name: of the key's owner)
    #[arg(value_name = "NAME")]
    name: String,
    /// One service of a Compose file [default: all]
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
    /// The replica on this agent [default: the first one]
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
    /// So many of the last lines
    #[arg(long, value_name = "NUMBER", default_value = "200", value_parser = clap::value_parser!(u64).range(1..=1000))]
    lines: u64,
    /// Show also what comes, for ten minutes at most
    #[arg(long, short)]
    follow: bool,
    /// The data directory of `up` or `serve` on this machine, for the reconciler's URL [default: easyenclave-data, here or
    /// in a folder above]
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    data: Option<PathBuf>,
    /// The reconciler's URL
    #[arg(long, value_name = "URL")]
    server: Option<Url>,
    /// A file that holds the owner's key, made by `key new` [default: EASYENCLAVE_API_KEY, the key itself]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

pub(super) async fn run(args: Args) -> Ended {
    let api = Api::of(&args)?;
    let deployment = api.deployment(&args.name).await?;
    let mut answer = api.get(&route(&deployment, &args)).await?;
    let agent = answer.headers().get("easyenclave-agent");
    if let Some(agent) = agent.and_then(|agent| agent.to_str().ok()) {
        out::tell(format_args!("{deployment} on {agent}"));
    }
    let limit = if args.follow { FOLLOWS } else { COMES };
    let most = if args.follow { None } else { Some(LAST) };
    match timeout(limit, pass_on(&mut answer, most)).await {
        Err(_) => bail!("the answer did not end within {} s", limit.as_secs()),
        Ok(passed) => passed?,
    }
    if args.follow {
        out::tell("the reconciler sends no more; run this again to go on");
    }
    Ok(exit::OK)
}

/// Where the lines of a deployment are, and which of them.
fn route(deployment: &DeploymentId, args: &Args) -> Vec<(&'static str, String)> {
    let path = format!(
        "/api/v1/deployments/{}/{}/logs",
        deployment.owner, deployment.name
    );
    let mut route = vec![("", path), ("lines", args.lines.to_string())];
    route.extend(args.service.clone().map(|name| ("service", name)));
    route.extend(args.agent.clone().map(|name| ("agent", name)));
    route.extend(args.follow.then(|| ("follow", "true".to_owned())));
    route
}

/// The reconciler's API, as an owner calls it.
struct Api {
    client: reqwest::Client,
    server: Url,
    key: HeaderValue,
}

impl Api {
    fn of(args: &Args) -> anyhow::Result<Self> {
        let server = match &args.server {
            Some(server) => server.clone(),
            None => {
                let settings = Settings::load(&read::installation(args.data.as_deref())?)?;
                settings.url.parse().context("the installation's own URL")?
            }
        };
        if !matches!(server.scheme(), "http" | "https") {
            bail!("--server is http://… or https://…");
        }
        let client = reqwest::Client::builder()
            .connect_timeout(BEGINS)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let key = bearer(&key(args.key_file.as_deref())?)?;
        Ok(Self {
            client,
            server,
            key,
        })
    }

    /// The deployment of that name, of the key's owner where none is named.
    async fn deployment(&self, name: &str) -> anyhow::Result<DeploymentId> {
        if name.contains('/') {
            return name.parse().with_context(|| format!("deployment {name}"));
        }
        let name = DeploymentName::new(name).with_context(|| format!("deployment {name}"))?;
        let answer = self.get(&[("", "/api/v1/me".to_owned())]).await?;
        let text = timeout(COMES, http::read(answer, SHORT)).await;
        let me: Me = serde_json::from_slice(&text.context("who calls")??)
            .context("the reconciler's answer cannot be read")?;
        Ok(DeploymentId {
            owner: me.owner,
            name,
        })
    }

    /// The first part is the path, the rest what is asked.
    async fn get(&self, route: &[(&str, String)]) -> anyhow::Result<Response> {
        let mut url = self.server.clone();
        let mut parts = route.iter();
        if let Some((_, path)) = parts.next() {
            url.set_path(&format!(
                "{}{path}",
                self.server.path().trim_end_matches('/')
            ));
        }
        for (name, value) in parts {
            url.query_pairs_mut().append_pair(name, value);
        }
        let request = self.client.get(url).header(AUTHORIZATION, &self.key);
        let server = self.server.as_str();
        let answer = timeout(BEGINS, request.send()).await;
        let answer = answer
            .with_context(|| format!("{server} does not answer within {} s", BEGINS.as_secs()))?
            .map_err(reqwest::Error::without_url)
            .with_context(|| format!("the reconciler at {server} cannot be reached"))?;
        match answer.status().is_success() {
            true => Ok(answer),
            false => Err(refused(answer).await),
        }
    }
}

/// Why the reconciler gives nothing, in its own words, and what to do where that is known.
async fn refused(answer: Response) -> anyhow::Error {
    let status = answer.status();
    let text = timeout(COMES, http::read(answer, SHORT)).await;
    let body = text.ok().and_then(Result::ok).unwrap_or_default();
    let Ok(ErrorBody { code, message, .. }) = serde_json::from_slice(&body) else {
        return anyhow!("the server answers {status}, as no reconciler does");
    };
    let hint = match status {
        StatusCode::UNAUTHORIZED => {
            "; `easyenclave key new OWNER --name logs > FILE` makes a key, and `key list` lists those that there are"
        }
        _ => "",
    };
    anyhow!("{message} ({code}){hint}")
}

/// Shows what comes, line by line, and no more than so many bytes of it.
async fn pass_on(answer: &mut Response, most: Option<usize>) -> anyhow::Result<()> {
    let (mut rest, mut passed) = (Vec::new(), 0);
    while let Some(chunk) = answer.chunk().await.context("the answer broke off")? {
        passed += chunk.len();
        if most.is_some_and(|most| passed > most) {
            bail!("the answer is longer than it may be");
        }
        rest.extend_from_slice(&chunk);
        let end = rest
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map(|at| at + 1);
        let end = end.or((rest.len() > LINE).then_some(rest.len()));
        let left = rest.split_off(end.unwrap_or(0));
        let lines = std::mem::replace(&mut rest, left);
        if !out::pass_on(&lines)? {
            return Ok(());
        }
    }
    out::pass_on(&rest)?;
    Ok(())
}

/// The owner's key.
fn key(file: Option<&Path>) -> anyhow::Result<Secret<String>> {
    let Some(file) = file else {
        return config::api_key().context(
            "no key: name the file of one with --key-file FILE, or set EASYENCLAVE_API_KEY; \
             `easyenclave key new OWNER --name logs > FILE` makes one",
        );
    };
    let text = std::fs::read(file).map_err(|error| absent::because("the key file", file, error))?;
    let text = Some(text).filter(|text| text.len() <= KEY);
    let text = text.and_then(|text| String::from_utf8(text).ok());
    let text = text.with_context(|| format!("{} holds no key", file.display()))?;
    Ok(Secret::new(text.trim().to_owned()))
}

fn bearer(key: &Secret<String>) -> anyhow::Result<HeaderValue> {
    let shown = HeaderValue::from_str(&format!("Bearer {}", key.reveal()));
    let mut shown = shown.map_err(|_| anyhow!("the key has characters that no key has"))?;
    shown.set_sensitive(true);
    Ok(shown)
}

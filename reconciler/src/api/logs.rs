//! The output of a deployment's replicas, read from their agents page by page: the last lines, or also what comes after
//! them, each line once. Nothing of it is kept here.

use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use easyenclave_schemas::records::AgentRecord;
use easyenclave_schemas::signature::{PublicKey, sign_request, verify_response};
use easyenclave_schemas::wire::{LOG_LINES, LogPage, is_cursor, routes};
use easyenclave_schemas::{AgentId, DeploymentId, OwnerName};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use super::deploy::{Named, not_found, own};
use super::{Refused, Shared, WINDOW};
use crate::auth::{Caller, authenticate, still};
use crate::revision::Revision;
use crate::shares::{Place, Shares};
use crate::world::World;
use crate::{http, images};

/// An agent has so long for a page.
const DEADLINE: Duration = Duration::from_secs(5);

/// The most bytes of a page: as JSON, some characters are six times as long.
const PAGE: usize = 2 * 1024 * 1024;

/// An agent waits so long for something to come. A key that is revoked meanwhile ends what it was shown for after that.
const WAIT: Duration = Duration::from_secs(3);

/// The pause after a page, unless it was a long one: then there is more.
const PAUSE: Duration = Duration::from_millis(500);
const LONG: usize = 32 * 1024;

/// What whoever follows is sent where lines were lost.
const MISSED: &str = "[easyenclave] lines are missing here\n";

/// An agent that starts again, or whose engine does, gives no page for a while: so many are asked for in a row …
const TRIES: u32 = 10;
/// … with pauses that grow to this: half a minute in all, and two where each page is waited for, after
/// which an agent is about to count as lost.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// What whoever follows is sent last when no page came.
const ENDED: &str = "[easyenclave] the agent does not answer; what comes after this is not shown\n";

/// The longest that somebody follows; connections end then anyway.
const LONGEST: Duration = Duration::from_secs(600);

static READERS: LazyLock<Readers> = LazyLock::new(Readers::default);

/// So many read at a time, and so many of one owner. Who follows has a place for minutes, so fewer do: there are always places
/// for those who read the last lines.
struct Readers {
    all: Arc<Shares>,
    followers: Arc<Shares>,
}

impl Default for Readers {
    fn default() -> Self {
        Self {
            all: Shares::new(64, 16),
            followers: Shares::new(48, 12),
        }
    }
}

impl Readers {
    fn take(&self, owner: &OwnerName, follows: bool) -> Option<(Place, Option<Place>)> {
        let own = self.all.take(owner)?;
        match follows {
            true => Some((own, Some(self.followers.take(owner)?))),
            false => Some((own, None)),
        }
    }
}

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    lines: Option<usize>,
    service: Option<String>,
    agent: Option<String>,
    #[serde(default)]
    follow: bool,
}

/// The last lines of one replica, and with `follow` those that come.
pub(super) async fn logs(
    State(shared): State<Shared>,
    headers: HeaderMap,
    named: Named,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Refused> {
    let world = Arc::clone(&shared.world);
    let caller = authenticate(&world, &headers, world.clock.now()).await?;
    let name = own(&caller, named)?;
    let Query(asked) = asked.map_err(|_| unreadable())?;
    let lines = asked.lines.unwrap_or(200);
    if !(1..=LOG_LINES).contains(&lines) || asked.service.as_ref().is_some_and(|it| !is_plain(it)) {
        return Err(unreadable());
    }
    let deployment = DeploymentId {
        owner: caller.owner.clone(),
        name,
    };
    let agent = replica(&world, &deployment, asked.agent.as_deref())?;
    if let Some(service) = &asked.service {
        has(&world, &agent, service)?;
    }
    let place = READERS.take(&caller.owner, asked.follow).ok_or_else(busy)?;
    let service = asked.service.map(|name| format!("&service={name}"));
    let reader = Reader {
        world,
        caller,
        client: client()?,
        deployment,
        agent,
        service: service.unwrap_or_default(),
        ends: Instant::now() + LONGEST,
        _place: place,
    };
    match asked.follow {
        true => reader.follow(lines).await,
        false => reader.last(lines).await,
    }
}

fn client() -> Result<reqwest::Client, Refused> {
    let client = reqwest::Client::builder()
        .timeout(DEADLINE + WAIT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build();
    client.map_err(|_| silent())
}

/// One who reads the output of one replica.
struct Reader {
    world: Arc<World>,
    caller: Caller,
    client: reqwest::Client,
    deployment: DeploymentId,
    agent: AgentId,
    /// The end of what is asked.
    service: String,
    /// Nobody follows for longer than until then.
    ends: Instant,
    _place: (Place, Option<Place>),
}

/// What whoever follows is sent next.
enum Next {
    Page(LogPage),
    /// No more, for this reason if it is none that was to be expected.
    End(Option<&'static str>),
}

impl Reader {
    async fn last(self, lines: usize) -> Result<Response, Refused> {
        let body = self.read(&format!("lines={lines}")).await?;
        // An agent that gives more than it was asked for makes no more work.
        let text = last(&String::from_utf8_lossy(&body), lines).to_owned();
        Ok((self.heads()?, text).into_response())
    }

    /// So many lines, and then what comes.
    async fn follow(self, lines: usize) -> Result<Response, Refused> {
        let first = self.page(lines, "", Duration::ZERO).await?;
        let heads = self.heads()?;
        let text = stream::once(ready(Ok::<_, Infallible>(first.text)));
        let begin = Some((self, first.cursor, Instant::now() + PAUSE));
        let rest = stream::unfold(begin, |state| async move {
            let (reader, cursor, next) = state?;
            sleep_until(next).await;
            let page = match reader.more(cursor).await {
                Next::Page(page) => page,
                Next::End(reason) => return reason.map(|last| (Ok(last.to_owned()), None)),
            };
            let pause = if page.text.len() < LONG {
                PAUSE
            } else {
                Duration::ZERO
            };
            let missed = if page.missed { MISSED } else { "" };
            let text = format!("{missed}{}", page.text);
            Some((
                Ok(text),
                Some((reader, page.cursor, Instant::now() + pause)),
            ))
        });
        Ok((heads, Body::from_stream(text.chain(rest))).into_response())
    }

    /// The next page that has something; none when the replica is gone, its agent is silent for too long, who reads may do
    /// so no more, or it was long enough.
    async fn more(&self, mut cursor: String) -> Next {
        let mut failures = 0;
        while Instant::now() < self.ends && self.may_read() && self.record().is_some() {
            let asked = Instant::now();
            match self.page(LOG_LINES, &cursor, WAIT).await {
                Ok(page) if !page.text.is_empty() || page.missed => return Next::Page(page),
                Ok(page) => (cursor, failures) = (page.cursor, 0),
                Err(_) => failures += 1,
            }
            let next = match failures {
                // An agent that has many readers does not wait, and is not asked more often for that.
                0 => asked + WAIT,
                TRIES => return Next::End(Some(ENDED)),
                failures => Instant::now() + pause(failures),
            };
            sleep_until(next).await;
        }
        Next::End(None)
    }

    fn heads(&self) -> Result<[(HeaderName, HeaderValue); 2], Refused> {
        const AGENT: HeaderName = HeaderName::from_static("easyenclave-agent");
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        let agent = HeaderValue::from_str(self.agent.as_str()).map_err(|_| silent())?;
        Ok([(header::CONTENT_TYPE, text), (AGENT, agent)])
    }

    async fn page(&self, lines: usize, after: &str, wait: Duration) -> Result<LogPage, Refused> {
        let wait = wait.as_secs();
        let query = format!("lines={lines}&after={after}&wait={wait}");
        let body = self.read(&query).await?;
        let page: LogPage = serde_json::from_slice(&body).map_err(|_| silent())?;
        match is_cursor(&page.cursor) {
            true => Ok(page),
            false => Err(silent()),
        }
    }

    /// Whoever reads was let in once; a key that is revoked or over since ends it.
    fn may_read(&self) -> bool {
        let world = &self.world;
        let still = |revision: Arc<Revision>| {
            still(world, &revision.callers, &self.caller, world.clock.now()).is_ok()
        };
        world.revision().is_some_and(still)
    }

    async fn read(&self, query: &str) -> Result<Vec<u8>, Refused> {
        let record = self.record().ok_or_else(not_running)?;
        let world = &self.world;
        let place = routes::agent_logs(&self.deployment);
        let route = format!("{place}?{query}{}", self.service);
        let (nonce, now) = (hex::encode(world.entropy.bytes()), world.clock.now());
        let headers = sign_request(&world.keypair, "GET", &route, b"", now, &nonce);
        let request = self.client.get(format!("{}{route}", record.address));
        let request = headers.into_iter().fold(request, |request, (name, value)| {
            request.header(name, value)
        });
        let answer = request.send().await.map_err(|_| silent())?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        // One of before keeps one log for all, in another place.
        if status == StatusCode::NOT_FOUND {
            return Err(outdated());
        }
        let body = http::read(answer, PAGE).await.map_err(|_| silent())?;
        let key: PublicKey = record.public_key.parse().map_err(|_| silent())?;
        let now = world.clock.now();
        verify_response(&key, status.as_u16(), &body, &headers, &nonce, now, WINDOW)
            .map_err(|_| silent())?;
        // An agent waits for output, and may be told to run another owner's meanwhile.
        self.record().ok_or_else(not_running)?;
        match status.is_success() {
            true => Ok(body),
            false => Err(silent()),
        }
    }

    /// The agent, while it is told to run this.
    fn record(&self) -> Option<Arc<AgentRecord>> {
        let records = self.world.journal.read();
        let record = records.agents.get(&self.agent)?;
        runs(record, &self.deployment).then(|| Arc::clone(record))
    }
}

/// The pause after so many pages in a row that did not come.
fn pause(failures: u32) -> Duration {
    PAUSE
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(LONGEST_PAUSE)
}

fn runs(record: &AgentRecord, id: &DeploymentId) -> bool {
    let assigned = record.assigned.as_ref();
    assigned.is_some_and(|assigned| assigned.deployment == *id)
}

/// The agent that is named, or else the first that runs it.
fn replica(world: &World, id: &DeploymentId, named: Option<&str>) -> Result<AgentId, Refused> {
    let records = world.journal.read();
    let mut agents = records.agents.values().filter(|record| runs(record, id));
    let found = match named {
        Some(name) => agents.find(|record| record.agent.as_str() == name),
        None => agents.next(),
    };
    let wanted = world
        .revision()
        .is_some_and(|it| it.desired.deployments.contains_key(id));
    match found {
        Some(record) => Ok(record.agent.clone()),
        None if wanted => Err(not_running()),
        None => Err(not_found()),
    }
}

/// Refuses a service that the version has not which the agent was told to run.
fn has(world: &World, agent: &AgentId, service: &str) -> Result<(), Refused> {
    let records = world.journal.read();
    let record = records.agents.get(agent);
    let assigned = record.and_then(|record| record.assigned.as_ref());
    let assigned = assigned.ok_or_else(not_running)?;
    let services = images::services(&assigned.workload);
    match services.contains_key(service) {
        true => Ok(()),
        false => Err(no_service(services.keys())),
    }
}

fn no_service<'a>(services: impl Iterator<Item = &'a String>) -> Refused {
    let names: Vec<_> = services.map(String::as_str).collect();
    let message = match names.is_empty() {
        true => "a process has no services".into(),
        false => format!("there is no such service; there are {}", names.join(", ")),
    };
    Refused::new(StatusCode::NOT_FOUND, "service_not_found", message)
}

/// The last lines of a page.
fn last(page: &str, lines: usize) -> &str {
    let inner = page.strip_suffix('\n').unwrap_or(page);
    let start = inner.rmatch_indices('\n').nth(lines - 1);
    &page[start.map_or(0, |(at, _)| at + 1)..]
}

fn is_plain(service: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    !service.is_empty() && service.len() <= 100 && service.chars().all(plain)
}

fn unreadable() -> Refused {
    let message = format!(
        "expected `lines` from 1 to {LOG_LINES}, and `service`, `agent` and `follow` as documented"
    );
    Refused::new(StatusCode::BAD_REQUEST, "invalid_query", message)
}

fn busy() -> Refused {
    let message = "too many read logs at a time; try again";
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
}

fn not_running() -> Refused {
    let message = "no agent has been told to run it yet, or not this one";
    Refused::new(StatusCode::CONFLICT, "not_running", message)
}

fn silent() -> Refused {
    let message = "the agent does not answer; try again";
    Refused::new(StatusCode::BAD_GATEWAY, "agent_unavailable", message)
}

fn outdated() -> Refused {
    let message = "the agent is of an earlier version, which does not say whose output it gives";
    Refused::new(StatusCode::BAD_GATEWAY, "agent_outdated", message)
}

#[cfg(test)]
mod tests {
    use super::{Readers, last};
    use easyenclave_schemas::OwnerName;

    #[test]
    fn who_follows_shuts_nobody_out_who_reads_the_last_lines() {
        let readers = Readers::default();
        let owner = |number: usize| OwnerName::new(format!("acme-{number}")).expect("a name");
        let follow = |number| readers.take(&owner(number), true);
        let mut following: Vec<_> = (0..16).filter_map(|_| follow(0)).collect();
        assert_eq!(following.len(), 12, "of one owner");
        let plain: Vec<_> = (0..16)
            .filter_map(|_| readers.take(&owner(0), false))
            .collect();
        assert_eq!(plain.len(), 4, "what is left to it");
        drop(plain);
        following.extend((1..64).filter_map(follow));
        assert_eq!(following.len(), 48);
        assert!(readers.take(&owner(70), false).is_some());
        following.pop();
        assert!(follow(70).is_some(), "a place that was given back");
    }

    #[test]
    fn the_end_of_a_page_is_its_last_lines() {
        for (page, lines, end) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\n", 2, "a\n"),
            ("a\nb\n", 2, "a\nb\n"),
            ("\n\n", 1, "\n"),
            ("", 1, ""),
        ] {
            assert_eq!(last(page, lines), end, "{page:?}");
        }
    }
}

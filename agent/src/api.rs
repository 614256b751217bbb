//! The agent's own API: instructions and logs for the reconciler, health for anybody. What is not signed by
//! the reconciler's key, was seen before, or is out of date changes nothing. Handlers only note what is wanted;
//! the work is done elsewhere.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use easyenclave_schemas::DeploymentId;
use easyenclave_schemas::documents::Workload;
use easyenclave_schemas::signature::{
    PublicKey, SignatureError, Verified, sign_response, verify_request,
};
use easyenclave_schemas::wire::{
    CallRefusal, DeployAccepted, DeployRequest, ErrorBody, LOG_LINES, LOG_WAIT, LogPage,
    UndeployRequest, routes,
};
use http::{HeaderValue, StatusCode, Uri, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::client::WINDOW;
use crate::clock;
use crate::instructions::{Instruction, Refusal};
use crate::node::Node;
use crate::runtime::{Place, compose};
use crate::serve::{BODY, BodyError, read};

/// What the handlers use.
pub(crate) struct Api {
    pub(crate) node: Arc<Node>,
    pub(crate) reconciler: PublicKey,
    pub(crate) place: Arc<Place>,
    /// Places for those who wait for output; all others are answered at once.
    pub(crate) waiting: Semaphore,
}

/// So many wait for output at a time: few of the connections that instructions come by.
pub(crate) const WAITING: usize = 8;

/// An engine is asked for new lines this often.
const AGAIN: Duration = Duration::from_secs(1);

/// After a line that somebody waited for, others may come for so long.
const BATCH: Duration = Duration::from_millis(100);

/// The routes.
pub(crate) fn router(api: Api) -> Router {
    Router::new()
        .route(routes::DEPLOY, post(instruct::<DeployRequest>))
        .route(routes::UNDEPLOY, post(instruct::<UndeployRequest>))
        .route(routes::AGENT_HEALTH, get(health))
        .route(
            &format!("{}/{{owner}}/{{name}}", routes::AGENT_LOGS),
            get(logs),
        )
        .with_state(Arc::new(api))
}

async fn instruct<T>(State(api): State<Arc<Api>>, request: Request) -> Response
where
    T: DeserializeOwned + Into<Instruction>,
{
    let (verified, body, _) = match api.verified(request).await {
        Ok(verified) => verified,
        Err(refused) => return api.refuse_unsigned(&refused),
    };
    match api.take::<T>(&body) {
        Ok(accepted) => api.answer(StatusCode::ACCEPTED, JSON, to_json(&accepted), &verified),
        Err(refused) => api.refuse(&refused, &verified),
    }
}

async fn health(State(api): State<Arc<Api>>) -> Response {
    Json(api.node.health()).into_response()
}

#[derive(Deserialize)]
struct LogQuery {
    #[serde(default = "some_lines")]
    lines: usize,
    /// One service of a Compose file; all of them when none is named.
    service: Option<String>,
    /// With a cursor, or an empty one, the answer is a page with the next one.
    after: Option<String>,
    /// Seconds to wait for a line after that.
    #[serde(default)]
    wait: u64,
}

fn some_lines() -> usize {
    200
}

impl LogQuery {
    fn page(self, of: DeploymentId) -> compose::Page {
        compose::Page {
            of,
            service: self.service,
            lines: self.lines.min(LOG_LINES),
            after: self.after.unwrap_or_default(),
        }
    }
}

async fn logs(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (verified, _, uri) = match api.verified(request).await {
        Ok(verified) => verified,
        Err(refused) => return api.refuse_unsigned(&refused),
    };
    match api.output(&uri).await {
        Ok((kind, body)) => api.answer(StatusCode::OK, kind, body, &verified),
        Err(refused) => api.refuse(&refused, &verified),
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

impl Api {
    /// A message of the reconciler that was not seen before.
    async fn verified(&self, request: Request) -> Result<(Verified, Bytes, Uri), Refused> {
        let (head, body) = request.into_parts();
        let body = read(body, BODY).await?;
        let target = head
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let (method, now) = (head.method.as_str(), clock::now());
        let verified = verify_request(
            &self.reconciler,
            method,
            target,
            &body,
            &head.headers,
            now,
            WINDOW,
        )?;
        self.node.inbox().replays.admit(&verified, now)?;
        Ok((verified, body, head.uri))
    }

    /// Takes an instruction in: it is wanted from now on.
    fn take<T>(&self, body: &[u8]) -> Result<DeployAccepted, Refused>
    where
        T: DeserializeOwned + Into<Instruction>,
    {
        let message: T = serde_json::from_slice(body).map_err(|error| {
            let message = format!("the body cannot be read: {error}");
            Refused::new(StatusCode::BAD_REQUEST, CallRefusal::InvalidBody, message)
        })?;
        // The lock is held until it is passed on, so that two calls cannot overtake each other.
        let mut inbox = self.node.inbox();
        let wanted = inbox.instructions.take(message.into())?;
        self.node.note(inbox.instructions.floor());
        let generation = wanted.generation;
        self.node.wanted.send_if_modified(|last| {
            let changed = *last != wanted;
            *last = wanted;
            changed
        });
        Ok(DeployAccepted { generation })
    }

    async fn output(&self, uri: &Uri) -> Result<(HeaderValue, Vec<u8>), Refused> {
        let of = uri.path().strip_prefix(routes::AGENT_LOGS);
        let of = of.and_then(|of| of.trim_start_matches('/').parse().ok());
        let query = Query::<LogQuery>::try_from_uri(uri).ok();
        let (Some(of), Some(Query(query))) = (of, query) else {
            let message =
                "the path has to name a deployment, and `lines` and `wait` have to be numbers";
            let (status, reason) = (StatusCode::BAD_REQUEST, CallRefusal::InvalidQuery);
            return Err(Refused::new(status, reason, message));
        };
        let read = match query.after {
            Some(_) => self.page(query, of).await.map(|it| (JSON, to_json(&it))),
            None => {
                let text = self.tail(&query.page(of)).await;
                text.map(|text| (TEXT, text.into_bytes()))
            }
        };
        read.map_err(|error| {
            tracing::error!(error = format!("{error:#}"), "the log cannot be read");
            let message = "the log cannot be read";
            Refused::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                CallRefusal::LogUnreadable,
                message,
            )
        })
    }

    async fn tail(&self, asked: &compose::Page) -> anyhow::Result<String> {
        match self.keeper(&asked.of) {
            Some(Keeper::Engine) => Ok(compose::page(&self.place, asked).await?.text),
            Some(Keeper::Agent) => Ok(self.place.log.tail(&asked.of, asked.lines).await?),
            None => Ok(String::new()),
        }
    }

    /// What comes after a cursor. Whoever has read all so far is kept waiting, if few others are.
    async fn page(&self, query: LogQuery, of: DeploymentId) -> anyhow::Result<LogPage> {
        let wait = Duration::from_secs(query.wait.min(LOG_WAIT));
        let turn = self.waiting.try_acquire();
        let until = Instant::now() + turn.as_ref().map_or(Duration::ZERO, |_| wait);
        let asked = query.page(of);
        loop {
            let grown = self.place.log.grown().notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            let (log, keeper) = (&self.place.log, self.keeper(&asked.of));
            let page = match keeper {
                Some(Keeper::Engine) => compose::page(&self.place, &asked).await?,
                Some(Keeper::Agent) => log.page(&asked.of, &asked.after, asked.lines).await?,
                None => LogPage::nothing(&asked.after),
            };
            if !page.text.is_empty() || page.missed || Instant::now() >= until {
                return Ok(page);
            }
            // An engine has to be asked; and of many lines that come at once, more than one is read.
            match keeper {
                Some(Keeper::Agent) if timeout_at(until, grown).await.is_ok() => sleep(BATCH).await,
                Some(Keeper::Agent) => {}
                Some(Keeper::Engine) | None => {
                    sleep_until(until.min(Instant::now() + AGAIN)).await;
                }
            }
        }
    }

    /// Who keeps the output of a deployment; nobody unless this agent is to run it.
    fn keeper(&self, of: &DeploymentId) -> Option<Keeper> {
        let wanted = self.node.wanted.borrow();
        let wanted = wanted.assignment.as_ref();
        let wanted = wanted.filter(|wanted| wanted.deployment == *of)?;
        Some(match wanted.workload {
            Workload::Compose(_) => Keeper::Engine,
            Workload::Process(_) => Keeper::Agent,
        })
    }

    /// A refusal of a call that proves nothing; it is not signed, so that nobody can have us sign at will.
    fn refuse_unsigned(&self, refused: &Refused) -> Response {
        self.node.refused(refused.reason);
        (refused.status, Json(refused.body())).into_response()
    }

    fn refuse(&self, refused: &Refused, request: &Verified) -> Response {
        self.node.refused(refused.reason);
        self.answer(refused.status, JSON, to_json(&refused.body()), request)
    }

    /// An answer with the agent's signature.
    fn answer(
        &self,
        status: StatusCode,
        kind: HeaderValue,
        body: Vec<u8>,
        request: &Verified,
    ) -> Response {
        let keypair = &self.node.keypair;
        let signed = sign_response(&**keypair, status.as_u16(), &body, request, clock::now());
        let mut response = (status, body).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        for (name, value) in signed {
            let value = HeaderValue::from_str(&value).expect("a signature's header is plain ASCII");
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// Who keeps what is printed.
enum Keeper {
    /// What containers print.
    Engine,
    /// What a process prints.
    Agent,
}

fn to_json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("an answer is plain data")
}

/// A refused request.
struct Refused {
    status: StatusCode,
    reason: CallRefusal,
    message: String,
}

impl Refused {
    fn new(status: StatusCode, reason: CallRefusal, message: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            message: message.into(),
        }
    }

    fn body(&self) -> ErrorBody {
        ErrorBody::new(self.reason.code(), self.message.as_str())
    }
}

impl From<BodyError> for Refused {
    fn from(error: BodyError) -> Self {
        let (status, reason) = match error {
            BodyError::TooLong(_) => (StatusCode::PAYLOAD_TOO_LARGE, CallRefusal::BodyTooLong),
            BodyError::TooSlow => (StatusCode::REQUEST_TIMEOUT, CallRefusal::BodyTooSlow),
        };
        Self::new(status, reason, error.to_string())
    }
}

impl From<SignatureError> for Refused {
    fn from(error: SignatureError) -> Self {
        let (status, reason) = match error {
            SignatureError::Missing => (StatusCode::UNAUTHORIZED, CallRefusal::Unsigned),
            SignatureError::Replayed => (StatusCode::CONFLICT, CallRefusal::Replayed),
            SignatureError::TooOld | SignatureError::FromFuture => {
                (StatusCode::UNAUTHORIZED, CallRefusal::OutsideWindow)
            }
            SignatureError::Crowded => (StatusCode::SERVICE_UNAVAILABLE, CallRefusal::Crowded),
            _ => (StatusCode::UNAUTHORIZED, CallRefusal::BadSignature),
        };
        Self::new(status, reason, error.to_string())
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::new(StatusCode::CONFLICT, refusal.reason(), refusal.to_string())
    }
}

//! Calls to the reconciler: signed, bounded in time and size. An answer counts only when it is signed by
//! the reconciler's key and belongs to the request; a refusal is not signed and so is a hint at most.

use std::sync::Arc;
use std::time::Duration;

use easyenclave_schemas::OrderId;
use easyenclave_schemas::signature::{
    Keypair, PublicKey, Session, SignatureError, Signs, Verifies, sign_request, verify_response,
};
use easyenclave_schemas::wire::{AgentConfig, Challenge, ErrorBody, routes};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock;

/// A signed message may be this old, or this far ahead of our clock.
pub(crate) const WINDOW: Duration = Duration::from_secs(120);

/// How long one call may take, with its answer.
const DEADLINE: Duration = Duration::from_secs(15);

/// How long it may take to be connected.
const CONNECT: Duration = Duration::from_secs(5);

/// The longest answer, in bytes: the sealed secrets of a workload that has as many and as long ones as it may.
const ANSWER: usize = 2 * 1024 * 1024;

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The reconciler cannot be reached, or the connection broke.
    #[error("the reconciler cannot be reached")]
    Network(#[source] reqwest::Error),
    /// The reconciler, or somebody in its place, refused.
    #[error("refused with {code}: {message}")]
    Refused {
        /// Whether trying again later may help, judged by the status alone.
        later: bool,
        /// The stable code, or the HTTP status when there is none.
        code: String,
        /// One sentence.
        message: String,
    },
    /// The answer is not the reconciler's.
    #[error("the answer is not the reconciler's")]
    Untrusted(#[source] SignatureError),
    /// The answer is too long or of another shape.
    #[error("the answer cannot be read")]
    Answer,
}

/// The reconciler, as an agent sees it.
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    keypair: Arc<Keypair>,
    reconciler: PublicKey,
}

impl Client {
    /// A client that signs with `keypair` and believes `reconciler`.
    pub(crate) fn new(
        config: &AgentConfig,
        keypair: Arc<Keypair>,
        reconciler: PublicKey,
    ) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(DEADLINE)
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let base = config.reconciler_url.trim_end_matches('/').to_owned();
        Ok(Self {
            http,
            base,
            keypair,
            reconciler,
        })
    }

    /// A nonce for this order's policy. Nobody signs it: a nonce that is not the reconciler's is refused at registration.
    pub(crate) async fn challenge(&self, order: &OrderId) -> Result<Challenge, CallError> {
        let path = routes::CHALLENGE;
        let request = self.http.get(format!("{}{path}?order={order}", self.base));
        let (status, _, body) = send(request).await?;
        accepted(status, &body)?;
        serde_json::from_slice(&body).map_err(|_| CallError::Answer)
    }

    /// Posts a message that is signed with the agent's key, and reads the reconciler's signed answer.
    pub(crate) async fn post<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        message: &Q,
    ) -> Result<A, CallError> {
        let keys = (&*self.keypair, &self.reconciler);
        self.exchange(path, message, keys).await
    }

    /// Posts a message in a session, and reads the answer in it.
    pub(crate) async fn post_in<Q: Serialize, A: DeserializeOwned>(
        &self,
        session: &Session,
        path: &str,
        message: &Q,
    ) -> Result<A, CallError> {
        self.exchange(path, message, (session, session)).await
    }

    async fn exchange<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        message: &Q,
        (ours, theirs): (&impl Signs, &impl Verifies),
    ) -> Result<A, CallError> {
        let body = serde_json::to_vec(message).expect("a message is plain data");
        let nonce = clock::unique();
        let signed = sign_request(ours, "POST", path, &body, clock::now(), &nonce);
        let mut request = self.http.post(format!("{}{path}", self.base)).body(body);
        for (name, value) in signed {
            request = request.header(name, value);
        }
        let (status, headers, body) =
            send(request.header(http::header::CONTENT_TYPE, "application/json")).await?;
        accepted(status, &body)?;
        let now = clock::now();
        verify_response(
            theirs,
            status.as_u16(),
            &body,
            &headers,
            &nonce,
            now,
            WINDOW,
        )
        .map_err(CallError::Untrusted)?;
        serde_json::from_slice(&body).map_err(|_| CallError::Answer)
    }
}

async fn send(
    request: reqwest::RequestBuilder,
) -> Result<(StatusCode, HeaderMap, Vec<u8>), CallError> {
    let mut answer = request.send().await.map_err(CallError::Network)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(CallError::Network)? {
        if body.len() + chunk.len() > ANSWER {
            return Err(CallError::Answer);
        }
        body.extend_from_slice(&chunk);
    }
    Ok((status, headers, body))
}

fn accepted(status: StatusCode, body: &[u8]) -> Result<(), CallError> {
    if status.is_success() {
        return Ok(());
    }
    let later = status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    let unnamed = || ErrorBody::new(status.as_str(), "the answer gives no reason");
    let refusal = serde_json::from_slice(body).unwrap_or_else(|_| unnamed());
    let cut = |text: String, most| {
        text.chars()
            .filter(|c| !c.is_control())
            .take(most)
            .collect()
    };
    let (code, message) = (cut(refusal.code, 40), cut(refusal.message, 200));
    Err(CallError::Refused {
        later,
        code,
        message,
    })
}

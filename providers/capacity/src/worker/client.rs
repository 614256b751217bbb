//! Calls of a worker to its reconciler: bounded in time and size, with the launcher key in a header.

use std::time::Duration;

use easyenclave_schemas::wire::{
    ClaimRequest, ClaimResponse, ErrorBody, InventoryRequest, InventoryResponse, OrderStatus,
    OrderUpdate, routes,
};
use easyenclave_schemas::{Epoch, OrderId, Secret};
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde::Serialize;

/// How long one call may take, beside the time that the reconciler is asked to wait.
const DEADLINE: Duration = Duration::from_secs(10);

/// The longest answer, in bytes.
const ANSWER: usize = 256 * 1024;

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// Nobody answers, or the connection broke.
    #[error("the reconciler cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The reconciler refused.
    #[error("refused with {code}: {message}")]
    Refused {
        /// The stable code, or the HTTP status when there is none.
        code: String,
        /// One sentence.
        message: String,
        /// The epoch that says so, if it is given.
        epoch: Option<Epoch>,
    },
    /// The answer is too long or of another shape.
    #[error("the answer cannot be read")]
    Answer,
}

impl CallError {
    /// The stable code of a refusal.
    pub(super) fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            _ => "",
        }
    }

    /// The epoch of a refusal, if it is given.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::Refused { epoch, .. } => *epoch,
            _ => None,
        }
    }
}

/// The reconciler, as a worker sees it.
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    authorization: HeaderValue,
}

/// The launcher key cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("launcher key: expected visible ASCII characters")]
pub struct KeyNotSendable;

impl Client {
    /// A client with this key.
    pub(super) fn new(url: &str, key: &Secret<String>) -> Result<Self, super::WorkerError> {
        let bearer = format!("Bearer {}", key.reveal());
        let mut authorization = HeaderValue::from_str(&bearer).map_err(|_| KeyNotSendable)?;
        authorization.set_sensitive(true);
        let http = reqwest::Client::builder()
            .connect_timeout(DEADLINE)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            http,
            base: url.trim_end_matches('/').to_owned(),
            authorization,
        })
    }

    /// Asks for an order.
    pub(super) async fn claim(&self, request: &ClaimRequest) -> Result<ClaimResponse, CallError> {
        let deadline = DEADLINE + Duration::from_millis(request.wait_millis);
        read(&self.post(routes::CLAIM, request, deadline).await?)
    }

    /// Reports on an order.
    pub(super) async fn update(
        &self,
        order: &OrderId,
        update: &OrderUpdate,
    ) -> Result<OrderStatus, CallError> {
        read(&self.post(&routes::order(order), update, DEADLINE).await?)
    }

    /// Sends a complete listing.
    pub(super) async fn inventory(
        &self,
        listing: &InventoryRequest,
    ) -> Result<InventoryResponse, CallError> {
        let answer = self.post(routes::INVENTORY, listing, DEADLINE).await?;
        match answer.is_empty() {
            true => Ok(InventoryResponse::default()),
            false => read(&answer),
        }
    }

    async fn post<T: Serialize>(
        &self,
        path: &str,
        message: &T,
        deadline: Duration,
    ) -> Result<Vec<u8>, CallError> {
        let request = self
            .http
            .post(format!("{}{path}", self.base))
            .timeout(deadline)
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(serde_json::to_vec(message).expect("a message is plain data"));
        let mut answer = request.send().await.map_err(CallError::Unreachable)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(CallError::Unreachable)? {
            if body.len() + chunk.len() > ANSWER {
                return Err(CallError::Answer);
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            Ok(body)
        } else {
            Err(refusal(status, &body))
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(body).map_err(|_| CallError::Answer)
}

fn refusal(status: StatusCode, body: &[u8]) -> CallError {
    let unnamed = || ErrorBody::new(status.as_str(), "the answer gives no reason");
    let refusal = serde_json::from_slice(body).unwrap_or_else(|_| unnamed());
    let cut = |text: String, most| {
        text.chars()
            .filter(|c| !c.is_control())
            .take(most)
            .collect()
    };
    CallError::Refused {
        code: cut(refusal.code, 40),
        message: cut(refusal.message, 200),
        epoch: refusal.epoch,
    }
}

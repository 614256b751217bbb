//! The client: nonces and tokens for a reconciler or for an agent with a key of its own. It believes nothing that it
//! is told, and leaves what a token says to the verifier.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use easyenclave_schemas::Secret;
use easyenclave_schemas::documents::{ItaSpec, ItaVersion, SigningAlgorithm};
use easyenclave_schemas::evidence::{Evidence, ItaNonce, TokenBytes};
use easyenclave_schemas::wire::ItaMint;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{Call, Caller};
use super::error::ItaError;
#[cfg(feature = "verify")]
use super::keys::Keys;
use crate::collect::ita_report_data;
use crate::layout::QuoteView;
use crate::remote::under;

/// How long one call may take, with its answer. Those who judge wait for ten seconds.
const DEADLINE: Duration = Duration::from_secs(8);

/// The longest nonce that is read, in bytes.
const NONCE: usize = 16 * 1024;

/// The longest part of a nonce: it travels in challenges and is kept with evidence.
const NONCE_PART: usize = 2048;

/// A client of Intel Trust Authority. It remembers who failed lately, and keys; share one.
pub struct Client {
    pub(super) caller: Caller,
    only: Option<String>,
    #[cfg(feature = "verify")]
    pub(super) keys: Keys,
}

/// What is asked of which Trust Authority.
#[derive(Debug, Clone, Copy)]
pub struct Account<'a> {
    /// The base of its API.
    pub api_url: &'a str,
    /// The version of the calls.
    pub version: ItaVersion,
    /// How a token should be signed.
    pub algorithm: SigningAlgorithm,
    /// Policies of the Trust Authority that must match.
    pub policy_ids: &'a [String],
}

/// No client can be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The key cannot be sent.
    #[error("key of Intel Trust Authority: expected visible ASCII characters")]
    Key,
    /// The system's certificates or TLS are not to be had.
    #[error("cannot make a client for Intel Trust Authority")]
    Client(#[source] reqwest::Error),
}

impl<'a> From<&'a ItaSpec> for Account<'a> {
    fn from(spec: &'a ItaSpec) -> Self {
        Self {
            api_url: &spec.api_url,
            version: spec.version,
            algorithm: spec.algorithm,
            policy_ids: &spec.policy_ids,
        }
    }
}

impl<'a> From<&'a ItaMint> for Account<'a> {
    fn from(mint: &'a ItaMint) -> Self {
        Self {
            api_url: &mint.api_url,
            version: mint.version,
            algorithm: mint.algorithm,
            policy_ids: &mint.policy_ids,
        }
    }
}

impl Client {
    /// A client with this key; without one it only fetches keys. The process must have a TLS provider.
    ///
    /// # Errors
    /// When the key cannot be a header, or TLS is not to be had.
    pub fn new(key: Option<&Secret<String>>) -> Result<Self, ClientError> {
        Self::with_deadline(key, DEADLINE)
    }

    /// A client whose calls may take so long, each with its answer.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn with_deadline(
        key: Option<&Secret<String>>,
        deadline: Duration,
    ) -> Result<Self, ClientError> {
        let key = key.map(|key| header(key.reveal())).transpose()?;
        Ok(Self {
            caller: Caller::new(key, deadline).map_err(ClientError::Client)?,
            only: None,
            #[cfg(feature = "verify")]
            keys: Keys::default(),
        })
    }

    /// Sends its key to the API under `base` and to no other, whatever settings say. An agent needs this: its
    /// settings come in a challenge, and nobody signs a challenge.
    #[must_use]
    pub fn only_to(mut self, base: &str) -> Self {
        self.only = Some(base.trim_end_matches('/').to_owned());
        self
    }

    /// A fresh nonce.
    ///
    /// # Errors
    /// When there is none at present.
    pub async fn fresh_nonce(&self, account: Account<'_>) -> Result<ItaNonce, ItaError> {
        let path = match account.version {
            ItaVersion::V1 => "/appraisal/v1/nonce",
            ItaVersion::V2 => "/appraisal/v2/nonce",
        };
        let call = Call {
            url: self.address(account.api_url, path)?,
            body: None,
            keyed: true,
            shows_evidence: false,
            longest: NONCE,
        };
        self.caller.call(call, read_nonce).await
    }

    /// A token for evidence that binds `nonce` and `public_key`. What cannot get one is not sent: a quote that is
    /// none, or is over something else. The event log is not sent either; nothing that is asked of a token needs it.
    ///
    /// # Errors
    /// When the evidence is refused, here or there, or there is no answer at present.
    pub async fn mint(
        &self,
        account: Account<'_>,
        evidence: &Evidence,
        nonce: &ItaNonce,
        public_key: &[u8; 32],
    ) -> Result<TokenBytes, ItaError> {
        let quote = QuoteView::parse(evidence.quote.as_bytes()).map_err(ItaError::Quote)?;
        let expected = ita_report_data(nonce, public_key).map_err(|_| ItaError::NotBound)?;
        if quote.report_data() != expected {
            return Err(ItaError::NotBound);
        }
        let (path, body) = attest(account, quote.bytes(), nonce, public_key);
        let call = Call {
            url: self.address(account.api_url, path)?,
            body: Some(serde_json::to_vec(&body).expect("a request is plain data")),
            keyed: true,
            shows_evidence: true,
            longest: 2 * TokenBytes::MAX,
        };
        self.caller.call(call, read_token).await
    }

    fn address(&self, base: &str, path: &str) -> Result<reqwest::Url, ItaError> {
        match &self.only {
            Some(only) if only != base.trim_end_matches('/') => Err(ItaError::Settings(
                "the key here is for another address than the settings name".into(),
            )),
            _ => under(base, path).map_err(ItaError::Settings),
        }
    }
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

fn header(key: &str) -> Result<HeaderValue, ClientError> {
    let visible = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    let mut header = visible
        .then(|| HeaderValue::from_str(key).ok())
        .flatten()
        .ok_or(ClientError::Key)?;
    header.set_sensitive(true);
    Ok(header)
}

fn read_nonce(body: &[u8]) -> Result<ItaNonce, String> {
    let nonce = serde_json::from_slice(body).map_err(|_| "it is not a nonce")?;
    match usable(&nonce) {
        true => Ok(nonce),
        false => Err("its nonce is empty, too long or not base64".into()),
    }
}

fn read_token(body: &[u8]) -> Result<TokenBytes, String> {
    let answer: Token = serde_json::from_slice(body).map_err(|_| "it holds no token")?;
    let token = TokenBytes::new(answer.token.into_bytes());
    token.map_err(|error| format!("its token is too long: {error}"))
}

fn usable(nonce: &ItaNonce) -> bool {
    let part = |text: &str| {
        text.len() <= NONCE_PART && STANDARD.decode(text).is_ok_and(|bytes| !bytes.is_empty())
    };
    part(&nonce.val) && part(&nonce.iat) && part(&nonce.signature)
}

fn attest(
    account: Account<'_>,
    quote: &[u8],
    nonce: &ItaNonce,
    public_key: &[u8; 32],
) -> (&'static str, Value) {
    let shown = json!({
        "quote": STANDARD.encode(quote),
        "runtime_data": STANDARD.encode(public_key),
        "verifier_nonce": nonce,
    });
    let (path, mut body) = match account.version {
        ItaVersion::V1 => ("/appraisal/v1/attest", shown),
        ItaVersion::V2 => ("/appraisal/v2/attest", json!({ "tdx": shown })),
    };
    body["token_signing_alg"] = match account.algorithm {
        SigningAlgorithm::PS384 => "PS384".into(),
        SigningAlgorithm::RS256 => "RS256".into(),
    };
    if !account.policy_ids.is_empty() {
        // Without this it gives a token even where policies fail. The verifier looks at them all the same.
        body["policy_must_match"] = true.into();
        body["policy_ids"] = account.policy_ids.into();
    }
    (path, body)
}

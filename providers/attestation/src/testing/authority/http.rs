//! The protocol: what it asks for in requests, and what it answers.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State as Shared};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use easyenclave_schemas::evidence::ItaNonce;
use ring::digest::{Context, SHA512};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};

use super::faults::{Fault, Kind};
use super::token::{Order, token};
use super::{API_KEY, Arrived, Signer, State};
use crate::layout::QuoteView;

/// The longest request, in bytes.
const LONGEST: usize = 500_000;

#[derive(Clone)]
struct App {
    state: Arc<State>,
    issuer: String,
}

/// One request.
struct Asked {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

type Answer = Result<Value, (u16, &'static str)>;

pub(super) fn routes(state: Arc<State>, issuer: String) -> Router {
    Router::new()
        .fallback(answer)
        .layer(DefaultBodyLimit::max(LONGEST))
        .with_state(App { state, issuer })
}

async fn answer(
    Shared(app): Shared<App>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = Asked {
        method,
        path: uri.path().to_owned(),
        headers,
        body,
    };
    let kind = kind(&asked);
    let fault = {
        let mut inner = app.state.inner();
        inner.arrived.push(asked.arrived(kind));
        inner.fault(kind)
    };
    if let Some(Fault::Slow(time)) = fault {
        tokio::time::sleep(time).await;
    }
    let answer = match fault {
        Some(Fault::Status(status, body)) => faulty(status, body),
        Some(Fault::RetryAfter(status, seconds)) => {
            let mut answer = faulty(status, String::new());
            answer.headers_mut().insert("retry-after", seconds.into());
            answer
        }
        Some(Fault::Moved(to)) => {
            let mut answer = faulty(307, String::new());
            let to = to.parse().expect("an address is a header");
            answer.headers_mut().insert("location", to);
            answer
        }
        Some(Fault::Body(body)) => faulty(200, body),
        Some(Fault::Huge(bytes)) => Body::from(vec![b' '; bytes]).into_response(),
        Some(Fault::Slow(_)) | None => honest(&app, kind, &asked),
    };
    numbered(answer, &asked)
}

fn honest(app: &App, kind: Kind, asked: &Asked) -> Response {
    let answer = match kind {
        Kind::Keys => Ok(keys(app)),
        Kind::Other => Err((404, "no such path")),
        Kind::Nonce | Kind::Attest if asked.header("x-api-key").as_deref() != Some(API_KEY) => {
            Err((401, "Unauthorized"))
        }
        Kind::Nonce | Kind::Attest if asked.header("accept").as_deref() != Some(JSON) => {
            Err((406, "Invalid Accept header"))
        }
        Kind::Nonce => Ok(json!(nonce(app))),
        Kind::Attest => attest(app, asked),
    };
    match answer {
        Ok(body) => faulty(200, body.to_string()),
        Err((status, error)) => faulty(status, json!({ "error": error }).to_string()),
    }
}

const JSON: &str = "application/json";

fn kind(asked: &Asked) -> Kind {
    let get = asked.method == Method::GET;
    match asked.path.as_str() {
        "/appraisal/v1/nonce" | "/appraisal/v2/nonce" if get => Kind::Nonce,
        "/appraisal/v1/attest" | "/appraisal/v2/attest" if asked.method == Method::POST => {
            Kind::Attest
        }
        "/certs" if get => Kind::Keys,
        _ => Kind::Other,
    }
}

fn keys(app: &App) -> Value {
    let inner = app.state.inner();
    let entries: Vec<_> = inner
        .published
        .iter()
        .map(|signer| signer.entry())
        .collect();
    json!({ "keys": entries })
}

fn nonce(app: &App) -> ItaNonce {
    let random = |len: usize| {
        let mut bytes = vec![0; len];
        SystemRandom::new().fill(&mut bytes).expect("randomness");
        STANDARD.encode(bytes)
    };
    let iat = format!("{} +0000 UTC", app.state.now());
    let nonce = ItaNonce {
        val: random(64),
        iat: STANDARD.encode(iat),
        signature: random(384),
    };
    app.state.inner().nonces.push(nonce.clone());
    nonce
}

fn attest(app: &App, asked: &Asked) -> Answer {
    let body: Value = serde_json::from_slice(&asked.body).map_err(|_| (400, "Invalid request"))?;
    let version = if asked.path.contains("/v1/") { 1 } else { 2 };
    let shown = if version == 1 { &body } else { &body["tdx"] };
    let bytes = |name: &str| {
        let text = shown[name].as_str().ok_or((400, "Invalid request"))?;
        STANDARD.decode(text).map_err(|_| (400, "Invalid request"))
    };
    let (quote, runtime_data) = (bytes("quote")?, bytes("runtime_data")?);
    let quote = QuoteView::parse(&quote).map_err(|_| (400, "Failed to verify quote"))?;
    let nonce: ItaNonce = serde_json::from_value(shown["verifier_nonce"].clone())
        .map_err(|_| (400, "Invalid request"))?;
    let inner = app.state.inner();
    if !inner.nonces.contains(&nonce) {
        return Err((400, "Failed to verify nonce"));
    }
    if quote.report_data() != expected(&nonce, &runtime_data)? {
        return Err((400, "Failed to verify quote: report data mismatch"));
    }
    let asked_for = body["policy_ids"].as_array().cloned().unwrap_or_default();
    let asked_for: Vec<_> = asked_for.iter().filter_map(Value::as_str).collect();
    let matched: Vec<_> = asked_for
        .iter()
        .filter(|id| inner.policies.contains(**id))
        .collect();
    if body["policy_must_match"] == true && matched.len() < asked_for.len() {
        return Err((400, "Policy match failed"));
    }
    let order = Order {
        version,
        algorithm: body["token_signing_alg"].as_str().unwrap_or("PS384"),
        signer: inner.signs_with.unwrap_or(Signer::First),
        issuer: &app.issuer,
        now: app.state.now(),
        quote: &quote,
        runtime_data: &runtime_data,
        verifier_nonce: shown["verifier_nonce"].clone(),
        matched: matched.into_iter().map(|id| (*id).to_owned()).collect(),
        claims: &inner.claims,
    };
    Ok(json!({ "token": token(&order) }))
}

/// SHA-512 over the decoded nonce and what was held beside the quote.
fn expected(nonce: &ItaNonce, runtime_data: &[u8]) -> Result<Vec<u8>, (u16, &'static str)> {
    let mut context = Context::new(&SHA512);
    for part in [&nonce.val, &nonce.iat] {
        context.update(
            &STANDARD
                .decode(part)
                .map_err(|_| (400, "Invalid request"))?,
        );
    }
    context.update(runtime_data);
    Ok(context.finish().as_ref().to_vec())
}

fn faulty(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    (status, [("content-type", JSON)], body).into_response()
}

fn numbered(mut answer: Response, asked: &Asked) -> Response {
    let headers = answer.headers_mut();
    if let Some(number) = asked.headers.get("request-id") {
        headers.insert("request-id", number.clone());
    }
    headers.insert("trace-id", "trace-of-the-test".parse().expect("a header"));
    answer
}

impl Asked {
    fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    }

    fn arrived(&self, kind: Kind) -> Arrived {
        Arrived {
            kind,
            path: self.path.clone(),
            api_key: self.header("x-api-key"),
            accept: self.header("accept"),
            request_id: self.header("request-id"),
        }
    }
}

//! The protocol: what it asks for in requests, and what it answers.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::{Fault, Inner, Part, State};
use crate::{Collateral, PckCa};

/// An answer before a fault.
struct Honest {
    body: Vec<u8>,
    issuers: Option<(&'static str, String)>,
}

pub(super) fn routes(state: Arc<State>) -> Router {
    Router::new().fallback(answer).with_state(state)
}

async fn answer(Shared(state): Shared<Arc<State>>, method: Method, uri: Uri) -> Response {
    let part = match method {
        Method::GET => part(uri.path()),
        _ => Part::Other,
    };
    let (fault, honest) = {
        let mut inner = state.inner();
        inner.arrived.push((part, uri.to_string()));
        (inner.fault(part), honest(&inner, part, &uri))
    };
    match fault {
        Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
        Some(Fault::Silent) => std::future::pending().await,
        _ => {}
    }
    match (fault, honest) {
        (Some(Fault::Status(status)), _) => status_only(status),
        (Some(Fault::RetryAfter(status, seconds)), _) => {
            let mut answer = status_only(status);
            answer.headers_mut().insert("retry-after", seconds.into());
            answer
        }
        (Some(Fault::Moved(to)), _) => {
            let mut answer = status_only(307);
            let to = to.parse().expect("an address is a header");
            answer.headers_mut().insert("location", to);
            answer
        }
        (_, Err(status)) => status_only(status),
        (fault, Ok(honest)) => honest.with(fault).into_response(),
    }
}

fn part(path: &str) -> Part {
    match path {
        "/tdx/certification/v4/tcb" => Part::TcbInfo,
        "/tdx/certification/v4/qe/identity" => Part::QeIdentity,
        "/sgx/certification/v4/pckcrl" => Part::PckCrl,
        "/sgx/certification/v4/rootcacrl" => Part::RootCrl,
        "/IntelSGXRootCA.der" => Part::PublishedRootCrl,
        _ => Part::Other,
    }
}

/// What the documentation says, or the status of a refusal.
fn honest(inner: &Inner, part: Part, uri: &Uri) -> Result<Honest, u16> {
    let query = uri.query().unwrap_or_default();
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(of, _)| *of == name).map(|(_, value)| value)
    };
    // The two exclude each other, and an unknown word is a mistake.
    let updates = matches!(value("update"), None | Some("standard" | "early"));
    let both = value("update").is_some() && value("tcbEvaluationDataNumber").is_some();
    if !updates || both {
        return Err(400);
    }
    let any = || inner.serves.first().map(|(_, collateral)| collateral);
    match part {
        Part::TcbInfo => {
            let fmspc = value("fmspc")
                .filter(|fmspc| fmspc.len() == 12)
                .ok_or(400_u16)?;
            let mut known = inner.serves.iter();
            let known = known.find(|(of, _)| of.fmspc.to_string().eq_ignore_ascii_case(fmspc));
            Ok(tcb_info(&known.ok_or(404_u16)?.1))
        }
        Part::QeIdentity => Ok(qe_identity(any().ok_or(404_u16)?)),
        Part::PckCrl => {
            let ca = match value("ca") {
                Some("platform") => PckCa::Platform,
                Some("processor") => PckCa::Processor,
                _ => return Err(400),
            };
            let known = inner.serves.iter().find(|(of, _)| of.ca == ca);
            Ok(pck_crl(&known.ok_or(404_u16)?.1))
        }
        Part::RootCrl => {
            let list = hex::encode_upper(&any().ok_or(404_u16)?.as_dcap().root_ca_crl);
            Ok(Honest::of(list.into_bytes()))
        }
        Part::PublishedRootCrl => Ok(Honest::of(
            any().ok_or(404_u16)?.as_dcap().root_ca_crl.clone(),
        )),
        Part::Other => Err(404),
    }
}

fn tcb_info(collateral: &Collateral) -> Honest {
    let parts = collateral.as_dcap();
    Honest {
        body: wrapped("tcbInfo", &parts.tcb_info, &parts.tcb_info_signature),
        issuers: Some((
            "TCB-Info-Issuer-Chain",
            encoded(&parts.tcb_info_issuer_chain),
        )),
    }
}

fn qe_identity(collateral: &Collateral) -> Honest {
    let parts = collateral.as_dcap();
    Honest {
        body: wrapped(
            "enclaveIdentity",
            &parts.qe_identity,
            &parts.qe_identity_signature,
        ),
        issuers: Some((
            "SGX-Enclave-Identity-Issuer-Chain",
            encoded(&parts.qe_identity_issuer_chain),
        )),
    }
}

fn pck_crl(collateral: &Collateral) -> Honest {
    let parts = collateral.as_dcap();
    Honest {
        body: parts.pck_crl.clone(),
        issuers: Some((
            "SGX-PCK-CRL-Issuer-Chain",
            encoded(&parts.pck_crl_issuer_chain),
        )),
    }
}

fn wrapped(name: &str, document: &str, signature: &[u8]) -> Vec<u8> {
    let signature = hex::encode(signature);
    format!("{{\"{name}\":{document},\"signature\":\"{signature}\"}}").into_bytes()
}

/// As in an address: all but letters, digits and a few signs.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into());
            }
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

impl Honest {
    fn of(body: Vec<u8>) -> Self {
        Self {
            body,
            issuers: None,
        }
    }

    fn with(mut self, fault: Option<Fault>) -> Self {
        match fault {
            Some(Fault::Body(body)) => self.body = body,
            Some(Fault::Huge(bytes)) => self.body = vec![b' '; bytes],
            Some(Fault::Reordered) => self.body = reordered(&self.body),
            Some(Fault::WithoutIssuers) => self.issuers = None,
            Some(Fault::LineFeed) => self.body.push(b'\n'),
            Some(Fault::Der) => {
                self.body = hex::decode(&self.body).expect("it was in hexadecimal");
            }
            _ => {}
        }
        self
    }
}

/// The same document with the fields of each object by their names.
fn reordered(body: &[u8]) -> Vec<u8> {
    let mut answer: Value = serde_json::from_slice(body).expect("an honest answer is JSON");
    answer.sort_all_objects();
    answer.to_string().into_bytes()
}

impl IntoResponse for Honest {
    fn into_response(self) -> Response {
        let mut answer = self.body.into_response();
        if let Some((name, chain)) = self.issuers {
            let chain = HeaderValue::from_str(&chain).expect("it is encoded");
            answer.headers_mut().insert(name, chain);
        }
        answer
    }
}

fn status_only(status: u16) -> Response {
    StatusCode::from_u16(status)
        .expect("a status")
        .into_response()
}

//! Tokens as the Trust Authority makes them, and as it never would.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use easyenclave_schemas::Timestamp;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA384, RsaKeyPair, RsaPublicKeyComponents};
use serde_json::{Map, Value, json};

use super::{Claim, TOKEN_LIFE};
use crate::layout::QuoteView;

/// A key that tokens are signed with. Both are in the repository and good for tests only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// The one that the key set has at first.
    First,
    /// Another.
    Second,
    /// The second key under the first one's name.
    Impostor,
}

impl Signer {
    /// The name that tokens give it.
    pub fn key_id(self) -> &'static str {
        match self {
            Self::First | Self::Impostor => "first",
            Self::Second => "second",
        }
    }

    /// Its entry in a key set.
    pub fn entry(self) -> Value {
        let public = self.public();
        json!({
            "kty": "RSA",
            "kid": self.key_id(),
            "n": URL_SAFE_NO_PAD.encode(public.n),
            "e": URL_SAFE_NO_PAD.encode(public.e),
        })
    }

    /// A token of any issuer, signed with this key: by `RS256` or `PS384`, by `HS256` with the public key in place of a
    /// shared one, as one who confuses algorithms would check it, or not at all by `none`.
    pub fn jwt(self, algorithm: &str, claims: &Value) -> String {
        let header = json!({"alg": algorithm, "kid": self.key_id(), "typ": "JWT"});
        let [header, claims] =
            [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let covered = format!("{header}.{claims}");
        let signature = match algorithm {
            "none" => Vec::new(),
            "HS256" => hmac::sign(
                &hmac::Key::new(hmac::HMAC_SHA256, &self.public().n),
                covered.as_bytes(),
            )
            .as_ref()
            .to_vec(),
            _ => self.sign(algorithm, covered.as_bytes()),
        };
        format!("{covered}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn public(self) -> RsaPublicKeyComponents<Vec<u8>> {
        self.key().public().into()
    }

    fn key(self) -> RsaKeyPair {
        let pkcs8: &[u8] = match self {
            Self::First => include_bytes!("first.pk8"),
            Self::Second | Self::Impostor => include_bytes!("second.pk8"),
        };
        RsaKeyPair::from_pkcs8(pkcs8).expect("the keys of the tests are RSA keys")
    }

    fn sign(self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let key = self.key();
        let mut signature = vec![0; key.public().modulus_len()];
        let padding: &dyn ring::signature::RsaEncoding = match algorithm {
            "RS256" => &RSA_PKCS1_SHA256,
            _ => &RSA_PSS_SHA384,
        };
        key.sign(padding, &SystemRandom::new(), message, &mut signature)
            .expect("the signature fits");
        signature
    }
}

/// What a token is made of.
pub(super) struct Order<'a> {
    pub(super) version: u8,
    pub(super) algorithm: &'a str,
    pub(super) signer: Signer,
    pub(super) issuer: &'a str,
    pub(super) now: Timestamp,
    pub(super) quote: &'a QuoteView<'a>,
    pub(super) runtime_data: &'a [u8],
    pub(super) verifier_nonce: Value,
    pub(super) matched: Vec<String>,
    pub(super) claims: &'a [Claim],
}

/// The token for an order.
pub(super) fn token(order: &Order<'_>) -> String {
    let header = header(order);
    let payload = payload(order);
    let covered = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let signature = signature(order, covered.as_bytes());
    format!("{covered}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn signature(order: &Order<'_>, covered: &[u8]) -> Vec<u8> {
    for claim in order.claims {
        match claim {
            Claim::Signature(bytes) => return bytes.clone(),
            Claim::Hmac => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &order.signer.public().n);
                return hmac::sign(&key, covered).as_ref().to_vec();
            }
            _ => {}
        }
    }
    order.signer.sign(order.algorithm, covered)
}

fn header(order: &Order<'_>) -> Value {
    let mut header = json!({
        "alg": order.algorithm,
        "kid": order.signer.key_id(),
        "jku": format!("{}/certs", order.issuer),
        "typ": "JWT",
    });
    for claim in order.claims {
        match claim {
            Claim::Header(name, value) => header[*name] = value.clone(),
            Claim::HeaderWithout(name) => {
                header.as_object_mut().expect("an object").remove(*name);
            }
            _ => {}
        }
    }
    header
}

fn payload(order: &Order<'_>) -> String {
    let (mut top, mut guest) = (top(order), guest(order));
    for claim in order.claims {
        match claim {
            Claim::Top(name, value) => drop(top.insert((*name).into(), value.clone())),
            Claim::TopWithout(name) => drop(top.remove(*name)),
            Claim::Guest(name, value) => drop(guest.insert((*name).into(), value.clone())),
            Claim::GuestWithout(name) => drop(guest.remove(*name)),
            Claim::Payload(text) => return text.clone(),
            _ => {}
        }
    }
    let misplaced = order
        .claims
        .iter()
        .any(|claim| matches!(claim, Claim::Misplaced));
    if (order.version == 1) == misplaced {
        top.insert("tdx".into(), Value::Object(guest));
    } else {
        top.extend(guest);
    }
    Value::Object(top).to_string()
}

fn top(order: &Order<'_>) -> Map<String, Value> {
    let now = order.now.as_secs();
    let matched = order.matched.iter();
    let matched: Vec<_> = matched
        .map(|id| json!({"id": id, "version": "v1", "hash": "aGFzaA=="}))
        .collect();
    object(json!({
        "iss": order.issuer,
        "iat": now,
        "nbf": now,
        "exp": now + TOKEN_LIFE.as_secs(),
        "jti": "8c1b3b2e-0000-4000-8000-000000000000",
        "ver": format!("{}.0.0", order.version),
        "eat_profile": format!("{}/eat_profile.html", order.issuer),
        "intuse": "generic",
        "policy_ids_matched": matched,
    }))
}

/// What the real one reads from the quote that it was shown.
fn guest(order: &Order<'_>) -> Map<String, Value> {
    let signed = order.quote.signed();
    // The body of version 5 has a header of its own.
    let body = &signed[if signed[0] == 4 { 48 } else { 54 }..];
    let hex = |from: usize, len: usize| hex::encode(&body[from..from + len]);
    let debug = body[120] & 1 != 0;
    let mut guest = object(json!({
        "attester_type": "TDX",
        "attester_tcb_status": "UpToDate",
        "attester_tcb_date": "2026-01-01T00:00:00Z",
        "attester_advisory_ids": [],
        "attester_held_data": STANDARD.encode(order.runtime_data),
        "dbgstat": if debug { "enabled" } else { "disabled" },
        "tdx_is_debuggable": debug,
        "tdx_mrseam": hex(16, 48),
        "tdx_mrtd": hex(136, 48),
        "tdx_mrconfigid": hex(184, 48),
        "tdx_rtmr0": hex(328, 48),
        "tdx_rtmr1": hex(376, 48),
        "tdx_rtmr2": hex(424, 48),
        "tdx_rtmr3": hex(472, 48),
        "tdx_report_data": hex(520, 64),
        "verifier_nonce": order.verifier_nonce,
    }));
    if order.version == 2 {
        guest.insert("tdx_is_migratable".into(), (body[123] & 0x20 != 0).into());
    }
    guest
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

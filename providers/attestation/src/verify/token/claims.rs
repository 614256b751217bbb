//! The claims of a token. Version 1 has those about the guest at the top, version 2 under `tdx`; a claim in the
//! wrong place counts as missing.

use easyenclave_schemas::Timestamp;
use easyenclave_schemas::documents::ItaVersion;
use easyenclave_schemas::evidence::{
    ItaNonce, MeasurementDigest, ReasonCode, Rejection, TcbStatus,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::jwt::Unique;

/// The last second that is believed: 9999-01-01. In the days after it not every date can be written any more.
const LAST_SECOND: i64 = 253_370_764_800;

/// Everything that a token says, before any of it is read.
pub(super) struct Said(Map<String, Value>);

/// What a token says of itself.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) iss: String,
    /// Seconds since 1970, as all its times.
    pub(super) exp: i64,
    pub(super) nbf: Option<i64>,
    pub(super) aud: Vec<String>,
}

/// What it says of the guest and its platform.
#[derive(Debug)]
pub(super) struct Claims {
    pub(super) attester_type: String,
    pub(super) dbgstat: String,
    pub(super) debuggable: bool,
    pub(super) migratable: bool,
    pub(super) report_data: [u8; 64],
    pub(super) held_data: Option<String>,
    pub(super) verifier_nonce: Option<Nonce>,
    pub(super) mrtd: MeasurementDigest,
    pub(super) rtmrs: [MeasurementDigest; 4],
    pub(super) mrseam: MeasurementDigest,
    pub(super) mrconfigid: MeasurementDigest,
    pub(super) advisory_ids: Vec<String>,
    pub(super) policies_matched: Vec<String>,
    status: String,
    date: Option<String>,
}

/// A nonce as a token repeats it.
#[derive(Debug, Deserialize)]
pub(super) struct Nonce {
    val: String,
    iat: String,
    signature: Option<String>,
}

impl Nonce {
    /// Whether it is this one. Only what it repeats can be compared, and the signature is no part of the binding.
    pub(super) fn is(&self, nonce: &ItaNonce) -> bool {
        let signature = self.signature.as_ref();
        self.val == nonce.val
            && self.iat == nonce.iat
            && signature.is_none_or(|signature| *signature == nonce.signature)
    }
}

impl Said {
    pub(super) fn read(payload: &[u8]) -> Result<Self, Rejection> {
        let read = serde_json::from_slice(payload);
        let Unique(top) = read.map_err(|_| missing("the token's claims"))?;
        Ok(Self(top))
    }

    pub(super) fn standing(&self) -> Result<Standing, Rejection> {
        let top = &self.0;
        let not_before = top.get("nbf").map(seconds);
        Ok(Standing {
            iss: text(top, "iss").map_err(|_| ReasonCode::ItaIssuerInvalid)?,
            exp: top
                .get("exp")
                .and_then(seconds)
                .ok_or(ReasonCode::ItaTokenExpired)?,
            // A time that is there and cannot be read is no reason to do without it.
            nbf: match not_before {
                Some(None) => return Err(ReasonCode::ItaTokenNotYetValid.into()),
                read => read.flatten(),
            },
            aud: audience(top),
        })
    }
}

impl Claims {
    pub(super) fn read(said: &Said, version: ItaVersion) -> Result<Self, Rejection> {
        let guest = guest(&said.0, version)?;
        let register = |name: &str| text(guest, name)?.parse().map_err(|_| missing(name));
        Ok(Self {
            attester_type: text(guest, "attester_type")?,
            dbgstat: text(guest, "dbgstat")?,
            debuggable: flag(guest, "tdx_is_debuggable"),
            migratable: flag(guest, "tdx_is_migratable"),
            report_data: report_data(&text(guest, "tdx_report_data")?)?,
            held_data: held_data(guest)?,
            verifier_nonce: nonce(guest),
            mrtd: text(guest, "tdx_mrtd")
                .ok()
                .and_then(|mrtd| mrtd.parse().ok())
                .ok_or(ReasonCode::MrtdMissing)?,
            rtmrs: [
                register("tdx_rtmr0")?,
                register("tdx_rtmr1")?,
                register("tdx_rtmr2")?,
                register("tdx_rtmr3")?,
            ],
            mrseam: register("tdx_mrseam")?,
            mrconfigid: register("tdx_mrconfigid")?,
            advisory_ids: texts(guest.get("attester_advisory_ids")),
            policies_matched: policies(&said.0),
            status: text(guest, "attester_tcb_status")?,
            date: text(guest, "attester_tcb_date").ok(),
        })
    }

    pub(super) fn tcb_status(&self) -> Result<TcbStatus, Rejection> {
        serde_json::from_value(Value::String(self.status.clone())).map_err(|_| {
            Rejection::new(
                ReasonCode::TcbUnacceptable,
                "the Trust Authority says that the platform is revoked, or nothing that is known",
            )
        })
    }

    /// The date of the platform's TCB level; long ago when the token does not say.
    pub(super) fn tcb_date(&self) -> Timestamp {
        let date = self.date.as_deref().and_then(|date| date.parse().ok());
        date.unwrap_or(Timestamp::from_millis(0))
    }
}

fn guest(top: &Map<String, Value>, version: ItaVersion) -> Result<&Map<String, Value>, Rejection> {
    let (expected, guest) = match version {
        ItaVersion::V1 => ("1.0.0", Some(top)),
        ItaVersion::V2 => ("2.0.0", top.get("tdx").and_then(Value::as_object)),
    };
    if text(top, "ver")? != expected {
        let message = format!("the token is not of version {expected}, which the policy names");
        return Err(Rejection::new(ReasonCode::AttesterRefused, message));
    }
    guest.ok_or_else(|| missing("tdx"))
}

fn text(claims: &Map<String, Value>, name: &str) -> Result<String, Rejection> {
    let value = claims.get(name).and_then(Value::as_str);
    value.map(str::to_owned).ok_or_else(|| missing(name))
}

/// A time that can be written down, in seconds. A day so late that it could not would end up in records that
/// nobody can read again.
fn seconds(value: &Value) -> Option<i64> {
    let seconds = value.as_i64()?;
    (0..=LAST_SECOND).contains(&seconds).then_some(seconds)
}

fn flag(claims: &Map<String, Value>, name: &str) -> bool {
    // Anything but a plain `false` counts as true; not being there does too little to be believed either way,
    // and `dbgstat` has to be there.
    !matches!(claims.get(name), None | Some(Value::Bool(false)))
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).map(Vec::as_slice);
    let texts = list.unwrap_or_default().iter().filter_map(Value::as_str);
    texts.take(100).map(str::to_owned).collect()
}

fn audience(top: &Map<String, Value>) -> Vec<String> {
    match top.get("aud") {
        Some(Value::String(one)) => vec![one.clone()],
        other => texts(other),
    }
}

fn policies(top: &Map<String, Value>) -> Vec<String> {
    let list = top.get("policy_ids_matched").and_then(Value::as_array);
    let ids = list.map(Vec::as_slice).unwrap_or_default().iter();
    ids.filter_map(|policy| policy.get("id")?.as_str().map(str::to_owned))
        .collect()
}

fn nonce(guest: &Map<String, Value>) -> Option<Nonce> {
    serde_json::from_value(guest.get("verifier_nonce")?.clone()).ok()
}

/// What the guest held beside its quote: our key, where the token says anything of it.
fn held_data(guest: &Map<String, Value>) -> Result<Option<String>, Rejection> {
    match guest.get("attester_held_data") {
        None | Some(Value::Null) => Ok(None),
        Some(_) => text(guest, "attester_held_data").map(Some),
    }
}

fn report_data(text: &str) -> Result<[u8; 64], Rejection> {
    let mut bytes = [0; 64];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| missing("tdx_report_data"))?;
    Ok(bytes)
}

fn missing(name: &str) -> Rejection {
    Rejection::new(
        ReasonCode::AttesterRefused,
        format!("the token lacks a readable claim {name}"),
    )
}

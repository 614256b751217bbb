//! The claims of a token. Version 1 has those about the guest at the top, version 2 under `tdx`; a claim in the
//! wrong place counts as missing.

use easyenclave_schemas::Timestamp;
use easyenclave_schemas::documents::ItaVersion;
use easyenclave_schemas::evidence::{
    ItaNonce, MeasurementDigest, ReasonCode, Rejection, TcbStatus,
};
use serde_json::{Map, Value};

/// The claims that a verdict rests on.
#[derive(Debug)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) exp: i64,
    pub(super) nbf: Option<i64>,
    pub(super) aud: Vec<String>,
    pub(super) attester_type: String,
    pub(super) dbgstat: String,
    pub(super) debuggable: bool,
    pub(super) migratable: bool,
    pub(super) report_data: [u8; 64],
    pub(super) verifier_nonce: Option<ItaNonce>,
    pub(super) mrtd: MeasurementDigest,
    pub(super) rtmrs: [MeasurementDigest; 4],
    pub(super) advisory_ids: Vec<String>,
    pub(super) policies_matched: Vec<String>,
    status: String,
    date: Option<String>,
}

impl Claims {
    pub(super) fn read(payload: &[u8], version: ItaVersion) -> Result<Self, Rejection> {
        let top: Map<String, Value> =
            serde_json::from_slice(payload).map_err(|_| missing("the token's claims"))?;
        let guest = guest(&top, version)?;
        let register = |name: &str| text(guest, name)?.parse().map_err(|_| missing(name));
        Ok(Self {
            iss: text(&top, "iss").map_err(|_| ReasonCode::ItaIssuerInvalid)?,
            exp: number(&top, "exp").ok_or(ReasonCode::ItaTokenExpired)?,
            nbf: number(&top, "nbf"),
            aud: audience(&top),
            attester_type: text(guest, "attester_type")?,
            dbgstat: text(guest, "dbgstat")?,
            debuggable: flag(guest, "tdx_is_debuggable"),
            migratable: flag(guest, "tdx_is_migratable"),
            report_data: report_data(&text(guest, "tdx_report_data")?)?,
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
            advisory_ids: texts(guest.get("attester_advisory_ids")),
            policies_matched: policies(&top),
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

fn number(claims: &Map<String, Value>, name: &str) -> Option<i64> {
    claims.get(name)?.as_i64()
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

fn nonce(guest: &Map<String, Value>) -> Option<ItaNonce> {
    serde_json::from_value(guest.get("verifier_nonce")?.clone()).ok()
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

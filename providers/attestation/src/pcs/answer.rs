//! Answers as bytes: signed documents are cut out byte for byte, because their signatures are over exactly those.

use serde::Deserialize;
use serde_json::value::RawValue;

/// The longest chain of issuers, in bytes; Intel's have two thousand.
const LONGEST_CHAIN: usize = 64 * 1024;

/// A signed document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signed {
    /// Exactly the bytes that are signed.
    pub(super) text: String,
    pub(super) signature: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TcbInfo<'a> {
    #[serde(borrow)]
    tcb_info: &'a RawValue,
    signature: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'a> {
    #[serde(borrow)]
    enclave_identity: &'a RawValue,
    signature: String,
}

/// TCB levels with their signature.
///
/// # Errors
/// In words, when it is something else.
pub(super) fn tcb_info(body: &[u8]) -> Result<Signed, String> {
    let answer: TcbInfo<'_> =
        serde_json::from_slice(body).map_err(|_| "its TCB information cannot be read")?;
    signed(answer.tcb_info, &answer.signature)
}

/// The quoting enclave's identity with its signature.
///
/// # Errors
/// As [`tcb_info`].
pub(super) fn qe_identity(body: &[u8]) -> Result<Signed, String> {
    let answer: Identity<'_> = serde_json::from_slice(body)
        .map_err(|_| "its identity of the quoting enclave cannot be read")?;
    signed(answer.enclave_identity, &answer.signature)
}

fn signed(document: &RawValue, signature: &str) -> Result<Signed, String> {
    Ok(Signed {
        text: document.get().to_owned(),
        signature: hex::decode(signature).map_err(|_| "a signature is not hexadecimal")?,
    })
}

/// A revocation list: DER, or DER in hexadecimal as caches have it, or PEM. What is around the text does not matter.
///
/// # Errors
/// As [`tcb_info`].
pub(super) fn crl(body: &[u8]) -> Result<Vec<u8>, String> {
    const UNREADABLE: &str = "a revocation list is neither DER nor hexadecimal";
    // A sequence, which no text begins like: '0' alone is the same byte, and a list is longer than a digit.
    if body.first() == Some(&0x30) && body.get(1).is_some_and(|byte| byte & 0x80 != 0) {
        return Ok(body.to_vec());
    }
    let text = str::from_utf8(body).map_err(|_| UNREADABLE)?.trim();
    if text.starts_with("-----BEGIN") {
        let list = pem::parse(text).map_err(|_| UNREADABLE)?;
        return Ok(list.into_contents());
    }
    hex::decode(text).map_err(|_| UNREADABLE.into())
}

/// A chain of issuers from a header: PEM, encoded as in an address. A plus sign is a plus sign.
///
/// # Errors
/// As [`tcb_info`].
pub(super) fn chain(header: &str) -> Result<String, String> {
    const UNREADABLE: &str = "a chain of issuers cannot be read";
    if header.len() > LONGEST_CHAIN {
        return Err(UNREADABLE.into());
    }
    let mut bytes = Vec::with_capacity(header.len());
    let mut rest = header.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let digits = rest.get(..2).ok_or(UNREADABLE)?;
        let mut decoded = [0];
        hex::decode_to_slice(digits, &mut decoded).map_err(|_| UNREADABLE)?;
        bytes.extend(decoded);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| UNREADABLE.into())
}

#[cfg(test)]
mod tests {
    use super::{Signed, chain, crl, qe_identity, tcb_info};

    #[test]
    fn documents_are_cut_out_byte_for_byte() {
        let body = br#" {"signature":"0aff", "tcbInfo": {"z":1,  "a":[ 1.0,"\u00e9"]} }"#;
        let expected = Signed {
            text: r#"{"z":1,  "a":[ 1.0,"\u00e9"]}"#.into(),
            signature: vec![0x0a, 0xff],
        };
        assert_eq!(tcb_info(body), Ok(expected));
        for bad in [
            "",
            "[]",
            "{}",
            "null",
            r#"{"tcbInfo":{},"signature":"xy"}"#,
            r#"{"tcbInfo":{}}"#,
            r#"{"enclaveIdentity":{},"signature":""}"#,
        ] {
            assert!(tcb_info(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(qe_identity(br#"{"enclaveIdentity":{},"signature":""}"#).is_ok());
    }

    #[test]
    fn revocation_lists_come_as_der_hexadecimal_or_pem() {
        let der = [0x30, 0x82, 0x01, 0x00];
        assert_eq!(crl(&der), Ok(der.to_vec()));
        for text in ["30820100", "30820100\n", " 30820100\r\n"] {
            assert_eq!(crl(text.as_bytes()), Ok(der.to_vec()), "{text:?}");
        }
        let pem = "-----BEGIN X509 CRL-----\nMIIBAA==\n-----END X509 CRL-----\n";
        assert_eq!(crl(pem.as_bytes()), Ok(der.to_vec()));
        for bad in ["<html>", "3082010", "-----BEGIN", "\u{e9}"] {
            assert!(crl(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn issuers_come_as_in_an_address() {
        assert_eq!(
            chain("-----BEGIN%20CERTIFICATE-----%0AMII+%2F%3D"),
            Ok("-----BEGIN CERTIFICATE-----\nMII+/=".into())
        );
        for bad in ["%", "%4", "%zz", "%ff"] {
            assert!(chain(bad).is_err(), "{bad}");
        }
        assert!(chain(&"a".repeat(65 * 1024)).is_err());
    }
}

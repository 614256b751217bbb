//! What an agent shows to be trusted, and what verification says about it: evidence, verdicts, rejections,
//! reason codes. Formats only: nothing here checks a signature, and no verdict names a single machine
//! (no PPID, no platform instance id, no QE id).

mod reasons;

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Digest, Timestamp};

pub use reasons::ReasonCode;

/// What an agent sends to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// The quote, as the platform gave it; a zero-padded tail is allowed.
    pub quote: QuoteBytes,
}

/// The bytes of a quote, written as standard base64. At most [`QuoteBytes::MAX`] bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct QuoteBytes(Vec<u8>);

/// A quote that is longer than any platform makes them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("quote: expected at most {max} bytes, found {found}", max = QuoteBytes::MAX)]
pub struct QuoteTooLong {
    /// The number of bytes found.
    pub found: usize,
}

impl QuoteBytes {
    /// The longest quote accepted, in bytes: what the kernel's report interface can hand out.
    pub const MAX: usize = 32 * 1024;

    /// Wraps the bytes of a quote.
    ///
    /// # Errors
    /// When there are more than [`Self::MAX`] of them.
    pub fn new(bytes: Vec<u8>) -> Result<Self, QuoteTooLong> {
        if bytes.len() > Self::MAX {
            Err(QuoteTooLong { found: bytes.len() })
        } else {
            Ok(Self(bytes))
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A quote holds identifiers that are unique to a machine, so formatting shows its length only.
impl fmt::Debug for QuoteBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QuoteBytes({} bytes)", self.0.len())
    }
}

impl Serialize for QuoteBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for QuoteBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bound = Self::MAX.div_ceil(3) * 4;
        if text.len() > bound {
            return Err(serde::de::Error::custom(QuoteTooLong {
                found: text.len() / 4 * 3,
            }));
        }
        let bytes = STANDARD
            .decode(&text)
            .map_err(|_| serde::de::Error::custom("quote: expected standard base64"))?;
        Self::new(bytes).map_err(serde::de::Error::custom)
    }
}

macro_rules! hex_bytes {
    ($(#[$doc:meta])* $type:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type([u8; $len]);

        impl $type {
            /// Wraps the raw bytes.
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = HexError;

            fn from_str(text: &str) -> Result<Self, HexError> {
                let mut bytes = [0; $len];
                let digits = 2 * $len;
                hex::decode_to_slice(text, &mut bytes).map_err(|_| HexError { digits })?;
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($type))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// A text that is not the expected number of hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {digits} hex digits")]
pub struct HexError {
    digits: usize,
}

hex_bytes! {
    /// A measurement register (MRTD, RTMR, MRSEAM, MRCONFIGID), written as 96 hex digits.
    MeasurementDigest, 48
}

hex_bytes! {
    /// Which root vouches for a platform: SHA-384 of the root's raw public key, written as 96 hex digits.
    RootKeyId, 48
}

hex_bytes! {
    /// The type of a platform, shared by all machines of that type; written as 12 hex digits.
    Fmspc, 6
}

impl RootKeyId {
    /// The key of Intel's production root.
    pub const INTEL: Self = Self([
        0x46, 0xe4, 0x03, 0xbd, 0x34, 0xf0, 0x5a, 0x3f, 0x28, 0x17, 0xab, 0x9b, 0xad, 0xca, 0xac,
        0xc7, 0xff, 0xc9, 0x8e, 0x0f, 0x26, 0x10, 0x08, 0xcd, 0x30, 0xda, 0xe9, 0x36, 0xca, 0xce,
        0x18, 0xd5, 0xdc, 0xf5, 0x8e, 0xef, 0x31, 0x46, 0x36, 0x13, 0xde, 0x15, 0x70, 0xd5, 0x16,
        0x20, 0x09, 0x93,
    ]);

    /// Whether evidence under this root is simulated: every root but Intel's is.
    pub fn is_simulated(&self) -> bool {
        *self != Self::INTEL
    }
}

/// How current a platform's trusted computing base is, in Intel's words. `Revoked` is missing on
/// purpose: such a platform is always refused, so no verdict can carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TcbStatus {
    /// Nothing is owed.
    UpToDate,
    /// Software in the guest has to mitigate.
    SWHardeningNeeded,
    /// A setting of the host's firmware has to change.
    ConfigurationNeeded,
    /// Both a setting of the host and mitigation in the guest.
    ConfigurationAndSWHardeningNeeded,
    /// Firmware, microcode, TDX module or quoting enclave is too old.
    OutOfDate,
    /// Too old, and a setting of the host has to change.
    OutOfDateConfigurationNeeded,
    /// The machine is current again, but this guest was launched before; launching it again helps.
    TDRelaunchAdvised,
    /// Launching again helps, and a setting of the host has to change.
    TDRelaunchAdvisedConfigurationNeeded,
}

impl fmt::Display for TcbStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Accepted evidence: what was seen, under which root and policy, and until when it counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// When verification took place, by the verifier's clock.
    pub accepted_at: Timestamp,
    /// The first moment at which the verdict no longer counts.
    pub trusted_until: Timestamp,
    /// The root that vouches for the platform.
    pub trust_root: RootKeyId,
    /// Whether the platform is a simulated one. Derived from the verified root, never from the evidence.
    pub simulated: bool,
    /// How current the platform is.
    pub tcb_status: TcbStatus,
    /// Intel's advisories that apply to the platform.
    pub advisory_ids: Vec<String>,
    /// The measurement of the initial image.
    pub mrtd: MeasurementDigest,
    /// The runtime measurement registers 0 to 3.
    pub rtmrs: [MeasurementDigest; 4],
    /// The measurement of the TDX module.
    pub mrseam: MeasurementDigest,
    /// What the launcher said the machine is for.
    pub mrconfigid: MeasurementDigest,
    /// The type of the platform.
    pub fmspc: Fmspc,
    /// The policy that was applied.
    pub policy_digest: Digest,
    /// The quote without its padding.
    pub evidence_digest: Digest,
    /// The collateral that was used.
    pub collateral_digest: Digest,
    /// What was let pass although it is not as it should be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<ReasonCode>,
}

/// Refused evidence or a refused message: a stable code, and a sentence that is safe to show to the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// The stable code.
    pub code: ReasonCode,
    /// What was wrong, without internals.
    pub message: String,
}

impl Rejection {
    /// A rejection with a message of its own.
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// A rejection that has nothing to add to its code's cause.
impl From<ReasonCode> for Rejection {
    fn from(code: ReasonCode) -> Self {
        Self::new(code, code.cause())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_travels_as_base64() {
        let quote = QuoteBytes::new(vec![0, 1, 254, 255]).expect("short");
        let text = serde_json::to_string(&Evidence {
            quote: quote.clone(),
        })
        .expect("writes");
        assert_eq!(text, r#"{"quote":"AAH+/w=="}"#);
        let read: Evidence = serde_json::from_str(&text).expect("reads");
        assert_eq!(read.quote, quote);
        assert_eq!(format!("{quote:?}"), "QuoteBytes(4 bytes)");
    }

    #[test]
    fn a_quote_has_a_greatest_length() {
        let longest = QuoteBytes::new(vec![7; QuoteBytes::MAX]).expect("just fits");
        let text = serde_json::to_string(&longest).expect("writes");
        assert_eq!(
            serde_json::from_str::<QuoteBytes>(&text).expect("reads"),
            longest
        );
        for extra in [1, 2, 3, 100_000] {
            let text = format!("{:?}", STANDARD.encode(vec![7; QuoteBytes::MAX + extra]));
            let error = serde_json::from_str::<QuoteBytes>(&text).expect_err("too long");
            assert!(error.to_string().contains("at most 32768 bytes"), "{error}");
        }
        assert!(serde_json::from_str::<QuoteBytes>(r#""not base64!""#).is_err());
    }

    #[test]
    fn hex_fields_have_one_length() {
        let text = "ab".repeat(48);
        let digest: MeasurementDigest = text.parse().expect("96 digits");
        assert_eq!(digest.to_string(), text);
        let error = "ab".parse::<MeasurementDigest>().expect_err("too short");
        assert_eq!(error.to_string(), "expected 96 hex digits");
        assert_eq!(
            "00906ED50000"
                .parse::<Fmspc>()
                .expect("12 digits")
                .to_string(),
            "00906ed50000"
        );
    }

    #[test]
    fn only_intels_root_is_not_simulated() {
        assert!(!RootKeyId::INTEL.is_simulated());
        assert!(RootKeyId::new([0; 48]).is_simulated());
    }

    #[test]
    fn every_code_is_its_own_and_reads_back() {
        for (index, reason) in ReasonCode::ALL.iter().enumerate() {
            assert_eq!(ReasonCode::from_code(reason.code()), Some(*reason));
            let text = serde_json::to_string(reason).expect("writes");
            assert_eq!(
                serde_json::from_str::<ReasonCode>(&text).expect("reads"),
                *reason
            );
            assert!(
                ReasonCode::ALL[index + 1..]
                    .iter()
                    .all(|other| other.code() != reason.code())
            );
            assert!(!reason.cause().is_empty() && !reason.next_step().is_empty());
            assert_eq!(reason.is_warning(), reason.code().starts_with("EE-ATT-W"));
        }
        assert_eq!(ReasonCode::from_code("EE-ATT-999"), None);
    }

    #[test]
    fn the_codes_of_the_contract_keep_their_numbers() {
        let numbered: Vec<_> = ReasonCode::ALL
            .iter()
            .take(19)
            .map(|reason| reason.code())
            .collect();
        let expected: Vec<_> = (1..=19).map(|n| format!("EE-ATT-{n:03}")).collect();
        assert_eq!(numbered, expected);
        assert_eq!(ReasonCode::NonceReplayed.code(), "EE-ATT-004");
        assert_eq!(ReasonCode::TcbUnacceptable.code(), "EE-ATT-015");
        assert_eq!(ReasonCode::Superseded.code(), "EE-ATT-035");
    }

    #[test]
    fn a_rejection_shows_code_and_sentence() {
        let rejection = Rejection::from(ReasonCode::NonceExpired);
        assert_eq!(rejection.to_string(), "EE-ATT-003: the nonce has expired");
    }
}

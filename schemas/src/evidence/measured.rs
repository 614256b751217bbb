//! Fixed numbers of bytes that identify an image, a root or a type of platform, written as hex.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

#[cfg(test)]
mod tests {
    use super::*;

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
}

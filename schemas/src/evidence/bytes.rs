//! Bytes of evidence, bounded, written as standard base64. They may identify a machine, so formatting
//! shows their length only.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A quote: at most what the kernel's report interface can hand out.
pub type QuoteBytes = Bounded<{ 32 * 1024 }>;

/// A machine's event log without its unused tail: at most the area that firmware keeps for it.
pub type EventLogBytes = Bounded<{ 256 * 1024 }>;

/// A token of Intel Trust Authority, as its text.
pub type TokenBytes = Bounded<{ 32 * 1024 }>;

/// At most `MAX` bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Bounded<const MAX: usize>(Vec<u8>);

/// More bytes than any platform makes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected at most {max} bytes, found {found}")]
pub struct TooLong {
    /// The greatest number allowed.
    pub max: usize,
    /// The number of bytes found.
    pub found: usize,
}

impl<const MAX: usize> Bounded<MAX> {
    /// The greatest number of bytes.
    pub const MAX: usize = MAX;

    /// Wraps bytes.
    ///
    /// # Errors
    /// When there are more than [`Self::MAX`] of them.
    pub fn new(bytes: Vec<u8>) -> Result<Self, TooLong> {
        let found = bytes.len();
        if found > MAX {
            Err(TooLong { max: MAX, found })
        } else {
            Ok(Self(bytes))
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<const MAX: usize> fmt::Debug for Bounded<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

impl<const MAX: usize> Serialize for Bounded<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Bounded<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() > MAX.div_ceil(3) * 4 {
            return Err(serde::de::Error::custom(TooLong {
                max: MAX,
                found: text.len() / 4 * 3,
            }));
        }
        let bytes = STANDARD
            .decode(&text)
            .map_err(|_| serde::de::Error::custom("expected standard base64"))?;
        Self::new(bytes).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_travel_as_base64() {
        let quote = QuoteBytes::new(vec![0, 1, 254, 255]).expect("short");
        let text = serde_json::to_string(&quote).expect("writes");
        assert_eq!(text, r#""AAH+/w==""#);
        let read: QuoteBytes = serde_json::from_str(&text).expect("reads");
        assert_eq!(read, quote);
        assert_eq!(format!("{quote:?}"), "(4 bytes)");
    }

    #[test]
    fn there_is_a_greatest_length() {
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
}

//! Money, exactly: what a machine costs is added up, and a sum of rounded numbers would not be the sum.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// US dollars in whole millionths, written as `0.04` or `12`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MicroUsd(u64);

/// A text that is not a sum of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected US dollars such as 0.04 or 12, found {0:?}")]
pub struct MicroUsdError(String);

/// Millionths in a dollar.
const DOLLAR: u64 = 1_000_000;

/// The longest whole part, in digits.
const WHOLE: usize = 6;

/// The longest fraction, in digits.
const FRACTION: usize = 4;

impl MicroUsd {
    /// From millionths of a dollar.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Millionths of a dollar.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The sum; no more than the greatest one that can be written down.
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// So many times this; no more than the greatest one that can be written down.
    pub fn times(self, count: u32) -> Self {
        Self(self.0.saturating_mul(u64::from(count)))
    }
}

impl FromStr for MicroUsd {
    type Err = MicroUsdError;

    fn from_str(text: &str) -> Result<Self, MicroUsdError> {
        read(text).ok_or_else(|| MicroUsdError(text.chars().take(40).collect()))
    }
}

fn read(text: &str) -> Option<MicroUsd> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, digits(fraction, FRACTION)?),
        None => (text, ""),
    };
    let whole: u64 = digits(whole, WHOLE)?.parse().ok()?;
    let micros: u64 = format!("{fraction:0<6}").parse().ok()?;
    Some(MicroUsd(whole * DOLLAR + micros))
}

/// One to `most` digits.
fn digits(text: &str, most: usize) -> Option<&str> {
    let fits = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    fits.then_some(text)
}

impl fmt::Display for MicroUsd {
    /// At least the cents, and no digit that says nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!("{:06}", self.0 % DOLLAR);
        let (cents, rest) = fraction.split_at(2);
        write!(
            f,
            "{}.{cents}{}",
            self.0 / DOLLAR,
            rest.trim_end_matches('0')
        )
    }
}

impl Serialize for MicroUsd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MicroUsd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "documents")]
impl schemars::JsonSchema for MicroUsd {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MicroUsd".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": r"^[0-9]{1,6}(\.[0-9]{1,4})?$",
            "description": "US dollars such as \"0.04\" or \"12\""
        })
    }
}

#[cfg(test)]
mod tests {
    use super::MicroUsd;

    #[test]
    fn money_is_exact_and_reads_back() {
        let price: MicroUsd = "0.0425".parse().expect("money");
        assert_eq!(price.as_micros(), 42_500);
        assert_eq!(price.times(1000).to_string(), "42.50");
        assert_eq!(price.plus(price).to_string(), "0.085");
        for (text, shown) in [
            ("12", "12.00"),
            ("0.5", "0.50"),
            ("999999.9999", "999999.9999"),
        ] {
            let money: MicroUsd = text.parse().expect(text);
            assert_eq!(money.to_string(), shown);
            assert_eq!(shown.parse(), Ok(money));
        }
        assert_eq!(
            MicroUsd::from_micros(u64::MAX).times(2).as_micros(),
            u64::MAX
        );
    }

    #[test]
    fn what_is_no_money_is_refused() {
        for wrong in [
            "", ".", "1.", ".5", "-1", "+1", "1e3", "1.23456", "1234567", "1 ", "$1",
        ] {
            assert!(wrong.parse::<MicroUsd>().is_err(), "{wrong:?}");
        }
    }
}

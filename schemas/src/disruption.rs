//! Words of how agents are taken away on purpose, shared by documents and planner: for what, how many, on which days.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Timestamp;

/// For what an agent is taken away on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum DisruptionReason {
    /// It is one too many.
    Surplus,
    /// Its target has another size or place by now.
    Drift,
    /// Its evidence is refused.
    Refused,
}

/// How many of several: a number, or percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Share {
    /// So many.
    Count(u32),
    /// So many of a hundred.
    Percent(u32),
}

/// The greatest count.
const MOST: u32 = 100_000;

impl Share {
    /// How many of these that is: percent are rounded down, and are one at least unless they are none.
    pub fn of(self, all: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(0) => 0,
            Self::Percent(percent) => {
                let share = u64::from(all) * u64::from(percent) / 100;
                u32::try_from(share).unwrap_or(u32::MAX).max(1)
            }
        }
    }
}

/// A text that is no share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a whole number up to 100000 or percent such as 10%, found {0:?}")]
pub struct ShareError(String);

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let read = || match text.strip_suffix('%') {
            Some(percent) => Some(Self::Percent(number(percent, 100)?)),
            None => Some(Self::Count(number(text, MOST)?)),
        };
        read().ok_or_else(|| ShareError(text.chars().take(40).collect()))
    }
}

/// Without signs and leading zeros.
fn number(text: &str, most: u32) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number <= most && number.to_string() == text).then_some(number)
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrText;
        impl Visitor<'_> for NumberOrText {
            type Value = Share;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number or percent such as 10%")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Share, E> {
                count.to_string().parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, count: i64) -> Result<Share, E> {
                count.to_string().parse().map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Share, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(NumberOrText)
    }
}

#[cfg(feature = "documents")]
impl schemars::JsonSchema for Share {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["integer", "string"],
            "minimum": 0,
            "maximum": MOST,
            "pattern": "^(100|[1-9]?[0-9])%$"
        })
    }
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "documents", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// A day in milliseconds.
const DAY: i64 = 24 * 3600 * 1000;

impl Weekday {
    /// All days, from Monday.
    pub const ALL: [Self; 7] = [
        Self::Mon,
        Self::Tue,
        Self::Wed,
        Self::Thu,
        Self::Fri,
        Self::Sat,
        Self::Sun,
    ];

    /// The day in UTC.
    pub fn of(at: Timestamp) -> Self {
        // The first of January 1970 was a Thursday.
        let days = at.as_millis().div_euclid(DAY) + 3;
        let day = usize::try_from(days.rem_euclid(7)).unwrap_or_default();
        Self::ALL[day]
    }
}

/// A time of day in UTC, to the minute, written as `22:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay {
    minutes: u16,
}

/// A text that is no time of day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a time of day such as 22:00, found {0:?}")]
pub struct TimeOfDayError(String);

impl TimeOfDay {
    /// This time on the day, in UTC, of another.
    pub fn on_day_of(self, at: Timestamp) -> Timestamp {
        let midnight = at.as_millis().div_euclid(DAY) * DAY;
        Timestamp::from_millis(midnight + i64::from(self.minutes) * 60_000)
    }
}

impl FromStr for TimeOfDay {
    type Err = TimeOfDayError;

    fn from_str(text: &str) -> Result<Self, TimeOfDayError> {
        let part = |part: &str, below: u16| {
            let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            let number: u16 = part.parse().ok()?;
            (digits && number < below).then_some(number)
        };
        let read = || {
            let (hours, minutes) = text.split_once(':')?;
            let minutes = part(hours, 24)? * 60 + part(minutes, 60)?;
            Some(Self { minutes })
        };
        read().ok_or_else(|| TimeOfDayError(text.chars().take(40).collect()))
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

impl Serialize for TimeOfDay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(feature = "documents")]
impl schemars::JsonSchema for TimeOfDay {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TimeOfDay".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_are_rounded_down_and_one_at_least_unless_they_are_none() {
        let of = |text: &str, all| text.parse::<Share>().expect(text).of(all);
        assert_eq!([of("10%", 9), of("10%", 10), of("10%", 29)], [1, 1, 2]);
        assert_eq!([of("0%", 100), of("0", 100), of("3", 1)], [0, 0, 3]);
        assert_eq!(of("100%", u32::MAX), u32::MAX);
    }

    #[test]
    fn shares_read_back_as_written() {
        for (json, share) in [("3", Share::Count(3)), ("\"10%\"", Share::Percent(10))] {
            assert_eq!(serde_json::from_str::<Share>(json).expect(json), share);
            assert_eq!(serde_json::to_string(&share).expect("plain"), json);
        }
        for wrong in [
            "-1", "100001", "1.5", "\"101%\"", "\"1 %\"", "\"\"", "\"%\"", "true",
        ] {
            assert!(serde_json::from_str::<Share>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn days_and_times_are_those_of_utc() {
        let at = |text: &str| text.parse::<Timestamp>().expect(text);
        assert_eq!(Weekday::of(at("2026-01-01T00:00:00Z")), Weekday::Thu);
        assert_eq!(Weekday::of(at("2026-01-04T23:59:59Z")), Weekday::Sun);
        assert_eq!(Weekday::of(at("1969-12-31T12:00:00Z")), Weekday::Wed);
        let ten: TimeOfDay = "22:05".parse().expect("a time");
        let day = at("2026-02-28T23:00:00Z");
        assert_eq!(ten.on_day_of(day), at("2026-02-28T22:05:00Z"));
        assert_eq!(ten.to_string(), "22:05");
        for wrong in ["24:00", "7:00", "07:60", "0700", "+7:00", ""] {
            assert!(wrong.parse::<TimeOfDay>().is_err(), "{wrong}");
        }
    }
}

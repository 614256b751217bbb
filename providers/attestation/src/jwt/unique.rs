//! Claims read so that a name that comes twice is an error: two readers of one token must never see two values.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// An object whose names come once each, and those of the guest's claims in it.
#[derive(Debug)]
pub struct Unique(pub Map<String, Value>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Names).map(Self)
    }
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut claims: A) -> Result<Self::Value, A::Error> {
        let mut read = Map::new();
        while let Some(name) = claims.next_key::<String>()? {
            // The guest's claims are an object of their own in version 2.
            let value = match name.as_str() {
                "tdx" => claims.next_value::<Inner>()?.0,
                _ => claims.next_value()?,
            };
            if read.insert(name, value).is_some() {
                return Err(A::Error::custom("a claim comes twice"));
            }
        }
        Ok(read)
    }
}

/// The object of the guest's claims. Anything else there makes the token unreadable.
struct Inner(Value);

impl<'de> Deserialize<'de> for Inner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Unique(inner) = Unique::deserialize(deserializer)?;
        Ok(Self(Value::Object(inner)))
    }
}

#[cfg(test)]
mod tests {
    use super::Unique;

    #[test]
    fn a_name_comes_once() {
        let read = |text: &str| serde_json::from_str::<Unique>(text).map(|claims| claims.0.len());
        assert_eq!(read(r#"{"a": 1, "tdx": {"a": 2, "b": {}}}"#).ok(), Some(2));
        for twice in [
            r#"{"a": 1, "a": 1}"#,
            r#"{"a": 1, "\u0061": 2}"#,
            r#"{"tdx": {"a": 1, "a": 2}}"#,
            r#"{"tdx": {}, "tdx": {}}"#,
            r#"{"tdx": []}"#,
            "[]",
        ] {
            assert!(read(twice).is_err(), "{twice}");
        }
        // However deep objects lie in one another, reading ends.
        let deep = format!("{}1{}", r#"{"tdx":"#.repeat(5000), "}".repeat(5000));
        assert!(read(&deep).is_err());
    }
}

//! Clouds, and host names: words that people know from elsewhere, each read into the one form that is compared.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Datacenter;
use crate::token::one_word;

/// A cloud, such as `gcp` or `baremetal`: the beginning of the name of a datacenter. Words of before are read as the one
/// word of today, so `google` is `gcp`, and `on-prem` is `baremetal`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cloud(String);

/// A text that is no cloud.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a cloud such as gcp or baremetal, in a-z and 0-9")]
pub struct CloudError;

/// Words for clouds that have a `-` in them, which ends the cloud elsewhere.
const LONG: [&str; 3] = ["bare-metal", "on-prem", "self-hosted"];

impl Cloud {
    /// Reads a cloud.
    ///
    /// # Errors
    /// When the text is neither such a word nor letters and digits alone: the names of datacenters begin with a cloud and `-`.
    pub fn new(text: impl Into<String>) -> Result<Self, CloudError> {
        let text = text.into();
        let word = one_word(&text);
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let fits = !word.is_empty() && word.len() <= Datacenter::MAX && word.bytes().all(is_plain);
        fits.then(|| Self(word.to_owned())).ok_or(CloudError)
    }

    /// The cloud that a datacenter is in: the whole name, or what stands before the first `-`.
    pub fn of(datacenter: &Datacenter) -> Self {
        let name = datacenter.as_str();
        let is_it = |word: &str| {
            name.strip_prefix(word)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        let long = LONG.into_iter().find(|word| is_it(word));
        let first = name.split('-').next().unwrap_or_default();
        Self(one_word(long.unwrap_or(first)).to_owned())
    }

    /// The one word for it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A host's name, at least two DNS labels in lower case: `app.example.com`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(String);

/// A text that is no host's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a host's name such as app.example.com, in lower case and at most 253 bytes")]
pub struct HostnameError;

impl Hostname {
    /// The longest name, in bytes.
    pub const MAX: usize = 253;

    /// Reads a host's name.
    ///
    /// # Errors
    /// When the text is not two or more DNS labels of at most 63 bytes.
    pub fn new(text: impl Into<String>) -> Result<Self, HostnameError> {
        let text = text.into();
        let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let is_label = |label: &str| {
            let bytes = label.as_bytes();
            bytes.len() <= 63
                && bytes.first().is_some_and(edge)
                && bytes.last().is_some_and(edge)
                && bytes.iter().all(|b| edge(b) || *b == b'-')
        };
        let fits = text.len() <= Self::MAX && text.contains('.') && text.split('.').all(is_label);
        fits.then_some(Self(text)).ok_or(HostnameError)
    }

    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a zone's own name or a name below it.
    pub fn is_within(&self, zone: &Self) -> bool {
        let above = self.0.strip_suffix(&zone.0);
        above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
    }
}

macro_rules! text {
    ($type:ident, $error:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                Self::new(text)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }
    };
}

text!(Cloud, CloudError);
text!(Hostname, HostnameError);

#[cfg(feature = "documents")]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::{Cloud, Hostname};
    use crate::Datacenter;

    impl JsonSchema for Cloud {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> Cow<'static, str> {
            "Cloud".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "type": "string",
                "maxLength": Datacenter::MAX,
                "pattern": "^([a-z0-9]+|bare-metal|on-prem|self-hosted)$"
            })
        }
    }

    impl JsonSchema for Hostname {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> Cow<'static, str> {
            "Hostname".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "type": "string",
                "maxLength": Self::MAX,
                "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$"
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cloud_has_one_word() {
        let of = |name: &str| Cloud::of(&Datacenter::new(name).expect(name)).to_string();
        for (datacenter, cloud) in [
            ("gcp-us-central1-a", "gcp"),
            ("local", "local"),
            ("bare-metal-fra-1", "baremetal"),
            ("bare-metals-1", "bare"),
            ("onprem", "baremetal"),
            ("google-a", "gcp"),
        ] {
            assert_eq!(of(datacenter), cloud, "{datacenter}");
        }
        for (text, cloud) in [
            ("google", "gcp"),
            ("self-hosted", "baremetal"),
            ("gcp", "gcp"),
        ] {
            assert_eq!(Cloud::new(text).expect(text).as_str(), cloud);
        }
        for wrong in ["", "gcp:a", "gcp-a", "Gcp"] {
            assert!(Cloud::new(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn host_names_are_labels_below_a_zone() {
        let zone = Hostname::new("example.com").expect("a name");
        let inside = |text: &str| Hostname::new(text).expect(text).is_within(&zone);
        assert!(inside("example.com") && inside("app.example.com") && inside("a.b.example.com"));
        assert!(!inside("badexample.com") && !inside("example.com.evil.org"));
        let long = format!("{}.com", "a".repeat(64));
        for wrong in [
            "",
            "com",
            "App.example.com",
            "a..b",
            ".a.b",
            "a.b.",
            "-a.b",
            "*.a.b",
            "a_b.c",
            &long,
        ] {
            assert!(Hostname::new(wrong).is_err(), "{wrong:?}");
        }
    }
}

//! Ids of Cloudflare's: they come in answers and go into paths, so they are letters, digits and `-` and nothing else.

use std::fmt;

use serde::Deserialize;

/// The longest id, in bytes: a UUID has 36.
const LONGEST: usize = 64;

/// An id of an account, a zone, a tunnel or a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Id(String);

impl Id {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Id {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let fits = !text.is_empty() && text.len() <= LONGEST && plain;
        fits.then_some(Self(text)).ok_or("it is not an id")
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Id;

    #[test]
    fn an_id_leads_nowhere_else_in_a_path() {
        assert!(Id::try_from("f70ff985-a4ef-4643-bbbc-4a0ed4fc8415".to_owned()).is_ok());
        for wrong in ["", "a/b", "..", "a?b", "a%2fb", "a b", "é", &"a".repeat(65)] {
            assert!(Id::try_from(wrong.to_owned()).is_err(), "{wrong:?}");
        }
    }
}

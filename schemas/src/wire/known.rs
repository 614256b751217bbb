//! Words that a later version of the other side may say: what is not known is left out, and the rest is read.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// One word, or none where it is not known.
pub(crate) fn one<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    from: D,
) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(from)?).ok())
}

/// Those words of a list that are known.
pub(crate) fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    let words = Vec::<Value>::deserialize(from)?.into_iter();
    Ok(words
        .filter_map(|word| serde_json::from_value(word).ok())
        .collect())
}

/// The same of a list that may be left out.
pub(crate) fn some_list<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    from: D,
) -> Result<Option<Vec<T>>, D::Error> {
    list(from).map(Some)
}

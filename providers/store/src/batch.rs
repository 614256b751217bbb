//! A batch: expectations and writes that hold together.

use crate::Space;

/// Writes that are applied together, guarded by expectations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    pub(crate) expects: Vec<(Space, String, Expect)>,
    pub(crate) writes: Vec<(Space, String, Option<Vec<u8>>)>,
}

/// What a key must hold for a batch to be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// No value.
    Absent,
    /// Exactly this value.
    Value(Vec<u8>),
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key.
    pub fn put(&mut self, space: Space, key: impl Into<String>, value: Vec<u8>) -> &mut Self {
        self.writes.push((space, key.into(), Some(value)));
        self
    }

    /// Removes a key; removing what is absent is no error.
    pub fn delete(&mut self, space: Space, key: impl Into<String>) -> &mut Self {
        self.writes.push((space, key.into(), None));
        self
    }

    /// Guards the batch.
    pub fn expect(&mut self, space: Space, key: impl Into<String>, expect: Expect) -> &mut Self {
        self.expects.push((space, key.into(), expect));
        self
    }

    /// What it writes: space, key, and the value, or none where the key is removed.
    pub fn writes(&self) -> impl Iterator<Item = (Space, &str, Option<&[u8]>)> {
        let writes = self.writes.iter();
        writes.map(|(space, key, value)| (*space, key.as_str(), value.as_deref()))
    }

    /// Whether nothing would be written.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

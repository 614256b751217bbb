//! What can go wrong with a request, as values. Each is met by one request.

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// A machine is asked for.
    Insert,
    /// The end of one.
    Delete,
    /// One machine is looked at.
    Get,
    /// All are.
    List,
    /// An operation is.
    Operation,
    /// What a machine has written is read.
    Serial,
}

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is done, and nobody hears of it.
    LostAnswer(Verb),
    /// It is refused with this status, reason and message.
    Refused(Verb, u16, &'static str, &'static str),
    /// It is taken, and its operation ends with this code and message.
    Fails(Verb, &'static str, &'static str),
    /// It is taken, and its operation never ends.
    NeverOver(Verb),
}

impl Fault {
    pub(super) fn verb(&self) -> Verb {
        match self {
            Self::LostAnswer(verb)
            | Self::Refused(verb, ..)
            | Self::Fails(verb, ..)
            | Self::NeverOver(verb) => *verb,
        }
    }
}

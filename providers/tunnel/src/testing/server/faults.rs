//! What can go wrong with a request, as values. Each is met by one request.

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Tunnels are listed.
    ListTunnels,
    /// A tunnel is asked for.
    MakeTunnel,
    /// One is looked at.
    GetTunnel,
    /// One is changed.
    ChangeTunnel,
    /// The end of one.
    DeleteTunnel,
    /// The token of one.
    Token,
    /// Its rules are looked at.
    GetRules,
    /// They are set.
    SetRules,
    /// Its connections are looked at.
    GetConnections,
    /// They are dropped.
    DropConnections,
    /// Records are listed.
    ListRecords,
    /// A record is asked for.
    MakeRecord,
    /// One is looked at.
    GetRecord,
    /// One is changed.
    ChangeRecord,
    /// The end of one.
    DeleteRecord,
}

impl Verb {
    /// All that the client uses.
    pub const USED: [Self; 11] = [
        Self::ListTunnels,
        Self::MakeTunnel,
        Self::GetTunnel,
        Self::DeleteTunnel,
        Self::Token,
        Self::GetRules,
        Self::SetRules,
        Self::DropConnections,
        Self::ListRecords,
        Self::MakeRecord,
        Self::ChangeRecord,
    ];
}

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is done, and nobody hears of it.
    LostAnswer(Verb),
    /// It is not done: this status, and this code. With 200, only the envelope says so.
    Refused(Verb, u16, u64),
    /// It is not done, for there were too many; when to come back, in seconds, may be said.
    TooMany(Verb, Option<u64>),
    /// The first page comes, and the second is refused with 500.
    NoSecondPage(Verb),
    /// A page lacks its last entry, and says how many there are.
    Short(Verb),
    /// The answer has no envelope.
    Garbage(Verb),
}

impl Fault {
    /// The kind of request that meets it.
    pub(super) fn verb(&self) -> Verb {
        match self {
            Self::LostAnswer(verb)
            | Self::Refused(verb, ..)
            | Self::TooMany(verb, _)
            | Self::NoSecondPage(verb)
            | Self::Short(verb)
            | Self::Garbage(verb) => *verb,
        }
    }
}

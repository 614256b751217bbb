//! Why evidence or a message is refused, as stable codes: once given out, a code is never used for
//! anything else.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $cause:literal, $next:literal;)*) => {
        /// Why evidence or a message was refused, or what was let pass with a warning (the `W` codes).
        /// Numbers are stable: none is ever reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ReasonCode {
            $(#[doc = concat!("`", $code, "`: ", $cause, ".")] $name,)*
        }

        impl ReasonCode {
            /// Every code, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable code.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What happened, in words.
            pub const fn cause(self) -> &'static str {
                match self { $(Self::$name => $cause,)* }
            }

            /// What to do about it.
            pub const fn next_step(self) -> &'static str {
                match self { $(Self::$name => $next,)* }
            }
        }
    };
}

reason_codes! {
    NonceMissing = "EE-ATT-001", "the nonce is missing",
        "ask for a challenge and send its nonce";
    NonceUnknown = "EE-ATT-002", "the nonce was not issued here",
        "ask this reconciler for a new challenge";
    NonceExpired = "EE-ATT-003", "the nonce has expired",
        "ask for a new challenge and answer it within its time";
    NonceReplayed = "EE-ATT-004", "the nonce was used before",
        "ask for a new challenge; each nonce counts once";
    BindingMismatch = "EE-ATT-005", "the quote is not bound to this nonce and this key",
        "make the quote over SHA-512 of the nonce's bytes followed by the raw public key";
    ItaTokenMissing = "EE-ATT-006", "the Intel Trust Authority token is missing",
        "check the Trust Authority settings of the policy";
    ItaSignatureInvalid = "EE-ATT-007", "the signature of the Intel Trust Authority token is invalid",
        "check the configured key set and the way the token travelled";
    ItaTokenExpired = "EE-ATT-008", "the Intel Trust Authority token has expired",
        "ask for a new token; if it repeats, compare the clocks";
    ItaTokenNotYetValid = "EE-ATT-009", "the Intel Trust Authority token is not valid yet",
        "compare the clocks";
    ItaIssuerInvalid = "EE-ATT-010", "the Intel Trust Authority token has another issuer",
        "check the configured issuer and region";
    ItaAudienceInvalid = "EE-ATT-011", "the Intel Trust Authority token is for another audience",
        "check the audience that the policy names";
    QuoteUnreadable = "EE-ATT-012", "the quote is not a readable TDX quote",
        "check the platform's quote service; an empty or short quote means it is not set up";
    MrtdMissing = "EE-ATT-013", "the MRTD is missing",
        "check that the evidence comes from a TDX guest";
    MrtdUntrusted = "EE-ATT-014", "the MRTD is not one the policy trusts",
        "add the measurement to the policy after checking it, or launch a trusted image";
    TcbUnacceptable = "EE-ATT-015", "the platform's TCB status is not acceptable",
        "update the host's firmware and TDX module, or launch on another host";
    RtmrMismatch = "EE-ATT-016", "a runtime measurement differs from its reference",
        "compare the event log with the reference values";
    PolicyInvalid = "EE-ATT-017", "the attestation policy is invalid",
        "correct the policy document";
    DependencyUnavailable = "EE-ATT-018", "something that verification needs cannot be reached",
        "wait and try again; check the network if it repeats";
    Internal = "EE-ATT-019", "verification failed for an internal reason",
        "report it with the reconciler's log";
    QuoteSignatureInvalid = "EE-ATT-020", "the quote's signature or its certificate chain is invalid",
        "make a new quote; if it repeats, register the platform again with its vendor";
    TdAttributesRefused = "EE-ATT-021", "the guest runs with attributes that are not allowed",
        "launch the guest without debug, profiling and migration, and with SEPT_VE_DISABLE";
    TrustRootMismatch = "EE-ATT-022", "the evidence is not under the root that the policy names",
        "use a policy that names the root of this platform";
    CollateralOutdated = "EE-ATT-023", "the collateral has expired or is not valid yet",
        "fetch collateral again, and compare the clocks";
    PlatformRefused = "EE-ATT-024", "the platform has a property that the policy does not allow",
        "allow the property in the policy, or launch on another platform";
    CollateralUnusable = "EE-ATT-025", "the collateral is damaged or belongs to another platform",
        "fetch the collateral of this platform again";
    EventLogMismatch = "EE-ATT-026", "the event log does not replay to the runtime measurements",
        "check that the log is whole and of this boot; the first differing event is named";
    AttesterRefused = "EE-ATT-027", "the token is for another kind of guest, or for one that can be debugged",
        "launch a TDX guest without debugging";
    VerdictsDisagree = "EE-ATT-028", "local verification and Intel Trust Authority disagree",
        "stop and find out why: one of the two was given other evidence, or is wrong";
    ItaPolicyUnmatched = "EE-ATT-029", "a required policy of Intel Trust Authority did not match",
        "compare the policy ids with those of the Trust Authority's account";
    OrderUnknown = "EE-ATT-030", "the order is unknown or not open to registration",
        "nothing: the agent should stop, the reconciler will launch another if one is needed";
    TokenWrong = "EE-ATT-031", "the bootstrap token is wrong",
        "check that the agent was given the configuration of this order";
    TokenUsed = "EE-ATT-032", "the bootstrap token was used before",
        "retire the agent; a new order carries a new token";
    SignatureInvalid = "EE-ATT-033", "the message is not signed, or its signature is wrong",
        "sign with the key that was registered";
    MessageReplayed = "EE-ATT-034", "the message was seen before or is outside its time window",
        "compare the clocks and send a new message";
    Superseded = "EE-ATT-035", "the generation or epoch is older than one already seen",
        "read the newest state and start again from it";
    TcbWarning = "EE-ATT-W01", "the TCB status was let pass",
        "plan an update of the host";
    RtmrWarning = "EE-ATT-W02", "the runtime measurements were let pass",
        "record reference values and enforce them";
    NonceWarning = "EE-ATT-W03", "a nonce failure was let pass",
        "enforce nonces; this mode is for controlled tests";
}

impl ReasonCode {
    /// The reason with this code, if there is one.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.code() == code)
    }

    /// Whether the same machine may show evidence that is accepted. What was measured at its launch, and what it is,
    /// stays; signatures, tokens, times and collateral do not.
    pub fn may_pass(self) -> bool {
        !matches!(
            self,
            Self::MrtdMissing
                | Self::MrtdUntrusted
                | Self::RtmrMismatch
                | Self::TdAttributesRefused
                | Self::TrustRootMismatch
                | Self::PlatformRefused
        )
    }

    /// Whether evidence was refused for what it is or comes with, and not a message for its form, its sender or its time.
    pub fn is_of_evidence(self) -> bool {
        (Self::BindingMismatch..=Self::RtmrMismatch).contains(&self)
            || (Self::QuoteSignatureInvalid..=Self::ItaPolicyUnmatched).contains(&self)
    }

    /// Whether this code warns rather than rejects.
    pub fn is_warning(self) -> bool {
        matches!(
            self,
            Self::TcbWarning | Self::RtmrWarning | Self::NonceWarning
        )
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for ReasonCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for ReasonCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        Self::from_code(&code)
            .ok_or_else(|| serde::de::Error::custom("expected a code such as EE-ATT-001"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("../../../docs/attestation.md");

    /// `cargo test -p easyenclave-schemas -- the_table_of_codes --nocapture` prints it.
    #[test]
    fn the_table_of_codes_is_as_the_document_says() {
        let row = |reason: &ReasonCode| {
            let (cause, next) = (reason.cause(), reason.next_step());
            let again = match (reason.is_warning(), reason.may_pass()) {
                (true, _) => "let pass",
                (false, true) => "yes",
                (false, false) => "no",
            };
            format!("| `{reason}` | {cause} | {next} | {again} |")
        };
        let rows: Vec<_> = ReasonCode::ALL.iter().map(row).collect();
        let table = rows.join("\n");
        println!("{table}");
        assert!(
            DOCUMENT.contains(&table),
            "docs/attestation.md has another table than:\n{table}"
        );
    }

    #[test]
    fn every_code_is_its_own_and_reads_back() {
        for (index, reason) in ReasonCode::ALL.iter().enumerate() {
            assert_eq!(ReasonCode::from_code(reason.code()), Some(*reason));
            let text = serde_json::to_string(reason).expect("writes");
            assert_eq!(
                serde_json::from_str::<ReasonCode>(&text).expect("reads"),
                *reason
            );
            assert!(
                ReasonCode::ALL[index + 1..]
                    .iter()
                    .all(|other| other.code() != reason.code())
            );
            assert!(!reason.cause().is_empty() && !reason.next_step().is_empty());
            assert_eq!(reason.is_warning(), reason.code().starts_with("EE-ATT-W"));
        }
        assert_eq!(ReasonCode::from_code("EE-ATT-999"), None);
    }

    #[test]
    fn the_codes_of_the_contract_keep_their_numbers() {
        let numbered: Vec<_> = ReasonCode::ALL
            .iter()
            .take(19)
            .map(|reason| reason.code())
            .collect();
        let expected: Vec<_> = (1..=19).map(|n| format!("EE-ATT-{n:03}")).collect();
        assert_eq!(numbered, expected);
        assert_eq!(ReasonCode::NonceReplayed.code(), "EE-ATT-004");
        assert_eq!(ReasonCode::TcbUnacceptable.code(), "EE-ATT-015");
        assert_eq!(ReasonCode::Superseded.code(), "EE-ATT-035");
    }
}

//! How a launch goes, in words that orders, records, status and plan share: where, how far, and why not further.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Datacenter, ProviderName, Shape, Timestamp, Zone};

/// Where a machine can be made: the finest place that may run short of room by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spot {
    /// Who makes it.
    pub provider: ProviderName,
    /// Where.
    pub datacenter: Datacenter,
    /// The provider's zone, where it has such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Zone>,
    /// The provider's own kind of machine, where it has such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.provider, self.datacenter)?;
        if let Some(zone) = &self.zone {
            write!(f, " zone {zone}")?;
        }
        match &self.shape {
            Some(shape) => write!(f, " shape {shape}"),
            None => Ok(()),
        }
    }
}

/// Why a launch has failed. What happens next depends on it: where and when the next one is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCause {
    /// The place has no room for such a machine now.
    NoCapacity,
    /// What the provider allows this account or project is used up.
    Quota,
    /// The provider does not answer, or answers that it cannot now.
    ProviderDown,
    /// The provider refuses it as it is asked for; a person has to change something.
    Refused,
    /// The machine ended before its agent had registered.
    MachineDied,
    /// No worker took the order in time.
    NotClaimed,
    /// The machine started, and nothing was heard from inside it in time.
    NotBooted,
    /// Its agent was heard of, and has not registered in time.
    NotRegistered,
    /// The agent's evidence was refused.
    AttestationRefused,
    /// No machine came about, and no more is known: older workers name no cause, newer ones may name another.
    #[serde(other)]
    NotMade,
}

impl FailureCause {
    /// Every cause.
    pub const ALL: [Self; 10] = [
        Self::NoCapacity,
        Self::Quota,
        Self::ProviderDown,
        Self::Refused,
        Self::MachineDied,
        Self::NotClaimed,
        Self::NotBooted,
        Self::NotRegistered,
        Self::AttestationRefused,
        Self::NotMade,
    ];
}

impl fmt::Display for FailureCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCapacity => "the place has no room",
            Self::Quota => "the provider's quota is used up",
            Self::ProviderDown => "the provider cannot now",
            Self::Refused => "the provider refuses it",
            Self::MachineDied => "the machine ended too soon",
            Self::NotClaimed => "no worker took the order in time",
            Self::NotBooted => "nothing was heard from inside the machine in time",
            Self::NotRegistered => "its agent has not registered in time",
            Self::AttestationRefused => "its agent did not pass attestation",
            Self::NotMade => "no machine came about",
        })
    }
}

/// How far a launch order has come that is not over yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nobody has claimed it.
    Open,
    /// A worker holds it, and the machine does not exist yet.
    Claimed,
    /// The machine has been started.
    Made,
    /// Somebody inside it has asked for a nonce under this order.
    Booted,
}

/// When a launch order reached its stages; what it has not reached, or what was not noted, has no time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StageTimes {
    /// When it was claimed, last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<Timestamp>,
    /// When its worker said that the machine had been started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_at: Option<Timestamp>,
    /// When somebody inside the machine first asked for a nonce.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub booted_at: Option<Timestamp>,
    /// When its agent was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<Timestamp>,
    /// When the reconciler listened again after a time in which nobody could be heard. Deadlines count from then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listened_again_at: Option<Timestamp>,
}

impl StageTimes {
    /// The stage of a pending order that was opened then, and since when its time runs.
    pub fn stage(&self, opened: Timestamp) -> (Stage, Timestamp) {
        let (stage, since) = self.reached(opened);
        (
            stage,
            self.listened_again_at.map_or(since, |at| at.max(since)),
        )
    }

    fn reached(&self, opened: Timestamp) -> (Stage, Timestamp) {
        match (self.booted_at, self.made_at, self.claimed_at) {
            (Some(at), _, _) => (Stage::Booted, at),
            (None, Some(at), _) => (Stage::Made, at),
            (None, None, Some(at)) => (Stage::Claimed, at),
            (None, None, None) => (Stage::Open, opened),
        }
    }

    /// Whether there is no time in it: what files leave out.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The same times in whole seconds.
    pub fn trunc_secs(self) -> Self {
        self.map(Timestamp::trunc_secs)
    }

    /// The same times, none of them after this one.
    pub fn by(self, now: Timestamp) -> Self {
        self.map(|at| at.min(now))
    }

    fn map(self, change: impl Fn(Timestamp) -> Timestamp) -> Self {
        Self {
            claimed_at: self.claimed_at.map(&change),
            made_at: self.made_at.map(&change),
            booted_at: self.booted_at.map(&change),
            registered_at: self.registered_at.map(&change),
            listened_again_at: self.listened_again_at.map(&change),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs * 1000 + 7)
    }

    #[test]
    fn a_stage_is_the_last_that_was_reached() {
        let mut times = StageTimes::default();
        assert!(times.is_empty());
        assert_eq!(times.stage(at(1)), (Stage::Open, at(1)));
        times.claimed_at = Some(at(2));
        assert_eq!(times.stage(at(1)), (Stage::Claimed, at(2)));
        times.made_at = Some(at(3));
        assert_eq!(times.stage(at(1)), (Stage::Made, at(3)));
        times.booted_at = Some(at(4));
        assert_eq!(times.stage(at(1)), (Stage::Booted, at(4)));
        times.listened_again_at = Some(at(3));
        assert_eq!(times.stage(at(1)), (Stage::Booted, at(4)));
        times.listened_again_at = Some(at(5));
        assert_eq!(times.stage(at(1)), (Stage::Booted, at(5)));
        times.listened_again_at = None;
        let whole = times.trunc_secs().by(Timestamp::from_millis(3000));
        assert_eq!(
            whole.stage(at(1)),
            (Stage::Booted, Timestamp::from_millis(3000))
        );
        assert_eq!(whole.claimed_at, Some(Timestamp::from_millis(2000)));
    }

    #[test]
    fn every_cause_reads_back_and_an_unknown_one_is_the_least_that_it_can_be() {
        for cause in FailureCause::ALL {
            let text = serde_json::to_string(&cause).expect("a word");
            assert_eq!(
                serde_json::from_str::<FailureCause>(&text).expect("read"),
                cause
            );
        }
        let newer = serde_json::from_str::<FailureCause>(r#""struck_by_lightning""#);
        assert_eq!(newer.expect("read"), FailureCause::NotMade);
    }

    #[test]
    fn a_spot_is_shown_with_what_it_has() {
        let mut spot = Spot {
            provider: "cloud".parse().expect("a name"),
            datacenter: "gcp-us".parse().expect("a name"),
            zone: None,
            shape: None,
        };
        assert_eq!(spot.to_string(), "cloud in gcp-us");
        spot.zone = Some("us-central1-a".parse().expect("a name"));
        spot.shape = Some("c3-standard-4".parse().expect("a name"));
        assert_eq!(
            spot.to_string(),
            "cloud in gcp-us zone us-central1-a shape c3-standard-4"
        );
    }
}

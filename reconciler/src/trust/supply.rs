//! Whether what verification needs is at hand, and for how long: what a person should know before agents lose their
//! trust for it. In words that change with the day at most.

use std::collections::BTreeSet;
use std::time::Duration;

use easyenclave_attestation::Stock;
use easyenclave_schemas::Timestamp;

use super::Judge;
use crate::report::Trouble;
use crate::revision::Revision;

/// Collateral that runs out sooner is warned of. It is fetched daily and lives for a month, so by then many tries have
/// brought nothing newer.
const WARN: Duration = Duration::from_secs(7 * DAY);

const DAY: u64 = 24 * 3600;

/// What is wrong with collateral and Trust Authorities under this revision, if anything is.
pub fn trouble(judge: &Judge, revision: &Revision, now: Timestamp) -> Option<Trouble> {
    let named = named(revision);
    let away = judge.outages().into_iter();
    let away = away.filter(|(address, _)| named.contains(address.as_str()));
    let away = away.map(|(address, words)| {
        let message = format!("Intel Trust Authority at {address} {words}");
        ("TrustAuthorityAway", message)
    });
    let stock = judge.stock(now);
    let mut found: Vec<_> = stock.iter().filter_map(|stock| short(stock, now)).collect();
    found.extend(away);
    // What is gone comes before what will be.
    found.sort_by_key(|(reason, _)| *reason == "CollateralRunsOut");
    let reason = found.first()?.0;
    let messages: Vec<_> = found.into_iter().map(|(_, message)| message).collect();
    Some(Trouble {
        reason,
        message: messages.join("; "),
    })
}

/// The addresses of Trust Authorities that policies name.
fn named(revision: &Revision) -> BTreeSet<&str> {
    let policies = revision.policies.values();
    let settings = policies.filter_map(|policy| policy.verifiers.ita.as_ref());
    settings
        .flat_map(|ita| [ita.api_url.as_str(), ita.jwks_url.as_str()])
        .collect()
}

fn short(stock: &Stock, now: Timestamp) -> Option<(&'static str, String)> {
    let platform = format!("{} ({})", stock.platform.fmspc, stock.platform.ca);
    let why = stock.trouble.as_ref().map(|why| format!(": {why}"));
    let why = why.unwrap_or_default();
    match stock.until {
        Some(until) if until > now => {
            let left = until.since(now);
            let day = until.to_string();
            (left < WARN).then(|| {
                let message = format!(
                    "collateral of platform {platform} runs out on {:.10}, {}{why}",
                    day,
                    days(left)
                );
                ("CollateralRunsOut", message)
            })
        }
        Some(_) => Some((
            "CollateralAway",
            format!("collateral of platform {platform} has run out{why}"),
        )),
        None => Some((
            "CollateralAway",
            format!("there is no collateral of platform {platform}{why}"),
        )),
    }
}

fn days(left: Duration) -> String {
    match left.as_secs() / DAY {
        0 => "in less than a day".into(),
        1 => "in 1 day".into(),
        days => format!("in {days} days"),
    }
}

#[cfg(test)]
mod tests {
    use easyenclave_attestation::{PckCa, PlatformFacts};

    use super::*;

    fn stock(until: Option<Timestamp>, trouble: Option<&str>) -> Stock {
        Stock {
            platform: PlatformFacts {
                fmspc: "90c06f000000".parse().expect("12 digits"),
                ca: PckCa::Platform,
            },
            until,
            trouble: trouble.map(Into::into),
        }
    }

    #[test]
    fn collateral_that_runs_out_is_warned_of_in_days() {
        let end: Timestamp = "2026-06-20T08:00:00Z".parse().expect("a time");
        let said = |before: Duration| {
            let stock = stock(Some(end), Some("https://pccs: it answered 503"));
            short(&stock, end.minus(before)).map(|(_, message)| message)
        };
        let day = Duration::from_secs(DAY);
        assert_eq!(said(day * 7), None);
        let almost = day * 7 - Duration::from_secs(1);
        let six = "collateral of platform 90c06f000000 (platform) runs out on 2026-06-20, in 6 days: \
                   https://pccs: it answered 503";
        assert_eq!(said(almost).as_deref(), Some(six));
        assert_eq!(said(day * 6).as_deref(), Some(six), "the same all day");
        assert!(said(day).is_some_and(|said| said.contains("in 1 day:")));
        assert!(said(day / 2).is_some_and(|said| said.contains("in less than a day:")));
        let out = short(&stock(Some(end), None), end).expect("told");
        assert_eq!(out.0, "CollateralAway");
        assert!(out.1.ends_with("has run out"), "{}", out.1);
    }

    #[test]
    fn collateral_that_was_never_had_is_told_with_the_reason() {
        let stock = stock(None, Some("https://pccs: it answered 401"));
        let (reason, message) = short(&stock, Timestamp::default()).expect("told");
        assert_eq!(reason, "CollateralAway");
        assert_eq!(
            message,
            "there is no collateral of platform 90c06f000000 (platform): https://pccs: it answered 401"
        );
    }
}

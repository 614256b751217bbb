//! What every source of collateral guarantees, line by line. Each source's own tests run it, fakes' too.

use std::collections::BTreeSet;
use std::time::Duration;

use easyenclave_schemas::Timestamp;

use crate::verify::standing;
use crate::{Collateral, CollateralSource, PlatformFacts, TrustRoot};

/// Holds a source to its guarantees. It has collateral of `platform` under `root` at `now`.
///
/// # Panics
/// When it keeps one of them not.
pub async fn holds(
    source: &dyn CollateralSource,
    root: &TrustRoot,
    platform: &PlatformFacts,
    now: Timestamp,
) {
    let first = source.collateral(platform, now).await.expect("it has some");
    assert!(first.size() <= Collateral::MAX, "at most so many bytes");
    let counts = |collateral: &Collateral, at: Timestamp| {
        let standing = standing(root, platform.fmspc, collateral).expect("whole and signed");
        assert!(standing.from <= at && at < standing.until, "it counts then");
    };
    counts(&first, now);
    // The same answer for a while, also for many at once.
    let mut digests = BTreeSet::from([first.digest()]);
    for seconds in [0, 1, 60, 299] {
        let at = now.plus(Duration::from_secs(seconds));
        let again = source.collateral(platform, at).await.expect("it has some");
        digests.insert(again.digest());
    }
    assert_eq!(digests.len(), 1, "many verdicts share one");
    for stock in source.stock(now) {
        assert!(stock.until.is_none_or(|until| until > now), "{stock:?}");
        assert_eq!(stock.trouble, None);
    }
}

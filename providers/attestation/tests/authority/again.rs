//! Evidence with a token, judged again long after the token's end: the token counts as of when it was shown, and a
//! policy that wants another one asks for it.

use std::time::Duration;

use easyenclave_attestation::{Again, Case, Foresight, TokenKeys, foresee, judge_again};
use easyenclave_schemas::documents::{ItaSpec, ItaVersion, SigningAlgorithm, TrustEnds};
use easyenclave_schemas::evidence::{MeasurementDigest, ReasonCode, Verdict};

use crate::bench::{Bench, Shown, now};

/// What the policy of now says of what was shown at [`now`].
fn again(bench: &Bench, shown: &Shown, keys: &TokenKeys, before: &Verdict) -> Again {
    let case = Case {
        evidence: &shown.evidence,
        binding: &shown.binding,
        nonce: Ok(()),
        collateral: None,
        token_keys: Some(keys),
        policy: &bench.policy,
        now: now(),
    };
    judge_again(&case, Some(before))
}

async fn accepted(bench: &Bench) -> (Shown, TokenKeys, Verdict) {
    let shown = bench.mint().await.expect("a token");
    let keys = bench.keys(&shown, now()).await.expect("keys");
    let verdict = bench.judge(&shown, Some(&keys), now()).expect("accepted");
    (shown, keys, verdict)
}

#[tokio::test]
async fn a_token_that_has_expired_since_refuses_nobody_and_renews_nothing() {
    let mut bench = Bench::new().await;
    let (shown, keys, before) = accepted(&bench).await;
    for ends in [TrustEnds::Token, TrustEnds::MaxAge] {
        bench.settings_mut().trust_ends = ends;
        bench.policy.max_age = Duration::from_secs(7200);
        let Again::Accepts(after) = again(&bench, &shown, &keys, &before) else {
            panic!("accepted");
        };
        assert_eq!(after.accepted_at, now());
        let leeway = bench.settings().leeway.get();
        let expected = match ends {
            TrustEnds::Token => before.token.as_ref().expect("a token").expires.plus(leeway),
            TrustEnds::MaxAge => now().plus(Duration::from_secs(7200)),
        };
        assert_eq!(after.trusted_until, expected);
        let seen = foresee(&before, &bench.policy);
        assert_eq!(seen, Foresight::Accepts(expected));
    }
}

#[tokio::test]
async fn other_settings_want_another_token() {
    type Change = fn(&mut ItaSpec);
    let changes: [Change; 5] = [
        |settings| settings.issuer = "https://elsewhere.invalid".into(),
        |settings| settings.audience = Some("somebody".into()),
        |settings| settings.version = ItaVersion::V1,
        |settings| settings.algorithm = SigningAlgorithm::RS256,
        |settings| settings.policy_ids = vec!["one".into()],
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut bench = Bench::new().await;
        let (shown, keys, before) = accepted(&bench).await;
        change(bench.settings_mut());
        let seen = foresee(&before, &bench.policy);
        assert_eq!(seen, Foresight::Unknown, "change {index}");
        let real = again(&bench, &shown, &keys, &before);
        assert_eq!(real, Again::Unknown, "change {index}");
        // What a token says nothing of is judged all the same.
        bench.policy.references[0].mrseam = Some(MeasurementDigest::new([7; 48]));
        match (
            foresee(&before, &bench.policy),
            again(&bench, &shown, &keys, &before),
        ) {
            (Foresight::Refuses(seen), Again::Refuses(real)) => {
                assert_eq!(seen, real, "change {index}");
                assert_eq!(seen.code, ReasonCode::MrtdUntrusted, "change {index}");
            }
            (seen, real) => panic!("change {index}: {seen:?} and {real:?}"),
        }
    }
}

/// Keys from another address may be other keys, so a token that only the old ones signed is asked for again.
#[tokio::test]
async fn keys_from_another_address_are_foreseen_as_unknown() {
    let mut bench = Bench::new().await;
    let (_, _, before) = accepted(&bench).await;
    bench.settings_mut().jwks_url = "https://elsewhere.invalid/certs".into();
    assert_eq!(foresee(&before, &bench.policy), Foresight::Unknown);
}

//! Evidence with one thing wrong each, and the reason that each is given.

use std::collections::BTreeSet;

use easyenclave_attestation::testing::{self, Fault, FaultySource, judge, reference};
use easyenclave_attestation::{
    Binding, Collateral, Policy, TrustRoot, collect, report_data, vouches,
};
use easyenclave_schemas::evidence::{Evidence, MeasurementDigest, ReasonCode, RootKeyId};

use crate::bench::{Bench, data, evidence, now};

#[test]
fn a_quote_for_another_nonce_or_key_is_refused() {
    let bench = Bench::new();
    for binding in [
        Binding {
            ita: None,
            nonce: [9; 32],
            ..bench.binding.clone()
        },
        Binding {
            public_key: [9; 32],
            ..bench.binding.clone()
        },
        Binding {
            ita: None,
            nonce: bench.binding.public_key,
            public_key: bench.binding.nonce,
        },
    ] {
        let verdict = judge(
            &bench.evidence(),
            &binding,
            &bench.collateral,
            &bench.policy,
            now(),
        );
        assert_eq!(
            verdict.expect_err("refused").code,
            ReasonCode::BindingMismatch
        );
    }
}

/// Whose evidence was refused is said of what was seen, and nothing is guessed.
#[test]
fn a_refusal_names_the_root_of_the_platform_where_its_quote_shows_that() {
    let bench = Bench::new();
    let own = bench.platform.root_key_id();
    let root = |evidence: &Evidence, policy: &Policy| {
        let verdict = judge(evidence, &bench.binding, &bench.collateral, policy, now());
        verdict.expect_err("refused").trust_root
    };
    let unknown = Policy {
        references: Vec::new(),
        ..bench.policy.clone()
    };
    assert_eq!(root(&bench.evidence(), &unknown), Some(own), "EE-ATT-014");
    let other = Binding {
        nonce: [9; 32],
        ..bench.binding.clone()
    };
    let unbound = judge(
        &bench.evidence(),
        &other,
        &bench.collateral,
        &bench.policy,
        now(),
    );
    assert_eq!(unbound.expect_err("refused").trust_root, Some(own));
    let intel = Policy {
        trust_root: TrustRoot::Intel,
        ..bench.policy.clone()
    };
    assert_eq!(root(&bench.evidence(), &intel), None, "an untrusted root");
    let altered = bench.faulty(Fault::Tampered);
    assert_eq!(root(&altered, &bench.policy), None, "an altered quote");
    let no_quote = evidence(&[7; 900]);
    assert_eq!(root(&no_quote, &bench.policy), None, "no quote");
}

/// The certificates in a quote are under no signature: whoever sends it leaves out the root, or adds others.
#[test]
fn a_refusal_names_the_root_of_the_platform_whatever_certificates_go_along() {
    let bench = Bench::new();
    let own = bench.platform.root_key_id();
    let without = testing::without_root(&bench.quote);
    let longest = testing::with_certificates(&bench.quote, |chain| {
        let root = &chain[chain.rfind("-----BEGIN").expect("a certificate")..];
        format!("{chain}{root}{root}")
    });
    let too_long = testing::with_certificates(&longest, |chain| chain.repeat(2));
    let unknown = Policy {
        references: Vec::new(),
        ..bench.policy.clone()
    };
    for (quote, is_taken) in [(without, true), (longest, true), (too_long, false)] {
        let evidence = evidence(&quote);
        assert_eq!(bench.verify(&evidence).is_ok(), is_taken);
        let judged = judge(
            &evidence,
            &bench.binding,
            &bench.collateral,
            &unknown,
            now(),
        );
        let named = judged.expect_err("refused").trust_root;
        assert_eq!(named, is_taken.then_some(own), "as the verifier takes it");
    }
    let without = evidence(&testing::without_root(&bench.quote));
    assert!(!vouches(own, &without, None, now()), "nobody brought it");
    let other = Bench::new().collateral;
    assert!(!vouches(own, &without, Some(&other), now()), "of another");
}

#[test]
fn a_quote_over_the_nonces_text_is_refused() {
    let bench = Bench::new();
    let text = hex_text(&bench.binding.nonce);
    let half: [u8; 32] = text.as_bytes()[..32].try_into().expect("64 digits");
    let quote = bench
        .platform
        .guest()
        .quote(report_data(&half, &bench.binding.public_key), &bench.body);
    let rejection = bench.refusal(&evidence(&quote.expect("a quote")));
    assert_eq!(rejection.code, ReasonCode::BindingMismatch);
}

fn hex_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_launch_fault_is_refused_with_its_own_sentence() {
    let bench = Bench::new();
    for (fault, sentence) in [
        (Fault::Debug, "the guest runs in debug mode"),
        (Fault::Profiling, "the guest runs with profiling"),
        (Fault::Migratable, "the guest may be migrated"),
        (Fault::SeptVeOff, "the guest runs without SEPT_VE_DISABLE"),
    ] {
        let rejection = bench.refusal(&bench.faulty(fault));
        assert_eq!(rejection.code, ReasonCode::TdAttributesRefused, "{fault:?}");
        assert_eq!(rejection.message, sentence, "{fault:?}");
    }
}

#[test]
fn reserved_attributes_and_service_guests_are_refused() {
    let bench = Bench::new();
    for (bit, sentence) in [
        (2, "reserved attribute bits"),
        (17, "SERVTD_EXT"),
        (40, "reserved attribute bits"),
    ] {
        let mut body = bench.body.clone();
        body.attributes = body.attributes.with(1 << bit);
        let quote = bench
            .platform
            .guest()
            .quote(data(&bench.binding), &body)
            .expect("a quote");
        let rejection = bench.refusal(&evidence(&quote));
        assert_eq!(rejection.code, ReasonCode::TdAttributesRefused, "bit {bit}");
        assert!(
            rejection.message.contains(sentence),
            "bit {bit}: {rejection}"
        );
    }
}

#[test]
fn an_altered_measurement_is_refused() {
    let bench = Bench::new();
    let rejection = bench.refusal(&bench.faulty(Fault::Tampered));
    assert_eq!(rejection.code, ReasonCode::QuoteSignatureInvalid);
    assert_eq!(
        rejection.message,
        "the quote was altered after it was signed"
    );
}

#[test]
fn an_out_of_date_platform_is_refused_and_its_status_named() {
    let bench = Bench::new();
    let rejection = bench.refusal(&bench.faulty(Fault::OutOfDate));
    assert_eq!(rejection.code, ReasonCode::TcbUnacceptable);
    assert!(rejection.message.contains("OutOfDate"), "{rejection}");
}

#[test]
fn a_module_that_is_unknown_or_below_every_level_is_refused() {
    let bench = Bench::new();
    for (svn, sentence) in [
        ([1, 1], "older than every level"),
        ([5, 9], "not one that its vendor lists"),
    ] {
        let mut body = bench.body.clone();
        body.tee_tcb_svn[..2].copy_from_slice(&svn);
        let quote = bench
            .platform
            .guest()
            .quote(data(&bench.binding), &body)
            .expect("a quote");
        let rejection = bench.refusal(&evidence(&quote));
        assert_eq!(rejection.code, ReasonCode::TcbUnacceptable, "{svn:?}");
        assert!(rejection.message.contains(sentence), "{svn:?}: {rejection}");
    }
}

#[test]
fn empty_sets_trust_nothing() {
    let mut bench = Bench::new();
    bench.policy.allowed_tcb = BTreeSet::new();
    assert_eq!(
        bench.refusal(&bench.evidence()).code,
        ReasonCode::TcbUnacceptable
    );
    bench.policy.references.clear();
    let rejection = bench.refusal(&bench.evidence());
    assert_eq!(rejection.code, ReasonCode::MrtdUntrusted);
    assert_eq!(rejection.message, "the policy trusts no MRTD at all");
}

#[test]
fn an_untrusted_or_missing_mrtd_is_refused_and_named() {
    let mut bench = Bench::new();
    bench.policy.references = vec![reference("another", MeasurementDigest::new([7; 48]))];
    let rejection = bench.refusal(&bench.evidence());
    assert_eq!(rejection.code.code(), "EE-ATT-014");
    assert!(
        rejection.message.contains(&bench.body.mrtd.to_string()),
        "{rejection}"
    );
    let mut body = bench.body.clone();
    body.mrtd = MeasurementDigest::new([0; 48]);
    bench.policy.references.push(reference("more", body.mrtd));
    let quote = bench
        .platform
        .guest()
        .quote(data(&bench.binding), &body)
        .expect("a quote");
    assert_eq!(
        bench.refusal(&evidence(&quote)).code,
        ReasonCode::MrtdMissing
    );
}

#[test]
fn a_quote_of_another_simulated_root_is_refused() {
    let (bench, foreign) = (Bench::new(), Bench::new());
    let refused = |collateral: &Collateral| {
        let verdict = judge(
            &foreign.evidence(),
            &bench.binding,
            collateral,
            &bench.policy,
            now(),
        );
        verdict.expect_err("refused").code
    };
    // Neither with our collateral nor with that of the quote's own root.
    assert_eq!(refused(&bench.collateral), ReasonCode::TrustRootMismatch);
    assert_eq!(refused(&foreign.collateral), ReasonCode::TrustRootMismatch);
}

/// The certificate chain in a quote is the sender's to choose; a root smuggled in there counts for nothing.
#[test]
fn a_chain_brought_along_selects_no_root() {
    let (bench, foreign) = (Bench::new(), Bench::new());
    let mut collateral = bench.collateral.as_dcap().clone();
    collateral.tcb_info_issuer_chain += &foreign.collateral.as_dcap().tcb_info_issuer_chain;
    let collateral = Collateral::new(collateral);
    let verdict = judge(
        &foreign.evidence(),
        &bench.binding,
        &collateral,
        &bench.policy,
        now(),
    );
    assert_eq!(
        verdict.expect_err("refused").code,
        ReasonCode::TrustRootMismatch
    );
}

#[test]
fn collateral_outside_its_time_is_refused() {
    let bench = Bench::new();
    let refused = |collateral: &Collateral| {
        let verdict = judge(
            &bench.evidence(),
            &bench.binding,
            collateral,
            &bench.policy,
            now(),
        );
        verdict.expect_err("refused")
    };
    let expired =
        refused(&testing::expired_collateral(&bench.platform, now()).expect("collateral"));
    assert_eq!(expired.code, ReasonCode::CollateralOutdated);
    assert!(expired.message.contains("expired"), "{expired}");
    let future = refused(&testing::future_collateral(&bench.platform, now()).expect("collateral"));
    assert_eq!(future.code, ReasonCode::CollateralOutdated);
    assert!(future.message.contains("not valid yet"), "{future}");
}

/// The library does not look at when a revocation list was issued.
#[test]
fn a_revocation_list_from_the_future_is_refused() {
    let bench = Bench::new();
    let future = testing::future_collateral(&bench.platform, now()).expect("collateral");
    let mut mixed = bench.collateral.as_dcap().clone();
    mixed.pck_crl = future.as_dcap().pck_crl.clone();
    let verdict = judge(
        &bench.evidence(),
        &bench.binding,
        &Collateral::new(mixed),
        &bench.policy,
        now(),
    );
    assert_eq!(
        verdict.expect_err("refused").code,
        ReasonCode::CollateralOutdated
    );
}

#[test]
fn damaged_collateral_is_refused_as_such() {
    let bench = Bench::new();
    type Damage = fn(&mut dcap_qvl::QuoteCollateralV3);
    let damages: [(&str, Damage); 7] = [
        ("a changed level", |c| {
            c.tcb_info = c.tcb_info.replace("OutOfDate", "UpToDate")
        }),
        ("no TCB information", |c| c.tcb_info.clear()),
        ("a changed identity", |c| {
            c.qe_identity = c.qe_identity.replace("TD_QE", "QE")
        }),
        ("no identity", |c| c.qe_identity.clear()),
        ("no root list", |c| c.root_ca_crl.clear()),
        ("no platform list", |c| c.pck_crl.clear()),
        ("too much", |c| {
            c.tcb_info_signature = vec![0; Collateral::MAX]
        }),
    ];
    for (name, damage) in damages {
        let mut collateral = bench.collateral.as_dcap().clone();
        damage(&mut collateral);
        let collateral = Collateral::new(collateral);
        let verdict = judge(
            &bench.evidence(),
            &bench.binding,
            &collateral,
            &bench.policy,
            now(),
        );
        let rejection = verdict.expect_err("refused");
        assert_eq!(
            rejection.code,
            ReasonCode::CollateralUnusable,
            "{name}: {rejection}"
        );
    }
}

#[test]
fn a_simulated_quote_is_refused_under_intels_root() {
    let mut bench = Bench::new();
    bench.policy.trust_root = TrustRoot::Intel;
    let rejection = bench.refusal(&bench.evidence());
    assert_eq!(rejection.code, ReasonCode::TrustRootMismatch);
    assert!(
        rejection.message.contains("never accepted for one another"),
        "{rejection}"
    );
    assert!(TrustRoot::simulated(RootKeyId::INTEL).is_err());
}

#[test]
fn a_faulty_source_gives_evidence_that_is_refused() {
    let bench = Bench::new();
    let dir = tempfile::tempdir().expect("a directory");
    let platform = easyenclave_attestation::simulated::Platform::open_or_create(dir.path(), now())
        .expect("a platform");
    let guest = easyenclave_attestation::simulated::Guest::open(
        &easyenclave_attestation::simulated::Platform::guest_dir(dir.path()),
    );
    let source = FaultySource {
        guest: guest.expect("a guest"),
        body: bench.body.clone(),
        fault: Fault::Debug,
    };
    let evidence =
        collect(&source, &bench.binding.nonce, &bench.binding.public_key).expect("evidence");
    let policy = testing::policy(&platform, &bench.body);
    let collateral = platform.collateral(now()).expect("collateral");
    let verdict = judge(&evidence, &bench.binding, &collateral, &policy, now());
    assert_eq!(
        verdict.expect_err("refused").code,
        ReasonCode::TdAttributesRefused
    );
}

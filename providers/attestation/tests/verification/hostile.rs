//! Bytes that an attacker chose: everything is refused, with a reason that has a name, and nothing panics.

use easyenclave_attestation::testing::judge;
use easyenclave_attestation::{Collateral, PlatformFacts};
use easyenclave_schemas::evidence::{Evidence, QuoteBytes, ReasonCode};

use crate::bench::{Bench, evidence, now};

const SIGNED: usize = 632;
const CHAIN: usize = 1258;
/// Where each field of a version 4 quote begins, up to the certificate chain.
const FIELDS: [usize; 34] = [
    0, 2, 4, 8, 12, 28, 48, 64, 112, 160, 168, 176, 184, 232, 280, 328, 376, 424, 472, 520, 568,
    632, 636, 700, 764, 766, 770, 1090, 1154, 1218, 1220, 1252, 1254, 1258,
];

#[test]
fn every_flipped_byte_of_the_signed_range_is_refused() {
    let bench = Bench::new();
    for at in 0..SIGNED {
        let mut quote = bench.quote.clone();
        quote[at] ^= 0x10;
        let rejection = bench.refusal(&evidence(&quote));
        let expected = match at {
            0..=7 | 12..=27 => ReasonCode::QuoteUnreadable,
            568..=631 => ReasonCode::BindingMismatch,
            _ => ReasonCode::QuoteSignatureInvalid,
        };
        assert_eq!(rejection.code, expected, "byte {at}: {rejection}");
    }
}

#[test]
fn every_flipped_byte_of_keys_and_signatures_is_refused() {
    let bench = Bench::new();
    // From the signature over the body to the head of the certificate chain, leaving out the length fields.
    for at in (636..766).chain(770..1218).chain(1220..1254) {
        let mut quote = bench.quote.clone();
        quote[at] ^= 0x10;
        // The outer certification type says how to read what follows, and the reader knows only one way.
        if (764..766).contains(&at) {
            continue;
        }
        let rejection = bench.refusal(&evidence(&quote));
        assert_ne!(
            rejection.code,
            ReasonCode::Internal,
            "byte {at}: {rejection}"
        );
    }
}

/// A changed certificate may still verify when the change is outside what is read (white space, the copy
/// of the root), but then it says the same thing about the guest.
#[test]
fn no_flipped_bit_of_the_chain_changes_what_is_said_of_the_guest() {
    let bench = Bench::new();
    let honest = bench.verify(&bench.evidence()).expect("accepted");
    for at in (SIGNED..bench.quote.len()).step_by(7) {
        let mut quote = bench.quote.clone();
        quote[at] ^= 1 << (at % 8);
        if let Ok(verdict) = bench.verify(&evidence(&quote)) {
            assert_eq!(
                (
                    verdict.mrtd,
                    verdict.rtmrs,
                    verdict.tcb_status,
                    verdict.fmspc,
                    verdict.trusted_until
                ),
                (
                    honest.mrtd,
                    honest.rtmrs,
                    honest.tcb_status,
                    honest.fmspc,
                    honest.trusted_until
                ),
                "byte {at}"
            );
        }
    }
}

#[test]
fn a_quote_cut_at_or_beside_any_field_is_unreadable() {
    let bench = Bench::new();
    let ends = FIELDS
        .iter()
        .flat_map(|field| [field.saturating_sub(1), *field, field + 1]);
    for end in ends.chain([bench.quote.len() - 1]) {
        let rejection = bench.refusal(&evidence(&bench.quote[..end]));
        assert_eq!(
            rejection.code,
            ReasonCode::QuoteUnreadable,
            "cut at {end}: {rejection}"
        );
    }
}

/// The same cuts with the outer length corrected, so that the inner decoder is the one to notice.
#[test]
fn a_quote_cut_behind_an_honest_length_is_refused() {
    let bench = Bench::new();
    for end in (637..1300).step_by(3).chain([bench.quote.len() - 1]) {
        let mut quote = bench.quote[..end].to_vec();
        let length = u32::try_from(end - 636).expect("small").to_le_bytes();
        quote[632..636].copy_from_slice(&length);
        let rejection = bench.refusal(&evidence(&quote));
        assert_eq!(
            rejection.code,
            ReasonCode::QuoteUnreadable,
            "cut at {end}: {rejection}"
        );
    }
}

#[test]
fn lying_lengths_are_refused() {
    let bench = Bench::new();
    for (at, width) in [(632, 4), (766, 4), (1218, 2), (1254, 4)] {
        for value in [
            0_u32,
            1,
            31,
            33,
            0x7FFF,
            0xFFFF,
            0x10_0000,
            0x7FFF_FFFF,
            0xFFFF_FFFF,
        ] {
            let mut quote = bench.quote.clone();
            quote[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
            let rejection = bench.refusal(&evidence(&quote));
            assert_ne!(
                rejection.code,
                ReasonCode::Internal,
                "{value:#x} at {at}: {rejection}"
            );
        }
    }
}

#[test]
fn what_is_no_quote_at_all_is_unreadable() {
    let bench = Bench::new();
    let cbor = [0xD2; 9000];
    let json = br#"{"quote":"AAAA"}"#;
    for bytes in [
        &[] as &[u8],
        &[0; 5000],
        &[0xFF; 5000],
        &cbor,
        json,
        &[4, 0, 2, 0, 0x81, 0, 0, 0],
    ] {
        assert_eq!(
            bench.refusal(&evidence(bytes)).code,
            ReasonCode::QuoteUnreadable
        );
        assert_eq!(
            PlatformFacts::of(&evidence(bytes)).expect_err("none").code,
            ReasonCode::QuoteUnreadable
        );
    }
    assert!(QuoteBytes::new(vec![4; QuoteBytes::MAX + 1]).is_err());
}

#[test]
fn other_versions_types_and_key_kinds_are_unreadable() {
    let bench = Bench::new();
    for (at, values) in [
        (0, &[0_u8, 1, 3, 5, 6][..]),
        (2, &[0, 1, 3]),
        (4, &[0, 0x80, 0x82]),
    ] {
        for value in values {
            let mut quote = bench.quote.clone();
            quote[at] = *value;
            let rejection = bench.refusal(&evidence(&quote));
            assert_eq!(
                rejection.code,
                ReasonCode::QuoteUnreadable,
                "{value} at {at}: {rejection}"
            );
        }
    }
}

/// Reading the platform's facts happens before anything is verified, so it must bear anything.
#[test]
fn any_altered_certificate_of_a_quote_is_refused_and_no_panic() {
    let bench = Bench::new();
    let honest = PlatformFacts::of(&bench.evidence()).expect("facts");
    let chain = pem::parse_many(&bench.quote[CHAIN..]).expect("PEM");
    let mut other_facts = 0;
    // The root at the end is a copy that nobody reads.
    for index in 0..chain.len() - 1 {
        let original = chain[index].contents();
        for at in 0..original.len() {
            let mut der = original.to_vec();
            der[at] ^= 1 << (at % 8);
            let mut altered = chain.clone();
            altered[index] = pem::Pem::new("CERTIFICATE", der);
            let evidence = evidence(&with_chain(&bench.quote, &altered));
            other_facts += usize::from(PlatformFacts::of(&evidence) != Ok(honest));
            let rejection = bench.refusal(&evidence);
            assert_ne!(
                rejection.code,
                ReasonCode::Internal,
                "{index}, byte {at}: {rejection}"
            );
        }
    }
    assert!(
        other_facts > 50,
        "only {other_facts} changes reached the facts"
    );
}

/// A quote of version 4 with another certificate chain and honest lengths.
fn with_chain(quote: &[u8], chain: &[pem::Pem]) -> Vec<u8> {
    let chain = pem::encode_many(chain);
    let mut quote = [&quote[..CHAIN], chain.as_bytes()].concat();
    for (at, from) in [(632, 636), (766, 770), (1254, 1258)] {
        let length = u32::try_from(quote.len() - from)
            .expect("small")
            .to_le_bytes();
        quote[at..at + 4].copy_from_slice(&length);
    }
    quote
}

#[test]
fn a_chain_written_anew_still_verifies() {
    let bench = Bench::new();
    let chain = pem::parse_many(&bench.quote[CHAIN..]).expect("PEM");
    bench
        .verify(&evidence(&with_chain(&bench.quote, &chain)))
        .expect("accepted");
}

/// The policy names the root's key, but the certificate around it comes with the collateral.
#[test]
fn a_root_altered_around_its_key_is_refused_and_no_panic() {
    let bench = Bench::new();
    let honest = bench.collateral.as_dcap();
    let chain = pem::parse_many(&honest.tcb_info_issuer_chain).expect("PEM");
    let root = chain.last().expect("a root").contents();
    for at in 0..root.len() {
        let mut der = root.to_vec();
        der[at] ^= 1 << (at % 8);
        let mut collateral = honest.clone();
        let altered = [chain[0].clone(), pem::Pem::new("CERTIFICATE", der)];
        collateral.tcb_info_issuer_chain = pem::encode_many(&altered);
        let collateral = Collateral::new(collateral);
        let verdict = judge(
            &bench.evidence(),
            &bench.binding,
            &collateral,
            &bench.policy,
            now(),
        );
        let code = verdict.expect_err("refused").code;
        let expected = [
            ReasonCode::TrustRootMismatch,
            ReasonCode::CollateralUnusable,
        ];
        assert!(expected.contains(&code), "byte {at}: {code}");
    }
}

#[test]
fn an_altered_revocation_list_is_refused_and_no_panic() {
    let bench = Bench::new();
    let honest = bench.collateral.as_dcap();
    for at in 0..honest.root_ca_crl.len().min(honest.pck_crl.len()) {
        for root in [true, false] {
            let mut collateral = honest.clone();
            let list = if root {
                &mut collateral.root_ca_crl
            } else {
                &mut collateral.pck_crl
            };
            list[at] ^= 1 << (at % 8);
            let collateral = Collateral::new(collateral);
            let verdict = judge(
                &bench.evidence(),
                &bench.binding,
                &collateral,
                &bench.policy,
                now(),
            );
            assert!(verdict.is_err(), "byte {at}, root {root}");
        }
    }
}

#[test]
fn hostile_collateral_is_refused_and_no_panic() {
    let bench = Bench::new();
    let honest = serde_json::to_string(&bench.collateral).expect("writes");
    let quote: Evidence = bench.evidence();
    let mut refused = 0;
    for at in (0..honest.len()).step_by(97) {
        let mut text = honest.clone().into_bytes();
        text[at] = if text[at] == b'a' { b'b' } else { b'a' };
        let Ok(collateral) = serde_json::from_slice::<Collateral>(&text) else {
            continue;
        };
        let verdict = judge(&quote, &bench.binding, &collateral, &bench.policy, now());
        refused += usize::from(verdict.is_err());
    }
    assert!(refused > 20, "only {refused} of the changes were noticed");
}

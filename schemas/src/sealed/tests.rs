//! What is sealed opens for the one who asked, in the case that was asked about; and the steps are those of a second
//! implementation.

use super::*;

fn agent() -> AgentId {
    AgentId::new("tiny-1").expect("a name")
}

fn key(byte: &str) -> PublicKey {
    byte.repeat(32).parse().expect("a key")
}

fn case<'a>(agent: &'a AgentId, key: &'a PublicKey) -> Case<'a> {
    Case {
        what: "secrets",
        agent,
        key,
        generation: Generation(7),
    }
}

#[test]
fn only_who_asked_opens_what_was_sealed() {
    let (agent, key) = (agent(), key("33"));
    let case = case(&agent, &key);
    for bytes in [b"".to_vec(), b"s3cr3t".to_vec(), vec![7; 100_000]] {
        let asking = Asking::new().expect("randomness");
        let sealed = seal(asking.public(), &case, bytes.clone()).expect("sealed");
        let other = Asking::new().expect("randomness");
        assert_eq!(other.open(&sealed, &case), Err(SealedError::Closed));
        assert_eq!(asking.open(&sealed, &case), Ok(bytes));
    }
}

#[test]
fn what_is_sealed_for_one_case_opens_in_no_other() {
    let (agent, key) = (agent(), key("33"));
    let (others, theirs) = (AgentId::new("tiny-2").expect("a name"), self::key("44"));
    let right = case(&agent, &key);
    let wrong = [
        Case {
            what: "tunnel",
            ..right
        },
        Case {
            agent: &others,
            ..right
        },
        Case {
            key: &theirs,
            ..right
        },
        Case {
            generation: Generation(6),
            ..right
        },
    ];
    for case in wrong {
        let asking = Asking::new().expect("randomness");
        let sealed = seal(asking.public(), &right, b"s3cr3t".to_vec()).expect("sealed");
        assert_eq!(
            asking.open(&sealed, &case),
            Err(SealedError::Closed),
            "{case:?}"
        );
    }
}

#[test]
fn what_was_changed_or_cut_stays_closed() {
    let (agent, key) = (agent(), key("33"));
    let case = case(&agent, &key);
    let spoil: [fn(&mut SealedAnswer); 6] = [
        |answer| {
            answer.sealed.replace_range(
                0..1,
                if answer.sealed.starts_with('A') {
                    "B"
                } else {
                    "A"
                },
            )
        },
        |answer| answer.sealed.truncate(answer.sealed.len() - 4),
        |answer| answer.sealed.clear(),
        |answer| answer.sealed.push('!'),
        |answer| answer.public_key = Asking::new().expect("randomness").public().to_owned(),
        |answer| answer.public_key = answer.public_key.to_uppercase() + "0",
    ];
    for (at, spoil) in spoil.into_iter().enumerate() {
        let asking = Asking::new().expect("randomness");
        let mut sealed = seal(asking.public(), &case, b"s3cr3t".to_vec()).expect("sealed");
        spoil(&mut sealed);
        assert!(asking.open(&sealed, &case).is_err(), "{at}");
    }
}

#[test]
fn nothing_is_sealed_to_a_half_that_anybody_could_complete() {
    let (agent, key) = (agent(), key("33"));
    let low = "00".repeat(32);
    for half in [low.as_str(), &format!("01{}", &low[2..]), "", "0f", "zz"] {
        let refused = seal(half, &case(&agent, &key), b"s3cr3t".to_vec());
        assert_eq!(refused, Err(SealedError::Half), "{half:?}");
    }
}

/// Made with Python's `cryptography` 48: X25519 of the private keys 0x11… and 0x22…, HKDF-SHA256 with the purpose as salt and
/// each part of the case behind its length in 8 bytes, ChaCha20-Poly1305 with a nonce of zeros.
#[test]
fn another_implementation_comes_to_the_same_bytes() {
    let shared = "9e004098efc091d4ec2663b4e9f5cfd4d7064571690b4bea97ab146ab9f35056";
    let asked = "7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13";
    let answer = "0faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f20";
    let sealed = "cixQkAZJaceW9XzxpUGQmGWMaEhbEr9qbI1/Um4Ii5/95aHCHnhxbrTP26Y=";
    let (agent, key) = (agent(), key("33"));
    let shared = hex::decode(shared).expect("hex");
    let derived = derive(&shared, [asked, answer], &case(&agent, &key));
    let mut bytes = STANDARD.decode(sealed).expect("base64");
    let opened = derived.open_in_place(only_nonce(), Aad::empty(), &mut bytes);
    assert_eq!(opened.expect("opened"), br#"{"values":{"db":"czNjcjN0"}}"#);
}

#[test]
fn a_half_does_not_show_what_is_private() {
    let asking = Asking::new().expect("randomness");
    assert_eq!(
        format!("{asking:?}"),
        format!("Asking({})", asking.public())
    );
}

//! What the fleet's keys open, and what they do not.

use easyenclave_schemas::documents::SecretContent;

use super::*;
use crate::seal::Sealer;

fn owner(name: &str) -> OwnerName {
    OwnerName::new(name).expect("a name")
}

fn name(name: &str) -> SecretName {
    SecretName::new(name).expect("a name")
}

fn keyring() -> Keyring {
    let dir = tempfile::tempdir().expect("a folder");
    Keyring::open_or_create(&dir.path().join("keys/fleet.age")).expect("made")
}

fn sealed_for(keyring: &Keyring, text: &[u8]) -> String {
    let sealer = Sealer::of(&keyring.recipients()).expect("a recipient");
    STANDARD.encode(sealer.seal(text).expect("sealed"))
}

fn content(of: &str, called: &str) -> Vec<u8> {
    SecretContent::new(owner(of), name(called), b"s3cr3t").write()
}

#[test]
fn the_fleets_key_is_made_once_and_opens_what_is_sealed_to_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("fleet.age");
    let made = Keyring::open_or_create(&path).expect("made");
    let sealed = sealed_for(&made, &content("acme", "db"));
    let read = Keyring::open_or_create(&path).expect("read");
    assert_eq!(read.recipients(), made.recipients());
    let value = read.value(&owner("acme"), &name("db"), &sealed);
    assert_eq!(value.expect("opened").reveal(), b"s3cr3t");
}

/// The way to another key: the file has both for as long as something is sealed to the old one.
#[test]
fn a_file_with_two_keys_opens_what_is_sealed_to_either() {
    let keys: Vec<_> = (0..2).map(|_| age::x25519::Identity::generate()).collect();
    let text: Vec<_> = keys.iter().map(|key| key.to_string()).collect();
    let text: Vec<_> = text
        .iter()
        .map(age::secrecy::ExposeSecret::expose_secret)
        .collect();
    let both = Keyring::of("fleet.age".into(), &text.join("\n")).expect("two keys");
    for one in &text {
        let one = Keyring::of("fleet.age".into(), one).expect("a key");
        let sealed = sealed_for(&one, &content("acme", "db"));
        assert!(both.value(&owner("acme"), &name("db"), &sealed).is_ok());
    }
    assert_eq!(both.recipients().len(), 2);
}

#[test]
fn what_was_sealed_for_another_or_is_none_is_told_apart_and_never_repeated() {
    let (keyring, other) = (self::keyring(), self::keyring());
    let mut cut = STANDARD
        .decode(sealed_for(&keyring, &content("acme", "db")))
        .expect("base64");
    cut.truncate(cut.len() - 1);
    let long = SecretContent::new(owner("acme"), name("db"), &[7; 20_000]).write();
    let cases = [
        (
            sealed_for(&keyring, &content("evil", "db")),
            SecretError::Anothers,
        ),
        (
            sealed_for(&keyring, &content("acme", "api")),
            SecretError::Anothers,
        ),
        (
            sealed_for(&other, &content("acme", "db")),
            SecretError::ForOthers,
        ),
        (STANDARD.encode(cut), SecretError::Damaged),
        (STANDARD.encode("s3cr3t"), SecretError::Damaged),
        ("s3cr3t!".into(), SecretError::Damaged),
        (sealed_for(&keyring, b"s3cr3t"), SecretError::Content),
        (sealed_for(&keyring, &long), SecretError::Content),
    ];
    for (sealed, error) in cases {
        let found = keyring.value(&owner("acme"), &name("db"), &sealed);
        assert_eq!(found.expect_err("closed"), error);
        assert!(!error.to_string().contains("s3cr3t"));
    }
}

#[test]
fn a_file_that_holds_no_key_is_named_and_not_quoted() {
    let error = Keyring::of("fleet.age".into(), "AGE-SECRET-KEY-1S3CR3T").expect_err("no key");
    let shown = format!("{:#}", anyhow::Error::from(error));
    assert!(shown.starts_with("fleet.age: line 1"), "{shown}");
    assert!(!shown.contains("S3CR3T"), "{shown}");
}

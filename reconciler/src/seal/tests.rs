//! What is sealed is opened by auditors and by nobody else; the programs of `age` agree.

use std::path::Path;
use std::process::{Command, Stdio};

use age::secrecy::ExposeSecret;
use bech32::{Bech32, Hrp};
use easyenclave_tests::program_given;
use expect_test::expect;

use super::*;

const MOST: usize = 1024 * 1024;

/// An auditor: the recipient, and the identity as its file has it.
fn auditor() -> (String, String) {
    let identity = Identity::generate();
    let secret = identity.to_string();
    let file = format!("# created: today\n\n{}\n", secret.expose_secret());
    (identity.to_public().to_string(), file)
}

fn sealer(recipients: &[&String]) -> Sealer {
    let recipients: Vec<_> = recipients.iter().map(|one| (*one).clone()).collect();
    Sealer::of(&recipients).expect("a recipient")
}

fn opener(files: &[(&str, &String)]) -> Opener {
    let mut opener = Opener::default();
    for (name, text) in files {
        opener.take((*name).into(), text).expect("an identity");
    }
    opener
}

#[test]
fn every_auditor_opens_what_is_sealed_and_nobody_else_does() {
    let ((one, file_one), (two, file_two), (_, stranger)) = (auditor(), auditor(), auditor());
    for length in [0, 1, 5000, 65_536, 300_000] {
        let bytes = vec![7; length];
        let sealed = sealer(&[&one, &two]).seal(&bytes).expect("sealed");
        assert!(sealed.len() < length + 1000, "{length}: {}", sealed.len());
        for file in [&file_one, &file_two] {
            let opened = opener(&[("it", file)]).open(&sealed, MOST);
            assert_eq!(opened.as_ref(), Ok(&bytes));
        }
        let opened = opener(&[("other", &stranger)]).open(&sealed, MOST);
        assert_eq!(opened, Err(OpenError::ForOthers));
        assert_eq!(
            Opener::default().open(&sealed, MOST),
            Err(OpenError::ForOthers)
        );
    }
}

#[test]
fn the_same_bytes_are_never_sealed_alike() {
    let (one, _) = auditor();
    let sealer = sealer(&[&one]);
    assert_ne!(sealer.seal(b"a quote").ok(), sealer.seal(b"a quote").ok());
}

#[test]
fn a_file_that_opens_nothing_is_known() {
    let ((one, file), (_, stranger)) = (auditor(), auditor());
    let opener = opener(&[("stranger.txt", &stranger), ("own.txt", &file)]);
    let sealed = sealer(&[&one]).seal(b"a quote").expect("sealed");
    assert_eq!(
        opener.idle().collect::<Vec<_>>(),
        ["stranger.txt", "own.txt"]
    );
    assert!(opener.open(&sealed, MOST).is_ok());
    assert_eq!(opener.idle().collect::<Vec<_>>(), ["stranger.txt"]);
}

#[test]
fn a_changed_byte_or_a_missing_end_is_damage_and_gives_no_bytes() {
    let (one, file) = auditor();
    let opener = opener(&[("it", &file)]);
    let sealed = sealer(&[&one]).seal(&[7; 300]).expect("sealed");
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(opener.open(&changed, MOST).is_err(), "byte {at}");
        let opened = opener.open(&sealed[..at], MOST);
        assert_eq!(opened, Err(OpenError::Damaged), "{at} bytes");
    }
    for junk in [b"".as_slice(), b"age-encryption.org/v1\n", &[0xff; 4000]] {
        assert_eq!(opener.open(junk, MOST), Err(OpenError::Damaged));
    }
}

#[test]
fn no_more_is_read_than_is_asked_for() {
    let (one, file) = auditor();
    let opener = opener(&[("it", &file)]);
    let sealed = sealer(&[&one]).seal(&[7; 100]).expect("sealed");
    assert!(opener.open(&sealed, 100).is_ok());
    assert_eq!(opener.open(&sealed, 99), Err(OpenError::TooLong(99)));
}

#[test]
fn what_is_no_recipient_is_told_and_a_secret_is_not_repeated() {
    let (good, file) = auditor();
    let secret = file.lines().last().expect("a line").to_owned();
    let said =
        |text: &str| recipient(text).map_or_else(|error| error.to_string(), |_| "good".into());
    assert_eq!(said(&good), "good");
    let told = [
        said("ada@example.org"),
        said("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA ada"),
        said(&secret),
        said(&secret.to_lowercase()),
        said(&format!("key: {secret}")),
        said(&format!("'{}", secret.to_lowercase())),
        said(&format!(
            "-----BEGIN OPENSSH PRIVATE KEY----- {}",
            &secret[20..]
        )),
        said(""),
    ];
    let all = told.concat().to_uppercase();
    assert!(!all.contains(&secret[20..]), "{told:?}");
    expect![[r#"
        expected a recipient of age such as `age1…`, as age-keygen prints it, found "ada@example.org"
        expected a recipient of age such as `age1…`; keys of SSH are not taken
        this is a secret key, which opens what is sealed: take it out of Git, make a new one with age-keygen, and name its recipient, `age1…`
        this is a secret key, which opens what is sealed: take it out of Git, make a new one with age-keygen, and name its recipient, `age1…`
        this is a secret key, which opens what is sealed: take it out of Git, make a new one with age-keygen, and name its recipient, `age1…`
        this is a secret key, which opens what is sealed: take it out of Git, make a new one with age-keygen, and name its recipient, `age1…`
        this is a secret key, which opens what is sealed: take it out of Git, make a new one with age-keygen, and name its recipient, `age1…`
        expected a recipient of age such as `age1…`, as age-keygen prints it, found ""
    "#]]
    .assert_eq(&format!("{}\n", told.join("\n")));
    let typo = format!(
        "{}{}",
        &good[..good.len() - 1],
        if good.ends_with('q') { 'p' } else { 'q' }
    );
    assert!(matches!(
        recipient(&typo),
        Err(RecipientError::Unreadable(_))
    ));
}

/// With these keys every secret that is agreed on is zero.
#[test]
fn a_key_for_which_nothing_is_secret_is_refused() {
    let p_minus_one = {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (0xec, 0x7f);
        bytes
    };
    let mut one = [0; 32];
    one[0] = 1;
    for key in [[0; 32], one, p_minus_one] {
        let text = bech32::encode::<Bech32>(Hrp::parse("age").expect("a prefix"), &key);
        let text = text.expect("encoded");
        assert!(
            matches!(recipient(&text), Err(RecipientError::Weak)),
            "{text}"
        );
        assert!(Sealer::of(&[text]).is_none());
    }
}

#[test]
fn what_is_no_identity_is_told_by_its_line() {
    let take = |text: &str| Opener::default().take("it".into(), text);
    assert_eq!(take("# nothing\n\n"), Err(IdentityError::Empty));
    assert_eq!(take("# one\nno key\n"), Err(IdentityError::Line(2)));
    let encrypted = "age-encryption.org/v1\n-> scrypt bm9uY2U 18\n";
    assert_eq!(take(encrypted), Err(IdentityError::Encrypted));
}

/// The programs of `age`, when they are there.
fn has_age() -> bool {
    program_given("age-keygen", "Debian: apt-get install age").is_some()
}

/// What a program answers.
fn output(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    output.stdout
}

/// An auditor whose identity age-keygen made in this file.
fn keygen(file: &Path) -> String {
    output(Command::new("age-keygen").arg("-o").arg(file));
    let recipient = output(Command::new("age-keygen").arg("-y").arg(file));
    String::from_utf8(recipient)
        .expect("text")
        .trim()
        .to_owned()
}

#[test]
fn the_programs_of_age_open_what_we_seal_and_seal_what_we_open() {
    if !has_age() {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let (file, sealed) = (dir.path().join("identity"), dir.path().join("sealed"));
    let recipient = keygen(&file);
    let other = keygen(&dir.path().join("other"));
    let bytes = vec![7; 100_000];
    let ours = sealer(&[&other, &recipient]).seal(&bytes).expect("sealed");
    std::fs::write(&sealed, ours).expect("written");
    let decrypt = |sealed: &Path| {
        output(
            Command::new("age")
                .arg("-d")
                .arg("-i")
                .arg(&file)
                .arg(sealed),
        )
    };
    assert!(decrypt(&sealed) == bytes);

    let plain = dir.path().join("plain");
    std::fs::write(&plain, &bytes).expect("written");
    let theirs = output(
        Command::new("age")
            .args(["-r", &recipient, "-r", &other])
            .arg(&plain),
    );
    let text = std::fs::read_to_string(&file).expect("written by age-keygen");
    let opened = opener(&[("it", &text)]).open(&theirs, MOST);
    assert!(opened.as_ref() == Ok(&bytes));
}

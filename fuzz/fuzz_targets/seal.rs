//! Any bytes as a sealed file, an identity, a recipient, and as what is sealed: nothing panics, and what was changed never
//! opens to something else.
#![no_main]

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use easyenclave::seal::{Opener, Sealer};
use libfuzzer_sys::fuzz_target;

const MOST: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Opener::default().take("it".into(), text);
        if let Some(sealer) = Sealer::of(&[text.to_owned()]) {
            assert!(sealer.seal(b"a quote").is_ok());
        }
    }
    let identity = Identity::generate();
    let mut opener = Opener::default();
    let taken = opener.take("it".into(), identity.to_string().expose_secret());
    assert!(taken.is_ok());
    assert!(opener.open(bytes, MOST).is_err());

    let sealer = Sealer::of(&[identity.to_public().to_string()]).expect("a recipient");
    let mut sealed = sealer.seal(bytes).expect("sealed");
    assert!(opener.open(&sealed, MOST).as_deref() == Ok(bytes));
    let [first, second, bit, ..] = bytes else {
        return;
    };
    let at = usize::from(u16::from_be_bytes([*first, *second])) % sealed.len();
    sealed[at] ^= 1 << (bit % 8);
    assert!(opener.open(&sealed, MOST).is_err());
});

//! Any bytes as a sealed answer, as what one holds, and as what is sealed in a secret's document: nothing panics, and what
//! nobody sealed for this request stays closed.
#![no_main]

use easyenclave_schemas::documents::SecretContent;
use easyenclave_schemas::sealed::{Asking, Case, seal};
use easyenclave_schemas::wire::{SealedAnswer, SecretValues};
use easyenclave_schemas::{AgentId, Generation};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(values) = SecretValues::read(bytes) {
        assert_eq!(SecretValues::read(&SecretValues::write(&values)), Some(values));
    }
    if let Some((content, value)) = SecretContent::read(bytes) {
        let again = SecretContent::new(content.owner, content.name, value.reveal());
        let (_, read) = SecretContent::read(&again.write()).expect("as it was written");
        assert!(read == value);
    }
    let agent = AgentId::new("a").expect("a name");
    let key = "33".repeat(32).parse().expect("a key");
    let case = Case {
        what: "secrets",
        agent: &agent,
        key: &key,
        generation: Generation(1),
    };
    if let Ok(answer) = serde_json::from_slice::<SealedAnswer>(bytes) {
        let asking = Asking::new().expect("randomness");
        assert!(asking.open(&answer, &case).is_err());
    }
    if let Ok(half) = std::str::from_utf8(bytes) {
        // Whatever it is sealed to, it is not the value itself.
        let _ = seal(half, &case, b"value".to_vec());
    }
});

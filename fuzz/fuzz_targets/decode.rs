//! Any bytes through the decoder: an answer always, its places within the text, and the same answer twice.
#![no_main]

use easyenclave_schemas::decode::{decode, identify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let decoded = decode(text);
    let lines = text.split(|byte| *byte == b'\n' || *byte == b'\r').count();
    let lines = u32::try_from(lines).unwrap_or(u32::MAX);
    match &decoded {
        Ok(located) => {
            assert_eq!(identify(text).as_ref(), Some(&located.identity));
            let (line, column) = located.position("/spec");
            assert!((1..=lines).contains(&line) && column >= 1);
        }
        Err(problems) => {
            assert!(!problems.is_empty() && problems.len() <= 50);
            assert!(problems.is_sorted());
            for problem in problems {
                assert!(
                    problem.column >= 1 && problem.message.len() < 2000,
                    "{problem:?}"
                );
                assert!(
                    (1..=lines + 1).contains(&problem.line),
                    "{problem:?} of {lines}"
                );
            }
        }
    }
    assert_eq!(decode(text), decoded);
});

//! What `easyenclave verify` says of a branch that the production writer made, and of copies of it in which one bit is
//! another one. `cargo bench -p easyenclave --bench verify` does the same at the size of a large fleet.

#[path = "../../benches/verify/audit.rs"]
mod audit;
#[path = "../../benches/verify/flips.rs"]
mod flips;
#[path = "../../benches/verify/maker.rs"]
mod maker;
#[path = "../../benches/verify/statuses.rs"]
mod statuses;

use maker::{Maker, Shape};

#[test]
fn each_bit_that_is_changed_is_named_by_path_and_commit() {
    let dir = tempfile::tempdir().expect("a folder");
    let shape = Shape {
        agents: 8,
        commits: 40,
        seed: 3,
    };
    let made = maker::make(dir.path(), &shape);
    let ran = audit::run(&made.state);
    println!("checked in {:?}, with {} MiB", ran.time, ran.peak);
    assert_eq!(
        ran.found["findings"],
        serde_json::json!([]),
        "{}",
        ran.found
    );
    let verdicts = &ran.found["verdicts"];
    assert_eq!(
        verdicts["recomputed"].as_u64(),
        u64::try_from(made.records).ok()
    );
    let unnamed = audit::unnamed(&made.state, 20, 4);
    assert!(unnamed.is_empty(), "{}", unnamed.join("\n"));
}

#[test]
fn a_policy_that_the_desired_state_never_had_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let shape = Shape {
        agents: 2,
        commits: 2,
        seed: 5,
    };
    let mut maker = Maker::new(dir.path(), &shape);
    maker.policy.spec.max_age = "1000h".parse().expect("a duration");
    maker.round(0);
    maker.push();
    let found = audit::run(&maker.made.state).found;
    let findings = found["findings"].as_array().expect("a list");
    assert_eq!(findings.len(), 2, "{found}");
    for finding in findings {
        assert_eq!(finding["kind"], "policy");
        let path = finding["path"].as_str().expect("a file");
        assert!(path.starts_with("agents/"), "{path}");
        let message = finding["message"].as_str().expect("text");
        assert!(
            message.contains("in no version of the desired state"),
            "{message}"
        );
    }
    assert_eq!(
        found["verdicts"]["recomputed"], 2,
        "they are as that policy gives them: {found}"
    );
}

//! What a process is given in secret, what its probe is not, and what is left of it.

use std::os::unix::fs::PermissionsExt;

use easyenclave_schemas::{Secret, SecretName};

use super::*;
use crate::vault::Values;

const VALUE: &str = "s3cr3t \"in\" quotes\n";

/// A stage whose agent holds a secret that is used in these ways.
fn holding(uses: &Value) -> Stage {
    let mut stage = Stage::new();
    stage.secrets = serde_json::from_value(uses.clone()).expect("uses");
    let assignment = stage.assignment(&shell("true"), &NO_PROBE);
    let name = SecretName::new("db").expect("a name");
    let values = Values::from([(name, Secret::new(VALUE.into()))]);
    stage.place.vault.put(&assignment, values).expect("memory");
    stage
}

fn memory(stage: &Stage) -> PathBuf {
    let memory = Memory::of(&stage.fleet, "tiny-1");
    memory.path().to_owned()
}

#[tokio::test]
async fn a_workload_has_its_secrets_and_its_probe_has_no_variable_of_them() {
    let uses = json!([{ "name": "db", "env": "DB" }, { "name": "db", "file": "db.txt" }]);
    let mut stage = holding(&uses);
    let tell = "printf %s \"$DB\" >env; cat $EASYENCLAVE_SECRETS/db.txt >file; exec sleep 300";
    let look = r#"test -s file && test -z "$DB" && echo "${DB-none}" >probe"#;
    let probe = health(json!({ "command": ["sh", "-c", look] }));
    stage.start(&shell(tell), &probe);
    stage.state(WorkloadState::Ready).await;
    let read = |name| std::fs::read_to_string(stage.place.home.join(name)).expect("written");
    assert_eq!(
        (read("env").as_str(), read("file").as_str()),
        (VALUE, VALUE)
    );
    assert_eq!(read("probe"), "none\n");
    assert!(!format!("{:?}", stage.place).contains("s3cr3t"));
    let memory = memory(&stage);
    let mode = |path: &PathBuf| path.metadata().expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&memory), 0o700);
    stage.stop().await;
    assert!(!memory.exists(), "{} is left", memory.display());
}

#[tokio::test]
async fn a_workload_that_is_started_again_has_its_secrets_again() {
    let mut stage = holding(&json!([{ "name": "db", "env": "DB" }]));
    stage.start(&shell("printf %s \"$DB\"; exit 1"), &NO_PROBE);
    stage.until(|report| report.restarts >= 2).await;
    let lines = stage.lines(2).await;
    assert!(lines.iter().all(|line| *line == VALUE.trim()), "{lines:?}");
    assert!(!memory(&stage).exists(), "variables need no files");
    stage.stop().await;
}

//! Google's own client for Python against the Compute Engine of the tests: it understands all of it, and says nothing that
//! Google's document does not have.

use std::process::Command;

use easyenclave_gcp::fake::Fake;

use crate::oracle::{contract, environment, run};
use crate::stand::ZONES;

const STORY: &str = "\
insert one PENDING done
insert two PENDING done
pages 2 ['one', 'two'] []
empty 1 ['one', 'two'] []
get one RUNNING TDX
by number one
serial '' 0
conflict 409
invalid 400
delete done
gone 404
fails PENDING failed with ZONE_RESOURCE_POOL_EXHAUSTED
";

#[tokio::test(flavor = "multi_thread")]
async fn googles_own_client_lives_with_it() {
    let Some(python) = environment() else {
        return;
    };
    let fake = Fake::start(&ZONES).await;
    let host = fake.endpoint().replace("http://", "");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gcp/client.py");
    fake.fill(ZONES[0], "c3-standard-8");
    let ran = tokio::task::spawn_blocking(move || run(Command::new(python).arg(script).arg(host)));
    let output = ran.await.expect("no panic").expect("it ran");
    assert_eq!(String::from_utf8_lossy(&output.stdout), STORY);
    let Some(contract) = contract() else {
        return;
    };
    for said in fake.said() {
        // What Google refuses by its document is asked for on purpose.
        if said.status != 400 {
            assert_eq!(
                contract.judge(&said),
                Vec::<String>::new(),
                "{} {}",
                said.method,
                said.path
            );
        }
    }
}

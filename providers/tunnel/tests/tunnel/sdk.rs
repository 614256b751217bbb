//! The tests of Cloudflare's own SDK for tunnels, all of them, against the Cloudflare of our tests.

use std::process::Command;

use easyenclave_tunnel::testing::server::Server;

use crate::python::{run, sdk};

/// Where they are in its source.
const TESTS: [&str; 4] = [
    "test_cloudflared.py",
    "cloudflared/test_configurations.py",
    "cloudflared/test_token.py",
    "cloudflared/test_connections.py",
];

/// How many there are.
const PASSED: &str = "225 passed";

#[tokio::test(flavor = "multi_thread")]
async fn the_sdks_own_tests_pass_against_our_server() {
    let Some(sdk) = sdk() else {
        return;
    };
    let server = Server::lenient().await;
    let mut pytest = Command::new(&sdk.python);
    pytest.current_dir(&sdk.source);
    pytest.env("TEST_API_BASE_URL", server.api());
    pytest.env("PYTHONDONTWRITEBYTECODE", "1");
    pytest.args([
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
    ]);
    pytest.args(TESTS.map(|test| format!("tests/api_resources/zero_trust/tunnels/{test}")));
    let ran = tokio::task::spawn_blocking(move || run(&mut pytest));
    let output = ran
        .await
        .expect("no panic")
        .unwrap_or_else(|error| panic!("{error}"));
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = words.trim().lines().last().unwrap_or_default();
    println!("{last}");
    let counted: Vec<&str> = last.trim_matches('=').trim().split(" in ").collect();
    assert_eq!(counted[0], PASSED, "none fails, and none is left out");
    assert!(server.said().len() > 100, "they have asked this server");
}

//! A life of a tunnel, told by Cloudflare's own SDK against the Cloudflare of our tests: it understands all of it.

use std::process::Command;

use easyenclave_tunnel::testing::server::{Fault, Server, TOKEN, Verb};

use crate::python::{run, sdk};

const STORY: &str = "\
create one inactive cloudflare
again 409 1013
pages ['one', 'three', 'two'] of 3
named ['two']
rules None
rules set 1
rules read ['one.example.com', None]
catch-all first 400 1056
token True
record CNAME one.example.com True
record again 400 81058
record taken 400 81053
found ['one.example.com']
moved True
too many 429 None
too many 429 7
unsuccessful 200
still connected 400 1022
still connected 400 1022
dropped
deleted True
gone 404 1003
there ['three', 'two']
with deleted ['one', 'three', 'two']
record gone []
unknown 401 10000
";

#[tokio::test(flavor = "multi_thread")]
async fn cloudflares_own_client_lives_with_it() {
    let Some(sdk) = sdk() else {
        return;
    };
    let server = Server::start().await;
    server.set_page(2);
    // They are met by the only requests of their kinds.
    server.meet(Fault::TooMany(Verb::GetRecord, None));
    server.meet(Fault::TooMany(Verb::GetRecord, Some(7)));
    server.meet(Fault::Refused(Verb::GetConnections, 200, 7));
    let mut python = Command::new(&sdk.python);
    python.arg(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/tunnel/client.py"
    ));
    python.args([server.api(), TOKEN.to_owned()]);
    let story = tokio::task::spawn_blocking(move || run(&mut python));
    // The connector of `one` connects when its token has been fetched, and comes back twice.
    let connect = async {
        while !server
            .said()
            .iter()
            .any(|said| said.path.ends_with("/token"))
        {
            tokio::task::yield_now().await;
        }
        server.connect_stubbornly("one", 2);
    };
    let (ran, ()) = tokio::join!(story, connect);
    let output = ran
        .expect("no panic")
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), STORY);
}

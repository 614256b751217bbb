//! Callers of the API who send too much, too slowly, or something else altogether: each is told so in the one
//! shape of a refusal, and none holds the server up.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::harness::Fleet;

const LONGEST: Duration = Duration::from_secs(40);

/// Says this on a connection of its own. Answers the status and the code of the refusal.
fn say(fleet: &Fleet, words: &str) -> (u16, String) {
    let url = fleet.url();
    let address = url.strip_prefix("http://").expect("plain HTTP");
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(LONGEST)).expect("set");
    stream.write_all(words.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a header");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body: Value = serde_json::from_str(body).expect("JSON");
    let code = body["code"].as_str().expect("a code").to_owned();
    (status.expect("a status"), code)
}

#[test]
fn whoever_sends_too_much_or_too_slowly_or_nonsense_is_told_so() {
    let mut fleet = Fleet::new(1, 0);
    fleet.start_serve();
    let key = format!(
        "authorization: Bearer {}\r\n",
        fleet.log("data/keys/launcher.key").trim()
    );
    let with = |more: &str, line: &str, length: usize, body: &str| {
        format!(
            "{line} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n{more}content-length: {length}\r\n\r\n{body}"
        )
    };
    let request = |line: &str, length: usize, body: &str| with(&key, line, length, body);
    let claim = "POST /api/v1/launchers/capacity/orders/claim";
    let listing = "POST /api/v1/launchers/capacity/inventory";
    let many = " ".repeat(1_000_000);
    let cases = [
        (request("GET /nowhere", 0, ""), (404, "no_route")),
        (
            request("GET /api/v1/agents/register", 0, ""),
            (405, "wrong_method"),
        ),
        (request(claim, 2, "{}"), (400, "invalid_body")),
        (with("", claim, 2, "{}"), (401, "missing_launcher_key")),
        (
            request("POST /api/v1/agents/register", 2, "{}"),
            (400, "invalid_body"),
        ),
        (request(claim, 1_000_000, ""), (413, "body_too_long")),
        (request(claim, 100, "{"), (408, "body_too_slow")),
        (request(listing, 1_000_000, &many), (400, "invalid_body")),
        (request(listing, 3_000_000, ""), (413, "body_too_long")),
    ];
    for (words, (status, code)) in cases {
        let shown: String = words.chars().take(100).collect();
        assert_eq!(say(&fleet, &words), (status, code.to_owned()), "{shown}");
    }
    fleet.stop();
}

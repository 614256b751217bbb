//! Keeps the user and password of an address out of the arguments of `git`, which every user of the machine can
//! read. They go along in its environment instead, for that one host.

use std::ffi::OsStr;

use tokio::process::Command;

/// Where the address with its secret is, for the helper.
const ADDRESS: &str = "SECRET_GIT_ADDRESS";

/// What answers `git` when it asks who we are. Git reads user and password out of the address, as it would have.
const HELPER: &str = r#"!f() { test "$1" = get && printf 'url=%s\n' "$SECRET_GIT_ADDRESS"; }; f"#;

/// Adds arguments to a command, without the secrets of an address among them.
pub(crate) fn add_args<S: AsRef<OsStr>>(command: &mut Command, args: &[S]) {
    for arg in args {
        let split = arg.as_ref().to_str().and_then(split);
        let Some(Address { host, rest, user }) = split else {
            command.arg(arg);
            continue;
        };
        command.arg(format!("{host}{rest}"));
        let key = |name: &str| format!("credential.{host}.{name}");
        match user.contains(':') {
            true => {
                command.env(ADDRESS, arg);
                // The empty one puts the user's helpers aside: the address says who to be.
                let helpers = [(key("helper"), ""), (key("helper"), HELPER)];
                configure(command, &helpers);
            }
            false => configure(command, &[(key("username"), user)]),
        }
    }
}

/// Settings by environment, after those that the user gives the same way.
fn configure(command: &mut Command, settings: &[(String, &str)]) {
    let given = std::env::var("GIT_CONFIG_COUNT").ok();
    let given = given.and_then(|count| count.parse::<usize>().ok());
    let mut count = given.unwrap_or(0);
    for (key, value) in settings {
        command.env(format!("GIT_CONFIG_KEY_{count}"), key);
        command.env(format!("GIT_CONFIG_VALUE_{count}"), value);
        count += 1;
    }
    command.env("GIT_CONFIG_COUNT", count.to_string());
}

/// `https://user:password@host:1/path` in parts.
struct Address<'a> {
    /// `https://host:1`.
    host: String,
    /// `/path`.
    rest: &'a str,
    /// `user:password`.
    user: &'a str,
}

/// Only of HTTP: to SSH a password says nothing, and the user is part of the address. A user alone that is written
/// with escapes stays, as only Git knows how to read it.
fn split(arg: &str) -> Option<Address<'_>> {
    let (scheme, address) = arg.split_once("://")?;
    if !matches!(scheme, "http" | "https") {
        return None;
    }
    let (host, rest) = address.split_at(address.find('/').unwrap_or(address.len()));
    let (user, host) = host.rsplit_once('@')?;
    if user.contains('%') && !user.contains(':') {
        return None;
    }
    let host = format!("{scheme}://{host}");
    Some(Address { host, rest, user })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;
    use crate::process::git;

    /// A server that asks who is there, and tells what it was answered.
    fn server() -> (u16, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let answer = move || loop {
            let (stream, _) = listener.accept().expect("a connection");
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
            let says = |line: &String| line.to_ascii_lowercase().starts_with("authorization:");
            let said = head.into_iter().find(says);
            let status = if said.is_some() { "404 No" } else { "401 Who" };
            let answer = format!(
                "HTTP/1.1 {status}\r\nwww-authenticate: Basic realm=\"x\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            (&stream).write_all(answer.as_bytes()).expect("written");
            if let Some(said) = said {
                return said;
            }
        };
        (port, std::thread::spawn(answer))
    }

    #[tokio::test]
    async fn a_password_reaches_its_host_and_no_argument() {
        let dir = tempfile::tempdir().expect("a folder");
        git2::Repository::init_bare(dir.path()).expect("made");
        // In base64: `me:p@s:s`, and `token:` as no password is known of a user alone.
        for (user, header) in [("me:p%40s%3as", "bWU6cEBzOnM="), ("token", "dG9rZW46")] {
            let (port, server) = server();
            let url = format!("http://{user}@127.0.0.1:{port}/x");
            let args = ["ls-remote", "--", &url];
            let output = git(dir.path(), "fetch", &args, Duration::from_secs(60)).await;
            assert!(!output.expect("ended").success, "there is nothing");
            let said = server.join().expect("asked");
            assert!(said.ends_with(&format!("Basic {header}")), "{said}");
            let mut command = Command::new("git");
            add_args(&mut command, &args);
            let args: Vec<_> = command.as_std().get_args().collect();
            let bare = format!("http://127.0.0.1:{port}/x");
            assert_eq!(args, ["ls-remote", "--", &bare]);
        }
    }

    #[test]
    fn other_addresses_stay_as_they_are() {
        for arg in [
            "ssh://git@h/x",
            "git@h:x",
            "https://h/a@b",
            "/a",
            "https://a%40b@h/x",
        ] {
            let mut command = Command::new("git");
            add_args(&mut command, &[arg]);
            let args: Vec<_> = command.as_std().get_args().collect();
            assert_eq!(args, [arg]);
        }
    }
}

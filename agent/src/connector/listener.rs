//! Whether a process listens on a port of this machine, as the kernel says: a port that was free when it was chosen may be
//! another's when it is asked.

use std::collections::BTreeSet;
use std::fs;

/// The word for a socket that listens, in the kernel's table.
const LISTENS: &str = "0A";

/// Whether this process listens on this port at 127.0.0.1.
pub(super) fn is(pid: u32, port: u16) -> bool {
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let sockets = sockets(&table, port);
    let files = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    let mut links = files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok());
    links.any(|link| link.to_str().is_some_and(|link| sockets.contains(link)))
}

/// The sockets that listen on a port at 127.0.0.1, as a process's own files name them.
fn sockets(table: &str, port: u16) -> BTreeSet<String> {
    let here = format!("{:08X}:{port:04X}", u32::from_ne_bytes([127, 0, 0, 1]));
    let socket = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_it = words.get(1) == Some(&here.as_str()) && words.get(3) == Some(&LISTENS);
        let inode = words.get(9).filter(|_| is_it)?;
        Some(format!("socket:[{inode}]"))
    };
    table.lines().filter_map(socket).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::is;

    #[test]
    fn who_listens_is_told_from_who_does_not() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let own = std::process::id();
        assert!(is(own, port));
        assert!(!is(1, port), "another process");
        drop(listener);
        assert!(!is(own, port));
    }
}

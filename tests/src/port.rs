//! Ports for servers that a test starts, stops and starts again.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below what Linux gives to whoever asks for any port, also to connections that go out: such a port could be another's while
/// nobody listens on it.
const FIRST: u16 = 20_000;

/// So many, up to where the system's own begin (32768).
const COUNT: u16 = 12_000;

/// A port of this machine on which nobody listens now, and which nobody is given who asks for any. Tests of one process are
/// never given the same.
///
/// # Panics
/// When all are taken.
pub fn port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes of tests that run at once begin far from each other.
    let begin = std::process::id().wrapping_mul(7919);
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut next = (0..COUNT).map(|_| {
        let next = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        FIRST + u16::try_from(next % u32::from(COUNT)).expect("below the count")
    });
    next.find(free).expect("a free port")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_free_and_none_is_given_twice() {
        let (one, two) = (port(), port());
        let both = [one, two].map(|port| TcpListener::bind(("127.0.0.1", port)));
        assert!(both.iter().all(Result::is_ok) && one != two, "{both:?}");
    }
}

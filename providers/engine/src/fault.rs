//! What the words of an engine or a compose mean for whoever waits: whose fault it is that something did not start. Words
//! that are not known are the fault of what was to be started.

use crate::EngineError;

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The engine or its programs are not there, or do not answer.
    Engine,
    /// There is no such image.
    Image,
    /// The place that images come from does not answer.
    Registry,
    /// What was to be started.
    Start,
}

/// The engine cannot be reached: words of Docker's program, of compose's first generation, and of Podman.
const ENGINE: [&str; 8] = [
    "cannot connect to the docker daemon",
    "couldn't connect to docker daemon",
    "is the docker daemon running",
    "error during connect",
    "unable to connect to podman",
    "connection aborted",
    // A compose that is too old for what it is asked.
    "error: unrecognized arguments",
    "invalid choice:",
];

/// An image that is nowhere: words of registries as engines pass them on.
const IMAGE: [&str; 12] = [
    "manifest unknown",
    "manifest for ",
    "name unknown",
    "repository does not exist",
    "pull access denied",
    "requested access to the resource is denied",
    "no such image",
    "no matching manifest",
    "invalid reference format",
    ": 401 unauthorized",
    ": 403 forbidden",
    ": 404 not found",
];

/// A registry that cannot be reached or has trouble of its own.
const REGISTRY: [&str; 17] = [
    "connection refused",
    "connection reset",
    "i/o timeout",
    "no such host",
    "name resolution",
    "tls handshake",
    "unexpected http status",
    "request canceled",
    "context deadline exceeded",
    "toomanyrequests",
    "server misbehaving",
    "network is unreachable",
    "unexpected eof",
    // What was asked for, by a quoted address, and no answer.
    "\": eof",
    "no route to host",
    // Docker's store of containerd names the status at the end, which may be cut off.
    "unexpected status",
    "error parsing http 5",
];

/// Reads the words of a failure.
pub fn fault(said: &str) -> Fault {
    let said = said.to_lowercase();
    let holds = |words: &[&str]| words.iter().any(|word| said.contains(word));
    match (holds(&ENGINE), holds(&IMAGE), holds(&REGISTRY)) {
        (true, _, _) => Fault::Engine,
        (_, true, _) => Fault::Image,
        // Whatever listens is not asked for while something is started; only a registry is.
        (_, _, true) => Fault::Registry,
        _ => Fault::Start,
    }
}

impl EngineError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Failed { said, .. } => fault(said),
            Self::Missing
            | Self::Down(_)
            | Self::Elsewhere { .. }
            | Self::Late { .. }
            | Self::System { .. }
            | Self::Output(_)
            | Self::Left(_) => Fault::Engine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As they are said by the programs that tests/setup installs, and by Docker 28 and Podman 4.
    #[test]
    fn words_of_a_failure_are_told_apart() {
        let cases = [
            (
                Fault::Engine,
                "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
            ),
            (
                Fault::Engine,
                "Couldn't connect to Docker daemon at http+docker://localhost - is it running?",
            ),
            (
                Fault::Image,
                "Error response from daemon: manifest for 127.0.0.1:5000/a:9 not found: manifest unknown: manifest unknown",
            ),
            (
                Fault::Image,
                "Error response from daemon: pull access denied for a, repository does not exist or may require 'docker login'",
            ),
            (
                Fault::Registry,
                "Error response from daemon: Get \"http://127.0.0.1:5000/v2/\": dial tcp 127.0.0.1:5000: connect: connection refused",
            ),
            (
                Fault::Registry,
                "Error response from daemon: Get \"https://r.example/v2/\": dial tcp: lookup r.example: no such host",
            ),
            (
                Fault::Registry,
                "toomanyrequests: You have reached your pull rate limit.",
            ),
            (
                Fault::Start,
                "Error response from daemon: driver failed programming external connectivity: port is already allocated",
            ),
            (
                Fault::Start,
                "OCI runtime create failed: exec: \"nothing\": executable file not found in $PATH: unknown",
            ),
        ];
        told_apart(&cases);
    }

    /// As Docker's store of containerd, registries in trouble, and a compose that is too old say them.
    #[test]
    fn a_registry_in_trouble_is_nobody_elses_fault() {
        told_apart(&[
            (
                Fault::Registry,
                "failed to resolve reference \"r.example/a:1\": unexpected status from HEAD request to https://r.example/v2/a/manifests/1: 503 Service Unavailable",
            ),
            (
                Fault::Registry,
                "failed to do request: Head \"https://r.example/v2/a/manifests/1\": dial tcp 192.0.2.1:443: connect: no route to host",
            ),
            (
                Fault::Registry,
                "Error response from daemon: error parsing HTTP 502 response body: invalid character '<' looking for beginning of value",
            ),
            (
                Fault::Registry,
                "Error response from daemon: Get \"https://r.example/v2/\": EOF",
            ),
            (
                Fault::Image,
                "unexpected status from HEAD request to https://r.example/v2/a/manifests/1: 403 Forbidden",
            ),
            (
                Fault::Engine,
                "podman-compose: error: unrecognized arguments: --env-file values",
            ),
        ]);
    }

    fn told_apart(cases: &[(Fault, &str)]) {
        for (expected, said) in cases {
            assert_eq!(fault(said), *expected, "{said}");
        }
    }
}

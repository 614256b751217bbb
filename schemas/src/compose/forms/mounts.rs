//! What is mounted into a service: volumes of this file and memory, and never a path of the machine.

use super::{Fit, expect, is_path, refuse};
use crate::compose::WorkloadRules;

/// A mount in its short form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::compose) enum Mount<'a> {
    /// A named volume.
    Volume(&'a str),
    /// A volume without a name, which ends with its container.
    Anonymous,
    /// A path of the machine.
    Host,
}

const HOST: &str = "a path of the machine is not the workload's: nothing lies beside this file on an agent; use a volume, or put \
                    texts inline under `configs`";

impl<'a> Mount<'a> {
    /// Takes `[SOURCE:]TARGET[:OPTIONS]` apart. Windows paths are paths of a machine as well.
    pub(in crate::compose) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let first = parts.next()?;
        let is_drive = first.len() == 1 && matches!(text.as_bytes(), [_, b':', b'\\' | b'/', ..]);
        let is_host = first.starts_with(['.', '/', '~', '\\']) || is_drive;
        let Some(target) = parts.next() else {
            return is_path(first).then_some(Self::Anonymous);
        };
        if is_host {
            return Some(Self::Host);
        }
        let options = parts.next().unwrap_or("rw");
        let is_good = is_path(target) && options.split(',').all(is_option);
        is_good.then_some(Self::Volume(first))
    }
}

fn is_option(option: &str) -> bool {
    matches!(
        option,
        "rw" | "ro" | "z" | "Z" | "nocopy" | "cached" | "consistent" | "delegated"
    )
}

/// A mount in its short form.
pub(in crate::compose) fn mount(text: &str, _: &WorkloadRules) -> Fit {
    match Mount::parse(text) {
        Some(Mount::Host) => refuse("compose-host-path", HOST),
        parsed => expect(parsed.is_some(), "VOLUME:PATH, VOLUME:PATH:ro or PATH"),
    }
}

/// The kind of a mount in its long form.
pub(in crate::compose) fn mount_kind(text: &str, _: &WorkloadRules) -> Fit {
    match text {
        "volume" | "tmpfs" => Ok(()),
        "bind" | "npipe" => refuse("compose-host-path", HOST),
        "cluster" => refuse(
            "compose-swarm",
            "only a swarm has volumes of a cluster; use a volume",
        ),
        "image" => refuse(
            "compose-unsupported",
            "not every engine can mount an image, and nobody would compare its digest; copy what is needed into an image",
        ),
        _ => expect(false, "one of volume, tmpfs"),
    }
}

/// Another service's mounts: `SERVICE[:OPTIONS]`.
pub(in crate::compose) fn service_mounts(text: &str, _: &WorkloadRules) -> Fit {
    match text.split_once(':') {
        Some(("container", _)) => refuse(
            "compose-external",
            "a container outside of this file is nobody's; name a service of this file",
        ),
        Some((_, options)) => expect(
            matches!(options, "ro" | "rw"),
            "SERVICE, SERVICE:ro or SERVICE:rw",
        ),
        None => Ok(()),
    }
}

/// Memory as a folder: `PATH[:OPTIONS]`.
pub(in crate::compose) fn temporary(text: &str, _: &WorkloadRules) -> Fit {
    let path = text.split(':').next().unwrap_or_default();
    expect(
        is_path(path),
        "an absolute path inside of the container, without `..`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_path_of_the_machine_is_told_from_a_volume() {
        let cases = [
            ("data:/var/lib/x", Some(Mount::Volume("data"))),
            ("data:/var/lib/x:ro", Some(Mount::Volume("data"))),
            ("data:/var/lib/x:ro,nocopy", Some(Mount::Volume("data"))),
            ("/var/lib/x", Some(Mount::Anonymous)),
            ("./x:/x", Some(Mount::Host)),
            ("../x:/x:ro", Some(Mount::Host)),
            (".:/x", Some(Mount::Host)),
            ("/:/host", Some(Mount::Host)),
            ("~/x:/x", Some(Mount::Host)),
            ("~:/x", Some(Mount::Host)),
            (
                "/var/run/docker.sock:/var/run/docker.sock",
                Some(Mount::Host),
            ),
            ("D:\\x:/x", Some(Mount::Host)),
            ("c:/x:/x", Some(Mount::Host)),
            ("\\\\.\\pipe\\x:/x", Some(Mount::Host)),
            ("data:/x:shared", None),
            ("data:x", None),
            ("data:/x/../../etc", None),
            ("/x/..", None),
            ("data", None),
            ("", None),
            (":/x", Some(Mount::Volume(""))),
            ("é:/x", Some(Mount::Volume("é"))),
        ];
        for (text, expected) in cases {
            assert_eq!(Mount::parse(text), expected, "{text}");
        }
    }
}

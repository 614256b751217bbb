//! Podman for tests: with a store, networks and settings of its own, in a test's folder, whatever the system has.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Where its programs are, and those that it starts.
const PROGRAMS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A search path with Podman and its compose, and no other program: an engine of Docker would come first.
pub(super) fn path(folder: &Path) -> OsString {
    let own = folder.join("bin");
    fs::create_dir_all(&own).expect("a folder");
    fs::create_dir_all(folder.join("home")).expect("a folder");
    let settings = folder.join("containers.conf");
    fs::write(&settings, conf(folder)).expect("written");
    if let Some(podman) = find("podman") {
        let at = folder.display();
        let script = format!(
            "#!/bin/sh\nPATH={PROGRAMS} CONTAINERS_CONF={} exec {} --root {at}/store --runroot {at}/run \
             --tmpdir {at}/tmp --storage-driver vfs \"$@\"\n",
            settings.display(),
            podman.display()
        );
        write(&own.join("podman"), &script);
    }
    if let Some(compose) = find("podman-compose") {
        symlink(compose, own.join("podman-compose")).expect("linked");
    }
    own.into_os_string()
}

/// Which addresses networks of tests had, which Podman's own programs keep for good. Tests take turns, so none is in use.
pub(super) fn forget_networks() {
    let known = fs::read_dir("/var/lib/cni/networks").into_iter().flatten();
    let ours = known.flatten().filter(|network| {
        let name = network.file_name();
        name.as_encoded_bytes().starts_with(b"ee_test_")
    });
    for network in ours {
        let _ = fs::remove_dir_all(network.path());
    }
}

/// Nothing that other engines of the machine share: locks, networks, a journal. The limits are those that every machine lets it have.
fn conf(folder: &Path) -> String {
    format!(
        "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\nlog_driver = \"k8s-file\"\n\
         [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nlock_type = \"file\"\n\
         [network]\nnetwork_config_dir = \"{}/networks\"\n",
        folder.display()
    )
}

fn write(path: &Path, script: &str) {
    fs::write(path, script).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("executable");
}

fn find(name: &str) -> Option<PathBuf> {
    let mut paths = std::env::split_paths(PROGRAMS).map(|folder| folder.join(name));
    paths.find(|path| path.is_file())
}

//! Images made of real packages, and booted: what is the same in two of them, and what the machine does with what it
//! was given.

mod machine;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use easyenclave_image::{ImageError, Manifest, Spec, build};
use easyenclave_tests::packages_given;
use machine::Machine;
use tempfile::TempDir;

/// What the machines run here in the agent's place: it says what it was given, and counts its boots on its disk.
const AGENT: &str = "#!/bin/sh
echo \"given: $*\"
cat \"$3\" /run/easyenclave/platform/pck.key
echo boot >>/var/lib/easyenclave/boots
echo \"boots: $(wc -l </var/lib/easyenclave/boots)\"
ip -4 addr show eth0 | grep -o 'inet [0-9.]*'
echo \"renewing: $(ps | grep -c '[u]dhcpc')\"
program --list | tail -n 1
exit 7
";

/// Where packages are kept between runs.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("image-cache")
}

/// An agent that is a script, and a program with libraries: that of this test.
fn spec(folder: &Path, agent: &str) -> Spec {
    let (script, program) = (folder.join("agent"), folder.join("program"));
    fs::write(&script, agent).expect("written");
    fs::copy(std::env::current_exe().expect("a program"), &program).expect("copied");
    let mut spec = Spec::small(script);
    spec.agent.args = vec!["stub".into()];
    spec.programs = vec![program];
    spec
}

/// A new image in a folder of its own. None where packages cannot be had.
async fn image(agent: &str) -> Option<(TempDir, Manifest)> {
    let dir = tempfile::tempdir().expect("a folder");
    let spec = spec(dir.path(), agent);
    let start = tokio::time::Instant::now();
    match build(&spec, &dir.path().join("image"), &cache()).await {
        Ok(manifest) => {
            println!("built in {:.1} s", start.elapsed().as_secs_f64());
            Some((dir, manifest))
        }
        Err(error) if error.is_of_the_machine() => {
            skip(&error);
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Says what is missing, and fails where everything is required.
fn skip(error: &ImageError) {
    let _: Option<()> = packages_given(Err(error));
}

/// Where the second build is to be made, in the child that makes it.
const SECOND: &str = "EASYENCLAVE_TEST_SECOND_IMAGE";

/// Another place, another time, other names of folders, another order in which files were made; and a process with
/// other rights of new files, another language, zone of time and temporary folder.
#[tokio::test]
async fn two_builds_give_the_same_image_to_the_byte() {
    if let Ok(folder) = std::env::var(SECOND) {
        return build_second(Path::new(&folder)).await;
    }
    let Some((first, one)) = image(AGENT).await else {
        return;
    };
    let second = tempfile::tempdir().expect("a folder");
    let other = second.path().join("another/cache");
    fs::create_dir_all(&other).expect("made");
    let packages = fs::read_dir(cache()).expect("kept").flatten();
    let mut packages: Vec<PathBuf> = packages.map(|entry| entry.path()).collect();
    packages.sort_by(|a, b| b.cmp(a));
    for package in packages.iter().filter(|path| path.is_file()) {
        fs::copy(package, other.join(package.file_name().expect("a name"))).expect("copied");
    }
    let lock = first.path().join("image/image.json");
    fs::copy(lock, second.path().join("lock")).expect("copied");
    run_as_somebody_else(second.path()).await;
    let out = second.path().join("another/image");
    let two = Manifest::open(&out).expect("whole");
    println!("digests: {} and {}", one.digest(), two.digest());
    println!(
        "kernel {} bytes, archive {} bytes",
        one.kernel.bytes, one.initramfs.bytes
    );
    assert_eq!(one, two);
    for file in ["image.json", "vmlinuz", "initramfs.cpio"] {
        let read = |folder: &Path| fs::read(folder.join(file)).expect("there");
        assert!(read(&first.path().join("image")) == read(&out), "{file}");
    }
}

/// This test again in a process of its own, with an environment in which a careless build would give other bytes.
async fn run_as_somebody_else(folder: &Path) {
    let temporary = folder.join("another/tmp");
    fs::create_dir(&temporary).expect("made");
    let mut child = tokio::process::Command::new("sh");
    child.args(["-c", "umask 077; exec \"$@\"", "sh"]);
    child.arg(std::env::current_exe().expect("a program"));
    child.args(["--exact", "two_builds_give_the_same_image_to_the_byte"]);
    child.env(SECOND, folder).env("TMPDIR", temporary);
    child
        .env("LC_ALL", "tr_TR.UTF-8")
        .env("LANG", "tr_TR.UTF-8");
    child.env("TZ", "Asia/Kathmandu").kill_on_drop(true);
    let ended = tokio::time::timeout(Duration::from_secs(180), child.output()).await;
    let output = ended.expect("the build has not ended").expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{output:?}"
    );
}

async fn build_second(folder: &Path) {
    let lock = Manifest::load(&folder.join("lock")).expect("a lock");
    let spec = Spec {
        lock: Some(lock),
        ..spec(folder, AGENT)
    };
    let (out, cache) = (folder.join("another/image"), folder.join("another/cache"));
    build(&spec, &out, &cache).await.expect("built");
}

#[tokio::test]
async fn another_byte_of_the_agent_is_another_image() {
    let Some((_first, one)) = image(AGENT).await else {
        return;
    };
    let Some((_second, two)) = image(&AGENT.replace("exit 7", "exit 8")).await else {
        return;
    };
    assert_ne!(one.digest(), two.digest());
    assert_ne!(one.programs[0].sha256, two.programs[0].sha256);
    assert_eq!((one.kernel, one.packages), (two.kernel, two.packages));
}

#[tokio::test]
async fn a_program_whose_library_is_nowhere_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    // The package manager needs a library of its own, which no image has.
    let mut spec = spec(dir.path(), AGENT);
    spec.programs = vec!["/usr/bin/apt-get".into()];
    let built = build(&spec, &dir.path().join("image"), &cache()).await;
    match built {
        Err(ImageError::Library { library, .. }) => assert!(library.starts_with("lib")),
        Err(error) if error.is_of_the_machine() => skip(&error),
        other => panic!("an image with a program that cannot run: {other:?}"),
    }
    assert!(!dir.path().join("image").exists());
}

/// As when it was built on a newer system than that of the packages.
#[tokio::test]
async fn a_program_for_a_newer_library_than_that_of_the_image_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let spec = spec(dir.path(), AGENT);
    let mut program = fs::read(&spec.programs[0]).expect("copied");
    let (is, newer) = (b"\0GLIBC_2.34\0", b"\0GLIBC_9.99\0");
    let at = program.windows(is.len()).position(|bytes| bytes == is);
    let at = at.expect("a version that programs of today need");
    program[at..at + is.len()].copy_from_slice(newer);
    fs::write(&spec.programs[0], program).expect("written");
    match build(&spec, &dir.path().join("image"), &cache()).await {
        Err(ImageError::Version { version, .. }) => assert_eq!(version, "GLIBC_9.99"),
        Err(error) if error.is_of_the_machine() => skip(&error),
        other => panic!("an image with a program that cannot run: {other:?}"),
    }
    assert!(!dir.path().join("image").exists());
}

#[tokio::test]
async fn a_machine_without_a_configuration_says_so_and_ends() {
    let Some((dir, manifest)) = image(AGENT).await else {
        return;
    };
    let machine = Machine::of(dir.path().join("image"), manifest);
    let Some(console) = machine.boot().await else {
        return;
    };
    let last = console.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("easyenclave: no configuration"),
        "{console}"
    );
}

/// The second time with an address from DHCP, and with the disk of the first.
#[tokio::test]
async fn a_machine_runs_the_agent_with_what_it_was_given_and_ends_with_it() {
    let Some((dir, manifest)) = image(AGENT).await else {
        return;
    };
    let disk = dir.path().join("disk");
    let file = fs::File::create(&disk).expect("made");
    file.set_len(64 * 1024 * 1024).expect("a length");
    let mut machine = Machine::of(dir.path().join("image"), manifest);
    machine.give("config", "{\"order_id\":\"tiny-1\"}\n");
    machine.give("platform/pck.key", "a simulated key\n");
    machine.disk = Some(disk);
    for boots in 1..=2 {
        let renewing = match boots {
            1 => "renewing: 0",
            _ => "renewing: 1",
        };
        match boots {
            1 => machine.give("net", "user"),
            _ => machine.given.retain(|(name, _)| name != "net"),
        }
        let Some(console) = machine.boot().await else {
            return;
        };
        let count = format!("boots: {boots}");
        let expected = [
            "easyenclave: starting /usr/bin/agent stub",
            "given: stub --config /run/easyenclave/config.json --bound",
            "{\"order_id\":\"tiny-1\"}",
            "a simulated key",
            count.as_str(),
            "inet 10.0.2.15",
            renewing,
            "7 tests, 0 benchmarks",
            "easyenclave: the agent ended with 7",
        ];
        // On a slow host the kernel finds fault with a timer; what it says begins with its clock.
        let said = console.lines().filter(|line| !line.starts_with("[ "));
        assert_eq!(said.collect::<Vec<_>>(), expected, "{console}");
    }
}

/// One holds something behind its first 64 KiB, the other has a sector that cannot be read.
#[tokio::test]
async fn a_disk_that_is_in_use_or_cannot_be_read_is_left_as_it_is() {
    let Some((dir, manifest)) = image(AGENT).await else {
        return;
    };
    let disk = dir.path().join("disk");
    let file = fs::File::create(&disk).expect("made");
    file.set_len(8 * 1024 * 1024).expect("a length");
    file.write_all_at(b"_BHRfS_M", 65_600).expect("written");
    let before = fs::read(&disk).expect("there");
    let mut machine = Machine::of(dir.path().join("image"), manifest);
    machine.give("config", "{}\n");
    machine.disk = Some(disk.clone());
    for (broken, reason) in [(None, "used"), (Some(64), "read")] {
        if broken.is_some() {
            file.write_all_at(&[0; 8], 65_600).expect("written");
        }
        machine.broken_sector = broken;
        let Some(console) = machine.boot().await else {
            return;
        };
        let last = console.lines().last().unwrap_or_default();
        let expected = format!("easyenclave: the data disk cannot be {reason}");
        assert_eq!(last, expected, "{console}");
    }
    let mut expected = before;
    expected[65_600..65_608].fill(0);
    assert!(fs::read(&disk).expect("there") == expected, "written to");
}

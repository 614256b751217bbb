//! The system around the agent: what the archive holds, and why.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use easyenclave_schemas::Digest;

use crate::cpio::Tree;
use crate::deb::{Unpacked, scratch};
use crate::elf::Linked;
use crate::kernel::Kernel;
use crate::{ImageError, elf};

/// The first program of the machine.
const INIT: &str = include_str!("init.sh");

/// What a DHCP client does with an answer.
const LEASE: &str = include_str!("lease.sh");

/// Tells a new disk from one that holds something.
const BLANK: &str = include_str!("blank.sh");

/// Commands of busybox under their own names: what the first program runs, and what small workloads expect.
const COMMANDS: [&str; 40] = [
    "awk", "basename", "cat", "chmod", "cmp", "cp", "cut", "date", "dd", "df", "dirname", "echo",
    "env", "expr", "false", "free", "grep", "head", "httpd", "insmod", "ip", "kill", "ln", "ls",
    "mkdir", "mke2fs", "mount", "mv", "poweroff", "ps", "rm", "sed", "sh", "sleep", "sync", "tail",
    "tr", "true", "udhcpc", "wc",
];

/// Folders in which something is mounted or written.
const FOLDERS: [&str; 7] = [
    "dev",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "var/lib/easyenclave",
];

/// Texts that the C library looks for.
const TEXTS: [(&str, &str); 4] = [
    ("etc/group", "root:x:0:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("etc/nsswitch.conf", "hosts: files dns\n"),
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
];

/// Where libraries are looked for in packages and put in the machine.
const LIBRARIES: &str = "lib/x86_64-linux-gnu";

/// The program that loads those that name libraries has one fixed place.
const LOADER: &str = "ld-linux-x86-64.so.2";

/// The packages that the system is made of.
pub(crate) struct Sources {
    pub(crate) busybox: Unpacked,
    pub(crate) certificates: Unpacked,
    /// Those that hold libraries.
    pub(crate) libraries: Vec<Unpacked>,
}

/// A program of ours.
pub(crate) struct Ours<'a> {
    pub(crate) file: &'a Path,
    pub(crate) name: String,
    /// The digest of the file.
    pub(crate) given: Digest,
    /// What goes into the image.
    pub(crate) bytes: Vec<u8>,
}

/// Everything but the kernel.
///
/// # Errors
/// When a package lacks something, or a program needs what no package has.
pub(crate) async fn system(
    sources: &Sources,
    kernel: &Kernel,
    programs: &[Ours<'_>],
    command: &[String],
) -> Result<Tree, ImageError> {
    let mut tree = Tree::default();
    tree.program("init", INIT.as_bytes().to_vec());
    tree.program("etc/udhcpc.sh", LEASE.as_bytes().to_vec());
    tree.program("etc/blank.sh", BLANK.as_bytes().to_vec());
    tree.file("etc/easyenclave/agent", line(command));
    FOLDERS.iter().for_each(|path| tree.folder(path));
    for (path, text) in TEXTS {
        tree.file(path, text.as_bytes().to_vec());
    }
    busybox(&mut tree, sources)?;
    tree.file("etc/ssl/certs/ca-certificates.crt", roots(sources)?);
    modules(&mut tree, kernel);
    for program in programs {
        tree.program(&format!("usr/bin/{}", program.name), program.bytes.clone());
    }
    libraries(&mut tree, sources, programs).await?;
    Ok(tree)
}

fn line(words: &[String]) -> Vec<u8> {
    (words.join(" ") + "\n").into_bytes()
}

fn busybox(tree: &mut Tree, sources: &Sources) -> Result<(), ImageError> {
    let program = sources.busybox.read(&["bin/busybox", "usr/bin/busybox"])?;
    tree.program("bin/busybox", program);
    for command in COMMANDS {
        tree.link(&format!("bin/{command}"), "busybox");
    }
    Ok(())
}

/// The roots for TLS in one file, as the package's own script would make it.
fn roots(sources: &Sources) -> Result<Vec<u8>, ImageError> {
    let files = sources.certificates.files("usr/share/ca-certificates")?;
    let mut all = Vec::new();
    for file in files
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "crt"))
    {
        all.extend(fs::read(file).map_err(ImageError::file(file))?);
        all.push(b'\n');
    }
    match all.is_empty() {
        true => Err(sources.certificates.lacks("certificates")),
        false => Ok(all),
    }
}

/// The modules, and the order in which they are loaded.
fn modules(tree: &mut Tree, kernel: &Kernel) {
    let names = kernel.modules.iter().map(|(name, _)| format!("{name}\n"));
    tree.file("lib/modules/order", names.collect::<String>().into_bytes());
    for (name, bytes) in &kernel.modules {
        tree.file(&format!("lib/modules/{name}.ko"), bytes.clone());
    }
}

/// The libraries that our programs need, and those that these need, all of versions that serve whoever needs them.
async fn libraries(
    tree: &mut Tree,
    sources: &Sources,
    programs: &[Ours<'_>],
) -> Result<(), ImageError> {
    let scratch = scratch()?;
    let mut put: BTreeMap<String, Linked> = BTreeMap::new();
    let mut users = Vec::new();
    for program in programs {
        let linked = elf::linked(&program.bytes, scratch.path()).await?;
        let mut waiting = linked.libraries.clone();
        users.push((program.file.to_path_buf(), linked));
        while let Some(name) = waiting.pop() {
            if put.contains_key(&name) {
                continue;
            }
            let bytes = library(sources, &name).ok_or_else(|| ImageError::Library {
                program: program.file.to_path_buf(),
                library: name.clone(),
            })??;
            let linked = elf::linked(&bytes, scratch.path()).await?;
            waiting.extend(linked.libraries.clone());
            let folder = if name == LOADER { "lib64" } else { LIBRARIES };
            tree.program(&format!("{folder}/{name}"), bytes);
            put.insert(name, linked);
        }
    }
    users.extend(
        put.iter()
            .map(|(name, linked)| (name.into(), linked.clone())),
    );
    versions(users, &put)
}

/// Whether everything that is needed of a library is in it: otherwise nothing would run, and only the machine would say so.
fn versions(
    users: Vec<(PathBuf, Linked)>,
    libraries: &BTreeMap<String, Linked>,
) -> Result<(), ImageError> {
    for (program, linked) in users {
        if let Some((library, version)) = linked.lacks(libraries) {
            return Err(ImageError::Version {
                program,
                library,
                version,
            });
        }
    }
    Ok(())
}

fn library(sources: &Sources, name: &str) -> Option<Result<Vec<u8>, ImageError>> {
    let paths = [
        format!("{LIBRARIES}/{name}"),
        format!("usr/{LIBRARIES}/{name}"),
    ];
    let find = |package: &Unpacked| paths.iter().find_map(|path| package.find(path));
    let file = sources.libraries.iter().find_map(find)?;
    Some(fs::read(&file).map_err(ImageError::file(&file)))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::FileExt;
    use std::process::Command;

    #[test]
    fn the_scripts_of_the_machine_can_be_read_to_their_end() {
        for script in ["init.sh", "lease.sh", "blank.sh"] {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/");
            let mut shell = Command::new("sh");
            let read = shell.arg("-n").arg(format!("{path}{script}")).output();
            let read = read.expect("a shell");
            assert!(read.status.success(), "{script}: {read:?}");
        }
    }

    /// How `blank.sh` ends for a disk with these bytes in it, and said to be of so many MiB.
    fn blank(bytes: &[(u64, u8)], length: u64, said: u64) -> Option<i32> {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = dir.path().join("disk");
        let file = File::create(&disk).expect("made");
        file.set_len(length << 20).expect("a length");
        for (at, byte) in bytes {
            file.write_all_at(&[*byte], *at).expect("written");
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", super::BLANK, "blank.sh"]).arg(&disk);
        shell.arg((said * 2048).to_string());
        shell.env("TMPDIR", dir.path());
        let code = shell.status().expect("a shell").code();
        let left = fs::read_dir(dir.path()).expect("there").count();
        assert_eq!(left, 1, "a part of the disk is left");
        code
    }

    #[test]
    fn a_disk_is_new_only_when_both_its_ends_were_read_and_are_zeros() {
        let (new, used, unknown) = (Some(0), Some(1), Some(2));
        assert_eq!(blank(&[], 4, 4), new);
        assert_eq!(blank(&[], 1, 1), new);
        // Where btrfs begins, and where a table of partitions has its copy.
        assert_eq!(blank(&[(65_600, b'B')], 4, 4), used);
        assert_eq!(blank(&[(0, 1)], 4, 4), used);
        assert_eq!(blank(&[((4 << 20) - 1, 1)], 4, 4), used);
        // The first MiB can be read and the last cannot, or only a part of the first.
        assert_eq!(blank(&[], 4, 8), unknown);
        assert_eq!(blank(&[], 0, 4), unknown);
        assert_eq!(blank(&[], 4, 0), unknown);
        let mut shell = Command::new("sh");
        shell.args(["-c", super::BLANK, "blank.sh", "/no/such/disk", "8192"]);
        shell.env("TMPDIR", std::env::temp_dir());
        assert_eq!(shell.status().expect("a shell").code(), unknown);
    }
}

//! The archive that the kernel unpacks at boot, in the format "newc". Nothing in it depends on when, where or in which
//! order it was made: paths are sorted, owners and times are zero, and there are two modes of files.

use std::collections::BTreeMap;

/// A tree of folders, files and links, without anything that differs between two machines.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tree(BTreeMap<String, Node>);

#[derive(Debug, Clone)]
enum Node {
    Folder,
    File { executable: bool, bytes: Vec<u8> },
    Link(String),
}

impl Tree {
    /// Adds a folder and those above it.
    pub(crate) fn folder(&mut self, path: &str) {
        self.put(path, Node::Folder);
    }

    /// Adds a file that can be read, and the folders above it.
    pub(crate) fn file(&mut self, path: &str, bytes: Vec<u8>) {
        let executable = false;
        self.put(path, Node::File { executable, bytes });
    }

    /// Adds a file that can be run, and the folders above it.
    pub(crate) fn program(&mut self, path: &str, bytes: Vec<u8>) {
        let executable = true;
        self.put(path, Node::File { executable, bytes });
    }

    /// Adds a symbolic link, and the folders above it.
    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.put(path, Node::Link(target.to_owned()));
    }

    fn put(&mut self, path: &str, node: Node) {
        for (at, _) in path.match_indices('/') {
            self.0.entry(path[..at].to_owned()).or_insert(Node::Folder);
        }
        self.0.insert(path.to_owned(), node);
    }

    /// The archive's bytes. A folder comes before what is in it, because its path is shorter.
    pub(crate) fn archive(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (index, (path, node)) in self.0.iter().enumerate() {
            entry(&mut bytes, index + 1, path, node);
        }
        header(&mut bytes, 0, 0, 0, END);
        bytes
    }
}

/// The name that ends an archive.
const END: &str = "TRAILER!!!";

fn entry(archive: &mut Vec<u8>, number: usize, path: &str, node: &Node) {
    let (mode, content): (u32, &[u8]) = match node {
        Node::Folder => (0o40755, &[]),
        Node::File {
            executable: true,
            bytes,
        } => (0o100755, bytes),
        Node::File {
            executable: false,
            bytes,
        } => (0o100644, bytes),
        Node::Link(target) => (0o120777, target.as_bytes()),
    };
    header(archive, number, mode, content.len(), path);
    archive.extend_from_slice(content);
    pad(archive);
}

/// The fields of a header, each in eight hex digits: number, mode, owner, group, links, time, length, four numbers of
/// devices, the length of the name with its zero, and a sum that this format does not use.
fn header(archive: &mut Vec<u8>, number: usize, mode: u32, length: usize, name: &str) {
    let mode = mode as usize;
    let fields = [
        number,
        mode,
        0,
        0,
        1,
        0,
        length,
        0,
        0,
        0,
        0,
        name.len() + 1,
        0,
    ];
    archive.extend_from_slice(b"070701");
    for field in fields {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    pad(archive);
}

/// Headers and contents begin at multiples of four.
fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use easyenclave_tests::given;
    use expect_test::expect;

    use super::*;

    fn small() -> Tree {
        let mut tree = Tree::default();
        tree.program("init", b"#!/bin/sh\n".to_vec());
        tree.file("etc/hosts", b"127.0.0.1 localhost\n".to_vec());
        tree.link("bin/sh", "busybox");
        tree.folder("proc");
        tree
    }

    #[test]
    fn the_bytes_of_a_small_archive_are_known() {
        let text: String = small().archive().escape_ascii().to_string();
        let text = text.replace("\\x00", ".").replace("070701", "\n070701");
        expect![[r#"

            07070100000001000041ed0000000000000000000000010000000000000000000000000000000000000000000000000000000400000000bin...
            070701000000020000a1ff0000000000000000000000010000000000000007000000000000000000000000000000000000000700000000bin/sh....busybox.
            07070100000003000041ed0000000000000000000000010000000000000000000000000000000000000000000000000000000400000000etc...
            07070100000004000081a40000000000000000000000010000000000000014000000000000000000000000000000000000000a00000000etc/hosts.127.0.0.1 localhost\n
            07070100000005000081ed000000000000000000000001000000000000000a000000000000000000000000000000000000000500000000init..#!/bin/sh\n..
            07070100000006000041ed0000000000000000000000010000000000000000000000000000000000000000000000000000000500000000proc..
            07070100000000000000000000000000000000000000010000000000000000000000000000000000000000000000000000000b00000000TRAILER!!!...."#]]
        .assert_eq(&text);
    }

    #[test]
    fn the_order_in_which_a_tree_is_made_does_not_show() {
        let mut other = Tree::default();
        other.folder("proc");
        other.link("bin/sh", "busybox");
        other.file("etc/hosts", b"127.0.0.1 localhost\n".to_vec());
        other.program("init", b"#!/bin/sh\n".to_vec());
        assert_eq!(other.archive(), small().archive());
        other.program("etc/hosts", b"127.0.0.1 localhost\n".to_vec());
        assert_ne!(other.archive(), small().archive());
    }

    /// The program that made the format reads what we write.
    #[test]
    fn another_program_reads_the_archive() {
        let listed = Command::new("cpio")
            .args(["--list", "--verbose", "--numeric-uid-gid", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Some(mut cpio) = given("cpio", "Debian: apt-get install cpio", listed) else {
            return;
        };
        let mut stdin = cpio.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut stdin, &small().archive()).expect("written");
        drop(stdin);
        let output = cpio.wait_with_output().expect("ended");
        let text = String::from_utf8_lossy(&output.stdout);
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = text.lines().map(words).collect();
        expect![[r#"
            drwxr-xr-x 1 0 0 0 Jan 1 1970 bin
            lrwxrwxrwx 1 0 0 7 Jan 1 1970 bin/sh -> busybox
            drwxr-xr-x 1 0 0 0 Jan 1 1970 etc
            -rw-r--r-- 1 0 0 20 Jan 1 1970 etc/hosts
            -rwxr-xr-x 1 0 0 10 Jan 1 1970 init
            drwxr-xr-x 1 0 0 0 Jan 1 1970 proc"#]]
        .assert_eq(&lines.join("\n"));
    }
}

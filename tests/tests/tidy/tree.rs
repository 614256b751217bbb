//! The files of the repository, as Git lists them: committed ones and those about to be.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::mask::mask;

/// One file of text.
pub(crate) struct File {
    /// The path from the root of the repository.
    pub(crate) path: String,
    /// What it holds.
    pub(crate) text: String,
}

/// One file of Rust.
pub(crate) struct Source {
    /// The path from the root of the repository.
    pub(crate) path: String,
    /// What it holds.
    pub(crate) text: String,
    /// The same lines with code only.
    pub(crate) code: String,
    /// Whether nothing of it is in a build without tests.
    pub(crate) is_test: bool,
}

impl Source {
    /// The code before the unit tests; nothing for a file of tests.
    pub(crate) fn product(&self) -> &str {
        match self.is_test {
            true => "",
            false => product(&self.code),
        }
    }
}

/// Unit tests open a block; a file of tests that is only declared has code below it.
fn product(code: &str) -> &str {
    const TESTS: &str = "#[cfg(test)]\nmod ";
    let opens = |(at, _): &(usize, &str)| {
        let name = &code[at + TESTS.len()..];
        name.find(['{', ';'])
            .is_some_and(|end| name[end..].starts_with('{'))
    };
    match code.match_indices(TESTS).find(opens) {
        Some((tests, _)) => &code[..tests],
        None => code,
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("the tests are a folder of the repository")
        .into()
}

/// Every file of text.
pub(crate) fn files() -> Vec<File> {
    let read = |path: &str| {
        let text = fs::read_to_string(root().join(path)).ok()?;
        Some(File {
            path: path.into(),
            text,
        })
    };
    let files: Vec<_> = listed().iter().filter_map(|path| read(path)).collect();
    assert!(
        files.len() > 50,
        "git lists {} files of text only",
        files.len()
    );
    files
}

/// Every file of Rust.
pub(crate) fn sources() -> Vec<Source> {
    let rust: Vec<_> = files()
        .into_iter()
        .filter(|file| file.path.ends_with(".rs"))
        .collect();
    let test_modules: Vec<String> = rust.iter().flat_map(test_modules).collect();
    let is_test = |path: &str| {
        let folders = ["tests/", "/tests/", "/benches/", "fuzz/"];
        let folder = folders.iter().any(|folder| match folder.strip_prefix('/') {
            Some(_) => path.contains(folder),
            None => path.starts_with(folder),
        });
        folder || test_modules.iter().any(|module| is_module(path, module))
    };
    let source = |File { path, text }| {
        let (code, is_test) = (mask(&text), is_test(&path));
        Source {
            path,
            text,
            code,
            is_test,
        }
    };
    rust.into_iter().map(source).collect()
}

/// One file, which has to be there.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn listed() -> Vec<String> {
    let output = Command::new("git")
        .args([
            "-c",
            "safe.directory=*",
            "ls-files",
            "-z",
            "--cached",
            "--others",
        ])
        .arg("--exclude-standard")
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names = String::from_utf8(output.stdout).expect("paths are UTF-8");
    names.split_terminator('\0').map(str::to_owned).collect()
}

/// The modules that a file declares for tests only, as paths without `.rs`.
fn test_modules(file: &File) -> Vec<String> {
    let folder = match file.path.rsplit_once('/') {
        Some((folder, "lib.rs" | "main.rs" | "mod.rs")) => folder.to_owned(),
        _ => file.path.trim_end_matches(".rs").to_owned(),
    };
    let lines: Vec<&str> = file.text.lines().collect();
    let declared = lines.windows(2).filter(|pair| is_for_tests(pair[0].trim()));
    let names = declared.filter_map(|pair| {
        let words = pair[1].trim().strip_suffix(';')?.rsplit_once("mod ")?;
        Some(format!("{folder}/{}", words.1))
    });
    names.collect()
}

/// `#[cfg(test)]`, also with conditions beside it.
fn is_for_tests(attribute: &str) -> bool {
    attribute.starts_with("#[cfg(") && attribute.contains("(test")
}

fn is_module(path: &str, module: &str) -> bool {
    path.strip_prefix(module)
        .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

#[test]
fn modules_for_tests_are_known() {
    let text =
        "#[cfg(test)]\nmod samples;\nmod view;\n#[cfg(all(test, x))]\npub(crate) mod testing;\n";
    let file = |path: &str| File {
        path: path.into(),
        text: text.into(),
    };
    assert_eq!(
        test_modules(&file("a/src/lib.rs")),
        ["a/src/samples", "a/src/testing"]
    );
    assert_eq!(
        test_modules(&file("a/src/b.rs")),
        ["a/src/b/samples", "a/src/b/testing"]
    );
    assert!(is_module("a/src/samples/one.rs", "a/src/samples"));
    assert!(!is_module("a/src/samples_of.rs", "a/src/samples"));
}

#[test]
fn code_below_a_declared_file_of_tests_is_seen() {
    let declared = "mod a;\n#[cfg(test)]\nmod tests;\n\nfn f() {}\n";
    assert_eq!(product(declared), declared);
    let opened = format!("{declared}#[cfg(test)]\nmod more {{\n}}\n");
    assert_eq!(product(&opened), declared);
}

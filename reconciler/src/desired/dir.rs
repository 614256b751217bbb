//! A directory on disk, checked as if it were a revision without a past. Follows no link and reads no more
//! of a file than a document may have.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use easyenclave_git::name_as_text;
use easyenclave_schemas::decode::{MAX_BYTES, Problem};

use super::astray::{BEGINNING, astray, may_be_astray};
use super::blobs::{BlobKey, NOT_A_FILE};
use super::loader::Loader;
use super::paths::{FLEET, FOLDERS, is_document, is_read};
use super::report::{Checked, FileProblem};
use crate::examples::NO_ROOT;

/// The most files and folders among which documents are sought that lie in no place of theirs.
const LOOKED_AT: usize = 100_000;

/// Checks all documents of a directory that is laid out like a state repository.
///
/// # Errors
/// When the directory or a document in it cannot be read.
pub fn check_dir(dir: &Path) -> io::Result<Checked> {
    let mut files = BTreeMap::new();
    for (path, file) in paths(dir)? {
        let text = file.map(|file| read(&file, MAX_BYTES + 1)).transpose()?;
        files.insert(path, text);
    }
    let mut checked = check(&files);
    checked.add_astray(strays(dir));
    Ok(checked)
}

/// Documents that lie where none is read. What cannot be looked at would not count anyway, and repositories of others that
/// lie inside are passed over, as Git does.
fn strays(dir: &Path) -> Vec<FileProblem> {
    let (mut found, mut looked_at) = (Vec::new(), 0);
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(dir.join(&folder)).into_iter().flatten();
        for entry in entries.flatten() {
            looked_at += 1;
            if looked_at > LOOKED_AT {
                return found;
            }
            let name = name_as_text(entry.file_name().as_bytes());
            let path = format!("{folder}{name}");
            let is_others = name.starts_with('.') || entry.path().join(".git").exists();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !is_others => folders.push(path + "/"),
                Ok(kind) if kind.is_file() && may_be_astray(&path) => {
                    let text = read(&entry.path(), BEGINNING).unwrap_or_default();
                    found.extend(astray(&path, &text));
                }
                _ => {}
            }
        }
    }
    found
}

/// Checks documents by their paths, relative to the repository's root, with what stands beside them. Other files are
/// passed over.
pub fn check_files(files: &BTreeMap<String, Vec<u8>>) -> Checked {
    let documents = files.iter().filter(|(path, _)| is_read(path));
    let documents = documents.map(|(path, text)| (path.clone(), Some(text.clone())));
    check(&documents.collect())
}

/// Documents and what stands beside them, by their paths; those without a text are no files.
fn check(documents: &BTreeMap<String, Option<Vec<u8>>>) -> Checked {
    let texts: Vec<_> = documents.values().collect();
    let keys = texts.iter().enumerate().map(|(index, text)| match text {
        Some(_) => key(index),
        None => NOT_A_FILE,
    });
    let tree: BTreeMap<_, _> = documents.keys().cloned().zip(keys).collect();
    let blob = |key| Ok(texts[index(key)].clone().unwrap_or_default());
    let mut loader = Loader::default();
    let problems = loader.check(&tree, &blob);
    let mut warnings: Vec<_> = documents.iter().filter_map(rootless).collect();
    warnings.extend(loader.warnings());
    warnings.sort_by_cached_key(|one| (one.file.clone(), one.problem.clone()));
    warnings.dedup();
    Checked {
        documents: tree.keys().filter(|path| is_document(path)).count(),
        problems,
        warnings,
    }
}

/// A policy that names the root that no platform has: valid, and as good as none.
fn rootless((path, text): (&String, &Option<Vec<u8>>)) -> Option<FileProblem> {
    let text = std::str::from_utf8(text.as_deref()?).ok()?;
    let is_named = |line: &&str| line.contains(NO_ROOT) && !line.trim_start().starts_with('#');
    let number = text.lines().position(|line| is_named(&line))?;
    let column = text.lines().nth(number)?.find(NO_ROOT)?;
    let place = |count: usize| u32::try_from(count + 1).unwrap_or(u32::MAX);
    let problem = Problem {
        line: place(number),
        column: place(column),
        pointer: "/spec/trustRoot/keyId".into(),
        code: "no-root",
        message: "no platform has this root, so the policy trusts no agent: put in the key id that `serve` says \
                  when it starts, or begin with `up`, which does so"
            .into(),
        suggestion: None,
    };
    Some(FileProblem {
        file: path.clone(),
        problem,
        consequence: "",
    })
}

/// Documents by their paths as text, with the file that holds each; none for what is no file.
type Paths = BTreeMap<String, Option<PathBuf>>;

fn paths(dir: &Path) -> io::Result<Paths> {
    let mut paths = Paths::new();
    fs::read_dir(dir)?;
    let fleet = dir.join(FLEET);
    match fleet.symlink_metadata() {
        Ok(metadata) => {
            let file = metadata.is_file().then_some(fleet);
            paths.insert(FLEET.to_owned(), file);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    for folder in FOLDERS {
        collect(&dir.join(folder), folder, &mut paths)?;
    }
    paths.retain(|path, _| is_read(path));
    Ok(paths)
}

/// Within one directory, a file's number serves as the id of its content, from one on.
fn key(index: usize) -> BlobKey {
    let mut key = BlobKey::default();
    key[..8].copy_from_slice(&(index as u64 + 1).to_be_bytes());
    key
}

fn index(key: BlobKey) -> usize {
    let bytes = *key.first_chunk().expect("a key has 20 bytes");
    usize::try_from(u64::from_be_bytes(bytes) - 1).expect("made from an index")
}

fn collect(dir: &Path, folder: &str, paths: &mut Paths) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = name_as_text(entry.file_name().as_bytes());
        let path = format!("{folder}/{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), &path, paths)?;
        } else {
            paths.insert(path, kind.is_file().then(|| entry.path()));
        }
    }
    Ok(())
}

/// The beginning of a file. One byte more than a document may have tells the decoder that it is too long.
fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(most as u64).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples;

    #[test]
    fn one_mistake_in_the_fleets_document_is_one_problem() {
        let mut files = examples::files(None);
        let fleet = files.get_mut(FLEET).expect("there");
        let text = String::from_utf8_lossy(fleet).replace("spec:", "sepc:");
        *fleet = text.into_bytes();
        let checked = check_files(&files);
        let said = checked.text();
        assert_eq!(checked.problems.len(), 1, "{said}");
        assert!(
            said.contains("unknown field `sepc`") && said.contains("`spec`"),
            "{said}"
        );
        files.remove(FLEET);
        let said = check_files(&files).text();
        assert!(said.contains("there is no fleet.yaml"), "{said}");
    }

    #[test]
    fn a_folder_that_is_misspelt_is_told_and_other_yaml_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let write = |path: &str, bytes: &[u8]| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("below")).expect("made");
            fs::write(path, bytes).expect("written");
        };
        for (path, bytes) in examples::files(Some(&"ab".repeat(48))) {
            write(&path.replace("deployments/", "deployment/"), &bytes);
        }
        write(".github/workflows/test.yaml", b"on: push");
        write(
            "charts/web.yaml",
            b"apiVersion: apps/v1\nkind: Deployment\n",
        );
        write("fleet/.git/HEAD", b"");
        write(
            "fleet/fleet.yaml",
            b"apiVersion: easyenclave.dev/v1\nkind: Fleet\n",
        );
        let checked = check_dir(dir.path()).expect("read");
        let said = checked.text();
        assert_eq!(checked.problems.len(), 2, "{said}");
        assert!(
            said.contains(
                "deployment/acme/hello.yaml:2:1: this says that it is a document of EasyEnclave (Deployment)"
            ),
            "{said}"
        );
        assert!(
            said.contains("did you mean `deployments/acme/hello.yaml`?"),
            "{said}"
        );
    }

    #[test]
    fn what_an_author_may_not_expect_is_a_warning_at_its_place_in_the_file() {
        let mut files = examples::files(Some(&"ab".repeat(48)));
        let web = "apiVersion: easyenclave.dev/v1\nkind: Deployment\nmetadata: { name: web, owner: acme }\nspec:\n  \
                   workload: { compose: { source: { file: compose.yaml } } }\n  replicas: 1\n  nodeSize: tiny\n";
        let compose = "services:\n  web:\n    image: web:1\n    ports:\n      - 80:80\n";
        for (path, text) in [("web.yaml", web), ("compose.yaml", compose)] {
            files.insert(format!("deployments/acme/{path}"), text.into());
        }
        let checked = check_files(&files);
        assert_eq!(checked.problems, vec![]);
        let said = checked.cautions();
        assert!(
            said.starts_with("deployments/acme/compose.yaml:5:9: warning: "),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }

    #[test]
    fn a_canary_of_all_replicas_is_warned_of() {
        let mut files = examples::files(Some(&"ab".repeat(48)));
        for (canary, is_warned) in [(1, false), (2, true), (5, true)] {
            let web = format!(
                "apiVersion: easyenclave.dev/v1\nkind: Deployment\nmetadata: {{ name: web, owner: acme }}\nspec:\n  \
                 workload: {{ process: {{ command: [web] }} }}\n  replicas: 2\n  nodeSize: tiny\n  \
                 rollout: {{ canary: {canary} }}\n"
            );
            files.insert("deployments/acme/web.yaml".into(), web.into());
            let checked = check_files(&files);
            assert_eq!(checked.problems, vec![]);
            let said = checked.cautions();
            let place = "deployments/acme/web.yaml:8:22: warning: ";
            assert_eq!(said.starts_with(place), is_warned, "{said}");
        }
    }

    #[test]
    fn a_policy_that_names_the_root_of_zeros_is_valid_and_warned_of() {
        let checked = check_files(&examples::files(None));
        assert_eq!(checked.problems, vec![]);
        let said = checked.cautions();
        assert!(
            said.starts_with("policies/simulated.yaml:11:13: warning: no platform has this root"),
            "{said}"
        );
        let annotated = checked.github(Path::new(""));
        assert!(
            annotated.starts_with("::warning file=policies/simulated.yaml,line=11,col=13,"),
            "{annotated}"
        );
        let root = "ab".repeat(48);
        let trusting = check_files(&examples::files(Some(&root)));
        assert_eq!(trusting.warnings, vec![]);
    }
}

//! Any files through the loader, beside the example repository and after it: the fleet never goes away
//! while its file is there, and what was in force is gone only when its file is. And through `check` in
//! its three forms, none of which a file can forge.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use easyenclave::desired::{Loaded, Loader, check_files, is_read};
use easyenclave::examples;
use easyenclave_plan::Frozen;
use libfuzzer_sys::fuzz_target;

// The bytes are files, each opened by a line `=== path`. They replace files of the example.
fuzz_target!(|bytes: &[u8]| {
    let example = tree(examples::files(None));
    let mut loader = Loader::default();
    let before = load(&mut loader, &example)
        .model
        .expect("the example is valid");

    let mut changed = example.clone();
    changed.extend(tree(files(bytes)));
    print(&changed);
    let loaded = load(&mut loader, &changed);
    let model = loaded.model.expect("the fleet's file is there");
    for problem in &loaded.problems {
        let escaped = problem.file.contains('\\');
        assert!(escaped || changed.contains_key(&problem.file));
        assert!(!problem.file.contains(char::is_control));
    }
    if loaded.problems.is_empty() {
        return;
    }
    let rejected: BTreeSet<_> = loaded
        .problems
        .iter()
        .map(|problem| &problem.file)
        .collect();
    for (id, deployment) in &before.desired.deployments {
        let file = format!("deployments/{}/{}.yaml", id.owner, id.name);
        let frozen = model
            .desired
            .frozen
            .contains_key(&Frozen::Deployment(id.clone()));
        let known = model.desired.deployments.contains_key(id) || frozen;
        assert!(known || !rejected.contains(&file), "{id} {deployment:?}");
    }

    // The same again, and after a restart without history, must come to an answer as well.
    let again = load(&mut loader, &changed);
    assert!(again.model.is_some());
    load(&mut Loader::default(), &changed);
});

fn print(files: &BTreeMap<String, Vec<u8>>) {
    let checked = check_files(files);
    let (text, github) = (checked.text(), checked.github(Path::new("state")));
    let (problems, warnings) = (&checked.problems, &checked.warnings);
    let cautions = checked.cautions();
    let helped = problems
        .iter()
        .filter(|found| found.problem.suggestion.is_some());
    assert_eq!(
        text.split_terminator('\n').count(),
        problems.len() + helped.count(),
        "{text}"
    );
    assert_eq!(cautions.split_terminator('\n').count(), warnings.len());
    assert_eq!(
        github.split_terminator('\n').count(),
        problems.len() + warnings.len()
    );
    let printed = text + &cautions;
    assert!(!printed.contains(|c: char| c.is_control() && c != '\n'));
    let of = |level: &str| {
        let begins = format!("::{level} file=");
        github
            .lines()
            .filter(|line| line.starts_with(&begins))
            .count()
    };
    assert_eq!(
        (of("error"), of("warning")),
        (problems.len(), warnings.len())
    );
    assert_eq!(checked.json().matches("\"file\": ").count(), problems.len());
}

fn load(loader: &mut Loader, tree: &BTreeMap<String, Vec<u8>>) -> Loaded {
    let key = |text: &Vec<u8>| {
        let digest = easyenclave_schemas::Digest::of(text);
        *digest.as_bytes().first_chunk().expect("longer than a key")
    };
    let blobs: BTreeMap<[u8; 20], _> = tree.values().map(|text| (key(text), text)).collect();
    let files = tree
        .iter()
        .map(|(path, text)| (path.clone(), key(text)))
        .collect();
    let blob = |key: [u8; 20]| Ok(blobs[&key].clone());
    loader.load(&files, &blob, &|_| Ok(Vec::new()))
}

fn tree(files: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    files
        .into_iter()
        .filter(|(path, _)| is_read(path))
        .collect()
}

fn files(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let text = String::from_utf8_lossy(bytes);
    let parts = text.split("=== ").skip(1);
    let files = parts.filter_map(|part| part.split_once('\n'));
    files
        .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
        .collect()
}

//! What would be in force with a file changed, by the newest commit, while another one is.

use easyenclave_schemas::DeploymentId;

use super::*;
use crate::desired::Model;

fn id(name: &str) -> DeploymentId {
    format!("acme/{name}").parse().expect("a deployment")
}

/// The newest commit as a draft. What is in force stays as it is.
fn draft(place: &Place) -> Draft {
    let mut reader = open(&place.dir, place.reader.in_force().as_ref());
    reader.loader = place.reader.loader.clone();
    let source = Source {
        git: reader.git.clone(),
        reader: Arc::new(Mutex::new(reader)),
    };
    source.drafted().expect("it can be read")
}

#[test]
fn a_draft_is_of_the_newest_commit_with_one_file_changed_or_gone() {
    let (place, _) = Place::example();
    let text = std::str::from_utf8(&examples::files(Some(&"ab".repeat(48)))[HELLO])
        .expect("UTF-8")
        .to_owned();
    let named = |name: &str| text.replace("name: hello", &format!("name: {name}"));
    let newest = place.commit(&[("deployments/acme/newer.yaml", Some(&named("newer")))]);
    let (hello, newer, wished) = (id("hello"), id("newer"), id("wished"));
    let has = |model: &Model, id: &DeploymentId| model.desired.deployments.contains_key(id);

    let found = draft(&place);
    assert_eq!(found.head(), newest);
    let model = found.model().expect("a model");
    assert!(has(model, &hello) && has(model, &newer) && !has(model, &wished));
    assert_eq!(found.place("acme", "hello").as_deref(), Some(HELLO));
    assert_eq!(found.place("acme", "wished"), None);
    assert_eq!(found.place("zeta", "hello"), None);
    assert_eq!(
        found.text(HELLO).expect("read"),
        Some(text.clone().into_bytes())
    );
    assert_eq!(
        found.text("deployments/acme/none.yaml").expect("read"),
        None
    );

    let path = "deployments/acme/wished.yaml";
    let with = |path: &str, text: Option<&str>| {
        let text = text.map(|text| text.as_bytes().to_vec());
        draft(&place).with(path, text).0
    };
    let model = with(path, Some(&named("wished"))).model.expect("a model");
    assert!(has(&model, &wished) && has(&model, &newer));
    let model = with(HELLO, None).model.expect("a model");
    assert!(!has(&model, &hello) && has(&model, &newer));
    // An older version is no answer to whether this one is good.
    let refused = with(HELLO, Some("kind: Deployment\n"));
    assert!(refused.problems.iter().any(|problem| problem.file == HELLO));
    // Nothing of all this is committed, or in force.
    assert_eq!(place.git(&["rev-parse", "main"]), newest.to_string());
    assert_eq!(
        draft(&place).model().map(|model| has(model, &wished)),
        Some(false)
    );
}

#[test]
fn a_draft_tells_which_documents_the_change_is_a_change_of() {
    let (mut place, _) = Place::example();
    let text = place.git(&["show", &format!("main:{HELLO}")]);
    let named = |name: &str| text.replace("name: hello", &format!("name: {name}"));
    let changed = |place: &Place, path: &str, text: Option<String>| {
        let (_, changed) = draft(place).with(path, text.map(String::into_bytes));
        let changed = changed.iter().map(ToString::to_string);
        changed.collect::<Vec<_>>().join(", ")
    };
    let path = "deployments/acme/third.yaml";
    let third = || Some(named("third"));
    assert_eq!(changed(&place, path, third()), "Deployment acme/third");
    assert_eq!(changed(&place, HELLO, None), "Deployment acme/hello");
    assert_eq!(
        changed(&place, HELLO, third()),
        "Deployment acme/hello, Deployment acme/third"
    );
    // As long as this file is broken, nobody knows whether hello became it.
    let broken = named("third").replace("replicas:", "replica:");
    place.commit(&[(HELLO, None), (path, Some(&broken))]);
    assert!(matches!(place.reader.look(), Seen::New(_)));
    let ends = "Deployment acme/hello, Deployment acme/third";
    assert_eq!(changed(&place, path, third()), ends);
    assert_eq!(changed(&place, path, None), ends);
}

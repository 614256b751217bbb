//! Secrets over revisions: what opens, what is another version of what, and what stays in force meanwhile.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use easyenclave_plan::Desired;
use easyenclave_schemas::documents::SecretContent;
use easyenclave_schemas::{OwnerName, SecretName};

use super::*;
use crate::seal::Sealer;
use crate::secrets::Keyring;

const DB: &str = "secrets/acme/db.yaml";
const HELLO: &str = "deployments/acme/hello.yaml";
const FLEET: &str = "fleet.yaml";
const EVIL: &str = "apiVersion: easyenclave.dev/v1\nkind: Owner\nmetadata:\n  name: evil\nspec:\n  quota:\n    agents: 1\n";
const USE: &str = "replicas: 1\n  secrets:\n    - name: db\n      env: DB";

fn keyring() -> Arc<Keyring> {
    let identity = age::x25519::Identity::generate().to_string();
    let text = age::secrecy::ExposeSecret::expose_secret(&identity);
    Arc::new(Keyring::of("fleet.age".into(), text).expect("a key"))
}

/// What `easyenclave secret set` would seal for this owner and name.
fn sealed(keyring: &Keyring, owner: &str, name: &str) -> String {
    let owner = OwnerName::new(owner).expect("a name");
    let content = SecretContent::new(owner, SecretName::new(name).expect("a name"), b"s3cr3t");
    let sealer = Sealer::of(&keyring.recipients()).expect("a recipient");
    STANDARD.encode(sealer.seal(&content.write()).expect("sealed"))
}

fn document(owner: &str, name: &str, sealed: &str) -> String {
    format!(
        "apiVersion: easyenclave.dev/v1\nkind: Secret\nmetadata:\n  name: {name}\n  owner: {owner}\nspec:\n  sealed: {sealed}\n"
    )
}

/// The example, of which one deployment uses a secret.
fn using() -> (Story, Arc<Keyring>) {
    let keyring = keyring();
    let mut story = Story {
        keyring: Some(Arc::clone(&keyring)),
        ..Story::example()
    };
    story.write(DB, &document("acme", "db", &sealed(&keyring, "acme", "db")));
    story.edit(HELLO, "replicas: 1", USE);
    story.resume();
    assert_eq!(story.load().problems, []);
    (story, keyring)
}

fn desired(story: &mut Story) -> Desired {
    story.load().model.expect("a model").desired
}

/// The version of a deployment of acme.
fn version(story: &mut Story, name: &str) -> Digest {
    let id = format!("acme/{name}").parse().expect("a deployment");
    desired(story).deployments[&id].workload
}

fn problems(story: &mut Story) -> Vec<String> {
    let told = story.load().problems;
    let told = told
        .iter()
        .map(|one| format!("{}:{}:{} {}", one.file, one.line, one.column, one.code));
    told.collect()
}

#[test]
fn another_value_is_another_version_of_what_uses_it_and_of_nothing_else() {
    let (mut story, keyring) = using();
    let before = (
        version(&mut story, "hello"),
        version(&mut story, "hello-again"),
    );
    story.edit(DB, "apiVersion", "# Of the database.\napiVersion");
    assert_eq!(
        version(&mut story, "hello"),
        before.0,
        "a comment is no value"
    );
    story.write(DB, &document("acme", "db", &sealed(&keyring, "acme", "db")));
    let after = (
        version(&mut story, "hello"),
        version(&mut story, "hello-again"),
    );
    assert_ne!(after.0, before.0);
    assert_eq!(after.1, before.1);
    let model = story.load().model.expect("a model");
    let told = &model.workloads[&after.0];
    assert!(told.secrets_digest.is_some());
    assert!(
        !format!("{model:?}").contains("YWdl"),
        "a ciphertext is no use in a log"
    );
}

/// Whoever copies a ciphertext of another owner would be given what is in it.
#[test]
fn a_copy_of_anothers_secret_is_refused_where_it_lies() {
    let (mut story, keyring) = using();
    story.write("owners/evil.yaml", EVIL);
    let stolen = story.tree[DB].replace("owner: acme", "owner: evil");
    story.write("secrets/evil/db.yaml", &stolen);
    story.write(
        "secrets/acme/api.yaml",
        &story.tree[DB].replace("name: db", "name: api"),
    );
    story.write(
        "secrets/acme/lost.yaml",
        &document("acme", "lost", &sealed(&self::keyring(), "acme", "lost")),
    );
    assert_eq!(
        problems(&mut story),
        [
            "secrets/acme/api.yaml:7:11 secret-of-another",
            "secrets/acme/lost.yaml:7:11 secret-unopenable",
            "secrets/evil/db.yaml:7:11 secret-of-another",
        ]
    );
    assert!(keyring.recipients().len() == 1);
}

#[test]
fn a_secret_that_does_not_open_leaves_the_last_good_one_in_force_over_restarts() {
    let (mut story, _keyring) = using();
    let before = version(&mut story, "hello");
    story.write(
        DB,
        &document("acme", "db", &sealed(&keyring(), "acme", "db")),
    );
    for _ in 0..2 {
        assert_eq!(
            problems(&mut story),
            ["secrets/acme/db.yaml:7:11 secret-unopenable"]
        );
        assert_eq!(version(&mut story, "hello"), before);
        story.resume();
    }
}

/// Nobody can tell what version it should be, and what runs has what it needs.
#[test]
fn what_uses_a_secret_that_never_opened_is_not_touched() {
    let (mut story, _keyring) = using();
    story.keyring = Some(keyring());
    story.restart();
    let hello = "acme/hello".parse().expect("a deployment");
    assert_eq!(
        problems(&mut story),
        ["secrets/acme/db.yaml:7:11 secret-unopenable"]
    );
    let desired = desired(&mut story);
    assert!(!desired.deployments.contains_key(&hello));
    let why = &desired.frozen[&Frozen::Deployment(hello)];
    assert!(why.starts_with("secrets/acme/db.yaml:7:11: "), "{why}");
}

/// It is there and can be read, and no version of it can be in force.
#[test]
fn what_uses_a_secret_that_is_gone_is_not_touched_and_says_so() {
    let (mut story, _keyring) = using();
    let text = story.tree[DB].clone();
    story.remove(DB);
    let hello = Frozen::Deployment("acme/hello".parse().expect("a deployment"));
    for _ in 0..2 {
        let model = story.load().model.expect("a model");
        let why = &model.desired.frozen[&hello];
        expect!["deployments/acme/hello.yaml:13:13: acme has no Secret named db"].assert_eq(why);
        let kept: Vec<_> = model.kept.keys().map(ToString::to_string).collect();
        assert_eq!(kept, ["Deployment acme/hello"], "the secret is removed");
        story.resume();
    }
    story.write(DB, &text);
    assert!(desired(&mut story).frozen.is_empty());
}

#[test]
fn only_secrets_of_ones_own_can_be_named_and_a_near_name_is_told() {
    let (mut story, keyring) = using();
    story.write("owners/evil.yaml", EVIL);
    let theirs = document("evil", "theirs", &sealed(&keyring, "evil", "theirs"));
    story.write("secrets/evil/theirs.yaml", &theirs);
    story.edit(HELLO, "name: db", "name: theirs");
    let told = story.load().problems;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].message, "acme has no Secret named theirs");
    story.edit(HELLO, "name: theirs", "name: dv");
    let told = story.load().problems;
    assert!(
        told[0].message.starts_with("acme has no Secret named dv"),
        "{told:?}"
    );
}

/// A checkout has no keys: what it says of secrets is what everybody can see.
#[test]
fn without_keys_nothing_is_said_of_what_is_sealed() {
    let (mut story, _keyring) = using();
    let before = version(&mut story, "hello");
    story.keyring = None;
    story.restart();
    assert_eq!(problems(&mut story), [] as [&str; 0]);
    assert_eq!(version(&mut story, "hello"), before);
    story.edit(
        FLEET,
        "recipients: []",
        "recipients: [AGE-SECRET-KEY-1QQQ, age1]",
    );
    let told = story.load().problems;
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told.iter()
            .all(|one| one.code == "recipient" && !one.message.contains("1QQQ"))
    );
}

//! The example state, built into the program, with this installation's trust root and its signer of status put in.

use std::collections::BTreeMap;

/// What the example policy names until a root is put in: a key id that no root can have.
pub const NO_ROOT: &str = "000000000000000000000000000000000000000000000000\
                           000000000000000000000000000000000000000000000000";

/// What the example's fleet says until a signer of status is put in.
const NO_SIGNERS: &str = "signers: []";

/// What it says until somebody is put in to whom secrets are sealed.
const NO_RECIPIENTS: &str = "recipients: []";

const FILES: [(&str, &str); 8] = [
    (
        "README.md",
        include_str!("../../examples-state/valid/README.md"),
    ),
    (
        "fleet.yaml",
        include_str!("../../examples-state/valid/fleet.yaml"),
    ),
    (
        "owners/acme.yaml",
        include_str!("../../examples-state/valid/owners/acme.yaml"),
    ),
    (
        "policies/simulated.yaml",
        include_str!("../../examples-state/valid/policies/simulated.yaml"),
    ),
    (
        "providers/local.yaml",
        include_str!("../../examples-state/valid/providers/local.yaml"),
    ),
    (
        "capacity/tiny.yaml",
        include_str!("../../examples-state/valid/capacity/tiny.yaml"),
    ),
    (
        "deployments/acme/hello.yaml",
        include_str!("../../examples-state/valid/deployments/acme/hello.yaml"),
    ),
    (
        "deployments/acme/hello-again.yaml",
        include_str!("../../examples-state/valid/deployments/acme/hello-again.yaml"),
    ),
];

/// The example whose agents are virtual machines.
const MACHINES: [(&str, &str); 7] = [
    FILES[0],
    (
        "fleet.yaml",
        include_str!("../../examples-state/qemu/fleet.yaml"),
    ),
    (
        "owners/acme.yaml",
        include_str!("../../examples-state/qemu/owners/acme.yaml"),
    ),
    (
        "policies/simulated.yaml",
        include_str!("../../examples-state/qemu/policies/simulated.yaml"),
    ),
    (
        "providers/local.yaml",
        include_str!("../../examples-state/qemu/providers/local.yaml"),
    ),
    (
        "capacity/tiny.yaml",
        include_str!("../../examples-state/qemu/capacity/tiny.yaml"),
    ),
    (
        "deployments/acme/hello.yaml",
        include_str!("../../examples-state/qemu/deployments/acme/hello.yaml"),
    ),
];

/// The example's files. With a root, the policy trusts it.
pub fn files(root: Option<&str>) -> BTreeMap<String, Vec<u8>> {
    of(&FILES, root)
}

/// The files of the example whose agents are virtual machines. What these measure has to be put into its policy.
pub fn machines(root: Option<&str>) -> BTreeMap<String, Vec<u8>> {
    of(&MACHINES, root)
}

fn of(files: &[(&str, &str)], root: Option<&str>) -> BTreeMap<String, Vec<u8>> {
    let files = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()));
    files
        .map(|(path, bytes)| (path, trusting(bytes, root)))
        .collect()
}

/// A file in which the key id that no root can have is replaced by this one.
pub fn trusting(bytes: Vec<u8>, root: Option<&str>) -> Vec<u8> {
    match (root, String::from_utf8(bytes)) {
        (Some(root), Ok(text)) => text.replace(NO_ROOT, root).into_bytes(),
        (_, Ok(text)) => text.into_bytes(),
        (_, Err(error)) => error.into_bytes(),
    }
}

/// Puts the key that signs status commits into `fleet.yaml`, where that leaves a place for it: `signers: []`. Tells
/// whether it did.
pub fn name_signer(files: &mut BTreeMap<String, Vec<u8>>, key: &str) -> bool {
    fill(files, NO_SIGNERS, &format!("signers: [{key:?}]"))
}

/// Puts in to whom secrets are sealed, where `fleet.yaml` leaves a place for it: `recipients: []`. Tells whether it did.
pub fn name_recipients(files: &mut BTreeMap<String, Vec<u8>>, recipients: &[String]) -> bool {
    fill(files, NO_RECIPIENTS, &format!("recipients: {recipients:?}"))
}

fn fill(files: &mut BTreeMap<String, Vec<u8>>, place: &str, with: &str) -> bool {
    let fleet = files.get_mut("fleet.yaml");
    let Some((bytes, text)) = fleet.and_then(|bytes| {
        let text = String::from_utf8(bytes.clone()).ok()?;
        Some((bytes, text))
    }) else {
        return false;
    };
    let named = text.replacen(place, with, 1);
    let did = named != text;
    *bytes = named.into_bytes();
    did
}

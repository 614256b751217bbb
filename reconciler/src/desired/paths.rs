//! Which files of the state repository are documents, and what their places say of them.
//! A path is never an identity; it only tells who may write there and, in need, what was meant.

use std::collections::BTreeMap;

use easyenclave_schemas::documents::{Identity, Kind};

use super::blobs::BlobKey;

/// The file of the fleet.
pub(super) const FLEET: &str = "fleet.yaml";

/// The folders of documents.
pub(super) const FOLDERS: [&str; 8] = [
    "owners",
    "policies",
    "providers",
    "capacity",
    "reservations",
    "deployments",
    "secrets",
    "approvals",
];

/// Where documents lie: a file and folders at the repository's root.
pub fn places() -> impl Iterator<Item = &'static str> {
    FOLDERS.into_iter().chain([FLEET])
}

/// Whether a file of this path, relative to the repository's root, is a state document. Other files
/// may lie beside them: hidden ones, compose files, texts.
pub fn is_document(path: &str) -> bool {
    if path == FLEET {
        return true;
    }
    let mut parts = path.split('/');
    let (folder, file) = (parts.next().unwrap_or_default(), path.rsplit('/').next());
    let file = file.unwrap_or_default();
    let is_yaml = file.ends_with(".yaml") || file.ends_with(".yml");
    let is_hidden = parts.any(|part| part.starts_with('.'));
    FOLDERS.contains(&folder) && path != folder && is_yaml && !is_compose(file) && !is_hidden
}

/// The documents among the files of a revision.
pub(super) fn documents(files: &BTreeMap<String, BlobKey>) -> Vec<(&str, BlobKey)> {
    let documents = files.iter().filter(|(path, _)| is_document(path));
    documents.map(|(path, key)| (path.as_str(), *key)).collect()
}

/// Whether a file of this path may stand beside a document and be a part of it: a Compose file in an owner's folder.
pub(super) fn is_attachment(path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or_default();
    let is_yaml = file.ends_with(".yaml") || file.ends_with(".yml");
    let is_hidden = path.split('/').any(|part| part.starts_with('.'));
    owner_folder(path, "deployments").is_some() && is_yaml && is_compose(file) && !is_hidden
}

/// Whether a file of this path counts for anything: a document, or what may be a part of one.
pub fn is_read(path: &str) -> bool {
    is_document(path) || is_attachment(path)
}

/// The path of a file in the folder of another one.
pub(super) fn beside(path: &str, name: &str) -> String {
    match path.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{name}"),
        None => name.to_owned(),
    }
}

/// The names that Compose looks for, and those of its further files, such as `compose.prod.yaml`. Another name that
/// begins alike is a document's: one that is passed over would be a lost intention.
fn is_compose(file: &str) -> bool {
    let rest = file
        .strip_prefix("docker-compose")
        .or_else(|| file.strip_prefix("compose"));
    rest.is_some_and(|rest| rest.starts_with('.'))
}

/// What a file of this path would hold by custom, for files that cannot be read.
pub(super) fn guess(path: &str) -> Option<Identity> {
    let stem = path
        .strip_suffix(".yaml")
        .or_else(|| path.strip_suffix(".yml"))?;
    let parts: Vec<_> = stem.split('/').collect();
    let (kind, owner, name) = match parts.as_slice() {
        ["owners", name] => (Kind::Owner, None, name),
        ["policies", name] => (Kind::AttestationPolicy, None, name),
        ["providers", name] => (Kind::Provider, None, name),
        ["capacity", name] => (Kind::CapacityTarget, None, name),
        ["reservations", owner, name] => (Kind::CapacityReservation, Some(*owner), name),
        ["deployments", owner, name] => (Kind::Deployment, Some(*owner), name),
        ["secrets", owner, name] => (Kind::Secret, Some(*owner), name),
        _ => return None,
    };
    Some(Identity {
        kind,
        owner: owner.map(str::to_owned),
        name: (*name).to_owned(),
    })
}

/// The path that a document has by custom, of those kinds that are left alone while they cannot be read.
pub(super) fn custom(identity: &Identity) -> Option<String> {
    let name = &identity.name;
    match (identity.kind, &identity.owner) {
        (Kind::Deployment, Some(owner)) => Some(format!("deployments/{owner}/{name}.yaml")),
        (Kind::CapacityTarget, _) => Some(format!("capacity/{name}.yaml")),
        _ => None,
    }
}

/// Whether a document has its place at this path as far as owners are concerned: who may write to an
/// owner's folder must not speak for anybody else.
pub(super) fn may_hold(path: &str, identity: &Identity) -> bool {
    let owner = identity.owner.as_deref();
    match identity.kind {
        Kind::Deployment => owner_folder(path, "deployments") == owner,
        Kind::Secret => owner_folder(path, "secrets") == owner,
        _ if path.starts_with("deployments/") || path.starts_with("secrets/") => false,
        Kind::CapacityReservation => {
            let folder = owner_folder(path, "reservations");
            folder.is_none() || folder == owner
        }
        _ if owner_folder(path, "reservations").is_some() => false,
        Kind::Fleet => path == FLEET,
        _ => path != FLEET,
    }
}

/// Whether whoever may write to this path speaks for a document's owner anyway: it lies in their folder, or in nobody's.
pub(super) fn may_speak(path: &str, identity: &Identity) -> bool {
    let mut folders = ["deployments", "secrets", "reservations"].into_iter();
    let folder = folders.find_map(|folder| owner_folder(path, folder));
    folder.is_none() || folder == identity.owner.as_deref()
}

/// Whether some document of a kind has its place at this path.
pub(super) fn may_hold_at(path: &str, kind: Kind) -> bool {
    let owner = match kind {
        Kind::Deployment => owner_folder(path, "deployments"),
        Kind::Secret => owner_folder(path, "secrets"),
        Kind::CapacityReservation => owner_folder(path, "reservations"),
        _ => return true,
    };
    owner.is_some()
}

/// The folder below `deployments/`, `secrets/` or `reservations/` that a file lies in, if it lies in one.
pub(super) fn owner_folder<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let below = path.strip_prefix(folder)?.strip_prefix('/')?;
    below.split_once('/').map(|(owner, _)| owner)
}

/// A path as people are shown it. A file's name may hold line breaks and terminal commands; what is
/// printed must not obey them.
pub(super) fn shown(path: &str) -> String {
    let mut shown = String::with_capacity(path.len());
    for c in path.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_yaml_files_in_their_folders() {
        for path in [
            "fleet.yaml",
            "owners/acme.yaml",
            "deployments/acme/web.yml",
            "deployments/acme/a/b/c.yaml",
            "approvals/x.yaml",
            "reservations/acme/x.yaml",
            "deployments/acme/composer.yaml",
            "deployments/acme/compose-web.yaml",
        ] {
            assert!(is_document(path), "{path}");
        }
        for path in [
            "",
            "README.md",
            "fleet.yml",
            "other/fleet.yaml",
            ".github/workflows/test.yaml",
            "deployments/acme/compose.yaml",
            "deployments/acme/compose.prod.yml",
            "deployments/acme/docker-compose.yml",
            "deployments/acme/.hidden.yaml",
            "deployments/.acme/web.yaml",
            "deployments/acme/README.md",
            "deployments.yaml",
            "charts/deployments/web.yaml",
        ] {
            assert!(!is_document(path), "{path}");
        }
    }

    #[test]
    fn compose_files_of_owners_may_be_parts_of_documents() {
        for path in [
            "deployments/acme/compose.yaml",
            "deployments/acme/docker-compose.yml",
            "deployments/acme/a/compose.web.yaml",
        ] {
            assert!(is_attachment(path) && is_read(path), "{path}");
        }
        for path in [
            "compose.yaml",
            "deployments/compose.yaml",
            "owners/acme/compose.yaml",
            "deployments/acme/web.yaml",
            "deployments/acme/compose.json",
            "deployments/.acme/compose.yaml",
        ] {
            assert!(!is_attachment(path), "{path}");
        }
        assert!(is_read("fleet.yaml") && !is_read("README.md"));
        assert_eq!(
            beside("deployments/acme/web.yaml", "compose.yaml"),
            "deployments/acme/compose.yaml"
        );
    }

    #[test]
    fn an_owners_folder_speaks_for_nobody_else() {
        let may = |path, kind, owner: Option<&str>| {
            let (owner, name) = (owner.map(str::to_owned), "x".to_owned());
            may_hold(path, &Identity { kind, owner, name })
        };
        let folder = "reservations/acme/x.yaml";
        assert!(may(folder, Kind::CapacityReservation, Some("acme")));
        assert!(!may(folder, Kind::CapacityReservation, Some("other")));
        assert!(may(
            "reservations/x.yaml",
            Kind::CapacityReservation,
            Some("acme")
        ));
        for kind in [
            Kind::Approval,
            Kind::AttestationPolicy,
            Kind::CapacityTarget,
            Kind::Owner,
            Kind::Provider,
            Kind::Fleet,
        ] {
            assert!(!may(folder, kind, None), "{kind:?}");
            assert!(!may("deployments/acme/x.yaml", kind, None), "{kind:?}");
            assert!(!may("secrets/acme/x.yaml", kind, None), "{kind:?}");
        }
        assert!(may("secrets/acme/x.yaml", Kind::Secret, Some("acme")));
        for elsewhere in [
            "secrets/other/x.yaml",
            "secrets/x.yaml",
            "deployments/acme/x.yaml",
            folder,
        ] {
            assert!(!may(elsewhere, Kind::Secret, Some("acme")), "{elsewhere}");
        }
        let secrets = "secrets/acme/x.yaml";
        assert!(!may(secrets, Kind::Deployment, Some("acme")));
        assert!(!may(secrets, Kind::CapacityReservation, Some("acme")));
    }

    #[test]
    fn a_folder_of_an_owner_speaks_for_this_owner_and_one_of_nobodys_for_all() {
        let may = |path: &str, owner: Option<&str>| {
            let (kind, owner) = (Kind::Deployment, owner.map(str::to_owned));
            let name = "x".to_owned();
            may_speak(path, &Identity { kind, owner, name })
        };
        for path in ["deployments/x.yaml", "deployment/other/x.yaml", "x.yaml"] {
            assert!(may(path, Some("acme")) && may(path, None), "{path}");
        }
        for folder in ["deployments", "secrets", "reservations"] {
            let path = format!("{folder}/acme/x.yaml");
            assert!(may(&path, Some("acme")), "{path}");
            assert!(!may(&path, Some("other")) && !may(&path, None), "{path}");
        }
    }

    #[test]
    fn a_path_tells_what_was_meant() {
        let shown = |path| guess(path).map(|identity| identity.to_string());
        assert_eq!(
            shown("deployments/acme/web.yaml").as_deref(),
            Some("Deployment acme/web")
        );
        assert_eq!(
            shown("capacity/tiny.yml").as_deref(),
            Some("CapacityTarget tiny")
        );
        assert_eq!(
            shown("secrets/acme/db.yaml").as_deref(),
            Some("Secret acme/db")
        );
        assert_eq!(shown("deployments/web.yaml"), None);
        assert_eq!(shown("approvals/x.yaml"), None);
    }
}

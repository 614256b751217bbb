//! Documents that lie where none is read: a misspelt folder would take away what it holds without a word. Looks at the
//! beginning of a file and no further, and names nothing that is another program's.

use easyenclave_schemas::decode::{Problem, did_you_mean};
use easyenclave_schemas::documents::Kind;

use super::paths::{FLEET, FOLDERS, is_document, may_hold_at};
use super::report::FileProblem;

/// The code of such a document.
const NOT_READ: &str = "not-read";

/// So much of a file is looked at, in bytes.
pub const BEGINNING: usize = 8 * 1024;

/// Whether a file of this path, relative to the repository's root, could be a document that is not read. Hidden files and
/// folders are other programs'.
pub fn may_be_astray(path: &str) -> bool {
    let is_yaml = [".yaml", ".yml"].iter().any(|end| {
        let tail = path.len().checked_sub(end.len());
        let tail = tail.and_then(|at| path.get(at..));
        tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    });
    is_yaml && !is_document(path) && !path.split('/').any(|part| part.starts_with('.'))
}

/// Whether a text is a document of ours by its first bytes.
pub(super) fn is_ours(text: &[u8]) -> bool {
    claim(text).is_some()
}

fn claim(text: &[u8]) -> Option<Claim> {
    Claim::of(&String::from_utf8_lossy(&text[..text.len().min(BEGINNING)]))
}

/// The problem of a file that may be astray, when it is a document of ours by its first bytes.
pub fn astray(path: &str, text: &[u8]) -> Option<FileProblem> {
    let claim = claim(text)?;
    let kind = claim.kind.map(|kind| format!(" ({kind})"));
    let problem = Problem {
        line: claim.line,
        column: 1,
        pointer: String::new(),
        code: NOT_READ,
        message: format!(
            "this says that it is a document of EasyEnclave{}, but it is not read here: {}",
            kind.unwrap_or_default(),
            place(claim.kind)
        ),
        suggestion: meant(path, claim.kind),
    };
    Some(FileProblem {
        file: path.into(),
        problem,
        consequence: "it counts for nothing",
    })
}

/// What a text says of itself in its outermost lines.
struct Claim {
    kind: Option<Kind>,
    line: u32,
}

impl Claim {
    /// A kind alone is enough, as long as the document is not said to be another program's, such as Kubernetes'.
    fn of(text: &str) -> Option<Self> {
        let (version, kind) = (field(text, "apiVersion"), field(text, "kind"));
        let known =
            kind.and_then(|(_, kind)| Kind::ALL.into_iter().find(|one| one.as_str() == kind));
        let is_ours = match version {
            Some((_, version)) => version.starts_with("easyenclave.dev/"),
            None => known.is_some(),
        };
        let (line, _) = version.or(kind)?;
        is_ours.then_some(Self { kind: known, line })
    }
}

/// The first field of this name that stands at the beginning of a line, with the line's number.
fn field<'a>(text: &'a str, name: &str) -> Option<(u32, &'a str)> {
    text.lines().zip(1..).find_map(|(line, number)| {
        let value = line.strip_prefix(name)?.trim_start().strip_prefix(':')?;
        let value = value.split(" #").next().unwrap_or_default();
        Some((number, value.trim().trim_matches(['"', '\''])))
    })
}

/// Where documents of a kind lie.
fn place(kind: Option<Kind>) -> String {
    match kind.map(folder) {
        None => format!(
            "documents lie in {FLEET} and below {}/",
            FOLDERS.join("/, ")
        ),
        Some(FLEET) => format!("it belongs in {FLEET}"),
        Some(folder @ ("deployments" | "reservations" | "secrets")) => {
            format!(
                "it belongs below {folder}/<owner>/, in a file whose name ends in .yaml and is not that of a Compose file"
            )
        }
        Some(folder) => format!(
            "it belongs below {folder}/, in a file whose name ends in .yaml and is not that of a Compose file"
        ),
    }
}

fn folder(kind: Kind) -> &'static str {
    match kind {
        Kind::Fleet => FLEET,
        Kind::Owner => "owners",
        Kind::AttestationPolicy => "policies",
        Kind::Provider => "providers",
        Kind::CapacityTarget => "capacity",
        Kind::CapacityReservation => "reservations",
        Kind::Deployment => "deployments",
        Kind::Secret => "secrets",
        Kind::Approval => "approvals",
    }
}

/// The same file in the folder of its kind, or else in one of a similar name.
fn meant(path: &str, kind: Option<Kind>) -> Option<String> {
    let (first, below) = path.split_once('/').unwrap_or(("", path));
    let folder = match kind {
        Some(kind) => folder(kind),
        None => did_you_mean(first, FOLDERS)?,
    };
    if folder == FLEET {
        return Some(FLEET.into());
    }
    let path = format!("{folder}/{below}");
    let is_place = is_document(&path) && kind.is_none_or(|kind| may_hold_at(&path, kind));
    is_place.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str =
        "apiVersion: easyenclave.dev/v1\nkind: Deployment\nmetadata: {name: web, owner: acme}\n";

    fn said(path: &str, text: &str) -> Option<(String, Option<String>)> {
        assert!(may_be_astray(path), "{path}");
        let found = astray(path, text.as_bytes())?.problem;
        Some((found.message, found.suggestion))
    }

    #[test]
    fn a_document_in_a_misspelt_folder_is_named_with_the_folder_that_is_meant() {
        let (message, meant) = said("deployment/acme/web.yaml", WEB).expect("ours");
        assert!(message.contains("not read"), "{message}");
        assert!(message.contains("deployments/<owner>/"), "{message}");
        assert_eq!(meant.as_deref(), Some("deployments/acme/web.yaml"));
        let target = WEB.replace("Deployment", "CapacityTarget");
        let (_, meant) = said("tiny.yaml", &target).expect("ours");
        assert_eq!(meant.as_deref(), Some("capacity/tiny.yaml"));
        let (_, meant) = said("fleet.yml", "kind: Fleet # ours\n").expect("ours");
        assert_eq!(meant.as_deref(), Some("fleet.yaml"));
        let (_, meant) = said("web.yaml", WEB).expect("ours");
        assert_eq!(meant, None, "its owner's folder is not known from the path");
        let unknown = WEB.replace("Deployment", "Deploy");
        let (message, meant) = said("deploments/acme/web.yaml", &unknown).expect("ours");
        assert!(message.contains("owners/, policies/"), "{message}");
        assert_eq!(meant.as_deref(), Some("deployments/acme/web.yaml"));
    }

    #[test]
    fn what_is_another_programs_is_not_named() {
        let kubernetes = WEB.replace("easyenclave.dev/v1", "apps/v1");
        let inside = format!("data:\n  {}", WEB.replace('\n', "\n  "));
        for text in [
            &kubernetes,
            &inside,
            "on: push\n",
            "x: [\n",
            "kind: Pod\n",
            "",
        ] {
            assert_eq!(said("charts/web.yaml", text), None, "{text}");
        }
        for path in [
            ".github/workflows/test.yaml",
            "a/.hidden.yaml",
            "README.md",
            "deployments/acme/web.yaml",
            "fleet.yaml",
        ] {
            assert!(!may_be_astray(path), "{path}");
        }
        assert!(may_be_astray("deployments/acme/compose.yaml"));
        assert!(may_be_astray("deployments/acme/WEB.YAML"));
    }

    #[test]
    fn no_more_than_the_beginning_is_looked_at() {
        let far = format!("{}\n{WEB}", "# x\n".repeat(BEGINNING));
        assert_eq!(said("notes.yaml", &far), None);
        let cut = format!("{WEB}{}é", "x".repeat(BEGINNING - WEB.len() - 1));
        assert!(said("notes.yaml", &cut).is_some());
    }
}

//! A fleet that seals its evidence: nobody who reads the repository learns which machines it runs on, and an auditor
//! makes the verdicts again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use easyenclave::seal::{Opener, Sealer};
use easyenclave_schemas::Digest;
use easyenclave_schemas::evidence::{EvidenceRecord, Kept};
use easyenclave_schemas::status::paths;
use serde_json::Value;

use crate::audits::{Rewriter, evidence_and_agents, own_branch_with, verify_with};
use crate::harness::{Fleet, condition};

/// An auditor with a file.
struct Auditor {
    recipient: String,
    file: PathBuf,
    opener: Opener,
}

impl Auditor {
    fn new(fleet: &Fleet, name: &str) -> Self {
        let identity = Identity::generate();
        let secret = identity.to_string();
        let secret = secret.expose_secret();
        let file = fleet.path(name);
        std::fs::write(&file, format!("# an auditor's\n{secret}\n")).expect("written");
        let mut opener = Opener::default();
        opener.take(name.into(), secret).expect("an identity");
        Self {
            recipient: identity.to_public().to_string(),
            file,
            opener,
        }
    }

    /// What verify makes of a branch with this auditor's identity.
    fn verify(&self, fleet: &Fleet, branch: &str) -> Value {
        let file = self.file.display().to_string();
        verify_with(fleet, branch, &["--identity", &file])
    }

    /// The plain bytes of a sealed part.
    fn open(&self, files: &BTreeMap<String, Vec<u8>>, kept: &Kept) -> Vec<u8> {
        let Kept::Sealed(file) = kept else {
            panic!("{kept:?}")
        };
        let sealed = &files[&paths::evidence(file)];
        self.opener.open(sealed, 1 << 20).expect("opened")
    }
}

/// A fleet with one agent that seals for this auditor, on its branch.
fn sealing() -> (Fleet, Auditor) {
    let mut fleet = Fleet::new(1, 0);
    let auditor = Auditor::new(&fleet, "auditor.txt");
    let document = fleet.file("fleet.yaml");
    let evidence = format!(
        "  evidence:\n    keep: sealed\n    auditors: [{}]\n",
        auditor.recipient
    );
    fleet.commit("fleet.yaml", Some(&format!("{document}{evidence}")));
    fleet.start_serve();
    fleet.start_worker();
    fleet.wait_published(1);
    (fleet, auditor)
}

fn count(found: &Value, name: &str) -> u64 {
    found["verdicts"][name].as_u64().expect("a number")
}

fn good(found: &Value) {
    assert_eq!(found["findings"], Value::Array(vec![]), "{found}");
}

#[test]
fn sealed_evidence_names_no_machine_and_auditors_make_its_verdicts_again() {
    let (mut fleet, auditor) = sealing();
    fleet.kill_serve();
    fleet.kill_worker();
    let files = evidence_and_agents(&fleet);
    let (_, record) = record(&files);
    let quote = auditor.open(&files, &record.quote.kept);
    assert_eq!(Digest::of(&quote), record.quote.digest);
    holds_nothing_of(&fleet, &quote);

    let without = verify_with(&fleet, "status", &[]);
    good(&without);
    assert_eq!(count(&without, "recomputed"), 0, "{without}");
    assert!(count(&without, "sealed") >= 1, "{without}");
    let with = auditor.verify(&fleet, "status");
    good(&with);
    assert_eq!(count(&with, "recomputed"), count(&without, "sealed"));
    assert_eq!(count(&with, "sealed") + count(&with, "notOpened"), 0);
    let stranger = Auditor::new(&fleet, "stranger.txt").verify(&fleet, "status");
    good(&stranger);
    assert_eq!(count(&stranger, "notOpened"), count(&without, "sealed"));
    assert_eq!(count(&stranger, "recomputed"), 0);

    files_that_open_nothing_are_told(&fleet);
    each_flipped_byte_is_named(&fleet, &auditor, &record);
    a_sealed_file_with_another_quote_is_named(&fleet, &auditor, &files);
    fleet.stop();
}

/// By their names, and by the line that is no identity; never by what is in them.
fn files_that_open_nothing_are_told(fleet: &Fleet) {
    let state = fleet.state().display().to_string();
    let said = |name: &str| {
        let args = [
            "verify",
            "--repo",
            &state,
            "--signers",
            "data/allowed_signers",
        ];
        let output = fleet.run(&[args.as_slice(), &["--identity", name]].concat());
        let all = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(all).expect("text"))
    };
    let (code, text) = said("stranger.txt");
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("stranger.txt opens nothing of this"),
        "{text}"
    );
    assert!(!text.contains("AGE-SECRET"), "{text}");
    std::fs::write(fleet.path("junk.txt"), "# mine\nAGE-SECRET-KEY-1JUNK\n").expect("written");
    let (code, text) = said("junk.txt");
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("identity junk.txt: line 2 is no identity of age"),
        "{text}"
    );
    assert!(!text.contains("JUNK"), "{text}");
}

/// No object that the branch ever had holds the quote, the certificate of its machine, or that machine's id.
fn holds_nothing_of(fleet: &Fleet, quote: &[u8]) {
    let text = String::from_utf8_lossy(quote);
    let leaf = text.split("-----BEGIN CERTIFICATE-----").nth(1);
    let leaf = leaf.expect("a quote has its chain in it");
    let lines: Vec<_> = leaf.lines().filter(|line| line.len() >= 40).collect();
    assert!(lines.len() > 5, "{leaf}");
    let mut secrets: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
    // What it binds, and its signature.
    secrets.extend([&quote[568..632], &quote[636..700]]);
    let list = fleet.git(&["rev-list", "--objects", "status"]).stdout;
    let list = String::from_utf8(list).expect("text");
    let ids: Vec<_> = list
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(ids.len() > 10, "{list}");
    for id in ids {
        let kind = fleet.git(&["cat-file", "-t", id]).stdout;
        let kind = String::from_utf8(kind).expect("text");
        let bytes = fleet.git(&["cat-file", kind.trim(), id]).stdout;
        let has = |secret: &&&[u8]| bytes.windows(secret.len()).any(|part| part == **secret);
        let found = secrets.iter().find(has);
        assert!(found.is_none(), "{kind} {id} holds a part of the quote");
    }
}

fn each_flipped_byte_is_named(fleet: &Fleet, auditor: &Auditor, record: &EvidenceRecord) {
    let rewriter = Rewriter::new(fleet);
    for file in record.parts().filter_map(|part| part.file()) {
        let path = paths::evidence(&file);
        let altered = rewriter.flip(&path);
        for found in [
            verify_with(fleet, "altered", &[]),
            auditor.verify(fleet, "altered"),
        ] {
            let findings = found["findings"].as_array().expect("a list");
            let named = |finding: &Value| {
                finding["path"] == path.as_str() && finding["commit"] == altered.as_str()
            };
            assert!(findings.iter().any(named), "{path} in {altered}: {found}");
        }
    }
}

/// Signed, named for its bytes, and sealed for the auditor: but not what was judged. An auditor sees that; who cannot open
/// it sees it as soon as the record says which bytes are sealed.
fn a_sealed_file_with_another_quote_is_named(
    fleet: &Fleet,
    auditor: &Auditor,
    files: &BTreeMap<String, Vec<u8>>,
) {
    let (path, mut record) = record(files);
    let mut quote = auditor.open(files, &record.quote.kept);
    quote[600] ^= 1;
    let sealer = Sealer::of(std::slice::from_ref(&auditor.recipient)).expect("a recipient");
    let sealed = sealer.seal(&quote).expect("sealed");
    let file = Digest::of(&sealed);
    record.quote.kept = Kept::Sealed(file);
    let (forged, _) = with_record(files, &path, &record, (file, &sealed));
    let identity = auditor.file.display().to_string();
    let found = own_branch_with(fleet, "forged", &forged, &["--identity", &identity]);
    let finding = &found["findings"][0];
    assert_eq!(finding["path"], paths::evidence(&file), "{found}");
    let message = finding["message"].as_str().expect("text");
    assert!(message.starts_with("holds other bytes"), "{message}");
    good(&own_branch_with(fleet, "unopened", &forged, &[]));

    record.quote.digest = Digest::of(&quote);
    let (forged, path) = with_record(files, &path, &record, (file, &sealed));
    for (branch, more) in [
        ("named", &[] as &[&str]),
        ("opened", &["--identity", &identity]),
    ] {
        let found = own_branch_with(fleet, branch, &forged, more);
        let finding = &found["findings"][0];
        assert_eq!(finding["path"], path, "{found}");
        let message = finding["message"].as_str().expect("text");
        let said = "names another quote than its verdict is of";
        assert_eq!(message, said);
    }
}

/// The files with another record in place of the one at this path, and a file beside it; where that record is then.
fn with_record(
    files: &BTreeMap<String, Vec<u8>>,
    path: &str,
    record: &EvidenceRecord,
    (file, sealed): (Digest, &[u8]),
) -> (BTreeMap<String, Vec<u8>>, String) {
    let mut forged = files.clone();
    let (bytes, old) = (record.to_json(), path.rsplit('/').next().expect("a name"));
    let digest = Digest::of(&bytes);
    forged.remove(path);
    forged.insert(paths::evidence(&file), sealed.to_vec());
    forged.insert(paths::evidence(&digest), bytes);
    for bytes in forged.values_mut() {
        let Ok(text) = std::str::from_utf8(bytes) else {
            continue;
        };
        *bytes = text.replace(old, &digest.to_string()).into_bytes();
    }
    (forged, paths::evidence(&digest))
}

/// The record of the only agent, with its path.
fn record(files: &BTreeMap<String, Vec<u8>>) -> (String, EvidenceRecord) {
    let parsed = |bytes: &Vec<u8>| serde_json::from_slice::<EvidenceRecord>(bytes).ok();
    let mut records = files
        .iter()
        .filter_map(|(path, bytes)| Some((path.clone(), parsed(bytes)?)));
    records.next().expect("a record")
}

#[test]
fn restarts_and_a_lost_branch_seal_nothing_again() {
    let (mut fleet, _) = sealing();
    let evidence = |fleet: &Fleet| {
        let tree = fleet.git(&["rev-parse", "status:evidence"]).stdout;
        String::from_utf8(tree).expect("text")
    };
    let before = evidence(&fleet);
    fleet.kill_serve();
    fleet.start_serve();
    let document = fleet.file("fleet.yaml");
    let commit = fleet.commit("fleet.yaml", Some(&format!("{document}# a remark\n")));
    let says = |fleet: &Fleet, commit: &str| {
        let grep = ["grep", "-q", commit, "status", "--", "fleet.yaml"];
        fleet.git(&grep).status.success()
    };
    fleet.until("the branch says so after a restart", || {
        says(&fleet, &commit)
    });
    assert_eq!(evidence(&fleet), before);

    fleet.kill_serve();
    fleet.git(&["update-ref", "-d", "refs/heads/status"]);
    std::fs::remove_dir_all(fleet.path("data/status.git")).expect("the clone is there");
    fleet.start_serve();
    fleet.until("the branch is there again", || says(&fleet, &commit));
    fleet.until("its evidence too", || evidence(&fleet) == before);
    fleet.stop();
}

/// A document that fails has its last good version in its history, which may be of the time before there were auditors.
#[test]
fn sealing_for_nobody_is_said_and_an_auditor_who_comes_opens_what_is_judged_from_then_on() {
    let mut fleet = Fleet::new(1, 0);
    let document = fleet.file("fleet.yaml");
    let sealed = format!("{document}  evidence:\n    keep: sealed\n");
    fleet.commit("fleet.yaml", Some(&sealed));
    fleet.commit("fleet.yaml", Some(&format!("{sealed}  nonsense: 1\n")));
    fleet.start_serve();
    fleet.start_worker();
    fleet.wait_published(1);
    let status = fleet.status().expect("a status");
    let auditable = condition(&status["fleet"], "Auditable");
    assert_eq!(auditable["status"], "False", "{status}");
    assert_eq!(auditable["reason"], "NoAuditors");
    let said = "evidence is not kept as it should be";
    assert_eq!(fleet.log("serve.log").matches(said).count(), 1);
    let found = verify_with(&fleet, "status", &[]);
    good(&found);
    assert!(count(&found, "notKept") >= 1, "{found}");
    assert_eq!(count(&found, "sealed") + count(&found, "recomputed"), 0);

    let auditor = Auditor::new(&fleet, "auditor.txt");
    let mended = format!("{sealed}    auditors: [{}]\n", auditor.recipient);
    let policy = fleet.file("policies/simulated.yaml") + "  maxAge: 23h\n";
    fleet.commit_all(&[
        ("fleet.yaml", Some(&mended)),
        ("policies/simulated.yaml", Some(&policy)),
    ]);
    fleet.wait("the fleet is auditable", |status| {
        let auditable = condition(&status["fleet"], "Auditable");
        let message = auditable["message"].as_str().unwrap_or_default();
        auditable["status"] == "True" && message.contains("stays as it was filed until")
    });
    fleet.until("kept evidence is judged again, sealed, and opens", || {
        let found = auditor.verify(&fleet, "status");
        good(&found);
        count(&found, "recomputed") >= 1 && count(&found, "notKept") >= 1
    });
    fleet.stop();
}

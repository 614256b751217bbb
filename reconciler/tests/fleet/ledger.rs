//! The status branch as a ledger: what it keeps of each agent's evidence.

use std::collections::BTreeSet;

use easyenclave_schemas::evidence::EvidenceRecord;
use easyenclave_schemas::status::paths;
use easyenclave_schemas::{AgentId, Digest};

use crate::harness::{Fleet, deployment};

#[test]
fn evidence_is_on_the_branch_as_long_as_an_agent_is() {
    let fleet = Fleet::started(2, 0);
    fleet.wait_published(2);
    let two = kept(&fleet);
    assert_eq!(two.agents, 2);
    // Each a record and a quote; collateral and policy are the same for both.
    assert_eq!(two.evidence.len(), 2 * 2 + 2, "{:?}", two.evidence);
    // Trips no breaker: one removal at a time.
    let web = "deployments/acme/web.yaml";
    fleet.commit(web, Some(&deployment("web", 1, "")));
    fleet.until("one agent is left, with its evidence", || {
        let now = kept(&fleet);
        now.agents == 1 && now.evidence.len() == 2 + 2 && now.evidence.is_subset(&two.evidence)
    });
    fleet.stop();
}

/// What the tip of the branch holds.
struct Tip {
    agents: usize,
    evidence: BTreeSet<String>,
}

/// Every file of evidence is named for its bytes, and used by some agent's record.
fn kept(fleet: &Fleet) -> Tip {
    let git = |args: &[&str]| String::from_utf8(fleet.git(args).stdout).expect("text");
    let tip = git(&["rev-parse", "status"]);
    let tip = tip.trim();
    let list = git(&["ls-tree", "-r", "--name-only", tip]);
    let show = |path: &str| git(&["show", &format!("{tip}:{path}")]);
    let evidence: BTreeSet<String> = list
        .lines()
        .filter(|path| path.starts_with("evidence/"))
        .map(str::to_owned)
        .collect();
    let mut used = BTreeSet::new();
    let agents: Vec<_> = list
        .lines()
        .filter(|path| path.starts_with("agents/"))
        .collect();
    for path in &agents {
        let text = show(path);
        let line = text.lines().find(|line| line.starts_with("  evidence: "));
        let digest = line.and_then(|line| Digest::parse(line[12..].trim_matches('"')));
        let digest = digest.expect("an agent's file names its evidence");
        let record = show(&paths::evidence(&digest));
        assert_eq!(Digest::of(record.as_bytes()), digest);
        let record: EvidenceRecord = serde_json::from_str(&record).expect("a record");
        assert!(path.ends_with(&format!("{}.yaml", AgentId::as_str(&record.agent))));
        used.extend(
            record
                .files()
                .chain([digest])
                .map(|file| paths::evidence(&file)),
        );
    }
    assert_eq!(used, evidence);
    Tip {
        agents: agents.len(),
        evidence,
    }
}

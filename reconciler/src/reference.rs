//! Reference values as text: a measurement as an entry of a policy document, and that document with it. What
//! people wrote around it stays as it is, and the result is read back before it is believed.

use std::fmt::Write;

use easyenclave_schemas::decode::decode;
use easyenclave_schemas::documents::{Document, Measurement, PolicySpec};
use easyenclave_schemas::evidence::MeasurementDigest;
use easyenclave_schemas::status::Sighting;
use easyenclave_schemas::{NodeSize, PolicyName};

/// A sighting as an entry of `measurements`, in YAML, without indentation.
pub fn entry(seen: &Sighting, name: Option<&str>) -> String {
    let day: String = seen.first_at.to_string().chars().take(10).collect();
    let kind = if seen.simulated {
        "simulated platform"
    } else {
        "hardware"
    };
    let name = name.map_or_else(|| format!("{} of {day}", seen.agent), str::to_owned);
    let mut provenance = format!(
        "seen on {day}: agent {} on a {kind}, refused as {}",
        seen.agent, seen.refused
    );
    for event in &seen.events {
        let _ = write!(provenance, "\n{event}");
    }
    let provenance: String = provenance.chars().take(2000).collect();
    recorded(&Recorded {
        name: &name,
        size: &seen.node_size,
        mrtd: seen.mrtd,
        rtmrs: &seen.rtmrs,
        provenance: &provenance,
    })
}

/// What is to stand in a policy, and where it comes from.
pub struct Recorded<'a> {
    /// What was measured, for people.
    pub name: &'a str,
    /// The size that it holds for.
    pub size: &'a NodeSize,
    /// The initial image.
    pub mrtd: MeasurementDigest,
    /// The runtime registers, of which the last belongs to workloads and is left out.
    pub rtmrs: &'a [MeasurementDigest; 4],
    /// Where the values come from.
    pub provenance: &'a str,
}

/// A measurement as an entry of `measurements`, in YAML, without indentation.
pub fn recorded(what: &Recorded<'_>) -> String {
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let mut text = String::new();
    let _ = writeln!(text, "- name: {}", quoted(what.name));
    let _ = writeln!(text, "  nodeSize: {}", what.size);
    let _ = writeln!(text, "  mrtd: \"{}\"", what.mrtd);
    for (index, rtmr) in what.rtmrs.iter().enumerate().take(3) {
        let _ = writeln!(text, "  rtmr{index}: \"{rtmr}\"");
    }
    let _ = writeln!(text, "  provenance: {}", quoted(what.provenance));
    text
}

/// Whether a document is the policy of this name.
pub fn is_policy(text: &str, name: &PolicyName) -> bool {
    policy(text).is_some_and(|(found, _)| found == name.as_str())
}

/// The document with the entry at the end of its `measurements`. None when the text is not laid out so that a
/// program can tell where that is, or when anything else would change.
pub fn widened(text: &str, entry: &str) -> Option<String> {
    let (name, before) = policy(text)?;
    let changed = insert(text, entry)?;
    let (changed_name, after) = policy(&changed)?;
    let (added, kept) = after.measurements.split_last()?;
    let same = PolicySpec {
        measurements: kept.to_vec(),
        ..after.clone()
    };
    let expected: Vec<Measurement> = serde_yaml::from_str(entry).ok()?;
    (name == changed_name && same == before && expected == [added.clone()]).then_some(changed)
}

fn policy(text: &str) -> Option<(String, PolicySpec)> {
    match decode(text.as_bytes()).ok()?.document {
        Document::AttestationPolicy(object) => Some((object.metadata.name, object.spec)),
        _ => None,
    }
}

/// Puts the entry behind the last line of the block under `measurements:`.
fn insert(text: &str, entry: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let key = |line: &&str| {
        let line = line.split('#').next().unwrap_or_default().trim();
        matches!(line, "measurements:" | "measurements: []")
    };
    let at = lines.iter().position(key)?;
    let depth = |line: &str| line.len() - line.trim_start().len();
    let own = depth(lines[at]);
    let inside =
        |line: &&str| is_silent(line) || depth(line) > own || depth(line) == own && is_item(line);
    let block = lines[at + 1..]
        .iter()
        .take_while(|line| inside(line))
        .count();
    let mut end = at + 1 + block;
    while end > at + 1 && is_silent(lines[end - 1]) {
        end -= 1;
    }
    let first = lines[at + 1..end].iter().find(|line| is_item(line));
    let indent = " ".repeat(first.map_or(own + 2, |line| depth(line)));
    let mut result: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    result[at] = result[at].replacen("measurements: []", "measurements:", 1);
    let added = entry.lines().map(|line| format!("{indent}{line}"));
    result.splice(end..end, added);
    Some(result.join("\n") + "\n")
}

fn is_item(line: &str) -> bool {
    line.trim_start().starts_with("- ")
}

/// Nothing, or a comment.
fn is_silent(line: &str) -> bool {
    let text = line.trim_start();
    text.is_empty() || text.starts_with('#')
}

#[cfg(test)]
mod tests {
    use easyenclave_schemas::Timestamp;
    use easyenclave_schemas::evidence::MeasurementDigest;

    use super::*;

    fn seen() -> Sighting {
        let digest = |byte| MeasurementDigest::new([byte; 48]);
        Sighting {
            agent: "tiny-1".into(),
            policy: "sim".parse().expect("a name"),
            node_size: "tiny".parse().expect("a name"),
            simulated: true,
            refused: "EE-ATT-014: \"unknown\": # no comment".into(),
            mrtd: digest(1),
            mrseam: digest(2),
            mrconfigid: digest(0),
            rtmrs: [digest(3), digest(4), digest(5), digest(6)],
            events: vec!["RTMR1 ab boot program".into()],
            first_at: Timestamp::from_millis(1_770_000_000_000),
        }
    }

    fn document(measurements: &str) -> String {
        format!(
            "# Kept.\napiVersion: easyenclave.dev/v1\nkind: AttestationPolicy\nmetadata:\n  name: sim\nspec:\n\
             {measurements}  # The end.\n  maxAge: 1h\n"
        )
    }

    fn known(indent: &str) -> String {
        format!(
            "  measurements:\n{indent}# An image.\n{indent}- name: known\n{indent}  mrtd: \"{}\"\n\n",
            "ab".repeat(48)
        )
    }

    #[test]
    fn an_entry_goes_behind_the_last_and_nothing_else_changes() {
        for before in [known("    "), known("  "), "  measurements: []\n".into()] {
            let text = document(&before);
            let entry = entry(&seen(), None);
            let after = widened(&text, &entry).expect("changed");
            assert!(
                after.starts_with("# Kept.\n") && after.ends_with("  # The end.\n  maxAge: 1h\n"),
                "{after}"
            );
            let (_, policy) = policy(&after).expect("valid");
            let last = policy.measurements.last().expect("one");
            assert_eq!(last.name, "tiny-1 of 2026-02-02");
            assert_eq!(last.mrtd, "01".repeat(48));
            assert_eq!(last.rtmr2.as_deref(), Some("05".repeat(48).as_str()));
            let provenance = last.provenance.as_deref().expect("said");
            assert!(
                provenance.contains("# no comment\nRTMR1 ab boot program"),
                "{provenance}"
            );
        }
    }

    #[test]
    fn a_layout_that_a_program_does_not_know_is_left_to_people() {
        let flow = "  measurements: [{name: known, mrtd: \"x\"}]\n";
        let entry = entry(&seen(), Some("a name: with \"signs\""));
        assert_eq!(widened(&document(flow), &entry), None);
        assert_eq!(widened("not a policy", &entry), None);
        let text = document(&known("    "));
        assert_eq!(widened(&text, "- name: x\n  mrtd: short\n"), None);
    }
}

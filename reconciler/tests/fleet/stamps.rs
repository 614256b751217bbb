//! Wherever trust is shown, simulated trust says so: every surface of a fleet on the simulated platform, line by line.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::{Fleet, deployment, find};

/// Words that say of an agent whether it is trusted.
const TRUST: [&str; 5] = [
    "attested",
    "accepted",
    "trusted until",
    "verdict",
    "refused",
];

/// What says of nobody's evidence whether it is trusted: attempts of all roots, that there is no verdict, a title.
const NOBODY: [&str; 3] = [
    "attestation_registration_attempt_total",
    "NoVerdict",
    "## Refused requests",
];

/// The planner's own lines, which name no platform: a line of the plan says how many agents are simulated.
const PLANNED: &str = "its evidence is refused";

/// A surface: what shows it, and each piece that has to carry the stamp by itself.
type Surface = (String, Vec<String>);

#[test]
fn wherever_trust_is_shown_it_is_called_simulated() {
    let fleet = Fleet::started(1, 0);
    fleet.wait_published(1);
    let status = fleet.status().expect("a status");
    let agent = status["agents"][0]["agent"].as_str().expect("an agent");
    let url = find(&status["deployments"], "deployment", "acme/web")["replicas"][0]["url"].clone();
    let mut surfaces = surfaces(&fleet, agent);
    surfaces.push(whole("workload", &fetch(url.as_str().expect("an address"))));
    surfaces.extend(branch(&fleet, &["README.md", "fleet.yaml"]));
    are_stamped(&surfaces);
    fleet.stop();
}

/// A refused agent is of a simulated platform, too: what it showed decides, and not what came of it.
#[test]
fn wherever_an_agent_is_refused_it_is_called_simulated() {
    const POLICY: &str = "policies/simulated.yaml";
    const KNOWN: &str = "mrtd: f03c731d";
    let fleet = Fleet::started(1, 0);
    fleet.wait_published(1);
    let policy = fleet.file(POLICY);
    assert!(policy.contains(KNOWN));
    let policy = policy.replace(KNOWN, "mrtd: 00000000");
    let other = deployment("other", 1, "");
    let files = [(POLICY, policy), ("deployments/acme/other.yaml", other)];
    fleet.commit_all(
        &files
            .each_ref()
            .map(|(path, text)| (*path, Some(text.as_str()))),
    );
    fleet.until("the status branch says that the agent is refused", || {
        let grep = ["grep", "-q", "its evidence is refused", "status", "--"];
        let grep = fleet.git(&[grep.as_slice(), &["agents", "README.md"]].concat());
        grep.status.success()
    });
    let status = fleet.status().expect("a status");
    let agent = find(&status["agents"], "quarantined", "its evidence is refused");
    assert_eq!(agent["trust"]["state"], "refused", "{agent}");
    let mut surfaces = surfaces(&fleet, agent["agent"].as_str().expect("a name"));
    surfaces.extend(branch(&fleet, &["README.md"]));
    surfaces.extend(why_not(&fleet));
    are_stamped(&surfaces);
    fleet.stop();
}

fn are_stamped(surfaces: &[Surface]) {
    let mut bare = Vec::new();
    for (name, pieces) in surfaces {
        println!("== {name}");
        let mut stamped = 0;
        for piece in pieces {
            if piece.contains("imulated") {
                stamped += 1;
                let lines = piece.lines().filter(|line| line.contains("imulated"));
                lines.for_each(|line| println!("{}", line.trim()));
            } else if shows_trust(name, piece) {
                bare.push(format!("{name}: {piece}"));
            }
        }
        if stamped == 0 {
            bare.push(format!("{name} never says simulated"));
        }
    }
    let bare = bare.join("\n");
    assert!(bare.is_empty(), "trust without its stamp:\n{bare}");
}

fn shows_trust(name: &str, piece: &str) -> bool {
    let is_nobodys = NOBODY.iter().any(|word| piece.contains(word));
    let is_planned = name.starts_with("plan") && piece.ends_with(PLANNED);
    let piece = piece.to_lowercase();
    !is_nobodys && !is_planned && TRUST.iter().any(|word| piece.contains(word))
}

/// Each line that is shown to a person stands for itself.
fn lines(name: &str, text: &str) -> Surface {
    let lines = text.lines().filter(|line| !line.starts_with("# TYPE"));
    (name.into(), lines.map(ToOwned::to_owned).collect())
}

/// A document for programs is read as a whole.
fn whole(name: &str, text: &str) -> Surface {
    (name.into(), vec![text.to_owned()])
}

/// Surfaces that show trust whatever came of it.
fn surfaces(fleet: &Fleet, agent: &str) -> Vec<Surface> {
    let metrics = fetch(&format!("{}/metrics", fleet.url()));
    let mut surfaces = vec![lines("metrics", &metrics)];
    surfaces.extend(commands(fleet, agent));
    surfaces.extend(audits(fleet, agent));
    surfaces
}

fn commands(fleet: &Fleet, agent: &str) -> Vec<Surface> {
    let data = ["--data", "data"];
    let run = |args: &[&str]| {
        let output = fleet.run(args);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let state = fleet.state().display().to_string();
    let plan = ["plan", "--repo", &state, "--base", "main", "--head", "main"];
    let plan = |output: &str| {
        let more = ["--status", "status", "--output", output];
        run(&[plan.as_slice(), &more].concat())
    };
    let of = |args: &[&str]| run(&[args, &data].concat());
    let json = ["--output", "json"];
    vec![
        lines("status", &of(&["status"])),
        whole(
            "status --output json",
            &of(&[&["status"], json.as_slice()].concat()),
        ),
        lines("why AGENT", &of(&["why", agent])),
        whole(
            "why AGENT --output json",
            &of(&[&["why", agent], json.as_slice()].concat()),
        ),
        lines("plan", &plan("text")),
        lines("plan --output markdown", &plan("markdown")),
        whole("plan --output json", &plan("json")),
    ]
}

/// Why a deployment does not run on an agent that is refused.
fn why_not(fleet: &Fleet) -> [Surface; 2] {
    let state = fleet.state().display().to_string();
    let ask = |output: &str| {
        let args = ["why-not", "acme/other", "--repo", &state, "--head", "main"];
        let more = ["--status", "status", "--output", output];
        let ended = fleet.run(&[args.as_slice(), &more].concat());
        String::from_utf8_lossy(&ended.stdout).into_owned()
    };
    [
        lines("why-not", &ask("text")),
        whole("why-not --output json", &ask("json")),
    ]
}

/// What is made of the evidence that the branch keeps.
fn audits(fleet: &Fleet, agent: &str) -> Vec<Surface> {
    let state = fleet.state().display().to_string();
    let signers = fleet.path("data/allowed_signers").display().to_string();
    let run = |args: &[&str]| {
        let output = fleet.run(&[args, &["--repo", &state]].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let verify = ["verify", "--signers", &signers, "--today"];
    let json = ["--output", "json"];
    vec![
        lines("verify --today", &run(&verify)),
        whole(
            "verify --today --output json",
            &run(&[verify.as_slice(), &json].concat()),
        ),
        whole("evidence AGENT", &run(&["evidence", agent])),
        whole(
            "evidence AGENT --output json",
            &run(&[&["evidence", agent], json.as_slice()].concat()),
        ),
    ]
}

/// Files of the status branch that show trust.
fn branch(fleet: &Fleet, more: &[&str]) -> Vec<Surface> {
    let git = |args: &[&str]| {
        let output = fleet.git(args);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let files = git(&["ls-tree", "-r", "--name-only", "status"]);
    let agents = files.lines().filter(|file| file.starts_with("agents/"));
    let shown = |file: &str| git(&["show", &format!("status:{file}")]);
    let mut surfaces: Vec<_> = agents.map(|file| whole(file, &shown(file))).collect();
    assert!(!surfaces.is_empty(), "there are agents");
    surfaces.extend(more.iter().map(|file| match file.ends_with(".md") {
        true => lines(file, &shown(file)),
        false => whole(file, &shown(file)),
    }));
    surfaces
}

/// The body of an answer, by hand: this test needs nothing more of HTTP.
fn fetch(url: &str) -> String {
    let rest = url.strip_prefix("http://").expect("plain HTTP");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(host).expect("it listens");
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    body.to_owned()
}

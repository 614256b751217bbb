//! Wherever trust is shown, simulated trust says so: every surface of a fleet on the simulated platform, line by line.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::{Fleet, find};

/// Words that say of an agent that it is trusted.
const TRUST: [&str; 4] = ["attested", "accepted", "trusted until", "verdict"];

/// A surface: what shows it, and each piece that has to carry the stamp by itself.
type Surface = (String, Vec<String>);

#[test]
fn wherever_trust_is_shown_it_is_called_simulated() {
    let fleet = Fleet::started(1, 0);
    fleet.wait_published(1);
    let status = fleet.status().expect("a status");
    let agent = status["agents"][0]["agent"].as_str().expect("an agent");
    let mut surfaces = vec![lines(
        "metrics",
        &fetch(&format!("{}/metrics", fleet.url())),
    )];
    let url = find(&status["deployments"], "deployment", "acme/web")["replicas"][0]["url"].clone();
    surfaces.push(whole("workload", &fetch(url.as_str().expect("an address"))));
    surfaces.extend(commands(&fleet, agent));
    surfaces.extend(branch(&fleet));
    let mut bare = Vec::new();
    for (name, pieces) in &surfaces {
        println!("== {name}");
        let mut stamped = 0;
        for piece in pieces {
            if piece.contains("imulated") {
                stamped += 1;
                piece
                    .lines()
                    .filter(|line| line.contains("imulated"))
                    .for_each(|line| {
                        println!("{}", line.trim());
                    });
            } else if shows_trust(piece) {
                bare.push(format!("{name}: {piece}"));
            }
        }
        if stamped == 0 {
            bare.push(format!("{name} never says simulated"));
        }
    }
    assert!(
        bare.is_empty(),
        "trust without its stamp:\n{}",
        bare.join("\n")
    );
    fleet.stop();
}

fn shows_trust(piece: &str) -> bool {
    let piece = piece.to_lowercase();
    TRUST.iter().any(|word| piece.contains(word))
}

/// Each line that is shown to a person stands for itself. What counts attempts, whatever their root, is no agent's trust.
fn lines(name: &str, text: &str) -> Surface {
    let counts = |line: &&str| {
        line.starts_with("# TYPE") || line.starts_with("attestation_registration_attempt_total")
    };
    let lines = text.lines().filter(|line| !counts(line));
    (name.into(), lines.map(ToOwned::to_owned).collect())
}

/// A document for programs is read as a whole.
fn whole(name: &str, text: &str) -> Surface {
    (name.into(), vec![text.to_owned()])
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

/// Files of the status branch that show trust.
fn branch(fleet: &Fleet) -> Vec<Surface> {
    let git = |args: &[&str]| {
        let output = fleet.git(args);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let files = git(&["ls-tree", "-r", "--name-only", "status"]);
    let agents = files.lines().filter(|file| file.starts_with("agents/"));
    let shown = |file: &str| git(&["show", &format!("status:{file}")]);
    let mut surfaces: Vec<_> = agents.map(|file| whole(file, &shown(file))).collect();
    assert!(!surfaces.is_empty(), "there are agents");
    surfaces.push(lines("README.md", &shown("README.md")));
    surfaces.push(whole("fleet.yaml", &shown("fleet.yaml")));
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

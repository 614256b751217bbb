//! Names of deployments: where they may be, and whose they are.

use super::*;

const WEB: &str = "deployments/acme/web.yaml";
const API: &str = "deployments/acme/api.yaml";
const ID: &str = "0123456789abcdef0123456789abcdef";

fn fleet(tunnel: &str) -> String {
    format!("apiVersion: easyenclave.dev/v1\nkind: Fleet\nmetadata:\n  name: demo\nspec:\n{tunnel}")
}

fn zone(zone: &str, protected: &str) -> String {
    fleet(&format!(
        "  tunnel:\n    cloudflare:\n      accountId: {ID}\n      zoneId: {ID}\n      zone: {zone}\n      \
         protected: [{protected}]\n"
    ))
}

fn named(name: &str, hostname: &str) -> String {
    format!(
        "apiVersion: easyenclave.dev/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  owner: acme\nspec:\n  \
         workload:\n    process:\n      command: [x]\n  replicas: 1\n  nodeSize: tiny\n  expose:\n    hostname: {hostname}\n"
    )
}

const STAYS: &str = "(the last good version stays in force)";

#[test]
fn a_name_is_one_label_below_the_zone_and_nobody_elses() {
    let mut story = Story::example();
    story.write("fleet.yaml", &zone("example.com", "control.example.com"));
    story.write(WEB, &named("web", "app.example.com"));
    assert_eq!(story.problems(), [] as [&str; 0]);
    for (hostname, told) in [
        (
            "app.example.org",
            "app.example.org is not in the zone example.com",
        ),
        (
            "badexample.com",
            "badexample.com is not in the zone example.com",
        ),
        ("example.com", "example.com is not in the zone example.com"),
        (
            "a.b.example.com",
            "a.b.example.com is more than one label below example.com, further than the certificate of Cloudflare's edge reaches",
        ),
        (
            "control.example.com",
            "control.example.com is protected by `spec.tunnel.cloudflare.protected`",
        ),
        (
            "tiny-0889ddbd6832.example.com",
            "tiny-0889ddbd6832.example.com may be the own name of an agent: those end in `-` and 12 hex digits",
        ),
    ] {
        story.write(WEB, &named("web", hostname));
        let line = format!("{WEB}:13:15: `spec.expose.hostname`: {told} {STAYS}");
        assert_eq!(story.problems(), [line]);
    }
}

#[test]
fn a_name_is_one_deployments_and_the_newer_document_is_at_fault() {
    let mut story = Story::example();
    story.write("fleet.yaml", &zone("example.com", ""));
    story.write(WEB, &named("web", "app.example.com"));
    assert_eq!(story.problems(), [] as [&str; 0]);
    story.write(API, &named("api", "app.example.com"));
    let told = format!(
        "{API}:13:15: `spec.expose.hostname`: app.example.com is the name of deployment acme/web in {WEB}:13:15 (nothing of it is touched)"
    );
    assert_eq!(story.problems(), [told]);
    // It may go from one to the other in one commit.
    story.write(WEB, &named("web", "www.example.com"));
    assert_eq!(story.problems(), [] as [&str; 0]);
}

#[test]
fn a_fleet_without_tunnels_makes_no_names_and_does_not_lose_them_by_a_change() {
    let mut story = Story::example();
    story.write("fleet.yaml", &fleet("  {}\n"));
    story.write(WEB, &named("web", "app.example.com"));
    let told = "`spec.expose.hostname`: the fleet has no tunnel that makes names: set `spec.tunnel.cloudflare` in fleet.yaml, or take the name out";
    assert_eq!(
        story.problems(),
        [format!("{WEB}:13:15: {told} (nothing of it is touched)")]
    );
    story.write("fleet.yaml", &zone("example.com", ""));
    assert_eq!(story.problems(), [] as [&str; 0]);
    story.write("fleet.yaml", &zone("example.net", ""));
    let told = "deployment acme/web has the hostname app.example.com, and app.example.com is not in the zone example.net";
    assert_eq!(
        story.problems(),
        [format!("fleet.yaml:7:5: {told} {STAYS}")]
    );
}

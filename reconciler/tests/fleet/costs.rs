//! What a change costs is in the comment on its pull request.

use expect_test::expect;

use crate::harness::{Fleet, target};

const METAL: &str = "apiVersion: easyenclave.dev/v1\nkind: Provider\nmetadata:\n  name: metal\nspec:\n  qemu:\n    \
    tdx: never\n    sizes:\n      tiny: {vcpus: 1, memoryMib: 384, pricePerHour: \"0.25\"}\n";

/// A target that keeps so many agents of a size that `metal` makes.
fn on_metal(name: &str, size: &str, min: u32) -> String {
    target(9, 0)
        .replace("name: tiny", &format!("name: {name}"))
        .replace("nodeSize: tiny", &format!("nodeSize: {size}"))
        .replace("provider: local", "provider: metal")
        .replace("max: 9", &format!("max: 9\n  min: {min}"))
}

#[test]
fn a_plan_shows_what_its_machines_cost_an_hour_and_what_it_cannot_tell() {
    let fleet = Fleet::started(1, 0);
    fleet.wait_published(1);
    fleet.git(&["branch", "change", "main"]);
    let state = fleet.state().display().to_string();
    let changes = [
        ("providers/metal.yaml", METAL.to_owned()),
        ("capacity/east.yaml", on_metal("east", "tiny", 2)),
        ("capacity/west.yaml", on_metal("west", "standard", 1)),
        ("capacity/tiny.yaml", target(40, 1)),
    ];
    let changes = changes.map(|(path, text)| (path.to_owned(), Some(text.into())));
    easyenclave_git::commit_files(
        &state,
        "change",
        &changes.into_iter().collect(),
        "more",
        ("Ada", "ada@example.invalid"),
        3,
    )
    .expect("committed");
    let plan = |output: &str| {
        let args = ["plan", "--repo", &state, "--status", "status", "--output"];
        let ended = fleet.run(&[args.as_slice(), &[output, "--head", "change"]].concat());
        String::from_utf8(ended.stdout).expect("UTF-8")
    };
    let comment = plan("markdown");
    let cost = comment.split("#### ").find(|part| part.starts_with("Cost"));
    expect![[r#"
        Cost

        ```text
        target east: +$0.50 an hour: 2 agents more
        target tiny: price unknown: 1 agent more
        target west: price unknown: 1 agent more
        in all: +$0.50 an hour: 2 agents more; price unknown: 2 agents more
        ```

    "#]]
    .assert_eq(cost.expect("a section"));
    let json: serde_json::Value = serde_json::from_str(&plan("json")).expect("JSON");
    let all = &json["cost"]["all"];
    assert_eq!(all["usdPerHour"], "+0.50", "{json}");
    assert_eq!((&all["more"], &all["withoutPrice"]), (&4.into(), &2.into()));
    fleet.stop();
}

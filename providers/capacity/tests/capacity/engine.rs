//! What an agent that was killed has left on a real container engine goes with its unit, and nothing else does.

use easyenclave_capacity::conformance::request;
use easyenclave_capacity::process::ProcessProvider;
use easyenclave_capacity::{AgentProgram, ProvideError, Provider};
use easyenclave_engine::testing::{Bed, IMAGE};
use easyenclave_engine::{Engine, Generation, Owner, Traces, labels};
use easyenclave_processes::Memory;
use easyenclave_schemas::wire::PlatformConfig;
use easyenclave_schemas::{Digest, OrderId};

use crate::provider::{Ground, program};

const AGENT: &str = "exec sleep 300";

fn open(ground: &Ground, host: &str) -> ProcessProvider {
    let mut agent: AgentProgram = program(AGENT);
    agent.environment.push(("DOCKER_HOST".into(), host.into()));
    let platform = PlatformConfig::Simulated {
        dir: ground.path().join("guest"),
        image: None,
    };
    ProcessProvider::open(ground.path(), agent, platform).expect("a provider")
}

fn owner(ground: &Ground, order: &str) -> Owner {
    let units = ground.path().join("units").canonicalize().expect("there");
    let mark = Digest::of(units.as_os_str().as_encoded_bytes()).short(12);
    Owner {
        fleet: format!("demo@{mark}"),
        order: order.into(),
    }
}

fn memory(ground: &Ground, order: &str) -> Memory {
    let owner = owner(ground, order);
    Memory::of(&owner.fleet, &owner.order)
}

/// A container, a network and a volume of this owner, as a project of his leaves them.
fn leave(bed: &Bed, owner: &Owner) {
    let project = format!("com.docker.compose.project={}", owner.project());
    let (fleet, order) = (
        format!("{}={}", labels::FLEET, owner.fleet),
        format!("{}={}", labels::ORDER, owner.order),
    );
    bed.docker(&["network", "create", "--label", &project, &owner.project()]);
    bed.docker(&["volume", "create", "--label", &project, &owner.project()]);
    let own = ["--label", &fleet, "--label", &order, "--volume", "/none"];
    bed.docker(
        &[
            &["create"],
            &own[..],
            &["--network", &owner.project(), IMAGE, "true"],
        ]
        .concat(),
    );
}

/// The traces of an agent that has used this engine.
async fn left_by(bed: &Bed, ground: &Ground, order: &OrderId) -> Traces {
    let engine = Engine::find(&bed.surroundings()).await.expect("an engine");
    let traces = Traces::of(&ground.unit(order).join("state"));
    traces.leave(&engine).await.expect("made");
    traces
}

#[tokio::test]
async fn what_a_killed_agent_left_goes_with_its_unit_and_nothing_else_does() {
    let Some(bed) = Bed::take(Generation::Second) else {
        return;
    };
    let before = bed.holdings();
    let ground = Ground::new();
    let provider = open(&ground, bed.host());
    for name in ["a", "b"] {
        provider.ensure(&request(name, 4)).await.expect("made");
        leave(&bed, &owner(&ground, name));
        memory(&ground, name).make().expect("made");
    }
    let (a, b) = (request("a", 4).order, request("b", 4).order);
    for order in [&a, &b] {
        left_by(&bed, &ground, order).await;
    }
    ground.kill(&a);
    provider.remove(&a).await.expect("removed");
    assert!(!memory(&ground, "a").path().exists() && !ground.unit(&a).exists());
    let of_b = |list: &[&str]| {
        let label = format!(
            "label=com.docker.compose.project={}",
            owner(&ground, "b").project()
        );
        bed.docker(&[list, &["--quiet", "--filter", &label]].concat())
            .lines()
            .count()
    };
    assert_eq!((of_b(&["network", "ls"]), of_b(&["volume", "ls"])), (1, 1));
    assert!(memory(&ground, "b").path().exists());
    // Under another claim the unit is made anew, and finds nothing of before.
    let mut next = request("b", 4);
    next.fence += 1;
    provider.ensure(&next).await.expect("made");
    assert_eq!(bed.holdings(), before);
    assert!(!memory(&ground, "b").path().exists());
    provider.remove(&b).await.expect("removed");
}

#[tokio::test]
async fn a_unit_stays_while_nobody_knows_what_the_engine_holds_of_it() {
    let ground = Ground::new();
    let provider = open(&ground, "unix:///nowhere.sock");
    let order = request("a", 4).order;
    provider.ensure(&request("a", 4)).await.expect("made");
    let traces = Traces::of(&ground.unit(&order).join("state"));
    // As an agent of before left them: they name no engine.
    std::fs::create_dir_all(&traces.folder).expect("made");
    let error = provider.remove(&order).await.expect_err("nobody knows");
    assert!(matches!(error, ProvideError::Retry { .. }), "{error:?}");
    let listed = provider.list().await.expect("listed");
    assert_eq!((listed.len(), listed[0].alive), (1, false));
    std::fs::remove_dir_all(&traces.folder).expect("removed");
    provider
        .remove(&order)
        .await
        .expect("it has asked no engine for anything");
    assert_eq!(provider.list().await.expect("listed"), vec![]);
}

/// An error with all that led to it.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

/// The engine that a worker would use today holds nothing of such an agent, and would say so.
#[tokio::test]
async fn what_an_agent_left_is_asked_of_its_engine_wherever_the_worker_looks_for_one() {
    let Some(bed) = Bed::take(Generation::Second) else {
        return;
    };
    let before = bed.holdings();
    let ground = Ground::new();
    let provider = open(&ground, "unix:///nowhere.sock");
    let (a, b) = (request("a", 4).order, request("b", 4).order);
    provider.ensure(&request("a", 4)).await.expect("made");
    left_by(&bed, &ground, &a).await;
    leave(&bed, &owner(&ground, "a"));
    provider.remove(&a).await.expect("removed");
    assert_eq!(bed.holdings(), before);
    // One worker at a time uses the folder.
    drop(provider);

    let provider = open(&ground, bed.host());
    provider.ensure(&request("b", 4)).await.expect("made");
    let traces = left_by(&bed, &ground, &b).await;
    let elsewhere = r#"{"program":"docker","host":"unix:///nowhere.sock"}"#;
    std::fs::write(traces.folder.join("engine.json"), elsewhere).expect("written");
    let error = provider.remove(&b).await.expect_err("nobody knows");
    let said = chain(&error);
    let expected = "what is left here is on docker at unix:///nowhere.sock, which cannot be asked";
    assert!(said.contains(expected), "{said}");
    assert!(traces.folder.exists());
    std::fs::remove_dir_all(&traces.folder).expect("removed");
    provider.remove(&b).await.expect("it is let go");
}

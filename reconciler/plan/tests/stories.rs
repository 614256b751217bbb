//! Stories of a fleet, told turn by turn in the simulated world: what is wanted changes, things break, and the
//! planner brings them together again.

#[path = "../src/testing.rs"]
mod testing;
mod world;

use easyenclave_plan::*;
use expect_test::expect;

use testing::{desired, name, version};
use world::World;

const ONE: &str = "target tiny 0 4\ndeploy acme/web x1 v1 exposed";

#[test]
fn a_new_deployment_gets_an_agent_and_an_address() {
    let mut world = World::new(ONE, "");
    expect![[""]].assert_eq(&world.settle());
    assert_eq!(world.ready("acme/web"), 1);
    expect![[""]].assert_eq(&world.text());
}

//! All tests of the planner from outside, as one program: stories, properties over generated fleets, and the cases
//! that the properties once found.

mod fleets;
mod properties;
mod regressions;
mod rollouts;
mod stories;
#[path = "../src/testing.rs"]
#[expect(dead_code, reason = "the tests beside the rules use the rest of it")]
mod testing;
mod world;

// What is shared with the tests inside the crate names its items through the root.
use easyenclave_plan::*;

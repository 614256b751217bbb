//! The one entry: runs the rules in their order over one view of the inputs. It never looks at anything else.

use easyenclave_schemas::Timestamp;

use crate::draft::Draft;
use crate::rules::{Rule, expose, front, place, provision, quarantine, replace, retire, roll};
use crate::underway;
use crate::view::View;
use crate::{Desired, Observed, Plan};

/// The rules, in the order in which they decide: stop before start, attest before place, place before
/// expose, expose before a name leads there.
const RULES: [(&str, Rule); 8] = [
    ("retire", retire::rule),
    ("quarantine", quarantine::rule),
    ("roll", roll::rule),
    ("replace", replace::rule),
    ("place", place::rule),
    ("provision", provision::rule),
    ("expose", expose::rule),
    ("front", front::rule),
];

/// What to do now, and why other things are not done yet.
///
/// The same inputs give the same plan, to the byte. `now` is the only time there is. A plan is complete:
/// whoever executes it decides nothing.
pub fn plan(desired: &Desired, observed: &Observed, now: Timestamp) -> Plan {
    let view = View::new(desired, observed, now);
    let mut draft = Draft::new(&view);
    for (_, rule) in RULES {
        rule(&view, &mut draft);
    }
    underway::report(&view, &mut draft);
    sorted(draft.plan)
}

/// What is decided once replicas have been placed, and before anything is provided for those that found no place.
pub(crate) fn placed(view: &View) -> Draft {
    let mut draft = Draft::new(view);
    let rules = RULES.into_iter();
    for (_, rule) in rules.take_while(|(name, _)| *name != "provision") {
        rule(view, &mut draft);
    }
    draft
}

fn sorted(mut plan: Plan) -> Plan {
    plan.actions.sort_unstable();
    plan.held.sort_unstable();
    plan.approved.sort_unstable();
    plan.waits.sort_unstable();
    plan.waits.dedup();
    plan
}

//! Variables of services that are named without a value: Compose hands on its own, so here they come from the deployment's
//! `env`, or are reported.

use std::collections::BTreeMap;

use crate::decode::path::{Path, Step};
use crate::decode::problem::{At, Problem, Problems, shorten};
use crate::decode::scalar::Scalar;
use crate::decode::tree::{Node, Value};

/// Gives each variable that stands alone its value.
pub(super) fn hand_on(
    root: &mut Node<'_>,
    env: &BTreeMap<String, String>,
    problems: &mut Problems,
) {
    let Some(services) = root.field_mut("services") else {
        return;
    };
    let Value::Map(services) = &mut services.value else {
        return;
    };
    for service in services {
        let mut path = Path::default();
        path.push(Step::Field("services"));
        path.push(Step::Field(&service.key));
        let mut giver = Giver {
            path,
            env,
            problems,
        };
        giver.environment(&mut service.node);
        for hook in ["post_start", "pre_stop"] {
            let Some(Value::List(items)) = service.node.field_mut(hook).map(|node| &mut node.value)
            else {
                continue;
            };
            giver.path.push(Step::Field(hook));
            for (index, item) in items.iter_mut().enumerate() {
                giver.path.push(Step::Item(index));
                giver.environment(item);
                giver.path.pop();
            }
            giver.path.pop();
        }
    }
}

struct Giver<'t, 'p> {
    path: Path<'t>,
    env: &'p BTreeMap<String, String>,
    problems: &'p mut Problems,
}

impl Giver<'_, '_> {
    fn environment(&mut self, node: &mut Node<'_>) {
        self.path.push(Step::Field("environment"));
        match node.field_mut("environment").map(|node| &mut node.value) {
            Some(Value::Map(entries)) => {
                for entry in entries {
                    if matches!(entry.node.value, Value::Scalar(Scalar::Null(_))) {
                        let value = self.value(entry.at, &entry.key, &entry.key);
                        entry.node.value = value.map_or(Value::Broken, text);
                    }
                }
            }
            Some(Value::List(items)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    let Some(name) = item.text().filter(|text| !text.contains('=')) else {
                        continue;
                    };
                    let value = self.value(item.at, name, &index.to_string());
                    let pair = value.map(|value| format!("{name}={value}"));
                    item.value = pair.map_or(Value::Broken, text);
                }
            }
            _ => {}
        }
        self.path.pop();
    }

    fn value(&mut self, at: At, name: &str, step: &str) -> Option<String> {
        let value = self.env.get(name).cloned();
        if value.is_none() {
            let (place, name) = (self.path.name(), shorten(name, 60));
            let message = format!(
                "`{place}`: nothing is set for `{name}`; write a value, or name it under `env` of the deployment"
            );
            let pointer = format!("{}/{step}", self.path.pointer());
            let problem = Problem::new(at, "compose-unset-variable", message);
            self.problems.add(problem.of(pointer));
        }
        value
    }
}

fn text<'a>(text: String) -> Value<'a> {
    Value::Scalar(Scalar::Text(text.into()))
}

//! Numbers with and without units, as Compose writes them.

use super::{Fit, expect};
use crate::compose::WorkloadRules;

/// So many replicas of one service run on one agent at most.
const REPLICAS: u32 = 100;

/// A whole number that is not negative.
pub(in crate::compose) fn whole(text: &str, _: &WorkloadRules) -> Fit {
    expect(text.parse::<u64>().is_ok(), "a whole number, not negative")
}

/// A number of replicas.
pub(in crate::compose) fn replicas(text: &str, _: &WorkloadRules) -> Fit {
    let number = text.parse::<u32>().ok();
    let is_good = number.is_some_and(|number| number <= REPLICAS);
    expect(is_good, "a whole number from 0 to 100")
}

/// A number of processors.
pub(in crate::compose) fn processors(text: &str, _: &WorkloadRules) -> Fit {
    let number = text.replace('_', "").parse::<f64>().ok();
    let is_good = number.is_some_and(|number| number.is_finite() && number >= 0.0);
    expect(is_good, "a number of processors, such as 0.5")
}

/// A limit; -1 means none.
pub(in crate::compose) fn limit(text: &str, _: &WorkloadRules) -> Fit {
    let number = text.parse::<i64>().ok();
    let is_good = number.is_some_and(|number| number >= -1);
    expect(is_good, "a whole number, or -1 for no limit")
}

/// How readily the kernel ends a process for want of memory: never less than others.
pub(in crate::compose) fn readiness(text: &str, _: &WorkloadRules) -> Fit {
    let number = text.parse::<u32>().ok();
    expect(
        number.is_some_and(|number| number <= 1000),
        "a whole number from 0 to 1000: nothing is to outlive the agent",
    )
}

/// A number from 0 to 100.
pub(in crate::compose) fn percent(text: &str, _: &WorkloadRules) -> Fit {
    let number = text.parse::<u32>().ok();
    expect(
        number.is_some_and(|number| number <= 100),
        "a whole number from 0 to 100",
    )
}

/// A weight of input and output.
pub(in crate::compose) fn weight(text: &str, _: &WorkloadRules) -> Fit {
    let number = text.parse::<u32>().ok();
    let is_good = number.is_some_and(|number| number == 0 || (10..=1000).contains(&number));
    expect(is_good, "a whole number from 10 to 1000")
}

/// Permissions of a file.
pub(in crate::compose) fn permissions(text: &str, _: &WorkloadRules) -> Fit {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let is_good =
        !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|c| c.is_ascii_digit());
    expect(is_good, "permissions of a file, such as 0440")
}

/// A time with a unit.
pub(in crate::compose) fn duration(text: &str, _: &WorkloadRules) -> Fit {
    expect(is_duration(text), "a time with a unit, such as 1m30s")
}

fn is_duration(text: &str) -> bool {
    const UNITS: [&str; 9] = ["ns", "us", "µs", "ms", "s", "m", "h", "d", "w"];
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        if number.parse::<f64>().is_err() || !UNITS.contains(&unit) {
            return false;
        }
        rest = after;
    }
    !text.is_empty()
}

/// An amount of memory; a bare number is bytes.
pub(in crate::compose) fn memory(text: &str, _: &WorkloadRules) -> Fit {
    expect(is_memory(text), "an amount of memory, such as 512m")
}

/// An amount of memory, or -1 for no limit.
pub(in crate::compose) fn memory_or_none(text: &str, _: &WorkloadRules) -> Fit {
    let is_good = text == "-1" || is_memory(text);
    expect(
        is_good,
        "an amount of memory, such as 512m, or -1 for no limit",
    )
}

fn is_memory(text: &str) -> bool {
    const UNITS: [&str; 7] = ["", "b", "k", "m", "g", "t", "p"];
    let lower = text.to_ascii_lowercase();
    let end = lower
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(end);
    let unit = unit.trim_start();
    let short = unit
        .strip_suffix("ib")
        .or_else(|| unit.strip_suffix('b').filter(|unit| !unit.is_empty()));
    number.parse::<f64>().is_ok() && UNITS.contains(&short.unwrap_or(unit))
}

/// A set of processors.
pub(in crate::compose) fn processor_set(text: &str, _: &WorkloadRules) -> Fit {
    let is_range = |part: &str| {
        let ends: Vec<_> = part.split('-').collect();
        ends.len() <= 2 && ends.iter().all(|end| end.parse::<u16>().is_ok())
    };
    expect(
        text.split(',').all(is_range),
        "processors, such as 0-3 or 0,1",
    )
}

//! How launches are told of: when each came how far, and why one went no further.

use easyenclave_schemas::TargetName;
use easyenclave_schemas::status::{OrderKind, OrderStatus};

use crate::report::Status;

/// So many lines of a console are shown with a target; `why ORDER` shows all that is kept.
const LINES: usize = 5;

/// The last launch for a target that failed.
pub(super) fn last_failed<'a>(status: &'a Status, target: &TargetName) -> Option<&'a OrderStatus> {
    let is_of = |order: &&OrderStatus| match &order.work {
        OrderKind::Launch { target: of, .. } => of == target && order.failed_at.is_some(),
        OrderKind::Retire { .. } => false,
    };
    let failed = status.orders.values().filter(is_of);
    failed.max_by_key(|order| order.failed_at)
}

/// Why an order failed, or what went wrong last.
pub(super) fn failure(order: &OrderStatus) -> Option<String> {
    let cause = order.cause.map(|cause| cause.to_string());
    match (cause, &order.error) {
        (Some(cause), Some(error)) if *error != cause => Some(format!("{cause}: {error}")),
        (cause, error) => cause.or_else(|| error.clone()),
    }
}

/// All that is known of one order's way.
pub(super) fn notes(order: &OrderStatus) -> Vec<String> {
    let times = &order.times;
    let stages = [
        ("claimed", times.claimed_at),
        ("made", times.made_at),
        ("booted", times.booted_at),
        ("registered", times.registered_at),
        ("failed", order.failed_at),
    ];
    let reached = stages
        .iter()
        .filter_map(|(stage, at)| Some(format!("{stage} at {}", (*at)?)));
    let way = std::iter::once(format!("opened at {}", order.opened_at)).chain(reached);
    let mut notes = vec![way.collect::<Vec<_>>().join(", ")];
    notes.extend(failure(order).map(|failure| format!("went wrong: {failure}")));
    notes.extend(console(order, usize::MAX));
    notes
}

/// Why the last launch for a target failed, with the end of what its machine said.
pub(super) fn target(status: &Status, target: &TargetName) -> Vec<String> {
    let Some(order) = last_failed(status, target) else {
        return Vec::new();
    };
    let failure = failure(order).unwrap_or_default();
    let mut notes = vec![format!(
        "the last launch that failed, {}: {failure}",
        order.order
    )];
    notes.extend(console(order, LINES));
    notes
}

fn console(order: &OrderStatus, most: usize) -> Vec<String> {
    let text = order.console.as_deref().unwrap_or_default();
    let said: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = &said[said.len().saturating_sub(most)..];
    last.iter().map(|line| format!("console: {line}")).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::cli::samples;

    #[test]
    fn a_failed_launch_tells_its_way_its_cause_and_its_last_words() {
        let status = samples::status();
        let order = last_failed(&status, &"tiny".parse().expect("a name")).expect("one failed");
        expect![[r#"
            opened at 2027-01-15T08:00:00Z, claimed at 2027-01-15T08:00:00Z, failed at 2027-01-15T08:00:00Z
            went wrong: the place has no room: no room
            console: # kernel: up
            console:   no room: 'full'"#]]
        .assert_eq(&notes(order).join("\n"));
        let told = target(&status, &"tiny".parse().expect("a name"));
        expect![[r#"
            the last launch that failed, tiny-9c08a45e4bcf: the place has no room: no room
            console: # kernel: up
            console:   no room: 'full'"#]]
        .assert_eq(&told.join("\n"));
        assert!(target(&status, &"another".parse().expect("a name")).is_empty());
    }
}

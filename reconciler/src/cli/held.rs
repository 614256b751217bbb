//! Held plans as people see them before they approve: what would go, in bounded lists, and the digits that name a plan.

use easyenclave_schemas::status::HeldStatus;

use super::hint::Hints;

/// A digest may be shortened to so many digits.
pub(super) const FEWEST: usize = 8;

/// So many removals of a plan are shown where other things are shown too.
const SOME: usize = 10;

/// The removals of a plan, at most so many, those that name something before the others; and how many more there are.
pub(super) fn removals(held: &HeldStatus, most: usize, name: Option<&str>) -> Vec<String> {
    let (named, others): (Vec<_>, Vec<_>) = held
        .actions
        .iter()
        .partition(|action| name.is_some_and(|name| names(action, name)));
    let shown = named.into_iter().chain(others).take(most).cloned();
    let mut lines: Vec<String> = shown.collect();
    let more = held.actions.len() - lines.len() + held.more as usize;
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

/// The same in passing, with the command that shows the others.
pub(super) fn some(held: &HeldStatus, name: Option<&str>, hints: &Hints) -> Vec<String> {
    let mut lines = removals(held, SOME, name);
    if let Some(more) = lines.get_mut(SOME) {
        let all = hints.line(&format!("why {}", held.digest.short(16)));
        *more = format!("{more}: `{all}` shows them");
    }
    lines
}

/// What is shown below a plan among other things: the first removals, and the command that approves them.
pub(super) fn below(held: &HeldStatus, hints: &Hints) -> Vec<String> {
    let mut lines = some(held, None, hints);
    lines.push(format!("approve with: {}", approve(held, hints)));
    lines
}

/// Whether a removal is one of this thing.
pub(super) fn names(action: &str, name: &str) -> bool {
    action.split_whitespace().any(|word| word == name)
}

/// The command that approves it.
pub(super) fn approve(held: &HeldStatus, hints: &Hints) -> String {
    hints.line(&format!("approve {}", held.digest))
}

/// The one held plan whose digest begins so.
pub(super) fn chosen<'a>(held: &'a [HeldStatus], digits: &str) -> Result<&'a HeldStatus, String> {
    let digits = digits.to_lowercase();
    if digits.len() < FEWEST {
        return Err(format!(
            "{digits} has fewer than {FEWEST} digits, which could come to mean another plan"
        ));
    }
    let begins = |held: &&HeldStatus| held.digest.to_string().starts_with(&digits);
    match held.iter().filter(begins).collect::<Vec<_>>()[..] {
        [one] => Ok(one),
        [] if held.is_empty() => Err("nothing is held".into()),
        [] => Err(format!(
            "no held plan has a digest that begins with {digits}"
        )),
        _ => Err(format!(
            "more than one held plan begins with {digits}: give more digits"
        )),
    }
}

/// What to say to whoever names the plan as a whole.
pub(super) fn whole(held: &[HeldStatus]) -> String {
    let digests: Vec<_> = held.iter().map(|held| held.digest.short(16)).collect();
    let is = match digests.is_empty() {
        true => "nothing of it is held".into(),
        false => format!(
            "what is held, and can be approved, is {}",
            digests.join(", ")
        ),
    };
    format!("that is the digest of the whole plan: {is}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(digits: &str) -> HeldStatus {
        let digest = format!("{digits:0<64}");
        HeldStatus {
            digest: serde_json::from_value(digest.into()).expect("a digest"),
            reason: String::new(),
            actions: Vec::new(),
            more: 0,
        }
    }

    #[test]
    fn eight_digits_name_a_held_plan_and_fewer_do_not() {
        let plans = [held("ab12345678"), held("ab123456ff")];
        let of = |digits: &str| chosen(&plans, digits).map(|held| held.digest.short(10));
        assert_eq!(of("ab12345678"), Ok("ab12345678".into()));
        assert_eq!(of("AB123456F"), Ok("ab123456ff".into()));
        assert_eq!(of(&plans[0].digest.to_string()), Ok("ab12345678".into()));
        let refused = |digits: &str| of(digits).expect_err("none is meant");
        assert!(refused("ab12345").contains("fewer than 8 digits"));
        assert!(refused("ab123456").contains("give more digits"));
        assert!(refused("ffffffff").contains("begins with ffffffff"));
        let none = chosen(&[], "ab123456").expect_err("nothing is held");
        assert_eq!(none, "nothing is held");
    }

    #[test]
    fn whoever_names_the_whole_plan_is_told_what_is_held() {
        let said = whole(&[held("ab12345678")]);
        assert!(
            said.ends_with("can be approved, is ab12345678000000"),
            "{said}"
        );
        assert!(whole(&[]).ends_with("nothing of it is held"));
    }

    #[test]
    fn what_a_plan_removes_is_listed_up_to_a_bound_and_counted_beyond() {
        let mut plan = held("ab12345678");
        plan.actions = (0..5).map(|n| format!("retire tiny-{n}")).collect();
        assert_eq!(removals(&plan, 5, None), plan.actions);
        let two = ["retire tiny-0", "retire tiny-1", "and 3 more"];
        assert_eq!(removals(&plan, 2, None), two);
        plan.more = 7;
        let named = ["retire tiny-3", "retire tiny-0", "and 10 more"];
        assert_eq!(removals(&plan, 2, Some("tiny-3")), named);
        assert_eq!(
            removals(&plan, 9, None).last().expect("a line"),
            "and 7 more"
        );
    }

    #[test]
    fn what_a_plan_removes_stands_before_the_command_that_approves_it() {
        let mut plan = held("ab12345678");
        plan.actions = (0..11).map(|n| format!("retire tiny-{n}")).collect();
        let lines = below(&plan, &Hints::default());
        assert_eq!(lines.len(), 12);
        assert_eq!(lines[9], "retire tiny-9");
        assert_eq!(lines[10], "and 1 more: ` why ab12345678000000` shows them");
        assert_eq!(lines[11], format!("approve with:  approve {}", plan.digest));
    }
}

//! The difference of two event logs, line by line, as people know it from `diff`.

use easyenclave_attestation::EventLog;

/// So many lines are compared with each other; longer logs are shown whole, the one after the other.
const COMPARED: usize = 2000;

/// An event as a line: its register, the beginning of its digest, and what it was.
fn lines(log: &EventLog) -> Vec<String> {
    let line = |event: &easyenclave_attestation::Event| {
        let register = event
            .rtmr
            .map_or("MRTD ".into(), |rtmr| format!("RTMR{rtmr}"));
        let digest: String = event.digest.to_string().chars().take(16).collect();
        format!("{register} {digest} {}", event.words())
    };
    log.events().map(line).collect()
}

/// What is in one log and not in the other, in order: `-` for the first, `+` for the second. Nothing when they measure
/// the same.
pub(super) fn difference(first: &EventLog, second: &EventLog) -> Vec<String> {
    let (first, second) = (lines(first), lines(second));
    changes(&first, &second)
}

fn changes(first: &[String], second: &[String]) -> Vec<String> {
    let same = |pairs: &mut dyn Iterator<Item = (&String, &String)>| {
        pairs.take_while(|(one, other)| one == other).count()
    };
    let start = same(&mut first.iter().zip(second));
    let (first, second) = (&first[start..], &second[start..]);
    let end = same(&mut first.iter().rev().zip(second.iter().rev()));
    let (first, second) = (&first[..first.len() - end], &second[..second.len() - end]);
    let marked = |mark: char, line: &String| format!("{mark} {line}");
    if first.len() > COMPARED || second.len() > COMPARED {
        let first = first.iter().map(|line| marked('-', line));
        return first
            .chain(second.iter().map(|line| marked('+', line)))
            .collect();
    }
    let longest = common(first, second);
    let (mut one, mut other, mut found) = (0, 0, Vec::new());
    while one < first.len() || other < second.len() {
        let (a, b) = (first.get(one), second.get(other));
        match (a, b) {
            (Some(a), Some(b)) if a == b => (one, other) = (one + 1, other + 1),
            (Some(a), b) if b.is_none() || longest[one + 1][other] >= longest[one][other + 1] => {
                found.push(marked('-', a));
                one += 1;
            }
            (_, Some(b)) => {
                found.push(marked('+', b));
                other += 1;
            }
            _ => break,
        }
    }
    found
}

/// How many lines the rests of both have in common, from each place on.
fn common(first: &[String], second: &[String]) -> Vec<Vec<u16>> {
    let mut longest = vec![vec![0; second.len() + 1]; first.len() + 1];
    for one in (0..first.len()).rev() {
        for other in (0..second.len()).rev() {
            longest[one][other] = match first[one] == second[other] {
                true => longest[one + 1][other + 1] + 1,
                false => longest[one + 1][other].max(longest[one][other + 1]),
            };
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(first: &str, second: &str) -> String {
        let lines = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        changes(&lines(first), &lines(second)).join(",")
    }

    #[test]
    fn what_differs_is_shown_in_order_and_nothing_else() {
        assert_eq!(of("abc", "abc"), "");
        assert_eq!(of("abcd", "abxd"), "- c,+ x");
        assert_eq!(of("ab", "xaby"), "+ x,+ y");
        assert_eq!(of("axbyc", "abc"), "- x,- y");
        assert_eq!(of("", "a"), "+ a");
        assert_eq!(of("kernel", ""), "- k,- e,- r,- n,- e,- l");
    }

    #[test]
    fn long_logs_are_shown_one_after_the_other() {
        let first = vec!["a".to_owned(); COMPARED + 1];
        let second = vec!["b".to_owned()];
        let found = changes(&first, &second);
        assert_eq!(found.len(), COMPARED + 2);
        assert_eq!(
            (found[0].as_str(), found[COMPARED + 1].as_str()),
            ("- a", "+ b")
        );
    }
}

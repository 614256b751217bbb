//! Rust text without its comments, strings and character literals: what is left is code. Lines stay where
//! they are, so that a finding can name its line.

/// The text with everything that is not code blanked out.
pub(crate) fn mask(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at).unwrap_or(at);
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            let blank = |c: &char| if *c == '\n' { '\n' } else { ' ' };
            code.extend(chars[at..end].iter().map(blank));
            at = end;
        }
    }
    code
}

/// The lines, from 1, on which `word` stands in masked code with no letter, digit or `'` around it.
pub(crate) fn lines_with(code: &str, word: &str) -> Vec<usize> {
    let found = |line: &str| {
        line.match_indices(word).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = line[at + word.len()..].chars().next();
            let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            let open = word.starts_with(|c: char| c.is_alphanumeric());
            let close = word.ends_with(|c: char| c.is_alphanumeric());
            !(open && (part(before) || before == Some('\'')) || close && part(after))
        })
    };
    let lines = code.lines().enumerate();
    lines
        .filter(|(_, line)| found(line))
        .map(|(at, _)| at + 1)
        .collect()
}

/// Where the comment, string or character literal that starts here ends; `None` when none does.
fn literal_end(chars: &[char], at: usize) -> Option<usize> {
    match (chars[at], chars.get(at + 1)) {
        ('/', Some('/')) => Some(find(chars, at, |rest| rest[0] == '\n')),
        ('/', Some('*')) => Some(block_comment_end(chars, at)),
        ('r', Some('"' | '#')) if !follows_name(chars, at) => raw_string_end(chars, at),
        ('"', _) => Some(quoted_end(chars, at, '"')),
        ('\'', Some('\\')) => Some(quoted_end(chars, at, '\'')),
        ('\'', Some(_)) if chars.get(at + 2) == Some(&'\'') => Some(at + 3),
        _ => None,
    }
}

/// The first place from `at` on whose rest fits, or the end.
fn find(chars: &[char], at: usize, fits: impl Fn(&[char]) -> bool) -> usize {
    (at..chars.len())
        .find(|at| fits(&chars[*at..]))
        .unwrap_or(chars.len())
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (at, depth) = (at + 2, depth + 1),
            ('*', Some('/')) => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

/// `r"…"`, `r#"…"#`; `None` for a raw identifier. A `b` or `c` before it belongs to the prefix.
fn raw_string_end(chars: &[char], at: usize) -> Option<usize> {
    let open = find(chars, at + 1, |rest| rest[0] != '#');
    let hashes = open - at - 1;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let closes = |rest: &[char]| {
        let tail = rest.get(1..=hashes);
        rest[0] == '"' && tail.is_some_and(|tail| tail.iter().all(|c| *c == '#'))
    };
    Some((find(chars, open + 1, closes) + 1 + hashes).min(chars.len()))
}

fn quoted_end(chars: &[char], start: usize, quote: char) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// Whether an `r` is the tail of a name, as in `for"`; after `b` or `c` alone it is a prefix.
fn follows_name(chars: &[char], at: usize) -> bool {
    let part = |c: &char| c.is_alphanumeric() || *c == '_';
    let name: Vec<&char> = chars[..at].iter().rev().take_while(|c| part(c)).collect();
    !matches!(name.as_slice(), [] | ['b' | 'c'])
}

#[test]
fn only_code_is_left() {
    let cases = [
        ("let a = 1; // std::fs", "let a = 1; "),
        ("a /* x /* y */ z */ b", "a b"),
        (r#"f("std::fs \" std::env") + g"#, "f() + g"),
        (r##"f(r#"a "quoted" b"#, br"c", r#fn)"##, "f(, b, r#fn)"),
        (
            r"match c { '\'' | '}' | '\u{7d}' => 'a: loop {} }",
            "match c { | | => 'a: loop {} }",
        ),
        ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
    ];
    for (text, expected) in cases {
        let squeeze = |text: &str| text.replace(' ', "");
        assert_eq!(squeeze(&mask(text)), squeeze(expected), "{text}");
    }
    assert_eq!(mask("a\n/* \n */ b").lines().count(), 3);
}

#[test]
fn a_word_is_found_whole() {
    let code = "use std::fs;\nuse std::fsx;\nlet x: &'static str;\nstatic X: u8 = 0;\nf().await;";
    assert_eq!(lines_with(code, "std::fs"), [1]);
    assert_eq!(lines_with(code, "static"), [4]);
    assert_eq!(lines_with(code, ".await"), [5]);
}

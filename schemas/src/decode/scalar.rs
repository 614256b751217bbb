//! Plain YAML scalars after the 1.2 core schema: `yes` and `on` are texts, `010` is ten.

use std::borrow::Cow;

/// A scalar with the text it was written as, which messages quote.
#[derive(Debug, Clone)]
pub(crate) enum Scalar<'a> {
    Null(Cow<'a, str>),
    Bool(Cow<'a, str>, bool),
    /// A whole number; those beyond 64 bits count as the nearest one that fits.
    Integer(Cow<'a, str>, i64),
    /// A number with a fraction or exponent, or none at all. No field takes one.
    Float(Cow<'a, str>),
    Text(Cow<'a, str>),
}

impl<'a> Scalar<'a> {
    /// What was written.
    pub(crate) fn raw(&self) -> &str {
        match self {
            Self::Null(raw) | Self::Float(raw) | Self::Text(raw) => raw,
            Self::Bool(raw, _) | Self::Integer(raw, _) => raw,
        }
    }

    /// What was written.
    pub(crate) fn into_raw(self) -> Cow<'a, str> {
        match self {
            Self::Null(raw) | Self::Float(raw) | Self::Text(raw) => raw,
            Self::Bool(raw, _) | Self::Integer(raw, _) => raw,
        }
    }
}

/// What an unquoted scalar means.
pub(crate) fn resolve(raw: Cow<'_, str>) -> Scalar<'_> {
    match raw.as_ref() {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null(raw),
        "true" | "True" | "TRUE" => Scalar::Bool(raw, true),
        "false" | "False" | "FALSE" => Scalar::Bool(raw, false),
        text => match integer(text) {
            Some(value) => Scalar::Integer(raw, value),
            None if is_float(text) => Scalar::Float(raw),
            None => Scalar::Text(raw),
        },
    }
}

/// What an unquoted scalar means to Compose, whose parser reads numbers as Go writes them: `0440` is octal, `1_000` has
/// a separator. Numbers beyond 64 bits are floats.
pub(crate) fn resolve_as_compose(raw: Cow<'_, str>) -> Scalar<'_> {
    let plain = raw.replace('_', "");
    if raw.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-')) {
        if let Some(value) = go_integer(&plain) {
            return Scalar::Integer(raw, value);
        }
        if is_float(&plain) {
            return Scalar::Float(raw);
        }
        return Scalar::Text(raw);
    }
    resolve(raw)
}

fn go_integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.get(..2).unwrap_or_default().to_ascii_lowercase();
    let (radix, digits) = match lower.as_str() {
        "0x" => (16, &digits[2..]),
        "0o" => (8, &digits[2..]),
        "0b" => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -value } else { value }).ok()
}

fn integer(text: &str) -> Option<i64> {
    let (radix, digits) = match text.get(..2) {
        Some("0x") => (16, &text[2..]),
        Some("0o") => (8, &text[2..]),
        _ => (10, text),
    };
    let sign = if radix == 10 {
        digits.strip_prefix(['+', '-'])
    } else {
        None
    };
    let unsigned = sign.unwrap_or(digits);
    if unsigned.is_empty() || !unsigned.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let nearest = if text.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    };
    Some(i64::from_str_radix(digits, radix).unwrap_or(nearest))
}

fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    matches!(
        unsigned,
        ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN"
    ) || (unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.chars().all(numeric)
        && unsigned.parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::{Scalar, resolve, resolve_as_compose};

    #[test]
    fn numbers_of_compose_are_those_of_its_own_parser() {
        let value = |text: &'static str| match resolve_as_compose(text.into()) {
            Scalar::Integer(_, value) => value.to_string(),
            Scalar::Float(_) => "float".into(),
            Scalar::Text(_) => "text".into(),
            other => format!("{other:?}"),
        };
        let cases = [
            ("0440", "288"),
            ("0755", "493"),
            ("0", "0"),
            ("-010", "-8"),
            ("1_000", "1000"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("0b11", "3"),
            ("08", "float"),
            ("1e3", "float"),
            ("99999999999999999999", "float"),
            ("22:22", "text"),
            ("2024-01-01", "text"),
            ("1.2.3", "text"),
            ("_1", "text"),
            ("é", "text"),
        ];
        for (text, expected) in cases {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        let kind = |text: &'static str| match resolve(text.into()) {
            Scalar::Null(_) => "null".to_owned(),
            Scalar::Bool(_, value) => value.to_string(),
            Scalar::Integer(_, value) => value.to_string(),
            Scalar::Float(_) => "float".into(),
            Scalar::Text(_) => "text".into(),
        };
        for text in ["", "~", "null"] {
            assert_eq!(kind(text), "null", "{text:?}");
        }
        for text in [
            "yes", "on", "a", "-", "+", "0x", "1_000", "1.2.3", "0b1", "1e", "10.0.0.1", "é",
        ] {
            assert_eq!(kind(text), "text", "{text:?}");
        }
        for text in ["1.5", "1e3", ".5", "-.inf", ".nan", "+1.0"] {
            assert_eq!(kind(text), "float", "{text:?}");
        }
        assert_eq!(kind("True"), "true");
        assert_eq!(kind("010"), "10");
        assert_eq!(kind("-3"), "-3");
        assert_eq!(kind("+3"), "3");
        assert_eq!(kind("0x1F"), "31");
        assert_eq!(kind("0o17"), "15");
        assert_eq!(kind("99999999999999999999"), i64::MAX.to_string());
    }
}

//! What is said of a value that does not fit: what was expected, what was found, what may have been meant.

use super::problem::{did_you_mean, shorten};
use super::scalar::Scalar;
use super::shape::Shape;
use super::tree::Value;
use crate::Datacenter;

pub(super) fn fits(shape: &Shape, scalar: &Scalar<'_>) -> bool {
    match (shape, scalar) {
        (Shape::Bool, Scalar::Bool(..)) | (Shape::Hidden, Scalar::Text(_)) => true,
        (Shape::Integer { min, max }, Scalar::Integer(_, value)) => (min..=max).contains(&value),
        (Shape::IntegerOr { min, max, .. }, Scalar::Integer(_, value)) => {
            (min..=max).contains(&value)
        }
        (Shape::IntegerOr { pattern, .. }, Scalar::Text(text)) => (pattern.fits)(text),
        (Shape::Choice(choices), Scalar::Text(text)) => choices.iter().any(|choice| choice == text),
        (
            Shape::Text {
                shortest,
                longest,
                pattern,
            },
            Scalar::Text(text),
        ) => {
            let long = text.len() > *shortest || text.chars().count() >= *shortest;
            let short = text.len() <= *longest || text.chars().count() <= *longest;
            long && short && pattern.is_none_or(|pattern| (pattern.fits)(text))
        }
        _ => false,
    }
}

pub(super) fn code(shape: &Shape, value: &Value<'_>) -> &'static str {
    match (shape, value) {
        (Shape::Integer { .. } | Shape::IntegerOr { .. }, Value::Scalar(Scalar::Integer(..))) => {
            "out-of-range"
        }
        (Shape::IntegerOr { .. }, Value::Scalar(Scalar::Text(_))) => "bad-format",
        (Shape::Choice(_), Value::Scalar(Scalar::Text(_))) => "unknown-value",
        (Shape::Text { .. }, Value::Scalar(Scalar::Text(_))) => "bad-format",
        (Shape::List { .. }, Value::List(_)) => "wrong-length",
        _ => "wrong-type",
    }
}

pub(super) fn expected(shape: &Shape) -> String {
    match shape {
        Shape::Any | Shape::Refused => "nothing".into(),
        Shape::Bool => "true or false".into(),
        Shape::Hidden => "a text".into(),
        Shape::Integer { min, max } => format!("a whole number from {min} to {max}"),
        Shape::IntegerOr { min, max, pattern } => {
            format!("a whole number from {min} to {max}, or {}", pattern.words)
        }
        Shape::Text {
            shortest,
            longest,
            pattern,
        } => {
            let length = match (*shortest, *longest) {
                (0, usize::MAX) => None,
                (1, usize::MAX) => Some("at least 1 character".to_owned()),
                (shortest, longest) => Some(format!("{} to {longest} characters", shortest.max(1))),
            };
            match (length, pattern) {
                (None, None) => "a text".into(),
                (None, Some(pattern)) => pattern.words.into(),
                (Some(length), None) => format!("a text of {length}"),
                (Some(length), Some(pattern)) => format!("{length}: {}", pattern.words),
            }
        }
        Shape::Choice(choices) if choices.len() == 1 => choices[0].clone(),
        Shape::Choice(choices) => format!("one of {}", choices.join(", ")),
        Shape::List {
            fewest: 0,
            most: usize::MAX,
            ..
        } => "a list".into(),
        Shape::List { fewest, most, .. } => format!("a list of {fewest} to {most}"),
        Shape::Free(_) | Shape::Fields(_) => "a mapping".into(),
        Shape::OneOf(fields) => {
            let names: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
            format!("a mapping with exactly one of {}", names.join(", "))
        }
    }
}

pub(crate) fn found(value: &Value<'_>) -> String {
    match value {
        Value::Scalar(Scalar::Null(_)) | Value::Broken => "nothing".into(),
        Value::Scalar(Scalar::Bool(raw, _)) => format!("`{raw}`"),
        Value::Scalar(Scalar::Integer(raw, _) | Scalar::Float(raw)) => {
            format!("the number {}", shorten(raw, 40))
        }
        Value::Scalar(Scalar::Text(text)) => format!("the text \"{}\"", shorten(text, 100)),
        Value::List(items) if items.is_empty() => "an empty list".into(),
        Value::List(items) => format!("a list of {}", items.len()),
        Value::Map(_) => "a mapping".into(),
    }
}

/// Whether percent stand where a number is due.
pub(super) fn is_percent(shape: &Shape, value: &Value<'_>) -> bool {
    let number = match value {
        Value::Scalar(Scalar::Text(text)) => text.strip_suffix('%'),
        _ => None,
    };
    let is_number = number.is_some_and(|number| number.trim().parse::<f64>().is_ok());
    matches!(shape, Shape::Integer { .. }) && is_number
}

pub(super) fn suggestion(shape: &Shape, value: &Value<'_>) -> Option<String> {
    match (shape, value) {
        (Shape::Choice(choices), Value::Scalar(Scalar::Text(text))) => {
            did_you_mean(text, choices.iter().map(String::as_str)).map(str::to_owned)
        }
        (Shape::Text { .. }, Value::Scalar(scalar))
            if !matches!(scalar, Scalar::Null(_) | Scalar::Text(_)) =>
        {
            let text = Scalar::Text(scalar.raw().into());
            fits(shape, &text).then(|| format!("\"{}\"", shorten(scalar.raw(), 100)))
        }
        (Shape::Integer { min, max }, Value::Scalar(Scalar::Text(text))) => {
            let number = text.trim().parse::<i64>().ok();
            number
                .filter(|number| (min..=max).contains(&number))
                .map(|number| number.to_string())
        }
        (
            Shape::Text {
                pattern: Some(pattern),
                ..
            },
            Value::Scalar(scalar),
        ) => {
            let lower = scalar.raw().trim().to_lowercase();
            let name = || {
                let token = lower.contains(':').then_some(lower.as_str())?;
                Some(Datacenter::of_token(token).ok()?.to_string())
            };
            let fits = |text: &String| (pattern.fits)(text);
            let near = Some(lower.clone()).filter(fits).or_else(name);
            near.filter(fits).map(|near| shorten(&near, 100))
        }
        (Shape::Fields(fields), Value::Scalar(Scalar::Null(_)))
            if fields.iter().all(|field| !field.required) =>
        {
            Some("{}".into())
        }
        _ => None,
    }
}

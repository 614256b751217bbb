//! Filters of listings: `labels.key=value` and `labels.key:*`, each in brackets when there are several.

use serde_json::Value;

/// Whether a machine is one of those, or why the filter cannot be read.
pub(super) fn holds(filter: &str, machine: &Value) -> Result<bool, String> {
    let parts = parts(filter)?;
    let mut holds = true;
    for part in parts {
        holds &= one(part, machine)?;
    }
    Ok(holds)
}

fn parts(filter: &str) -> Result<Vec<&str>, String> {
    let filter = filter.trim();
    if !filter.starts_with('(') {
        return Ok(if filter.is_empty() {
            Vec::new()
        } else {
            vec![filter]
        });
    }
    let mut parts = Vec::new();
    for part in filter.split_inclusive(')') {
        let part = part
            .trim()
            .strip_prefix('(')
            .and_then(|part| part.strip_suffix(')'));
        parts.push(part.ok_or_else(|| format!("Invalid list filter expression: {filter}"))?);
    }
    Ok(parts)
}

fn one(part: &str, machine: &Value) -> Result<bool, String> {
    let unread = || format!("Invalid list filter expression: {part}");
    let rest = part.strip_prefix("labels.").ok_or_else(unread)?;
    let label = |key: &str| machine["labels"].get(key.trim()).and_then(Value::as_str);
    if let Some(key) = rest.strip_suffix(":*") {
        return Ok(label(key).is_some());
    }
    let (key, value) = rest.split_once('=').ok_or_else(unread)?;
    Ok(label(key) == Some(value.trim()))
}

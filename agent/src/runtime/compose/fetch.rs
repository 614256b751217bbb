//! Fetches what a version needs before anything of the version before is touched: a registry may be slow, or away.

use std::collections::BTreeMap;

use easyenclave_engine::{Compose, Engine, EngineError};
use serde_json::Value;

use super::progress::Progress;
use super::project::Written;

/// Fetches the images of services that are not there, or that are to be asked for each time. `tell` is given how far that is.
pub(super) async fn fetch(
    engine: &Engine,
    compose: &Compose,
    written: &Written,
    mut tell: impl FnMut(String),
) -> Result<(), EngineError> {
    let mut services = Vec::new();
    for (service, image) in &written.images {
        if image.is_asked_for || engine.lacks(&image.name).await? {
            services.push(service.as_str());
        }
    }
    if services.is_empty() {
        return Ok(());
    }
    tell("fetching images".into());
    let mut progress = Progress::default();
    let told = |line: &str| {
        if let Some(message) = progress.note(line) {
            tell(message);
        }
    };
    compose.pull(&written.project, &services, told).await
}

/// The image of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    name: String,
    /// Its registry is to be asked also where an image of this name is there.
    is_asked_for: bool,
}

/// The images of these services. What the reconciler has checked is JSON; compose itself fetches those of another text, when it
/// starts them.
pub(super) fn images(text: &str, services: &[String]) -> BTreeMap<String, Wanted> {
    let document: Value = serde_json::from_str(text).unwrap_or_default();
    let wanted = |name: &String| {
        let service = &document["services"][name];
        let policy = service["pull_policy"].as_str();
        let image = Wanted {
            name: service["image"].as_str()?.into(),
            is_asked_for: policy.is_some_and(|it| !matches!(it, "missing" | "if_not_present")),
        };
        Some((name.clone(), image))
    };
    services.iter().filter_map(wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_those_of_the_services_that_run() {
        let text = r#"{"services": {"web": {"image": "a/b:1", "pull_policy": "always"},
            "db": {"image": "a/db", "pull_policy": "if_not_present"}, "debug": {"image": "a/debug"}}}"#;
        let found = images(text, &["db".into(), "web".into()]);
        let wanted = |name: &str, is_asked_for| Wanted {
            name: name.into(),
            is_asked_for,
        };
        let expected = [
            ("db".into(), wanted("a/db", false)),
            ("web".into(), wanted("a/b:1", true)),
        ];
        assert_eq!(found, BTreeMap::from(expected));
        assert_eq!(
            images("services: {web: {image: a}}", &["web".into()]),
            BTreeMap::new()
        );
    }
}

//! Who makes commits in a repository, as its configuration says.

use std::path::Path;

use git2::{Config, Repository};

/// Name and address by the configuration of the repository, or by the user's and the machine's where there is no
/// repository yet. None when either is not set.
pub fn configured_identity(repository: &Path) -> Option<(String, String)> {
    let config = match Repository::open(repository) {
        Ok(repository) => repository.config().ok()?,
        Err(_) => Config::open_default().ok()?,
    };
    let read = |key| {
        let value = config.get_string(key).ok()?;
        (!value.trim().is_empty()).then_some(value)
    };
    Some((read("user.name")?, read("user.email")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_that_is_committed_to_says_who_commits() {
        let dir = tempfile::tempdir().expect("a folder");
        let repository = Repository::init(dir.path()).expect("made");
        let mut config = repository.config().expect("a configuration");
        config.set_str("user.name", "Ada").expect("set");
        config
            .set_str("user.email", "ada@example.invalid")
            .expect("set");
        let found = configured_identity(dir.path());
        assert_eq!(found, Some(("Ada".into(), "ada@example.invalid".into())));
    }
}

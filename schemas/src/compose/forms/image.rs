//! The name of an image: where it is had, which one, and by which digest.

use super::{Fit, expect, refuse};
use crate::Digest;
use crate::compose::WorkloadRules;

/// The name of an image, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::compose) struct Image {
    /// The digest that it has to have.
    pub(in crate::compose) digest: Option<Digest>,
}

impl Image {
    /// Takes a name apart, when it is one: `[REGISTRY/]PATH[:TAG][@sha256:DIGEST]`.
    pub(in crate::compose) fn parse(text: &str) -> Option<Self> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(Digest::parse(digest.strip_prefix("sha256:")?)?)),
            None => (text, None),
        };
        let after_slash = name.rfind('/').map_or(0, |slash| slash + 1);
        let (path, tag) = match name[after_slash..].rfind(':') {
            Some(colon) => (
                &name[..after_slash + colon],
                Some(&name[after_slash + colon + 1..]),
            ),
            None => (name, None),
        };
        let is_good = path.len() <= 255 && is_path(path) && tag.is_none_or(is_tag);
        is_good.then_some(Self { digest })
    }
}

fn is_path(path: &str) -> bool {
    let (first, rest) = match path.split_once('/') {
        Some((first, rest)) if is_registry(first) => (None, rest),
        Some((first, rest)) => (Some(first), rest),
        None => (None, path),
    };
    first.into_iter().chain(rest.split('/')).all(is_part)
}

/// What stands before the first slash is a registry when it has a dot or a port, or is `localhost`.
fn is_registry(text: &str) -> bool {
    let (host, port) = text
        .split_once(':')
        .map_or((text, None), |(host, port)| (host, Some(port)));
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let is_named = text == "localhost" || host.contains('.') || port.is_some();
    is_named
        && !host.is_empty()
        && host.chars().all(is_host)
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn is_part(part: &str) -> bool {
    let is_small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.starts_with(is_small)
        && part.ends_with(is_small)
        && part
            .chars()
            .all(|c| is_small(c) || matches!(c, '.' | '_' | '-'))
}

fn is_tag(tag: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= 128
        && tag.starts_with(is_word)
        && tag.chars().all(|c| is_word(c) || matches!(c, '.' | '-'))
}

/// The name of an image, with a digest where the fleet asks for one.
pub(in crate::compose) fn image(text: &str, rules: &WorkloadRules) -> Fit {
    match Image::parse(text) {
        None => expect(
            false,
            "the name of an image, such as registry.example.com/shop/web:1.2 or nginx@sha256:…",
        ),
        Some(Image { digest: None }) if rules.pinned => refuse(
            "compose-unpinned",
            "this fleet takes images by digest, since a tag may be moved; append `@sha256:` and the digest of the image that \
             you mean",
        ),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_are_told_from_what_is_none() {
        let digest = "a".repeat(64);
        let good = [
            "nginx",
            "nginx:1.27-alpine",
            "library/nginx",
            "localhost:5000/a/b:c",
            "localhost/a",
            "ghcr.io/Owner/x",
            "a__b/c-d",
            "10.0.0.1:5000/x",
        ];
        for name in good.into_iter().filter(|name| !name.contains("Owner")) {
            assert_eq!(Image::parse(name), Some(Image { digest: None }), "{name}");
            let pinned = format!("{name}@sha256:{digest}");
            assert_eq!(
                Image::parse(&pinned).and_then(|image| image.digest),
                Digest::parse(&digest),
                "{pinned}"
            );
        }
        let bad = [
            "",
            "Nginx",
            "ghcr.io/Owner/x",
            "a b",
            "nginx:",
            ":tag",
            "a//b",
            "/a",
            "a/",
            "-a",
            "nginx@sha256:abc",
            "nginx@md5:abc",
            "host:port/x",
            "a:b:c",
            "nginx:.x",
            "a@",
            "$x",
        ];
        for name in bad {
            assert_eq!(Image::parse(name), None, "{name}");
        }
    }
}

//! The patterns and formats of our schemas, each in words and as a function. A test holds the functions to
//! the regular expressions.

use crate::documents::Span;
use crate::{Cloud, Hostname, MicroUsd, Share, TimeOfDay, Timestamp};

/// A pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    /// Its regular expression or format, as the schema has it.
    rule: &'static str,
    /// What is expected, in words.
    pub(super) words: &'static str,
    /// A text that fits.
    pub(super) example: &'static str,
    pub(super) fits: fn(&str) -> bool,
}

/// The pattern of this regular expression or format.
pub(super) fn named(rule: &str) -> Option<&'static Pattern> {
    PATTERNS.iter().find(|pattern| pattern.rule == rule)
}

static PATTERNS: [Pattern; 19] = [
    Pattern {
        rule: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        words: "a-z, 0-9 and '-', starting and ending with a letter or digit",
        example: "a",
        fits: is_name,
    },
    Pattern {
        rule: "^[0-9a-f]{40}$",
        words: "a commit's 40 lower-case hex digits",
        example: "0000000000000000000000000000000000000000",
        fits: is_hex::<40>,
    },
    Pattern {
        rule: "^[0-9a-f]{64}$",
        words: "64 lower-case hex digits",
        example: "0000000000000000000000000000000000000000000000000000000000000000",
        fits: is_hex::<64>,
    },
    Pattern {
        rule: "^[0-9a-f]{96}$",
        words: "96 lower-case hex digits",
        example: "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
        fits: is_hex::<96>,
    },
    Pattern {
        rule: "^/[!-~]*$",
        words: "a path that starts with '/', without spaces",
        example: "/",
        fits: is_path,
    },
    Pattern {
        rule: "^[0-9]{1,9}(ms|s|m|h|d)$",
        words: "a duration such as 250ms, 30s, 5m, 12h or 30d, ten years at most",
        example: "1h",
        fits: is_span,
    },
    Pattern {
        rule: r"^[0-9]{1,6}(\.[0-9]{1,4})?$",
        words: "US dollars such as \"0.04\" or \"12\", at most four digits behind the point",
        example: "1",
        fits: |text| text.parse::<MicroUsd>().is_ok(),
    },
    Pattern {
        rule: r"^projects/[-a-z0-9]+/global/images/[-a-z0-9]+$",
        words: "an image such as projects/p/global/images/name, and no family",
        example: "projects/p/global/images/name",
        fits: is_cloud_image,
    },
    Pattern {
        rule: r"^[-a-z0-9]+@[-.a-z0-9]+$",
        words: "an account such as name@project.iam.gserviceaccount.com",
        example: "name@project.iam.gserviceaccount.com",
        fits: is_account,
    },
    Pattern {
        rule: "^(100|[1-9]?[0-9])%$",
        words: "percent such as 10%",
        example: "10%",
        fits: |text| text.ends_with('%') && text.parse::<Share>().is_ok(),
    },
    Pattern {
        rule: "^([01][0-9]|2[0-3]):[0-5][0-9]$",
        words: "a time of day in UTC such as 22:00",
        example: "22:00",
        fits: |text| text.parse::<TimeOfDay>().is_ok(),
    },
    Pattern {
        rule: "^([a-z0-9]+|bare-metal|on-prem|self-hosted)$",
        words: "a cloud such as gcp or baremetal, in a-z and 0-9",
        example: "gcp",
        fits: |text| is_made_of(text, b"") || Cloud::new(text).is_ok(),
    },
    Pattern {
        rule: r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$",
        words: "a host's name such as app.example.com, in lower case",
        example: "app.example.com",
        fits: |text| Hostname::new(text).is_ok(),
    },
    Pattern {
        rule: "^[A-Za-z0-9_][-.A-Za-z0-9_]*$",
        words: "letters, digits, '.', '_' and '-', starting with a letter, digit or '_'",
        example: "a",
        fits: is_word,
    },
    Pattern {
        rule: r"^(docker-)?compose(\.[-A-Za-z0-9_]+)*\.ya?ml$",
        words: "the name of a compose file in the same folder, such as compose.yaml or compose.web.yaml",
        example: "compose.yaml",
        fits: is_compose,
    },
    Pattern {
        rule: "^[a-z2-7]{26}$",
        words: "the 26 characters of a key's id, a-z and 2-7",
        example: "aaaaaaaaaaaaaaaaaaaaaaaaaa",
        fits: is_key_id,
    },
    Pattern {
        rule: r"^\$argon2id\$[!-~]+$",
        words: "a hash by Argon2id such as $argon2id$v=19$m=19456,t=2,p=1$...",
        example: "$argon2id$v=19",
        fits: |text| text.strip_prefix("$argon2id$").is_some_and(is_graphic),
    },
    Pattern {
        rule: "^[0-9a-f]{32}$",
        words: "32 lower-case hex digits",
        example: "00000000000000000000000000000000",
        fits: is_hex::<32>,
    },
    Pattern {
        rule: "date-time",
        words: "a time such as 2026-01-31T12:00:00Z",
        example: "2026-01-31T12:00:00Z",
        fits: |text| text.parse::<Timestamp>().is_ok(),
    },
];

fn is_name(text: &str) -> bool {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && bytes.iter().all(|b| edge(b) || *b == b'-')
}

fn is_hex<const DIGITS: usize>(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic())
}

fn is_span(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    digits <= 9 && text.parse::<Span>().is_ok()
}

fn is_cloud_image(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    let [projects, project, global, images, image] = parts.as_slice() else {
        return false;
    };
    (*projects, *global, *images) == ("projects", "global", "images")
        && is_made_of(project, b"-")
        && is_made_of(image, b"-")
}

fn is_account(text: &str) -> bool {
    text.split_once('@')
        .is_some_and(|(name, host)| is_made_of(name, b"-") && is_made_of(host, b"-."))
}

/// A name as compose files have them.
fn is_word(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    !text.is_empty() && !text.starts_with(['-', '.']) && text.bytes().all(inner)
}

/// A name that the loader takes for a compose file and not for a document, and no path.
fn is_compose(text: &str) -> bool {
    let rest = text.strip_prefix("docker-").unwrap_or(text);
    let stem = rest
        .strip_suffix(".yaml")
        .or_else(|| rest.strip_suffix(".yml"));
    let middle = stem.and_then(|stem| stem.strip_prefix("compose"));
    let is_part =
        |part: &str| !part.is_empty() && !part.contains('.') && part.bytes().all(is_dashed);
    middle.is_some_and(|middle| {
        middle.is_empty()
            || middle
                .strip_prefix('.')
                .is_some_and(|parts| parts.split('.').all(is_part))
    })
}

fn is_dashed(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'-' || b == b'_'
}

fn is_key_id(text: &str) -> bool {
    text.len() == 26 && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'))
}

fn is_graphic(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Small letters, digits and these; one at least.
fn is_made_of(text: &str, others: &[u8]) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || others.contains(&b);
    !text.is_empty() && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SAMPLES: [&str; 77] = [
        "gcp",
        "bare-metal",
        "on-prem-a",
        "app.example.com",
        "a..b",
        ".a.b",
        "a.b.",
        "*.a.b",
        "web_1.A-b",
        "_x",
        ".x",
        "compose.yaml",
        "docker-compose.yml",
        "compose.web-1.prod.yaml",
        "compose..yaml",
        "compose.yaml.yaml",
        "compose-web.yaml",
        "../compose.yaml",
        "/compose.yaml",
        "a/compose.yaml",
        "compose.json",
        "abcdefghijklmnopqrstuvwxyz",
        "abcdefghijklmnopqrstuvwxy1",
        "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA",
        "$argon2i$v=19$x",
        "$argon2id$",
        "",
        "0%",
        "9%",
        "100%",
        "101%",
        "05%",
        "%",
        "+5%",
        "00:00",
        "23:59",
        "24:00",
        "7:00",
        "07:60",
        "a",
        "-a",
        "a-",
        "a-1",
        "A",
        "a_b",
        "é",
        "/",
        "/a b",
        "/a%20b?c=d",
        "a/",
        "/é",
        "1s",
        "0ms",
        "30d",
        "s",
        "1",
        "1.5s",
        "-1s",
        "1 s",
        "1234567890ms",
        "999999999ms",
        "0.04",
        "0.",
        ".5",
        "1.23456",
        "1234567",
        "projects/p-1/global/images/i-2",
        "projects/p/global/images/family/i",
        "projects//global/images/i",
        "projects/P/global/images/i",
        "a-b@p.iam.example",
        "a@b@c",
        "@b",
        "a@",
        "a\n",
        "/\n",
        "5m\n",
    ];

    #[test]
    fn functions_accept_what_the_expressions_accept() {
        let hex = "0123456789abcdef".repeat(8);
        let hexes = [&hex[..64], &hex[..63], &hex[..96], &hex[..97], &hex[..32]];
        for pattern in PATTERNS
            .iter()
            .filter(|pattern| pattern.rule != "date-time")
        {
            let schema = json!({ "type": "string", "pattern": pattern.rule });
            let validator = jsonschema::validator_for(&schema).expect("a schema");
            for sample in SAMPLES.into_iter().chain(hexes) {
                let expected = validator.is_valid(&json!(sample));
                assert_eq!(
                    (pattern.fits)(sample),
                    expected,
                    "{sample:?} for {}",
                    pattern.rule
                );
            }
        }
    }

    #[test]
    fn durations_are_bounded_beyond_the_expression() {
        let span = named("^[0-9]{1,9}(ms|s|m|h|d)$").expect("in the table");
        assert!((span.fits)("3650d"));
        assert!(!(span.fits)("3651d"));
    }
}

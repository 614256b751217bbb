//! Where agents say that they and their workloads answer. It is shown to people, and agents are called there,
//! so it is a plain origin and nothing else.

use reqwest::Url;

/// The longest origin, in bytes.
const LONGEST: usize = 200;

/// Whether a text is `http://host:port` or `https://host:port`, without a user, a path or anything behind it.
pub(crate) fn is_origin(text: &str) -> bool {
    if text.len() > LONGEST || !text.chars().all(|c| c.is_ascii_graphic()) {
        return false;
    }
    let Ok(url) = Url::parse(text) else {
        return false;
    };
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    // What was parsed is what was written, but for the slash and a port that goes without saying.
    let port = url.port_or_known_default().unwrap_or_default();
    let host = url.host_str().unwrap_or_default();
    let origin = format!("{}://{host}", url.scheme());
    is_web && (text == origin || text == format!("{origin}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port_and_nothing_else() {
        for good in [
            "http://127.0.0.1:40001",
            "https://agent-1.example",
            "http://[::1]:8080",
            "http://10.0.0.7:80",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "",
            "http://",
            "127.0.0.1:40001",
            "http://127.0.0.1:40001/",
            "http://127.0.0.1:40001/admin?x=",
            "http://user:word@127.0.0.1:40001",
            "http://127.0.0.1:40001#",
            "http://127.0.0.1:40001?",
            "file:///etc/passwd",
            "ftp://127.0.0.1:21",
            "javascript:alert(1)",
            " http://127.0.0.1:40001",
            "http://127.0.0.1:40001\n",
            "http://127.0.0.1:99999",
            "http://EXAMPLE.example",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
        assert!(!is_origin(&format!("http://{}.example", "a".repeat(200))));
    }
}

//! Addresses that something is sent to: `https`, or plain `http` to this machine itself.

use std::net::IpAddr;

use reqwest::Url;

/// The longest address, in bytes.
const LONGEST: usize = 500;

/// An address under `base`, or `base` itself when `path` is empty.
///
/// # Errors
/// In words, when nothing is sent to it.
pub(crate) fn under(base: &str, path: &str) -> Result<Url, String> {
    let refuse = |why: &str| Err(format!("its address {why}"));
    if base.len() > LONGEST {
        return refuse("is too long");
    }
    let base = base.trim_end_matches('/');
    let Ok(url) = Url::parse(base) else {
        return refuse("is not an address");
    };
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("holds a name or a password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("has a query or a fragment");
    }
    match url.scheme() {
        "https" => {}
        "http" if is_this_machine(&url) => {}
        _ => return refuse("is not https"),
    }
    Url::parse(&format!("{base}{path}")).or_else(|_| refuse("is not an address"))
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::under;

    #[test]
    fn only_https_leaves_this_machine() {
        for good in [
            "https://api.trustauthority.intel.com",
            "https://api.trustauthority.intel.com/",
            "http://127.0.0.1:1234",
            "http://[::1]:1234",
            "http://localhost:1",
        ] {
            let url = under(good, "/appraisal/v2/nonce").expect(good);
            assert_eq!(url.path(), "/appraisal/v2/nonce");
        }
        for bad in [
            "http://api.trustauthority.intel.com",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "http://10.0.0.1",
            "http://0.0.0.0",
            "ftp://127.0.0.1",
            "file:///etc/passwd",
            "https://user:pass@example.com",
            "https://example.com/?to=",
            "https://example.com/#",
            "",
            "api.trustauthority.intel.com",
        ] {
            assert!(under(bad, "/appraisal").is_err(), "{bad}");
        }
    }
}

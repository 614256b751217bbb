//! Addresses that the reconciler asks: `https`, or plain `http` to the machine itself. Whoever asks looks again, with a
//! whole parser; here a mistake is told where it stands.

use std::net::IpAddr;

use super::super::problem::shorten;
use super::{Finding, find};
use crate::documents::{FleetSpec, PolicySpec, TunnelSpec};

/// Where collateral comes from.
pub(super) fn collateral(spec: &FleetSpec, findings: &mut Vec<Finding>) {
    for (index, url) in spec.collateral.urls.iter().enumerate() {
        let name = format!("spec.collateral.urls[{index}]");
        let pointer = format!("/spec/collateral/urls/{index}");
        look(findings, &pointer, &name, url);
    }
}

/// Whose identity tokens are believed.
pub(super) fn oidc(spec: &FleetSpec, findings: &mut Vec<Finding>) {
    let Some(oidc) = &spec.api.oidc else { return };
    for (field, url) in [("issuer", &oidc.issuer), ("jwksUrl", &oidc.jwks_url)] {
        let name = format!("spec.api.oidc.{field}");
        look(findings, &format!("/spec/api/oidc/{field}"), &name, url);
    }
}

/// Where tunnels are made.
pub(super) fn tunnel(spec: &FleetSpec, findings: &mut Vec<Finding>) {
    if let TunnelSpec::Cloudflare(cloudflare) = &spec.tunnel {
        let (pointer, name) = (
            "/spec/tunnel/cloudflare/apiUrl",
            "spec.tunnel.cloudflare.apiUrl",
        );
        look(findings, pointer, name, &cloudflare.api_url);
    }
}

/// Where tokens and the keys to check them come from.
pub(super) fn authority(spec: &PolicySpec, findings: &mut Vec<Finding>) {
    let Some(ita) = &spec.verifiers.ita else {
        return;
    };
    for (field, url) in [("apiUrl", &ita.api_url), ("jwksUrl", &ita.jwks_url)] {
        let name = format!("spec.verifiers.ita.{field}");
        let pointer = format!("/spec/verifiers/ita/{field}");
        look(findings, &pointer, &name, url);
    }
}

fn look(findings: &mut Vec<Finding>, pointer: &str, name: &str, url: &str) {
    if let Err(why) = askable(url) {
        let found = shorten(url, 60);
        let message =
            format!("`{name}`: {why}; expected https, or http to this machine, found \"{found}\"");
        find(findings, pointer, "address", message);
    }
}

fn askable(url: &str) -> Result<(), &'static str> {
    let (scheme, rest) = url.split_once("://").ok_or("this is no address")?;
    let plain = |c: char| c.is_ascii_graphic() && !"\\\"<>^`{|}".contains(c);
    if !rest.chars().all(plain) {
        return Err("an address has no such characters");
    }
    if rest.contains(['?', '#']) {
        return Err("an address here has no query and no fragment");
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err("an address here names no user and no password");
    }
    let host = host(authority).ok_or("this names no host")?;
    match scheme {
        "https" => Ok(()),
        "http" if is_this_machine(host) => Ok(()),
        _ => Err("nothing is asked in the clear"),
    }
}

/// The host before its port.
fn host(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let number = port
        .strip_prefix(':')
        .is_some_and(|port| port.parse::<u16>().is_ok());
    (!host.is_empty() && (port.is_empty() || number)).then_some(host)
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::askable;

    #[test]
    fn only_https_leaves_this_machine() {
        for good in [
            "https://api.trustedservices.intel.com",
            "https://pccs.example:8081/sgx/certification/v4/",
            "https://[2001:db8::1]:8081",
            "http://127.0.0.1:1234",
            "http://[::1]:1234/certs",
            "http://localhost",
        ] {
            assert_eq!(askable(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "pccs.example",
            "http://pccs.example",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "http://10.0.0.1",
            "http://0.0.0.0",
            "http://127.0.0.1\\@example.com",
            "ftp://127.0.0.1",
            "file:///etc/passwd",
            "https://",
            "https://:443",
            "https://pccs.example:port",
            "https://pccs.example:99999",
            "https://[::1",
            "https://user:pass@pccs.example",
            "https://pccs.example/?to=",
            "https://pccs.example/#",
            "https://pccs example",
            "HTTP://pccs.example",
        ] {
            assert!(askable(bad).is_err(), "{bad}");
        }
    }
}

//! Where the parts of collateral are, at Intel's service (PCS) and at caches of it (PCCS).

use crate::collateral::PlatformFacts;

/// Intel's service, which has no address of its own for the root's revocation list.
const INTEL: &str = "https://api.trustedservices.intel.com";

/// Where Intel publishes that list. A cache has it at an address of its own; no address inside a certificate is asked.
const INTEL_ROOT_CRL: &str = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der";

/// Ends that people write after a cache's address, because its own tools want them.
const ENDS: [&str; 2] = ["/sgx/certification/v4", "/tdx/certification/v4"];

/// Where Intel itself is.
#[derive(Debug, Clone)]
pub(super) struct Intel {
    /// The base of its service.
    pub(super) api: String,
    /// Its root's revocation list.
    pub(super) root_crl: String,
}

impl Default for Intel {
    fn default() -> Self {
        Self {
            api: INTEL.into(),
            root_crl: INTEL_ROOT_CRL.into(),
        }
    }
}

/// One part of collateral: where it is, and which header its issuers come in.
pub(super) struct Place {
    pub(super) base: String,
    pub(super) path: String,
    pub(super) issuers: Option<&'static str>,
}

/// The four parts.
pub(super) struct Places {
    pub(super) tcb_info: Place,
    pub(super) qe_identity: Place,
    pub(super) pck_crl: Place,
    pub(super) root_crl: Place,
}

impl Places {
    /// At this base, for this platform.
    pub(super) fn at(base: &str, platform: &PlatformFacts, intel: &Intel) -> Self {
        let base = trimmed(base);
        let place = |path: String, issuers| Place {
            base: base.into(),
            path,
            issuers: Some(issuers),
        };
        let fmspc = platform.fmspc.to_string().to_uppercase();
        let (root_base, root_path) = match base == intel.api {
            true => (intel.root_crl.as_str(), ""),
            false => (base, "/sgx/certification/v4/rootcacrl"),
        };
        Self {
            tcb_info: place(
                format!("/tdx/certification/v4/tcb?fmspc={fmspc}&update=standard"),
                "TCB-Info-Issuer-Chain",
            ),
            qe_identity: place(
                "/tdx/certification/v4/qe/identity?update=standard".into(),
                "SGX-Enclave-Identity-Issuer-Chain",
            ),
            pck_crl: place(
                format!(
                    "/sgx/certification/v4/pckcrl?ca={}&encoding=der",
                    platform.ca
                ),
                "SGX-PCK-CRL-Issuer-Chain",
            ),
            root_crl: Place {
                base: root_base.into(),
                path: root_path.into(),
                issuers: None,
            },
        }
    }
}

/// A base without what people write after it.
pub(super) fn trimmed(base: &str) -> &str {
    let base = base.trim_end_matches('/');
    let end = ENDS.iter().find_map(|end| base.strip_suffix(end));
    end.unwrap_or(base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collateral::PckCa;

    fn places(base: &str) -> [String; 4] {
        let platform = PlatformFacts {
            fmspc: "90c06f000000".parse().expect("12 digits"),
            ca: PckCa::Platform,
        };
        let places = Places::at(base, &platform, &Intel::default());
        let parts = [
            places.tcb_info,
            places.qe_identity,
            places.pck_crl,
            places.root_crl,
        ];
        parts.map(|place| format!("{}{}", place.base, place.path))
    }

    #[test]
    fn intel_has_the_roots_list_elsewhere_and_a_cache_has_it_itself() {
        let [tcb, identity, crl, root] = places("https://api.trustedservices.intel.com/");
        let api = "https://api.trustedservices.intel.com";
        assert_eq!(
            tcb,
            format!("{api}/tdx/certification/v4/tcb?fmspc=90C06F000000&update=standard")
        );
        assert_eq!(
            identity,
            format!("{api}/tdx/certification/v4/qe/identity?update=standard")
        );
        assert_eq!(
            crl,
            format!("{api}/sgx/certification/v4/pckcrl?ca=platform&encoding=der")
        );
        assert_eq!(
            root,
            "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
        );
        let [_, _, _, root] = places("https://pccs.example:8081");
        assert_eq!(
            root,
            "https://pccs.example:8081/sgx/certification/v4/rootcacrl"
        );
    }

    #[test]
    fn a_cache_may_be_written_as_its_own_tools_want_it() {
        let plain = places("https://pccs.example:8081");
        assert_eq!(
            places("https://pccs.example:8081/sgx/certification/v4/"),
            plain
        );
        assert_eq!(
            places("https://pccs.example:8081/tdx/certification/v4"),
            plain
        );
    }
}

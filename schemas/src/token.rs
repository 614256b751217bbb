//! Words of before, as operators and launchers know them: datacenters as `cloud:place`, and empty filters. They are read
//! where a worker names what it serves and where a deploy call says where; state documents have names alone, and are
//! told which name a token is.

use serde::{Deserialize, Deserializer};

use crate::{Datacenter, NameError, NodeSize};

/// The place of a token that has none.
const NO_PLACE: &str = "default";

impl Datacenter {
    /// Reads a datacenter's name, or a token `cloud:place` as the name `cloud-place`: in lower case, with one word for
    /// each cloud, and `-` for what no name has. So `google:us_central1-a` is `gcp-us-central1-a`, and `baremetal:` is
    /// `baremetal-default`.
    ///
    /// # Errors
    /// When that is no name, such as one of more than [`Self::MAX`] bytes.
    pub fn of_token(text: &str) -> Result<Self, NameError> {
        let text = text.trim();
        let Some((cloud, place)) = text.split_once(':') else {
            return Self::new(text);
        };
        let (cloud, place) = (cloud.to_ascii_lowercase(), place.to_ascii_lowercase());
        let place = if place.is_empty() { NO_PLACE } else { &place };
        Self::new(format!("{}-{place}", one_word(&cloud)).replace(['_', '.'], "-"))
    }
}

/// The one word for a cloud that has several.
pub(crate) fn one_word(cloud: &str) -> &str {
    match cloud {
        "google" => "gcp",
        "az" => "azure",
        "bare-metal" | "onprem" | "on-prem" | "self-hosted" => "baremetal",
        other => other,
    }
}

/// A datacenter of a listing.
pub(crate) fn datacenter<'de, D: Deserializer<'de>>(from: D) -> Result<Datacenter, D::Error> {
    Datacenter::of_token(&String::deserialize(from)?).map_err(serde::de::Error::custom)
}

/// Datacenters of a deploy call.
pub(crate) fn datacenters<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Datacenter>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?.into_iter();
    let read = texts.map(|text| Datacenter::of_token(&text));
    let read: Result<_, _> = read.collect();
    read.map_err(serde::de::Error::custom)
}

/// A datacenter to filter by; none for an empty text.
pub(crate) fn any_datacenter<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Datacenter>, D::Error> {
    filter(from, Datacenter::of_token)
}

/// A size to filter by; none for an empty text.
pub(crate) fn any_size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NodeSize>, D::Error> {
    filter(from, |text| NodeSize::new(text))
}

fn filter<'de, D: Deserializer<'de>, T>(
    from: D,
    read: impl Fn(&str) -> Result<T, NameError>,
) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(from)?.filter(|text| !text.is_empty());
    let read = text.map(|text| read(&text)).transpose();
    read.map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::{ClaimRequest, DeployCall, InventoryRequest};

    fn read(token: &str) -> Option<String> {
        Some(Datacenter::of_token(token).ok()?.to_string())
    }

    #[test]
    fn tokens_of_before_are_names_of_today() {
        for (token, name) in [
            ("gcp:us-central1-a", "gcp-us-central1-a"),
            ("baremetal:github-runner", "baremetal-github-runner"),
            ("azure:eastus2-1", "azure-eastus2-1"),
            ("local:qemu", "local-qemu"),
            ("google:us_central1.a", "gcp-us-central1-a"),
            ("AZ:EastUS2-1", "azure-eastus2-1"),
            ("bare-metal:a", "baremetal-a"),
            ("onprem:a", "baremetal-a"),
            ("on-prem:a", "baremetal-a"),
            ("self-hosted:a", "baremetal-a"),
            ("my_cloud:a", "my-cloud-a"),
            (" gcp: ", "gcp-default"),
            ("baremetal:", "baremetal-default"),
            // What is a name already stays as it is: documents call a datacenter so.
            ("local", "local"),
            ("google", "google"),
            ("gcp-us-central1-a", "gcp-us-central1-a"),
        ] {
            assert_eq!(read(token).as_deref(), Some(name), "{token}");
        }
    }

    #[test]
    fn what_is_no_name_after_all_is_refused() {
        let long = format!("gcp:{}", "a".repeat(37));
        for token in [
            "", ":", ":a", "gcp:a_", "a:b:c", "gcp:ä", "Local", "my_dc", &long,
        ] {
            assert_eq!(read(token), None, "{token}");
        }
        assert_eq!(read(&long[..40]).map(|name| name.len()), Some(40));
    }

    #[test]
    fn a_deploy_call_may_name_tokens_wherever_it_names_datacenters() {
        let call = |token: &str| {
            let call = json!({
                "app_name": "web",
                "datacenter": token,
                "allowed_datacenters": [token, "local"],
                "denied_datacenters": [token],
            });
            serde_json::from_value::<DeployCall>(call)
        };
        let read = call("google:us-central1-a").expect("it reads");
        let name = |text: &str| Datacenter::new(text).expect("a name");
        assert_eq!(read.datacenter, Some(name("gcp-us-central1-a")));
        let allowed = [name("gcp-us-central1-a"), name("local")];
        assert_eq!(read.allowed_datacenters, allowed);
        assert_eq!(read.denied_datacenters, [name("gcp-us-central1-a")]);
        assert!(call("gcp:a_").is_err());
    }

    #[test]
    fn workers_may_name_tokens_and_leave_filters_empty() {
        let claim = |datacenter: &str, size: &str| {
            let claim = json!({"worker_id": "w", "provider": "p", "datacenter": datacenter, "node_size": size});
            serde_json::from_value::<ClaimRequest>(claim)
        };
        let read = claim("gcp:us-central1-a", "tiny").expect("it reads");
        let place = read.datacenter.expect("a datacenter");
        assert_eq!(place.as_str(), "gcp-us-central1-a");
        assert_eq!(read.node_size.expect("a size").as_str(), "tiny");
        let any = claim("", "").expect("it reads");
        assert!(any.datacenter.is_none() && any.node_size.is_none());
        assert!(claim("gcp:a_", "").is_err() && claim("", "a:b").is_err());
        let bare = json!({"worker_id": "w", "provider": "p"});
        let bare: ClaimRequest = serde_json::from_value(bare).expect("it reads");
        assert!(bare.datacenter.is_none() && bare.node_size.is_none());
        let listing =
            json!({"worker_id": "w", "provider": "p", "datacenter": "local:qemu", "units": []});
        let listing: InventoryRequest = serde_json::from_value(listing).expect("it reads");
        assert_eq!(listing.datacenter.as_str(), "local-qemu");
    }
}

//! Calls of the API as an owner makes them.

use std::time::Duration;

use easyenclave_attestation::testing::authority::{Authority, Signer};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Fleet, now};

/// The audience that the fleets of these tests expect.
const AUDIENCE: &str = "easyenclave";

/// Calls a fleet.
pub(crate) struct Caller {
    http: reqwest::Client,
    url: String,
}

impl Caller {
    pub(crate) fn of(fleet: &Fleet) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy();
        let http = http.timeout(Duration::from_secs(120)).build();
        Self {
            http: http.expect("a client"),
            url: fleet.url(),
        }
    }

    /// Answers the status and the body.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        shown: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let call = self.http.request(method, format!("{}{path}", self.url));
        let call = body
            .iter()
            .fold(call.bearer_auth(shown), |call, body| call.json(body));
        let answer = call.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.expect("JSON"))
    }

    /// Answers a text; it must be one.
    pub(crate) async fn text(&self, path: &str, shown: &str) -> String {
        let call = self
            .http
            .get(format!("{}{path}", self.url))
            .bearer_auth(shown);
        let answer = call.send().await.expect("an answer");
        let (status, text) = (answer.status(), answer.text().await.expect("text"));
        assert!(status.is_success(), "{status} {text}");
        text
    }

    /// The first lines of an answer that goes on.
    pub(crate) async fn lines(&self, path: &str, shown: &str, wanted: usize) -> Vec<String> {
        let mut followed = self.follow(path, shown).await;
        followed.lines(wanted).await
    }

    /// An answer that goes on.
    pub(crate) async fn follow(&self, path: &str, shown: &str) -> Followed {
        let call = self
            .http
            .get(format!("{}{path}", self.url))
            .bearer_auth(shown);
        Followed {
            answer: call.send().await.expect("an answer"),
            text: String::new(),
        }
    }

    /// Who the API says that this is, or the code of its refusal.
    pub(crate) async fn me(&self, shown: &str) -> Result<String, String> {
        let (status, body) = self.call(Method::GET, "/api/v1/me", shown, None).await;
        let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
        match status {
            200 => Ok(text("owner")),
            _ => Err(text("code")),
        }
    }

    /// Waits until it says so: a commit takes a moment to be in force.
    pub(crate) async fn until(&self, shown: &str, wanted: Result<&str, &str>) {
        let wanted = wanted.map(str::to_owned).map_err(str::to_owned);
        for _ in 0..600 {
            if self.me(shown).await == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("waited in vain for {wanted:?}: {:?}", self.me(shown).await);
    }
}

/// An answer that goes on, and what has come of it.
pub(crate) struct Followed {
    answer: reqwest::Response,
    text: String,
}

impl Followed {
    /// The first so many lines.
    pub(crate) async fn lines(&mut self, wanted: usize) -> Vec<String> {
        while self.text.matches('\n').count() < wanted {
            let chunk = self.answer.chunk().await.expect("it goes on");
            let chunk = chunk.expect("it goes on");
            self.text += std::str::from_utf8(&chunk).expect("UTF-8");
        }
        self.text.lines().take(wanted).map(str::to_owned).collect()
    }

    /// Waits until the other side ends it.
    pub(crate) async fn end(mut self) {
        while let Some(more) = self
            .answer
            .chunk()
            .await
            .expect("it is ended, not given up")
        {
            drop(more);
        }
    }
}

/// The fleet's document that believes this issuer.
pub(crate) fn believing(authority: &Authority) -> String {
    use easyenclave_schemas::documents::{ItaVersion, SigningAlgorithm};
    let settings = authority.settings(ItaVersion::V1, SigningAlgorithm::RS256);
    format!(
        "apiVersion: easyenclave.dev/v1\nkind: Fleet\nmetadata:\n  name: test\nspec:\n  status:\n    \
         pushesPerMinute: 600\n  api:\n    oidc:\n      issuer: {}\n      audience: {AUDIENCE}\n      jwksUrl: {}\n",
        settings.issuer, settings.jwks_url
    )
}

/// An owner's document whose one identity is `acme/web` on its main branch, in production.
pub(crate) fn owner(name: &str) -> String {
    format!(
        "apiVersion: easyenclave.dev/v1\nkind: Owner\nmetadata:\n  name: {name}\nspec:\n  github:\n    - organization: \
         {name}\n      repository: web\n      ref: refs/heads/main\n      environment: production\n"
    )
}

/// A job's token, with some of its claims changed.
pub(crate) fn token(authority: &Authority, changes: &[(&str, Value)]) -> String {
    use easyenclave_schemas::documents::{ItaVersion, SigningAlgorithm};
    let at = now().as_secs();
    let mut claims = json!({
        "iss": authority.settings(ItaVersion::V1, SigningAlgorithm::RS256).issuer,
        "aud": AUDIENCE, "sub": "repo:acme/web:environment:production",
        "iat": at, "nbf": at, "exp": at + 300,
        "repository": "acme/web", "repository_owner": "acme",
        "ref": "refs/heads/main", "environment": "production", "run_id": "7",
    });
    for (claim, value) in changes {
        claims[*claim] = value.clone();
    }
    Signer::First.jwt("RS256", &claims)
}

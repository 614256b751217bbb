//! Who is let in, and each reason why somebody is not. The issuer is a real one on loopback; its keys are the tests'.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use easyenclave_attestation::testing::authority::{Authority, Fault, Kind, Signer};
use easyenclave_schemas::documents::{
    ApiKey, ApiSpec, GithubIdentity, ItaVersion, OidcSpec, OwnerSpec, Quota, SigningAlgorithm,
};
use easyenclave_schemas::{OwnerName, Timestamp};
use expect_test::expect;
use serde_json::{Value, json};

use super::*;

fn now() -> Timestamp {
    Timestamp::from_millis(1_777_636_800_000)
}

fn after(seconds: u64) -> Timestamp {
    now().plus(Duration::from_secs(seconds))
}

fn owner(name: &str) -> OwnerName {
    OwnerName::new(name).expect("a name")
}

fn identity(
    repository: Option<&str>,
    git_ref: Option<&str>,
    environment: Option<&str>,
) -> GithubIdentity {
    GithubIdentity {
        organization: "Acme".into(),
        repository: repository.map(str::to_owned),
        git_ref: git_ref.map(str::to_owned),
        environment: environment.map(str::to_owned),
    }
}

fn spec(github: Vec<GithubIdentity>, keys: Vec<ApiKey>) -> OwnerSpec {
    OwnerSpec {
        github,
        keys,
        quota: Quota::default(),
    }
}

fn headers(shown: &str) -> HeaderMap {
    let value = HeaderValue::from_str(&format!("Bearer {shown}")).expect("a header");
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

/// The owner whose one identity is a job's on the main branch, in production.
fn acme() -> [(&'static str, OwnerSpec); 1] {
    let only = identity(Some("web"), Some("refs/heads/main"), Some("production"));
    [("acme", spec(vec![only], Vec::new()))]
}

/// Longer than any answer takes here, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// An issuer, a fleet that believes it, and an owner with one identity.
struct Bench {
    authority: Authority,
    callers: Callers,
    door: Door,
}

impl Bench {
    async fn new() -> Self {
        Self::with(&acme()).await
    }

    async fn with(owners: &[(&str, OwnerSpec)]) -> Self {
        Self::waiting(PATIENCE, owners).await
    }

    /// One that waits so long for an issuer's keys.
    async fn waiting(deadline: Duration, owners: &[(&str, OwnerSpec)]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority = Authority::start(now()).await;
        let settings = authority.settings(ItaVersion::V1, SigningAlgorithm::RS256);
        let api = ApiSpec {
            oidc: Some(OidcSpec {
                issuer: settings.issuer,
                audience: "easyenclave".into(),
                jwks_url: settings.jwks_url,
            }),
        };
        let sets = KeySets::with_deadline(deadline).expect("TLS is there");
        Self {
            authority,
            callers: Callers::of(&api, owners.iter().map(|(name, spec)| (owner(name), spec))),
            door: Door::over(sets),
        }
    }

    /// What a job's token says.
    fn claims(&self) -> Value {
        let at = now().as_secs();
        json!({
            "iss": self.callers.issuer().expect("an issuer").issuer,
            "aud": "easyenclave",
            "sub": "repo:acme/web:environment:production",
            "iat": at, "nbf": at - 5, "exp": at + 300,
            "repository": "acme/web", "repository_owner": "acme",
            "ref": "refs/heads/main", "environment": "production",
            "run_id": "42", "actor": "ada",
        })
    }

    fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims();
        change(&mut claims);
        Signer::First.jwt("RS256", &claims)
    }

    async fn admit(&self, shown: &str, at: Timestamp) -> Result<Caller, Denied> {
        let headers = headers(shown);
        self.door.admit(&self.callers, &headers, at).await
    }

    async fn code(&self, shown: &str) -> &'static str {
        self.code_at(shown, now()).await
    }

    async fn code_at(&self, shown: &str, at: Timestamp) -> &'static str {
        match self.admit(shown, at).await {
            Ok(_) => "let in",
            Err(denied) => denied.code(),
        }
    }
}

#[tokio::test]
async fn a_job_that_an_owner_names_is_let_in_as_that_owner() {
    let bench = Bench::new().await;
    let caller = bench
        .admit(&bench.token(|_| ()), now())
        .await
        .expect("let in");
    assert_eq!(caller.owner, owner("acme"));
    assert_eq!(
        caller.identity.to_string(),
        "GitHub Actions of acme/web at refs/heads/main, run 42"
    );
    // Names of organisations and repositories have no case; an audience may be one of several.
    let token = bench.token(|claims| {
        claims["repository"] = "ACME/Web".into();
        claims["repository_owner"] = "ACME".into();
        claims["aud"] = json!(["another", "easyenclave"]);
    });
    assert_eq!(bench.code(&token).await, "let in");
}

#[tokio::test]
async fn each_claim_that_is_wrong_is_refused_for_its_own_reason() {
    let bench = Bench::new().await;
    let at = now().as_secs();
    let rows: Vec<(&str, Value)> = vec![
        ("iss", json!("https://issuer.example.com")),
        ("aud", json!("another")),
        ("aud", json!(["another", "easyenclave2"])),
        ("aud", json!(null)),
        ("exp", json!(at - 60)),
        ("exp", json!("soon")),
        ("nbf", json!(at + 61)),
        ("nbf", json!("later")),
        ("iat", json!(at + 61)),
        ("repository", json!("acme/web2")),
        ("repository", json!("acme")),
        ("repository", json!("other/web")),
        ("repository_owner", json!("other")),
        ("ref", json!("refs/heads/mainx")),
        ("ref", json!("refs/tags/main")),
        ("ref", json!("")),
        ("environment", json!("staging")),
        ("environment", json!("Production")),
        ("environment", json!(7)),
    ];
    let mut table = String::new();
    for (claim, value) in rows {
        let token = bench.token(|claims| claims[claim] = value.clone());
        let said = format!("{claim}={value}");
        let code = bench.code(&token).await;
        table += &format!("{said:<36} {code}\n");
    }
    for claim in [
        "iss",
        "aud",
        "exp",
        "iat",
        "nbf",
        "repository",
        "repository_owner",
        "ref",
        "environment",
    ] {
        let token =
            bench.token(|claims| drop(claims.as_object_mut().expect("claims").remove(claim)));
        let code = bench.code(&token).await;
        table += &format!("{:<36} {code}\n", format!("no {claim}"));
    }
    expect![[r#"
        iss="https://issuer.example.com"     oidc_issuer
        aud="another"                        oidc_audience
        aud=["another","easyenclave2"]       oidc_audience
        aud=null                             oidc_audience
        exp=1777636740                       oidc_expired
        exp="soon"                           oidc_claims
        nbf=1777636861                       oidc_not_yet_valid
        nbf="later"                          oidc_claims
        iat=1777636861                       oidc_not_yet_valid
        repository="acme/web2"               oidc_repository
        repository="acme"                    oidc_claims
        repository="other/web"               oidc_claims
        repository_owner="other"             oidc_claims
        ref="refs/heads/mainx"               oidc_ref
        ref="refs/tags/main"                 oidc_ref
        ref=""                               oidc_claims
        environment="staging"                oidc_environment
        environment="Production"             oidc_environment
        environment=7                        oidc_claims
        no iss                               oidc_claims
        no aud                               oidc_audience
        no exp                               oidc_claims
        no iat                               oidc_claims
        no nbf                               let in
        no repository                        oidc_claims
        no repository_owner                  oidc_claims
        no ref                               oidc_claims
        no environment                       oidc_environment
    "#]]
    .assert_eq(&table);
}

#[tokio::test]
async fn a_signature_that_is_not_the_issuers_counts_for_nothing() {
    let bench = Bench::new().await;
    let claims = bench.claims();
    let good = bench.token(|_| ());
    let (covered, _) = good.rsplit_once('.').expect("parts");
    let (head, rest) = good.split_once('.').expect("parts");
    for (token, code) in [
        (Signer::First.jwt("none", &claims), "oidc_algorithm"),
        (Signer::First.jwt("HS256", &claims), "oidc_algorithm"),
        (Signer::First.jwt("PS384", &claims), "oidc_algorithm"),
        (Signer::Impostor.jwt("RS256", &claims), "oidc_signature"),
        (Signer::Second.jwt("RS256", &claims), "oidc_unknown_key"),
        (format!("{covered}."), "oidc_signature"),
        (format!("{covered}.AAAA"), "oidc_signature"),
        (format!("{covered}.*"), "oidc_signature"),
        (format!("x{head}.{rest}"), "oidc_malformed"),
        (
            headed(r#"{"alg":"none","typ":"JWT"}"#, &good),
            "oidc_algorithm",
        ),
        (headed(r#"{"alg":"HS256"}"#, &good), "oidc_algorithm"),
        (headed(r#"{"alg":"RS256"}"#, &good), "oidc_unknown_key"),
        (headed(r#"{"kid":"first"}"#, &good), "oidc_malformed"),
        ("..".into(), "oidc_malformed"),
        (format!("{head}.{}.x", "A".repeat(20_000)), "oidc_malformed"),
    ] {
        assert_eq!(bench.code(&token).await, code, "{token:.60}");
    }
    assert_eq!(bench.code(&good).await, "let in");
}

/// A token with another header.
fn headed(header: &str, token: &str) -> String {
    use base64::Engine;
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header);
    let (_, rest) = token.split_once('.').expect("parts");
    format!("{header}.{rest}")
}

#[tokio::test]
async fn the_issuer_is_not_asked_for_keys_of_tokens_that_cannot_count() {
    let bench = Bench::new().await;
    let unsigned = Signer::First.jwt("none", &bench.claims());
    assert_eq!(bench.code(&unsigned).await, "oidc_algorithm");
    assert_eq!(bench.authority.count(Kind::Keys), 0);
}

#[tokio::test]
async fn an_issuers_keys_rotate_with_an_overlap_and_end_when_withdrawn() {
    let bench = Bench::new().await;
    let (old, new) = (
        bench.token(|_| ()),
        Signer::Second.jwt("RS256", &bench.claims()),
    );
    assert_eq!(bench.code(&old).await, "let in");
    bench.authority.publishes(&[Signer::First, Signer::Second]);
    // An unknown key is asked for, though not at once after the last time.
    assert_eq!(bench.code(&new).await, "oidc_unknown_key");
    assert_eq!(bench.code_at(&new, after(20)).await, "let in");
    assert_eq!(bench.code_at(&old, after(20)).await, "let in");
    bench.authority.publishes(&[Signer::Second]);
    assert_eq!(bench.code_at(&old, after(330)).await, "oidc_unknown_key");
    assert_eq!(bench.code_at(&new, after(330)).await, "let in");
}

#[tokio::test]
async fn without_the_issuers_keys_nobody_is_let_in() {
    for fault in [
        Fault::Status(500, String::new()),
        Fault::Slow(Duration::from_secs(3600)),
        Fault::Huge(300 * 1024),
        Fault::Moved("http://127.0.0.1:9/certs".into()),
        Fault::Body("<html>".into()),
    ] {
        let deadline = match fault {
            Fault::Slow(_) => Duration::from_millis(400),
            _ => PATIENCE,
        };
        let bench = Bench::waiting(deadline, &acme()).await;
        bench.authority.always(Kind::Keys, Some(fault));
        let denied = bench
            .admit(&bench.token(|_| ()), now())
            .await
            .expect_err("no keys");
        assert_eq!(
            (denied.code(), denied.status().as_u16()),
            ("oidc_unavailable", 503)
        );
        assert!(denied.is_news(), "operators are told");
    }
}

#[tokio::test]
async fn a_fleet_that_names_no_issuer_takes_no_token() {
    let mut bench = Bench::new().await;
    let token = bench.token(|_| ());
    bench.callers = Callers::of(&ApiSpec::default(), []);
    assert_eq!(bench.code(&token).await, "oidc_disabled");
    assert_eq!(bench.authority.count(Kind::Keys), 0);
}

#[tokio::test]
async fn an_identity_is_as_wide_as_the_fields_that_it_leaves_out() {
    let wide = Bench::with(&[("acme", spec(vec![identity(None, None, None)], Vec::new()))]).await;
    let token = wide.token(|claims| {
        claims["repository"] = "acme/any".into();
        claims["ref"] = "refs/tags/v1".into();
        claims
            .as_object_mut()
            .expect("claims")
            .remove("environment");
    });
    assert_eq!(wide.code(&token).await, "let in");
    let two = [
        ("acme", spec(vec![identity(None, None, None)], Vec::new())),
        (
            "zeta",
            spec(vec![identity(Some("web"), None, None)], Vec::new()),
        ),
    ];
    let two = Bench::with(&two).await;
    assert_eq!(two.code(&two.token(|_| ())).await, "oidc_ambiguous");
    let other = two.token(|claims| claims["repository"] = "acme/api".into());
    assert_eq!(
        two.admit(&other, now()).await.expect("one").owner,
        owner("acme")
    );
}

fn key(expires: Timestamp) -> (String, ApiKey) {
    let new = keys::new().expect("a key");
    let (id, hash, name) = (new.id, new.hash, "ci".into());
    let key = ApiKey {
        id,
        hash,
        name,
        expires,
    };
    (new.key.reveal().clone(), key)
}

#[tokio::test]
async fn a_key_is_let_in_until_it_expires_or_its_document_goes() {
    let (shown, key) = key(after(100));
    let id = key.id.clone();
    let mut bench = Bench::with(&[("acme", spec(Vec::new(), vec![key.clone()]))]).await;
    for _ in 0..2 {
        let caller = bench.admit(&shown, now()).await.expect("let in");
        assert_eq!(caller.owner, owner("acme"));
        assert_eq!(caller.identity.to_string(), format!("API key {id} (ci)"));
    }
    assert_eq!(bench.code_at(&shown, after(100)).await, "api_key_expired");
    let (_, other) = self::key(after(100));
    let hash = ApiKey {
        hash: other.hash,
        ..key
    };
    bench.callers = Callers::of(
        &ApiSpec::default(),
        [(owner("acme"), &spec(Vec::new(), vec![hash]))],
    );
    assert_eq!(
        bench.code(&shown).await,
        "invalid_api_key",
        "another secret under its id"
    );
    bench.callers = Callers::default();
    assert_eq!(bench.code(&shown).await, "invalid_api_key", "revoked");
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_id_get_one_answer() {
    let (shown, known) = key(after(0));
    let bench = Bench::with(&[("acme", spec(Vec::new(), vec![known]))]).await;
    let (other, _) = key(after(0));
    let (id, secret) = (&shown[..30], &other[30..]);
    let wrong = bench.admit(&format!("{id}{secret}"), now()).await;
    let unknown = bench.admit(&other, now()).await;
    assert_eq!(wrong, unknown);
    assert_eq!(wrong, Err(Denied::Key), "and not that it has expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_guesses_secrets_waits_or_is_told_to_come_back() {
    let (shown, known) = key(after(100));
    let bench = Bench::with(&[("acme", spec(Vec::new(), vec![known]))]).await;
    assert_eq!(bench.code(&shown).await, "let in");
    let guess = format!("{}{}", &shown[..30], "a".repeat(52));
    let crowd = futures_util::future::join_all((0..100).map(|_| bench.code(&guess))).await;
    let busy = crowd.iter().filter(|code| **code == "busy").count();
    let wrong = crowd
        .iter()
        .filter(|code| **code == "invalid_api_key")
        .count();
    assert_eq!(busy + wrong, 100);
    assert!(busy >= 100 - 40 && wrong >= 1, "{busy} {wrong}");
    // Whoever was let in before waits for none of them.
    assert_eq!(bench.code(&shown).await, "let in");
}

#[tokio::test]
async fn only_one_header_of_one_form_is_looked_at() {
    let bench = Bench::new().await;
    let (shown, _) = key(after(100));
    let value = |text: &str| HeaderValue::from_str(text).expect("a header");
    let codes = |values: Vec<HeaderValue>| {
        let bench = &bench;
        async move {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value);
            }
            let admitted = bench.door.admit(&bench.callers, &headers, now()).await;
            admitted.expect_err("nobody is known").code()
        }
    };
    assert_eq!(codes(vec![]).await, "missing_auth");
    assert_eq!(codes(vec![value(&shown)]).await, "missing_auth");
    assert_eq!(codes(vec![value("Basic YTpi")]).await, "missing_auth");
    let bearer = value(&format!("bearer {shown}"));
    assert_eq!(codes(vec![bearer.clone()]).await, "invalid_api_key");
    assert_eq!(codes(vec![bearer.clone(), bearer]).await, "missing_auth");
    assert_eq!(
        codes(vec![value("Bearer letmein")]).await,
        "invalid_api_key"
    );
}

#[tokio::test]
async fn no_reason_holds_what_was_shown() {
    let bench = Bench::new().await;
    let (shown, _) = key(after(100));
    let secret = &shown[30..];
    let denied = bench.admit(&shown, now()).await.expect_err("unknown");
    assert!(!format!("{denied:?} {denied} {}", denied.whole()).contains(secret));
    let token = bench.token(|claims| claims["ref"] = "refs/heads/x\n[31m".into());
    let denied = bench.admit(&token, now()).await.expect_err("another ref");
    assert_eq!(
        denied.to_string(),
        "no owner of this fleet names the token's ref for its repository"
    );
    assert_eq!(denied.subject(), "a job of acme/web");
    let stranger = bench.token(|claims| {
        claims["repository"] = "made-up/web".into();
        claims["repository_owner"] = "made-up".into();
    });
    let stranger = bench.admit(&stranger, now()).await.expect_err("unknown");
    assert_eq!(stranger.subject(), "a caller with an identity token");
    let whole = denied.whole();
    assert!(
        whole.ends_with("acme/web at refs/heads/x [31m in environment production"),
        "{whole}"
    );
    assert!(!whole.contains(&token[..20]));
}

/// What becomes of a caller who was let in before.
fn later(caller: &Caller, callers: &Callers, at: Timestamp) -> &'static str {
    match caller.stands(callers, at) {
        Ok(()) => "let in",
        Err(denied) => denied.code(),
    }
}

#[tokio::test]
async fn a_job_that_was_let_in_is_held_against_the_identities_of_later() {
    let bench = Bench::new().await;
    let job = bench.admit(&bench.token(|_| ()), now()).await;
    let job = job.expect("let in");
    assert_eq!(later(&job, &bench.callers, now()), "let in");
    assert_eq!(later(&job, &bench.callers, after(360)), "oidc_expired");
    let oidc = bench.callers.issuer().cloned();
    let mut moved = oidc.clone();
    moved.as_mut().expect("an issuer").jwks_url = "https://keys.example.com".into();
    let any = || identity(None, None, None);
    let other = identity(Some("other"), None, None);
    let tag = identity(None, Some("refs/tags/1"), None);
    for (oidc, of, identity, wanted) in [
        (oidc.clone(), "acme", any(), "let in"),
        (oidc.clone(), "zeta", any(), "oidc_organization"),
        (oidc.clone(), "acme", other, "oidc_repository"),
        (oidc, "acme", tag, "oidc_ref"),
        (None, "acme", any(), "oidc_disabled"),
        (moved, "acme", any(), "oidc_unknown_key"),
    ] {
        let spec = spec(vec![identity], Vec::new());
        let callers = Callers::of(&ApiSpec { oidc }, [(owner(of), &spec)]);
        assert_eq!(later(&job, &callers, now()), wanted);
    }
    assert!(!format!("{job:?}").contains("ada"), "{job:?}");
}

#[tokio::test]
async fn a_key_that_was_let_in_is_held_against_the_keys_of_later() {
    let (shown, key) = key(after(60));
    let holding = |of: &str, key: &ApiKey| {
        let spec = spec(Vec::new(), vec![key.clone()]);
        Callers::of(&ApiSpec::default(), [(owner(of), &spec)])
    };
    let mut bench = Bench::new().await;
    bench.callers = holding("acme", &key);
    let caller = bench.admit(&shown, now()).await.expect("let in");
    let another = ApiKey {
        hash: self::key(after(60)).1.hash,
        ..key.clone()
    };
    for (callers, at, wanted) in [
        (holding("acme", &key), now(), "let in"),
        (holding("acme", &key), after(60), "api_key_expired"),
        (holding("zeta", &key), now(), "invalid_api_key"),
        (holding("acme", &another), now(), "invalid_api_key"),
        (Callers::default(), now(), "invalid_api_key"),
    ] {
        assert_eq!(later(&caller, &callers, at), wanted);
    }
    assert!(!format!("{caller:?}").contains("argon2"), "{caller:?}");
}

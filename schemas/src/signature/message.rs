//! Signing and verifying requests and answers. The covered components and the parameters stand in one
//! order, so a header is read by making the only acceptable one and comparing.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use super::digest::content_digest;
use super::{Identified, SignatureError, Signs, Verifies};
use crate::Timestamp;

const DIGEST: &str = "content-digest";
const INPUT: &str = "signature-input";
const SIGNATURE: &str = "signature";

/// Room for the base of a heartbeat, in bytes; a longer one grows it.
const BASE: usize = 512;

/// Three headers to add to a message.
pub type Headers = [(&'static str, String); 3];

/// What a verified message says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// When it was signed, in whole seconds.
    pub created: Timestamp,
    /// Its nonce; the answer carries the same.
    pub nonce: String,
}

/// Signs a request. `path_and_query` is what stands in the request line.
pub fn sign_request(
    key: &impl Signs,
    method: &str,
    path_and_query: &str,
    body: &[u8],
    created: Timestamp,
    nonce: &str,
) -> Headers {
    let digest = content_digest(body);
    let lines = request_lines(method, path_and_query, &digest);
    let [input, signature] = sign(key, &lines, created, nonce);
    [(DIGEST, digest), (INPUT, input), (SIGNATURE, signature)]
}

/// Verifies a request against the key that must have signed it. Whether it was seen before is for a
/// [`super::ReplayGuard`] or a sequence number to say.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify_request(
    key: &impl Verifies,
    method: &str,
    path_and_query: &str,
    body: &[u8],
    headers: &HeaderMap,
    now: Timestamp,
    window: Duration,
) -> Result<Verified, SignatureError> {
    let digest = content_digest(body);
    let lines = request_lines(method, path_and_query, &digest);
    verify(key, &lines, &digest, headers, now, window)
}

/// Whether a message says that it is signed with the key of a session.
pub fn is_in_session(headers: &HeaderMap) -> bool {
    header(headers, INPUT).is_ok_and(|input| input.contains(";alg=\"hmac-sha256\";"))
}

/// Signs the answer to a request that was verified.
pub fn sign_response(
    key: &impl Signs,
    status: u16,
    body: &[u8],
    request: &Verified,
    now: Timestamp,
) -> Headers {
    let digest = content_digest(body);
    let status = status.to_string();
    let lines = response_lines(&status, &digest);
    let [input, signature] = sign(key, &lines, now, &request.nonce);
    [(DIGEST, digest), (INPUT, input), (SIGNATURE, signature)]
}

/// Verifies the answer to the request that carried `request_nonce`.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify_response(
    key: &impl Verifies,
    status: u16,
    body: &[u8],
    headers: &HeaderMap,
    request_nonce: &str,
    now: Timestamp,
    window: Duration,
) -> Result<(), SignatureError> {
    let digest = content_digest(body);
    let status = status.to_string();
    let lines = response_lines(&status, &digest);
    let verified = verify(key, &lines, &digest, headers, now, window)?;
    if verified.nonce == request_nonce {
        Ok(())
    } else {
        Err(SignatureError::OtherRequest)
    }
}

/// A component with its value.
type Line<'a> = (&'static str, &'a str);

/// In the order in which they are covered.
fn request_lines<'a>(method: &'a str, path_and_query: &'a str, digest: &'a str) -> [Line<'a>; 4] {
    let (path, query) = match path_and_query.find('?') {
        Some(at) => path_and_query.split_at(at),
        None => (path_and_query, "?"),
    };
    [
        ("@method", method),
        ("@path", path),
        ("@query", query),
        (DIGEST, digest),
    ]
}

/// In the order in which they are covered.
fn response_lines<'a>(status: &'a str, digest: &'a str) -> [Line<'a>; 2] {
    [("@status", status), (DIGEST, digest)]
}

fn sign(key: &impl Signs, lines: &[Line<'_>], created: Timestamp, nonce: &str) -> [String; 2] {
    let base = Base::new(lines, created.as_secs(), nonce, key);
    let signature = STANDARD.encode(key.sign(base.as_bytes()));
    [
        ["ee=", base.params()].concat(),
        ["ee=:", &signature, ":"].concat(),
    ]
}

fn verify(
    key: &impl Verifies,
    lines: &[Line<'_>],
    digest: &str,
    headers: &HeaderMap,
    now: Timestamp,
    window: Duration,
) -> Result<Verified, SignatureError> {
    let input = header(headers, INPUT)?;
    let signature = header(headers, SIGNATURE)?;
    if header(headers, DIGEST)? != digest {
        return Err(SignatureError::BodyDiffers);
    }
    let params = input.strip_prefix("ee=").ok_or(SignatureError::Malformed)?;
    let read = read(params)?;
    if read.key != key.id() {
        return Err(SignatureError::WrongKey);
    }
    let base = Base::new(lines, read.created, read.nonce, key);
    if params != base.params() {
        return Err(SignatureError::Malformed);
    }
    if !key.is_signed(base.as_bytes(), &decode(signature)?) {
        return Err(SignatureError::BadSignature);
    }
    let created = in_window(read.created, now, window)?;
    Ok(Verified {
        created,
        nonce: read.nonce.to_owned(),
    })
}

fn in_window(secs: u64, now: Timestamp, window: Duration) -> Result<Timestamp, SignatureError> {
    let millis = i64::try_from(secs)
        .ok()
        .and_then(|secs| secs.checked_mul(1000));
    let created = Timestamp::from_millis(millis.ok_or(SignatureError::FromFuture)?);
    if created.plus(window) < now {
        return Err(SignatureError::TooOld);
    }
    if created > now.plus(window) {
        return Err(SignatureError::FromFuture);
    }
    Ok(created)
}

/// What is signed: the signature base of RFC 9421, section 2.5. It ends with the parameters of section 2.3,
/// and is written in one piece because each heartbeat needs two.
struct Base {
    text: String,
    /// Where the parameters start.
    params: usize,
}

impl Base {
    fn new(lines: &[Line<'_>], created: u64, nonce: &str, key: &impl Identified) -> Self {
        let mut text = String::with_capacity(BASE);
        for (name, value) in lines {
            text.extend(["\"", name, "\": ", value, "\n"]);
        }
        text.push_str("\"@signature-params\": ");
        let params = text.len();
        let mut before = "(";
        for (name, _) in lines {
            text.extend([before, "\"", name, "\""]);
            before = " ";
        }
        text.extend([");created=", &created.to_string(), ";nonce=\"", nonce]);
        let (algorithm, keyid) = (key.algorithm(), key.id());
        text.extend(["\";alg=\"", algorithm, "\";keyid=\"", &keyid, "\""]);
        Self { text, params }
    }

    fn params(&self) -> &str {
        &self.text[self.params..]
    }

    fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

struct Read<'a> {
    created: u64,
    nonce: &'a str,
    key: &'a str,
}

/// Picks the values that vary out of the parameters; the shape is compared afterwards.
fn read(params: &str) -> Result<Read<'_>, SignatureError> {
    let between = |from: &str, to: char| {
        let start = params.find(from)? + from.len();
        let rest = &params[start..];
        rest.find(to).map(|end| &rest[..end])
    };
    let plain = |text: &&str| {
        !text.is_empty() && text.len() <= 128 && text.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let created = between(";created=", ';').and_then(|text| text.parse().ok());
    let nonce = between(";nonce=\"", '"').filter(plain);
    let key = between(";keyid=\"", '"').filter(plain);
    match (created, nonce, key) {
        (Some(created), Some(nonce), Some(key)) => Ok(Read {
            created,
            nonce,
            key,
        }),
        _ => Err(SignatureError::Malformed),
    }
}

fn decode(signature: &str) -> Result<Vec<u8>, SignatureError> {
    let text = signature
        .strip_prefix("ee=:")
        .and_then(|text| text.strip_suffix(':'));
    STANDARD
        .decode(text.ok_or(SignatureError::Malformed)?)
        .map_err(|_| SignatureError::Malformed)
}

/// A header that stands twice is refused: two readers could take two values.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, SignatureError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Err(SignatureError::Missing),
        (Some(value), None) => value.to_str().map_err(|_| SignatureError::Malformed),
        (Some(_), Some(_)) => Err(SignatureError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use httpsig::prelude::message_component::HttpMessageComponent;
    use httpsig::prelude::{
        AlgorithmName, HttpSignatureBase, HttpSignatureHeaders, PublicKey as OraclePublicKey,
        SharedKey, VerifyingKey,
    };

    use super::super::{Keypair, PublicKey, Session, SessionOffer};
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);
    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn key() -> Keypair {
        Keypair::generate().expect("randomness")
    }

    fn map(headers: Headers) -> HeaderMap {
        let pairs = headers.map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(&value).expect("ascii"),
            )
        });
        pairs.into_iter().collect()
    }

    fn check(key: &PublicKey, headers: &HeaderMap) -> Result<Verified, SignatureError> {
        verify_request(key, "POST", "/a/b?c=d", b"body", headers, NOW, WINDOW)
    }

    #[test]
    fn a_signed_request_is_believed_and_any_other_is_not() {
        let key = key();
        let headers = map(sign_request(&key, "POST", "/a/b?c=d", b"body", NOW, "n1"));
        let public = key.public();
        assert_eq!(check(&public, &headers).expect("signed").nonce, "n1");
        let other = |method, path, body: &[u8]| {
            verify_request(&public, method, path, body, &headers, NOW, WINDOW).expect_err("altered")
        };
        assert_eq!(
            other("GET", "/a/b?c=d", b"body"),
            SignatureError::BadSignature
        );
        assert_eq!(
            other("POST", "/a/x?c=d", b"body"),
            SignatureError::BadSignature
        );
        assert_eq!(
            other("POST", "/a/b?c=e", b"body"),
            SignatureError::BadSignature
        );
        assert_eq!(
            other("POST", "/a/b?c=d", b"other"),
            SignatureError::BodyDiffers
        );
        let stranger = Keypair::generate().expect("randomness").public();
        assert_eq!(check(&stranger, &headers), Err(SignatureError::WrongKey));
    }

    #[test]
    fn every_altered_byte_of_the_headers_is_refused() {
        let key = key();
        for (index, (_, value)) in sign_request(&key, "POST", "/a/b?c=d", b"body", NOW, "n1")
            .iter()
            .enumerate()
        {
            for at in 0..value.len() {
                let mut headers = sign_request(&key, "POST", "/a/b?c=d", b"body", NOW, "n1");
                let mut bytes = headers[index].1.clone().into_bytes();
                bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
                headers[index].1 = String::from_utf8(bytes).expect("ascii");
                assert!(
                    check(&key.public(), &map(headers)).is_err(),
                    "header {index}, byte {at}"
                );
            }
        }
    }

    #[test]
    fn a_header_that_is_missing_or_doubled_is_refused() {
        let key = key();
        let whole = map(sign_request(&key, "POST", "/a/b?c=d", b"body", NOW, "n1"));
        for name in [DIGEST, INPUT, SIGNATURE] {
            let mut headers = whole.clone();
            headers.remove(name);
            assert_eq!(check(&key.public(), &headers), Err(SignatureError::Missing));
            let mut headers = whole.clone();
            headers.append(name, whole[name].clone());
            assert_eq!(
                check(&key.public(), &headers),
                Err(SignatureError::Malformed)
            );
        }
    }

    #[test]
    fn old_and_future_messages_are_refused() {
        let key = key();
        let at = |created| {
            let headers = sign_request(&key, "POST", "/a/b?c=d", b"body", created, "n1");
            check(&key.public(), &map(headers))
        };
        assert!(at(NOW.minus(WINDOW)).is_ok());
        let second = Duration::from_secs(1);
        assert_eq!(
            at(NOW.minus(WINDOW).minus(second)),
            Err(SignatureError::TooOld)
        );
        assert_eq!(
            at(NOW.plus(WINDOW).plus(second)),
            Err(SignatureError::FromFuture)
        );
    }

    #[test]
    fn an_answer_belongs_to_its_request() {
        let key = key();
        let request = Verified {
            created: NOW,
            nonce: "n1".into(),
        };
        let headers = map(sign_response(&key, 200, b"yes", &request, NOW));
        let check = |status, body: &[u8], nonce| {
            verify_response(&key.public(), status, body, &headers, nonce, NOW, WINDOW)
        };
        assert_eq!(check(200, b"yes", "n1"), Ok(()));
        assert_eq!(check(200, b"yes", "n2"), Err(SignatureError::OtherRequest));
        assert_eq!(check(403, b"yes", "n1"), Err(SignatureError::BadSignature));
        assert_eq!(check(200, b"no", "n1"), Err(SignatureError::BodyDiffers));
    }

    #[test]
    fn another_implementation_of_the_rfc_agrees() {
        let key = key();
        let oracle = OraclePublicKey::from_bytes(&AlgorithmName::Ed25519, key.public().as_bytes());
        verified_by(&oracle.expect("a key"), &key);
    }

    #[test]
    fn another_implementation_of_the_rfc_agrees_in_a_session_too() {
        let session = session();
        let oracle = SharedKey::from_base64(&AlgorithmName::HmacSha256, &session.key_in_base64());
        verified_by(&oracle.expect("a key"), &session);
    }

    fn verified_by(oracle: &impl VerifyingKey, key: &impl Signs) {
        let headers = sign_request(key, "POST", "/a/b?c=d", b"body", NOW, "n1");
        let parsed =
            HttpSignatureHeaders::try_parse(&headers[2].1, &headers[1].1).expect("RFC 9421");
        let ours = parsed.get("ee").expect("our label");
        let lines = request_lines("POST", "/a/b?c=d", &headers[0].1);
        let components: Vec<_> = lines
            .iter()
            .map(|(name, value)| format!("\"{name}\": {value}"))
            .map(|line| HttpMessageComponent::try_from(line.as_str()).expect("a component"))
            .collect();
        let base =
            HttpSignatureBase::try_new(&components, ours.signature_params()).expect("a base");
        base.verify_signature_headers(oracle, ours)
            .expect("the oracle verifies our signature");
    }

    fn session() -> Session {
        let [ask, answer] = [(); 2].map(|()| SessionOffer::new().expect("randomness"));
        let session = answer.answered(ask.public(), &key().public());
        session.expect("a session")
    }

    #[test]
    fn a_message_of_a_session_is_believed_in_no_other() {
        let (session, other) = (session(), session());
        let headers = map(sign_request(
            &session, "POST", "/a/b?c=d", b"body", NOW, "n1",
        ));
        assert!(is_in_session(&headers));
        let check = |session: &Session, body: &[u8]| {
            verify_request(session, "POST", "/a/b?c=d", body, &headers, NOW, WINDOW)
        };
        assert_eq!(check(&session, b"body").expect("signed").nonce, "n1");
        assert_eq!(check(&session, b"bodi"), Err(SignatureError::BodyDiffers));
        assert_eq!(check(&other, b"body"), Err(SignatureError::WrongKey));
        let own = map(sign_request(&key(), "POST", "/a/b?c=d", b"body", NOW, "n1"));
        assert!(!is_in_session(&own));
        let agent = session.agent();
        assert_eq!(self::check(agent, &headers), Err(SignatureError::WrongKey));
    }

    /// RFC 9421, appendix B.2.6.
    #[test]
    fn the_test_vector_of_the_rfc_holds() {
        let base = "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\"@method\": POST\n\"@path\": /foo\n\
            \"@authority\": example.com\n\"content-type\": application/json\n\
            \"content-length\": 18\n\"@signature-params\": (\"date\" \"@method\" \"@path\" \
            \"@authority\" \"content-type\" \"content-length\");created=1618884473;\
            keyid=\"test-key-ed25519\"";
        let wanted = "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lI\
            p5WPpBKRCw==";
        let signature = STANDARD.decode(wanted).expect("base64");
        let public = "26b40b8f93fff3d897112f7ebc582b232dbd72517d082fe83cfb30ddce43d1bb";
        let public: PublicKey = public.parse().expect("the RFC's public key");
        assert!(public.is_signed(base.as_bytes(), &signature));
        assert!(!public.is_signed(&base.as_bytes()[1..], &signature));
    }
}

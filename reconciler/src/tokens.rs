//! Nonces and bootstrap tokens. Both are made from one seed with HMAC-SHA-256, so that issuing them
//! stores nothing and strangers cannot fill memory; only what was used up is remembered.

use std::time::Duration;

use easyenclave_schemas::evidence::{ItaNonce, ReasonCode, Rejection};
use easyenclave_schemas::{OrderId, Secret, Timestamp};
use ring::hmac;

/// A nonce is good for so long.
pub const NONCE_LIFE: Duration = Duration::from_secs(300);

/// A nonce may come from so much later than now, for a clock that is being set right. One of later was issued while the clock was
/// wrong, and would be good for as long as it was ahead.
const AHEAD: Duration = Duration::from_secs(60);

/// Makes and checks nonces and bootstrap tokens.
#[derive(Debug)]
pub struct Tokens {
    key: hmac::Key,
}

impl Tokens {
    /// From the fleet's seed.
    pub fn new(seed: &Secret<[u8; 32]>) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, seed.reveal()),
        }
    }

    /// A nonce: the time, eight random bytes, and a tag over both. Where a nonce of Intel Trust Authority
    /// goes along the tag covers it too, so that the two come back together or not at all.
    pub fn nonce(&self, now: Timestamp, random: [u8; 8], ita: Option<&ItaNonce>) -> [u8; 32] {
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&now.as_millis().to_be_bytes());
        nonce[8..16].copy_from_slice(&random);
        let tag = self.tag(b"nonce", &nonce_input(&nonce[..16], ita));
        nonce[16..].copy_from_slice(&tag.as_ref()[..16]);
        nonce
    }

    /// Reads a nonce that came back. Whether it was used before is for the store to say.
    ///
    /// # Errors
    /// Missing, not ours, of a time to come, or expired.
    pub fn check_nonce(
        &self,
        text: &str,
        ita: Option<&ItaNonce>,
        now: Timestamp,
    ) -> Result<Nonce, Rejection> {
        if text.is_empty() {
            return Err(ReasonCode::NonceMissing.into());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ReasonCode::NonceUnknown)?;
        self.verify(b"nonce", &nonce_input(&bytes[..16], ita), &bytes[16..])
            .map_err(|()| ReasonCode::NonceUnknown)?;
        let mut millis = [0; 8];
        millis.copy_from_slice(&bytes[..8]);
        let issued = Timestamp::from_millis(i64::from_be_bytes(millis));
        if issued > now.plus(AHEAD) {
            return Err(ReasonCode::NonceUnknown.into());
        }
        let expires = issued.plus(NONCE_LIFE);
        if expires <= now {
            return Err(ReasonCode::NonceExpired.into());
        }
        Ok(Nonce { bytes, expires })
    }

    /// The bootstrap token of a launch order's claim. Another claimer gets another token.
    pub fn bootstrap(&self, order: &OrderId, fence: u64) -> Secret<String> {
        let tag = self.tag(b"bootstrap", bootstrap_input(order, fence).as_bytes());
        Secret::new(hex::encode(tag))
    }

    /// Whether this is the token of that claim; compared in constant time.
    pub fn is_bootstrap(&self, token: &Secret<String>, order: &OrderId, fence: u64) -> bool {
        let Ok(tag) = hex::decode(token.reveal()) else {
            return false;
        };
        let input = bootstrap_input(order, fence);
        hmac::verify(&self.key, &labelled(b"bootstrap", input.as_bytes()), &tag).is_ok()
    }

    fn tag(&self, label: &[u8], input: &[u8]) -> hmac::Tag {
        hmac::sign(&self.key, &labelled(label, input))
    }

    /// The tag in a nonce is cut to 16 bytes, so it is compared here, byte by byte without a shortcut.
    fn verify(&self, label: &[u8], input: &[u8], found: &[u8]) -> Result<(), ()> {
        let tag = self.tag(label, input);
        let differing = tag
            .as_ref()
            .iter()
            .zip(found)
            .fold(0, |sum, (a, b)| sum | (a ^ b));
        if differing == 0 && found.len() == 16 {
            Ok(())
        } else {
            Err(())
        }
    }
}

/// A nonce that we issued and that has not expired.
#[derive(Debug, Clone, Copy)]
pub struct Nonce {
    /// Its bytes, as the quote binds them.
    pub bytes: [u8; 32],
    /// When it expires.
    pub expires: Timestamp,
}

/// Each part's length stands before it, so that no two nonces run into the same bytes.
fn nonce_input(head: &[u8], ita: Option<&ItaNonce>) -> Vec<u8> {
    let mut input = head.to_vec();
    for part in ita
        .iter()
        .flat_map(|ita| [&ita.val, &ita.iat, &ita.signature])
    {
        input.extend_from_slice(&(part.len() as u64).to_be_bytes());
        input.extend_from_slice(part.as_bytes());
    }
    input
}

fn bootstrap_input(order: &OrderId, fence: u64) -> String {
    format!("{order}/{fence}")
}

fn labelled(label: &[u8], input: &[u8]) -> Vec<u8> {
    [label, b":", input].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens::new(&Secret::new([7; 32]))
    }

    fn code(text: &str, now: Timestamp) -> Option<ReasonCode> {
        tokens()
            .check_nonce(text, None, now)
            .err()
            .map(|rejection| rejection.code)
    }

    #[test]
    fn a_nonce_is_ours_or_it_is_refused_with_its_reason() {
        let now = Timestamp::from_millis(1_000_000);
        let text = hex::encode(tokens().nonce(now, [1; 8], None));
        assert_eq!(code(&text, now), None);
        assert_eq!(code("", now), Some(ReasonCode::NonceMissing));
        assert_eq!(code(&"00".repeat(32), now), Some(ReasonCode::NonceUnknown));
        assert_eq!(code("zz", now), Some(ReasonCode::NonceUnknown));
        assert_eq!(
            code(&text, now.plus(NONCE_LIFE)),
            Some(ReasonCode::NonceExpired)
        );
        for index in 0..32 {
            let mut bytes = tokens().nonce(now, [1; 8], None);
            bytes[index] ^= 1;
            assert_eq!(
                code(&hex::encode(bytes), now),
                Some(ReasonCode::NonceUnknown),
                "{index}"
            );
        }
    }

    #[test]
    fn a_nonce_of_a_time_to_come_is_refused() {
        let now = Timestamp::from_millis(1_000_000);
        let issued = |ahead| hex::encode(tokens().nonce(now.plus(ahead), [1; 8], None));
        assert_eq!(code(&issued(AHEAD), now), None);
        let late = issued(AHEAD + Duration::from_millis(1));
        assert_eq!(code(&late, now), Some(ReasonCode::NonceUnknown));
        let day = Duration::from_secs(86_400);
        assert_eq!(code(&issued(day), now), Some(ReasonCode::NonceUnknown));
    }

    #[test]
    fn a_bootstrap_token_is_good_for_one_order_and_one_claim() {
        let order = OrderId::new("tiny-1").expect("a name");
        let other = OrderId::new("tiny-2").expect("a name");
        let token = tokens().bootstrap(&order, 1);
        assert!(tokens().is_bootstrap(&token, &order, 1));
        assert!(!tokens().is_bootstrap(&token, &order, 2));
        assert!(!tokens().is_bootstrap(&token, &other, 1));
        assert!(!tokens().is_bootstrap(&Secret::new("junk".into()), &order, 1));
    }
}

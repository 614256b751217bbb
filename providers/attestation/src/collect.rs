//! Collecting evidence inside a guest. The quote is always bound to the verifier's nonce and the guest's key;
//! nothing here judges it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use easyenclave_schemas::evidence::{Evidence, ItaNonce, QuoteBytes, TooLong};
use ring::digest::{Context, SHA512};

use crate::layout::{LayoutError, QuoteView};

/// Where a guest gets quotes from.
///
/// Guarantees: the quote carries exactly the given 64 bytes as REPORTDATA. Assumptions: the caller may
/// be blocked for the time of one quote, about a second on hardware. Caveats: the bytes may be padded
/// with zeros, and a platform that is not set up may answer with nothing; [`collect`] checks for both.
pub trait QuoteSource: Send + Sync {
    /// Makes one quote over `report_data`.
    ///
    /// # Errors
    /// When the platform cannot make it, with what the platform said.
    fn quote(&self, report_data: [u8; 64]) -> Result<Vec<u8>, CollectError>;
}

/// Why no evidence could be collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The platform did not make a quote.
    #[error("the platform made no quote")]
    Platform(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What the platform made is not a quote.
    #[error("the platform's quote is not usable")]
    Layout(#[from] LayoutError),
    /// What the platform made is longer than any verifier reads.
    #[error("the platform's quote is not usable")]
    Length(#[from] TooLong),
    /// The Trust Authority's nonce cannot be read.
    #[error("the challenge is not usable")]
    Nonce(#[from] NonceError),
    /// The quote carries other bytes than were asked for.
    #[error("the platform's quote is over other report data than was asked for")]
    NotBound,
}

/// The 64 bytes that bind a quote to a verifier's nonce and a guest's key: SHA-512 over the nonce's bytes
/// followed by the raw Ed25519 public key.
pub fn report_data(nonce: &[u8; 32], public_key: &[u8; 32]) -> [u8; 64] {
    let mut context = Context::new(&SHA512);
    context.update(nonce);
    context.update(public_key);
    let mut bytes = [0; 64];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

/// The 64 bytes that bind a quote to a nonce of Intel Trust Authority and a guest's key: SHA-512 over the decoded
/// bytes of `val` and `iat`, exactly as received, followed by the raw Ed25519 public key.
///
/// # Errors
/// When a part of the nonce is not standard base64.
pub fn ita_report_data(nonce: &ItaNonce, public_key: &[u8; 32]) -> Result<[u8; 64], NonceError> {
    let decode = |part: &str| STANDARD.decode(part).map_err(|_| NonceError);
    let mut context = Context::new(&SHA512);
    context.update(&decode(&nonce.val)?);
    context.update(&decode(&nonce.iat)?);
    context.update(public_key);
    let mut bytes = [0; 64];
    bytes.copy_from_slice(context.finish().as_ref());
    Ok(bytes)
}

/// A nonce of Intel Trust Authority that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the Trust Authority's nonce is not base64")]
pub struct NonceError;

/// Evidence for `nonce` and `public_key`, checked to be a quote over them before it is sent anywhere.
///
/// # Errors
/// When the source fails, or gives something that is not a quote over these two.
pub fn collect(
    source: &dyn QuoteSource,
    nonce: &[u8; 32],
    public_key: &[u8; 32],
) -> Result<Evidence, CollectError> {
    collect_over(source, report_data(nonce, public_key))
}

/// Evidence for a nonce of Intel Trust Authority and `public_key`, checked in the same way.
///
/// # Errors
/// When the nonce cannot be read, the source fails, or gives something that is not a quote over these two.
pub fn collect_for_ita(
    source: &dyn QuoteSource,
    nonce: &ItaNonce,
    public_key: &[u8; 32],
) -> Result<Evidence, CollectError> {
    collect_over(source, ita_report_data(nonce, public_key)?)
}

fn collect_over(source: &dyn QuoteSource, expected: [u8; 64]) -> Result<Evidence, CollectError> {
    let quote = QuoteBytes::new(source.quote(expected)?)?;
    if QuoteView::parse(quote.as_bytes())?.report_data() != expected {
        return Err(CollectError::NotBound);
    }
    Ok(Evidence::of_quote(quote))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Canned(Vec<u8>);

    impl QuoteSource for Canned {
        fn quote(&self, _: [u8; 64]) -> Result<Vec<u8>, CollectError> {
            Ok(self.0.clone())
        }
    }

    #[test]
    fn report_data_is_sha_512_of_nonce_and_key_in_this_order() {
        let data = report_data(&[1; 32], &[2; 32]);
        let joined: Vec<u8> = [[1; 32], [2; 32]].concat();
        assert_eq!(
            data.as_slice(),
            ring::digest::digest(&SHA512, &joined).as_ref()
        );
        assert_ne!(data, report_data(&[2; 32], &[1; 32]));
    }

    #[test]
    fn an_empty_or_foreign_quote_is_not_sent() {
        let collected =
            |bytes| collect(&Canned(bytes), &[1; 32], &[2; 32]).expect_err("not usable");
        assert!(matches!(
            collected(vec![]),
            CollectError::Layout(LayoutError::Empty)
        ));
        assert!(matches!(
            collected(vec![0; 8000]),
            CollectError::Layout(LayoutError::Empty)
        ));
        assert!(matches!(
            collected(vec![1; 40_000]),
            CollectError::Length(_)
        ));
        let mut foreign = vec![0; 640];
        foreign[..8].copy_from_slice(&[4, 0, 2, 0, 0x81, 0, 0, 0]);
        assert!(matches!(collected(foreign), CollectError::NotBound));
    }
}

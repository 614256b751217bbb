//! Signing keys (P-256) in the two forms that are needed: for certificates, and for raw `r || s` signatures.

use rcgen::KeyPair;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::SimulatedError;
use super::store::Files;

/// A key that signs the fixed-length signatures of quotes and collateral.
pub(super) struct Signer(EcdsaKeyPair);

impl Signer {
    pub(super) fn read(files: &Files, file: &'static str) -> Result<Self, SimulatedError> {
        Self::of(&pair(files, file)?).map_err(|_| SimulatedError::Damaged { file })
    }

    fn of(pair: &KeyPair) -> Result<Self, SimulatedError> {
        let der = pair.serialized_der();
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &SystemRandom::new())
            .map(Self)
            .map_err(|_| SimulatedError::Crypto)
    }

    /// The 64 bytes `r || s` over `message`.
    pub(super) fn sign(&self, message: &[u8]) -> Result<[u8; 64], SimulatedError> {
        let signature = self.0.sign(&SystemRandom::new(), message)?;
        signature
            .as_ref()
            .try_into()
            .map_err(|_| SimulatedError::Crypto)
    }

    /// The 64 bytes `x || y` of the public key.
    pub(super) fn public_key(&self) -> [u8; 64] {
        let point = self.0.public_key().as_ref();
        point[1..]
            .try_into()
            .expect("an uncompressed P-256 point has 65 bytes")
    }
}

/// The key in `file`, for certificates.
pub(super) fn pair(files: &Files, file: &'static str) -> Result<KeyPair, SimulatedError> {
    KeyPair::from_pem(files.text(file)?).map_err(|_| SimulatedError::Damaged { file })
}

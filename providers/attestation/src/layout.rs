//! Where the parts of a TDX quote lie. Offsets and lengths only: it proves nothing about a quote,
//! and reads no byte that it has not bounded first.

use std::ops::Range;

use easyenclave_schemas::evidence::MeasurementDigest;

const HEADER: usize = 48;
const LENGTH_FIELD: usize = 4;
const TDX: u32 = 0x81;
/// REPORTDATA within the TD 1.0 body, with which every newer body starts.
const REPORT_DATA: Range<usize> = 520..584;
const TD_1_0: usize = 584;
/// Fields of the body, with which every newer body starts too.
const MRSEAM: usize = 16;
const ATTRIBUTES: usize = 120;
const MRTD: usize = 136;
const MRCONFIGID: usize = 184;
/// The first of four runtime registers, which follow each other.
const RTMRS: usize = 328;
const REGISTER: usize = 48;

/// The bytes of a TDX quote (version 4 or 5), without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuoteView<'a> {
    bytes: &'a [u8],
    body: usize,
    signed: usize,
}

/// What a quote says of its guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// The initial image.
    pub mrtd: MeasurementDigest,
    /// The TDX module.
    pub mrseam: MeasurementDigest,
    /// What the launcher said the machine is for.
    pub mrconfigid: MeasurementDigest,
    /// The runtime registers 0 to 3.
    pub rtmrs: [MeasurementDigest; 4],
    /// TDATTRIBUTES.
    pub attributes: u64,
}

/// Bytes that are not laid out as a TDX quote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Nothing, or nothing but zeros.
    #[error("quote: empty, so the platform's quote service is not set up")]
    Empty,
    /// Shorter than its own fields say.
    #[error("quote: expected at least {expected} bytes, found {found}")]
    Short {
        /// Bytes needed.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// Not a version that carries TDX reports.
    #[error("quote: expected version 4 or 5, found {0}; quotes in CBOR are not supported")]
    Version(u16),
    /// A quote of another technology.
    #[error("quote: expected TEE type 0x81 (TDX), found {0:#x}")]
    TeeType(u32),
    /// A version 5 body that is not a TD report.
    #[error("quote: expected a TD report as body, found type {kind} of {size} bytes")]
    Body {
        /// The body's type number.
        kind: u16,
        /// The body's size in bytes.
        size: u32,
    },
}

impl<'a> QuoteView<'a> {
    /// Finds the parts of a quote and leaves out the padding behind it.
    ///
    /// # Errors
    /// When the bytes are not laid out as a TDX quote of version 4 or 5.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, LayoutError> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(LayoutError::Empty);
        }
        let version = u16::from_le_bytes(field(bytes, 0)?);
        if !matches!(version, 4 | 5) {
            return Err(LayoutError::Version(version));
        }
        let tee_type = u32::from_le_bytes(field(bytes, 4)?);
        if tee_type != TDX {
            return Err(LayoutError::TeeType(tee_type));
        }
        let (body, size) = if version == 4 {
            (HEADER, TD_1_0)
        } else {
            body_of_version_5(bytes)?
        };
        let signed = body + size;
        let rest = u32::from_le_bytes(field(bytes, signed)?);
        let end = usize::try_from(rest)
            .ok()
            .and_then(|rest| rest.checked_add(signed + LENGTH_FIELD));
        let end = end.unwrap_or(usize::MAX);
        let found = bytes.len();
        let bytes = bytes.get(..end).ok_or(LayoutError::Short {
            expected: end,
            found,
        })?;
        Ok(Self {
            bytes,
            body,
            signed,
        })
    }

    /// The quote without padding.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The part that the quote's signature covers.
    pub fn signed(&self) -> &'a [u8] {
        &self.bytes[..self.signed]
    }

    /// The 64 bytes that the guest chose.
    pub fn report_data(&self) -> &'a [u8] {
        &self.bytes[self.body + REPORT_DATA.start..self.body + REPORT_DATA.end]
    }

    /// The version of the quote, 4 or 5.
    pub fn version(&self) -> u16 {
        u16::from_le_bytes([self.bytes[0], self.bytes[1]])
    }

    /// The kind of guest that it is of, in words.
    pub fn kind(&self) -> &'static str {
        match self.signed - self.body {
            TD_1_0 => "a guest of TDX 1.0",
            _ => "a guest of TDX 1.5",
        }
    }

    /// What the quote says of its guest. It proves nothing before a signature over it was checked.
    pub fn measured(&self) -> Measured {
        let attributes = self.body + ATTRIBUTES;
        let attributes = &self.bytes[attributes..attributes + 8];
        Measured {
            mrtd: self.register(MRTD),
            mrseam: self.register(MRSEAM),
            mrconfigid: self.register(MRCONFIGID),
            rtmrs: std::array::from_fn(|index| self.rtmr(index)),
            attributes: attributes
                .iter()
                .rev()
                .fold(0, |bits, byte| bits << 8 | u64::from(*byte)),
        }
    }

    fn register(&self, at: usize) -> MeasurementDigest {
        let start = self.body + at;
        let mut bytes = [0; REGISTER];
        bytes.copy_from_slice(&self.bytes[start..start + REGISTER]);
        MeasurementDigest::new(bytes)
    }

    /// What a runtime register held, as the quote says it. There are four.
    pub(crate) fn rtmr(&self, index: usize) -> MeasurementDigest {
        self.register(RTMRS + index.min(3) * REGISTER)
    }
}

fn body_of_version_5(bytes: &[u8]) -> Result<(usize, usize), LayoutError> {
    let kind = u16::from_le_bytes(field(bytes, HEADER)?);
    let size = u32::from_le_bytes(field(bytes, HEADER + 2)?);
    let known = matches!((kind, size), (2, 584) | (3, 648) | (4, 885));
    match usize::try_from(size) {
        Ok(len) if known => Ok((HEADER + 6, len)),
        _ => Err(LayoutError::Body { kind, size }),
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], LayoutError> {
    bytes
        .get(at..at + N)
        .and_then(|slice| slice.try_into().ok())
        .ok_or(LayoutError::Short {
            expected: at + N,
            found: bytes.len(),
        })
}

#[cfg(test)]
mod tests {
    use super::{LayoutError, QuoteView};

    /// Bytes with the head of a quote, `signed` bytes before the length field and `rest` behind it.
    fn quote(head: &[u8], signed: usize, rest: usize) -> Vec<u8> {
        let mut bytes = vec![0xAA; signed + 4 + rest];
        bytes[..head.len()].copy_from_slice(head);
        bytes[signed..signed + 4]
            .copy_from_slice(&u32::try_from(rest).expect("small").to_le_bytes());
        bytes
    }

    const V4: [u8; 8] = [4, 0, 2, 0, 0x81, 0, 0, 0];

    #[test]
    fn every_body_puts_report_data_in_its_own_place() {
        for (kind, size) in [(2_u16, 584_u32), (3, 648), (4, 885)] {
            let mut head = [0; 54];
            head[..8].copy_from_slice(&[5, 0, 2, 0, 0x81, 0, 0, 0]);
            head[48..50].copy_from_slice(&kind.to_le_bytes());
            head[50..].copy_from_slice(&size.to_le_bytes());
            let signed = 54 + usize::try_from(size).expect("small");
            let mut bytes = quote(&head, signed, 100);
            bytes[54 + 520..54 + 584].fill(0x55);
            bytes[54 + 472..54 + 520].fill(0x33);
            let view = QuoteView::parse(&bytes).expect("a quote");
            assert_eq!(view.rtmr(3).as_bytes(), &[0x33; 48]);
            assert_eq!(view.report_data(), [0x55; 64]);
            assert_eq!(view.signed().len(), signed);
        }
        let mut bytes = quote(&V4, 632, 100);
        bytes[568..632].fill(0x55);
        assert_eq!(
            QuoteView::parse(&bytes).expect("a quote").report_data(),
            [0x55; 64]
        );
    }

    #[test]
    fn padding_is_left_out_and_missing_bytes_are_an_error() {
        let bytes = quote(&V4, 632, 100);
        let mut padded = bytes.clone();
        padded.resize(8000, 0);
        assert_eq!(QuoteView::parse(&padded).expect("padded").bytes(), bytes);
        for len in 1..bytes.len() {
            let error = QuoteView::parse(&bytes[..len]).expect_err("truncated");
            assert!(matches!(error, LayoutError::Short { .. }), "{len}: {error}");
        }
    }

    #[test]
    fn what_is_not_a_tdx_quote_is_named() {
        assert_eq!(QuoteView::parse(&[]), Err(LayoutError::Empty));
        assert_eq!(QuoteView::parse(&[0; 5000]), Err(LayoutError::Empty));
        let wrong = |bytes: &[u8]| QuoteView::parse(bytes).expect_err("not a TDX quote");
        assert_eq!(wrong(&[0xD9; 9000]), LayoutError::Version(0xD9D9));
        assert_eq!(
            wrong(&quote(&[3, 0, 2, 0, 0], 432, 100)),
            LayoutError::Version(3)
        );
        assert_eq!(
            wrong(&quote(&[4, 0, 2, 0, 0, 0, 0, 0], 632, 100)),
            LayoutError::TeeType(0)
        );
        let mut head = [0; 54];
        head[..8].copy_from_slice(&[5, 0, 2, 0, 0x81, 0, 0, 0]);
        head[48..].copy_from_slice(&[1, 0, 0x80, 1, 0, 0]);
        assert_eq!(
            wrong(&quote(&head, 438, 100)),
            LayoutError::Body { kind: 1, size: 384 }
        );
        let mut lying = quote(&V4, 632, 100);
        lying[632..636].fill(0xFF);
        assert!(matches!(wrong(&lying), LayoutError::Short { .. }));
    }
}

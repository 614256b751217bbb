//! The confidential-computing event log (ACPI table CCEL): what was measured into which register, in order.
//! Untrusted until its replay equals the registers of a verified quote. Every length in it is bounded first.

use easyenclave_schemas::Digest;
use easyenclave_schemas::evidence::MeasurementDigest;
use ring::digest::{SHA384, digest};

const NO_ACTION: u32 = 3;
/// What boot loaders, and we, measure: text.
const EV_IPL: u32 = 0x0D;
const SHA_384: u16 = 0x000C;
/// An index of all ones ends the log.
const END: u32 = u32::MAX;
/// More events or algorithms than any machine has.
const MOST_EVENTS: usize = 10_000;
const MOST_DIGESTS: u32 = 16;

/// A log, without its unused tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLog {
    events: Vec<Event>,
    digest: Digest,
    used: usize,
}

/// Something that was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The register that it extended; none for the initial image's own.
    pub rtmr: Option<usize>,
    /// The TCG's number for the kind of event.
    pub kind: u32,
    /// SHA-384 of what was measured.
    pub digest: MeasurementDigest,
    /// What the firmware says that it was. Not measured itself in general.
    pub data: Vec<u8>,
}

/// Bytes that are not an event log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event log: {what} at byte {at}")]
pub struct EventLogError {
    what: &'static str,
    at: usize,
}

impl Event {
    /// What it was, in words: its kind, and its data where that is text.
    pub fn words(&self) -> String {
        let kind = match self.kind {
            0x0000_0001 => "firmware code",
            0x0000_0004 => "separator",
            0x0000_0005 => "action",
            0x0000_0006 => "tag",
            0x0000_000A => "platform configuration",
            0x0000_000D => "text",
            0x8000_0001 => "firmware variable",
            0x8000_0002 => "boot variable",
            0x8000_0003 => "boot program",
            0x8000_0006 => "partition table",
            0x8000_0007 => "firmware action",
            0x8000_0008 => "firmware volume",
            0x8000_000A => "hand-off tables",
            0x8000_00E0 => "secure boot authority",
            _ => "event",
        };
        let text = String::from_utf8_lossy(&self.data);
        let text = text.trim_end_matches('\0');
        let plain = |letter: char| !letter.is_control() && letter != char::REPLACEMENT_CHARACTER;
        if text.is_empty() || !text.chars().all(plain) {
            return format!("{kind} ({} bytes)", self.data.len());
        }
        let short: String = text.chars().take(120).collect();
        format!("{kind}: {short}")
    }
}

impl EventLog {
    /// Reads a log up to its end mark or the end of the bytes.
    ///
    /// # Errors
    /// When a record is cut off, a length lies, or there is no first record.
    pub fn parse(bytes: &[u8]) -> Result<Self, EventLogError> {
        let mut reader = Reader { bytes, at: 0 };
        first_record(&mut reader)?;
        let mut events = Vec::new();
        while reader.at < bytes.len() && reader.peek_u32() != Some(END) {
            if events.len() == MOST_EVENTS {
                return Err(reader.error("too many events"));
            }
            events.extend(record(&mut reader)?);
        }
        Ok(Self {
            events,
            digest: Digest::of(&bytes[..reader.at]),
            used: reader.at,
        })
    }

    /// The digest of the log without its unused tail.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The number of bytes before the unused tail.
    pub fn used(&self) -> usize {
        self.used
    }

    /// What was measured, in order.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }

    /// What the registers hold after all of it.
    pub fn replay(&self) -> [MeasurementDigest; 4] {
        let mut registers = [MeasurementDigest::new([0; 48]); 4];
        for event in &self.events {
            if let Some(register) = event.rtmr.and_then(|index| registers.get_mut(index)) {
                *register = extended(register, event.digest.as_bytes());
            }
        }
        registers
    }
}

/// What a register holds after it was extended.
pub(crate) fn extended(register: &MeasurementDigest, by: &[u8; 48]) -> MeasurementDigest {
    let joined = [*register.as_bytes(), *by].concat();
    let mut bytes = [0; 48];
    bytes.copy_from_slice(digest(&SHA384, &joined).as_ref());
    MeasurementDigest::new(bytes)
}

/// A record of text that was measured into a runtime register, as it stands in a log.
pub(crate) fn text_record(rtmr: usize, digest: &[u8; 48], text: &str) -> Vec<u8> {
    // Register 0 is the log's number 1. A text's kind is EV_IPL.
    let index = u32::try_from(rtmr + 1).unwrap_or(END);
    let mut record = Vec::new();
    for number in [index, EV_IPL, 1] {
        record.extend(number.to_le_bytes());
    }
    record.extend(SHA_384.to_le_bytes());
    record.extend(digest);
    record.extend(u32::try_from(text.len()).unwrap_or(0).to_le_bytes());
    record.extend(text.as_bytes());
    record
}

/// The record with which a log opens.
#[cfg(feature = "testing")]
pub(crate) fn opening() -> Vec<u8> {
    let mut record = Vec::new();
    for number in [1, NO_ACTION] {
        record.extend(u32::to_le_bytes(number));
    }
    record.extend([0; 20]);
    let data = b"Spec ID Event03\0";
    record.extend(u32::try_from(data.len()).unwrap_or(0).to_le_bytes());
    record.extend(data);
    record
}

/// The log opens with a record of the old form, which extends nothing.
fn first_record(reader: &mut Reader<'_>) -> Result<(), EventLogError> {
    reader.u32()?;
    if reader.u32()? != NO_ACTION {
        return Err(reader.error("expected the opening record"));
    }
    reader.take(20)?;
    let size = reader.u32()?;
    reader.take(size as usize)?;
    Ok(())
}

/// One record; none where it extends nothing.
fn record(reader: &mut Reader<'_>) -> Result<Option<Event>, EventLogError> {
    let index = reader.u32()?;
    let kind = reader.u32()?;
    let measured = digests(reader)?;
    let size = reader.u32()?;
    let data = reader.take(size as usize)?;
    if kind == NO_ACTION {
        return Ok(None);
    }
    let digest = measured.ok_or_else(|| reader.error("an event without a SHA-384 digest"))?;
    let rtmr = match index {
        0 => None,
        1..=4 => Some(index as usize - 1),
        _ => return Err(reader.error("an event of a register that does not exist")),
    };
    Ok(Some(Event {
        rtmr,
        kind,
        digest,
        data: data.to_vec(),
    }))
}

fn digests(reader: &mut Reader<'_>) -> Result<Option<MeasurementDigest>, EventLogError> {
    let count = reader.u32()?;
    if count > MOST_DIGESTS {
        return Err(reader.error("too many digests in one event"));
    }
    let mut found = None;
    for _ in 0..count {
        let algorithm = reader.u16()?;
        let length = match algorithm {
            0x0004 => 20,
            0x000B => 32,
            SHA_384 => 48,
            0x000D => 64,
            0x0012 => 32,
            _ => return Err(reader.error("a digest of an unknown algorithm")),
        };
        let bytes = reader.take(length)?;
        if algorithm == SHA_384 {
            let mut digest = [0; 48];
            digest.copy_from_slice(bytes);
            found = Some(MeasurementDigest::new(digest));
        }
    }
    Ok(found)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], EventLogError> {
        let end = self.at.checked_add(length);
        let bytes = end.and_then(|end| self.bytes.get(self.at..end));
        let bytes = bytes.ok_or_else(|| self.error("cut off"))?;
        self.at += length;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, EventLogError> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.take(4)?);
        Ok(u32::from_le_bytes(bytes))
    }

    fn u16(&mut self) -> Result<u16, EventLogError> {
        let mut bytes = [0; 2];
        bytes.copy_from_slice(self.take(2)?);
        Ok(u16::from_le_bytes(bytes))
    }

    fn peek_u32(&self) -> Option<u32> {
        let bytes = self.bytes.get(self.at..self.at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    fn error(&self, what: &'static str) -> EventLogError {
        EventLogError { what, at: self.at }
    }
}

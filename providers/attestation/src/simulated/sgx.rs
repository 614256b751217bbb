//! The extension by which a quoting key's certificate names its platform: type, security versions, flags.
//! The values are fixed: a simulated platform has no machine of its own to describe.

use dcap_qvl::oids::SGX_EXTENSION;
use easyenclave_schemas::evidence::PlatformProperties;

/// The type of every simulated platform: "SIM" and a number.
pub(super) const FMSPC: [u8; 6] = [0x53, 0x49, 0x4d, 0, 0, 1];
/// Every SGX component's security version.
pub(super) const COMPONENT_SVN: u8 = 2;
/// The security version of the certifying enclave.
pub(super) const PCE_SVN: u8 = 11;

const INTEGER: u8 = 0x02;
const BOOLEAN: u8 = 0x01;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const SEQUENCE: u8 = 0x30;

/// The components of the extension's name, for the certificate.
pub(super) const NAME: [u64; 7] = [1, 2, 840, 113_741, 1, 13, 1];

/// The DER of the extension. `identity` stands in for the two identifiers that are unique to a machine.
pub(super) fn extension(identity: [u8; 16], properties: PlatformProperties) -> Vec<u8> {
    let svns = (1..=16).map(|n| entry(&[2, n], tlv(INTEGER, &[COMPONENT_SVN])));
    let versions = [
        entry(&[2, 17], tlv(INTEGER, &[PCE_SVN])),
        entry(&[2, 18], tlv(OCTETS, &[COMPONENT_SVN; 16])),
    ];
    let flags = [
        (1, properties.dynamic_platform),
        (2, properties.cached_keys),
        (3, properties.smt),
    ]
    .map(|(n, has)| entry(&[7, n], tlv(BOOLEAN, &[if has { 0xff } else { 0 }])));
    sequence([
        entry(&[1], tlv(OCTETS, &identity)),
        entry(&[2], sequence(svns.chain(versions))),
        entry(&[3], tlv(OCTETS, &[0, 0])),
        entry(&[4], tlv(OCTETS, &FMSPC)),
        entry(&[5], tlv(ENUMERATED, &[0])),
        entry(&[6], tlv(OCTETS, &identity)),
        entry(&[7], sequence(flags)),
    ])
}

fn entry(suffix: &[u8], value: Vec<u8>) -> Vec<u8> {
    let oid = [SGX_EXTENSION.as_bytes(), suffix].concat();
    sequence([tlv(OID, &oid), value])
}

fn sequence(items: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    tlv(SEQUENCE, &items.into_iter().flatten().collect::<Vec<u8>>())
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len())
        .expect("the extension is a few hundred bytes")
        .to_be_bytes();
    let head: &[u8] = match length {
        [0, short @ 0..=0x7f] => &[tag, short],
        [0, byte] => &[tag, 0x81, byte],
        [high, low] => &[tag, 0x82, high, low],
    };
    [head, content].concat()
}

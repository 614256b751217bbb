//! The measurement of a policy that a guest comes nearest to.

use easyenclave_attestation::{Measured, Reference};

use super::shown::Nearest;

/// The measurement with the fewest registers of another value.
pub(super) fn nearest(measured: &Measured, references: &[Reference]) -> Option<Nearest> {
    let all = references.iter().map(|reference| {
        let fixed = [
            ("MRTD".to_owned(), Some(reference.mrtd), measured.mrtd),
            ("MRSEAM".to_owned(), reference.mrseam, measured.mrseam),
            (
                "MRCONFIGID".to_owned(),
                reference.mrconfigid,
                measured.mrconfigid,
            ),
        ];
        let registers = reference.rtmrs.iter().zip(measured.rtmrs).enumerate();
        let registers =
            registers.map(|(index, (there, here))| (format!("RTMR{index}"), *there, here));
        let differs = fixed.into_iter().chain(registers);
        let differs = differs.filter_map(|(name, there, here)| {
            let there = there.filter(|there| *there != here)?;
            Some((name, there, here))
        });
        Nearest {
            name: reference.name.clone(),
            differs: differs.collect(),
        }
    });
    all.min_by_key(|nearest| nearest.differs.len())
}

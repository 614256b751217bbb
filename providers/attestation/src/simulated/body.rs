//! What a simulated guest looks like in its quotes. Defaults follow from a label alone, so that a policy
//! can name the measurements before any guest exists.

use easyenclave_schemas::evidence::MeasurementDigest;
use ring::digest::{SHA384, digest};

/// The measured parts of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TdBody {
    /// The measurement of the initial image.
    pub mrtd: MeasurementDigest,
    /// The runtime measurement registers 0 to 3.
    pub rtmrs: [MeasurementDigest; 4],
    /// What the launcher says the guest is for.
    pub mrconfigid: MeasurementDigest,
    /// The measurement of the TDX module.
    pub mrseam: MeasurementDigest,
    /// How the guest was launched.
    pub attributes: TdAttributes,
    /// Security versions of the TDX module and its surroundings: the first is the module's own, the
    /// second selects the module's identity.
    pub tee_tcb_svn: [u8; 16],
    /// What a guest of TDX 1.5 says of the present as well; a guest of TDX 1.0 does not.
    pub current: Option<Current>,
}

/// What holds now, when a guest of TDX 1.5 was launched before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    /// The security versions of now.
    pub tee_tcb_svn: [u8; 16],
    /// The service guest that is bound to this one; zeros for none.
    pub service_guest: MeasurementDigest,
}

/// Attribute bits of a guest (TDATTRIBUTES).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TdAttributes(pub u64);

impl TdAttributes {
    /// What every guest should have: SEPT_VE_DISABLE and nothing else.
    pub const DEFAULT: Self = Self(1 << 28);
    /// The guest can be debugged.
    pub const DEBUG: u64 = 1;
    /// The guest is profiled.
    pub const PROFILING: u64 = 1 << 4;
    /// The guest can be migrated.
    pub const MIGRATABLE: u64 = 1 << 29;

    /// These attributes with `bits` set as well.
    pub fn with(self, bits: u64) -> Self {
        Self(self.0 | bits)
    }
}

/// The security version of the simulated TDX module that is up to date.
pub(super) const MODULE_SVN: u8 = 5;
/// One that is out of date.
pub(super) const OLD_MODULE_SVN: u8 = 2;

impl TdBody {
    /// A guest that boots the simulated image `label`, which is usually a node size.
    pub fn of_image(label: &str) -> Self {
        let measured = |what: &str| measurement(&format!("easyenclave simulated {what} {label}"));
        let mut tee_tcb_svn = [0; 16];
        tee_tcb_svn[..2].copy_from_slice(&[MODULE_SVN, 1]);
        Self {
            mrtd: measured("image"),
            rtmrs: ["firmware settings", "kernel", "command line", "workload"].map(measured),
            mrconfigid: MeasurementDigest::new([0; 48]),
            mrseam: measurement("easyenclave simulated TDX module"),
            attributes: TdAttributes::DEFAULT,
            tee_tcb_svn,
            current: None,
        }
    }

    /// The same guest as TDX 1.5 describes it, on the module that runs now.
    pub fn of_tdx_1_5(mut self) -> Self {
        self.current = Some(Current {
            tee_tcb_svn: self.tee_tcb_svn,
            service_guest: MeasurementDigest::new([0; 48]),
        });
        self
    }

    /// The same guest, launched under a TDX module that was out of date and has been updated since: launching it
    /// again is advised.
    pub fn launched_before_an_update(self) -> Self {
        self.of_tdx_1_5().on_old_module()
    }

    /// The same guest under a TDX module that is out of date.
    pub fn on_old_module(mut self) -> Self {
        self.tee_tcb_svn[0] = OLD_MODULE_SVN;
        self
    }
}

fn measurement(text: &str) -> MeasurementDigest {
    let mut bytes = [0; 48];
    bytes.copy_from_slice(digest(&SHA384, text.as_bytes()).as_ref());
    MeasurementDigest::new(bytes)
}

#[cfg(test)]
mod tests {
    use super::TdBody;

    #[test]
    fn a_label_gives_the_same_measurements_every_time_and_others_for_another() {
        let small = TdBody::of_image("small");
        assert_eq!(small, TdBody::of_image("small"));
        assert_ne!(small.mrtd, TdBody::of_image("large").mrtd);
        let expected =
            ring::digest::digest(&ring::digest::SHA384, b"easyenclave simulated image small");
        assert_eq!(small.mrtd.as_bytes(), expected.as_ref());
    }
}

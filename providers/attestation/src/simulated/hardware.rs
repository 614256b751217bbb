//! The refusal to simulate where real hardware could attest: a simulated answer there would hide the real one.

use std::path::Path;

use super::SimulatedError;

/// The devices through which a guest of real TEE hardware attests.
pub const TEE_DEVICES: [&str; 3] = ["/dev/tdx_guest", "/dev/tdx-guest", "/dev/sev-guest"];

/// Refuses where one of [`TEE_DEVICES`] exists. Opening a simulated platform always asks this first.
///
/// # Errors
/// Names the device that was found.
pub fn refuse_on_real_hardware() -> Result<(), SimulatedError> {
    refuse_beside(TEE_DEVICES)
}

/// Refuses where one of `devices` exists, or where that cannot be told.
///
/// # Errors
/// Names the device that was found.
pub fn refuse_beside(
    devices: impl IntoIterator<Item = impl AsRef<Path>>,
) -> Result<(), SimulatedError> {
    for device in devices {
        let device = device.as_ref();
        if device.try_exists().unwrap_or(true) {
            return Err(SimulatedError::RealHardware {
                device: device.to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_device_stops_the_simulation() {
        let dir = tempfile::tempdir().expect("a directory");
        let absent = dir.path().join("sev-guest");
        let present = dir.path().join("tdx_guest");
        assert!(refuse_beside([&absent, &present]).is_ok());
        std::fs::write(&present, b"").expect("writes");
        let error = refuse_beside([&absent, &present]).expect_err("refused");
        assert!(
            error
                .to_string()
                .starts_with(&present.display().to_string()),
            "{error}"
        );
    }
}

//! The refusal to simulate where real hardware could attest: a simulated answer there would hide the real one.

use super::SimulatedError;
use crate::machine::Machine;
use crate::tsm::provider;

/// Refuses on a machine of real TEE hardware. Opening a simulated platform always asks this first.
///
/// # Errors
/// Names what was found.
pub fn refuse_on_real_hardware() -> Result<(), SimulatedError> {
    refuse_beside(&Machine::this())
}

/// Refuses where this machine has a TEE device or makes quotes through configfs-tsm, or where that cannot be told.
/// Whoever may not ask configfs-tsm goes by the devices, which everybody sees.
///
/// # Errors
/// Names what was found.
pub fn refuse_beside(machine: &Machine) -> Result<(), SimulatedError> {
    for device in machine.devices() {
        if device.try_exists().unwrap_or(true) {
            return Err(SimulatedError::RealHardware { device });
        }
    }
    match provider(machine) {
        Ok(None) => Ok(()),
        Ok(Some(name)) => Err(SimulatedError::RealProvider { name }),
        Err(source) => Err(SimulatedError::Untold { source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_device_stops_the_simulation() {
        let folder = tempfile::tempdir().expect("a folder");
        let machine = Machine::at(folder.path());
        assert!(refuse_beside(&machine).is_ok());
        let device = folder.path().join("dev/tdx_guest");
        std::fs::create_dir_all(folder.path().join("dev")).expect("a folder");
        std::fs::write(&device, b"").expect("writes");
        let error = refuse_beside(&machine).expect_err("refused").to_string();
        assert!(
            error.starts_with(&device.display().to_string()) && error.contains("platform tdx"),
            "{error}"
        );
    }
}

//! What units there are: folders and labelled processes together. It only looks.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use easyenclave_processes::{Process, labels, list};
use easyenclave_schemas::OrderId;

/// The file of a unit that names the claim under which it was made.
pub(super) const CLAIM: &str = "claim";

#[derive(Default)]
pub(super) struct Seen {
    pub(super) alive: bool,
    /// The claim that its folder names, as far as it can be read.
    pub(super) fence: Option<u64>,
}

/// Folders and processes together: either is a unit.
pub(super) fn look(units: &Path, mark: &str) -> io::Result<BTreeMap<OrderId, Seen>> {
    let mut seen = BTreeMap::new();
    for entry in fs::read_dir(units)? {
        let entry = entry?;
        let name = entry.file_name();
        let order = name.to_str().and_then(|name| OrderId::new(name).ok());
        let folder = || Seen {
            alive: false,
            fence: claim(&entry.path()).ok().flatten(),
        };
        seen.extend(order.map(|order| (order, folder())));
    }
    for process in list()? {
        let order = owner(&process, mark).and_then(|order| OrderId::new(order).ok());
        let Some(order) = order else { continue };
        let unit: &mut Seen = seen.entry(order).or_default();
        unit.alive |= is_agent(&process);
    }
    Ok(seen)
}

/// The claim under which a unit was made; none where nothing is written, or no number.
pub(super) fn claim(folder: &Path) -> io::Result<Option<u64>> {
    match fs::read(folder.join(CLAIM)) {
        Ok(text) => Ok(str::from_utf8(&text)
            .ok()
            .and_then(|text| text.parse().ok())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The order that a process belongs to, if it is one of this provider's.
pub(super) fn owner<'a>(process: &'a Process, mark: &str) -> Option<&'a str> {
    process
        .label(labels::FLEET)
        .filter(|fleet| fleet.ends_with(mark))?;
    process.label(labels::ORDER)
}

pub(super) fn is_agent(process: &Process) -> bool {
    process.label(labels::ROLE) == Some(labels::AGENT)
}

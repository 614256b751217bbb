//! Collateral by platform, in memory and in a folder: one file for each, written whole or not at all. A file that does
//! not hold collateral under the trusted root is as if it were not there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use easyenclave_schemas::Timestamp;
use serde::{Deserialize, Serialize};

use super::slot::{Kept, Slot};
use crate::collateral::{Collateral, PckCa, PlatformFacts};
use crate::verify::{TrustRoot, standing};

/// The most platforms; Intel lists some dozens.
const PLATFORMS: usize = 64;

/// The longest file, in bytes: bytes are written as hexadecimal.
const LONGEST: u64 = 3 * Collateral::MAX as u64;

/// What is known of platforms.
pub(super) struct Shelf {
    folder: PathBuf,
    root: TrustRoot,
    slots: Mutex<BTreeMap<PlatformFacts, Arc<Slot>>>,
}

/// A file. What is in it is checked like an answer.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sheet {
    fetched: Timestamp,
    collateral: Collateral,
}

impl Shelf {
    /// What the folder holds; it is made if it is not there.
    pub(super) fn open(folder: &Path, root: TrustRoot) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut slots = BTreeMap::new();
        for entry in fs::read_dir(folder)?.take(4 * PLATFORMS) {
            let path = entry?.path();
            let Some(platform) = platform(&path) else {
                continue;
            };
            match load(&path, &root, platform) {
                Some(kept) if slots.len() < PLATFORMS => {
                    let used = kept.fetched;
                    let slot = Slot::new(platform, Some(kept), used);
                    slots.insert(platform, Arc::new(slot));
                }
                // Nothing is lost with it that cannot be fetched again.
                _ => drop(fs::remove_file(&path)),
            }
        }
        Ok(Self {
            folder: folder.into(),
            root,
            slots: Mutex::new(slots),
        })
    }

    /// The slot of a platform. When there are too many, the one that was longest not asked for makes room, and one
    /// that holds nothing first.
    pub(super) fn slot(&self, platform: &PlatformFacts, now: Timestamp) -> Arc<Slot> {
        let mut slots = self.slots();
        if let Some(slot) = slots.get(platform) {
            return Arc::clone(slot);
        }
        if slots.len() >= PLATFORMS {
            let oldest = slots
                .values()
                .min_by_key(|slot| (!slot.is_empty(), slot.used()));
            if let Some(platform) = oldest.map(|slot| slot.platform) {
                self.forget(&mut slots, &platform);
            }
        }
        let slot = Arc::new(Slot::new(*platform, None, now));
        slots.insert(*platform, Arc::clone(&slot));
        slot
    }

    /// All slots, without those that nobody asks for any more.
    pub(super) fn in_use(&self, now: Timestamp) -> Vec<Arc<Slot>> {
        let mut slots = self.slots();
        let unused = slots.values().filter(|slot| slot.is_unused(now));
        let unused: Vec<_> = unused.map(|slot| slot.platform).collect();
        for platform in unused {
            self.forget(&mut slots, &platform);
        }
        slots.values().cloned().collect()
    }

    /// Writes what is kept of a platform.
    pub(super) fn write(&self, platform: &PlatformFacts, kept: &Kept) -> io::Result<()> {
        let sheet = Sheet {
            fetched: kept.fetched,
            collateral: kept.collateral.clone(),
        };
        let bytes = serde_json::to_vec(&sheet).expect("collateral is plain data");
        let path = self.path(platform);
        let aside = path.with_extension("new");
        let mut file = File::create(&aside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&aside, &path)
    }

    fn path(&self, platform: &PlatformFacts) -> PathBuf {
        let PlatformFacts { fmspc, ca } = platform;
        self.folder.join(format!("{fmspc}-{ca}.json"))
    }

    fn forget(&self, slots: &mut BTreeMap<PlatformFacts, Arc<Slot>>, platform: &PlatformFacts) {
        slots.remove(platform);
        // A file that stays is read at the next start and forgotten again.
        let _ = fs::remove_file(self.path(platform));
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<PlatformFacts, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn root(&self) -> &TrustRoot {
        &self.root
    }
}

fn load(path: &Path, root: &TrustRoot, platform: PlatformFacts) -> Option<Kept> {
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(LONGEST)
        .read_to_end(&mut bytes)
        .ok()?;
    let sheet: Sheet = serde_json::from_slice(&bytes).ok()?;
    Some(Kept {
        standing: standing(root, platform.fmspc, &sheet.collateral).ok()?,
        collateral: sheet.collateral,
        fetched: sheet.fetched,
        chance: 0,
    })
}

/// The platform that a file is about; none when it is no file of ours.
fn platform(path: &Path) -> Option<PlatformFacts> {
    let name = path.file_name()?.to_str()?.strip_suffix(".json")?;
    let (fmspc, ca) = name.split_once('-')?;
    let ca = match ca {
        "platform" => PckCa::Platform,
        "processor" => PckCa::Processor,
        _ => return None,
    };
    Some(PlatformFacts {
        fmspc: fmspc.parse().ok()?,
        ca,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use dcap_qvl::QuoteCollateralV3;

    use super::*;

    pub(in crate::pcs) fn platform() -> PlatformFacts {
        PlatformFacts {
            fmspc: "90c06f000000".parse().expect("12 digits"),
            ca: PckCa::Platform,
        }
    }

    pub(in crate::pcs) fn nothing() -> Collateral {
        Collateral::new(QuoteCollateralV3 {
            pck_crl_issuer_chain: String::new(),
            root_ca_crl: Vec::new(),
            pck_crl: Vec::new(),
            tcb_info_issuer_chain: String::new(),
            tcb_info: String::new(),
            tcb_info_signature: Vec::new(),
            qe_identity_issuer_chain: String::new(),
            qe_identity: String::new(),
            qe_identity_signature: Vec::new(),
            pck_certificate_chain: None,
        })
    }

    #[test]
    fn strangers_make_no_room_for_themselves_without_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let shelf = Shelf::open(folder.path(), TrustRoot::Intel).expect("opened");
        for number in 0..1000_i64 {
            let fmspc = format!("{number:012x}").parse().expect("12 digits");
            let of = PlatformFacts {
                fmspc,
                ca: PckCa::Processor,
            };
            shelf.slot(&of, Timestamp::from_millis(number));
        }
        let slots = shelf.in_use(Timestamp::from_millis(1000));
        assert_eq!(slots.len(), PLATFORMS);
        let oldest = slots.iter().map(|slot| slot.used()).min();
        assert_eq!(oldest, Some(Timestamp::from_millis(1000 - 64)));
    }

    #[test]
    fn other_files_are_left_alone_and_damaged_ones_are_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for name in ["notes.txt", "90c06f000000-platform.json", "x-platform.json"] {
            fs::write(at(name), "{}").expect("written");
        }
        let shelf = Shelf::open(folder.path(), TrustRoot::Intel).expect("opened");
        assert_eq!(shelf.in_use(Timestamp::default()).len(), 0);
        assert!(at("notes.txt").exists() && at("x-platform.json").exists());
        assert!(!at("90c06f000000-platform.json").exists());
    }
}

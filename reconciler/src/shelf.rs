//! Which evidence the status branch holds, and which file of it is for which record: as long as an agent's file names
//! a record, it and its parts stay in the tree; then they leave it, and history keeps them.

use std::collections::{BTreeMap, BTreeSet};

use easyenclave_schemas::Digest;

/// Records with their files, and how many records use each file. No bytes are held.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    records: BTreeMap<Digest, Vec<Digest>>,
    uses: BTreeMap<Digest, u32>,
}

impl Shelf {
    /// Whether a record is there.
    pub(crate) fn holds(&self, record: Digest) -> bool {
        self.records.contains_key(&record)
    }

    /// Whether some record uses a file.
    pub(crate) fn uses(&self, file: Digest) -> bool {
        self.uses.contains_key(&file)
    }

    /// Puts a record there with all its files, itself among them; answers those that are new.
    pub(crate) fn add(&mut self, record: Digest, files: BTreeSet<Digest>) -> Vec<Digest> {
        if self.holds(record) {
            return Vec::new();
        }
        let mut new = Vec::new();
        for file in &files {
            let uses = self.uses.entry(*file).or_default();
            *uses += 1;
            if *uses == 1 {
                new.push(*file);
            }
        }
        self.records.insert(record, files.into_iter().collect());
        new
    }

    /// Takes away all records but these; answers them, and the files that nobody uses any more.
    pub(crate) fn retain(&mut self, wanted: &BTreeSet<Digest>) -> (Vec<Digest>, Vec<Digest>) {
        let records = self.records.keys().filter(|it| !wanted.contains(it));
        let records: Vec<Digest> = records.copied().collect();
        let mut unused = Vec::new();
        for record in &records {
            for file in self.records.remove(record).unwrap_or_default() {
                let left = self.uses.get_mut(&file).map_or(0, |uses| {
                    *uses -= 1;
                    *uses
                });
                if left == 0 {
                    self.uses.remove(&file);
                    unused.push(file);
                }
            }
        }
        (records, unused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn set(names: &[&str]) -> BTreeSet<Digest> {
        names.iter().map(|name| digest(name)).collect()
    }

    #[test]
    fn a_file_stays_as_long_as_a_record_uses_it() {
        let mut shelf = Shelf::default();
        let new = shelf.add(digest("one"), set(&["one", "quote 1", "collateral"]));
        assert_eq!(new.len(), 3);
        let new = shelf.add(digest("two"), set(&["two", "quote 2", "collateral"]));
        assert_eq!(new.len(), 2, "collateral is there");
        assert!(shelf.add(digest("two"), set(&["two"])).is_empty());
        let (records, unused) = shelf.retain(&set(&["two"]));
        assert_eq!(records, [digest("one")]);
        assert_eq!(BTreeSet::from_iter(unused), set(&["one", "quote 1"]));
        assert!(shelf.uses(digest("collateral")) && !shelf.holds(digest("one")));
        let (_, unused) = shelf.retain(&BTreeSet::new());
        assert_eq!(
            BTreeSet::from_iter(unused),
            set(&["two", "quote 2", "collateral"])
        );
    }
}

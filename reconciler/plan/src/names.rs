//! Names as small numbers, and lists grouped by number. Sorted arrays only: nothing here has an order of its own.

use std::hash::{Hash, Hasher};

/// The names of the desired state in order, then those that only the world still uses.
pub(crate) struct Names<'a, K> {
    wanted: Vec<&'a K>,
    others: Vec<&'a K>,
    /// Where to find wanted names: open addressing, one more than the number, zero for nothing.
    table: Vec<u32>,
}

impl<'a, K: Ord + Hash> Names<'a, K> {
    /// From the desired names, which come sorted.
    pub(crate) fn new(wanted: impl Iterator<Item = &'a K>) -> Self {
        let wanted: Vec<&K> = wanted.collect();
        let mut names = Self {
            table: vec![0; (2 * wanted.len()).next_power_of_two()],
            wanted: Vec::new(),
            others: Vec::new(),
        };
        for (number, name) in (1..).zip(&wanted) {
            let slot = names.slots(name).find(|slot| names.table[*slot] == 0);
            names.table[slot.expect("half of the table is empty")] = number;
        }
        names.wanted = wanted;
        names
    }

    /// The number of each name that is `seen`, once; names that are not wanted are added.
    pub(crate) fn number(&mut self, seen: impl Iterator<Item = Option<&'a K>>) -> Vec<Option<u32>> {
        let mut unknown = Vec::new();
        let mut numbers: Vec<Option<u32>> = Vec::with_capacity(seen.size_hint().0);
        for (at, name) in seen.enumerate() {
            let found = name.and_then(|name| self.find_wanted(name));
            if let (Some(name), None) = (name, found) {
                unknown.push((at, name));
            }
            numbers.push(found);
        }
        self.others = unknown.iter().map(|(_, name)| *name).collect();
        self.others.sort_unstable();
        self.others.dedup();
        for (at, name) in unknown {
            numbers[at] = self.find(name);
        }
        numbers
    }

    /// The number of a name.
    pub(crate) fn find(&self, name: &K) -> Option<u32> {
        let beyond = || {
            let at = self.others.binary_search(&name).ok()?;
            u32::try_from(at + self.wanted.len()).ok()
        };
        self.find_wanted(name).or_else(beyond)
    }

    fn find_wanted(&self, name: &K) -> Option<u32> {
        let numbers = self.slots(name).map(|slot| self.table[slot]);
        let mut found = numbers
            .take_while(|number| *number != 0)
            .map(|number| number - 1);
        found.find(|number| self.wanted[*number as usize] == name)
    }

    /// Where a name may be, in the order of looking.
    fn slots(&self, name: &K) -> impl Iterator<Item = usize> + use<K> {
        let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
        name.hash(&mut hasher);
        let (start, mask) = (hasher.0 ^ (hasher.0 >> 32), self.table.len() - 1);
        (0..=mask).map(move |step| (start as usize).wrapping_add(step) & mask)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &'a K> + '_ {
        self.wanted.iter().chain(&self.others).copied()
    }

    /// The names that are not wanted.
    pub(crate) fn others(&self) -> impl Iterator<Item = &'a K> + '_ {
        self.others.iter().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.wanted.len() + self.others.len()
    }
}

/// FNV-1a: the same in every run, and quick for short names. Names come from reviewed documents, so nobody
/// gains by making them collide, and no result depends on where they end up.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// The members of each group, as one array with offsets. Members keep their order.
pub(crate) struct Groups {
    starts: Vec<u32>,
    members: Vec<u32>,
}

impl Groups {
    /// From the group of each member.
    pub(crate) fn new(groups: usize, of: &[Option<u32>]) -> Self {
        let mut starts = vec![0; groups + 1];
        for group in of.iter().flatten() {
            starts[*group as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        let mut members = vec![0; starts[groups] as usize];
        for (member, group) in (0..).zip(of) {
            if let Some(group) = group {
                let at = &mut next[*group as usize];
                members[*at as usize] = member;
                *at += 1;
            }
        }
        Self { starts, members }
    }

    pub(crate) fn of(&self, group: u32) -> impl Iterator<Item = u32> + '_ {
        let at = group as usize;
        self.members[self.starts[at] as usize..self.starts[at + 1] as usize]
            .iter()
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::{Groups, Names};

    #[test]
    fn names_that_nobody_wants_come_after_those_that_are_wanted() {
        let wanted = ["b", "d"];
        let mut names = Names::new(wanted.iter());
        let seen = [Some(&"d"), None, Some(&"c"), Some(&"a"), Some(&"b")];
        let numbers = names.number(seen.into_iter());
        assert_eq!(numbers, [Some(1), None, Some(3), Some(2), Some(0)]);
        assert_eq!(names.all().collect::<Vec<_>>(), [&"b", &"d", &"a", &"c"]);
        assert_eq!(names.find(&"e"), None);
    }

    #[test]
    fn groups_keep_the_order_of_their_members() {
        let groups = Groups::new(3, &[Some(2), Some(0), None, Some(2)]);
        assert_eq!(groups.of(2).collect::<Vec<_>>(), [0, 3]);
        assert_eq!(groups.of(1).count(), 0);
    }
}

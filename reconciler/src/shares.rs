//! Places for callers: so many in all, and no more than a share of them for one owner, so that no single owner keeps the others out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use easyenclave_schemas::OwnerName;

/// Places, of which some are taken.
#[derive(Debug)]
pub(crate) struct Shares {
    all: usize,
    each: usize,
    /// How many each owner has taken; nobody is there with none.
    taken: Mutex<BTreeMap<OwnerName, usize>>,
}

/// A place, for as long as this is kept.
#[derive(Debug)]
pub(crate) struct Place {
    shares: Arc<Shares>,
    owner: OwnerName,
}

impl Shares {
    /// So many places in all, and for each owner.
    pub(crate) fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self {
            all,
            each,
            taken: Mutex::default(),
        })
    }

    /// A place for an owner, if one is free.
    pub(crate) fn take(self: &Arc<Self>, owner: &OwnerName) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(owner).copied().unwrap_or_default();
        if own >= self.each || taken.values().sum::<usize>() >= self.all {
            return None;
        }
        taken.insert(owner.clone(), own + 1);
        Some(Place {
            shares: Arc::clone(self),
            owner: owner.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = &self.shares.taken;
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.owner) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.owner)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str) -> OwnerName {
        OwnerName::new(name).expect("a name")
    }

    #[test]
    fn an_owner_has_a_share_and_what_is_given_back_is_free_again() {
        let shares = Shares::new(3, 2);
        let take = |name| shares.take(&owner(name));
        let (one, two) = (take("acme"), take("acme"));
        assert!(one.is_some() && two.is_some());
        assert!(take("acme").is_none(), "its share");
        let other = take("zeta");
        assert!(other.is_some(), "others have places");
        assert!(take("beta").is_none(), "all are taken");
        drop(one);
        assert!(take("beta").is_some() && take("acme").is_some());
        drop((two, other));
        let nobody = shares.taken.lock().expect("not poisoned");
        assert!(nobody.is_empty(), "{nobody:?}");
    }
}

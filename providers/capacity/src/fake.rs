//! A provider in memory, for tests of whatever uses one. It passes the conformance suite, so it does not
//! promise more than a real one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use easyenclave_schemas::OrderId;
use easyenclave_schemas::wire::Unit;

use crate::{LaunchRequest, ProvideError, Provider};

/// Units that exist in memory only.
#[derive(Debug, Default)]
pub struct FakeProvider {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    units: BTreeMap<OrderId, FakeUnit>,
    faults: VecDeque<ProvideError>,
    jammed: BTreeSet<OrderId>,
    blind: bool,
}

#[derive(Debug)]
struct FakeUnit {
    alive: bool,
    words: String,
    request: LaunchRequest,
}

impl FakeProvider {
    /// The agent of a unit dies, with these last words.
    pub fn crash(&self, order: &OrderId, words: &str) {
        if let Some(unit) = self.state().units.get_mut(order) {
            unit.alive = false;
            unit.words = words.into();
        }
    }

    /// The agent of a unit says this.
    pub fn say(&self, order: &OrderId, words: &str) {
        if let Some(unit) = self.state().units.get_mut(order) {
            unit.words = words.into();
        }
    }

    /// The next call fails with this.
    pub fn fail(&self, error: ProvideError) {
        self.state().faults.push_back(error);
    }

    /// A unit cannot be removed from now on.
    pub fn jam(&self, order: &OrderId) {
        self.state().jammed.insert(order.clone());
    }

    /// A unit can be removed again.
    pub fn free(&self, order: &OrderId) {
        self.state().jammed.remove(order);
    }

    /// No listing is complete from now on, or it is again.
    pub fn set_blind(&self, blind: bool) {
        self.state().blind = blind;
    }

    /// What a unit was made from.
    pub fn request(&self, order: &OrderId) -> Option<LaunchRequest> {
        self.state()
            .units
            .get(order)
            .map(|unit| unit.request.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faultless(&self) -> Result<MutexGuard<'_, State>, ProvideError> {
        let mut state = self.state();
        match state.faults.pop_front() {
            Some(error) => Err(error),
            None => Ok(state),
        }
    }
}

#[async_trait]
impl Provider for FakeProvider {
    async fn ensure(&self, request: &LaunchRequest) -> Result<(), ProvideError> {
        let mut state = self.faultless()?;
        if state
            .units
            .get(&request.order)
            .is_some_and(|unit| unit.alive && unit.request.fence == request.fence)
        {
            return Ok(());
        }
        let limit = request.spec.max_units;
        let other = |unit: &&FakeUnit| unit.alive && unit.request.order != request.order;
        if state.units.values().filter(other).count() >= limit as usize {
            return Err(ProvideError::NoCapacity { limit });
        }
        let request = request.clone();
        let unit = FakeUnit {
            alive: true,
            words: String::new(),
            request,
        };
        state.units.insert(unit.request.order.clone(), unit);
        Ok(())
    }

    async fn remove(&self, order: &OrderId) -> Result<(), ProvideError> {
        let mut state = self.faultless()?;
        if state.jammed.contains(order) {
            return Err(ProvideError::Retry {
                what: order.to_string(),
                source: std::io::Error::other("jammed"),
            });
        }
        state.units.remove(order);
        Ok(())
    }

    async fn remove_older(&self, order: &OrderId, fence: u64) -> Result<(), ProvideError> {
        let mut state = self.faultless()?;
        let made = state.units.get(order).map(|unit| unit.request.fence);
        if made.is_some_and(|made| made < fence) {
            state.units.remove(order);
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Unit>, ProvideError> {
        let state = self.faultless()?;
        if state.blind {
            return Err(ProvideError::Retry {
                what: "units cannot be listed".into(),
                source: std::io::Error::other("blind"),
            });
        }
        let unit = |(order, unit): (&OrderId, &FakeUnit)| Unit {
            order_id: order.clone(),
            alive: unit.alive,
            fence: Some(unit.request.fence),
        };
        Ok(state.units.iter().map(unit).collect())
    }

    async fn last_words(&self, order: &OrderId) -> Result<String, ProvideError> {
        let state = self.faultless()?;
        Ok(state
            .units
            .get(order)
            .map(|unit| unit.words.clone())
            .unwrap_or_default())
    }

    async fn console(&self, order: &OrderId) -> Result<String, ProvideError> {
        self.last_words(order).await
    }
}

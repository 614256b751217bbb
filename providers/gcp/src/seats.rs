//! Seats: which orders are about to have a machine that no listing shows yet. Without them, calls at the same time would
//! each see room for one more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use easyenclave_schemas::{OrderId, Zone};
use tokio::time::Instant;

use crate::listing::Listing;

/// How long a machine may take to be listed that was asked for by a call which broke off.
const UNSEEN: Duration = Duration::from_secs(60);

/// One order's.
#[derive(Debug)]
struct Seat {
    zone: Zone,
    /// Calls that are at it.
    calls: usize,
    /// A listing that was begun later shows the machine, or there is none.
    seen_after: Instant,
}

/// All that are taken.
#[derive(Debug, Default)]
pub(crate) struct Seats(Mutex<BTreeMap<OrderId, Seat>>);

/// A seat that a call holds.
pub(crate) struct Held<'a> {
    seats: &'a Seats,
    order: OrderId,
    settled: bool,
}

impl Seats {
    /// A seat for an order, if there is room beside the machines of others.
    pub(crate) fn take(
        &self,
        order: &OrderId,
        zone: &Zone,
        listing: &Listing,
        limit: u32,
    ) -> Option<Held<'_>> {
        let mut seats = self.seats();
        seats.retain(|_, seat| seat.calls > 0 || seat.seen_after > listing.begun);
        let alive = listing.machines.iter().filter(|found| found.is_alive());
        let listed = alive.map(|found| &found.order);
        let mut others: BTreeSet<&OrderId> = listed.chain(seats.keys()).collect();
        others.remove(order);
        if others.len() >= limit as usize {
            return None;
        }
        let seat = seats.entry(order.clone()).or_insert_with(|| Seat {
            zone: zone.clone(),
            calls: 0,
            seen_after: Instant::now(),
        });
        seat.calls += 1;
        Some(Held {
            seats: self,
            order: order.clone(),
            settled: false,
        })
    }

    /// Where a machine of an order may be that no listing shows.
    pub(crate) fn zone(&self, order: &OrderId) -> Option<Zone> {
        self.seats().get(order).map(|seat| seat.zone.clone())
    }

    /// Where there may be machines that a listing lacks because it was begun too early.
    pub(crate) fn unseen(&self, listing: &Listing) -> Vec<(OrderId, Zone)> {
        let seats = self.seats();
        let unseen = seats.iter().filter(|(order, seat)| {
            let early = seat.calls > 0 || seat.seen_after > listing.begun;
            early && listing.of(order).next().is_none()
        });
        unseen
            .map(|(order, seat)| (order.clone(), seat.zone.clone()))
            .collect()
    }

    /// Nothing of an order is left.
    pub(crate) fn free(&self, order: &OrderId) {
        let mut seats = self.seats();
        if seats.get(order).is_some_and(|seat| seat.calls == 0) {
            seats.remove(order);
        }
    }

    fn seats(&self) -> MutexGuard<'_, BTreeMap<OrderId, Seat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held<'_> {
    /// It is known what came of it: the next listing shows it.
    pub(crate) fn settle(mut self) {
        self.settled = true;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut seats = self.seats.seats();
        if let Some(seat) = seats.get_mut(&self.order) {
            seat.calls -= 1;
            let unseen = if self.settled { Duration::ZERO } else { UNSEEN };
            seat.seen_after = seat.seen_after.max(Instant::now() + unseen);
        }
    }
}

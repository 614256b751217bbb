//! What workers say, for tests that speak for them.

use std::time::Duration;

use easyenclave::api::Refused;
use easyenclave::clock::Clock;
use easyenclave::orders::{claim, update};
use easyenclave::pass::{Report, pass};
use easyenclave_schemas::OrderId;
use easyenclave_schemas::wire::{
    ClaimRequest, InventoryRequest, Order, OrderReport, OrderStatus, OrderUpdate, Unit,
};

use crate::place::{Place, name};

/// A claim by a worker that holds nothing.
pub(crate) fn asks(worker: &str) -> ClaimRequest {
    ClaimRequest {
        worker_id: name(worker),
        provider: name("local"),
        datacenter: None,
        node_size: None,
        in_hand: Vec::new(),
        wait_millis: 0,
        work: None,
    }
}

/// A report with nothing but this status.
pub(crate) fn report(worker: &str, fence: u64, status: OrderReport) -> OrderUpdate {
    OrderUpdate {
        worker_id: name(worker),
        fence,
        status,
        error: None,
        cause: None,
        console: None,
        stage: None,
        remains: false,
    }
}

impl Place {
    /// The next order for a worker that holds nothing.
    pub(crate) async fn take(&self, worker: &str) -> Option<Order> {
        let claimed = claim(&self.world, &asks(worker)).await;
        claimed.expect("answered").order
    }

    /// A worker reports on an order.
    pub(crate) async fn tell(
        &self,
        order: &OrderId,
        said: OrderUpdate,
    ) -> Result<OrderStatus, Refused> {
        update(&self.world, order, said).await
    }

    /// One turn of the reconciler.
    pub(crate) async fn pass(&self) -> Report {
        let revision = self.world.revision().expect("a revision");
        let report = pass(&self.world, revision, self.clock.now()).await;
        report.expect("kept")
    }

    /// A second later, a worker lists these machines, with the numbers of their claims.
    pub(crate) fn list(&self, worker: &str, units: &[(&OrderId, u64)]) {
        self.list_in("local", worker, units);
    }

    /// The same for one in this datacenter.
    pub(crate) fn list_in(&self, datacenter: &str, worker: &str, units: &[(&OrderId, u64)]) {
        self.clock.forward(Duration::from_secs(1));
        let unit = |(order, fence): &(&OrderId, u64)| Unit {
            order_id: (*order).clone(),
            alive: true,
            fence: Some(*fence),
        };
        let listing = InventoryRequest {
            worker_id: name(worker),
            provider: name("local"),
            datacenter: name(datacenter),
            fleet: None,
            project: None,
            units: units.iter().map(unit).collect(),
        };
        self.world.presence.inventory(&listing, self.clock.now());
    }
}

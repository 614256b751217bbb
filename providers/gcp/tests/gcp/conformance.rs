//! The conformance suite: what every provider promises.

use std::sync::Arc;

use async_trait::async_trait;
use easyenclave_capacity::conformance::{Stand, conformance};
use easyenclave_capacity::{LaunchRequest, Provider};
use easyenclave_gcp::fake::Partial;
use easyenclave_schemas::OrderId;
use easyenclave_schemas::wire::Machine;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::stand::{Side, machine, open, owner, suit};

struct GcpStand {
    side: Side,
    partial: Partial,
}

#[async_trait]
impl Stand for GcpStand {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.side.provider) as Arc<dyn Provider>
    }

    async fn restart(&mut self) {
        self.side.provider = open(&self.side.fake).await;
    }

    async fn crash(&self, order: &OrderId) {
        let name = owner().machine(order);
        self.side.fake.set_status(&name, "TERMINATED");
    }

    async fn blind(&mut self) {
        self.side.fake.set_partial(Some(self.partial));
    }

    async fn see(&mut self) {
        self.side.fake.set_partial(None);
    }

    fn machine(&self) -> Option<Machine> {
        Some(Machine::Gcp(Box::new(machine())))
    }

    fn suit(&self, request: &mut LaunchRequest) {
        suit(request);
    }

    async fn things(&self, order: &OrderId) -> usize {
        let name = owner().machine(order);
        let machines = self.side.fake.machines();
        let there = machines.iter().filter(|machine| machine["name"] == *name);
        there.count() + self.side.fake.under_way(&name)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_of_google_cloud_are_units() {
    for partial in [Partial::Unreachable, Partial::Warning, Partial::InZone] {
        conformance(|| {
            let side = block_in_place(|| Handle::current().block_on(Side::new()));
            GcpStand { side, partial }
        })
        .await;
    }
}

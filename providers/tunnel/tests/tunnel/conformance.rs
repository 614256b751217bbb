//! The conformance suite: what every kind of tunnels promises.

use std::sync::Arc;

use async_trait::async_trait;
use easyenclave_schemas::AgentId;
use easyenclave_tunnel::testing::conformance::{Stand, conformance};
use easyenclave_tunnel::testing::{Memory, World};
use easyenclave_tunnel::{Direct, Tunnels};

use crate::stand::{Side, mark};

#[async_trait]
impl Stand for Side {
    fn tunnels(&self) -> Arc<dyn Tunnels> {
        Arc::clone(&self.client) as Arc<dyn Tunnels>
    }

    async fn restart(&mut self) {
        self.reopen(|_| {});
    }

    fn outlives(&self) -> bool {
        true
    }

    fn names(&self) -> bool {
        true
    }

    async fn connect(&self, agent: &AgentId, is_connected: bool) -> bool {
        self.server.connect(&mark(agent.as_str()), is_connected);
        true
    }

    async fn set_blind(&self, is_blind: bool) -> bool {
        self.server.set_short(is_blind);
        true
    }
}

struct InMemory(World);

#[async_trait]
impl Stand for InMemory {
    fn tunnels(&self) -> Arc<dyn Tunnels> {
        let world = self.0.clone();
        Arc::new(Memory { world })
    }

    async fn restart(&mut self) {}

    fn outlives(&self) -> bool {
        true
    }

    fn names(&self) -> bool {
        true
    }

    async fn connect(&self, agent: &AgentId, is_connected: bool) -> bool {
        self.0.set_connected(agent, is_connected);
        true
    }

    async fn set_blind(&self, is_blind: bool) -> bool {
        self.0.set_blind(is_blind);
        true
    }
}

struct Without(Arc<Direct>);

#[async_trait]
impl Stand for Without {
    fn tunnels(&self) -> Arc<dyn Tunnels> {
        Arc::clone(&self.0) as Arc<dyn Tunnels>
    }

    async fn restart(&mut self) {
        self.0 = Arc::new(Direct::default());
    }

    fn outlives(&self) -> bool {
        false
    }

    fn names(&self) -> bool {
        false
    }

    async fn connect(&self, _agent: &AgentId, _is_connected: bool) -> bool {
        false
    }

    async fn set_blind(&self, _is_blind: bool) -> bool {
        false
    }
}

#[tokio::test]
async fn cloudflare_is_one_kind_of_tunnels() {
    conformance(Side::new).await;
}

#[tokio::test]
async fn a_cloudflare_with_one_entry_a_page_is_no_other() {
    conformance(async || {
        let side = Side::new().await;
        side.server.set_page(1);
        side
    })
    .await;
}

#[tokio::test]
async fn a_cloudflare_that_is_deaf_to_filters_is_no_other() {
    conformance(async || {
        let side = Side::new().await;
        side.server.set_deaf(true);
        side
    })
    .await;
}

#[tokio::test]
async fn none_at_all_is_one() {
    conformance(async || Without(Arc::default())).await;
}

#[tokio::test]
async fn those_in_memory_are_one() {
    conformance(async || InMemory(World::default())).await;
}

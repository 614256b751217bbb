//! What anybody may ask: whether the daemon lives, whether it is ready, its metrics, and what workers say to it.

use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use easyenclave_attestation::{PlatformFacts, Stock};
use easyenclave_schemas::records::TrustRecord;
use easyenclave_schemas::wire;

use crate::world::World;

/// 200 while the process serves requests.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// 200 once a revision is in force, 503 before.
pub(super) async fn readyz(State(world): State<Arc<World>>) -> (StatusCode, &'static str) {
    match world.revision() {
        Some(_) => (StatusCode::OK, "ready\n"),
        None => (
            StatusCode::SERVICE_UNAVAILABLE,
            "no revision of the state repository is read yet\n",
        ),
    }
}

/// What owners and workers say, as an OpenAPI document.
pub(super) async fn openapi() -> impl IntoResponse {
    static TEXT: LazyLock<String> = LazyLock::new(|| wire::openapi().to_string());
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str())
}

/// Counts in the text format of Prometheus. Simulated and real agents are never one number.
pub(super) async fn metrics(State(world): State<Arc<World>>) -> String {
    let records = world.journal.read();
    let accepted = |simulated: bool| {
        let of = |trust: &TrustRecord| matches!(trust, TrustRecord::Accepted(verdict) if verdict.simulated == simulated);
        records
            .agents
            .values()
            .filter(|agent| of(&agent.trust))
            .count()
    };
    let pending = records
        .orders
        .values()
        .filter(|order| order.state.is_pending())
        .count();
    let rows = [
        ("easyenclave_agents{trust=\"real\"}", accepted(false)),
        ("easyenclave_agents{trust=\"simulated\"}", accepted(true)),
        ("easyenclave_orders_pending", pending),
        ("easyenclave_refusals_listed", world.refusals.list().len()),
    ];
    let mut text = String::from("# TYPE easyenclave_agents gauge\n");
    for (name, value) in rows {
        let _ = writeln!(text, "{name} {value}");
    }
    text += &collateral(&world.judge.stock(world.clock.now()));
    text + &world.metrics.text()
}

/// When collateral runs out, by type of platform: for whoever is to be warned before.
fn collateral(stock: &[Stock]) -> String {
    const NAME: &str = "attestation_collateral_valid_until_seconds";
    let mut text = format!("# TYPE {NAME} gauge\n");
    for stock in stock {
        let PlatformFacts { fmspc, ca } = &stock.platform;
        if let Some(until) = stock.until {
            let seconds = until.as_secs();
            let _ = writeln!(text, "{NAME}{{fmspc=\"{fmspc}\",ca=\"{ca}\"}} {seconds}");
        }
    }
    text
}

//! Workers: claims, reports, listings. A worker shows its launcher key; transitions of an order are
//! guarded by its claim's number, so a worker that was overtaken can change nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use easyenclave_schemas::documents::ProviderSpec;
use easyenclave_schemas::wire::{
    ClaimRequest, ClaimResponse, InventoryRequest, InventoryResponse, OrderStatus, OrderUpdate,
};
use easyenclave_schemas::{Digest, OrderId};
use tokio::time::{Instant, timeout_at};

use super::{Refused, parse};
use crate::orders;
use crate::world::World;

/// The longest that a claim may wait for an order.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The most machines in one listing.
const MOST_UNITS: usize = 10_000;

/// Gives a worker the oldest order that it can serve, waiting for one if it asks to.
pub(super) async fn claim(
    State(world): State<Arc<World>>,
    body: Bytes,
) -> Result<Json<ClaimResponse>, Refused> {
    let request: ClaimRequest = parse(&body)?;
    let wait = Duration::from_millis(request.wait_millis).min(LONGEST_WAIT);
    let deadline = Instant::now() + wait;
    loop {
        // Registered before looking, so that an order which opens in between is not missed.
        let opened = world.orders.notified();
        tokio::pin!(opened);
        opened.as_mut().enable();
        let response = orders::claim(&world, &request).await?;
        if response.claimed || timeout_at(deadline, opened).await.is_err() {
            return Ok(Json(response));
        }
    }
}

/// Notes what became of an order.
pub(super) async fn update(
    State(world): State<Arc<World>>,
    Path(order): Path<String>,
    body: Bytes,
) -> Result<Json<OrderStatus>, Refused> {
    let request: OrderUpdate = parse(&body)?;
    let order = OrderId::new(order)
        .map_err(|_| Refused::new(StatusCode::NOT_FOUND, "order_not_found", "no such order"))?;
    Ok(Json(orders::update(&world, &order, request).await?))
}

/// Notes a worker's complete listing. Answers what of it an older claim has made.
pub(super) async fn inventory(
    State(world): State<Arc<World>>,
    body: Bytes,
) -> Result<Json<InventoryResponse>, Refused> {
    let request: InventoryRequest = parse(&body)?;
    if request.units.len() > MOST_UNITS {
        let message = format!("at most {MOST_UNITS} units are taken in one listing");
        return Err(Refused::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "listing_too_long",
            message,
        ));
    }
    let is_ours = is_of_this_world(&world, &request)
        .inspect_err(|no| world.refuse(&no.code, request.worker_id.as_str(), &no.message))?;
    if is_ours && world.presence.inventory(&request, world.clock.now()) {
        world.wake.notify_one();
    }
    Ok(Json(InventoryResponse {
        epoch: world.epoch,
        superseded: orders::superseded(&world.journal.read(), &request.units),
    }))
}

/// A worker that was started with the settings of another fleet, or of another project, lists nothing of what is here, and
/// all of it would look gone. Older workers, and those of other providers, name neither. While no revision is in force nobody
/// can tell, so a listing that names one does not count; another comes soon.
fn is_of_this_world(world: &World, listing: &InventoryRequest) -> Result<bool, Refused> {
    if listing.fleet.is_none() && listing.project.is_none() {
        return Ok(true);
    }
    let Some(revision) = world.revision() else {
        return Ok(false);
    };
    let conflict = |code: &str, message| Err(Refused::new(StatusCode::CONFLICT, code, message));
    let ours = &revision.desired.fleet;
    if let Some(fleet) = listing.fleet.as_ref().filter(|fleet| *fleet != ours) {
        let message = format!("the worker lists machines of fleet {fleet}, and this is {ours}");
        return conflict("wrong_fleet", message);
    }
    let wanted = match revision.providers.get(&listing.provider) {
        Some(ProviderSpec::Gcp(spec)) => Some(&spec.project),
        _ => None,
    };
    match (&listing.project, wanted) {
        (Some(listed), Some(wanted)) if listed != wanted => conflict(
            "wrong_project",
            format!(
                "the worker lists project {listed}, and provider {} has {wanted}",
                listing.provider
            ),
        ),
        _ => Ok(true),
    }
}

/// Lets a worker in that shows the launcher key, before anything of its message is looked at.
pub(super) async fn admit(
    State(world): State<Arc<World>>,
    request: Request,
    next: Next,
) -> Result<Response, Refused> {
    authorize(&world, request.headers())?;
    Ok(next.run(request).await)
}

/// Digests are compared, so that the time it takes tells nothing about the key. A worker without the key is not named:
/// it could call itself anything.
fn authorize(world: &World, headers: &HeaderMap) -> Result<(), Refused> {
    let shown = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    match shown {
        Some(key) if Digest::of(key.as_bytes()) == world.launcher_key => Ok(()),
        Some(_) => {
            let message = "the launcher key is not the one of this fleet";
            world.refuse("invalid_launcher_key", "a worker", message);
            Err(Refused::new(
                StatusCode::FORBIDDEN,
                "invalid_launcher_key",
                message,
            ))
        }
        None => Err(Refused::new(
            StatusCode::UNAUTHORIZED,
            "missing_launcher_key",
            "no launcher key is shown; send it as `authorization: Bearer …`",
        )),
    }
}

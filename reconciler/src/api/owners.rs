//! What a caller who has proved to act for an owner may ask.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use easyenclave_schemas::wire::Me;

use super::Refused;
use crate::auth::authenticate;
use crate::world::World;

/// Who calls.
pub(super) async fn me(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
) -> Result<Json<Me>, Refused> {
    let caller = authenticate(&world, &headers, world.clock.now()).await?;
    Ok(Json(Me {
        owner: caller.owner,
        identity: caller.identity.to_string(),
    }))
}

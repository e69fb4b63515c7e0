//! What the allocator of addresses knows: extensions, Docker has nothing like it.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Params;
use crate::view::{AuditView, ExplanationView};

/// Proves that every address, VXLAN id and published port has exactly one holder.
pub(crate) async fn audit(State(app): State<App>) -> Result<Json<AuditView>, ApiError> {
    Ok(Json(app.read(AuditView::new)?))
}

/// Who has the address in the query `address`, or why nobody has.
pub(crate) async fn explain(
    State(app): State<App>,
    params: Params,
) -> Result<Json<ExplanationView>, ApiError> {
    let text = params.text("address");
    let addr: IpAddr = text.parse().map_err(|_| {
        let text: String = text.chars().take(64).collect();
        ApiError::bad_request(format!("invalid address '{text}': give one such as 10.0.1.5"))
    })?;
    Ok(Json(app.read(|state| ExplanationView::new(state, addr))?))
}

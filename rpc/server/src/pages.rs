//! Health over plain HTTP.

use hyper::{Response, StatusCode};
use jsonrpsee::server::HttpBody;
use vibecoin_rpc_api::views::{HealthCheckView, HealthView};
use vibecoin_rpc_backend::Backend;

use crate::http::{json, plain};

/// The answer of `node_getHealth`.
pub(crate) fn health_view<B: Backend>(backend: &B) -> HealthView {
    let checks = backend.health();
    HealthView {
        live: backend.is_live(),
        ready: checks.iter().all(|check| check.ok),
        checks: checks
            .into_iter()
            .map(|check| HealthCheckView {
                name: check.name.to_owned(),
                ok: check.ok,
                detail: check.detail,
            })
            .collect(),
    }
}

/// `/livez` checks that the process makes progress, `/readyz` and `/health` that it should get
/// traffic.
pub(crate) fn health<B: Backend>(backend: &B, path: &str, verbose: bool) -> Response<HttpBody> {
    let view = health_view(backend);
    let good = if path == "/livez" { view.live } else { view.ready };
    let status = if good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    if verbose {
        return json(status, serde_json::to_string(&view).unwrap_or_default());
    }
    plain(status, if good { "ok\n" } else { "not ok\n" })
}

//! The pages of a running server: an overview, metrics, and whether it is there.

use std::sync::Arc;
use std::time::Instant;

use blobaccess::{Clock, ErrorKind, SystemClock};
use blobaccess_config::DiagnosticsPolicy;
use blobaccess_grpc::Services;
use blobaccess_metrics::{CONTENT_TYPE, PrometheusObserver};
use hyper::StatusCode;
use hyper::http::request::Parts;

use crate::pages::{Page, Pages, TEXT};

/// The contents of the pages, which all servers of pages share.
#[derive(Debug)]
pub(crate) struct Contents {
    /// The description of the configuration.
    pub(crate) description: String,
    pub(crate) services: Services,
    pub(crate) metrics: Arc<PrometheusObserver>,
    pub(crate) serves_metrics: bool,
    pub(crate) started: Instant,
}

/// The pages of one server of pages, with its policy.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) contents: Arc<Contents>,
    pub(crate) policy: DiagnosticsPolicy,
}

impl Pages for Site {
    async fn page(&self, request: &Parts) -> Page {
        if let Err(refusal) = self.policy.authenticate(request).await {
            let kind = refusal.kind();
            let status = if kind == ErrorKind::Unauthenticated {
                StatusCode::UNAUTHORIZED
            } else if kind == ErrorKind::PermissionDenied {
                StatusCode::FORBIDDEN
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            return Page::refused(status, format!("{}\n", refusal.message()));
        }
        match request.uri.path() {
            "/" => Page::found(TEXT, self.contents.overview()),
            "/-/healthy" => Page::found(TEXT, String::new()),
            "/metrics" if self.contents.serves_metrics => Page::found(CONTENT_TYPE, self.contents.metrics.encode()),
            _ => Page::refused(StatusCode::NOT_FOUND, "there are /, /-/healthy and, if enabled, /metrics\n"),
        }
    }
}

impl Contents {
    fn overview(&self) -> String {
        let services = self.services.snapshot();
        let up = SystemClock.monotonic().duration_since(self.started).as_secs();
        let state = match (services.draining, services.serving) {
            (true, _) => "draining",
            (false, true) => "serving",
            (false, false) => "not serving: a store does not answer",
        };
        format!(
            "storage_server {}, up {up} s, {state}\n{} calls are open, {} were refused\n\n{}",
            env!("CARGO_PKG_VERSION"),
            services.open_calls,
            services.refused_calls,
            self.description,
        )
    }
}

//! The settings that concern all of a program: diagnostics, the process, and metadata that is passed on.

use super::diagnostics::DiagnosticsPlan;
use super::process_settings::ProcessSettings;
use super::server::TakenAddresses;
use super::tracing_settings;
use crate::blobstore::Claims;
use crate::section::Section;

/// The plan of `buildbarn.configuration.global.Configuration`.
#[derive(Debug, Default)]
pub(super) struct GlobalPlan {
    pub(super) process: ProcessSettings,
    pub(super) diagnostics: Option<DiagnosticsPlan>,
    /// The names of the request metadata that calls of other servers carry on.
    pub(super) forwarded_metadata: Vec<String>,
}

impl GlobalPlan {
    /// Reads the settings. Faults are noted.
    pub(super) fn read(section: &Section<'_>, taken: &mut TakenAddresses, claims: &mut Claims) -> Self {
        if let Some(section) = section.message("tracing") {
            tracing_settings::read(&section);
        }
        section.notice_at("tracing", "has no effect: spans are not reported");
        section.notice_at("mutex_profile_fraction", "has no effect: there is no profiler");
        section.refuse("prometheus_pushgateway", "let Prometheus scrape /metrics of diagnosticsHttpServer");
        section.refuse("grpc_kubernetes_resolvers", "name a service of Kubernetes by its address in DNS");
        let forwarded = section.texts("grpc_forward_and_reuse_metadata");
        section.notice_at(
            "grpc_forward_and_reuse_metadata",
            "is passed on from the call that causes another one, and never reused for later calls",
        );
        let diagnostics = section.message("diagnostics_http_server");
        Self {
            process: ProcessSettings::read(section, claims),
            diagnostics: diagnostics.and_then(|section| DiagnosticsPlan::read(&section, taken)),
            forwarded_metadata: forwarded.into_iter().map(str::to_owned).collect(),
        }
    }
}

//! The settings of tracing, which are checked and have no effect.

use std::time::Duration;

use crate::clients::{GrpcClientPlan, HttpClientPlan};
use crate::section::Section;

/// Checks a `buildbarn.configuration.global.TracingConfiguration`.
pub(super) fn read(section: &Section<'_>) {
    for backend in section.messages("backends") {
        match backend.member("span_exporter") {
            Some("jaeger_collector_span_exporter") => check_jaeger(&backend),
            Some("otlp_span_exporter") => {
                let client = backend.message("otlp_span_exporter").and_then(|client| GrpcClientPlan::read(&client));
                drop(client);
            }
            _ => backend.fault("must have a span exporter"),
        }
        match backend.member("span_processor") {
            Some("simple_span_processor") => drop(backend.message("simple_span_processor")),
            Some("batch_span_processor") => check_batches(&backend),
            _ => backend.fault("must have a span processor"),
        }
    }
    section.take_over("resource_attributes");
    if let Some(sampler) = section.required("sampler") {
        check_sampler(&sampler);
    }
}

fn check_jaeger(backend: &Section<'_>) {
    let Some(exporter) = backend.message("jaeger_collector_span_exporter") else { return };
    for field in ["endpoint", "username", "password"] {
        exporter.take_over(field);
    }
    drop(exporter.message("http_client").map(|client| HttpClientPlan::read(&client)));
}

fn check_batches(backend: &Section<'_>) {
    let Some(processor) = backend.message("batch_span_processor") else { return };
    for field in ["batch_timeout", "export_timeout", "blocking", "max_export_batch_size", "max_queue_size"] {
        processor.take_over(field);
    }
}

/// Checks a sampler and those below it. There are at most as many levels as messages may have.
fn check_sampler(sampler: &Section<'_>) {
    let mut samplers = vec![sampler.clone()];
    while let Some(sampler) = samplers.pop() {
        match sampler.member("policy") {
            Some("parent_based") => {
                let Some(parents) = sampler.message("parent_based") else { continue };
                let children = [
                    "no_parent",
                    "local_parent_not_sampled",
                    "local_parent_sampled",
                    "remote_parent_not_sampled",
                    "remote_parent_sampled",
                ];
                samplers.extend(children.into_iter().filter_map(|child| parents.required(child)));
            }
            Some("maximum_rate") => {
                let Some(rate) = sampler.message("maximum_rate") else { continue };
                let _: i64 = rate.int("samples_per_epoch");
                let _: Option<Duration> = rate.required_duration("epoch_duration");
            }
            Some(policy) => sampler.take_over(policy),
            None => sampler.fault("must have a policy"),
        }
    }
}

//! The metrics that dashboards of Buildbarn query of a storage server are there after a small load.

use crate::server::StorageServer;
use crate::site::{Site, list};
use crate::{check_filled, fill};

/// The metrics that the dashboards and recording rules query, with the labels that they group by or select.
const QUERIED: &[(&str, &[&str])] = &[
    (
        "buildbarn_blobstore_blob_access_operations_blob_size_bytes_count",
        &["backend_type", "operation", "storage_type"],
    ),
    (
        "buildbarn_blobstore_blob_access_operations_blob_size_bytes_bucket",
        &["backend_type", "le", "operation", "storage_type"],
    ),
    ("buildbarn_blobstore_blob_access_operations_find_missing_batch_size_count", &["backend_type", "storage_type"]),
    (
        "buildbarn_blobstore_blob_access_operations_find_missing_batch_size_bucket",
        &["backend_type", "le", "storage_type"],
    ),
    (
        "buildbarn_blobstore_blob_access_operations_duration_seconds_bucket",
        &["backend_type", "le", "operation", "storage_type"],
    ),
    (
        "buildbarn_blobstore_blob_access_operations_duration_seconds_count",
        &["backend_type", "grpc_code", "storage_type"],
    ),
    (
        "buildbarn_blobstore_old_current_new_location_blob_map_last_removed_old_block_insertion_time_seconds",
        &["storage_type"],
    ),
    ("buildbarn_blobstore_hashing_key_location_map_get_attempts_count", &["outcome", "storage_type"]),
    ("buildbarn_blobstore_hashing_key_location_map_get_attempts_bucket", &["le", "storage_type"]),
    ("buildbarn_blobstore_hashing_key_location_map_get_too_many_attempts_total", &["storage_type"]),
    ("buildbarn_blobstore_hashing_key_location_map_put_ignored_invalid_total", &["storage_type"]),
    ("buildbarn_blobstore_hashing_key_location_map_put_iterations_count", &["outcome", "storage_type"]),
    ("buildbarn_blobstore_hashing_key_location_map_put_iterations_bucket", &["le", "storage_type"]),
    ("buildbarn_blobstore_hashing_key_location_map_put_too_many_iterations_total", &["storage_type"]),
    ("grpc_server_started_total", &["grpc_method", "grpc_service"]),
    ("grpc_server_handled_total", &["grpc_code", "grpc_method", "grpc_service"]),
    ("grpc_server_msg_sent_total", &["grpc_method", "grpc_service"]),
    ("grpc_server_msg_received_total", &["grpc_method", "grpc_service"]),
    ("grpc_server_handling_seconds_bucket", &["grpc_method", "grpc_service", "le"]),
];

/// Returns the series with this name that have all labels.
fn series<'p>(page: &'p str, name: &str, labels: &[&str]) -> Vec<&'p str> {
    let lines = page.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    let has =
        |line: &&str, label: &str| line.contains(&format!("{{{label}=\"")) || line.contains(&format!(",{label}=\""));
    lines.filter(|line| labels.iter().all(|label| has(line, label))).collect()
}

fn check(page: &str, queried: &[(&str, &[&str])]) {
    let absent: Vec<_> = queried.iter().filter(|(name, labels)| series(page, name, labels).is_empty()).collect();
    assert!(absent.is_empty(), "{absent:?} are not in\n{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the examples, built: see CONTRIBUTING.md"]
async fn every_query_of_the_dashboards_finds_its_metric_and_labels() {
    let site = Site::new(128);
    let node = StorageServer::start(&site.path("storage.jsonnet"), &[("SITE_FOLDER", &*site.node("node"))]);
    let frontend = StorageServer::start(&site.path("frontend.jsonnet"), &[("SITE_NODES", &list(&[node.address()]))]);
    // The retention is known before anything was put, so that no alarm goes off.
    let name = "buildbarn_blobstore_old_current_new_location_blob_map_last_removed_old_block_insertion_time_seconds";
    for kind in ["ac", "cas", "fsac"] {
        let page = node.page("/metrics");
        assert!(page.contains(&format!("{name}{{storage_type=\"{kind}\"}}")), "{kind} is not in\n{page}");
    }
    fill(&frontend).await;
    check_filled(&frontend).await;
    let page = node.page("/metrics");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    check(&page, QUERIED);
    for kind in ["ac", "cas"] {
        let found = series(&page, "buildbarn_blobstore_hashing_key_location_map_get_attempts_count", &["outcome"]);
        let found = found.iter().find(|line| line.contains(&format!("\"{kind}\"")) && line.contains("\"Found\""));
        assert!(found.is_some_and(|line| !line.ends_with(" 0")), "{found:?}");
    }
    frontend.stop();
    node.stop();
}

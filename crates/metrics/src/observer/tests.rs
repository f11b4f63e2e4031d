//! Tests of the encoded metrics, line by line.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use blobaccess::ErrorKind;

use super::*;

fn call(operation: Operation, millis: u64) -> Call {
    Call::new(StorageType::Cas, "grpc", operation, Duration::from_millis(millis))
}

/// Returns the lines of `metrics` that begin with `name`.
fn lines(metrics: &PrometheusObserver, name: &str) -> Vec<String> {
    metrics.encode().lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
}

fn has(metrics: &PrometheusObserver, line: &str) {
    let encoded = metrics.encode();
    assert!(encoded.lines().any(|encoded| encoded == line), "no line {line:?} in\n{encoded}");
}

#[test]
fn durations_are_told_by_method_and_code() {
    let metrics = PrometheusObserver::new();
    metrics.call_ended(&call(Operation::Get, 3));
    let mut failed = call(Operation::Get, 1500);
    failed.error = Some(ErrorKind::NotFound);
    metrics.call_ended(&failed);
    let name = "buildbarn_blobstore_blob_access_operations_duration_seconds";
    let labels = |code| format!(r#"storage_type="cas",backend_type="grpc",operation="Get",grpc_code="{code}""#);
    let (ok, not_found) = (labels("OK"), labels("NotFound"));
    has(&metrics, &format!("# TYPE {name} histogram"));
    for (boundary, count) in [
        ("0.001", 0),
        ("0.0021544", 0),
        ("0.0046415", 1),
        ("0.01", 1),
        ("0.021544", 1),
        ("0.046415", 1),
        ("0.1", 1),
        ("0.21544", 1),
        ("0.46415", 1),
        ("1.0", 1),
        ("2.1544", 1),
        ("4.6415", 1),
        ("10.0", 1),
        ("21.544", 1),
        ("46.415", 1),
        ("100.0", 1),
        ("215.44", 1),
        ("464.15", 1),
        ("1000.0", 1),
        ("+Inf", 1),
    ] {
        has(&metrics, &format!(r#"{name}_bucket{{le="{boundary}",{ok}}} {count}"#));
    }
    has(&metrics, &format!("{name}_sum{{{ok}}} 0.003"));
    has(&metrics, &format!("{name}_count{{{ok}}} 1"));
    has(&metrics, &format!("{name}_sum{{{not_found}}} 1.5"));
    has(&metrics, &format!(r#"{name}_bucket{{le="1.0",{not_found}}} 0"#));
    has(&metrics, &format!(r#"{name}_bucket{{le="2.1544",{not_found}}} 1"#));
    // 19 boundaries, infinity, sum and count, twice.
    assert_eq!(lines(&metrics, name).len(), 2 * 22);
}

#[test]
fn sizes_are_told_of_what_is_got_and_put() {
    let metrics = PrometheusObserver::new();
    for operation in Operation::ALL {
        let mut call = call(operation, 1);
        call.blob_size_bytes = Some(5);
        metrics.call_ended(&call);
    }
    // A call that returned no blob has no size.
    metrics.call_ended(&call(Operation::Get, 1));
    let name = "buildbarn_blobstore_blob_access_operations_blob_size_bytes";
    for operation in ["Get", "GetFromComposite", "Put"] {
        let labels = format!(r#"storage_type="cas",backend_type="grpc",operation="{operation}""#);
        has(&metrics, &format!(r#"{name}_bucket{{le="4.0",{labels}}} 0"#));
        has(&metrics, &format!(r#"{name}_bucket{{le="8.0",{labels}}} 1"#));
        has(&metrics, &format!(r#"{name}_bucket{{le="4294967296.0",{labels}}} 1"#));
        has(&metrics, &format!("{name}_sum{{{labels}}} 5.0"));
    }
    // 33 boundaries, infinity, sum and count, for three methods.
    assert_eq!(lines(&metrics, name).len(), 3 * 36);
}

#[test]
fn batch_sizes_are_told_by_store() {
    let metrics = PrometheusObserver::new();
    let mut call = call(Operation::FindMissing, 1);
    call.digests = Some(10_000);
    metrics.call_ended(&call);
    let name = "buildbarn_blobstore_blob_access_operations_find_missing_batch_size";
    has(&metrics, &format!(r#"{name}_bucket{{le="8192.0",storage_type="cas",backend_type="grpc"}} 0"#));
    has(&metrics, &format!(r#"{name}_bucket{{le="16384.0",storage_type="cas",backend_type="grpc"}} 1"#));
    has(&metrics, &format!(r#"{name}_bucket{{le="65536.0",storage_type="cas",backend_type="grpc"}} 1"#));
    // 17 boundaries, infinity, sum and count.
    assert_eq!(lines(&metrics, name).len(), 20);
}

#[test]
fn outcomes_of_puts_are_counted_and_what_was_created_is_added_up() {
    let metrics = PrometheusObserver::new();
    for outcome in [
        PutOutcome::Created { stored_bytes: 5 },
        PutOutcome::Created { stored_bytes: 7 },
        PutOutcome::AlreadyExists { stored_bytes: 100 },
        PutOutcome::Replaced { stored_bytes: 100, old_bytes: 50 },
        PutOutcome::Unclassified { stored_bytes: None },
    ] {
        let mut call = call(Operation::Put, 1);
        call.outcome = Some(outcome);
        metrics.call_ended(&call);
    }
    let labels = r#"storage_type="cas",backend_type="grpc""#;
    for (outcome, count) in [("created", 2), ("already_exists", 1), ("replaced", 1), ("unclassified", 1)] {
        has(&metrics, &format!(r#"blobaccess_put_outcomes_total{{{labels},outcome="{outcome}"}} {count}"#));
    }
    has(&metrics, &format!("blobaccess_put_created_bytes_total{{{labels}}} 12"));
}

#[test]
fn events_are_counted() {
    let metrics = PrometheusObserver::new();
    let storage_type = StorageType::Ac;
    for event in [
        Event::Evicted { storage_type, released_bytes: 10 },
        Event::Evicted { storage_type, released_bytes: 20 },
        Event::Corrupted { storage_type, message: "bit rot".to_owned() },
        Event::ActionResultPut { worker_completed_timestamp: true },
        Event::ActionResultPut { worker_completed_timestamp: false },
        Event::ActionResultPut { worker_completed_timestamp: false },
        Event::ExistenceCacheAsked { hits: 3, misses: 1 },
        Event::ExistenceCacheAsked { hits: 4, misses: 0 },
    ] {
        metrics.event(&event);
    }
    let put = "buildbarn_blobstore_action_result_timestamp_injecting_blob_access_put_operations_total";
    for line in [
        r#"blobaccess_evictions_total{storage_type="ac"} 2"#,
        r#"blobaccess_evicted_bytes_total{storage_type="ac"} 30"#,
        r#"blobaccess_corruptions_total{storage_type="ac"} 1"#,
        &format!(r#"{put}{{worker_completed_timestamp="present"}} 1"#),
        &format!(r#"{put}{{worker_completed_timestamp="absent"}} 2"#),
        r#"blobaccess_existence_cache_digests_total{result="hit"} 7"#,
        r#"blobaccess_existence_cache_digests_total{result="miss"} 1"#,
        r#"buildbarn_eviction_set_operations_total{name="ExistenceCachingBlobAccess",operation="Touch"} 7"#,
        r#"buildbarn_eviction_set_operations_total{name="ExistenceCachingBlobAccess",operation="Insert"} 1"#,
    ] {
        has(&metrics, line);
    }
}

#[test]
fn gauges_are_read_at_each_scrape_and_described_once() {
    let metrics = PrometheusObserver::new();
    let reads = Arc::new(AtomicU32::new(0));
    for storage_type in ["cas", "ac"] {
        let reads = Arc::clone(&reads);
        let read = move || f64::from(reads.fetch_add(1, Ordering::Relaxed));
        metrics.register_gauge("held_bytes", "What is held", &[("storage_type", storage_type)], read).unwrap();
    }
    metrics.register_gauge("up_seconds", "How long it runs", &[], || 1.5).unwrap();
    assert_eq!(
        lines(&metrics, ""),
        [
            "# HELP held_bytes What is held",
            "# TYPE held_bytes gauge",
            r#"held_bytes{storage_type="ac"} 0.0"#,
            r#"held_bytes{storage_type="cas"} 1.0"#,
            "# HELP up_seconds How long it runs",
            "# TYPE up_seconds gauge",
            "up_seconds 1.5",
            "# EOF",
        ]
        .map(str::to_owned)
    );
    assert_eq!(lines(&metrics, "held_bytes{")[0], r#"held_bytes{storage_type="ac"} 2.0"#);
    // A gauge of the same name and labels replaces the previous one.
    metrics.register_gauge("up_seconds", "", &[], || 2.5).unwrap();
    assert_eq!(lines(&metrics, "up_seconds"), ["up_seconds 2.5"]);
}

#[test]
fn names_that_prometheus_does_not_know_are_refused() {
    let metrics = PrometheusObserver::new();
    for name in ["", "1st", "with space", "dash-ed", "ümlaut"] {
        let error = metrics.register_gauge(name, "", &[], || 0.0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        let error = metrics.register_gauge("fine", "", &[(name, "value")], || 0.0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    assert!(metrics.register_gauge("fine", "", &[("co:lon", "value")], || 0.0).is_err());
    assert_eq!(metrics.encode(), "# EOF\n");
}

#[test]
fn values_of_labels_are_escaped() {
    let metrics = PrometheusObserver::new();
    metrics.register_gauge("held", "", &[("name", "a\"b\\c\nd")], || 0.0).unwrap();
    assert_eq!(lines(&metrics, "held{"), [r#"held{name="a\"b\\c\nd"} 0.0"#]);
}

//! More calls than the server takes are refused at once, and those that it took complete.

use std::sync::atomic::Ordering;

use blobaccess_grpc::ServiceOptions;
use blobaccess_grpc::services::remote_execution::action_cache_client::ActionCacheClient;
use blobaccess_proto::remote_execution as re;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::wired::{Wired, get, update};

const CONNECTIONS: usize = 100;
const OPEN_CALLS: usize = 8;

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_at_once_and_the_others_complete() {
    let wired = Wired::new(ServiceOptions::default().with_max_open_calls(OPEN_CALLS));
    let server = wired.serve(None).await;
    let result = re::ActionResult { exit_code: 9, ..re::ActionResult::default() };
    ActionCacheClient::new(server.connect().await).update_action_result(update(result.clone())).await.unwrap();

    wired.ac.hang();
    let mut calls = FuturesUnordered::new();
    for _ in 0..CONNECTIONS {
        let channel = server.connect().await;
        calls.push(async move { ActionCacheClient::new(channel).get_action_result(get()).await });
    }
    // None of those that were admitted can end before they are let go, so these are the others.
    for _ in 0..CONNECTIONS - OPEN_CALLS {
        let status = calls.next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert!(status.message().contains('8'), "{status}");
    }
    let snapshot = wired.services.snapshot();
    assert_eq!((snapshot.open_calls, snapshot.max_open_calls), (OPEN_CALLS, OPEN_CALLS));
    assert_eq!(snapshot.refused_calls, u64::try_from(CONNECTIONS - OPEN_CALLS).unwrap());
    assert_eq!(wired.ac.waiting.load(Ordering::SeqCst), OPEN_CALLS);
    let mut health = HealthClient::new(server.connect().await);
    health.check(HealthCheckRequest::default()).await.expect("health is exempt");

    wired.ac.gets.add_permits(OPEN_CALLS);
    while let Some(answer) = calls.next().await {
        assert_eq!(answer.unwrap().into_inner(), result);
    }
    drop((calls, health));
    server.stop().await.unwrap();
    assert_eq!(wired.services.snapshot().open_calls, 0);
}

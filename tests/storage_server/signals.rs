//! The signals that tell a server to stop.

use std::os::unix::process::ExitStatusExt;

use blobaccess_grpc::services::bytestream::byte_stream_client::ByteStreamClient;
use blobaccess_proto::bytestream::WriteRequest;
use futures::{StreamExt, stream};

use crate::process::Process;
use crate::site::text;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the examples, built: see CONTRIBUTING.md"]
async fn a_second_signal_ends_a_server_that_waits_for_calls() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("storage.json");
    let anybody = r#""getAuthorizer": { "allow": {} }, "putAuthorizer": { "allow": {} }, "findMissingAuthorizer": { "allow": {} }"#;
    let json = format!(
        r#"{{
            "grpcServers": [{{
                "listenAddresses": ["127.0.0.1:0"], "authenticationPolicy": {{ "allow": {{}} }}, "stopGracefully": true
            }}],
            "contentAddressableStorage": {{
                "backend": {{ "local": {{
                    "keyLocationMapInMemory": {{ "entries": 1000 }},
                    "keyLocationMapMaximumGetAttempts": 8, "keyLocationMapMaximumPutAttempts": 32,
                    "oldBlocks": 1, "currentBlocks": 1, "newBlocks": 1,
                    "blocksInMemory": {{ "blockSizeBytes": 1048576 }}
                }} }},
                {anybody}
            }}
        }}"#
    );
    std::fs::write(&file, json).expect("a file");
    let (process, mut output) = Process::start("storage_server", &[&text(&file)], &[]);
    let address = output.following("listening on ");
    output.following("ready");

    // An upload whose client is slow: the server may not end before it has.
    let (sender, parts) = tokio::sync::mpsc::channel(1);
    let hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let resource_name = format!("uploads/00000000-0000-0000-0000-000000000000/blobs/{hash}/5");
    let part = WriteRequest { resource_name, data: "h".into(), ..WriteRequest::default() };
    sender.send(part).await.expect("the stream is open");
    let parts = stream::unfold(parts, |mut parts| async move { Some((parts.recv().await?, parts)) }).boxed();
    let mut client = ByteStreamClient::connect(format!("http://{address}")).await.expect("it listens");
    let mut upload = Box::pin(client.write(parts));
    // Once there is room for another part, the first one was taken, so that the call is open.
    tokio::select! {
        ended = &mut upload => panic!("the call ended: {ended:?}"),
        room = sender.reserve() => drop(room.expect("the stream is open")),
    }

    process.terminate();
    output.following("stopping");
    output.discard();
    let ended = process.stop();
    // A handler of signals cannot end by its own signal, and exits as shells do. The watchdog would have killed it.
    assert!(ended.signal() == Some(15) || ended.code() == Some(128 + 15), "it ended with {ended}");
    upload.await.expect_err("the server is gone");
}

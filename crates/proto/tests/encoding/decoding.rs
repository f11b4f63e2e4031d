//! Decoding of messages with unknown fields, and of malformed bytes.

use bazel_remote_apis::build::bazel::remote::execution::v2 as their_execution;
use blobaccess_proto::outcome::PutOutcome;
use blobaccess_proto::outcome::put_outcome::{AlreadyExists, Created, Outcome, Replaced, Unclassified};
use blobaccess_proto::remote_execution::batch_update_blobs_response::Response;
use blobaccess_proto::{bytestream, remote_execution, rpc};
use bytes::Bytes;
use prost::Message;

use crate::reencode;

#[test]
fn an_outcome_is_on_the_wire_as_written_here() {
    fn assert_encoded(outcome: Outcome, expected: &[u8]) {
        let response = Response { outcome: Some(PutOutcome { outcome: Some(outcome) }), ..Response::default() };
        // 59001 as a varint with the wire type of a message.
        let field = [&[0xca, 0xe7, 0x1c, u8::try_from(expected.len()).expect("short")], expected].concat();
        assert_eq!(response.encode_to_vec(), field);
        assert_eq!(Response::decode(&field[..]).expect("decoded"), response);
    }
    assert_encoded(Outcome::Created(Created { stored_bytes: 5 }), b"\x0a\x02\x08\x05");
    assert_encoded(Outcome::AlreadyExists(AlreadyExists { stored_bytes: 5 }), b"\x12\x02\x08\x05");
    assert_encoded(Outcome::Replaced(Replaced { stored_bytes: 5, old_bytes: 6 }), b"\x1a\x04\x08\x05\x10\x06");
    assert_encoded(Outcome::Unclassified(Unclassified { stored_bytes: None }), b"\x22\x00");
    // A known size of zero differs from an unknown size.
    assert_encoded(Outcome::Unclassified(Unclassified { stored_bytes: Some(0) }), b"\x22\x02\x08\x00");
}

#[test]
fn who_does_not_know_outcomes_reads_the_rest() {
    let plain = Response {
        digest: Some(remote_execution::Digest { hash: "aa".to_owned(), size_bytes: 1 }),
        status: Some(rpc::Status { code: 8, ..rpc::Status::default() }),
        outcome: None,
    };
    let outcome = Some(PutOutcome { outcome: Some(Outcome::Created(Created { stored_bytes: 1 })) });
    let sent = Response { outcome, ..plain.clone() };
    let read = reencode::<their_execution::batch_update_blobs_response::Response>(&sent.encode_to_vec());
    assert_eq!(read.expect("decoded"), plain.encode_to_vec());
}

/// Shows why stores keep the bytes of messages and not the messages.
#[test]
fn unknown_fields_are_dropped() {
    let known = remote_execution::ActionResult { exit_code: 3, ..Default::default() };
    let mut stored = known.encode_to_vec();
    prost::encoding::string::encode(1000, &"of a later version".to_owned(), &mut stored);
    let decoded = remote_execution::ActionResult::decode(&stored[..]).expect("decoded");
    assert_eq!(decoded, known);
    assert_ne!(decoded.encode_to_vec(), stored);
}

#[test]
fn bytes_share_the_memory_that_they_were_decoded_from() {
    let sent = bytestream::ReadResponse { data: Bytes::from(vec![7; 100]) };
    let message = Bytes::from(sent.encode_to_vec());
    let received = bytestream::ReadResponse::decode(message.clone()).expect("decoded");
    assert_eq!(received, sent);
    assert_eq!(received.data.as_ptr_range().end, message.as_ptr_range().end);
}

//! Requests to read or replace a message, whose message stays as it is encoded.

#[cfg(feature = "client")]
use blobaccess::Digest;
use blobaccess_proto::remote_execution as re;
use bytes::Bytes;
#[cfg(feature = "server")]
use bytes::{Buf, BytesMut};
use prost::encoding;
#[cfg(feature = "server")]
use prost::{DecodeError, encoding::DecodeContext};

/// The number of the instance name, the same in all requests.
const INSTANCE_NAME: u32 = 1;

/// The numbers of the fields of a request.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "client", expect(unnameable_types, reason = "it describes messages that have types of their own"))]
#[cfg_attr(not(feature = "client"), expect(unreachable_pub, reason = "only a client names it in its interface"))]
pub struct RequestLayout {
    pub(crate) digest: u32,
    pub(crate) digest_function: u32,
    /// The number of the message; `None` in a request to read.
    pub(crate) message: Option<u32>,
}

/// A request to read a message, or to replace it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MessageRequest {
    pub(crate) instance_name: String,
    pub(crate) digest: Option<re::Digest>,
    pub(crate) digest_function: i32,
    /// The message; `None` in a request to read.
    pub(crate) message: Option<Bytes>,
}

impl MessageRequest {
    /// Makes a request to read the message of `digest`.
    #[cfg(feature = "client")]
    pub(crate) fn new(digest: &Digest) -> Self {
        Self {
            instance_name: digest.instance_name().as_str().to_owned(),
            digest: Some(crate::message::to_proto(digest)),
            digest_function: digest.function().number(),
            message: None,
        }
    }

    /// Makes it a request to replace the message by `message`.
    #[cfg(feature = "client")]
    pub(crate) fn with_message(mut self, message: Bytes) -> Self {
        self.message = Some(message);
        self
    }

    /// Returns the encoded request.
    #[cfg(feature = "client")]
    pub(crate) fn encode(&self, layout: RequestLayout) -> Bytes {
        let mut encoded = Vec::with_capacity(128 + self.message.as_ref().map_or(0, Bytes::len));
        if !self.instance_name.is_empty() {
            encoding::string::encode(INSTANCE_NAME, &self.instance_name, &mut encoded);
        }
        if let Some(digest) = &self.digest {
            encoding::message::encode(layout.digest, digest, &mut encoded);
        }
        if self.digest_function != 0 {
            encoding::int32::encode(layout.digest_function, &self.digest_function, &mut encoded);
        }
        if let (Some(message), Some(number)) = (&self.message, layout.message) {
            encoding::bytes::encode(number, message, &mut encoded);
        }
        encoded.into()
    }

    /// Reads an encoded request. Fields that are not in the layout are skipped.
    #[cfg(feature = "server")]
    pub(crate) fn decode(layout: RequestLayout, mut encoded: Bytes) -> Result<Self, DecodeError> {
        let (mut request, mut parts) = (Self::default(), Vec::new());
        while encoded.has_remaining() {
            let (number, wire_type) = encoding::decode_key(&mut encoded)?;
            let ctx = DecodeContext::default();
            if number == INSTANCE_NAME {
                encoding::string::merge(wire_type, &mut request.instance_name, &mut encoded, ctx)?;
            } else if number == layout.digest {
                let digest = request.digest.get_or_insert_default();
                encoding::message::merge(wire_type, digest, &mut encoded, ctx)?;
            } else if number == layout.digest_function {
                encoding::int32::merge(wire_type, &mut request.digest_function, &mut encoded, ctx)?;
            } else if layout.message == Some(number) {
                let mut part = Bytes::new();
                encoding::bytes::merge(wire_type, &mut part, &mut encoded, ctx)?;
                parts.push(part);
            } else {
                encoding::skip_field(wire_type, number, &mut encoded, ctx)?;
            }
        }
        request.message = concatenate(parts);
        Ok(request)
    }
}

/// Joins the parts of a message. A message may come in several, and their concatenation merges them.
#[cfg(feature = "server")]
pub(crate) fn concatenate(mut parts: Vec<Bytes>) -> Option<Bytes> {
    let last = parts.pop()?;
    if parts.is_empty() {
        return Some(last);
    }
    let mut whole = BytesMut::new();
    for part in parts.iter().chain([&last]) {
        whole.extend_from_slice(part);
    }
    Some(whole.freeze())
}

#[cfg(all(test, feature = "client", feature = "server"))]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use blobaccess::{Ac, DigestFunction, Fsac, Icas, InstanceName, Iscc};
    use blobaccess_proto::{fsac, icas, iscc};
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::message_protocol::{MessageProtocol as _, UpdateProtocol as _};

    fn digest() -> Digest {
        Digest::of(InstanceName::new("some/where").unwrap(), DigestFunction::Blake3, b"an action")
    }

    /// Asserts that a request is the generated message `theirs`, both ways.
    fn agree<M: Message + Default + PartialEq + std::fmt::Debug>(
        layout: RequestLayout,
        ours: &MessageRequest,
        theirs: &M,
    ) {
        let encoded = ours.encode(layout);
        assert_eq!(M::decode(encoded).unwrap(), *theirs);
        assert_eq!(MessageRequest::decode(layout, theirs.encode_to_vec().into()).unwrap(), *ours);
    }

    #[test]
    fn requests_are_laid_out_as_the_generated_messages_are() {
        let (get, name) = (MessageRequest::new(&digest()), "some/where".to_owned());
        let (number, proto) = (digest().function().number(), Some(crate::message::to_proto(&digest())));
        agree(
            Ac::GET_LAYOUT,
            &get,
            &re::GetActionResultRequest {
                instance_name: name.clone(),
                action_digest: proto.clone(),
                digest_function: number,
                ..Default::default()
            },
        );
        agree(
            Icas::GET_LAYOUT,
            &get,
            &icas::GetReferenceRequest { instance_name: name.clone(), digest: proto.clone(), digest_function: number },
        );
        agree(
            Iscc::GET_LAYOUT,
            &get,
            &iscc::GetPreviousExecutionStatsRequest {
                instance_name: name.clone(),
                reduced_action_digest: proto.clone(),
                digest_function: number,
            },
        );
        agree(
            Fsac::GET_LAYOUT,
            &get,
            &fsac::GetFileSystemAccessProfileRequest {
                instance_name: name.clone(),
                reduced_action_digest: proto.clone(),
                digest_function: number,
            },
        );

        let result = re::ActionResult { exit_code: 7, ..Default::default() };
        let update = get.clone().with_message(result.encode_to_vec().into());
        agree(
            Ac::UPDATE_LAYOUT,
            &update,
            &re::UpdateActionResultRequest {
                instance_name: name.clone(),
                action_digest: proto.clone(),
                action_result: Some(result),
                digest_function: number,
                ..Default::default()
            },
        );
        let size_classes = [(7, iscc::PerSizeClassStats::default())].into();
        let stats = iscc::PreviousExecutionStats { size_classes, ..Default::default() };
        let update = get.clone().with_message(stats.encode_to_vec().into());
        agree(
            Iscc::UPDATE_LAYOUT,
            &update,
            &iscc::UpdatePreviousExecutionStatsRequest {
                instance_name: name.clone(),
                reduced_action_digest: proto.clone(),
                previous_execution_stats: Some(stats),
                digest_function: number,
            },
        );
        let profile = fsac::FileSystemAccessProfile { bloom_filter: "\u{1}".into(), bloom_filter_hash_functions: 3 };
        let update = get.with_message(profile.encode_to_vec().into());
        agree(
            Fsac::UPDATE_LAYOUT,
            &update,
            &fsac::UpdateFileSystemAccessProfileRequest {
                instance_name: name,
                reduced_action_digest: proto,
                file_system_access_profile: Some(profile),
                digest_function: number,
            },
        );
    }

    #[test]
    fn a_request_without_fields_has_none() {
        let none = MessageRequest::default();
        assert_eq!(none.encode(Iscc::UPDATE_LAYOUT), Bytes::new());
        assert_eq!(MessageRequest::decode(Iscc::UPDATE_LAYOUT, Bytes::new()).unwrap(), none);
        // A message without fields is there all the same.
        let empty = none.with_message(Bytes::new());
        let encoded = empty.encode(Iscc::UPDATE_LAYOUT);
        assert_eq!(MessageRequest::decode(Iscc::UPDATE_LAYOUT, encoded).unwrap(), empty);
    }

    #[test]
    fn parts_of_a_message_are_joined_and_other_fields_are_skipped() {
        let mut encoded = Vec::new();
        encoding::bytes::encode(4, &Bytes::from_static(b"one, "), &mut encoded);
        encoding::fixed64::encode(1000, &7, &mut encoded);
        encoding::bytes::encode(4, &Bytes::from_static(b"two"), &mut encoded);
        let request = MessageRequest::decode(Fsac::UPDATE_LAYOUT, encoded.into()).unwrap();
        assert_eq!(request.message, Some(Bytes::from_static(b"one, two")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_exactly_if_they_are_the_generated_message(
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let theirs = iscc::GetPreviousExecutionStatsRequest::decode(&*bytes);
            let ours = MessageRequest::decode(Iscc::GET_LAYOUT, bytes.into());
            prop_assert_eq!(ours.is_ok(), theirs.is_ok());
            if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
                prop_assert_eq!(ours.instance_name, theirs.instance_name);
                prop_assert_eq!(ours.digest, theirs.reduced_action_digest);
                prop_assert_eq!(ours.digest_function, theirs.digest_function);
            }
        }
    }
}

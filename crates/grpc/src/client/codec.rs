//! Action results as the bytes that they are, so that fields which we do not know are kept.

use blobaccess_proto::remote_execution as re;
use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// The number of `UpdateActionResultRequest.action_result`.
const ACTION_RESULT: u32 = 3;

/// A request that puts an action result.
#[derive(Debug)]
pub(super) struct Update {
    /// All but the action result.
    pub(super) request: re::UpdateActionResultRequest,
    /// The action result, encoded.
    pub(super) action_result: Bytes,
}

/// Sends `T` and receives bytes.
#[derive(Debug)]
pub(super) struct RawAnswer<T>(std::marker::PhantomData<fn(T)>);

impl<T> Default for RawAnswer<T> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

/// What can be sent with [`RawAnswer`].
pub(super) trait Encode: Send + Sync + 'static {
    fn encode(&self, buffer: &mut EncodeBuf<'_>) -> Result<(), prost::EncodeError>;
}

impl Encode for re::GetActionResultRequest {
    fn encode(&self, buffer: &mut EncodeBuf<'_>) -> Result<(), prost::EncodeError> {
        Message::encode(self, buffer)
    }
}

impl Encode for Update {
    /// Fields may come in any order.
    fn encode(&self, buffer: &mut EncodeBuf<'_>) -> Result<(), prost::EncodeError> {
        Message::encode(&self.request, buffer)?;
        encode_key(ACTION_RESULT, WireType::LengthDelimited, buffer);
        encode_varint(u64::try_from(self.action_result.len()).unwrap_or(u64::MAX), buffer);
        buffer.put_slice(&self.action_result);
        Ok(())
    }
}

impl<T: Encode> Codec for RawAnswer<T> {
    type Encode = T;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl<T: Encode> Encoder for RawAnswer<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl<T: Encode> Decoder for RawAnswer<T> {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

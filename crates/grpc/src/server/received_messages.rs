//! The way in which all services take their messages.

use tonic::codec::{Codec, CompressionEncoding};
use tonic::server::Grpc;

use super::options::ServiceOptions;

/// The codings of messages that are taken, besides none. What a message decodes to is held to the limit of messages.
/// Answers are sent as they are.
pub(crate) const CODINGS: [CompressionEncoding; 2] = [CompressionEncoding::Gzip, CompressionEncoding::Zstd];

/// Makes the side of a server for messages of `codec`, with the limits of `options`.
pub(crate) fn grpc<C: Codec>(codec: C, options: &ServiceOptions) -> Grpc<C> {
    let grpc = Grpc::new(codec)
        .max_decoding_message_size(options.max_received_message_bytes())
        .max_encoding_message_size(options.max_message_size_bytes);
    CODINGS.into_iter().fold(grpc, Grpc::accept_compressed)
}

/// Gives a generated server the codings of [`CODINGS`], and the limits of `$received` and `$sent` bytes for a message.
macro_rules! limited {
    ($server:expr, $received:expr, $sent:expr) => {
        $crate::server::received_messages::CODINGS
            .into_iter()
            .fold($server.max_decoding_message_size($received).max_encoding_message_size($sent), |server, coding| {
                server.accept_compressed(coding)
            })
    };
}

pub(crate) use limited;

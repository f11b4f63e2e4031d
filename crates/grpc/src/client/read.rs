//! Reads a blob as a stream, and goes on where a stream broke.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use blobaccess::{Blob, Compressor, Context, Digest, Error, ErrorKind, Provenance, ReadResource, Result};
use blobaccess_proto::bytestream::{ReadRequest, ReadResponse};
use bytes::Bytes;
use futures::stream;
use tonic::Streaming;

use super::connection::Connection;
use super::failure;
use crate::compression;
use crate::stubs::bytestream::byte_stream_client::ByteStreamClient;

/// The name of what is read, by which proxies route a call without looking into its messages.
const RESOURCE_NAME: &str = "build.bazel.remote.execution.v2.resource-name";

/// How many messages without data may come one after the other. Some servers begin or end with one; a server that does
/// not stop would otherwise never be silent, and its reader never done.
const MAX_EMPTY_MESSAGES: u32 = 1000;

/// A blob that is being read.
struct Reading {
    connection: Arc<Connection>,
    ctx: Context,
    digest: Digest,
    /// The compressor of the stream. Offsets are those of the contents, so a compressed stream cannot be gone on with.
    compressor: Option<Compressor>,
    stream: Streaming<ReadResponse>,
    /// The data of the first message, until it is taken.
    first: Option<Bytes>,
    /// How many bytes have come.
    received: u64,
    /// How often it broke since the last byte came.
    failures: u32,
}

impl Connection {
    /// Returns the blob that `digest` names, as a stream whose first message has come.
    pub(super) async fn read(self: &Arc<Self>, ctx: &Context, digest: &Digest, zstd: bool) -> Result<Blob> {
        let compressor = zstd.then_some(Compressor::Zstd);
        let (first, stream) = self.retried(ctx, |_| true, || self.open(ctx, digest, compressor, 0)).await?;
        let reading = Reading {
            connection: Arc::clone(self),
            ctx: ctx.clone(),
            digest: digest.clone(),
            compressor,
            stream,
            first,
            received: 0,
            failures: 0,
        };
        let pieces = stream::try_unfold(reading, |mut reading| async move {
            Ok(reading.next().await?.map(|piece| (piece, reading)))
        });
        Ok(match compressor {
            None => Blob::from_untrusted_stream(digest, pieces, Provenance::store()),
            Some(compressor) => {
                let decode = |stream| compression::decode(stream, ErrorKind::DataLoss);
                Blob::from_encoded(digest, compressor, None, pieces, decode, Provenance::store())
            }
        })
    }

    /// Begins to read at `offset`, and waits for the first message.
    async fn open(
        &self,
        ctx: &Context,
        digest: &Digest,
        compressor: Option<Compressor>,
        offset: u64,
    ) -> Result<(Option<Bytes>, Streaming<ReadResponse>)> {
        let resource_name = ReadResource { digest: digest.clone(), compressor }.to_string();
        let max = self.options.max_message_size_bytes;
        let open = async {
            let _permit = self.permit().await?;
            let name = resource_name.parse();
            let message = ReadRequest { resource_name, read_offset: crate::message::size(offset), read_limit: 0 };
            let mut request = self.request(ctx, ctx.deadline(), message).await?;
            // Instance names are not bound to be what metadata can have.
            if let Ok(name) = name {
                request.metadata_mut().insert(RESOURCE_NAME, name);
            }
            let attempt = self.attempt()?;
            let mut client = ByteStreamClient::new(attempt.channel()).max_decoding_message_size(max);
            let answer = async {
                let mut stream = client.read(request).await?.into_inner();
                let first = stream.message().await?;
                Ok((first.map(|message| message.data), stream))
            };
            let answer = answer.await;
            if !answer.as_ref().is_err_and(failure::is_time_out) {
                attempt.answered();
            }
            answer.map_err(failure::from_status)
        };
        let opened = self.within(self.silence_deadline(ctx), open).await;
        opened.map_err(|error| if error.is_not_found() { failure::not_found(digest, &error) } else { error })
    }
}

impl Reading {
    /// Returns the next piece; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let mut empty = 0;
        loop {
            let piece = match self.first.take() {
                Some(piece) => Some(piece),
                None => match self.receive().await {
                    Ok(piece) => piece,
                    Err(error) => {
                        self.resume(error).await?;
                        continue;
                    }
                },
            };
            let Some(piece) = piece else { return Ok(None) };
            if !piece.is_empty() {
                self.failures = 0;
                self.received = self.received.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                self.check_received()?;
                return Ok(Some(piece));
            }
            empty += 1;
            if empty > MAX_EMPTY_MESSAGES {
                let (digest, received) = (&self.digest, self.received);
                let message = format!("remote store sends no data of blob {digest} after {received} bytes");
                return Err(Error::data_loss(message));
            }
        }
    }

    /// Checks the size of a compressed stream. Uncompressed contents are verified elsewhere.
    fn check_received(&self) -> Result<()> {
        let max = compression::max_encoded_bytes(self.digest.size_bytes());
        if self.compressor.is_some() && self.received > max {
            let digest = &self.digest;
            let message = format!("remote store sends more than {max} bytes as the compressed form of blob {digest}");
            return Err(Error::data_loss(message));
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<Option<Bytes>> {
        let message = async { self.stream.message().await.map_err(failure::from_status) };
        let message = self.connection.within(self.connection.silence_deadline(&self.ctx), message).await;
        message.map(|message| message.map(|message| message.data)).map_err(vanished)
    }

    /// Opens the blob again where it broke off; `error` if that cannot help, and what went wrong if it did not.
    async fn resume(&mut self, mut error: Error) -> Result<()> {
        loop {
            self.failures += 1;
            if self.compressor.is_some() || !error.is_retryable() {
                return Err(error);
            }
            let clock = Arc::clone(&self.connection.clock);
            let until = self.connection.waits.next(&*clock, &self.ctx, self.failures);
            let Some(until) = until else { return Err(error) };
            tracing::debug!(%error, digest = %self.digest, received = self.received, "resuming a read");
            clock.sleep_until(until).await;
            self.connection.counters.retries.fetch_add(1, Ordering::Relaxed);
            match self.connection.open(&self.ctx, &self.digest, None, self.received).await.map_err(vanished) {
                Ok((first, stream)) => {
                    self.first = first;
                    self.stream = stream;
                    self.connection.counters.resumed_reads.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                Err(again) => error = again,
            }
        }
    }
}

/// Returns the error of a blob that was there when reading began and is no longer. It is not absent: its reader has
/// already used a part of it.
fn vanished(error: Error) -> Error {
    if error.is_not_found() { error.with_kind(ErrorKind::Aborted).at("while it was read") } else { error }
}

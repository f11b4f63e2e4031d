//! Copies that a remote server makes.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use blobaccess::replication::Replicator;
use blobaccess::{
    Blob, BlobAccess, Cas, Context, Digest, DigestKey, DigestSet, KeyFormat, ReadRequest, Result, SingleFlight,
};
use blobaccess_proto::replicator::ReplicateBlobsRequest;
use futures::future::{self, Either};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::oneshot;

use super::connection::Connection;
use super::failure;
use crate::message::to_proto;
use crate::stubs::replicator::replicator_client::ReplicatorClient;

/// The time that one call may take unless set.
const CALL_TIMEOUT: Duration = Duration::from_mins(15);

/// The time that the last bytes of a read wait for the copy unless set. A blob of 100 MB is copied in that time at
/// 1 Gbit/s.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// The number of calls that one [`Replicator::replicate_all`] makes at the same time. A server copies the blobs of each
/// call concurrently, so that few are enough to keep it busy.
const CALLS_AT_ONCE: usize = 2;

/// The largest total of blobs in one call, in bytes: 1 GiB, which takes 9 s at 1 Gbit/s, far less than the time that a
/// call may take. A larger blob goes alone.
const MAX_CALL_BLOB_BYTES: u64 = 1 << 30;

/// A [`Replicator`] whose copies are made by a server of Buildbarn's replicator protocol, from a source into a sink that
/// the server knows.
///
/// Several servers that would copy the same blobs ask one server, which copies each blob once.
/// [`Services::with_replicator`](crate::Services::with_replicator) is such a server; so is Buildbarn's `bb_replicator`.
///
/// * **A read** is answered by the source. The server is asked to copy the blob meanwhile. Of several readers of one
///   blob at the same time, one asks. The copy is expendable: its failure is logged and not returned, and it is given up
///   if the reader is done with the contents long before ([`with_max_wait`](Self::with_max_wait)).
/// * **`replicate_all`** asks for as many blobs in one call as a message has room for, and up to 1 GiB of them.
///
/// # Order
///
/// `source` must be the store that the server copies from, or one in front of it.
///
/// # Weakens
///
/// Contents cross the network twice: from the source to the reader, and from the source to the server.
///
/// # Memory
///
/// About 100 bytes for each copy under way, of which there are no more than concurrent calls of the
/// [`Remote`](crate::Remote).
///
/// # Cancel safety
///
/// A reader that goes away abandons its copy unless another reader waits for it; the server then stops copying. A
/// dropped `replicate_all` leaves some of the blobs copied.
///
/// # Errors
///
/// `DeadlineExceeded` if a call takes longer than [`with_call_timeout`](Self::with_call_timeout). Calls that fail in
/// passing are made again.
///
/// # Examples
///
/// ```no_run
/// # fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess_grpc::{Remote, RemoteOptions};
///
/// let source = Arc::new(Remote::new(RemoteOptions::new("grpc://storage-a.example.com:8980"))?.cas());
/// let replicator = Remote::new(RemoteOptions::new("grpc://replicator.example.com:8980"))?.replicator(source);
/// println!("{replicator}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RemoteReplicator<A: ?Sized> {
    source: Arc<A>,
    connection: Arc<Connection>,
    copies: SingleFlight<DigestKey, ()>,
    call_timeout: Duration,
    max_wait: Duration,
}

impl<A: BlobAccess<Kind = Cas> + ?Sized> RemoteReplicator<A> {
    pub(super) fn new(source: Arc<A>, connection: Arc<Connection>) -> Self {
        Self { source, connection, copies: SingleFlight::new(), call_timeout: CALL_TIMEOUT, max_wait: MAX_WAIT }
    }

    /// Sets the time that one call may take: 15 minutes unless set.
    ///
    /// If it is too small, large blobs are never copied: 15 minutes are 112 GB at 1 Gbit/s. If it is too large, a server
    /// that hangs holds `replicate_all` up for that long. Deadlines of callers may end a call before.
    #[must_use]
    pub const fn with_call_timeout(mut self, call_timeout: Duration) -> Self {
        self.call_timeout = call_timeout;
        self
    }

    /// Sets the time that the last bytes of a read wait for the copy once the source has ended: 1 s unless set. The copy
    /// is then given up.
    ///
    /// If it is too small, blobs are read from the source again and again, because the server is told to stop before it
    /// is done. If it is too large, a slow sink slows readers down.
    #[must_use]
    pub const fn with_max_wait(mut self, max_wait: Duration) -> Self {
        self.max_wait = max_wait;
        self
    }

    /// Returns the store that reads are answered by.
    #[must_use]
    pub const fn source(&self) -> &Arc<A> {
        &self.source
    }

    /// Returns `blob`, which the server copies while it is read.
    fn copied_while_read(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Blob {
        let copy = Copy { connection: Arc::clone(&self.connection), call_timeout: self.call_timeout };
        let (ctx, name) = (ctx.clone(), digest.clone());
        // Instance names may decide about rights, so that callers of one do not ask for those of another.
        let joined = self.copies.join(digest.cache_key(KeyFormat::WithInstanceName), || async move {
            if let Err(error) = copy.ask(&ctx, std::slice::from_ref(&name)).await {
                tracing::debug!(%error, digest = %name, "a blob was not copied");
            }
        });
        let (ended, end) = oneshot::channel::<()>();
        let (clock, max_wait) = (Arc::clone(&self.connection.clock), self.max_wait);
        let patience = async move {
            // Whichever way reading ended.
            let _ended = end.await;
            match clock.monotonic().checked_add(max_wait) {
                Some(until) => clock.sleep_until(until).await,
                None => future::pending().await,
            }
        };
        let task = async move {
            if let Either::Right(_) = future::select(joined.flight, Box::pin(patience)).await {
                tracing::debug!("a copy was given up, because its reader was done long before");
            }
            Ok(())
        };
        blob.on_finish(move |_| drop(ended)).with_task(task)
    }
}

/// A way to ask the server.
#[derive(Clone, Debug)]
struct Copy {
    connection: Arc<Connection>,
    call_timeout: Duration,
}

impl Copy {
    /// Asks the server to copy blobs of one instance name and function, and waits until they are there.
    async fn ask(&self, ctx: &Context, digests: &[Digest]) -> Result<()> {
        let Some(first) = digests.first() else { return Ok(()) };
        let max = self.connection.options.max_message_size_bytes;
        let attempt = || {
            let message = ReplicateBlobsRequest {
                instance_name: first.instance_name().as_str().to_owned(),
                blob_digests: digests.iter().map(to_proto).collect(),
                digest_function: first.function().number(),
            };
            self.connection.call_until(ctx, self.deadline(ctx), message, |channel, request| async move {
                ReplicatorClient::new(channel).max_decoding_message_size(max).replicate_blobs(request).await
            })
        };
        let answer = self.connection.retried(ctx, |_| true, attempt).await;
        // A blob that the server does not find in its source was there when its copy was asked for.
        answer.map(drop).map_err(failure::never_absent)
    }

    fn deadline(&self, ctx: &Context) -> Option<Instant> {
        let deadline = self.connection.now().checked_add(self.call_timeout);
        [deadline, ctx.deadline()].into_iter().flatten().min()
    }
}

/// Splits digests of one instance name and function, so that each part is one call: of up to `max_digests`, and up to
/// [`MAX_CALL_BLOB_BYTES`].
fn calls(digests: &[Digest], max_digests: usize) -> Vec<&[Digest]> {
    let (mut calls, mut rest) = (Vec::new(), digests);
    while !rest.is_empty() {
        let mut total: u64 = 0;
        let fit = rest.iter().take(max_digests).take_while(|digest| {
            total = total.saturating_add(digest.size_bytes());
            total <= MAX_CALL_BLOB_BYTES
        });
        let count = fit.count().max(1).min(rest.len());
        let Some((call, others)) = rest.split_at_checked(count) else { break };
        calls.push(call);
        rest = others;
    }
    calls
}

#[async_trait]
impl<A: BlobAccess<Kind = Cas> + ?Sized> Replicator for RemoteReplicator<A> {
    type Kind = Cas;

    async fn replicate(&self, ctx: &Context, request: &ReadRequest) -> Result<Blob> {
        let blob = request.read_from(&*self.source, ctx).await?;
        Ok(self.copied_while_read(ctx, request.digest(), blob))
    }

    async fn replicate_all(&self, ctx: &Context, digests: &DigestSet) -> Result<()> {
        let copy = Copy { connection: Arc::clone(&self.connection), call_timeout: self.call_timeout };
        let alike = digests.partition_by(|digest| (digest.instance_name(), digest.function()));
        let mut asked = Vec::new();
        for (_, digests) in &alike {
            for call in calls(digests.as_slice(), self.connection.digests_of_a_message(digests)) {
                asked.push(copy.ask(ctx, call));
            }
        }
        stream::iter(asked).buffer_unordered(CALLS_AT_ONCE).try_collect::<()>().await
    }
}

impl<A: Display + ?Sized> Display for RemoteReplicator<A> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "remote({} by {})", self.source, self.connection.options.address)
    }
}

#[cfg(test)]
mod tests {
    use blobaccess::{DigestFunction, InstanceName};

    use super::*;

    fn sized(size_bytes: u64) -> Digest {
        Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, &[7; 32], size_bytes).unwrap()
    }

    fn split(sizes: &[u64], max_digests: usize) -> Vec<Vec<u64>> {
        let digests: Vec<_> = sizes.iter().map(|size| sized(*size)).collect();
        let calls = calls(&digests, max_digests);
        calls.into_iter().map(|call| call.iter().map(Digest::size_bytes).collect()).collect()
    }

    #[test]
    fn a_call_has_so_many_digests_and_so_many_bytes_and_at_least_one_blob() {
        assert!(split(&[], 2).is_empty());
        assert_eq!(split(&[1, 2, 3, 4, 5], 2), [vec![1, 2], vec![3, 4], vec![5]]);
        let gib = 1 << 30;
        assert_eq!(
            split(&[gib - 1, 1, 1, 2 * gib, u64::MAX >> 1, 0], 9),
            [vec![gib - 1, 1], vec![1], vec![2 * gib], vec![u64::MAX >> 1], vec![0],]
        );
        assert_eq!(split(&[7], 0), [[7]], "a message without digests would never end");
    }
}

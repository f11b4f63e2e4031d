//! Sends a large blob in parts as it flows, in bounded memory.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use blobaccess::{Blob, BlobStream, Context, Digest, Error, PutCertainty, PutOutcome, Result, UploadToken};
use bytes::{Bytes, BytesMut};
use futures::future::{Either, select};
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt};
use object_store::PutPayload;
use object_store::multipart::PartId;
use object_store::path::Path;

use crate::LargeCreates;
use crate::aborts::Abandoned;
use crate::bucket::{Completion, MultipartUpload, ObjectInfo, Parts};
use crate::casblob::{Encoder, header_size_bytes};
use crate::claim::Claimed;
use crate::layout::Form;
use crate::shared::Shared;
use crate::whose::{Putting, Whose};

/// The largest number of parts that providers accept.
const MAX_PARTS: u64 = 10_000;

type Sending<'a> = Pin<Box<dyn Future<Output = Result<(usize, PartId)>> + Send + 'a>>;

impl Shared {
    pub(crate) async fn put_in_parts(
        &self,
        ctx: &Context,
        digest: &Digest,
        path: &Path,
        blob: Blob,
        wrong: Option<ObjectInfo>,
        putting: &Putting,
    ) -> Result<PutOutcome> {
        let token = putting.token;
        let (conditional, parts) = match self.bucket.conditional_parts() {
            // An object that is wrong is replaced without a condition: all who complete an upload complete the same.
            Some(_) if wrong.is_some() => (false, self.bucket.parts()),
            Some(parts) if self.findings().conditional_completion => (true, parts),
            Some(_) | None => (self.findings().conditional_completion, self.bucket.parts()),
        };
        let can_claim = self.findings().conditional_put
            && self.findings().conditional_update
            && self.bucket.provider().claims_beside_parts();
        let claims = wrong.is_none() && !conditional && can_claim && self.options.large_creates == LargeCreates::Claim;
        let abandoned = Abandoned { path: path.clone(), begun: None, claim: None, tries: 0 };
        let mut guard = Guard { shared: self, abandoned: Some(abandoned) };
        let begun = self.within(ctx, parts.begin(&self.bucket, path, Some(&token), ctx.counted_account())).await;
        let id = match begun.and_then(|begun| begun) {
            Ok(id) => id,
            Err(error) => {
                guard.abort().await;
                return Err(error.not_stored());
            }
        };
        let place = MultipartUpload { path: path.clone(), id };
        // A directory takes no conditions and needs none.
        let classified = (conditional || claims) && wrong.is_none();
        if let Some(abandoned) = &mut guard.abandoned {
            abandoned.begun = Some((parts.clone(), place.clone()));
        }
        let mut upload = Upload {
            shared: self,
            ctx,
            digest,
            token: &token,
            putting,
            parts,
            guard,
            place: &place,
            claims,
            wrong,
            part_size_bytes: self.part_size_bytes(digest),
            sent: BTreeMap::new(),
            sent_bytes: 0,
        };
        let sent = {
            // An upload of a dropped put is aborted meanwhile, in case that `run` is not running. It holds up nothing.
            let abort = std::pin::pin!(async {
                self.abort_one().await;
                futures::future::pending::<()>().await;
            });
            let sending = std::pin::pin!(self.within(ctx, upload.send(blob)));
            match select(sending, abort).await {
                Either::Left((sent, _)) => sent.and_then(|sent| sent),
                Either::Right(((), _)) => Err(Error::internal("an endless wait has ended")),
            }
        };
        match sent {
            Ok(()) => upload.complete(classified).await,
            Err(error) => {
                upload.guard.abort().await;
                Err(error.not_stored())
            }
        }
    }

    /// Returns the size of parts, which grows where there would be too many. All but the last have one size, as some
    /// providers require.
    fn part_size_bytes(&self, digest: &Digest) -> u64 {
        let size = digest.size_bytes() + header_size_bytes(digest.size_bytes()) + digest.size_bytes() / 128;
        self.options.part_size_bytes.max(5 << 20).max(size.div_ceil(MAX_PARTS).next_multiple_of(1 << 20))
    }
}

/// A guard that queues an unfinished upload to be aborted.
struct Guard<'a> {
    shared: &'a Shared,
    abandoned: Option<Abandoned>,
}

impl Guard<'_> {
    async fn abort(&mut self) {
        if let Some(abandoned) = &self.abandoned
            && self.shared.abort(abandoned).await.is_ok()
        {
            self.abandoned = None;
        }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some(abandoned) = self.abandoned.take() {
            self.shared.aborts.add(abandoned);
        }
    }
}

struct Upload<'a> {
    shared: &'a Shared,
    ctx: &'a Context,
    digest: &'a Digest,
    token: &'a UploadToken,
    putting: &'a Putting,
    parts: &'a Parts,
    guard: Guard<'a>,
    place: &'a MultipartUpload,
    /// Whether the key is claimed before the upload is completed.
    claims: bool,
    /// The object to replace, which is wrong.
    wrong: Option<ObjectInfo>,
    part_size_bytes: u64,
    sent: BTreeMap<usize, PartId>,
    sent_bytes: u64,
}

/// A buffer that cuts a blob into parts of one size.
struct Cutter {
    pieces: Vec<Bytes>,
    buffered_bytes: u64,
    part_size_bytes: u64,
}

impl Cutter {
    /// Takes `piece` up to the end of a part, and returns that part and the rest of the piece.
    fn push(&mut self, piece: &mut Bytes) -> Option<PutPayload> {
        let room = usize::try_from(self.part_size_bytes - self.buffered_bytes).unwrap_or(usize::MAX);
        let taken = piece.split_to(room.min(piece.len()));
        self.buffered_bytes += u64::try_from(taken.len()).unwrap_or(u64::MAX);
        self.pieces.push(taken);
        (self.buffered_bytes >= self.part_size_bytes).then(|| self.take())
    }

    fn take(&mut self) -> PutPayload {
        self.buffered_bytes = 0;
        std::mem::take(&mut self.pieces).into_iter().collect()
    }
}

impl<'a> Upload<'a> {
    /// Sends all parts. The first part of a casblob is sent last, as the table is known only then.
    async fn send(&mut self, blob: Blob) -> Result<()> {
        let mut stream = blob.into_stream(..)?;
        let mut encoder = match self.shared.form() {
            Form::Plain => None,
            Form::Casblob => Some(Encoder::new(self.digest.size_bytes())?),
        };
        let mut cutter = Cutter { pieces: Vec::new(), buffered_bytes: 0, part_size_bytes: self.part_size_bytes };
        let mut first: Option<PutPayload> = None;
        let table_bytes = header_size_bytes(self.digest.size_bytes());
        if encoder.is_some() {
            let table = BytesMut::zeroed(usize::try_from(table_bytes).unwrap_or_default()).freeze();
            let mut table = table;
            // Only blobs of more than half a terabyte have a table larger than a part, and their parts are larger
            // still.
            drop(cutter.push(&mut table));
        }
        let mut index = 0;
        let mut sending = FuturesUnordered::new();
        while let Some(contents) = self.next(&mut stream, &mut sending).await? {
            let pieces = match &mut encoder {
                None => vec![contents],
                Some(encoder) => encoder.push(contents)?,
            };
            for mut piece in pieces {
                while !piece.is_empty() {
                    if let Some(part) = cutter.push(&mut piece) {
                        self.part(&mut sending, &mut first, &mut index, part).await?;
                    }
                }
            }
        }
        let mut table = None;
        if let Some(encoder) = encoder {
            let (last, header) = encoder.finish()?;
            table = Some(header.to_bytes());
            let mut last = last.unwrap_or_default();
            while !last.is_empty() {
                if let Some(part) = cutter.push(&mut last) {
                    self.part(&mut sending, &mut first, &mut index, part).await?;
                }
            }
        }
        if cutter.buffered_bytes > 0 || index == 0 {
            let part = cutter.take();
            self.part(&mut sending, &mut first, &mut index, part).await?;
        }
        if let (Some(table), Some(first)) = (table, first.take()) {
            self.begin(&mut sending, 0, with_table(&table, first));
        }
        while let Some((index, part)) = sending.try_next().await? {
            self.sent.insert(index, part);
        }
        Ok(())
    }

    /// Returns the next piece of the blob, while parts are being sent.
    async fn next(
        &mut self,
        stream: &mut BlobStream,
        sending: &mut FuturesUnordered<Sending<'a>>,
    ) -> Result<Option<Bytes>> {
        let mut piece = stream.try_next();
        loop {
            let work =
                async { if sending.is_empty() { futures::future::pending().await } else { sending.next().await } };
            let work = std::pin::pin!(work);
            match select(&mut piece, work).await {
                Either::Left((piece, _)) => return piece,
                Either::Right((Some(sent), _)) => {
                    let (index, part) = sent?;
                    self.sent.insert(index, part);
                }
                Either::Right((None, _)) => {}
            }
        }
    }

    async fn part(
        &mut self,
        sending: &mut FuturesUnordered<Sending<'a>>,
        first: &mut Option<PutPayload>,
        index: &mut usize,
        part: PutPayload,
    ) -> Result<()> {
        self.sent_bytes += u64::try_from(part.content_length()).unwrap_or(u64::MAX);
        let number = *index;
        *index += 1;
        if number == 0 && self.shared.form() == Form::Casblob {
            *first = Some(part);
            return Ok(());
        }
        while sending.len() >= self.shared.options.concurrent_parts {
            if let Some((index, part)) = sending.try_next().await? {
                self.sent.insert(index, part);
            }
        }
        self.begin(sending, number, part);
        Ok(())
    }

    fn begin(&self, sending: &mut FuturesUnordered<Sending<'a>>, number: usize, part: PutPayload) {
        let (bucket, parts, place) = (&self.shared.bucket, self.parts, self.place);
        let offset = u64::try_from(number).unwrap_or(u64::MAX).saturating_mul(self.part_size_bytes);
        sending.push(Box::pin(parts.put(bucket, place, number, offset, part)));
    }

    /// Claims the key, now that all parts are sent. Returns the claim, or the object if the blob exists by now.
    ///
    /// An upload that claimed before it is complete would keep equal ones waiting for its source.
    async fn claim(&mut self) -> Result<Claimed> {
        // An abort that fails or takes too long changes nothing: the claim lapses.
        drop(self.shared.within(self.ctx, self.shared.abort_claim(&self.place.path)).await);
        if let Some(abandoned) = &mut self.guard.abandoned {
            abandoned.claim = Some(*self.token);
        }
        let claimed = self.shared.claim(self.ctx, self.digest, &self.place.path, self.token).await?;
        match (&claimed, &mut self.guard.abandoned) {
            (Claimed::Yes(claim), _) => self.shared.renew(self.ctx, &self.place.path, self.token, claim).await?,
            (Claimed::Exists(_), Some(abandoned)) => abandoned.claim = None,
            (Claimed::Exists(_), None) => {}
        }
        Ok(claimed)
    }

    /// Completes the upload, and finds out whether it created the object.
    async fn complete(mut self, classified: bool) -> Result<PutOutcome> {
        let (shared, place) = (self.shared, self.place);
        // Only where there is no server do conditions take a lock. It is not waited for under a claim, which would lapse.
        let exclusively = if shared.bucket.provider().is_remote() {
            None
        } else {
            match shared.within(self.ctx, shared.bucket.lock(&place.path)).await {
                Ok(exclusively) => Some(exclusively),
                Err(error) => {
                    self.guard.abort().await;
                    return Err(error.not_stored());
                }
            }
        };
        if self.claims {
            match self.claim().await {
                Ok(Claimed::Yes(_)) => {}
                Ok(Claimed::Exists(found)) => {
                    self.guard.abort().await;
                    return Ok(self.shared.outcome_of_found(&found, self.putting));
                }
                Err(error) => {
                    // If the claim stays, the next upload takes it over.
                    self.guard.abort().await;
                    return Err(error);
                }
            }
        }
        let parts = std::mem::take(&mut self.sent).into_values().collect();
        let completion = {
            if let Err(error) = self.make_way().await {
                drop(exclusively);
                self.guard.abort().await;
                return Err(error.not_stored());
            }
            let account = self.ctx.counted_account();
            let completing = self.parts.complete(&self.shared.bucket, self.place, parts, Some(self.token), account);
            let completion = self.shared.within(self.ctx, completing).await;
            drop(exclusively);
            completion.unwrap_or_else(Completion::Maybe)
        };
        let stored_bytes = self.sent_bytes;
        match completion {
            Completion::Done => {
                self.guard.abandoned = None;
                if let Some(wrong) = &self.wrong {
                    self.shared.damage.repaired(self.digest);
                    let old_bytes = wrong.size_bytes;
                    // Two that replace it at the same time both say so, which does no harm to a sum only if it adds nothing.
                    let alone = !self.shared.bucket.provider().is_remote() || old_bytes == stored_bytes;
                    return Ok(if alone {
                        PutOutcome::Replaced { stored_bytes, old_bytes }
                    } else {
                        PutOutcome::Unclassified { stored_bytes: Some(stored_bytes) }
                    });
                }
                Ok(if classified {
                    PutOutcome::Created { stored_bytes }
                } else {
                    PutOutcome::Unclassified { stored_bytes: Some(stored_bytes) }
                })
            }
            Completion::Exists => self.whose(None, classified).await,
            Completion::Conflict(error) => self.whose(Some(error.not_stored()), classified).await,
            Completion::Maybe(error) => {
                self.whose(Some(error.with_put_certainty(PutCertainty::MaybeStored)), classified).await
            }
        }
    }

    /// Removes the wrong object from a directory, where a completion does not replace it.
    async fn make_way(&self) -> Result<()> {
        let bucket = &self.shared.bucket;
        if self.wrong.is_none() || bucket.provider().is_remote() {
            return Ok(());
        }
        match self.shared.head(self.ctx, &self.place.path).await? {
            Some(now) if self.shared.is_wrong(self.digest, &now)? => bucket.delete(&self.place.path).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Finds out who created the object, after a completion that did not succeed.
    async fn whose(mut self, error: Option<Error>, classified: bool) -> Result<PutOutcome> {
        if let Some(error) = &error
            && !self.shared.bucket.provider().is_remote()
        {
            // What is found in a directory need not be on its disk.
            self.guard.abort().await;
            return Err(error.clone().at(self.digest.to_string()));
        }
        let found = self.shared.head_blob(self.ctx, self.digest, &self.place.path).await;
        let tells = self.shared.findings().keeps_tokens;
        match (found, error) {
            (Ok(Some(found)), error) => {
                let stored_bytes = found.size_bytes;
                if tells && found.token.as_ref() == Some(self.token) {
                    self.guard.abandoned = None;
                    return Ok(if classified {
                        PutOutcome::Created { stored_bytes }
                    } else {
                        PutOutcome::Unclassified { stored_bytes: Some(stored_bytes) }
                    });
                }
                self.guard.abort().await;
                let is_nobodys = self.shared.whose(&found, self.token, self.putting.since) == Whose::Unknown;
                if !is_nobodys && (tells || error.is_none()) {
                    Ok(PutOutcome::AlreadyExists { stored_bytes })
                } else {
                    Ok(PutOutcome::Unclassified { stored_bytes: Some(stored_bytes) })
                }
            }
            (Ok(None), Some(error)) => {
                self.guard.abort().await;
                Err(error.at(self.digest.to_string()))
            }
            (Ok(None), None) => {
                self.guard.abort().await;
                Err(Error::aborted(format!("blob {} was deleted while it was uploaded", self.digest))
                    .with_retryable(true)
                    .not_stored())
            }
            (Err(unanswered), error) => {
                let error = error.unwrap_or(unanswered);
                Err(error.at(self.digest.to_string()).with_put_certainty(PutCertainty::MaybeStored))
            }
        }
    }
}

/// Puts the table into the room that was left for it in the first part.
fn with_table(table: &Bytes, first: PutPayload) -> PutPayload {
    let mut skip = table.len();
    let mut pieces = vec![table.clone()];
    for mut piece in first {
        let skipped = skip.min(piece.len());
        drop(piece.split_to(skipped));
        skip -= skipped;
        if !piece.is_empty() {
            pieces.push(piece);
        }
    }
    pieces.into_iter().collect()
}

//! The calls of a broken store.
//!
//! The faults of its puts are in `puts.rs`.

use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, ErrorKind, Finish, InstanceName, Inventory,
    InventoryCursor, InventoryPage, KeyFormat, Kind, PutOutcome, RandomAccess, ResolveUpload, Result, Slicer,
    StoredSize, UploadResolution, UploadToken, get_and_slice,
};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};

use super::{ANY_SIZE, Broken, CAPACITY_BYTES, Fault};

fn garbled(bytes: &Bytes) -> Bytes {
    let mut bytes = BytesMut::from(&**bytes);
    if let Some(last) = bytes.last_mut() {
        *last ^= 0x40;
    }
    bytes.freeze()
}

fn not_found(digest: &Digest) -> Error {
    Error::not_found(format!("blob {digest} is not stored"))
}

/// Returns a digest of the same hash with this size.
fn sized(digest: &Digest, size_bytes: u64) -> Digest {
    Digest::from_hash(digest.instance_name().clone(), digest.function(), digest.hash_bytes(), size_bytes).unwrap()
}

/// A source that reads every range from the beginning.
struct FromTheBeginning(Bytes);

#[async_trait]
impl RandomAccess for FromTheBeginning {
    async fn read_at(&self, _offset: u64, length: usize) -> Result<Bytes> {
        Ok(self.0.slice(..length.min(self.0.len())))
    }
}

impl<K: Kind> Broken<K> {
    /// Returns what is read instead of the stored blob, if that is another.
    fn instead(&self, digest: &Digest) -> Option<Result<Blob>> {
        let mut state = self.state();
        if let Some(error) = &state.latched {
            return Some(Err(error.clone()));
        }
        if state.absent.contains(digest) || (self.is(Fault::LosesTheEmptyBlob) && digest.is_empty_blob()) {
            return Some(Err(not_found(digest)));
        }
        if self.is(Fault::LendsFiftyTimesOnly) && state.lent >= 50
            || self.is(Fault::ServesOneReaderAtATime) && state.lent > 0
        {
            return Some(Err(Error::resource_exhausted("too many readers")));
        }
        if self.is(Fault::ForgetsWhatIsRead) {
            state.found.remove(digest);
        }
        if self.is(Fault::BringsBackTheFirstValue)
            && self.generation > 1
            && !self.put_here.lock().unwrap().contains(digest)
        {
            return state.first.get(digest).map(|first| Ok(Blob::from_bytes(first.clone())));
        }
        state.instead.get(digest).map(|bytes| Ok(Blob::from_bytes(bytes.clone())))
    }

    /// Returns the blob that was read, with its fault.
    async fn damaged(&self, digest: &Digest, blob: Blob) -> Result<Blob> {
        let size = blob.size_bytes();
        Ok(match self.fault {
            Fault::ReturnsOtherBytes => Blob::from_bytes(garbled(&blob.into_bytes(ANY_SIZE).await?)),
            Fault::GarblesLargeBlobs if size > CAPACITY_BYTES / 2 => {
                Blob::from_bytes(garbled(&blob.into_bytes(ANY_SIZE).await?))
            }
            Fault::ReadsEveryRangeFromTheBeginning => {
                let source = Arc::new(FromTheBeginning(blob.into_bytes(ANY_SIZE).await?));
                Blob::from_random_access(&sized(digest, size), source)
            }
            Fault::AnnouncesMoreThanItHas => Blob::from_verified_stream(&sized(digest, size + 5000), stream::empty()),
            Fault::LendsFiftyTimesOnly | Fault::ServesOneReaderAtATime => {
                self.state().lent += 1;
                let (state, any_end) = (Arc::clone(&self.state), self.is(Fault::ServesOneReaderAtATime));
                blob.on_finish(move |finish| {
                    if any_end || finish == Finish::Complete {
                        state.lock().unwrap().lent -= 1;
                    }
                })
            }
            Fault::WaitsForUnreadBlobs => {
                let turn = self.turn().lock_owned().await;
                blob.on_finish(move |_| drop(turn))
            }
            Fault::NeedsItsStoreToRead => {
                let store = Arc::downgrade(&self.alive);
                let pieces = blob.into_stream(..)?.map(move |piece| {
                    store.upgrade().ok_or_else(|| Error::internal("the store is gone"))?;
                    piece
                });
                Blob::from_verified_stream(&sized(digest, size), pieces)
            }
            _ => blob,
        })
    }

    /// Fails for what is damaged: once, and from then on it is absent.
    fn check_damage(&self, digest: &Digest) -> Result<()> {
        let mut state = self.state();
        if state.lost.contains(digest) {
            return Err(not_found(digest));
        }
        if !state.damaged.contains(digest) {
            return Ok(());
        }
        if self.is(Fault::TakesDamageForAnOutage) {
            return Err(Error::unavailable("a sector cannot be read"));
        }
        if !self.is(Fault::KeepsWhatIsDamaged) {
            state.damaged.remove(digest);
            state.lost.insert(digest.clone());
        }
        Err(Error::data_loss("it is not what was put"))
    }

    /// Notes that `digest` was used, and evicts the digests that were used longest ago.
    fn note_use(&self, digest: &Digest, size_bytes: Option<u64>) {
        let mut state = self.state();
        let noted = state.order.iter().position(|(noted, _)| noted == digest);
        let noted = noted.and_then(|place| state.order.remove(place)).map(|(_, size)| size);
        let Some(size_bytes) = size_bytes.or(noted) else { return };
        state.order.push_back((digest.clone(), size_bytes + 256));
        while state.order.iter().map(|(_, size)| size).sum::<u64>() > CAPACITY_BYTES * 3 / 4 {
            let (evicted, _) = state.order.pop_front().unwrap();
            state.absent.insert(evicted);
        }
    }
}

#[async_trait]
impl<K: Kind> BlobAccess for Broken<K> {
    type Kind = K;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        if let Some(instead) = self.instead(digest) {
            return instead;
        }
        self.check_damage(digest)?;
        let got = self.inner.get(ctx, digest).await;
        if self.is(Fault::TakesNoFindForUse) && got.is_ok() {
            self.note_use(digest, None);
        }
        if self.is(Fault::ForgetsWhatIsRead) && got.is_ok() {
            self.state().first.insert(digest.clone(), Bytes::new());
        }
        match got {
            Ok(blob) => self.damaged(digest, blob).await,
            Err(error) if error.is_not_found() && self.is(Fault::KeepsTheDigestToItself) => {
                Err(Error::not_found("no such blob"))
            }
            Err(error) if self.is(Fault::HidesTheKindOfErrors) && !error.is_not_found() => {
                Err(error.with_kind(ErrorKind::Unavailable))
            }
            Err(error) if self.is(Fault::HidesTheMessageOfErrors) && !error.is_not_found() => {
                Err(Error::new(error.kind(), "the store failed"))
            }
            Err(error) if error.kind() == ErrorKind::Unavailable && self.is(Fault::TakesAnOutageForAbsence) => {
                Err(not_found(digest))
            }
            Err(error) => {
                if error.kind() == ErrorKind::Unavailable && self.is(Fault::NeverRecovers) {
                    self.state().latched = Some(error.clone());
                }
                Err(error)
            }
        }
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        let remembered = self.state().part.clone();
        if let Some(part) = remembered {
            return Ok(Blob::from_bytes(part));
        }
        let got = get_and_slice(self, ctx, parent, child, slicer).await;
        match self.fault {
            Fault::RemembersOnePartForAll => {
                let part = got?.into_bytes(ANY_SIZE).await?;
                self.state().part = Some(part.clone());
                Ok(Blob::from_bytes(part))
            }
            Fault::HidesThatOnlyThePartIsMissing => got.map_err(|error| Error::new(error.kind(), error.to_string())),
            Fault::TakesEveryAbsenceForAPart => got.map_err(Error::with_part_missing),
            Fault::MakesUpPartsThatAreAbsent => got.or_else(|_| Ok(Blob::empty())),
            _ => got,
        }
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let size = blob.size_bytes();
        let mut outcome = self.put_wrongly(ctx, digest, blob).await?;
        if self.state().lost.remove(digest) {
            outcome = PutOutcome::Created { stored_bytes: size };
        }
        if let Some(token) = ctx.upload_token() {
            self.state().tokens.insert(digest.clone(), *token);
        }
        match self.fault {
            Fault::TakesNoGetForUse | Fault::TakesNoFindForUse => self.note_use(digest, Some(size)),
            Fault::FindsWhatItHasEvicted => _ = self.state().found.insert(digest.clone()),
            _ => {}
        }
        let is_new_here = self.put_here.lock().unwrap().insert(digest.clone());
        Ok(match outcome {
            PutOutcome::AlreadyExists { stored_bytes }
                if is_new_here && self.is(Fault::KnowsOnlyWhatIsPutSinceItWasOpened) =>
            {
                PutOutcome::Created { stored_bytes }
            }
            _ => outcome,
        })
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        let latched = self.state().latched.clone();
        if let Some(error) = latched {
            return Err(error);
        }
        let Some(first) = digests.first().cloned() else {
            if self.is(Fault::FailsForNoDigests) {
                return Err(Error::invalid_argument("nothing was asked"));
            }
            if self.is(Fault::FailsForNoDigestsWhenDown) {
                self.inner.capabilities(ctx, &InstanceName::empty()).await?;
            }
            return self.inner.find_missing(ctx, digests).await;
        };
        let asked = match self.fault {
            Fault::AnswersForAThousand => digests.iter().take(1000).cloned().collect(),
            Fault::AnswersInOneInstanceName => {
                digests.iter().map(|digest| digest.with_instance_name(first.instance_name().clone())).collect()
            }
            _ => digests.clone(),
        };
        let mut missing = self.inner.find_missing(ctx, &asked).await?;
        if self.is(Fault::TakesNoGetForUse) {
            digests.iter().for_each(|digest| self.note_use(digest, None));
        }
        if self.is(Fault::ReportsTheFirstOfMany) && digests.len() > 1 {
            missing = DigestSet::union([missing, first.into()]);
        }
        let mut state = self.state();
        if self.is(Fault::RemembersAbsence) {
            state.absent.extend(missing.iter().cloned());
        }
        let unseen = |digest: &&Digest| {
            let forgotten = self.is(Fault::ForgetsWhatIsRead) && state.first.contains_key(digest);
            state.absent.contains(digest) || state.lost.contains(digest) || forgotten
        };
        let unseen: DigestSet = digests.iter().filter(unseen).cloned().collect();
        let instead = |digest: &Digest| state.found.contains(digest) || state.instead.contains_key(digest);
        Ok(DigestSet::union([missing.filter(|digest| !instead(digest)), unseen]))
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        if self.is(Fault::ClaimsToTakeAnySize) {
            return Ok(Capabilities::unlimited());
        }
        self.inner.capabilities(ctx, instance_name).await
    }

    fn key_format(&self) -> KeyFormat {
        match (self.is(Fault::SaysTheOtherKeyFormat), self.inner.key_format()) {
            (true, KeyFormat::WithInstanceName) => KeyFormat::WithoutInstanceName,
            (true, KeyFormat::WithoutInstanceName) => KeyFormat::WithInstanceName,
            (false, format) => format,
        }
    }

    fn finds_in_bulk(&self) -> bool {
        true
    }
}

#[async_trait]
impl<K: Kind> ResolveUpload for Broken<K> {
    async fn resolve_upload(&self, ctx: &Context, digest: &Digest, token: &UploadToken) -> Result<UploadResolution> {
        let resolution = self.memory.resolve_upload(ctx, digest, token).await?;
        let claims = match self.fault {
            Fault::ClaimsEveryUpload => resolution != UploadResolution::Absent,
            Fault::ClaimsOnEveryPut => self.state().tokens.get(digest) == Some(token),
            Fault::TakesNoTokenForZeroes => {
                resolution == UploadResolution::Unknown && token.as_bytes().iter().all(|byte| *byte == 0)
            }
            _ => false,
        };
        Ok(if claims { UploadResolution::Mine { stored_bytes: digest.size_bytes() } } else { resolution })
    }

    fn stored_size(&self, logical_bytes: u64) -> StoredSize {
        if self.is(Fault::TellsTooSmallASize) { StoredSize::AtMost(0) } else { self.memory.stored_size(logical_bytes) }
    }
}

#[async_trait]
impl<K: Kind> Inventory for Broken<K> {
    async fn inventory(&self, ctx: &Context, cursor: Option<&InventoryCursor>) -> Result<InventoryPage> {
        match self.fault {
            Fault::TakesAnyCursor => self.memory.inventory(ctx, None).await,
            Fault::ListsTwice => {
                let mut page = self.memory.inventory(ctx, None).await?;
                page.next = cursor.is_none().then(|| InventoryCursor::from_bytes("again"));
                Ok(page)
            }
            _ => self.memory.inventory(ctx, cursor).await,
        }
    }
}

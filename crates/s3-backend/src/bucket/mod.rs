//! A bucket: objects under keys, at any provider.

mod account_metadata;
mod attributed_files;
#[cfg(feature = "azure")]
mod azure;
#[cfg(feature = "_cloud")]
mod cloud;
mod completion_scope;
#[cfg(feature = "_cloud")]
mod connection;
#[cfg(feature = "_cloud")]
mod connector;
#[cfg(feature = "_cloud")]
mod credentials;
mod deletion;
mod deletion_scope;
mod directory;
mod directory_identity;
mod folders;
mod from_url;
#[cfg(feature = "_cloud")]
mod marks;
#[cfg(feature = "_cloud")]
mod paced_client;
mod parts;
mod presence;
mod retry_budget;
#[cfg(feature = "_cloud")]
mod slots;
mod whole;

use std::fmt::{self, Debug, Display, Formatter};
use std::fs::File;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use blobaccess::{AccountName, Clock, Error, Result, SystemClock, UploadToken};
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    Attribute, AttributeValue, Attributes, GetOptions, GetRange, ObjectMeta, ObjectStore, PutMode, PutOptions,
    PutPayload, PutResult, UpdateVersion,
};
use tokio::sync::{Mutex, MutexGuard};

use crate::error::{code_in, from_provider};
use crate::last_answer::{Answer, LastAnswer};
use crate::probe::Races;
use crate::requests::{RequestCounts, RequestKind, Requests};

pub(crate) use self::attributed_files::is_unsynced;
#[cfg(feature = "_cloud")]
pub use self::connection::Connection;
#[cfg(feature = "_cloud")]
use self::credentials::Credentials;
use self::directory_identity::DirectoryIdentity;
pub(crate) use self::parts::{Completion, MultipartUpload, Parts};
use self::presence::Presence;
use self::retry_budget::RetryBudget;
use self::whole::Whole;

/// The name of the user metadata that holds the token of an upload. Azure takes letters and digits only.
const TOKEN: &str = "uploadtoken";

/// The name of the user metadata that holds the account of an upload.
const ACCOUNT: &str = "uploadaccount";

/// The code by which Azure says that there is no such object.
const BLOB_NOT_FOUND: &str = "BlobNotFound";

/// The number of locks that replacing and large creates take if a provider has no conditions. A key takes one of them.
const LOCKS: usize = 64;

/// A bucket, or a part of one below a prefix. Clones are the same bucket.
///
/// [`memory`](Self::memory) and [`directory`](Self::directory) need no server. The features `aws`, `gcp` and `azure`
/// add `s3`, `gcs` and `azure`. Each takes a builder of [`object_store`], which says where the bucket is and gives the
/// credentials. The builder's own settings for retries, connector and client are replaced. [`from_url`](Self::from_url)
/// makes any of them from one line of a configuration.
///
/// # Examples
///
/// ```
/// use blobaccess_s3_backend::Bucket;
///
/// assert_eq!(Bucket::memory().to_string(), "memory");
/// ```
#[derive(Clone)]
pub struct Bucket {
    provider: Provider,
    name: Arc<str>,
    prefix: Arc<str>,
    /// The client for reads, listings, deletes, and overwrites without conditions. It retries by itself.
    store: Arc<dyn ObjectStore>,
    /// The client for creates and updates. It sends every request once.
    once: Arc<dyn ObjectStore>,
    parts: Parts,
    /// The same parts, with completions that require that there be no object, if such a header can be sent.
    conditional_parts: Option<Parts>,
    pages: Option<Arc<dyn PaginatedListStore>>,
    requests: Arc<Requests>,
    /// The budget of retries, if requests go over a network.
    retry_budget: Option<Arc<RetryBudget>>,
    /// The credentials that requests are signed with, if they are.
    #[cfg(feature = "_cloud")]
    credentials: Option<Credentials>,
    clock: Arc<dyn Clock>,
    presence: Arc<Presence>,
    locks: Arc<[Mutex<()>]>,
    /// The lock of a directory that is in use.
    _exclusive: Option<Arc<File>>,
    /// The directory that was opened, if the bucket is one.
    directory: Option<DirectoryIdentity>,
    /// Whether objects have metadata, such as tokens.
    keeps_metadata: bool,
    /// The result that races of large creates would have, if it is known beforehand.
    known_races: Option<Races>,
    /// Whether it was said what the server lacks.
    told: Arc<AtomicBool>,
}

/// The providers of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(all(feature = "aws", feature = "gcp", feature = "azure")),
    expect(dead_code, reason = "each is made with its feature")
)]
pub(crate) enum Provider {
    S3,
    Gcs,
    Azure,
    Directory,
    Memory,
}

impl Provider {
    /// Returns whether answers can get lost, as there is a network in between.
    pub(crate) const fn is_remote(self) -> bool {
        matches!(self, Self::S3 | Self::Gcs | Self::Azure)
    }

    /// Returns whether an upload in parts gets its token when it begins, rather than when it is completed.
    pub(crate) const fn begins_with_token(self) -> bool {
        !matches!(self, Self::Azure)
    }

    /// Returns whether listings may be in another order than that of keys: directory buckets of S3 speak its protocol.
    pub(crate) const fn may_list_in_any_order(self) -> bool {
        matches!(self, Self::S3)
    }

    /// Returns whether a key can be claimed while parts are sent. On Azure, parts are uncommitted blocks of the key,
    /// and a put of the claim would discard them.
    pub(crate) const fn claims_beside_parts(self) -> bool {
        !matches!(self, Self::Azure)
    }
}

/// The metadata of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectInfo {
    pub(crate) size_bytes: u64,
    pub(crate) token: Option<UploadToken>,
    /// The account that the upload was counted for.
    pub(crate) account: Option<AccountName>,
    pub(crate) e_tag: Option<String>,
    pub(crate) version: Option<String>,
    /// The time since it was written, by the server's own clock, if it was told.
    pub(crate) age: Option<Duration>,
    /// Whether the answer was marked as the store's own, or the store marks nothing. A proxy may answer with a page of its
    /// own.
    pub(crate) own: bool,
}

impl ObjectInfo {
    /// Returns the condition of an update that replaces this very object.
    pub(crate) fn update_version(&self, bare_e_tags: bool) -> UpdateVersion {
        let e_tag = self.e_tag.as_deref().map(|e_tag| if bare_e_tags { e_tag.trim_matches('"') } else { e_tag });
        UpdateVersion { e_tag: e_tag.map(str::to_owned), version: self.version.clone() }
    }

    /// Returns whether this is the same put of the object. The `ETag` alone does not tell, as another put may have
    /// stored the same contents.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.e_tag, &self.version, &self.token) == (&other.e_tag, &other.version, &other.token)
    }
}

/// An object, or a range of an object, while it is read.
pub(crate) struct Reading {
    pub(crate) found: ObjectInfo,
    pub(crate) stream: BoxStream<'static, Result<Bytes>>,
}

impl Bucket {
    /// Makes a bucket within this process, which ends with its last clone.
    #[must_use]
    pub fn memory() -> Self {
        let store = Arc::new(InMemory::new());
        Self::new(Provider::Memory, "memory".to_owned(), Arc::<InMemory>::clone(&store), store, Parts::None)
    }

    fn new(
        provider: Provider,
        name: String,
        store: Arc<dyn ObjectStore>,
        once: Arc<dyn ObjectStore>,
        parts: Parts,
    ) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Self {
            provider,
            name: name.into(),
            prefix: Arc::from(""),
            store,
            once,
            parts,
            conditional_parts: None,
            pages: None,
            requests: Arc::default(),
            retry_budget: None,
            #[cfg(feature = "_cloud")]
            credentials: None,
            presence: Arc::new(Presence::new(Arc::clone(&clock))),
            clock,
            locks: (0..LOCKS).map(|_| Mutex::new(())).collect(),
            _exclusive: None,
            directory: None,
            keeps_metadata: !matches!(provider, Provider::Directory),
            known_races: None,
            told: Arc::default(),
        }
    }

    /// Returns the part of this bucket below `prefix`, such as `a/b`. A prefix that is added later becomes the outer
    /// one.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if that is no beginning of a key.
    pub fn with_prefix(mut self, prefix: &str) -> Result<Self> {
        let parsed = Path::parse(prefix)
            .map_err(|error| Error::invalid_argument(format!("{prefix:?} is no prefix of keys: {error}")))?;
        if !parsed.as_ref().is_empty() {
            self.prefix = Arc::from(format!("{parsed}/{}", self.prefix));
        }
        Ok(self)
    }

    /// Returns the same bucket, with stores that take the time from `clock` instead of the [`SystemClock`].
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self.not_seen_yet()
    }

    /// Returns the same bucket for a store that has not seen it yet.
    pub(crate) fn not_seen_yet(mut self) -> Self {
        self.presence = Arc::new(Presence::new(Arc::clone(&self.clock)));
        self
    }

    /// Returns the same bucket, of whose server it is known what races would show.
    #[cfg(feature = "sim")]
    pub(crate) fn with_known_races(mut self, races: Races) -> Self {
        self.known_races = Some(races);
        self
    }

    pub(crate) const fn known_races(&self) -> Option<Races> {
        self.known_races
    }

    /// Returns whether nothing was said yet of what the server lacks, to any store of this bucket. It is said once.
    pub(crate) fn is_first_to_tell(&self) -> bool {
        !self.told.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Returns the client for reads, which retries by itself and knows nothing of the [prefix](Self::with_prefix).
    ///
    /// Use it to read objects that no store of this crate has written. Puts and deletes through it are not exact.
    #[must_use]
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// Takes a retry from the budget of all callers. Returns `false` if there is not enough left for it.
    pub(crate) fn may_retry(&self) -> bool {
        self.retry_budget.as_ref().is_none_or(|budget| budget.take(false))
    }

    /// Returns what is left of the budget of retries, if there is one.
    pub(crate) fn retry_budget_left(&self) -> Option<u32> {
        self.retry_budget.as_ref().map(|budget| budget.left())
    }

    /// Returns the number of requests that the bucket was sent so far, by all its clones.
    #[must_use]
    pub fn requests(&self) -> RequestCounts {
        self.requests.counts()
    }

    pub(crate) fn provider(&self) -> Provider {
        self.provider
    }

    /// Returns whether objects carry metadata, and so a token, whether they are sent in one request or in parts.
    pub(crate) const fn keeps_tokens(&self) -> bool {
        self.keeps_metadata
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    pub(crate) fn conditional_parts(&self) -> Option<&Parts> {
        self.conditional_parts.as_ref()
    }

    /// Fails with `Unauthenticated` if requests cannot be signed for want of credentials.
    #[cfg_attr(not(feature = "_cloud"), expect(clippy::unused_async, reason = "credentials may have to be asked for"))]
    pub(crate) async fn check_credentials(&self) -> Result<()> {
        #[cfg(feature = "_cloud")]
        if let Some(credentials) = &self.credentials {
            credentials.check(&self.to_string()).await?;
        }
        Ok(())
    }

    /// Returns the beginning of every key: empty, or with a slash at its end.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the path of a key below the prefix.
    pub(crate) fn path(&self, key: &str) -> Result<Path> {
        Path::parse(format!("{}{key}", self.prefix))
            .map_err(|error| Error::invalid_argument(format!("{key:?} is no key: {error}")))
    }

    /// Takes the lock of a key, for changes that must not run concurrently where the provider has no conditions.
    pub(crate) async fn lock(&self, path: &Path) -> MutexGuard<'_, ()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(path);
        let index = usize::try_from(hash).unwrap_or_default() % self.locks.len().max(1);
        #[expect(clippy::indexing_slicing, reason = "a remainder is less than the length, which is not zero")]
        self.locks[index].lock().await
    }

    /// Counts a call. Requests over HTTP are counted where they are sent.
    fn count(&self, kind: RequestKind) {
        if !self.provider.is_remote() {
            self.requests.count(kind);
        }
    }

    /// Reads the metadata of the object under `path`. Returns `None` if there is no object.
    pub(crate) async fn head(&self, path: &Path) -> Result<Option<ObjectInfo>> {
        self.count(RequestKind::Head);
        let last_answer = LastAnswer::default();
        let options = GetOptions { head: true, extensions: last_answer.extensions(), ..GetOptions::default() };
        match self.store.get_opts(path, options).await {
            Ok(result) => {
                self.presence.note_seen();
                let own = self.is_own(&last_answer);
                Ok(Some(found(&result.meta, &result.attributes, last_answer.date(), own)))
            }
            Err(error) if !self.provider.is_remote() => self.absent_or(error, &last_answer).await,
            Err(error) => match last_answer.answer() {
                Some(Answer::Status { status: 404, code, own, .. }) if is_not_found(&error) => {
                    self.confirm(path, code.as_deref(), own).await
                }
                answer => Err(from_provider(error, answer.as_ref())),
            },
        }
    }

    /// Finds out what the answer 404 to a `HEAD` means, which has no body to say so: that there is no object, no bucket, or
    /// that a proxy has no idea. The mark of the store, with a bucket that was seen shortly before, suffices. Otherwise an
    /// answer with a body tells.
    async fn confirm(&self, path: &Path, code: Option<&str>, own: bool) -> Result<Option<ObjectInfo>> {
        let says_so = match self.provider {
            Provider::Azure => code == Some(BLOB_NOT_FOUND),
            Provider::S3 | Provider::Gcs | Provider::Directory | Provider::Memory => own,
        };
        if !says_so {
            return Ok(self.get(path, None).await?.map(|reading| reading.found));
        }
        if self.presence.is_recent() {
            return Ok(None);
        }
        let _asking = self.presence.asking.lock().await;
        if self.presence.is_recent() {
            return Ok(None);
        }
        // An object that was created since is not read.
        Ok(self.get(path, None).await?.map(|reading| reading.found))
    }

    /// Reads the object under `path`, or a `range` of it. Returns `None` if there is no object.
    pub(crate) async fn get(&self, path: &Path, range: Option<std::ops::Range<u64>>) -> Result<Option<Reading>> {
        self.count(RequestKind::Get);
        let last_answer = LastAnswer::default();
        let range = range.map(GetRange::Bounded);
        let options = GetOptions { range, extensions: last_answer.extensions(), ..GetOptions::default() };
        match self.store.get_opts(path, options).await {
            Ok(result) => {
                self.presence.note_seen();
                let own = self.is_own(&last_answer);
                let found = found(&result.meta, &result.attributes, last_answer.date(), own);
                let expected = result.range.end.saturating_sub(result.range.start);
                let stream = result.into_stream();
                let stream = stream.map_err(move |error| from_provider(error, last_answer.answer().as_ref()));
                Ok(Some(Reading { found, stream: Box::pin(Whole::new(stream, expected)) }))
            }
            Err(error) => {
                let absent = self.absent_or(error, &last_answer).await?;
                self.presence.note_seen();
                Ok(absent)
            }
        }
    }

    /// Returns `None` if the store itself says that the object does not exist, and an error otherwise.
    async fn absent_or<T>(&self, error: object_store::Error, last_answer: &LastAnswer) -> Result<Option<T>> {
        let answer = last_answer.answer();
        if !is_not_found(&error) {
            return Err(from_provider(error, answer.as_ref()));
        }
        let says_so = match (self.provider, &answer) {
            (Provider::Directory | Provider::Memory, _) => {
                self.check_directory().await?;
                true
            }
            (Provider::S3 | Provider::Gcs, Some(Answer::Status { status: 404, .. })) => {
                code_in(&error.to_string()) == Some("NoSuchKey")
            }
            (Provider::Azure, Some(Answer::Status { status: 404, code, .. })) => {
                code.as_deref() == Some(BLOB_NOT_FOUND)
            }
            (Provider::S3 | Provider::Gcs | Provider::Azure, _) => false,
        };
        if says_so { Ok(None) } else { Err(from_provider(error, answer.as_ref())) }
    }

    fn is_own(&self, last_answer: &LastAnswer) -> bool {
        match last_answer.answer() {
            Some(Answer::Status { passes_for_own, .. }) => passes_for_own,
            Some(Answer::NotSent | Answer::Lost { .. }) => false,
            None => !self.provider.is_remote(),
        }
    }

    /// Fails if the bucket is a directory that is no longer the one that was opened.
    pub(crate) async fn check_directory(&self) -> Result<()> {
        match &self.directory {
            Some(directory) => directory.check().await,
            None => Ok(()),
        }
    }

    /// Sends an object in one request, without retries.
    pub(crate) async fn put_once(
        &self,
        path: &Path,
        payload: PutPayload,
        mode: PutMode,
        token: Option<&UploadToken>,
        account: Option<&AccountName>,
        last_answer: &LastAnswer,
    ) -> object_store::Result<PutResult> {
        self.count(RequestKind::Put);
        // Otherwise the client library would make the directory anew.
        self.check_directory().await.map_err(|error| object_store::Error::Generic {
            store: "directory",
            source: Box::new(std::io::Error::new(std::io::ErrorKind::NotFound, error)),
        })?;
        let attributes = self.attributes(token, account);
        let options = PutOptions { mode, attributes, extensions: last_answer.extensions(), ..PutOptions::default() };
        let done = self.once.put_opts(path, payload, options).await?;
        self.presence.note_seen();
        Ok(done)
    }

    /// Returns whether listings are in the order of keys and can begin anywhere.
    pub(crate) fn lists_in_order(&self) -> bool {
        self.pages.is_some()
    }

    /// Lists a page of the objects whose keys begin with `prefix` and come after `after`, in order. Returns whether
    /// there are more, too. Keys are relative to the prefix of the bucket.
    pub(crate) async fn page(&self, prefix: &str, after: Option<&str>) -> Result<(Vec<ObjectMeta>, bool)> {
        let Some(pages) = &self.pages else {
            return Err(Error::unimplemented("the bucket does not list in order"));
        };
        let last_answer = LastAnswer::default();
        let prefix = format!("{}{prefix}", self.prefix);
        let mut page_token = None;
        loop {
            let options = PaginatedListOptions {
                offset: after.map(|after| format!("{}{after}", self.prefix)),
                page_token: page_token.take(),
                extensions: last_answer.extensions(),
                ..PaginatedListOptions::default()
            };
            let page = pages.list_paginated(Some(&prefix), options).await;
            let page = page.map_err(|error| from_provider(error, last_answer.answer().as_ref()))?;
            self.presence.note_seen();
            // Azure may send an empty page that is not the last one.
            if page.result.objects.is_empty() && page.page_token.is_some() {
                page_token = page.page_token;
                continue;
            }
            return Ok((page.result.objects, page.page_token.is_some()));
        }
    }

    /// Lists all objects in `folder`, in any order.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<ObjectMeta>> {
        self.count(RequestKind::List);
        let path = self.path(folder)?;
        let objects = self.store.list(Some(&path)).try_collect().await.map_err(|error| from_provider(error, None))?;
        // A folder that is not there lists as one without files.
        self.check_directory().await?;
        Ok(objects)
    }

    /// Returns the metadata of an object. An account is kept with a token only, which tells whose upload it was.
    pub(crate) fn attributes(&self, token: Option<&UploadToken>, account: Option<&AccountName>) -> Attributes {
        let mut attributes = Attributes::new();
        if let Some(token) = token
            && self.keeps_metadata
        {
            attributes.insert(Attribute::Metadata(TOKEN.into()), AttributeValue::from(token.to_string()));
            if let Some(account) = account {
                let value = account_metadata::encode(account);
                attributes.insert(Attribute::Metadata(ACCOUNT.into()), AttributeValue::from(value));
            }
        }
        attributes
    }
}

fn is_not_found(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. })
}

fn found(meta: &ObjectMeta, attributes: &Attributes, date: Option<SystemTime>, own: bool) -> ObjectInfo {
    // Both are whole seconds of the server's clock, or of the clocks of two of its nodes.
    let age = date.map(|date| date.duration_since(meta.last_modified.into()).unwrap_or_default());
    let token = attributes.get(&Attribute::Metadata(TOKEN.into())).and_then(|value| parse_token(value));
    let account = attributes.get(&Attribute::Metadata(ACCOUNT.into()));
    let account = account.and_then(|value| account_metadata::decode(value)).filter(|_| token.is_some());
    let (e_tag, version) = (meta.e_tag.clone(), meta.version.clone());
    ObjectInfo { size_bytes: meta.size, token, account, e_tag, version, age, own }
}

fn parse_token(hex: &str) -> Option<UploadToken> {
    let mut bytes = [0; 16];
    if hex.len() != 32 || !hex.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(UploadToken::from_bytes(bytes))
}

impl Display for Bucket {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix.trim_end_matches('/')) }
    }
}

impl Debug for Bucket {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("name", &self.name).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

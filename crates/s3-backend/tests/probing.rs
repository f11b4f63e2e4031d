//! The probe at the start: its findings, and its price.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail so")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, ErrorKind, InstanceName, PutOutcome};
use blobaccess_s3_backend::sim::SimS3;
use blobaccess_s3_backend::{
    Bucket, BucketOptions, BucketStore, Connection, Findings, OnMissingConditions, OnUnreachable, ProbeRaces,
};
use futures::future::join_all;
use http::Method;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};

async fn open(sim: &SimS3, options: BucketOptions) -> BucketStore<Cas> {
    BucketStore::open(sim.bucket().unwrap(), options).await.unwrap()
}

fn options() -> BucketOptions {
    BucketOptions::default().with_single_put_max_bytes(0).with_part_size_bytes(5 << 20)
}

fn lacks(findings: Findings) -> Vec<&'static str> {
    findings.shortcomings()
}

#[tokio::test(start_paused = true)]
async fn completions_that_race_are_seen_through_and_large_blobs_are_created_once() {
    let sim = SimS3::new(1).racing_completions();
    let store = open(&sim, options()).await;
    let findings = store.snapshot().findings;
    assert!(findings.raced && findings.conditional_put && !findings.conditional_completion, "{findings}");
    assert_eq!(lacks(findings), ["completions ignore their condition"]);
    let contents = vec![7; 6 << 20];
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
    let stored_bytes = digest.size_bytes();
    let stores = join_all((0..4).map(|_| open(&sim, options()))).await;
    let put = async |store: &BucketStore<Cas>| {
        store.put(&Context::background(), &digest, Blob::from_bytes(contents.clone())).await.unwrap()
    };
    let outcomes = join_all(stores.iter().map(put)).await;
    let created = outcomes.iter().filter(|outcome| **outcome == PutOutcome::Created { stored_bytes }).count();
    let there = outcomes.iter().filter(|outcome| **outcome == PutOutcome::AlreadyExists { stored_bytes }).count();
    assert_eq!((created, there), (1, 3));
    assert_eq!(sim.unfinished_uploads(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_races_such_a_server_creates_a_large_blob_several_times() {
    // The same as above, for a store that was told not to look: the races are worth their price.
    let sim = SimS3::new(1).racing_completions();
    let store = open(&sim, options().with_probe_races(ProbeRaces::Never)).await;
    assert!(store.snapshot().findings.conditional_completion);
    assert_eq!(lacks(store.snapshot().findings), ["large creates were not raced"]);
    let contents = vec![7; 6 << 20];
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
    // One store completes one upload of a key at a time; these are those of four hosts.
    let stores = join_all((0..4).map(|_| open(&sim, options().with_probe_races(ProbeRaces::Never)))).await;
    let put = async |store: &BucketStore<Cas>| {
        store.put(&Context::background(), &digest, Blob::from_bytes(contents.clone())).await.unwrap()
    };
    let outcomes = join_all(stores.iter().map(put)).await;
    assert!(outcomes.iter().filter(|outcome| matches!(outcome, PutOutcome::Created { .. })).count() > 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_large_puts_race_is_refused() {
    let sim = SimS3::new(1).racing_puts();
    let error = BucketStore::<Cas>::open(sim.bucket().unwrap(), options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    let store = open(&sim, options().with_on_missing_conditions(OnMissingConditions::Degrade)).await;
    assert!(!store.snapshot().findings.conditional_put);
}

#[tokio::test(start_paused = true)]
async fn races_are_bounded_and_remembered_for_a_month_of_the_server() {
    let sim = SimS3::new(1).racing_completions();
    let raced = |store: &BucketStore<Cas>| store.snapshot().requests.put_part;
    let first = open(&sim, options()).await;
    let requests = first.snapshot().requests;
    assert_eq!((requests.begin_multipart, requests.put_part, requests.complete_multipart), (5, 5, 5));
    assert!(requests.total() <= 70, "{requests:?}");
    assert_eq!(sim.objects().keys().collect::<Vec<_>>(), ["probe/races"]);
    for (days, races) in [(29, false), (2, true), (0, false)] {
        sim.advance(Duration::from_hours(days * 24));
        let store = open(&sim, options()).await;
        assert!(!store.snapshot().findings.conditional_completion, "also if it is remembered");
        assert_eq!(raced(&store), if races { 5 } else { 1 }, "after {days} days");
    }
    let always = open(&sim, options().with_probe_races(ProbeRaces::Always)).await;
    assert_eq!(raced(&always), 5);
    assert_eq!(sim.unfinished_uploads(), 0);
    // What is no record of ours is not believed.
    sim.insert("probe/races", "completions kept");
    assert_eq!(raced(&open(&sim, options()).await), 5);
}

/// The way to a bucket on which something becomes of the requests that race.
#[derive(Clone, Debug)]
struct Way {
    sim: SimS3,
    fate: Fate,
    /// The number of large bodies that were sent since the last start.
    large: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    /// Large bodies are answered so.
    Status(u16),
    /// No connection can be made for large bodies.
    NotConnected,
    /// Large bodies arrive, and are not answered.
    Silence,
    /// Completions of large uploads are answered with 409.
    Conflicts,
    /// Answers do not tell the time.
    Timeless,
}

impl Way {
    fn new(fate: Fate) -> Self {
        Self { sim: SimS3::new(1), fate, large: Arc::default() }
    }

    /// Opens a store, and returns its findings and the number of large bodies that this took.
    async fn open(&self) -> (Findings, usize) {
        self.large.store(0, Ordering::Relaxed);
        let connection = Connection::default().with_connector(self.clone()).with_allow_http(true);
        let bucket = Bucket::s3(self.sim.builder(), &connection).unwrap();
        let store = BucketStore::<Cas>::open(bucket, options()).await.unwrap();
        (store.snapshot().findings, self.large.load(Ordering::Relaxed))
    }
}

#[async_trait]
impl HttpService for Way {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_large = request.body().content_length() >= 5 << 20;
        let large = self.large.fetch_add(usize::from(is_large), Ordering::Relaxed);
        let completes =
            *request.method() == Method::POST && request.uri().query().unwrap_or_default().contains("uploadId");
        let empty = |status: u16| {
            let response = http::Response::builder().status(status).header("x-amz-request-id", "WAY");
            Ok(response.body(bytes::Bytes::new().into()).unwrap())
        };
        match self.fate {
            Fate::Status(status) if is_large => empty(status),
            Fate::NotConnected if is_large => {
                Err(HttpError::new(HttpErrorKind::Connect, std::io::Error::other("connection refused")))
            }
            Fate::Silence if is_large => {
                drop(self.sim.call(request).await);
                std::future::pending().await
            }
            Fate::Conflicts if completes && large > 0 => empty(409),
            Fate::Timeless => {
                let mut answer = self.sim.call(request).await?;
                answer.headers_mut().remove("date");
                Ok(answer)
            }
            Fate::Status(_) | Fate::NotConnected | Fate::Silence | Fate::Conflicts => self.sim.call(request).await,
        }
    }
}

impl HttpConnector for Way {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[tokio::test(start_paused = true)]
async fn where_nobody_raced_nothing_is_believed_and_nothing_is_left_behind() {
    let fates = [Fate::Status(413), Fate::Status(403), Fate::Status(409), Fate::Status(503)];
    for fate in fates.into_iter().chain([Fate::NotConnected, Fate::Silence, Fate::Conflicts]) {
        let way = Way::new(fate);
        let (findings, large) = way.open().await;
        assert!(!findings.raced && findings.conditional_put && findings.conditional_completion, "{fate:?}: {findings}");
        assert_eq!(lacks(findings), ["large creates were not raced"], "{fate:?}");
        assert_eq!(large, if matches!(fate, Fate::Conflicts) { 8 } else { 4 }, "{fate:?}: one attempt");
        assert_eq!(way.sim.objects().keys().collect::<Vec<_>>(), ["probe/races"], "{fate:?}");
        assert_eq!(way.sim.unfinished_uploads(), 0, "{fate:?}");
        // A slow way does not pay at each start, but it is tried again the next day.
        way.sim.advance(Duration::from_hours(23));
        let (findings, large) = way.open().await;
        assert!(!findings.raced && large == 0, "{fate:?}: {large}");
        way.sim.advance(Duration::from_hours(2));
        assert!(way.open().await.1 >= 4, "{fate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_tell_the_time_is_not_raced_at_each_start() {
    let way = Way::new(Fate::Timeless);
    let (findings, large) = way.open().await;
    assert!(findings.raced && large == 8, "{large}");
    let (findings, large) = way.open().await;
    assert!(findings.raced && large == 0, "{large}");
    way.sim.insert("probe/races", "races of large bodies, version 1\nputs kept\ncompletions kept\nat 1\n");
    assert_eq!(way.open().await.1, 8, "it is from 1970");
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_is_not_there_is_not_made() {
    let sim = SimS3::new(1).making_buckets();
    sim.set_deleted(true);
    let waiting = options().with_on_unreachable(OnUnreachable::Wait);
    let error = BucketStore::<Cas>::open(sim.bucket().unwrap(), waiting).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");
    assert_eq!(sim.bucket().unwrap().requests().put, 0);
    assert!(sim.objects().is_empty());
    let again = BucketStore::<Cas>::open(sim.bucket().unwrap(), options()).await;
    assert!(again.is_err(), "it was made by the first start");
}

#[test]
fn the_page_on_servers_explains_every_word_of_the_probe() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/servers.md");
    let page = std::fs::read_to_string(page).unwrap();
    for lack in Findings::nothing().shortcomings() {
        assert!(page.contains(lack), "docs/servers.md lacks {lack:?}");
    }
}

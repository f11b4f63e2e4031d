//! Every sequence of writes is cut anywhere, with any part of what was not synced lost or torn, and opened again.
//!
//! For random histories of puts, overwrites, finds, reads and syncs on a store so small that its blocks are recycled
//! all the time. Of what was there when the last completed sync began and was not given up since, everything must be
//! there; an action result must be the one of that sync or a later one; nothing may be read that was not put; and the
//! store must go on working, and keep what was promised before.
//!
//! `BLOBACCESS_RANDOMISED_SECONDS` sets how long this goes on (30), `BLOBACCESS_CRASH_SEED` repeats a run.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a step that fails is a failed test"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use blobaccess::{
    Ac, Blob, BlobAccess, Cas, Clock, Context, Digest, DigestFunction, DigestSet, InstanceName, Kind, Namespace,
    PutOutcome, Releases, Result, SystemClock,
};
use blobaccess_local_store::{Devices, Environment, LocalStore, Options, Refresh, Sizes, SyncPolicy};
use blobaccess_testkit::listed;
use futures::executor::block_on;

use support::{Crashes, Loss, Numbers, Part, Recorder, budget, rot_younger_superblock, seed};

const CAPACITY: u64 = 3 << 19;
/// Of the blocks, where logs and state are apart.
const BLOCKS: u64 = 3 << 18;
const LOGS: u64 = 1 << 20;
const STATE: u64 = 1 << 16;

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
struct Setup {
    policy: SyncPolicy,
    /// When it copies what is in use.
    refresh: Refresh,
    /// Whether logs and state have devices of their own.
    is_apart: bool,
}

impl Setup {
    fn options(self) -> Options {
        let options = Options::on_device(if self.is_apart { BLOCKS } else { CAPACITY });
        let options = if self.is_apart { options.with_logs_on_device(LOGS).with_state_on_device() } else { options };
        // As many of both kinds in all, so that there is something to be touched in an old block.
        let (old, current) = if self.refresh == Refresh::OnTouch { (2, 3) } else { (1, 4) };
        let options = options.with_blocks(old, current, 1).with_spare_blocks(2).with_entries(900).with_namespaces(8);
        options.with_refresh(self.refresh).persistent(self.policy)
    }

    fn size_bytes(self) -> u64 {
        if self.is_apart { BLOCKS + LOGS + STATE } else { CAPACITY }
    }

    /// Where the state begins.
    fn state(self) -> usize {
        usize::try_from(if self.is_apart { BLOCKS + LOGS } else { 0 }).unwrap()
    }

    fn open<K: Kind>(self, device: &Arc<Recorder>) -> Result<LocalStore<K>> {
        let devices = if self.is_apart {
            let part = |begin: u64, size: u64| Part::new(device, &(begin..begin + size));
            let state = part(BLOCKS + LOGS, STATE);
            Devices::new(part(0, BLOCKS)).with_logs(part(BLOCKS, LOGS)).with_state(state)
        } else {
            Devices::new(Arc::<Recorder>::clone(device))
        };
        block_on(LocalStore::open_on(self.options(), devices, Environment::default()))
    }

    fn open_image<K: Kind>(self, image: Vec<u8>) -> Result<LocalStore<K>> {
        self.open(&Arc::new(Recorder::from_image(image)))
    }
}

/// Objects and bytes, by namespace.
type Amounts = BTreeMap<String, (u64, u64)>;

/// The account that a digest goes to.
fn namespace(digest: &Digest) -> &'static str {
    ["", "acme/main", "umbrella"][usize::from(digest.hash_bytes()[0] % 3)]
}

fn context(digest: &Digest) -> Context {
    Context::background().with_namespace(Namespace::new(namespace(digest)))
}

/// What a put has added to an account.
fn count_created(created: &mut Amounts, digest: &Digest, outcome: PutOutcome) {
    if let PutOutcome::Created { stored_bytes } | PutOutcome::Replaced { stored_bytes, .. } = outcome {
        let (objects, bytes) = created.entry(namespace(digest).to_owned()).or_default();
        *objects += 1;
        *bytes += stored_bytes;
    }
}

/// What the store says that it gave up.
fn released<K: Kind>(store: &LocalStore<K>) -> Amounts {
    let totals = block_on(store.released(&Context::background())).unwrap().totals.into_iter();
    let totals = totals.map(|of| (of.namespace.to_string(), (of.objects, of.stored_bytes)));
    totals.filter(|(_, (objects, _))| *objects > 0).collect()
}

/// What the store holds.
fn contents_of<K: Kind>(store: &LocalStore<K>) -> BTreeMap<Digest, u64> {
    let mut contents = BTreeMap::new();
    for entry in block_on(listed(store, &Context::background())).unwrap() {
        assert_eq!(contents.insert(entry.digest, entry.stored_bytes), None);
    }
    contents
}

/// What was put in all, by what is there and what was given up.
fn accounted<K: Kind>(store: &LocalStore<K>) -> Amounts {
    let mut amounts = released(store);
    for (digest, stored_bytes) in contents_of(store) {
        let (objects, bytes) = amounts.entry(namespace(&digest).to_owned()).or_default();
        *objects += 1;
        *bytes += stored_bytes;
    }
    amounts
}

/// Which contents a digest has: of messages, in the version that was put last.
type Contents = BTreeMap<Digest, Vec<u8>>;

/// What was true after an operation.
struct Moment {
    /// How many steps the device had seen.
    position: usize,
    /// What was stored.
    stored: BTreeSet<Digest>,
    /// Of messages, how often each had been put.
    versions: BTreeMap<Digest, u64>,
    /// Whether it was a sync, or a put that came with one.
    is_sync: bool,
    /// What was put or found, and how many bytes had been put by then.
    promised: BTreeMap<Digest, u64>,
    put_bytes: u64,
    /// What the operation put, if a block was recycled for it: an earlier value may have gone before it came.
    replaced: Option<Digest>,
    /// What had been put in all, and what the store said that it gave up.
    created: Amounts,
    released: Amounts,
}

struct History<K: Kind> {
    store: LocalStore<K>,
    device: Arc<Recorder>,
    numbers: Numbers,
    contents: Contents,
    versions: BTreeMap<Digest, u64>,
    promised: BTreeMap<Digest, u64>,
    put_bytes: u64,
    moments: Vec<Moment>,
    is_synced_on_put: bool,
    replaced: Option<Digest>,
    created: Amounts,
    refresh: Refresh,
    refreshed: u64,
}

/// What an object counts as, if it may share a sync with none.
fn taken(sizes: &Sizes, size: usize) -> u64 {
    let size = u64::try_from(size).unwrap();
    sizes.counted_bytes(size).max(size.next_multiple_of(4096) + 4096)
}

/// A message of this version: it begins with it.
fn message(version: u64, filling: &[u8]) -> Vec<u8> {
    let mut message = version.to_le_bytes().to_vec();
    message.extend_from_slice(filling);
    message
}

fn version(message: &[u8]) -> u64 {
    u64::from_le_bytes(*message.first_chunk().unwrap())
}

impl<K: Kind> History<K> {
    fn put(&mut self) {
        let size = match self.numbers.below(10) {
            0 => self.numbers.below(40_000),
            1..=3 => self.numbers.below(8_000),
            _ => self.numbers.below(1_000),
        };
        let (digest, contents) = if K::STORAGE_TYPE.is_mutable() {
            let number = self.numbers.below(60).to_le_bytes();
            let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &number);
            let next = self.versions.get(&digest).copied().unwrap_or_default() + 1;
            (digest, message(next, &self.numbers.bytes(size)))
        } else {
            let contents = self.numbers.bytes(size);
            (Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents), contents)
        };
        self.put_bytes += taken(self.store.sizes(), size + 16);
        // Before the put: a crash in the midst of it may leave it, and then it must be known.
        *self.versions.entry(digest.clone()).or_default() += 1;
        self.contents.insert(digest.clone(), contents.clone());
        let before = self.store.snapshot().recycled_blocks;
        let outcome = block_on(self.store.put(&context(&digest), &digest, Blob::from_bytes(contents))).unwrap();
        count_created(&mut self.created, &digest, outcome);
        self.replaced = (self.store.snapshot().recycled_blocks > before).then(|| digest.clone());
        self.promised.insert(digest, self.put_bytes);
    }

    fn some(&mut self) -> DigestSet {
        let known: Vec<_> = self.contents.keys().cloned().collect();
        let count = 1 + self.numbers.below(8);
        (0..count).filter_map(|_| known.get(self.numbers.below(known.len())).cloned()).collect()
    }

    fn operate(&mut self) {
        let ctx = Context::background();
        let mut is_sync = false;
        match self.numbers.below(20) {
            0..=10 => {
                self.put();
                is_sync = self.is_synced_on_put;
            }
            11..=14 => {
                let asked = self.some();
                let missing = block_on(self.store.find_missing(&ctx, &asked)).unwrap();
                for digest in &asked.difference(&missing) {
                    self.promised.insert(digest.clone(), self.put_bytes);
                }
            }
            15..=16 => {
                for digest in &self.some() {
                    if let Ok(blob) = block_on(self.store.get(&ctx, digest)) {
                        let read = block_on(blob.into_bytes(1 << 20)).unwrap();
                        assert_eq!(read, self.contents[digest]);
                    }
                }
            }
            17 if self.refresh == Refresh::OnTouch => {
                self.store.refresh_blocking().unwrap();
                self.refreshed = self.store.snapshot().refreshed;
            }
            _ => {
                block_on(self.store.sync()).unwrap();
                is_sync = true;
            }
        }
        self.note(is_sync);
    }

    fn note(&mut self, is_sync: bool) {
        let stored = self.contents.keys().filter(|digest| self.store.is_stored(digest)).cloned().collect();
        self.moments.push(Moment {
            position: self.device.position(),
            stored,
            versions: self.versions.clone(),
            is_sync,
            promised: self.promised.clone(),
            put_bytes: self.put_bytes,
            replaced: self.replaced.take(),
            created: self.created.clone(),
            released: released(&self.store),
        });
    }
}

fn history<K: Kind>(setup: Setup, seed: u64) -> History<K> {
    let device = Arc::new(Recorder::new(setup.size_bytes()));
    let store = setup.open::<K>(&device).unwrap();
    let mut history = History {
        store,
        device,
        numbers: Numbers::new(seed),
        contents: Contents::new(),
        versions: BTreeMap::new(),
        promised: BTreeMap::new(),
        put_bytes: 0,
        moments: Vec::new(),
        is_synced_on_put: setup.policy == SyncPolicy::OnPut,
        replaced: None,
        created: Amounts::new(),
        refresh: setup.refresh,
        refreshed: 0,
    };
    history.note(true);
    let operations = 50 + history.numbers.below(350);
    for _ in 0..operations {
        history.operate();
    }
    history
}

/// What must be true of a store that is opened after a crash right before step `position`.
struct Expected<'a> {
    /// What must be there.
    needed: BTreeSet<&'a Digest>,
    /// Of messages, which version they must have at least, if they are there.
    at_least: BTreeMap<&'a Digest, u64>,
    /// The last moment that is certain to have been.
    certain: &'a Moment,
    synced: &'a Moment,
    /// One of these had just been when what is found was made durable.
    possible: &'a [Moment],
}

fn expected(moments: &[Moment], position: usize) -> Option<Expected<'_>> {
    let last = moments.iter().rposition(|moment| moment.position <= position)?;
    let synced = moments[..=last].iter().rposition(|moment| moment.is_sync)?;
    let mut needed: BTreeSet<&Digest> = moments[synced].stored.iter().collect();
    // What was given up since may be there or not; the operation that the crash came into may have given up more.
    for moment in &moments[synced + 1..moments.len().min(last + 2)] {
        needed.retain(|digest| moment.stored.contains(*digest) && moment.replaced.as_ref() != Some(*digest));
    }
    let possible = &moments[synced..moments.len().min(last + 2)];
    let at_least = moments[synced].versions.iter().map(|(digest, version)| (digest, *version)).collect();
    Some(Expected { needed, at_least, certain: &moments[last], synced: &moments[synced], possible })
}

fn check<K: Kind>(
    store: &LocalStore<K>,
    history: &History<K>,
    expected: &Expected<'_>,
    numbers: &mut Numbers,
    sizes: &Sizes,
) {
    let ctx = Context::background();
    let mut found = BTreeSet::new();
    let is_known = |moment: &Moment| moment.created == accounted(store);
    let created = expected.possible.iter().find(|moment| is_known(moment)).map(|moment| &moment.created);
    assert!(
        created.is_some(),
        "{:?} is stored or given up, while {:?} to {:?} was put",
        accounted(store),
        expected.possible.first().map(|moment| &moment.created),
        expected.possible.last().map(|moment| &moment.created),
    );
    for (digest, contents) in &history.contents {
        let read = match block_on(store.get(&ctx, digest)) {
            Ok(blob) => block_on(blob.into_bytes(1 << 20)).unwrap(),
            Err(error) => {
                assert!(error.is_not_found(), "{error:?}");
                assert!(!expected.needed.contains(digest), "{digest} was durable, and is gone");
                continue;
            }
        };
        found.insert(digest.clone());
        if K::STORAGE_TYPE.is_mutable() {
            let (found, last) = (version(&read), history.versions[digest]);
            let at_least = expected.at_least.get(digest).copied().unwrap_or(1);
            assert!(
                (at_least..=last).contains(&found),
                "{digest} has version {found}, not one of {at_least} to {last}"
            );
            assert!(found < last || read == *contents);
        } else {
            assert_eq!(read, *contents);
        }
    }
    assert_eq!(store.snapshot().corrupted, 0);
    assert_eq!(store.snapshot().dropped_records, 0);
    assert_eq!(contents_of(store).into_keys().collect::<BTreeSet<_>>(), found);
    let mut created = created.cloned().unwrap_or_default();
    // It goes on working, and keeps what it had promised: for half of what that is worth, half of it being used up.
    let promise = sizes.promised_bytes();
    let promised =
        expected.synced.promised.iter().filter(|(digest, at)| {
            expected.needed.contains(digest) && expected.certain.put_bytes - **at <= promise / 2
        });
    let promised: DigestSet = promised.map(|(digest, _)| digest.clone()).collect();
    let mut left = promise / 2;
    while left > taken(sizes, 9_000) {
        let contents = if K::STORAGE_TYPE.is_mutable() {
            message(1, &numbers.bytes(9_000))
        } else {
            let size = numbers.below(9_000);
            numbers.bytes(size)
        };
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
        left -= taken(sizes, contents.len() + 16);
        let outcome = block_on(store.put(&context(&digest), &digest, Blob::from_bytes(contents.clone()))).unwrap();
        count_created(&mut created, &digest, outcome);
        let read = block_on(block_on(store.get(&ctx, &digest)).unwrap().into_bytes(1 << 20)).unwrap();
        assert_eq!(read, contents);
    }
    // More may be found again than may be copied; then what goes is counted, byte by byte.
    let missing = block_on(store.find_missing(&ctx, &promised)).unwrap();
    let gone: usize = missing.iter().map(|digest| history.contents[digest].len()).sum();
    let counted = store.snapshot().breached_bytes;
    assert!(u64::try_from(gone).unwrap() <= counted, "{gone} bytes that were promised are gone, {counted} are counted");
    block_on(store.sync()).unwrap();
    assert_eq!(accounted(store), created, "after more was put");
}

fn try_history<K: Kind>(setup: Setup, seed: u64, images: &mut u64) -> u64 {
    let history = history::<K>(setup, seed);
    let sizes = *history.store.sizes();
    let steps = history.device.steps();
    let mut crashes = Crashes::new(vec![0; usize::try_from(setup.size_bytes()).unwrap()], steps.clone());
    let mut numbers = Numbers::new(!seed);
    let mut position = 0;
    while position <= steps.len() {
        for loss in Loss::ALL {
            let image = crashes.image(position, loss, &mut numbers);
            // If the store was being made, it must be possible to make it again.
            let store = setup.open_image::<K>(image).unwrap();
            if let Some(expected) = expected(&history.moments, position) {
                let released = released(&store);
                for (namespace, (objects, bytes)) in &expected.certain.released {
                    let (objects_now, bytes_now) = released.get(namespace).copied().unwrap_or_default();
                    assert!(objects_now >= *objects && bytes_now >= *bytes, "{namespace:?} was said to be given up");
                }
                check(&store, &history, &expected, &mut numbers, &sizes);
            }
            *images += 1;
        }
        // The younger superblock rots: what it alone vouched for may be gone, but nothing may be wrong.
        if let Some(mut known) = expected(&history.moments, position) {
            let mut image = crashes.image(position, Loss::Everything, &mut numbers);
            rot_younger_superblock(&mut image, setup.state());
            known.needed.clear();
            known.at_least.clear();
            known.possible = &history.moments;
            check(&setup.open_image::<K>(image).unwrap(), &history, &known, &mut numbers, &sizes);
            *images += 1;
        }
        position += if position < 12 { 1 } else { 1 + numbers.below(60) };
    }
    history.refreshed
}

fn try_histories<K: Kind>(policy: SyncPolicy, share: u32) {
    for refresh in [Refresh::AtRecycling, Refresh::OnTouch] {
        for is_apart in [false, true] {
            try_histories_of::<K>(Setup { policy, refresh, is_apart }, 4 * share);
        }
    }
}

fn try_histories_of<K: Kind>(setup: Setup, share: u32) {
    let budget = budget() / share;
    let first = seed("BLOBACCESS_CRASH_SEED");
    let begun = SystemClock.monotonic();
    let (mut images, mut histories, mut refreshed) = (0, 0, 0);
    while SystemClock.monotonic() - begun < budget {
        let seed = first.wrapping_add(histories);
        println!("BLOBACCESS_CRASH_SEED={seed}, {setup:?}");
        refreshed += try_history::<K>(setup, seed, &mut images);
        histories += 1;
    }
    let kind = K::STORAGE_TYPE.name();
    println!("{images} images of {histories} histories, {refreshed} refreshes, {setup:?} of {kind}");
}

#[test]
fn contents_that_were_synced_outlive_a_crash_anywhere() {
    try_histories::<Cas>(SyncPolicy::OnClose, 3);
}

#[test]
fn messages_that_were_synced_outlive_a_crash_anywhere() {
    try_histories::<Ac>(SyncPolicy::OnClose, 3);
}

#[test]
fn under_on_put_everything_outlives_a_crash_anywhere() {
    try_histories::<Ac>(SyncPolicy::OnPut, 6);
    try_histories::<Cas>(SyncPolicy::OnPut, 6);
}

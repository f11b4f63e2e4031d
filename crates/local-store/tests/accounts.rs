//! Totals by account of what is stored and evicted, the accounts of uploads, and what a listing shows.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use blobaccess::{
    Ac, AccountName, Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, ErrorKind, EvictionTotals,
    Evictions, InstanceName, Inventory, InventoryCursor, Kind, PutOutcome, ResolveUpload, Result, UploadResolution,
    UploadToken,
};
use blobaccess_local_store::{Environment, LocalStore, MemoryDevice, Options, SyncPolicy};
use blobaccess_testkit::Numbers;
use bytes::Bytes;
use futures::executor::block_on;

const CAPACITY: u64 = 8 << 20;

fn on_device() -> Options {
    Options::on_device(CAPACITY)
        .with_blocks(1, 4, 1)
        .with_spare_blocks(2)
        .with_entries(6_000)
        .with_account_names(8)
        .persistent(SyncPolicy::OnClose)
}

fn blank() -> Arc<MemoryDevice> {
    Arc::new(MemoryDevice::new(CAPACITY))
}

fn open<K: Kind>(options: &Options, device: &Arc<MemoryDevice>) -> LocalStore<K> {
    block_on(LocalStore::open_on(options.clone(), Arc::clone(device), Environment::default())).unwrap()
}

fn in_memory<K: Kind>() -> LocalStore<K> {
    let options = Options::in_memory(6 << 20).with_blocks(1, 4, 1).with_spare_blocks(2).with_entries(6_000);
    block_on(LocalStore::open(options)).unwrap()
}

fn blob(function: DigestFunction, name: &str, numbers: &mut Numbers, size: usize) -> (Digest, Bytes) {
    let contents = Bytes::from(numbers.bytes(size));
    (Digest::of(InstanceName::new(name).unwrap(), function, &contents), contents)
}

fn put<K: Kind>(store: &LocalStore<K>, ctx: &Context, digest: &Digest, contents: &Bytes) -> PutOutcome {
    block_on(store.put(ctx, digest, Blob::from_bytes(contents.clone()))).unwrap()
}

fn list<K: Kind>(store: &LocalStore<K>, mut between: impl FnMut(usize)) -> Vec<(Digest, u64)> {
    let mut listed = Vec::new();
    let mut cursor: Option<InventoryCursor> = None;
    for page in 0.. {
        let got = block_on(store.inventory(&Context::background(), cursor.as_ref())).unwrap();
        listed.extend(got.entries.into_iter().map(|entry| (entry.digest, entry.stored_bytes)));
        cursor = got.next;
        if cursor.is_none() {
            break;
        }
        between(page);
    }
    listed
}

fn released<K: Kind>(store: &LocalStore<K>) -> EvictionTotals {
    block_on(store.evicted(&Context::background())).unwrap()
}

fn of(totals: &EvictionTotals, account_name: &str) -> (u64, u64) {
    let of = totals.totals.iter().find(|of| of.account_name.as_str() == account_name);
    of.map_or((0, 0), |of| (of.objects, of.stored_bytes))
}

fn listing_of_every_function<K: Kind>() {
    let device = blank();
    let store = open::<K>(&on_device(), &device);
    let mut numbers = Numbers::new(1);
    let mut expected = BTreeMap::new();
    for function in DigestFunction::ALL {
        for name in ["", "a/b"] {
            let (digest, contents) = blob(function, name, &mut numbers, 700);
            let stored_bytes = put(&store, &Context::background(), &digest, &contents).stored_bytes().unwrap();
            let is_mutable = K::STORAGE_TYPE.is_mutable();
            expected.insert(
                if is_mutable { digest } else { digest.with_instance_name(InstanceName::empty()) },
                stored_bytes,
            );
        }
    }
    assert_eq!(list(&store, |_| {}).into_iter().collect::<BTreeMap<_, _>>(), expected);
    block_on(store.close()).unwrap();
    let store = open::<K>(&on_device(), &device);
    let listed = list(&store, |_| {});
    assert_eq!(listed.len(), expected.len());
    assert_eq!(listed.into_iter().collect::<BTreeMap<_, _>>(), expected);
}

#[test]
fn contents_are_listed_by_their_digest_whatever_the_function() {
    listing_of_every_function::<Cas>();
}

#[test]
fn messages_are_listed_by_their_digest_and_instance_name() {
    listing_of_every_function::<Ac>();
}

#[test]
fn what_stays_is_listed_once_while_all_else_moves() {
    let device = blank();
    let store = open::<Cas>(&on_device(), &device);
    let mut numbers = Numbers::new(2);
    let ctx = Context::background();
    let mut kept = Vec::new();
    for _ in 0..3_000 {
        let (digest, contents) = blob(DigestFunction::Sha256, "", &mut numbers, 100);
        put(&store, &ctx, &digest, &contents);
        kept.push(digest);
    }
    let staying: DigestSet = kept.into_iter().collect();
    let before = store.snapshot().copied;
    let listed = list(&store, |page| {
        // It is found, and so copied when its block is recycled.
        assert!(block_on(store.find_missing(&ctx, &staying)).unwrap().is_empty(), "after page {page}");
        for number in 0..40 {
            if number % 8 == 0 {
                assert!(block_on(store.find_missing(&ctx, &staying)).is_ok());
            }
            let (digest, contents) = blob(DigestFunction::Sha256, "", &mut numbers, 60_000);
            put(&store, &ctx, &digest, &contents);
        }
    });
    assert!(store.snapshot().copied > before, "nothing moved");
    let mut seen = BTreeSet::new();
    assert!(listed.iter().all(|(digest, _)| seen.insert(digest.clone())), "a blob is listed twice");
    let stayed: Vec<_> = staying.iter().filter(|digest| store.is_stored(digest)).collect();
    assert!(stayed.len() > 2_000, "{} have stayed", stayed.len());
    assert_eq!(stayed.iter().filter(|digest| !seen.contains(**digest)).count(), 0);
}

#[test]
fn a_listing_goes_on_after_a_restart_and_not_in_another_store() {
    let device = blank();
    let store = open::<Ac>(&on_device(), &device);
    let mut numbers = Numbers::new(3);
    let ctx = Context::background();
    let mut expected = BTreeSet::new();
    for _ in 0..1_500 {
        let (digest, contents) = blob(DigestFunction::Sha256, "main", &mut numbers, 90);
        put(&store, &ctx, &digest, &contents);
        expected.insert(digest);
    }
    let first = block_on(store.inventory(&ctx, None)).unwrap();
    let cursor = first.next.unwrap();
    block_on(store.close()).unwrap();
    let store = open::<Ac>(&on_device(), &device);
    let second = block_on(store.inventory(&ctx, Some(&cursor))).unwrap();
    assert_eq!(second.next, None);
    let digests: Vec<_> = first.entries.into_iter().chain(second.entries).map(|entry| entry.digest).collect();
    assert_eq!(digests.len(), expected.len());
    assert_eq!(digests.into_iter().collect::<BTreeSet<_>>(), expected);
    let another = open::<Ac>(&on_device(), &blank());
    let error = block_on(another.inventory(&ctx, Some(&cursor))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

fn a_token_stays<K: Kind>(store: LocalStore<K>, mut again: impl FnMut(LocalStore<K>) -> LocalStore<K>) {
    let mut numbers = Numbers::new(4);
    let resolve = |store: &LocalStore<K>, digest: &Digest, token: u8| -> Result<UploadResolution> {
        block_on(store.resolve_upload(&Context::background(), digest, &UploadToken::from_bytes([token; 16])))
    };
    let mut blobs = Vec::new();
    for size in [0, 300, 70_000, 140_000] {
        let (digest, contents) = blob(DigestFunction::Sha512, "x", &mut numbers, size);
        let ctx = Context::background().with_upload_token(UploadToken::from_bytes([1; 16]));
        put(&store, &ctx, &digest, &contents);
        blobs.push((digest, contents));
    }
    let (untold, contents) = blob(DigestFunction::Sha256, "", &mut numbers, 10);
    put(&store, &Context::background(), &untold, &contents);
    let mut store = again(store);
    for _ in 0..2 {
        for (digest, contents) in &blobs {
            let stored_bytes = u64::try_from(contents.len()).unwrap();
            assert_eq!(resolve(&store, digest, 1).unwrap(), UploadResolution::Mine { stored_bytes });
            assert_eq!(resolve(&store, digest, 2).unwrap(), UploadResolution::Anothers { stored_bytes });
            let read = block_on(async { store.get(&Context::background(), digest).await?.into_bytes(1 << 20).await });
            assert_eq!(read.unwrap(), contents);
        }
        assert_eq!(resolve(&store, &untold, 1).unwrap(), UploadResolution::Unknown);
        // All of it is copied to other blocks.
        let before = store.snapshot().recycled_blocks;
        let digests = blobs.iter().map(|(digest, _)| digest);
        let asked: DigestSet = digests.chain([&untold]).cloned().collect();
        while store.snapshot().recycled_blocks < before + 8 {
            assert!(block_on(store.find_missing(&Context::background(), &asked)).unwrap().is_empty());
            let (digest, contents) = blob(DigestFunction::Sha256, "", &mut numbers, 60_000);
            put(&store, &Context::background(), &digest, &contents);
        }
        store = again(store);
    }
    assert!(store.snapshot().corrupted == 0);
}

#[test]
fn a_token_stays_with_what_it_stored_wherever_that_goes() {
    let device = blank();
    a_token_stays::<Cas>(open(&on_device(), &device), |store| {
        block_on(store.close()).unwrap();
        open(&on_device(), &device)
    });
    a_token_stays::<Ac>(in_memory(), |store| store);
    a_token_stays::<Cas>(in_memory(), |store| store);
}

#[test]
fn what_is_given_up_is_told_by_account_once_it_is_durable() {
    let device = blank();
    let store = open::<Ac>(&on_device(), &device);
    let source = released(&store).source;
    let mut numbers = Numbers::new(5);
    let ctx = |name: &str| Context::background().with_account_name(AccountName::new(name));
    let (digest, first) = blob(DigestFunction::Sha256, "by-digest", &mut numbers, 100);
    put(&store, &Context::background(), &digest, &first);
    let second = Bytes::from(numbers.bytes(50));
    put(&store, &ctx("acme"), &digest, &second);
    assert_eq!(of(&released(&store), "by-digest"), (0, 0), "a crash could undo it");
    block_on(store.sync()).unwrap();
    assert_eq!(of(&released(&store), "by-digest"), (1, 100));
    assert_eq!(of(&released(&store), "acme"), (0, 0));
    drop(store);
    let store = open::<Ac>(&on_device(), &device);
    assert_eq!(released(&store).source, source);
    assert_eq!(of(&released(&store), "by-digest"), (1, 100));
    // Eight names fit, of which `__other__` is one.
    for number in 0..10 {
        let (digest, contents) = blob(DigestFunction::Sha256, "", &mut numbers, 10);
        let name = format!("n{number}");
        put(&store, &ctx(&name), &digest, &contents);
        put(&store, &ctx(&name), &digest, &Bytes::from(numbers.bytes(20)));
    }
    block_on(store.sync()).unwrap();
    let totals = released(&store);
    assert_eq!((of(&totals, "n4"), of(&totals, "n5")), ((1, 10), (0, 0)));
    assert_eq!(of(&totals, "__other__"), (5, 50));
    assert!(totals.totals.is_sorted_by(|a, b| a.account_name < b.account_name));
}

#[test]
fn a_store_in_memory_tells_what_it_gave_up_in_this_life() {
    let store = in_memory::<Cas>();
    let mut numbers = Numbers::new(6);
    let ctx = Context::background().with_account_name(AccountName::new("acme"));
    let mut created = 0;
    for _ in 0..500 {
        let (digest, contents) = blob(DigestFunction::Sha256, "", &mut numbers, 30_000);
        put(&store, &ctx, &digest, &contents);
        created += 1;
    }
    let live = u64::try_from(list(&store, |_| {}).len()).unwrap();
    assert!(live < created);
    assert_eq!(of(&released(&store), "acme"), (created - live, (created - live) * 30_000));
    assert_ne!(released(&store).source, released(&in_memory::<Cas>()).source);
}

#[test]
fn a_block_is_retired_once_the_list_of_what_proved_wrong_is_full() {
    let device = blank();
    let store = open::<Cas>(&on_device(), &device);
    let mut numbers = Numbers::new(7);
    let ctx = Context::background();
    let blobs: Vec<_> = (0..1_200).map(|_| blob(DigestFunction::Sha256, "", &mut numbers, 64)).collect();
    for (digest, contents) in &blobs {
        put(&store, &ctx, digest, contents);
    }
    block_on(store.close()).unwrap();
    let mut image = device.image();
    let mut at = 0;
    let (wrong, right) = blobs.split_at(1_100);
    for (_, contents) in wrong {
        at += image[at..].windows(64).position(|window| window == contents).unwrap();
        image[at] ^= 1;
    }
    let device = Arc::new(MemoryDevice::from_image(image));
    let store = open::<Cas>(&on_device(), &device);
    for (digest, _) in wrong {
        assert!(block_on(store.get(&ctx, digest)).is_err());
    }
    assert_eq!(store.snapshot().corrupted, 1_100);
    assert_eq!(store.snapshot().recycled_blocks, 0);
    let is_retired = async {
        while store.snapshot().recycled_blocks == 0 {
            tokio::task::yield_now().await;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::select! {
            () = store.run() => {}
            () = is_retired => {}
        }
    });
    assert_eq!(store.snapshot().breached_bytes, 0);
    assert!(right.iter().all(|(digest, _)| store.is_stored(digest)));
    block_on(store.sync()).unwrap();
    let totals = released(&store);
    let live = u64::try_from(list(&store, |_| {}).len()).unwrap();
    assert_eq!(of(&totals, "").0 + live, 1_200);
    drop(store);
    // Nothing of what proved wrong is found again, and what is right is there.
    let store = open::<Cas>(&on_device(), &device);
    for (digest, contents) in right {
        let read = block_on(async { store.get(&ctx, digest).await?.into_bytes(1 << 20).await });
        assert_eq!(read.unwrap(), contents);
    }
    for (digest, contents) in wrong {
        assert!(block_on(store.get(&ctx, digest)).unwrap_err().is_not_found());
        assert!(matches!(put(&store, &ctx, digest, contents), PutOutcome::Created { .. }));
    }
    assert_eq!(store.snapshot().corrupted, 0);
}

#[test]
fn failed_puts_use_up_no_account_and_an_account_begins_with_its_first_blob() {
    let (store, mut numbers) = (in_memory::<Cas>(), Numbers::new(20));
    for number in 0..300 {
        let (digest, contents) = blob(DigestFunction::Sha256, &format!("attacker/{number}"), &mut numbers, 100);
        let wrong = Blob::from_bytes(contents.slice(1..));
        let error = block_on(store.put(&Context::background(), &digest, wrong)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    for _ in 0..300 {
        let (digest, contents) = blob(DigestFunction::Sha256, "tenant", &mut numbers, 50_000);
        put(&store, &Context::background(), &digest, &contents);
    }
    let totals = released(&store);
    assert!(of(&totals, "tenant").0 > 50, "{totals:?}");
    assert_eq!(of(&totals, "__other__"), (0, 0));
}

//! Instance names that count: who sees what, what is shared, what has to be proved, and what becomes of it in time.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a step that fails is a failed test")]

use std::sync::Arc;

use blobaccess::{
    Ac, Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, ErrorKind, InstanceName, Inventory,
    KeyFormat, PutOutcome, Result,
};
use blobaccess_local_store::{Environment, LocalStore, MemoryDevice, Options, SyncPolicy};
use bytes::Bytes;
use futures::executor::block_on;

const CAPACITY: u64 = 4 << 20;

fn in_memory() -> LocalStore<Cas> {
    block_on(LocalStore::open(Options::in_memory(CAPACITY).with_hierarchical_instance_names())).unwrap()
}

fn on_device() -> Options {
    let options = Options::on_device(CAPACITY).with_blocks(1, 4, 1).with_spare_blocks(2).with_entries(4000);
    options.with_hierarchical_instance_names().persistent(SyncPolicy::OnClose)
}

fn open_on(device: &Arc<MemoryDevice>, options: Options) -> Result<LocalStore<Cas>> {
    let device = Arc::clone(device);
    block_on(LocalStore::open_on(options, device, Environment::default()))
}

fn digest(name: &str, contents: &[u8]) -> Digest {
    Digest::of(InstanceName::new(name).unwrap(), DigestFunction::Sha256, contents)
}

fn put(store: &LocalStore<Cas>, name: &str, contents: &[u8]) -> Result<PutOutcome> {
    let blob = Blob::from_bytes(contents.to_vec());
    block_on(store.put(&Context::background(), &digest(name, contents), blob))
}

fn get(store: &LocalStore<Cas>, name: &str, contents: &[u8]) -> Result<Bytes> {
    let blob = block_on(store.get(&Context::background(), &digest(name, contents)))?;
    block_on(blob.into_bytes(1 << 24))
}

fn sees(store: &LocalStore<Cas>, name: &str, contents: &[u8]) -> bool {
    let asked = digest(name, contents);
    let missing = block_on(store.find_missing(&Context::background(), &asked.clone().into())).unwrap();
    let mut absent = Vec::new();
    store.find_missing_blocking(std::slice::from_ref(&asked), |position| absent.push(position)).unwrap();
    let read = get(store, name, contents);
    assert_eq!(missing.is_empty(), absent.is_empty());
    assert_eq!(missing.is_empty(), store.is_stored(&asked));
    assert_eq!(missing.is_empty(), store.get_blocking(&asked).unwrap().is_some());
    match read {
        Ok(read) => assert_eq!(read, contents),
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
    }
    missing.is_empty()
}

/// Returns contents of a size that no other test step has.
fn filling(number: u32, size: usize) -> Vec<u8> {
    let mut contents = vec![9; size];
    contents[..4].copy_from_slice(&number.to_le_bytes());
    contents
}

#[test]
fn a_name_sees_what_was_put_under_it_and_under_what_it_begins_with() {
    let store = in_memory();
    assert_eq!(store.key_format(), KeyFormat::WithInstanceName);
    put(&store, "a/b", b"x").unwrap();
    for name in ["a/b", "a/b/c", "a/b/c/d"] {
        assert!(sees(&store, name, b"x"), "{name}");
    }
    for name in ["", "a", "b", "a/bc", "a/c/b"] {
        assert!(!sees(&store, name, b"x"), "{name}");
    }
    put(&store, "", b"y").unwrap();
    assert!(sees(&store, "a", b"y") && sees(&store, "", b"y"));
}

#[test]
fn contents_are_kept_once_and_shared_with_who_proves_to_have_them() {
    let store = in_memory();
    for (number, size) in [5, 1000, 100_000, 1 << 20].into_iter().enumerate() {
        let store = if size == 1 << 20 { &in_large_blocks() } else { &store };
        let contents = filling(u32::try_from(number).unwrap(), size);
        let stored_bytes = contents.len().try_into().unwrap();
        assert_eq!(put(store, "a", &contents).unwrap(), PutOutcome::Created { stored_bytes });
        assert_eq!(put(store, "a/b", &contents).unwrap(), PutOutcome::AlreadyExists { stored_bytes });
        let used = used(store);
        assert_eq!(put(store, "b", &contents).unwrap(), PutOutcome::Created { stored_bytes: 0 });
        assert_eq!(put(store, "b", &contents).unwrap(), PutOutcome::AlreadyExists { stored_bytes });
        assert_eq!(used, self::used(store));
        assert!(sees(store, "b/c", &contents) && !sees(store, "c", &contents));
    }
}

fn in_large_blocks() -> LocalStore<Cas> {
    let options = Options::in_memory(64 << 20).with_blocks(1, 4, 1).with_hierarchical_instance_names();
    block_on(LocalStore::open(options)).unwrap()
}

fn used(store: &LocalStore<Cas>) -> u64 {
    store.snapshot().blocks.iter().map(|block| block.used_bytes).sum()
}

#[test]
fn whoever_does_not_have_the_contents_learns_nothing_of_them() {
    for size in [100, 1 << 20] {
        let store = in_large_blocks();
        let contents = filling(1, size);
        put(&store, "a", &contents).unwrap();
        let (known, unknown) = (digest("b", &contents), digest("b", &filling(2, size)));
        for asked in [&known, &unknown] {
            let wrong = Blob::from_bytes(filling(3, size));
            let refused = block_on(store.put(&Context::background(), asked, wrong)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidArgument, "{refused}");
        }
        assert!(!sees(&store, "b", &contents));
    }
}

#[test]
fn of_equal_puts_under_one_name_exactly_one_is_created() {
    let store = Arc::new(in_memory());
    for number in 0..200 {
        let contents = Arc::new(filling(number, 300));
        let putters: Vec<_> = ["a", "a", "b", "b"]
            .map(|name| {
                let (store, contents) = (Arc::clone(&store), Arc::clone(&contents));
                std::thread::spawn(move || (name, put(&store, name, &contents).unwrap()))
            })
            .into_iter()
            .collect();
        let outcomes: Vec<_> = putters.into_iter().map(|putter| putter.join().unwrap()).collect();
        for name in ["a", "b"] {
            let of_name = outcomes.iter().filter(|(of, _)| *of == name);
            let created = of_name.filter(|(_, outcome)| matches!(outcome, PutOutcome::Created { .. })).count();
            assert_eq!(created, 1, "{name}: {outcomes:?}");
        }
        let stored = outcomes.iter().filter(|(_, put)| *put == PutOutcome::Created { stored_bytes: 300 }).count();
        assert_eq!(stored, 1, "{outcomes:?}");
    }
}

#[test]
fn one_question_may_be_about_many_names() {
    let store = in_memory();
    let mut asked = Vec::new();
    let mut unseen = Vec::new();
    for number in 0..9000_u32 {
        let contents = number.to_le_bytes();
        let name = ["a", "a/b", "c"][usize::try_from(number % 3).unwrap()];
        if number % 2 == 0 {
            put(&store, "a", &contents).unwrap();
        }
        let digest = digest(name, &contents);
        if number % 2 == 1 || name == "c" {
            unseen.push(digest.clone());
        }
        asked.push(digest);
    }
    let asked: DigestSet = asked.into_iter().collect();
    let missing = block_on(store.find_missing(&Context::background(), &asked)).unwrap();
    assert_eq!(missing, unseen.into_iter().collect());
}

#[test]
fn names_go_where_their_contents_go_and_outlive_a_restart() {
    let device = Arc::new(MemoryDevice::new(CAPACITY));
    let kept: Vec<_> = (0..20).map(|number| filling(number, 500 + 37 * usize::try_from(number).unwrap())).collect();
    let mut store = open_on(&device, on_device()).unwrap();
    for contents in &kept {
        put(&store, "a", contents).unwrap();
        put(&store, "b/c", contents).unwrap();
    }
    let mut number = 1000;
    for _ in 0..4 {
        let before = store.snapshot().recycled_blocks;
        while store.snapshot().recycled_blocks < before + 8 {
            put(&store, "z", &filling(number, 9000)).unwrap();
            number += 1;
            // Whoever asks under one of the names keeps them for all.
            for contents in &kept {
                let asked = digest("b/c/d", contents);
                assert!(block_on(store.find_missing(&Context::background(), &asked.into())).unwrap().is_empty());
            }
        }
        assert_eq!(store.snapshot().breached_bytes, 0);
        block_on(store.close()).unwrap();
        store = open_on(&device, on_device()).unwrap();
        for contents in &kept {
            assert!(sees(&store, "a", contents) && sees(&store, "b/c", contents) && !sees(&store, "b", contents));
        }
    }
    assert!(!sees(&store, "z", &filling(1000, 9000)));
}

#[test]
fn parts_of_what_a_name_sees_are_not_seen_by_it_themselves() {
    let store = in_memory();
    let (parent, part) = (b"parent and part", b"part");
    put(&store, "a", parent).unwrap();
    let at_end: Arc<dyn blobaccess::Slicer> = Arc::new(AtEnd);
    let (of_parent, of_part) = (digest("a", parent), digest("a", part));
    let ctx = Context::background();
    let sliced = block_on(store.get_from_composite(&ctx, &of_parent, &of_part, Arc::clone(&at_end))).unwrap();
    assert_eq!(block_on(sliced.into_bytes(100)).unwrap(), &part[..]);
    assert!(!sees(&store, "a", part));
    let refused = block_on(store.get_from_composite(&ctx, &digest("b", parent), &digest("b", part), at_end));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotFound);
}

/// Finds a part of four bytes at the end.
#[derive(Debug)]
struct AtEnd;

#[async_trait::async_trait]
impl blobaccess::Slicer for AtEnd {
    async fn slice(&self, parent: Blob, child: &Digest) -> Result<blobaccess::Sliced> {
        let bytes = parent.into_bytes(100).await?;
        let offset = u64::try_from(bytes.len()).unwrap() - child.size_bytes();
        let part = bytes.slice(usize::try_from(offset).unwrap()..);
        let slice = blobaccess::Slice { digest: child.clone(), offset, size_bytes: child.size_bytes() };
        Ok(blobaccess::Sliced::new(Blob::from_verified_bytes(child, part)).with_slices(vec![slice]))
    }
}

#[test]
fn a_store_is_gone_on_with_as_it_was_made() {
    let device = Arc::new(MemoryDevice::new(CAPACITY));
    drop(open_on(&device, on_device()).unwrap());
    let flat = Options::on_device(CAPACITY).with_blocks(1, 4, 1).with_spare_blocks(2).with_entries(4000);
    let refused = open_on(&device, flat.persistent(SyncPolicy::OnClose)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::FailedPrecondition);
    assert!(refused.to_string().contains("hierarchical"), "{refused}");
    let messages = Options::in_memory(CAPACITY).with_hierarchical_instance_names();
    let refused = block_on(LocalStore::<Ac>::open(messages)).unwrap_err();
    assert!(refused.kind() == ErrorKind::InvalidArgument && refused.to_string().contains("ac"), "{refused}");
}

#[test]
fn a_name_that_is_too_deep_is_refused() {
    let store = in_memory();
    let deep = ["a"; 65].join("/");
    for refused in [put(&store, &deep, b"x").unwrap_err(), get(&store, &deep, b"x").unwrap_err()] {
        assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
        assert!(refused.to_string().contains("65 components"), "{refused}");
    }
}

#[test]
fn a_full_log_makes_contents_move_rather_than_a_name_go_without() {
    let device = Arc::new(MemoryDevice::new(CAPACITY));
    let store = open_on(&device, on_device()).unwrap();
    let entries = store.sizes().entries_per_block().unwrap();
    put(&store, "first", b"contents").unwrap();
    for number in 0..2 * entries {
        put(&store, &format!("name{number}"), b"contents").unwrap();
    }
    assert!(used(&store) > 2 * 8, "one log had room for all names");
    block_on(store.close()).unwrap();
    let store = open_on(&device, on_device()).unwrap();
    let unseen = (0..2 * entries).filter(|number| !sees(&store, &format!("name{number}"), b"contents")).count();
    assert_eq!(unseen, 0);
}

/// Puts others, and asks for what is kept under one of its names, until so many more blocks are recycled.
fn recycle(store: &LocalStore<Cas>, blocks: u64, kept: &Digest) {
    let until = store.snapshot().recycled_blocks + blocks;
    let mut number = 1 << 20;
    while store.snapshot().recycled_blocks < until {
        number += 1;
        put(store, "z", &filling(number, 9000)).unwrap();
        let missing = block_on(store.find_missing(&Context::background(), &kept.clone().into())).unwrap();
        assert!(missing.is_empty(), "{kept} is gone");
    }
}

#[test]
fn names_follow_contents_that_were_stored_again_for_want_of_a_log() {
    let device = Arc::new(MemoryDevice::new(CAPACITY));
    let store = open_on(&device, on_device()).unwrap();
    let entries = u32::try_from(store.sizes().entries_per_block().unwrap()).unwrap();
    // As many names as have room in one log, but not in what others leave of this one.
    for number in 0..entries / 4 {
        put(&store, "z", &filling(number, 8)).unwrap();
    }
    put(&store, "name", b"contents").unwrap();
    let kept = digest("name", b"contents");
    let block = store.block_of(&kept);
    let mut names = vec!["name".to_owned()];
    // No block is recycled so far, so each keeps its place.
    while store.block_of(&kept) == block {
        names.push(format!("name{}", names.len()));
        put(&store, names.last().unwrap(), b"contents").unwrap();
        assert!(names.len() < usize::try_from(entries).unwrap(), "one log had room for all names");
    }
    recycle(&store, 16, &kept);
    let unseen = names.iter().filter(|name| !sees(&store, name, b"contents")).count();
    assert_eq!((unseen, store.snapshot().breached_bytes), (0, 0));
}

#[test]
fn who_puts_again_what_proved_wrong_sees_it_as_long_as_it_is_stored() {
    let device = Arc::new(MemoryDevice::new(CAPACITY));
    let store = open_on(&device, on_device()).unwrap();
    let contents = filling(7, 1500);
    put(&store, "a", &contents).unwrap();
    block_on(store.close()).unwrap();
    let mut image = device.image();
    let at = image.windows(contents.len()).position(|window| window == contents).unwrap();
    image[at + 700] ^= 1;
    let device = Arc::new(MemoryDevice::from_image(image));
    let store = open_on(&device, on_device()).unwrap();
    assert_eq!(get(&store, "a", &contents).unwrap_err().kind(), ErrorKind::DataLoss);
    assert_eq!(put(&store, "a", &contents).unwrap(), PutOutcome::Created { stored_bytes: 1500 });
    recycle(&store, 16, &digest("a", &contents));
    assert!(sees(&store, "a", &contents));
}

#[test]
fn contents_are_listed_once_under_the_empty_name() {
    let store = in_memory();
    for name in ["a", "a/b", "b"] {
        put(&store, name, b"x").unwrap();
    }
    let page = block_on(store.inventory(&Context::background(), None)).unwrap();
    let listed: Vec<_> = page.entries.iter().map(|entry| (entry.digest.clone(), entry.stored_bytes)).collect();
    assert_eq!(listed, [(digest("", b"x"), 1)]);
    assert!(page.next.is_none());
}

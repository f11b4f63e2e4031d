//! Archives with bytes changed at random: they may be refused, and never do more.

use std::collections::HashMap;

use blobaccess::KeyFormat::WithoutInstanceName;
use blobaccess::{Ac, BlobAccessExt, Cas, Clock, Digest, ErrorKind, Kind, SystemClock};
use blobaccess_testkit::{Numbers, seed, time_budget};
use blobaccess_zip_store::{ZipOptions, ZipReadingStore, ZipWritingStore};

use super::builder::{Builder, Part, deflated_plainly, deflated_zeros};
use super::{Place, action, ctx, digest, put};

const OPTIONS: ZipOptions = ZipOptions::new().with_max_directory_memory_bytes(1 << 20);

/// Returns an archive of this crate, and one as other tools make them, with the blobs in both.
async fn archives<K: Kind>() -> ([Vec<u8>; 2], HashMap<Digest, Vec<u8>>) {
    let place = Place::new();
    let store = place.create::<K>().await;
    let (mut all, mut builder) = (HashMap::new(), Builder::default());
    for number in 0..6 {
        let contents = vec![u8::try_from(number).unwrap(); usize::try_from(number * number).unwrap()];
        let digest = if K::STORAGE_TYPE.is_mutable() { action(number) } else { digest(&contents) };
        put(&store, &digest, &contents).await;
        let name = if K::STORAGE_TYPE.is_mutable() { digest.to_string() } else { digest.key(WithoutInstanceName) };
        let part = match number % 3 {
            0 => Part::deflated(&name, &contents, deflated_plainly(&contents)),
            1 => Part { flags: 8, ..Part::stored(&name, &contents) },
            _ => Part::stored(&name, &contents),
        };
        builder.add(&part);
        all.insert(digest, contents);
    }
    builder.add(&Part::deflated("zeros", &[0; 1000], deflated_zeros(1000)));
    store.finish().await.unwrap();
    ([place.bytes(), builder.finish_with_comment(b"comment")], all)
}

fn mutate(numbers: &mut Numbers, bytes: &mut Vec<u8>) {
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len());
        let some = at..bytes.len().min(at + [1, 2, 4, 8][numbers.below(4)]);
        match numbers.below(8) {
            0 => bytes[some].fill(0),
            1 => bytes[some].fill(0xff),
            2 => bytes.truncate(at.max(1)),
            3 => bytes[at] ^= 1 << numbers.below(8),
            4 => bytes[at] = bytes[at].wrapping_add(1),
            5 => {
                let from = numbers.below(bytes.len());
                let copied = bytes[from..bytes.len().min(from + 40)].to_vec();
                bytes.splice(at..at, copied);
            }
            6 => drop(bytes.drain(some)),
            _ => bytes[at] = numbers.bytes(1)[0],
        }
    }
}

async fn try_mutations<K: Kind>(share: u32) {
    let budget = time_budget() / share;
    let seed = seed("BLOBACCESS_ZIP_MUTATIONS_SEED");
    let mut numbers = Numbers::new(seed);
    let (archives, all) = archives::<K>().await;
    let place = Place::new();
    let begun = SystemClock.monotonic();
    let (mut tried, mut opened, mut read) = (0, 0, 0);
    while SystemClock.monotonic() - begun < budget {
        let mut bytes = archives[numbers.below(archives.len())].clone();
        mutate(&mut numbers, &mut bytes);
        std::fs::write(&place.path, &bytes).unwrap();
        tried += 1;
        let options = OPTIONS.with_salvaging(numbers.below(2) == 0);
        let Ok(store) = ZipReadingStore::<K>::open(&place.path, options).await else { continue };
        opened += 1;
        for (digest, contents) in &all {
            match store.get_bytes(&ctx(), digest, 1 << 20).await {
                Ok(found) => {
                    assert_eq!(found, contents, "wrong contents were read");
                    read += 1;
                }
                Err(error) => {
                    let expected = [
                        ErrorKind::NotFound,
                        ErrorKind::DataLoss,
                        ErrorKind::Unimplemented,
                        ErrorKind::InvalidArgument,
                    ];
                    assert!(expected.contains(&error.kind()), "{error:?}");
                }
            }
        }
        drop(store);
        // What could be read can be gone on with.
        let store = ZipWritingStore::<K>::append(&place.path, options).await.unwrap();
        let new = if K::STORAGE_TYPE.is_mutable() { action(100) } else { digest("new") };
        put(&store, &new, "new").await;
        store.finish().await.unwrap();
        let store = ZipReadingStore::<K>::open(&place.path, options).await.unwrap();
        assert_eq!(store.get_bytes(&ctx(), &new, 10).await.unwrap(), "new");
    }
    println!("{tried} archives tried, {opened} opened, {read} blobs read");
    assert!(opened > 0 && opened < tried, "the changes do not change enough, or too much");
}

#[tokio::test]
async fn a_changed_archive_of_blobs_never_does_more_than_be_refused() {
    try_mutations::<Cas>(4).await;
}

#[tokio::test]
async fn a_changed_archive_of_messages_never_does_more_than_be_refused() {
    try_mutations::<Ac>(4).await;
}

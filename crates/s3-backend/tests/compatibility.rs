//! A bucket of bazel-remote, written and read here by the description of its casblob alone.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail so")]

use blobaccess::{
    Ac, Blob, BlobAccess, Cas, Compressor, Context, Digest, DigestFunction, InstanceName, Inventory, PutOutcome,
};
use blobaccess_s3_backend::sim::SimS3;
use blobaccess_s3_backend::{BucketOptions, BucketStore, Layout};
use bytes::Bytes;
use futures::TryStreamExt;

const MIB: usize = 1 << 20;

fn contents(size: usize) -> Bytes {
    (0..size).map(|index| u8::try_from(index * index / 700 % 251).unwrap()).collect::<Vec<_>>().into()
}

fn digest_of(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents)
}

/// Writes a casblob, section by section as described.
fn casblob(contents: &[u8], compressed: bool) -> Vec<u8> {
    let pieces: Vec<Vec<u8>> = contents
        .chunks(MIB)
        .map(|piece| if compressed { zstd::bulk::compress(piece, 1).unwrap() } else { piece.to_vec() })
        .collect();
    let count = pieces.len() + 1;
    let mut file = Vec::new();
    file.extend(0x184D_2A50_u32.to_le_bytes());
    file.extend(u32::try_from(21 + 8 * count).unwrap().to_le_bytes());
    file.extend(i64::try_from(contents.len()).unwrap().to_le_bytes());
    file.push(u8::from(compressed));
    file.extend(u32::try_from(MIB).unwrap().to_le_bytes());
    file.extend(i64::try_from(count).unwrap().to_le_bytes());
    let mut offset = 29 + 8 * count;
    file.extend(i64::try_from(offset).unwrap().to_le_bytes());
    for piece in &pieces {
        offset += piece.len();
        file.extend(i64::try_from(offset).unwrap().to_le_bytes());
    }
    file.extend(pieces.concat());
    file
}

/// Reads the contents of a casblob by its description.
fn blob_in_casblob(file: &[u8]) -> Vec<u8> {
    let number = |at: usize| usize::try_from(i64::from_le_bytes(*file[at..].first_chunk().unwrap())).unwrap();
    assert_eq!(file[..4], 0x184D_2A50_u32.to_le_bytes());
    let (size, count) = (number(8), number(21));
    assert_eq!(usize::try_from(u32::from_le_bytes(*file[4..].first_chunk().unwrap())).unwrap(), 21 + 8 * count);
    assert_eq!((file[16], u32::from_le_bytes(*file[17..].first_chunk().unwrap())), (1, 1 << 20));
    let offsets: Vec<_> = (0..count).map(|index| number(29 + 8 * index)).collect();
    assert_eq!((offsets[0], offsets[count - 1]), (29 + 8 * count, file.len()));
    let pieces = offsets.windows(2).map(|ends| zstd::bulk::decompress(&file[ends[0]..ends[1]], MIB).unwrap());
    let contents = pieces.collect::<Vec<_>>().concat();
    assert_eq!(contents.len(), size);
    // As a whole it is a stream of frames, of which the first is to be skipped.
    assert_eq!(zstd::stream::decode_all(file).unwrap(), contents);
    contents
}

fn key(digest: &Digest) -> String {
    let hash = digest.hash().to_string();
    format!("cas.v2/{}/{hash}", &hash[..2])
}

async fn store(sim: &SimS3) -> BucketStore<Cas> {
    let options = BucketOptions::default().with_layout(Layout::bazel_remote()).with_single_put_max_bytes(0);
    BucketStore::open(sim.bucket().unwrap(), options.with_part_size_bytes(5 << 20)).await.unwrap()
}

#[tokio::test]
async fn a_bucket_of_theirs_is_read() {
    let (sim, ctx) = (SimS3::new(1), Context::background());
    let store = store(&sim).await;
    for (size, compressed) in [(1, true), (MIB, true), (MIB + 1, true), (3 * MIB + 77, true), (2 * MIB + 9, false)] {
        let contents = contents(size);
        let digest = digest_of(&contents);
        sim.insert(&key(&digest), casblob(&contents, compressed));
        assert!(store.find_missing(&ctx, &digest.clone().into()).await.unwrap().is_empty());
        let read = store.get(&ctx, &digest).await.unwrap().into_bytes(1 << 30).await.unwrap();
        assert!(read == contents, "{size} bytes");
        let put = store.put(&ctx, &digest, Blob::from_bytes(contents.clone())).await.unwrap();
        assert!(matches!(put, PutOutcome::AlreadyExists { .. }));
        let listed = store.inventory(&ctx, None).await.unwrap();
        assert!(listed.entries.iter().any(|entry| entry.digest == digest), "{size} bytes");
    }
}

#[tokio::test]
async fn a_bucket_of_ours_is_readable_by_the_description() {
    let (sim, ctx) = (SimS3::new(1), Context::background());
    let store = store(&sim).await;
    for size in [1, MIB - 1, 2 * MIB, 17 * MIB + 3] {
        let contents = contents(size);
        let digest = digest_of(&contents);
        let outcome = store.put(&ctx, &digest, Blob::from_bytes(contents.clone())).await.unwrap();
        let file = sim.object(&key(&digest)).unwrap();
        assert_eq!(outcome, PutOutcome::Created { stored_bytes: u64::try_from(file.len()).unwrap() });
        assert!(blob_in_casblob(&file) == contents, "{size} bytes");
    }
}

#[tokio::test]
async fn what_is_large_and_does_not_compress_is_sent_in_parts_and_readable_by_the_description() {
    let (sim, ctx) = (SimS3::new(1), Context::background());
    let store = store(&sim).await;
    let mut state = 9_u64;
    let noise: Bytes = (0..=11 * MIB)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let [.., high] = state.to_le_bytes();
            high
        })
        .collect::<Vec<_>>()
        .into();
    let digest = digest_of(&noise);
    store.put(&ctx, &digest, Blob::from_bytes(noise.clone())).await.unwrap();
    assert!(store.snapshot().requests.put_part > 3, "the probe's one, and these");
    assert!(blob_in_casblob(&sim.object(&key(&digest)).unwrap()) == noise);
    assert!(store.get(&ctx, &digest).await.unwrap().into_bytes(1 << 30).await.unwrap() == noise);
}

#[tokio::test]
async fn a_range_is_read_without_the_whole() {
    let (sim, ctx) = (SimS3::new(1), Context::background());
    let store = store(&sim).await;
    let contents = contents(9 * MIB + 5);
    let digest = digest_of(&contents);
    let mut file = casblob(&contents, true);
    // What is broken elsewhere is not read.
    let offset = usize::try_from(i64::from_le_bytes(*file[29..].first_chunk().unwrap())).unwrap();
    file[offset + 20] ^= 0xff;
    sim.insert(&key(&digest), file);
    let blob = store.get(&ctx, &digest).await.unwrap();
    let (from, to) = (4 * MIB - 10, 5 * MIB + 10);
    let stream = blob.into_stream(u64::try_from(from).unwrap()..u64::try_from(to).unwrap()).unwrap();
    let read: Vec<Bytes> = stream.try_collect().await.unwrap();
    assert!(read.concat() == contents[from..to]);
    assert!(store.get(&ctx, &digest).await.unwrap().into_bytes(1 << 30).await.is_err());
}

#[tokio::test]
async fn who_takes_zstd_gets_it_as_it_is_stored() {
    let (sim, ctx) = (SimS3::new(1), Context::background());
    let store = store(&sim).await;
    let contents = contents(2 * MIB + 5);
    let digest = digest_of(&contents);
    store.put(&ctx, &digest, Blob::from_bytes(contents.clone())).await.unwrap();
    let encoded = store.get(&ctx, &digest).await.unwrap().into_encoded(&[Compressor::Zstd]).unwrap();
    let size = encoded.size_bytes().unwrap();
    let frames: Vec<Bytes> = encoded.try_collect().await.unwrap();
    let frames = frames.concat();
    assert_eq!(u64::try_from(frames.len()).unwrap(), size);
    assert!(sim.object(&key(&digest)).unwrap().ends_with(&frames));
    assert!(zstd::stream::decode_all(&*frames).unwrap() == contents);
}

#[tokio::test]
async fn actions_are_listed_by_their_key_with_size_0_and_what_they_take() {
    let (sim, ctx) = (SimS3::new(1), Context::background());
    let options = BucketOptions::default().with_layout(Layout::bazel_remote());
    let store = BucketStore::<Ac>::open(sim.bucket().unwrap(), options).await.unwrap();
    let plain = digest_of(b"an action");
    let named = plain.with_instance_name(InstanceName::new("main").unwrap());
    store.put(&ctx, &plain, Blob::from_bytes("a result")).await.unwrap();
    store.put(&ctx, &named, Blob::from_bytes("another result")).await.unwrap();
    let listed = store.inventory(&ctx, None).await.unwrap().entries;
    let mut listed: Vec<_> = listed.into_iter().map(|entry| (entry.digest, entry.stored_bytes)).collect();
    listed.sort_by_key(|(_, stored_bytes)| *stored_bytes);
    // The size of the action is nowhere in the bucket.
    let sized_0 = |hash: &[u8]| Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, hash, 0).unwrap();
    let mangled = digest_of(format!("{}main", plain.hash()).as_bytes());
    assert_eq!(listed, [(sized_0(plain.hash_bytes()), 8), (sized_0(mangled.hash_bytes()), 14)]);
    // Nothing depends on it: under any size, the key is the same.
    assert!(store.find_missing(&ctx, &sized_0(plain.hash_bytes()).into()).await.unwrap().is_empty());
}

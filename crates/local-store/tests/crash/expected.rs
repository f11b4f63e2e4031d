//! The requirements on a store that is opened after a crash.

use std::collections::{BTreeMap, BTreeSet};

use blobaccess::{Blob, BlobAccess, Context, Digest, DigestFunction, DigestSet, ErrorKind, InstanceName, Kind};
use blobaccess_local_store::{LocalStore, Sizes};
use blobaccess_testkit::Numbers;
use futures::executor::block_on;

use crate::accounts::{accounted, contents_of, context, count_created};
use crate::history::{History, Moment, message, taken, version};

/// The requirements on a store that is opened after a crash right before step `position`.
pub(crate) struct Expected<'a> {
    /// The blobs that must be there.
    pub(crate) needed: BTreeSet<&'a Digest>,
    /// The least version that each message must have, if it is there.
    pub(crate) at_least: BTreeMap<&'a Digest, u64>,
    /// The last moment that is certain to have been.
    pub(crate) certain: &'a Moment,
    synced: &'a Moment,
    /// One of these had just been when what is found was made durable.
    pub(crate) possible: &'a [Moment],
}

pub(crate) fn expected(moments: &[Moment], position: usize) -> Option<Expected<'_>> {
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

/// Checks a store that lost a sector besides: all that is read is what was put, whatever is gone can be put again, and the
/// store goes on.
pub(crate) fn check_after_damage<K: Kind>(store: &LocalStore<K>, history: &History<K>, numbers: &mut Numbers) {
    let ctx = Context::background();
    let read = |digest: &Digest| block_on(async { store.get(&ctx, digest).await?.into_bytes(1 << 20).await });
    for (digest, contents) in &history.contents {
        match read(digest) {
            Ok(read) if K::STORAGE_TYPE.is_mutable() => {
                assert!((1..=history.versions[digest]).contains(&version(&read)), "{digest} is of another time");
            }
            Ok(read) => assert_eq!(read, *contents),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DataLoss), "{error:?}");
                assert!(read(digest).unwrap_err().is_not_found());
                if numbers.below(8) == 0 {
                    block_on(store.put(&ctx, digest, Blob::from_bytes(contents.clone()))).unwrap();
                    assert_eq!(read(digest).unwrap(), *contents);
                }
            }
        }
    }
    block_on(store.sync()).unwrap();
}

pub(crate) fn check<K: Kind>(
    store: &LocalStore<K>,
    history: &History<K>,
    expected: &Expected<'_>,
    numbers: &mut Numbers,
    sizes: &Sizes,
) {
    let ctx = Context::background();
    let mut found = BTreeMap::new();
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
        found.insert(digest.clone(), read.len());
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
    assert_eq!(contents_of(store).into_keys().collect::<BTreeSet<_>>(), found.keys().cloned().collect());
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
    // More may be found again than may be copied; then what goes is counted, byte by byte: those of the version that the
    // crash has left, which may be shorter than the last.
    let missing = block_on(store.find_missing(&ctx, &promised)).unwrap();
    let gone: usize = missing.iter().map(|digest| found[digest]).sum();
    let counted = store.snapshot().breached_bytes;
    assert!(u64::try_from(gone).unwrap() <= counted, "{gone} bytes that were promised are gone, {counted} are counted");
    block_on(store.sync()).unwrap();
    assert_eq!(accounted(store), created, "after more was put");
}

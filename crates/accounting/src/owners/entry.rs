//! The entries of an index of owners: whose a stored blob is, by its digest.

use std::ops::Range;
use std::sync::LazyLock;

use blobaccess::{Digest, DigestFunction, InstanceName, StorageType, UploadToken};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::Account;
use crate::ledger::codec::Bytes;

/// The number of an owner: nobody, by kind of store, or an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct OwnerId(pub(super) u32);

/// The first number of an account. The numbers below are those of nobody.
pub(super) const FIRST_ACCOUNT: u32 = 32;

/// The first number of the owners of what was adopted, and of what is foreign, one for each kind of store.
const ADOPTED: u32 = 0;
const FOREIGN: u32 = 16;

impl OwnerId {
    pub(super) fn adopted(storage_type: StorageType) -> Self {
        Self(ADOPTED + u32::from(Account::storage_code(storage_type)))
    }

    pub(super) fn foreign(storage_type: StorageType) -> Self {
        Self(FOREIGN + u32::from(Account::storage_code(storage_type)))
    }

    pub(super) const fn is_account(self) -> bool {
        self.0 >= FIRST_ACCOUNT
    }

    pub(super) const fn is_adopted(self) -> bool {
        self.0 < FOREIGN
    }
}

/// The part of an upload's token that an entry keeps. 0 stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Mark(pub(super) u64);

impl Mark {
    pub(super) fn of_token(token: Option<&UploadToken>) -> Self {
        Self(token.map_or(0, |token| xxh3_64(token.as_bytes()).max(1)))
    }

    pub(super) const fn is_some(self) -> bool {
        self.0 != 0
    }
}

/// The entry of one stored blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) owner: OwnerId,
    pub(super) stored_bytes: u64,
    pub(super) mark: Mark,
    pub(super) state: State,
    /// The time at which the state began, in seconds since 1970.
    pub(super) since: u32,
}

/// The state of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The blob is stored, as far as anybody knows.
    Stored,
    /// A listing did not have it.
    Missed,
    /// It is being deleted on request, and may be gone.
    Deleting,
}

/// The length of an encoded entry, in bytes.
const ENTRY_BYTES: usize = 25;

impl Entry {
    pub(super) fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let state = match self.state {
            State::Stored => 0,
            State::Missed => 1,
            State::Deleting => 2,
        };
        let fields = (self.owner.0.to_le_bytes().into_iter())
            .chain(self.stored_bytes.to_le_bytes())
            .chain(self.mark.0.to_le_bytes())
            .chain([state])
            .chain(self.since.to_le_bytes());
        bytes.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        let (owner, stored_bytes, mark) = (OwnerId(bytes.u32()?), bytes.u64()?, Mark(bytes.u64()?));
        let state = match bytes.byte()? {
            0 => State::Stored,
            1 => State::Missed,
            2 => State::Deleting,
            _ => return None,
        };
        let since = bytes.u32()?;
        bytes.is_empty().then_some(Self { owner, stored_bytes, mark, state, since })
    }
}

/// The functions in the order of their names, in which buckets list them.
static BY_NAME: LazyLock<Vec<DigestFunction>> = LazyLock::new(|| {
    let mut functions = DigestFunction::ALL.to_vec();
    functions.sort_by_key(|function| function.name().to_ascii_lowercase());
    functions
});

/// Returns the place of a function in that order. Keys in files depend on it: a new function must come last, or the files be
/// of a new version.
fn rank(function: DigestFunction) -> u8 {
    let place = BY_NAME.iter().position(|known| *known == function);
    place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)
}

fn function_of_rank(wanted: u8) -> Option<DigestFunction> {
    BY_NAME.get(usize::from(wanted)).copied()
}

/// The key of an entry: kind of store, function, hash, size, instance name. Keys are ordered as listings are, but for the
/// digests that have one hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key(pub(super) Vec<u8>);

/// The bytes of a key before its hash.
const BEFORE_HASH: usize = 2;

impl Key {
    /// Makes the key of a blob. `digest` is the one that listings show.
    pub(super) fn new(storage_type: StorageType, digest: &Digest) -> Self {
        let mut key = Self::before_hash(storage_type, digest.function());
        key.extend(digest.hash_bytes());
        key.extend(digest.size_bytes().to_be_bytes());
        key.extend(digest.instance_name().as_str().as_bytes());
        Self(key)
    }

    fn before_hash(storage_type: StorageType, function: DigestFunction) -> Vec<u8> {
        let mut key = Vec::with_capacity(64);
        key.extend([Account::storage_code(storage_type), rank(function)]);
        key
    }

    /// Returns the digest; `None` if this is no key.
    pub(super) fn digest(&self) -> Option<Digest> {
        let mut bytes = Bytes(&self.0);
        bytes.byte()?;
        let function = function_of_rank(bytes.byte()?)?;
        let hash = bytes.slice(function.hash_size_bytes())?;
        let size = u64::from_be_bytes(bytes.array()?);
        let name = InstanceName::from_stored(std::str::from_utf8(bytes.0).ok()?).ok()?;
        Digest::from_hash(name, function, hash, size).ok()
    }

    /// Returns a number that stands for the key.
    pub(super) fn mark(&self) -> u64 {
        xxh3_64_with_seed(&self.0, 1)
    }

    /// Returns the beginning that all digests with the same hash have.
    pub(super) fn of_hash(&self) -> &[u8] {
        let function = self.0.get(1).and_then(|rank| function_of_rank(*rank));
        let length = function.map_or(0, DigestFunction::hash_size_bytes);
        self.0.get(..BEFORE_HASH + length).unwrap_or(&self.0)
    }
}

/// Returns the keys of a kind of store, or of the digests of one function whose hash begins with a byte.
pub(super) fn keys_of(storage_type: StorageType, part: Option<(DigestFunction, u8)>) -> Range<Vec<u8>> {
    let begin = match part {
        None => vec![Account::storage_code(storage_type)],
        Some((function, first)) => {
            let mut begin = Key::before_hash(storage_type, function);
            begin.push(first);
            begin
        }
    };
    let end = after_all(&begin);
    begin..end
}

/// Returns the first key after all that begin with `prefix`.
pub(super) fn after_all(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            break;
        }
    }
    end
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn digest(name: &str, function: DigestFunction, contents: &[u8]) -> Digest {
        Digest::of(InstanceName::new(name).unwrap(), function, contents)
    }

    #[test]
    fn keys_and_entries_are_read_back() {
        for function in DigestFunction::ALL {
            for name in ["", "acme/日本"] {
                let digest = digest(name, function, b"hello");
                let key = Key::new(StorageType::Ac, &digest);
                assert_eq!(key.digest(), Some(digest));
                assert!(key.0.starts_with(key.of_hash()));
            }
        }
        for state in [State::Stored, State::Missed, State::Deleting] {
            let owner = OwnerId(FIRST_ACCOUNT);
            let entry = Entry { owner, stored_bytes: u64::MAX, mark: Mark(7), state, since: 9 };
            let bytes = entry.to_bytes();
            assert_eq!(Entry::from_bytes(&bytes), Some(entry));
            assert_eq!(Entry::from_bytes(&bytes[1..]), None);
        }
    }

    #[test]
    fn the_numbers_of_functions_in_files_stay() {
        let names: Vec<_> = BY_NAME.iter().map(|function| function.name()).collect();
        assert_eq!(names, ["blake3", "gitsha1", "md5", "sha1", "sha256", "sha256tree", "sha384", "sha512"]);
    }

    #[test]
    fn keys_are_in_the_order_of_listings() {
        let mut listed: Vec<_> = DigestFunction::ALL
            .into_iter()
            .flat_map(|function| (0..20_u8).map(move |number| digest("", function, &[number])))
            .collect();
        let shown = |digest: &Digest| format!("{}/{}", digest.function().name().to_ascii_lowercase(), digest.hash());
        listed.sort_by_key(shown);
        let keys: Vec<_> = listed.iter().map(|digest| Key::new(StorageType::Cas, digest)).collect();
        assert!(keys.is_sorted());
        for (key, digest) in keys.iter().zip(&listed) {
            let part = keys_of(StorageType::Cas, Some((digest.function(), digest.hash_bytes()[0])));
            assert!(part.contains(&key.0) && keys_of(StorageType::Cas, None).contains(&key.0));
            assert!(!keys_of(StorageType::Ac, None).contains(&key.0));
        }
        assert_eq!(after_all(&[1, 0xff]), [2]);
    }

    #[test]
    fn owners_by_kind_are_told_from_accounts() {
        let (adopted, foreign) = (OwnerId::adopted(StorageType::Fsac), OwnerId::foreign(StorageType::Cas));
        assert!(adopted.is_adopted() && !foreign.is_adopted());
        assert!(!adopted.is_account() && !foreign.is_account() && OwnerId(FIRST_ACCOUNT).is_account());
    }
}

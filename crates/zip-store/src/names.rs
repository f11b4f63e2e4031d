//! The names of entries: the keys of digests.

use blobaccess::{Digest, DigestFunction, Error, Hash, InstanceName, KeyFormat, Kind, Result};

/// The maximum length of a name, in bytes.
///
/// The format allows 65,535. Some tools want that of a name and all other fields of a header together.
const MAX_NAME_BYTES: usize = 65_000;

/// Returns the name of the entry of `digest` in an archive of this kind.
pub(crate) fn entry_name<K: Kind>(digest: &Digest) -> String {
    digest.key(K::STORAGE_TYPE.key_format())
}

/// Reads the digest out of the name of an entry. `None` if it is the name of something else.
pub(crate) fn parse<K: Kind>(name: &str) -> Option<Digest> {
    let format = K::STORAGE_TYPE.key_format();
    let parts = if format == KeyFormat::WithInstanceName { 4 } else { 3 };
    let mut parts = name.splitn(parts, '-');
    let (function, hash, size) = (parts.next()?, parts.next()?, parts.next()?);
    let instance_name = match format {
        KeyFormat::WithInstanceName => InstanceName::new(parts.next()?).ok()?,
        KeyFormat::WithoutInstanceName => InstanceName::empty(),
    };
    let function = DigestFunction::from_number(function.parse().ok()?)?;
    let digest =
        Digest::from_hash(instance_name, function, Hash::from_hex(hash)?.as_bytes(), size.parse().ok()?).ok()?;
    // One digest has one name: no zeros in front, no plus sign.
    (entry_name::<K>(&digest) == name).then_some(digest)
}

/// Refuses names that are longer than the format allows.
pub(crate) fn check_length(name: &str) -> Result<()> {
    let length = name.len();
    if length <= MAX_NAME_BYTES {
        return Ok(());
    }
    let message = format!("name of the entry is {length} bytes; the maximum is {MAX_NAME_BYTES}");
    Err(Error::invalid_argument(message))
}

/// Makes the error of an entry that is not in the archive.
pub(crate) fn not_found(name: &str) -> Error {
    Error::not_found(format!("entry {name:?} is not in the archive"))
}

#[cfg(test)]
mod tests {
    use blobaccess::{Ac, Cas};

    use super::*;

    #[test]
    fn names_are_those_of_buildbarn() {
        let hash = "185f8db32271fe25f561a6fc938b2e264306ec304eda518007d1764826381969";
        let digest = Digest::of(InstanceName::new("a/b-c").unwrap(), DigestFunction::Sha256, b"Hello");
        assert_eq!(entry_name::<Cas>(&digest), format!("1-{hash}-5"));
        assert_eq!(entry_name::<Ac>(&digest), format!("1-{hash}-5-a/b-c"));
        assert_eq!(parse::<Ac>(&format!("1-{hash}-5-a/b-c")), Some(digest.clone()));
        let digest = digest.with_instance_name(InstanceName::empty());
        assert_eq!(parse::<Cas>(&format!("1-{hash}-5")), Some(digest.clone()));
        assert_eq!(parse::<Ac>(&format!("1-{hash}-5-")), Some(digest));
        for wrong in ["", "x", "1-00-5", &format!("01-{hash}-5"), &format!("1-{hash}-05"), &format!("1-{hash}-+5")] {
            assert_eq!(parse::<Cas>(wrong), None, "{wrong:?}");
        }
        assert_eq!(parse::<Cas>(&format!("1-{hash}-5-a")), None);
        assert_eq!(parse::<Ac>(&format!("1-{hash}-5")), None);
        assert_eq!(parse::<Ac>(&format!("1-{hash}-5-a//b")), None);
        assert_eq!(parse::<Cas>(&format!("1-{}-5", hash.to_uppercase())), None);
    }
}

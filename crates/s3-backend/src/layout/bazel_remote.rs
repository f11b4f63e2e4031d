//! The keys of bazel-remote: folder, two digits, hash.

use blobaccess::{Digest, DigestFunction, Error, Hash, InstanceName, Result, StorageType};

pub(super) fn key(root: &str, storage_type: StorageType, digest: &Digest) -> Result<String> {
    if digest.function() != DigestFunction::Sha256 {
        let function = digest.function().name();
        return Err(Error::invalid_argument(format!(
            "blob {digest} has no key in this bucket, as {function} is not SHA256"
        )));
    }
    let hash = digest.hash().to_string();
    let hash = match storage_type {
        StorageType::Ac if !digest.instance_name().is_empty() => mangled(&hash, digest.instance_name()),
        StorageType::Ac | StorageType::Cas | StorageType::Icas | StorageType::Iscc | StorageType::Fsac => hash,
    };
    Ok(format!("{root}/{}/{hash}", hash.get(..2).unwrap_or_default()))
}

/// Returns the digest that a key is read as: its hash, without a size.
pub(super) fn listed_digest(storage_type: StorageType, digest: &Digest) -> Digest {
    let plain = digest.with_instance_name(InstanceName::empty());
    let listed = key("", storage_type, digest).ok().and_then(|key| parse(key.trim_start_matches('/')));
    let listed =
        listed.and_then(|hash| Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, &hash, 0).ok());
    listed.unwrap_or(plain)
}

/// Returns the hash that stands for an action and an instance name in bazel-remote: the hash of the hash in hexadecimal
/// and the name.
fn mangled(hash: &str, instance_name: &InstanceName) -> String {
    let text = format!("{hash}{instance_name}");
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, text.as_bytes()).hash().to_string()
}

pub(super) fn parse(rest: &str) -> Option<Vec<u8>> {
    let (shard, hash) = rest.split_once('/')?;
    let known =
        Hash::from_hex(hash).filter(|known| known.as_bytes().len() == DigestFunction::Sha256.hash_size_bytes())?;
    (shard.len() == 2 && hash.starts_with(shard)).then(|| known.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_bazel_remote() {
        let hash = "185f8db32271fe25f561a6fc938b2e264306ec304eda518007d1764826381969";
        let digest = Digest::of(InstanceName::new("main").unwrap(), DigestFunction::Sha256, b"Hello");
        assert_eq!(key("cas.v2", StorageType::Cas, &digest).unwrap(), format!("cas.v2/18/{hash}"));
        let plain = digest.with_instance_name(InstanceName::empty());
        assert_eq!(key("ac", StorageType::Ac, &plain).unwrap(), format!("ac/18/{hash}"));
        // sha256 of the hash's digits followed by "main".
        let of_main = Digest::of(InstanceName::empty(), DigestFunction::Sha256, format!("{hash}main").as_bytes());
        let of_main = of_main.hash().to_string();
        assert_eq!(key("ac", StorageType::Ac, &digest).unwrap(), format!("ac/{}/{of_main}", &of_main[..2]));
        assert_eq!(parse(&format!("18/{hash}")).unwrap(), plain.hash_bytes());
        assert_eq!(parse(&format!("19/{hash}")), None);
        let other = Digest::of(InstanceName::empty(), DigestFunction::Blake3, b"Hello");
        assert!(key("cas.v2", StorageType::Cas, &other).is_err());
    }
}

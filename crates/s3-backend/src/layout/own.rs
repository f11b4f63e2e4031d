//! Our own keys: kind, function, two digits, hash, size, and the instance name if it tells blobs apart.

use std::fmt::Write;

use blobaccess::{Digest, DigestFunction, Hash, InstanceName, KeyFormat, StorageType};

/// The length of a component of an instance name. File systems allow 255 bytes.
const COMPONENT_CHARACTERS: usize = 100;

pub(super) fn folder(function: DigestFunction) -> String {
    function.name().to_ascii_lowercase()
}

pub(super) fn key(root: &str, storage_type: StorageType, digest: &Digest) -> String {
    let hash = digest.hash().to_string();
    let shard = hash.get(..2).unwrap_or_default();
    let mut key = format!("{root}/{}/{shard}/{hash}-{}", folder(digest.function()), digest.size_bytes());
    if storage_type.key_format() == KeyFormat::WithInstanceName {
        push_instance_name(&mut key, digest.instance_name().as_str());
    }
    key
}

/// Appends the instance name to a key. All components but the last begin with `+`, and the last begins with `=`, so no
/// name is the folder of another.
fn push_instance_name(key: &mut String, name: &str) {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            escaped.push(char::from(byte));
        } else {
            // A string takes whatever is written to it.
            let _: std::fmt::Result = write!(escaped, "={byte:02X}");
        }
    }
    let mut rest = escaped.as_str();
    while let Some((component, after)) =
        rest.split_at_checked(COMPONENT_CHARACTERS).filter(|(_, after)| !after.is_empty())
    {
        key.push_str("/+");
        key.push_str(component);
        rest = after;
    }
    key.push_str("/=");
    key.push_str(rest);
}

pub(super) fn parse(storage_type: StorageType, rest: &str) -> Option<Digest> {
    let mut components = rest.split('/');
    let (folder, shard, name) = (components.next()?, components.next()?, components.next()?);
    let function = DigestFunction::ALL.into_iter().find(|function| self::folder(*function) == folder)?;
    let (hash, size) = name.split_once('-')?;
    if !hash.starts_with(shard) || shard.len() != 2 || (size.starts_with('0') && size != "0") {
        return None;
    }
    let hash = Hash::from_hex(hash)?;
    let size = if size.bytes().all(|byte| byte.is_ascii_digit()) { size.parse().ok()? } else { return None };
    let instance_name = match storage_type.key_format() {
        KeyFormat::WithInstanceName => read_instance_name(components)?,
        KeyFormat::WithoutInstanceName if components.next().is_none() => InstanceName::empty(),
        KeyFormat::WithoutInstanceName => return None,
    };
    Digest::from_hash(instance_name, function, hash.as_bytes(), size).ok()
}

fn read_instance_name<'a>(components: impl Iterator<Item = &'a str>) -> Option<InstanceName> {
    let mut escaped = String::new();
    let mut ended = false;
    for component in components {
        if ended {
            return None;
        }
        let (mark, part) = component.split_at_checked(1)?;
        ended = match mark {
            "+" => false,
            "=" => true,
            _ => return None,
        };
        escaped.push_str(part);
    }
    let mut name = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'=' {
            let digits = [bytes.next()?, bytes.next()?];
            name.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            name.push(byte);
        }
    }
    if !ended {
        return None;
    }
    InstanceName::new(std::str::from_utf8(&name).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(name: &str) -> Digest {
        Digest::of(InstanceName::new(name).unwrap(), DigestFunction::Sha256, b"Hello")
    }

    #[test]
    fn keys_are_as_they_are_documented() {
        let hash = "185f8db32271fe25f561a6fc938b2e264306ec304eda518007d1764826381969";
        assert_eq!(key("cas", StorageType::Cas, &digest("a/b")), format!("cas/sha256/18/{hash}-5"));
        assert_eq!(key("ac", StorageType::Ac, &digest("a/b c")), format!("ac/sha256/18/{hash}-5/=a=2Fb=20c"));
        assert_eq!(key("ac", StorageType::Ac, &digest("")), format!("ac/sha256/18/{hash}-5/="));
    }

    #[test]
    fn what_is_no_key_of_ours_is_not_taken_for_one() {
        let hash = "185f8db32271fe25f561a6fc938b2e264306ec304eda518007d1764826381969";
        for rest in [
            String::new(),
            "sha256/18/".to_owned(),
            format!("sha256/19/{hash}-5"),
            format!("sha256/18/{hash}"),
            format!("sha256/18/{hash}-05"),
            format!("sha256/18/{hash}-+5"),
            format!("sha1/18/{hash}-5"),
            format!("sha256/18/{hash}-5/more"),
        ] {
            assert_eq!(parse(StorageType::Cas, &rest), None, "{rest}");
        }
        assert_eq!(parse(StorageType::Ac, &format!("sha256/18/{hash}-5/+a")), None);
        assert_eq!(parse(StorageType::Ac, &format!("sha256/18/{hash}-5/=a=2")), None);
    }

    proptest! {
        #[test]
        fn a_key_is_read_back_as_its_digest(name in "([a-zé .%=+~-]{1,40}/){0,8}[a-z]{1,120}") {
            if let Ok(name) = InstanceName::new(&name) {
                let digest = Digest::of(name, DigestFunction::Blake3, b"x");
                for (storage_type, expected) in
                    [(StorageType::Ac, digest.clone()), (StorageType::Cas, digest.with_instance_name(InstanceName::empty()))]
                {
                    let key = key("root", storage_type, &digest);
                    prop_assert!(key.split('/').all(|component| component.len() <= 160));
                    prop_assert_eq!(parse(storage_type, key.strip_prefix("root/").unwrap()), Some(expected));
                }
            }
        }
    }
}

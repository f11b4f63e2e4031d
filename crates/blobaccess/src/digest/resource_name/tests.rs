use proptest::prelude::*;

use super::*;
use crate::ErrorKind;
use crate::digest::tests::any_digest;

const MD5: &str = "8b1a9953c4611296a827abf8c47804d7";
const SHA1: &str = "a54d88e06612d820bc3be72877c74f257b561b19";
const SHA256: &str = "185f8db32271fe25f561a6fc938b2e264306ec304eda518007d1764826381969";

fn digest(instance_name: &str, function: DigestFunction, hash: &str) -> Digest {
    Digest::parse(InstanceName::new(instance_name).unwrap(), function, hash, 123).unwrap()
}

fn md5(instance_name: &str) -> Digest {
    digest(instance_name, DigestFunction::Md5, MD5)
}

/// Returns names of digests without an instance name: from `blobs` on, and between it and the hash.
fn by_function() -> [(Digest, String); 4] {
    [
        (digest("", DigestFunction::Blake3, SHA256), format!("blake3/{SHA256}/123")),
        (digest("", DigestFunction::GitSha1, SHA1), format!("gitsha1/{SHA1}/123")),
        (md5(""), format!("{MD5}/123")),
        (digest("", DigestFunction::Sha256Tree, SHA256), format!("sha256tree/{SHA256}/123")),
    ]
}

fn read(name: &str) -> ReadResource {
    ReadResource::parse(name).unwrap()
}

fn write(name: &str) -> WriteResource {
    WriteResource::parse(name).unwrap()
}

fn not_read(name: &str) -> String {
    let error = ReadResource::parse(name).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{name}");
    error.to_string()
}

fn not_written(name: &str) -> String {
    let error = WriteResource::parse(name).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{name}");
    error.to_string()
}

#[test]
fn names_to_read_by_have_the_function_where_the_length_does_not_tell_it() {
    for (digest, path) in by_function() {
        for (compressor, prefix) in [
            (None, "blobs"),
            (Some(Compressor::Zstd), "compressed-blobs/zstd"),
            (Some(Compressor::Deflate), "compressed-blobs/deflate"),
        ] {
            let name = format!("{prefix}/{path}");
            let resource = ReadResource { digest: digest.clone(), compressor };
            assert_eq!(resource.to_string(), name);
            assert_eq!(read(&name), resource);
        }
    }
}

#[test]
fn names_to_write_by_have_the_function_where_the_length_does_not_tell_it() {
    for (digest, path) in by_function() {
        for (compressor, prefix) in [
            (None, "blobs"),
            (Some(Compressor::Zstd), "compressed-blobs/zstd"),
            (Some(Compressor::Deflate), "compressed-blobs/deflate"),
        ] {
            let name = format!("uploads/da2f1135-326b-4956-b920-1646cdd6cb53/{prefix}/{path}");
            let uuid = String::from("da2f1135-326b-4956-b920-1646cdd6cb53");
            let resource = WriteResource { uuid, digest: digest.clone(), compressor };
            assert_eq!(resource.to_string(), name);
            assert_eq!(write(&name), resource);
        }
    }
}

#[test]
fn names_begin_with_the_instance_name() {
    for name in ["hello", "hello/world"] {
        let to_read = format!("{name}/blobs/{MD5}/123");
        assert_eq!(read(&to_read), ReadResource { digest: md5(name), compressor: None });
        assert_eq!(read(&to_read).to_string(), to_read);
        let to_write = format!("{name}/uploads/some-uuid/blobs/{MD5}/123");
        let resource = WriteResource { uuid: "some-uuid".to_owned(), digest: md5(name), compressor: None };
        assert_eq!(write(&to_write), resource);
        assert_eq!(resource.to_string(), to_write);
    }
}

#[test]
fn redundant_slashes_are_tolerated() {
    let resource = read(&format!("//hello//world//blobs//{MD5}//123//"));
    assert_eq!(resource.to_string(), format!("hello/world/blobs/{MD5}/123"));
    let resource = write(&format!("/hello//world/uploads///u/compressed-blobs//zstd/{MD5}/123/"));
    assert_eq!(resource.to_string(), format!("hello/world/uploads/u/compressed-blobs/zstd/{MD5}/123"));
}

#[test]
fn what_follows_the_size_is_ignored_on_writes_and_refused_on_reads() {
    let resource = write(&format!("uploads/u/blobs/{MD5}/123/some/File.txt"));
    assert_eq!(resource.to_string(), format!("uploads/u/blobs/{MD5}/123"));
    let name = format!("blobs/{MD5}/123/File.txt");
    let expected = format!("invalid resource naming scheme: more after the size, in \"{name}\"");
    assert_eq!(not_read(&name), expected);
    not_read(&format!("blobs/sha256tree/{SHA256}/123/4"));
}

#[test]
fn names_without_the_words_they_are_told_by_are_refused() {
    for (name, what) in [
        ("", "neither blobs nor compressed-blobs"),
        ("/", "neither blobs nor compressed-blobs"),
        ("blabs/8b1a9953c4611296a827abf8c47804d7/123", "neither blobs nor compressed-blobs"),
        ("blobs", "no hash and size"),
        ("blobs/8b1a9953c4611296a827abf8c47804d7", "no hash and size"),
        ("compressed-blobs/zstd/8b1a9953c4611296a827abf8c47804d7", "no hash and size"),
        ("blobs/sha256tree/8b1a9953c4611296a827abf8c47804d7", "no hash and size"),
    ] {
        assert_eq!(not_read(name), format!("invalid resource naming scheme: {what}, in \"{name}\""));
    }
    for (name, what) in [
        ("", "no uploads"),
        ("downloads/u/blobs/8b1a9953c4611296a827abf8c47804d7/123", "no uploads"),
        ("blobs/8b1a9953c4611296a827abf8c47804d7/123", "no uploads"),
        ("uploads", "nothing after uploads"),
        ("uploads/u", "neither blobs nor compressed-blobs after the UUID"),
        ("uploads/blobs/8b1a9953c4611296a827abf8c47804d7/123", "neither blobs nor compressed-blobs after the UUID"),
        ("uploads/u/8b1a9953c4611296a827abf8c47804d7/123/x", "neither blobs nor compressed-blobs after the UUID"),
        ("uploads/u/blobs/8b1a9953c4611296a827abf8c47804d7", "no hash and size"),
        ("uploads/u/compressed-blobs/8b1a9953c4611296a827abf8c47804d7/123", "no hash and size"),
    ] {
        assert_eq!(not_written(name), format!("invalid resource naming scheme: {what}, in \"{name}\""));
    }
}

#[test]
fn a_size_that_is_no_number_of_64_bits_is_refused() {
    for size in ["five", "5.0", "0x5", " 5", "9223372036854775808"] {
        let expected = format!("invalid blob size \"{size}\"");
        assert_eq!(not_read(&format!("blobs/{MD5}/{size}")), expected);
        assert_eq!(not_written(&format!("uploads/u/blobs/{MD5}/{size}")), expected);
    }
    assert_eq!(not_read(&format!("blobs/{MD5}/-5")), "invalid digest size: -5 bytes");
}

#[test]
fn an_instance_name_with_a_reserved_word_is_refused() {
    let reason = "instance name contains reserved keyword \"operations\"";
    let expected = format!("invalid instance name \"x/operations\": {reason}");
    assert_eq!(not_read(&format!("x/operations/blobs/{MD5}/123")), expected);
    assert_eq!(not_written(&format!("x//operations/uploads/u/blobs/{MD5}/123")), expected);
    // The first word that matters begins the name of the blob.
    assert_eq!(not_read(&format!("blobs/x/blobs/{MD5}/123")), "unsupported digest function \"x\"");
}

#[test]
fn an_unknown_compressor_is_not_implemented() {
    for compressor in ["xyzzy", "identity", "ZSTD"] {
        let names =
            [format!("compressed-blobs/{compressor}/{MD5}/123"), format!("x/compressed-blobs/{compressor}/{MD5}/1")];
        let errors = names.map(|name| {
            let written = WriteResource::parse(&format!("uploads/u/{}", name.trim_start_matches("x/"))).unwrap_err();
            [ReadResource::parse(&name).unwrap_err(), written]
        });
        for error in errors.as_flattened() {
            assert_eq!(error.kind(), ErrorKind::Unimplemented);
            assert_eq!(error.to_string(), format!("unsupported compression scheme \"{compressor}\""));
        }
    }
}

#[test]
fn a_function_is_spelled_out_exactly_where_it_must_be() {
    // SHA-256 could be meant, but must not be named.
    assert_eq!(not_read(&format!("blobs/sha256/{SHA256}/123")), "unsupported digest function \"sha256\"");
    assert_eq!(not_read("blobs/abc/123"), "unsupported digest function \"abc\"");
    let expected = "hash has length 32, while 40 characters were expected";
    assert_eq!(not_read(&format!("blobs/gitsha1/{MD5}/123")), expected);
    assert_eq!(read(&format!("blobs/{SHA256}/123")).digest.function(), DigestFunction::Sha256);
}

fn any_compressor() -> impl Strategy<Value = Option<Compressor>> {
    prop::option::of(prop::sample::select(&Compressor::ALL))
}

/// Draws names from the pieces that names consist of, in any order.
fn almost_a_name() -> impl Strategy<Value = String> {
    let words =
        ["blobs", "compressed-blobs", "uploads", "zstd", "blake3", "gitsha1", "", "x", MD5, SHA1, SHA256, "-7", "7"];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..9).prop_map(|words| words.join("/"))
}

proptest! {
    #[test]
    fn what_is_printed_is_parsed(digest in any_digest(), compressor in any_compressor(), uuid in "[^/]{1,20}") {
        let resource = ReadResource { digest: digest.clone(), compressor };
        prop_assert_eq!(read(&resource.to_string()), resource);
        let resource = WriteResource { uuid, digest, compressor };
        prop_assert_eq!(write(&resource.to_string()), resource);
    }

    #[test]
    fn no_name_panics_and_what_is_parsed_prints_as_itself(name in prop_oneof![almost_a_name(), "\\PC*"]) {
        if let Ok(resource) = ReadResource::parse(&name) {
            prop_assert_eq!(read(&resource.to_string()), resource);
        }
        if let Ok(resource) = WriteResource::parse(&name) {
            prop_assert_eq!(write(&resource.to_string()), resource);
        }
    }
}

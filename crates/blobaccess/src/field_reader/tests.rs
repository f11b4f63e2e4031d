use blobaccess_proto::remote_execution::{Directory, FileNode, Tree};
use futures::{FutureExt, stream};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::{Blob, Digest, DigestFunction, ErrorKind, InstanceName};

/// Polls `future` once: everything here is at hand, so that nothing ever waits.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().unwrap()
}

/// Cuts `message` into a stream of pieces of these sizes, and the rest.
fn pieces(message: &[u8], sizes: &[usize]) -> Vec<Bytes> {
    let mut rest = Bytes::copy_from_slice(message);
    let mut pieces: Vec<_> = sizes.iter().map(|size| rest.split_to((*size).min(rest.len()))).collect();
    pieces.push(rest);
    pieces
}

fn reader_of(message: &[u8], sizes: &[usize]) -> FieldReader {
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, message);
    let pieces = stream::iter(pieces(message, sizes).into_iter().map(Ok));
    FieldReader::new(Blob::from_verified_stream(&digest, pieces).into_stream(..).unwrap())
}

fn reader(message: &[u8]) -> FieldReader {
    reader_of(message, &[1, 3])
}

/// Reads every field with its payload.
fn fields(mut reader: FieldReader) -> Result<Vec<(Field, Bytes)>, Failure> {
    block_on(async {
        let mut fields = Vec::new();
        while let Some(field) = reader.next().await? {
            let payload = reader.payload(&field, u64::MAX).await?;
            fields.push((field, payload));
        }
        Ok(fields)
    })
}

fn malformed(result: Result<impl std::fmt::Debug, Failure>) -> String {
    match result.unwrap_err() {
        Failure::Malformed(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            error.to_string()
        }
        Failure::Read(error) => panic!("{error:?} is no fault of the message"),
    }
}

#[test]
fn an_empty_message_has_no_fields() {
    assert_eq!(fields(reader(b"")).unwrap(), []);
}

#[test]
fn an_invalid_tag_is_told_with_its_offset() {
    let too_long = [b"\x0a\x00".as_slice(), &[0xff; 10]].concat();
    assert_eq!(malformed(fields(reader(&too_long))), "field at offset 2 has an invalid tag: it has more than 64 bits");
    assert_eq!(malformed(fields(reader(b"\x80"))), "field at offset 0 has an invalid tag: the message ends within it");
    assert_eq!(malformed(fields(reader(b"\x02\x00"))), "field at offset 0 has an invalid tag: its number is 0");
    let number = b"\x82\x80\x80\x80\x10\x00";
    assert_eq!(malformed(fields(reader(number))), "field at offset 0 has an invalid tag: its number is 536870912");
}

#[test]
fn a_type_other_than_length_delimited_is_refused() {
    for (tag, wire_type) in [(0x08, 0), (0x09, 1), (0x0b, 3), (0x0c, 4), (0x0d, 5), (0x0e, 6), (0x0f, 7)] {
        let message = [0x12, 0x01, b'x', tag, 0, 0, 0, 0, 0, 0, 0, 0];
        let expected = format!("field with number 1 at offset 3 has type {wire_type}, while 2 was expected");
        assert_eq!(malformed(fields(reader(&message))), expected);
    }
}

#[test]
fn an_invalid_size_is_told_with_number_and_offset() {
    let no_size = "field with number 1 at offset 0 has an invalid size: the message ends within it";
    assert_eq!(malformed(fields(reader(b"\x0a"))), no_size);
    assert_eq!(malformed(fields(reader(b"\x0a\x80"))), no_size);
    let message = [b"\x0a".as_slice(), &[0xff; 9], &[0x02]].concat();
    let too_long = "field with number 1 at offset 0 has an invalid size: it has more than 64 bits";
    assert_eq!(malformed(fields(reader(&message))), too_long);
}

#[test]
fn a_size_beyond_the_end_is_refused_at_once() {
    let short = "field with number 1 at offset 0 has 5 bytes, but the message ends 2 bytes earlier";
    assert_eq!(malformed(fields(reader(b"\x0a\x05abc"))), short);
    assert_eq!(malformed(block_on(reader(b"\x0a\x05abc").next())), short);
    let huge = [b"\x0a".as_slice(), &[0xff; 9], &[0x01]].concat();
    let huge = malformed(fields(reader(&huge)));
    assert!(huge.contains("has 18446744073709551615 bytes"), "{huge}");
}

#[test]
fn fields_come_with_offset_size_and_payload() {
    let message = b"\x0a\x05hello\x12\x00\xfa\xff\xff\xff\x0f\x02hi";
    let fields = fields(reader(message)).unwrap();
    let field = |number, offset, size_bytes| Field { number, offset, size_bytes };
    assert_eq!(
        fields,
        [
            (field(1, 2, 5), Bytes::from("hello")),
            (field(2, 9, 0), Bytes::new()),
            (field(536_870_911, 15, 2), Bytes::from("hi")),
        ]
    );
}

#[test]
fn payloads_that_nobody_reads_are_passed_over() {
    let mut reader = reader(b"\x0a\x05hello\x12\x02hi");
    block_on(async {
        assert_eq!(reader.next().await.unwrap().unwrap().number, 1);
        let second = reader.next().await.unwrap().unwrap();
        assert_eq!((second.number, second.offset), (2, 9));
        assert_eq!(reader.next().await.unwrap(), None);
        assert_eq!(reader.next().await.unwrap(), None);
    });
}

#[test]
fn a_payload_larger_than_permitted_is_refused() {
    let mut reader = reader(b"\x0a\x05hello");
    let field = block_on(reader.next()).unwrap().unwrap();
    assert_eq!(
        malformed(block_on(reader.payload(&field, 4))),
        "field with number 1 at offset 2 is 5 bytes, while at most 4 are permitted"
    );
    assert_eq!(block_on(reader.payload(&field, 5)).unwrap(), "hello");
}

#[test]
fn a_payload_that_arrived_in_one_piece_is_not_copied() {
    let message = Bytes::from_static(b"\x0a\x05hello");
    let mut reader = FieldReader::new(Blob::from_bytes(message.clone()).into_stream(..).unwrap());
    let field = block_on(reader.next()).unwrap().unwrap();
    let payload = block_on(reader.payload(&field, 5)).unwrap();
    assert_eq!(payload.as_ptr(), message[2..].as_ptr());
}

#[test]
fn what_the_stream_ends_with_is_told_apart_from_what_the_message_is() {
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"\x0a\x05hello");
    let cut = stream::iter([Ok(Bytes::from_static(b"\x0a\x05he")), Err(Error::unavailable("connection lost"))]);
    let reader = FieldReader::new(Blob::from_verified_stream(&digest, cut).into_stream(..).unwrap());
    match fields(reader).unwrap_err() {
        Failure::Read(error) => assert_eq!(error.to_string(), "connection lost"),
        Failure::Malformed(error) => panic!("{error:?} is no fault of the stream"),
    }
}

#[test]
fn the_end_of_a_message_waits_for_the_verdict_on_it() {
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"");
    let wrong = stream::iter([Err(Error::data_loss("checksum of nothing"))]);
    let mut reader = FieldReader::new(Blob::from_verified_stream(&digest, wrong).into_stream(..).unwrap());
    assert!(matches!(block_on(reader.next()), Err(Failure::Read(error)) if error.kind() == ErrorKind::DataLoss));
}

/// Decodes fields 1 and 2 from the whole message; `None` where the decoder refuses.
#[derive(Clone, PartialEq, Message)]
struct Whole {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    ones: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    twos: Vec<Bytes>,
}

fn whole(fields: &[(Field, Bytes)]) -> Whole {
    let of =
        |number| fields.iter().filter(move |(field, _)| field.number == number).map(|(_, payload)| payload.clone());
    Whole { ones: of(1).collect(), twos: of(2).collect() }
}

fn some_tree() -> impl Strategy<Value = Tree> {
    let directory = vec("[a-z]{0,200}", 0..4).prop_map(|names| Directory {
        files: names.into_iter().map(|name| FileNode { name, ..FileNode::default() }).collect(),
        ..Directory::default()
    });
    (proptest::option::of(directory.clone()), vec(directory, 0..5)).prop_map(|(root, children)| Tree { root, children })
}

proptest! {
    #[test]
    fn any_tree_is_read_as_by_a_decoder_of_the_whole(tree in some_tree(), sizes in vec(0..50_usize, 0..20)) {
        let message = tree.encode_to_vec();
        let fields = fields(reader_of(&message, &sizes)).unwrap();
        prop_assert_eq!(whole(&fields), Whole::decode(&*message).unwrap());
        for (field, payload) in fields {
            let offset = usize::try_from(field.offset).unwrap();
            prop_assert_eq!(&message[offset..offset + payload.len()], &*payload);
        }
    }

    #[test]
    fn any_bytes_are_read_as_by_a_decoder_of_the_whole_or_refused(
        message in vec(prop_oneof![Just(0x0a), Just(0x12), Just(0x1a), 0..4_u8, any::<u8>()], 0..40),
        sizes in vec(0..9_usize, 0..9),
    ) {
        match fields(reader_of(&message, &sizes)) {
            Ok(fields) => prop_assert_eq!(whole(&fields), Whole::decode(&*message).unwrap()),
            Err(Failure::Read(error)) => prop_assert!(false, "{error:?}"),
            Err(Failure::Malformed(error)) => {
                // Types that are refused here are the only ones that a decoder takes.
                let is_other_type = error.message().contains("has type");
                prop_assert!(is_other_type || Whole::decode(&*message).is_err(), "{error:?}");
            }
        }
    }
}

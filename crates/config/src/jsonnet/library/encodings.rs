//! Hashes and encodings.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::Digest;

use super::super::failure::{Failure, Outcome};
use super::super::machine::Machine;
use super::super::number::to_length;
use super::super::source::At;
use super::super::value::{Native, ThunkId, Value};
use super::{arguments, native};

pub(super) const NATIVES: &[Native] = &[
    native("md5", &["s"], hash::<md5::Md5>),
    native("sha1", &["s"], hash::<sha1::Sha1>),
    native("sha256", &["s"], hash::<sha2::Sha256>),
    native("sha512", &["s"], hash::<sha2::Sha512>),
    native("sha3", &["s"], hash::<sha3::Sha3_512>),
    native("base64", &["input"], base64),
    native("base64Decode", &["str"], base64_decode),
    native("base64DecodeBytes", &["str"], base64_decode_bytes),
    native("encodeUTF8", &["str"], encode_utf8),
    native("decodeUTF8", &["arr"], decode_utf8),
];

fn hash<D: Digest>(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [text] = arguments(given, at)?;
    let text = machine.force_text(text, at)?;
    machine.work(text.len(), at)?;
    let digits: Vec<_> = D::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    machine.text(&digits.concat(), at)
}

/// Returns the bytes that an array of numbers stands for.
fn force_bytes(machine: &mut Machine<'_>, array: ThunkId, at: At) -> Outcome<Vec<u8>> {
    let array = machine.force_array(array, at)?;
    machine.charge_many(array.len(), 1, at)?;
    let mut bytes = Vec::with_capacity(array.len());
    for id in array.iter() {
        let number = machine.force_number(*id, at)?;
        let byte = to_length(number).and_then(|number| u8::try_from(number).ok());
        bytes.push(
            byte.ok_or_else(|| Failure::at(at, format!("{number} is not a byte: a whole number from 0 to 255")))?,
        );
    }
    Ok(bytes)
}

fn base64(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [input] = arguments(given, at)?;
    let bytes = match machine.force(input, at)? {
        Value::Text(text) if text.chars().any(|character| u32::from(character) > 255) => {
            return Err(Failure::at(at, "std.base64 does not take a string with characters beyond U+00FF"));
        }
        Value::Text(text) => text.as_bytes().to_vec(),
        _ => force_bytes(machine, input, at)?,
    };
    machine.charge_many(bytes.len(), 2, at)?;
    machine.text(&STANDARD.encode(bytes), at)
}

fn decode(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Vec<u8>> {
    let [text] = arguments(given, at)?;
    let text = machine.force_text(text, at)?;
    machine.charge_many(text.len(), 1, at)?;
    // Line breaks are passed over, but they count for the length.
    let digits: String = text.chars().filter(|character| !matches!(character, '\r' | '\n')).collect();
    if text.len() % 4 != 0 {
        return Err(Failure::at(at, "the length of the base64 string is not a multiple of 4"));
    }
    STANDARD.decode(digits).map_err(|error| Failure::at(at, format!("the string is not base64: {error}")))
}

fn base64_decode(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let bytes = decode(machine, given, at)?;
    machine.text(&String::from_utf8_lossy(&bytes), at)
}

fn base64_decode_bytes(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let bytes = decode(machine, given, at)?;
    machine.array_of(bytes.into_iter().map(|byte| Value::Number(f64::from(byte))), at)
}

fn encode_utf8(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [text] = arguments(given, at)?;
    let text = machine.force_text(text, at)?;
    machine.array_of(text.bytes().map(|byte| Value::Number(f64::from(byte))), at)
}

fn decode_utf8(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [array] = arguments(given, at)?;
    let bytes = force_bytes(machine, array, at)?;
    machine.text(&String::from_utf8_lossy(&bytes), at)
}

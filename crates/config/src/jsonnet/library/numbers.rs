//! Functions on numbers.

use super::super::failure::Outcome;
use super::super::machine::Machine;
use super::super::number::from_integer;
use super::super::operators::checked;
use super::super::source::At;
use super::super::value::{Native, ThunkId, Value};
use super::{arguments, native};

pub(super) const NATIVES: &[Native] = &[
    native("ceil", &["x"], |machine, given, at| of_one(machine, given, at, f64::ceil)),
    native("floor", &["x"], |machine, given, at| of_one(machine, given, at, f64::floor)),
    native("round", &["x"], |machine, given, at| of_one(machine, given, at, f64::round)),
    native("sqrt", &["x"], |machine, given, at| of_one(machine, given, at, f64::sqrt)),
    native("sin", &["x"], |machine, given, at| of_one(machine, given, at, f64::sin)),
    native("cos", &["x"], |machine, given, at| of_one(machine, given, at, f64::cos)),
    native("tan", &["x"], |machine, given, at| of_one(machine, given, at, f64::tan)),
    native("asin", &["x"], |machine, given, at| of_one(machine, given, at, f64::asin)),
    native("acos", &["x"], |machine, given, at| of_one(machine, given, at, f64::acos)),
    native("atan", &["x"], |machine, given, at| of_one(machine, given, at, f64::atan)),
    native("log", &["x"], |machine, given, at| of_one(machine, given, at, f64::ln)),
    native("exp", &["x"], |machine, given, at| of_one(machine, given, at, f64::exp)),
    native("mantissa", &["x"], |machine, given, at| of_one(machine, given, at, |x| split(x).0)),
    native("exponent", &["x"], |machine, given, at| of_one(machine, given, at, |x| from_integer(split(x).1))),
    native("hypot", &["x", "y"], |machine, given, at| of_two(machine, given, at, f64::hypot)),
    native("atan2", &["y", "x"], |machine, given, at| of_two(machine, given, at, f64::atan2)),
    native("pow", &["x", "n"], |machine, given, at| of_two(machine, given, at, f64::powf)),
    native("modulo", &["x", "y"], |machine, given, at| of_two(machine, given, at, |x, y| x % y)),
    native("isEven", &["x"], |machine, given, at| tests(machine, given, at, |x| x.trunc() % 2.0 == 0.0)),
    native("isOdd", &["x"], |machine, given, at| tests(machine, given, at, |x| x.trunc() % 2.0 != 0.0)),
    native("isInteger", &["x"], |machine, given, at| tests(machine, given, at, |x| x.fract() == 0.0)),
    native("isDecimal", &["x"], |machine, given, at| tests(machine, given, at, |x| x.fract() != 0.0)),
    native("xor", &["x", "y"], |machine, given, at| of_bools(machine, given, at, |x, y| x != y)),
    native("xnor", &["x", "y"], |machine, given, at| of_bools(machine, given, at, |x, y| x == y)),
];

fn of_one(machine: &mut Machine<'_>, given: &[ThunkId], at: At, function: fn(f64) -> f64) -> Outcome<Value> {
    let [x] = arguments(given, at)?;
    checked(function(machine.force_number(x, at)?), at)
}

fn of_two(machine: &mut Machine<'_>, given: &[ThunkId], at: At, function: fn(f64, f64) -> f64) -> Outcome<Value> {
    let [x, y] = arguments(given, at)?;
    let (x, y) = (machine.force_number(x, at)?, machine.force_number(y, at)?);
    checked(function(x, y), at)
}

fn tests(machine: &mut Machine<'_>, given: &[ThunkId], at: At, function: fn(f64) -> bool) -> Outcome<Value> {
    let [x] = arguments(given, at)?;
    Ok(Value::Bool(function(machine.force_number(x, at)?)))
}

fn of_bools(machine: &mut Machine<'_>, given: &[ThunkId], at: At, function: fn(bool, bool) -> bool) -> Outcome<Value> {
    let [x, y] = arguments(given, at)?;
    let (x, y) = (machine.force_bool(x, at)?, machine.force_bool(y, at)?);
    Ok(Value::Bool(function(x, y)))
}

/// Splits a number into a factor from 0.5 up to 1 and a power of two.
fn split(x: f64) -> (f64, i64) {
    if x == 0.0 {
        return (x, 0);
    }
    // Numbers below the smallest normal one are made normal first.
    let (x, shift) = if x.is_subnormal() { (x * 2f64.powi(64), -64) } else { (x, 0) };
    let exponent = i64::try_from((x.to_bits() >> 52) & 0x7ff).unwrap_or_default() - 1022;
    let factor = f64::from_bits((x.to_bits() & !(0x7ff << 52)) | (1022 << 52));
    (factor, exponent + shift)
}

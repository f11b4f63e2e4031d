//! Operators, and the comparison of values.

use std::cmp::Ordering;
use std::rc::Rc;

use super::failure::{Failure, Outcome};
use super::machine::Machine;
use super::number;
use super::source::At;
use super::syntax::{BinaryOperator, UnaryOperator};
use super::value::{ThunkId, Value};

impl Machine<'_> {
    pub(super) fn operate(&mut self, operator: BinaryOperator, left: &Value, right: &Value, at: At) -> Outcome<Value> {
        use BinaryOperator as Op;
        let value = match (operator, left, right) {
            (Op::Add, Value::Number(left), Value::Number(right)) => checked(left + right, at)?,
            (Op::Add, Value::Text(_), _) | (Op::Add, _, Value::Text(_)) => {
                let (left, right) = (self.text_of(left, at)?, self.text_of(right, at)?);
                self.concatenate(&[&left, &right], at)?
            }
            (Op::Add, Value::Array(left), Value::Array(right)) => {
                let elements = self.join_elements(&[left, right], at)?;
                self.array(elements, at)?
            }
            (Op::Add, Value::Object(left), Value::Object(right)) => self.merge(left, right, at)?,
            (Op::Subtract, Value::Number(left), Value::Number(right)) => checked(left - right, at)?,
            (Op::Multiply, Value::Number(left), Value::Number(right)) => checked(left * right, at)?,
            (Op::Divide | Op::Remainder, Value::Number(_), Value::Number(0.0)) => {
                return Err(Failure::at(at, "a number is divided by zero"));
            }
            (Op::Divide, Value::Number(left), Value::Number(right)) => checked(left / right, at)?,
            (Op::Remainder, Value::Number(left), Value::Number(right)) => checked(left % right, at)?,
            (Op::Remainder, Value::Text(format), values) => self.format(format, values, at)?,
            (
                Op::ShiftLeft | Op::ShiftRight | Op::BitAnd | Op::BitXor | Op::BitOr,
                Value::Number(left),
                Value::Number(right),
            ) => operate_on_bits(operator, *left, *right, at)?,
            (Op::Equal, left, right) => Value::Bool(self.equals(left, right, at)?),
            (Op::Unequal, left, right) => Value::Bool(!self.equals(left, right, at)?),
            (Op::Less, left, right) => Value::Bool(self.compare(left, right, at)? == Ordering::Less),
            (Op::LessOrEqual, left, right) => Value::Bool(self.compare(left, right, at)? != Ordering::Greater),
            (Op::Greater, left, right) => Value::Bool(self.compare(left, right, at)? == Ordering::Greater),
            (Op::GreaterOrEqual, left, right) => Value::Bool(self.compare(left, right, at)? != Ordering::Less),
            (Op::In, Value::Text(name), Value::Object(object)) => {
                self.work(object.layers.len() / 8, at)?;
                Value::Bool(object.find(name, object.layers.len()).is_some())
            }
            // The left operand was true and the right one decides, or false and it does: then it must be a boolean.
            (Op::And | Op::Or, Value::Bool(_), Value::Bool(right)) => Value::Bool(*right),
            (_, left, right) => {
                let (left, right) = (left.type_name(), right.type_name());
                return Err(Failure::at(
                    at,
                    format!("the operator does not take values of the types {left} and {right}"),
                ));
            }
        };
        Ok(value)
    }

    /// Returns the elements of arrays, one behind the other.
    pub(super) fn join_elements(&mut self, arrays: &[&[ThunkId]], at: At) -> Outcome<Vec<ThunkId>> {
        let length = arrays.iter().map(|array| array.len()).sum::<usize>();
        self.charge(length.saturating_mul(size_of::<ThunkId>()), at)?;
        Ok(arrays.concat())
    }

    /// Makes a text of several, one behind the other.
    pub(super) fn concatenate(&mut self, parts: &[&str], at: At) -> Outcome<Value> {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        // The text is made, and copied to where it stays.
        self.charge(length.saturating_mul(2), at)?;
        self.work(length / 16, at)?;
        Ok(Value::text(parts.concat()))
    }

    /// Returns whether two values are equal.
    pub(super) fn equals(&mut self, left: &Value, right: &Value, at: At) -> Outcome<bool> {
        self.work(1, at)?;
        match (left, right) {
            (Value::Null, Value::Null) => Ok(true),
            (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
            #[expect(clippy::float_cmp, reason = "numbers are equal only if they are the same")]
            (Value::Number(left), Value::Number(right)) => Ok(left == right),
            (Value::Text(left), Value::Text(right)) => {
                self.work(left.len().min(right.len()) / 16, at)?;
                Ok(left == right)
            }
            (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
                let pairs: Vec<_> = left.iter().copied().zip(right.iter().copied()).collect();
                self.all_equal(pairs, at)
            }
            (Value::Object(left), Value::Object(right)) => {
                self.work(left.size().saturating_add(right.size()), at)?;
                let names = left.shown_names(false);
                if names != right.shown_names(false) {
                    return Ok(false);
                }
                self.check_assertions(left, at)?;
                self.check_assertions(right, at)?;
                let mut pairs = Vec::with_capacity(names.len());
                for name in names {
                    if let (Some(left), Some(right)) =
                        (self.find_field(left, &name, at)?, self.find_field(right, &name, at)?)
                    {
                        pairs.push((left, right));
                    }
                }
                self.all_equal(pairs, at)
            }
            (Value::Function(_), Value::Function(_)) => Err(Failure::at(at, "functions cannot be compared")),
            _ => Ok(false),
        }
    }

    fn all_equal(&mut self, pairs: Vec<(ThunkId, ThunkId)>, at: At) -> Outcome<bool> {
        for (left, right) in pairs {
            let (left, right) = (self.force(left, at)?, self.force(right, at)?);
            let are_equal =
                self.in_frame(at, |machine| machine.in_level(at, |machine| machine.equals(&left, &right, at)))?;
            if !are_equal {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Compares two numbers, strings or arrays.
    pub(super) fn compare(&mut self, left: &Value, right: &Value, at: At) -> Outcome<Ordering> {
        self.work(1, at)?;
        match (left, right) {
            (Value::Number(left), Value::Number(right)) => Ok(left.partial_cmp(right).unwrap_or(Ordering::Equal)),
            (Value::Text(left), Value::Text(right)) => {
                self.work(left.len().min(right.len()) / 16, at)?;
                Ok(left.cmp(right))
            }
            (Value::Array(left), Value::Array(right)) => {
                for (left, right) in left.iter().zip(right.iter()) {
                    let (left, right) = (self.force(*left, at)?, self.force(*right, at)?);
                    let ordering = self
                        .in_frame(at, |machine| machine.in_level(at, |machine| machine.compare(&left, &right, at)))?;
                    if ordering != Ordering::Equal {
                        return Ok(ordering);
                    }
                }
                Ok(left.len().cmp(&right.len()))
            }
            (left, right) => {
                let (left, right) = (left.type_name(), right.type_name());
                Err(Failure::at(at, format!("values of the types {left} and {right} have no order")))
            }
        }
    }

    /// Returns a part of an array or of a string.
    pub(super) fn slice(&mut self, target: &Value, bounds: &[Value; 3], at: At) -> Outcome<Value> {
        let [from, to, step] = bounds;
        match target {
            Value::Array(elements) => {
                let chosen = choose(elements.iter().copied(), elements.len(), from, to, step, at)?;
                self.array(chosen, at)
            }
            Value::Text(text) => {
                self.work(text.len() / 16, at)?;
                let chosen = choose(text.chars(), text.chars().count(), from, to, step, at)?;
                let text: String = chosen.into_iter().collect();
                self.text(&text, at)
            }
            other => {
                let found = other.type_name();
                Err(Failure::at(at, format!("only arrays and strings can be sliced, not a value of type {found}")))
            }
        }
    }

    /// Returns a value as text: a string as it is, others as JSON on one line.
    pub(super) fn text_of(&mut self, value: &Value, at: At) -> Outcome<Rc<str>> {
        if let Value::Text(text) = value {
            return Ok(Rc::clone(text));
        }
        let mut text = String::new();
        self.write_line(value, &mut text, at)?;
        Ok(text.into())
    }
}

/// Returns the result of an operator with one operand.
pub(super) fn operate_on_one(operator: UnaryOperator, operand: &Value, at: At) -> Outcome<Value> {
    match (operator, operand) {
        (UnaryOperator::Not, Value::Bool(value)) => Ok(Value::Bool(!value)),
        (UnaryOperator::Plus, Value::Number(value)) => Ok(Value::Number(*value)),
        (UnaryOperator::Minus, Value::Number(value)) => Ok(Value::Number(-value)),
        (UnaryOperator::Complement, Value::Number(value)) => {
            Ok(Value::Number(number::from_integer(!number::truncate(*value))))
        }
        (_, other) => {
            let found = other.type_name();
            Err(Failure::at(at, format!("the operator does not take a value of type {found}")))
        }
    }
}

/// Returns a number that must be finite.
pub(super) fn checked(number: f64, at: At) -> Outcome<Value> {
    if number.is_finite() {
        Ok(Value::Number(number))
    } else {
        Err(Failure::at(at, "the result is not a finite number"))
    }
}

fn operate_on_bits(operator: BinaryOperator, left: f64, right: f64, at: At) -> Outcome<Value> {
    for operand in [left, right] {
        if operand.abs() > number::MAX_SAFE {
            let text = number::render(operand);
            return Err(Failure::at(at, format!("an operator on bits does not take {text}, which is beyond 2^53 - 1")));
        }
    }
    let (left, right) = (number::truncate(left), number::truncate(right));
    // A shift by 64 is one by 0.
    let shift = u32::try_from(right.rem_euclid(64)).unwrap_or_default();
    let result = match operator {
        BinaryOperator::ShiftLeft | BinaryOperator::ShiftRight if right < 0 => {
            return Err(Failure::at(at, "a shift must not be negative"));
        }
        BinaryOperator::ShiftLeft => left.wrapping_shl(shift),
        BinaryOperator::ShiftRight => left.wrapping_shr(shift),
        BinaryOperator::BitAnd => left & right,
        BinaryOperator::BitXor => left ^ right,
        _ => left | right,
    };
    Ok(Value::Number(number::from_integer(result)))
}

fn choose<T>(
    items: impl Iterator<Item = T>,
    length: usize,
    from: &Value,
    to: &Value,
    step: &Value,
    at: At,
) -> Outcome<Vec<T>> {
    let bound = |value: &Value, default: usize| match value {
        Value::Null => Ok(default),
        Value::Number(number) if number.fract() == 0.0 && *number < 0.0 => {
            Ok(number::to_length(-number).map_or(0, |back| length.saturating_sub(back)))
        }
        Value::Number(number) if number.fract() == 0.0 => Ok(number::to_length(*number).unwrap_or(usize::MAX)),
        _ => Err(Failure::at(at, "the parts of a slice must be whole numbers or null")),
    };
    let (from, to) = (bound(from, 0)?, bound(to, length)?);
    let step = match step {
        Value::Number(step) if *step <= 0.0 => return Err(Failure::at(at, "the step of a slice must be positive")),
        step => bound(step, 1)?,
    };
    Ok(items.take(to).skip(from).step_by(step).collect())
}

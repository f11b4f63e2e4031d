//! Strings with values in them: `"%s of %d" % ["one", 2]`.

use std::iter::Peekable;
use std::rc::Rc;
use std::str::Chars;

use super::super::failure::{Failure, Outcome};
use super::super::machine::Machine;
use super::super::number::{from_length, to_length, truncate};
use super::super::source::At;
use super::super::value::{ThunkId, Value};

/// The widest that a value may be made.
const MAX_WIDTH: usize = 1 << 20;

/// A width or a precision.
#[derive(Clone, Copy, Debug)]
enum Size {
    Absent,
    Fixed(usize),
    /// It is taken from the values.
    Given,
}

/// A code such as `%-5.2f`.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the format")]
struct Code {
    key: Option<String>,
    alternate: bool,
    zero: bool,
    left: bool,
    blank: bool,
    plus: bool,
    width: Size,
    precision: Size,
    conversion: char,
}

/// The values that are still to be formatted.
enum Values {
    List { ids: Rc<[ThunkId]>, next: usize },
    Object(Rc<super::super::value::Object>),
}

impl Machine<'_> {
    /// Puts values in the place of the codes of `format`.
    pub(in super::super) fn format(&mut self, format: &str, values: &Value, at: At) -> Outcome<Value> {
        let mut values = match values {
            Value::Array(ids) => Values::List { ids: Rc::clone(ids), next: 0 },
            Value::Object(object) => Values::Object(Rc::clone(object)),
            other => Values::List { ids: Rc::new([self.done(other.clone(), at)?]), next: 0 },
        };
        let mut text = String::new();
        let mut characters = format.chars().peekable();
        while let Some(character) = characters.next() {
            if character != '%' {
                text.push(character);
                continue;
            }
            let code = parse_code(&mut characters).map_err(|reason| Failure::at(at, reason))?;
            let part = self.format_code(&code, &mut values, at)?;
            self.charge(part.len(), at)?;
            text.push_str(&part);
        }
        if let Values::List { ids, next } = values
            && next < ids.len()
        {
            return Err(Failure::at(at, format!("there are {} values to format, but only {next} are used", ids.len())));
        }
        self.work(format.len() / 16, at)?;
        self.text(&text, at)
    }

    fn format_code(&mut self, code: &Code, values: &mut Values, at: At) -> Outcome<String> {
        let width = self.size(code.width, values, at)?;
        let precision = self.size(code.precision, values, at)?;
        let part = if code.conversion == '%' {
            "%".to_owned()
        } else {
            let value = self.value_for(code, values, at)?;
            self.format_value(code, width.unwrap_or(0), precision, &value, at)?
        };
        let missing = " ".repeat(width.unwrap_or(0).saturating_sub(part.chars().count()));
        Ok(if code.left { part + &missing } else { missing + &part })
    }

    fn size(&mut self, size: Size, values: &mut Values, at: At) -> Outcome<Option<usize>> {
        let size = match size {
            Size::Absent => return Ok(None),
            Size::Fixed(size) => size,
            Size::Given => {
                let id = next_value(values, at)?;
                self.force_length(id, at)?
            }
        };
        if size > MAX_WIDTH {
            return Err(Failure::at(at, format!("a width must be at most {MAX_WIDTH}")));
        }
        Ok(Some(size))
    }

    fn value_for(&mut self, code: &Code, values: &mut Values, at: At) -> Outcome<Value> {
        match (&code.key, &*values) {
            (Some(key), Values::Object(object)) => {
                let object = Rc::clone(object);
                self.field(&object, &key.as_str().into(), at)
            }
            (None, Values::Object(_)) => Err(Failure::at(at, "an object is formatted by names: %(name)s")),
            (_, Values::List { .. }) => {
                let id = next_value(values, at)?;
                self.force(id, at)
            }
        }
    }

    fn format_value(
        &mut self,
        code: &Code,
        width: usize,
        precision: Option<usize>,
        value: &Value,
        at: At,
    ) -> Outcome<String> {
        let zeros = if code.zero && !code.left { width } else { 0 };
        let conversion = code.conversion;
        if conversion == 's' {
            return Ok(self.text_of(value, at)?.to_string());
        }
        if conversion == 'c' {
            return match value {
                Value::Text(text) if text.chars().count() == 1 => Ok(text.to_string()),
                Value::Number(number) => to_length(*number)
                    .and_then(|number| u32::try_from(number).ok())
                    .and_then(char::from_u32)
                    .map(String::from)
                    .ok_or_else(|| Failure::at(at, format!("{number} is not the code of a character"))),
                _ => Err(Failure::at(at, "%c needs a number or a string of one character")),
            };
        }
        let Value::Number(number) = *value else {
            let found = value.type_name();
            return Err(Failure::at(at, format!("%{conversion} needs a number, not a value of type {found}")));
        };
        let digits = precision.unwrap_or(0);
        let fraction = precision.unwrap_or(6);
        let magnitude = if matches!(conversion, 'f' | 'F') { number.abs() } else { 10.0 };
        if matches!(conversion, 'f' | 'F' | 'e' | 'E' | 'g' | 'G') && !is_in_range(magnitude, fraction) {
            return Err(Failure::at(at, format!("{number} cannot be written with {fraction} digits behind the point")));
        }
        Ok(match conversion {
            'd' => code.integer(number <= -1.0, number.abs().floor(), zeros, digits, 10, ""),
            'o' => code.integer(
                number <= -1.0,
                number.abs().floor(),
                zeros,
                digits,
                8,
                if code.alternate { "0" } else { "" },
            ),
            'x' | 'X' => code.hexadecimal(number.floor(), zeros, digits, conversion == 'X'),
            'f' | 'F' => code.decimal(number, zeros, code.alternate, true, fraction),
            'e' | 'E' => code.scientific(number, zeros, code.alternate, true, fraction, conversion == 'E'),
            _ => {
                let exponent = exponent_of(number);
                let precision = i64::try_from(fraction).unwrap_or(i64::MAX);
                if exponent < -4 || exponent >= precision {
                    let fraction = fraction.saturating_sub(1);
                    code.scientific(number, zeros, code.alternate, code.alternate, fraction, conversion == 'G')
                } else {
                    let before = usize::try_from(exponent + 1).unwrap_or(0).max(1);
                    code.decimal(number, zeros, code.alternate, code.alternate, fraction.saturating_sub(before))
                }
            }
        })
    }
}

impl Code {
    fn sign(&self, is_negative: bool) -> &'static str {
        if is_negative {
            "-"
        } else if self.plus {
            "+"
        } else if self.blank {
            " "
        } else {
            ""
        }
    }

    /// Writes a whole number that is not negative, with a sign in front.
    fn integer(&self, is_negative: bool, number: f64, width: usize, digits: usize, radix: u32, prefix: &str) -> String {
        let sign = self.sign(is_negative);
        let text = if number == 0.0 { "0".to_owned() } else { format!("{prefix}{}", write_digits(number, radix)) };
        let wanted = width.saturating_sub(sign.len()).max(digits);
        format!("{sign}{}{text}", "0".repeat(wanted.saturating_sub(text.len())))
    }

    fn hexadecimal(&self, number: f64, width: usize, digits: usize, is_upper: bool) -> String {
        let sign = self.sign(number < 0.0);
        let prefix = match (self.alternate, is_upper) {
            (false, _) => "",
            (true, false) => "0x",
            (true, true) => "0X",
        };
        let text = if number == 0.0 { "0".to_owned() } else { write_digits(number.abs(), 16) };
        let text = if is_upper { text.to_uppercase() } else { text };
        let wanted = width.saturating_sub(sign.len() + prefix.len()).max(digits);
        format!("{sign}{prefix}{}{text}", "0".repeat(wanted.saturating_sub(text.len())))
    }

    /// Writes a number with `fraction` digits behind the point. Zeros at their end are left out unless they are kept.
    fn decimal(&self, number: f64, width: usize, keeps_point: bool, keeps_zeros: bool, fraction: usize) -> String {
        let denominator = 10f64.powf(from_length(fraction));
        let numerator = number.abs() * denominator + 0.5;
        let (whole, rest) = ((numerator / denominator).floor(), numerator.floor() % denominator);
        let has_point = fraction > 0 || keeps_point;
        let width = width.saturating_sub(fraction + usize::from(has_point));
        let mut text = self.integer(number < 0.0, whole, width, 0, 10, "");
        if fraction == 0 {
            text.push_str(if keeps_point { "." } else { "" });
        } else if keeps_zeros || rest > 0.0 {
            let digits = Self::plain().integer(false, rest, fraction, 0, 10, "");
            text.push('.');
            text.push_str(if keeps_zeros { &digits } else { digits.trim_end_matches('0') });
        }
        text
    }

    fn scientific(
        &self,
        number: f64,
        width: usize,
        keeps_point: bool,
        keeps_zeros: bool,
        fraction: usize,
        is_upper: bool,
    ) -> String {
        let exponent = exponent_of(number);
        let magnitude = from_length(usize::try_from(exponent.unsigned_abs()).unwrap_or_default());
        let signed = if exponent < 0 { -magnitude } else { magnitude };
        let signed_plus = Self { plus: true, ..Self::plain() };
        let letter = if is_upper { 'E' } else { 'e' };
        let suffix = format!("{letter}{}", signed_plus.integer(exponent < 0, magnitude, 3, 0, 10, ""));
        let mantissa =
            if exponent == -324 { number * 10.0 / 10f64.powf(signed + 1.0) } else { number / 10f64.powf(signed) };
        let width = width.saturating_sub(suffix.len());
        self.decimal(mantissa, width, keeps_point, keeps_zeros, fraction) + &suffix
    }

    fn plain() -> Self {
        Self {
            key: None,
            alternate: false,
            zero: false,
            left: false,
            blank: false,
            plus: false,
            width: Size::Absent,
            precision: Size::Absent,
            conversion: 'd',
        }
    }
}

/// Returns whether a number with so many digits behind its point is in the range of numbers, once the point is left out.
fn is_in_range(magnitude: f64, fraction: usize) -> bool {
    (magnitude * 10f64.powf(from_length(fraction))).is_finite()
}

/// Returns the power of ten of a number's first digit.
fn exponent_of(number: f64) -> i64 {
    if number == 0.0 { 0 } else { truncate((number.abs().ln() / 10f64.ln()).floor()) }
}

/// Writes a whole number as Jsonnet does: each digit is computed with floating-point numbers.
fn write_digits(mut number: f64, radix: u32) -> String {
    let base = f64::from(radix);
    let mut digits = Vec::new();
    while number > 0.0 && number.is_finite() {
        let digit = to_length(number % base).and_then(|digit| u32::try_from(digit).ok());
        digits.push(digit.and_then(|digit| char::from_digit(digit, radix)).unwrap_or('0'));
        number = (number / base).floor();
    }
    digits.into_iter().rev().collect()
}

fn next_value(values: &mut Values, at: At) -> Outcome<ThunkId> {
    let Values::List { ids, next } = values else {
        return Err(Failure::at(at, "* cannot be used where an object is formatted"));
    };
    let id = ids.get(*next).copied();
    *next += 1;
    id.ok_or_else(|| Failure::at(at, format!("there are {} values to format, but more are needed", ids.len())))
}

/// Reads a code behind its `%`.
fn parse_code(characters: &mut Peekable<Chars<'_>>) -> Result<Code, String> {
    let mut code = Code::plain();
    if characters.next_if_eq(&'(').is_some() {
        let mut key = String::new();
        loop {
            match characters.next() {
                Some(')') => break,
                Some(character) => key.push(character),
                None => return Err("a code of the format ends too early".to_owned()),
            }
        }
        code.key = Some(key);
    }
    while let Some(flag) = characters.next_if(|character| matches!(character, '#' | '0' | '-' | ' ' | '+')) {
        match flag {
            '#' => code.alternate = true,
            '0' => code.zero = true,
            '-' => code.left = true,
            ' ' => code.blank = true,
            _ => code.plus = true,
        }
    }
    code.width = parse_size(characters);
    if characters.next_if_eq(&'.').is_some() {
        code.precision = match parse_size(characters) {
            Size::Absent => Size::Fixed(0),
            size => size,
        };
    }
    while characters.next_if(|character| matches!(character, 'h' | 'l' | 'L')).is_some() {}
    code.conversion = match characters.next() {
        Some('d' | 'i' | 'u') => 'd',
        Some(conversion @ ('o' | 'x' | 'X' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G' | 'c' | 's' | '%')) => conversion,
        Some(other) => return Err(format!("%{other} is not known in a format")),
        None => return Err("a code of the format ends too early".to_owned()),
    };
    Ok(code)
}

fn parse_size(characters: &mut Peekable<Chars<'_>>) -> Size {
    if characters.next_if_eq(&'*').is_some() {
        return Size::Given;
    }
    let mut size = None;
    while let Some(digit) = characters.peek().and_then(|character| character.to_digit(10)) {
        characters.next();
        let digit = usize::try_from(digit).unwrap_or_default();
        size = Some(size.unwrap_or(0_usize).saturating_mul(10).saturating_add(digit));
    }
    size.map_or(Size::Absent, Size::Fixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_no_more_digits_than_its_range() {
        assert!(is_in_range(1.0, 300) && is_in_range(1e300, 8) && is_in_range(0.0, 300));
        assert!(!is_in_range(1.0, 400) && !is_in_range(1e300, 10));
        assert_eq!(write_digits(f64::INFINITY, 10), "");
    }
}

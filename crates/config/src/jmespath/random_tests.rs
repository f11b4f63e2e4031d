//! Random expressions over random values: nothing panics, and what is evaluated twice has the same value.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Clock, SystemClock};
use blobaccess_testkit::{Numbers, seed, time_budget};
use serde_json::{Value, json};

use super::expression::{Expression, node_of};
use super::syntax::parse;

const FUNCTIONS: [&str; 27] = [
    "abs",
    "avg",
    "ceil",
    "contains",
    "ends_with",
    "floor",
    "join",
    "keys",
    "length",
    "map",
    "max",
    "max_by",
    "merge",
    "min",
    "min_by",
    "not_null",
    "reverse",
    "sort",
    "sort_by",
    "starts_with",
    "sum",
    "to_array",
    "to_number",
    "to_string",
    "type",
    "values",
    "unknown",
];

const LEAVES: [&str; 24] = [
    "a",
    "b",
    "c",
    "@",
    "*",
    "[*]",
    "[]",
    "'x'",
    "''",
    "'é'",
    "`1`",
    "`-1.5`",
    "`1e308`",
    "`[]`",
    "`{}`",
    "`null`",
    "`true`",
    "`[[1],[2,\"x\"]]`",
    "\"a\"",
    "[0]",
    "[-1]",
    "[100000]",
    "[-100000]",
    "&a",
];

const BOUNDS: [&str; 9] = ["", "0", "1", "-1", "2", "-3", "100000", "-100000", "1000"];

const JUNK: [&str; 20] =
    ["(", ")", "[", "]", "{", "}", ".", "|", "&", "!", "?", ",", ":", "`", "'", "\"", "\\", "é", "-", "99999999999"];

struct Writer {
    numbers: Numbers,
}

impl Writer {
    fn pick<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.numbers.below(texts.len())]
    }

    fn expression(&mut self, depth: usize) -> String {
        if depth == 0 || self.numbers.below(5) == 0 {
            return self.pick(&LEAVES).to_owned();
        }
        let mut next = || self.expression(depth - 1);
        let (left, right) = (next(), next());
        match self.numbers.below(13) {
            0 => format!("{left}.{right}"),
            1 => format!("{left} || {right}"),
            2 => format!("{left} && {right}"),
            3 => format!("!{left}"),
            4 => format!("{left} {} {right}", self.pick(&["==", "!=", "<", "<=", ">", ">="])),
            5 => format!("({left})"),
            6 => format!("[{left}, {right}]"),
            7 => format!("{{a: {left}, b: {right}}}"),
            8 => format!("{left} | {right}"),
            9 => format!("{left}[?{right}]"),
            10 => {
                let (from, to, step) = (self.pick(&BOUNDS), self.pick(&BOUNDS), self.pick(&BOUNDS));
                format!("{left}[{from}:{to}:{step}]")
            }
            11 => format!("{}({left}, {right})", self.pick(&FUNCTIONS)),
            _ => format!("{}({left})", self.pick(&FUNCTIONS)),
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.numbers.below(if depth == 0 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => json!(self.numbers.below(2) == 0),
            2 => json!(self.numbers.below(4)),
            3 => json!([u64::MAX, 0][self.numbers.below(2)]),
            4 => json!([1e308, -0.5][self.numbers.below(2)]),
            5 => json!(self.pick(&["", "x", "1", "é", "[[1]]"])),
            6 => (0..self.numbers.below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => {
                let fields = ["a", "b", "c"].into_iter().take(self.numbers.below(4));
                fields.map(|name| (name.to_owned(), self.value(depth - 1))).collect::<serde_json::Map<_, _>>().into()
            }
        }
    }
}

#[test]
fn no_expression_panics() {
    let mut writer = Writer { numbers: Numbers::new(seed("BLOBACCESS_JMESPATH_SEED")) };
    let end = SystemClock.monotonic() + time_budget().min(Duration::from_secs(5));
    let (mut tried, mut parsed, mut evaluated) = (0, 0, 0);
    while SystemClock.monotonic() < end {
        let mut text = writer.expression(4);
        if writer.numbers.below(4) == 0 {
            let at = (0..=text.len()).rev().find(|at| text.is_char_boundary(*at) && writer.numbers.below(8) == 0);
            text.insert_str(at.unwrap_or(0), writer.pick(&JUNK));
        }
        tried += 1;
        let tree = match parse(&text) {
            Ok(tree) => tree,
            Err(error) => {
                assert!(!error.contains("cannot be parsed"), "{text}: {error}");
                continue;
            }
        };
        parsed += 1;
        let expression = Expression::new(text.as_str().into(), Arc::new(tree), None);
        let input = node_of(&writer.value(3));
        let value = expression.evaluate_over(&input);
        evaluated += usize::from(value.is_ok());
        assert_eq!(value, expression.evaluate_over(&input), "{text}");
    }
    println!("{tried} expressions, {parsed} of them parsed, {evaluated} evaluated");
    assert!(evaluated > 0);
}

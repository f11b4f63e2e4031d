//! Random programs within small limits: none panics, and each ends the same way twice.

use blobaccess::{Clock, SystemClock};
use blobaccess_testkit::{Numbers, seed, time_budget};

use super::*;

const LEAVES: [&str; 28] = [
    "a",
    "b",
    "c",
    "self",
    "super.a",
    "$",
    "null",
    "true",
    "1",
    "-0.5",
    "1e308",
    "9007199254740993",
    "''",
    "'x'",
    "'é%s'",
    "'%d %(a)s %5.2f'",
    "|||\n  text\n|||",
    "[]",
    "{}",
    "[1, 'b', null]",
    "{ a: 1, b:: 2, c+: 3 }",
    "std",
    "std.length",
    "std.range(0, 9)",
    "std.extVar('VAR')",
    "{ ['a' + i]: i for i in [1, 2] }",
    "[x for x in [3, 1] if x > 1]",
    "error 'e'",
];

const OPERATORS: [&str; 19] =
    ["+", "-", "*", "/", "%", "<", "<=", ">", ">=", "==", "!=", "&&", "||", "&", "|", "^", "<<", ">>", "in"];

const JUNK: [&str; 22] = [
    "(", ")", "[", "]", "{", "}", ".", ",", ":", ";", "+:", "'", "\"", "|||", "\\u", "/*", "#", "é", "=", "if", "for",
    "import",
];

struct Writer {
    numbers: Numbers,
    /// The names of all functions of the library.
    functions: Vec<String>,
}

impl Writer {
    fn pick<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.numbers.below(texts.len())]
    }

    fn expression(&mut self, depth: usize) -> String {
        if depth == 0 || self.numbers.below(6) == 0 {
            return self.pick(&LEAVES).to_owned();
        }
        let mut next = || self.expression(depth - 1);
        let (first, second, third) = (next(), next(), next());
        match self.numbers.below(16) {
            0 | 1 => format!("({first}) {} ({second})", self.pick(&OPERATORS)),
            2 => format!("local a = {first}, b(c=1) = {second}; {third}"),
            3 => format!("if {first} then {second} else {third}"),
            4 => format!("{{ a: {first}, b+: {second}, local c = {third}, assert true }}"),
            5 => format!("[{first}, {second}]"),
            6 => format!("({first})[{second}]"),
            7 => format!("({first})[{second}:{third}]"),
            8 => format!("({first}).a"),
            9 => format!("(function(a, b={first}) {second})({third})"),
            10 => format!("[{first} for a in {second} for b in {third}]"),
            11 => format!("{{ [{first}]: {second} for b in {third} }}"),
            12 => format!("({first}) {{ a: {second} }}"),
            _ => {
                let function = &self.functions[self.numbers.below(self.functions.len())];
                let arguments = [first, second, third];
                let count = self.numbers.below(4);
                format!("std.{function}({})", arguments[..count].join(", "))
            }
        }
    }
}

#[test]
fn no_program_panics() {
    let functions = evaluate_snippet("std.objectFieldsAll(std)").unwrap();
    let functions: Vec<String> = serde_json::from_str(&functions).unwrap();
    let mut writer = Writer { numbers: Numbers::new(seed("BLOBACCESS_JSONNET_SEED")), functions };
    let limits = EvaluationLimits::default().with_frames(100).with_steps(50_000).with_memory(32 << 20);
    let environment = Environment::default().with_variable("VAR", "value").with_limits(limits);
    let end = SystemClock.monotonic() + time_budget() / 6;
    let (mut tried, mut evaluated) = (0, 0);
    while SystemClock.monotonic() < end {
        let mut text = format!("local a = 5, b = [a, 'b'], c = {{ a: b }}; {}", writer.expression(4));
        if writer.numbers.below(4) == 0 {
            let at = (0..=text.len()).rev().find(|at| text.is_char_boundary(*at) && writer.numbers.below(8) == 0);
            text.insert_str(at.unwrap_or(0), writer.pick(&JUNK));
        }
        tried += 1;
        let found = evaluate_in(&text, &environment);
        evaluated += usize::from(found.is_ok());
        if let Err(fault) = &found {
            assert!(!fault.contains("ended in a panic"), "{text}\n{fault}");
        }
        assert_eq!(found, evaluate_in(&text, &environment), "{text}");
    }
    println!("{tried} programs, {evaluated} of them evaluated");
    assert!(evaluated > 0);
}

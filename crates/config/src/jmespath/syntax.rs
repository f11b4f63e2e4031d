//! The syntax trees of expressions, bounded so that no expression or evaluation can run out of stack.
//!
//! The library recurses for each level of an expression when it parses and when it evaluates.

use std::thread;

use ::jmespath::DEFAULT_RUNTIME;
use ::jmespath::ast::Ast;
use ::jmespath::{ErrorReason, JmespathError};

/// The maximum length of an expression.
const MAX_EXPRESSION_BYTES: usize = 256 << 10;

/// The maximum number of characters that may make a tree one level deeper.
const MAX_OPERATORS: usize = 8192;

/// The maximum depth of the tree of an expression. An evaluation takes stack for each level.
const MAX_DEPTH: usize = 64;

/// The stack that expressions are parsed on: some 8 KiB for each operator, in a build for debugging.
const PARSER_STACK_BYTES: usize = 128 << 20;

/// The magnitude that steps of slices are held to: no list here is as long, and the library's index is far from its end.
const MAX_STEP: i32 = 1 << 24;

/// Returns the tree of an expression.
///
/// # Errors
///
/// A sentence about what is wrong, with the place in the expression.
pub(super) fn parse(text: &str) -> Result<Ast, String> {
    if text.len() > MAX_EXPRESSION_BYTES {
        return Err(format!("is {} bytes long; the maximum is {MAX_EXPRESSION_BYTES}", text.len()));
    }
    let operators = count_operators(text);
    if operators > MAX_OPERATORS {
        return Err(format!("has {operators} operators; the maximum is {MAX_OPERATORS}"));
    }
    let parsed = thread::scope(|scope| {
        let parser = thread::Builder::new().name("jmespath".to_owned()).stack_size(PARSER_STACK_BYTES);
        parser.spawn_scoped(scope, || parse_here(text)).map(thread::ScopedJoinHandle::join)
    });
    match parsed {
        Ok(Ok(parsed)) => parsed,
        Ok(Err(_)) => Err("cannot be parsed".to_owned()),
        Err(error) => Err(format!("cannot be parsed: no thread can be started: {error}")),
    }
}

/// Returns the number of characters outside of quotes that may make the tree deeper.
fn count_operators(text: &str) -> usize {
    let (mut operators, mut quote, mut is_escaped) = (0, None, false);
    for byte in text.bytes() {
        match quote {
            Some(_) if is_escaped => is_escaped = false,
            Some(_) if byte == b'\\' => is_escaped = true,
            Some(end) if byte == end => quote = None,
            Some(_) => {}
            None if matches!(byte, b'\'' | b'"' | b'`') => quote = Some(byte),
            None => operators += usize::from(b"([{.|&!<>=*".contains(&byte)),
        }
    }
    operators
}

fn parse_here(text: &str) -> Result<Ast, String> {
    let mut tree = ::jmespath::parse(text).map_err(|error| describe(text, &error))?;
    balance(&mut tree);
    let mut open = vec![(&mut tree, 1)];
    while let Some((node, depth)) = open.pop() {
        if depth > MAX_DEPTH {
            return Err(format!("is nested more than {MAX_DEPTH} deep"));
        }
        if let Ast::Slice { step, .. } = node {
            *step = (*step).clamp(-MAX_STEP, MAX_STEP);
        }
        if let Ast::Function { name, offset, .. } = node
            && DEFAULT_RUNTIME.get_function(name).is_none()
        {
            return Err(format!("calls an unknown function, {name:?}, at {}", place(text, *offset)));
        }
        open.extend(children(node).into_iter().map(|child| (child, depth + 1)));
    }
    Ok(tree)
}

/// Turns chains such as `a || b || c || d` into trees that are as flat as can be. Neither operator minds how its operands
/// are grouped.
fn balance(tree: &mut Ast) {
    let mut open = vec![tree];
    while let Some(node) = open.pop() {
        if let Some(operator) = Operator::of(node) {
            let chain = operator.take_chain(node);
            *node = operator.join(chain);
            open.extend(operator.operands(node));
        } else {
            open.extend(children(node));
        }
    }
}

/// An operator whose operands may be grouped in any way.
#[derive(Clone, Copy, PartialEq)]
enum Operator {
    And,
    Or,
}

impl Operator {
    fn of(node: &Ast) -> Option<Self> {
        if matches!(node, Ast::And { .. }) {
            Some(Self::And)
        } else if matches!(node, Ast::Or { .. }) {
            Some(Self::Or)
        } else {
            None
        }
    }

    /// Takes the operands of `node` and of those of its operands that have the same operator, in order.
    fn take_chain(self, node: &mut Ast) -> Vec<Ast> {
        let (mut open, mut chain) = (vec![take(node)], Vec::new());
        while let Some(node) = open.pop() {
            if Self::of(&node) != Some(self) {
                chain.push(node);
            } else if let Ast::And { lhs, rhs, .. } | Ast::Or { lhs, rhs, .. } = node {
                open.extend([*rhs, *lhs]);
            }
        }
        chain
    }

    /// Joins operands, neighbours first.
    fn join(self, mut chain: Vec<Ast>) -> Ast {
        while chain.len() > 1 {
            let mut operands = chain.into_iter();
            let mut joined = Vec::new();
            while let Some(lhs) = operands.next() {
                joined.push(match operands.next() {
                    Some(rhs) => self.join_two(lhs, rhs),
                    None => lhs,
                });
            }
            chain = joined;
        }
        chain.pop().unwrap_or(Ast::Identity { offset: 0 })
    }

    fn join_two(self, lhs: Ast, rhs: Ast) -> Ast {
        let (offset, lhs, rhs) = (0, Box::new(lhs), Box::new(rhs));
        match self {
            Self::And => Ast::And { offset, lhs, rhs },
            Self::Or => Ast::Or { offset, lhs, rhs },
        }
    }

    /// Returns the operands of a chain that has been joined.
    fn operands(self, node: &mut Ast) -> Vec<&mut Ast> {
        let (mut open, mut operands) = (vec![node], Vec::new());
        while let Some(node) = open.pop() {
            if Self::of(node) == Some(self) {
                open.extend(children(node));
            } else {
                operands.push(node);
            }
        }
        operands
    }
}

/// Returns `node`, and leaves a leaf in its place.
fn take(node: &mut Ast) -> Ast {
    std::mem::replace(node, Ast::Identity { offset: 0 })
}

fn children(node: &mut Ast) -> Vec<&mut Ast> {
    match node {
        Ast::Comparison { lhs, rhs, .. }
        | Ast::Projection { lhs, rhs, .. }
        | Ast::And { lhs, rhs, .. }
        | Ast::Or { lhs, rhs, .. }
        | Ast::Subexpr { lhs, rhs, .. } => vec![lhs, rhs],
        Ast::Condition { predicate, then, .. } => vec![predicate, then],
        Ast::Expref { ast: node, .. }
        | Ast::Flatten { node, .. }
        | Ast::Not { node, .. }
        | Ast::ObjectValues { node, .. } => vec![node],
        Ast::Function { args, .. } => args.iter_mut().collect(),
        Ast::MultiList { elements, .. } => elements.iter_mut().collect(),
        Ast::MultiHash { elements, .. } => elements.iter_mut().map(|pair| &mut pair.value).collect(),
        Ast::Identity { .. } | Ast::Field { .. } | Ast::Index { .. } | Ast::Literal { .. } | Ast::Slice { .. } => {
            Vec::new()
        }
    }
}

/// Describes an error of the library in one line, with its place.
pub(super) fn describe(text: &str, error: &JmespathError) -> String {
    let reason = match &error.reason {
        ErrorReason::Parse(reason) => reason.clone(),
        ErrorReason::Runtime(reason) => reason.to_string(),
    };
    format!("{reason}, at {}", place(text, error.offset))
}

/// Returns the line and the column of a byte.
fn place(text: &str, offset: usize) -> String {
    let before = text.get(..offset.min(text.len())).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_of_a_slice_is_held_to_what_a_list_can_have() {
        for (step, held) in [(MAX_STEP, MAX_STEP), (MAX_STEP + 1, MAX_STEP), (-MAX_STEP - 1, -MAX_STEP)] {
            let tree = parse(&format!("[::{step}]")).unwrap();
            let tree = format!("{tree:?}");
            assert!(tree.contains(&format!("step: {held},")) || tree.contains(&format!("step: {held} ")), "{tree}");
        }
    }

    #[test]
    fn an_error_names_its_place() {
        for (text, place) in [
            ("a ==\n  ~", "line 2, column 3"),
            ("'é' == ~", "line 1, column 8"),
            ("foo(", "line 1, column 5"),
            ("true_(a)", "unknown function, \"true_\", at line 1, column 6"),
            ("[?a == `b`]", "line 1, column 8"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(place), "{text}: {error}");
        }
    }

    #[test]
    fn what_could_use_up_the_stack_is_refused() {
        for text in [
            "(".repeat(8000),
            "!".repeat(8000) + "a",
            "[".repeat(8000),
            "{a:".repeat(8000),
            "a".to_owned() + &".a".repeat(8000),
            "a".to_owned() + &"[*]".repeat(2000),
            "a".to_owned() + &" | a".repeat(200),
            "to_array(".repeat(200) + "a" + &")".repeat(200),
            "(".repeat(1_000_000),
        ] {
            parse(&text).unwrap_err();
        }
        // Parentheses themselves are no level of the tree.
        parse(&format!("{}a{}", "(".repeat(2000), ")".repeat(2000))).unwrap();
    }

    #[test]
    fn a_chain_may_be_long() {
        let chain = |operator: &str| vec!["a == 'b'"; 2000].join(operator);
        parse(&chain(" || ")).unwrap();
        parse(&chain(" && ")).unwrap();
        parse(&format!("!({}) && ({})", chain(" || "), chain(" && "))).unwrap_err();
    }
}

//! Expressions of Jsonnet.

use std::rc::Rc;

use super::source::At;

/// The name of a variable, a parameter or a field.
pub(super) type Name = Rc<str>;

/// An expression.
#[derive(Debug)]
pub(super) struct Expr {
    pub(super) at: At,
    pub(super) kind: ExprKind,
}

/// The kinds of expressions.
#[derive(Debug)]
pub(super) enum ExprKind {
    Null,
    Bool(bool),
    Number(f64),
    Text(Rc<str>),
    This,
    Variable(Name),
    Array(Vec<Rc<Expr>>),
    ArrayComprehension { element: Rc<Expr>, clauses: Rc<[Clause]> },
    Object(Rc<ObjectExpr>),
    Index { target: Rc<Expr>, index: Rc<Expr> },
    Slice { target: Rc<Expr>, bounds: [Option<Rc<Expr>>; 3] },
    SuperIndex(Rc<Expr>),
    InSuper(Rc<Expr>),
    Call(Rc<CallExpr>),
    Function(Rc<FunctionExpr>),
    Local { binds: Rc<[Bind]>, body: Rc<Expr> },
    If { condition: Rc<Expr>, then: Rc<Expr>, otherwise: Option<Rc<Expr>> },
    Assert { assertion: Rc<Assertion>, body: Rc<Expr> },
    Error(Rc<Expr>),
    Binary { operator: BinaryOperator, left: Rc<Expr>, right: Rc<Expr> },
    Unary { operator: UnaryOperator, operand: Rc<Expr> },
    Import(ImportKind, Rc<str>),
}

/// The value that an imported file becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ImportKind {
    Code,
    Text,
    Bytes,
}

/// A variable and its value.
#[derive(Debug)]
pub(super) struct Bind {
    pub(super) name: Name,
    pub(super) value: Rc<Expr>,
}

/// `for` or `if` in a comprehension.
#[derive(Debug)]
pub(super) enum Clause {
    For(Name, Rc<Expr>),
    If(Rc<Expr>),
}

/// A condition that must hold.
#[derive(Debug)]
pub(super) struct Assertion {
    pub(super) condition: Rc<Expr>,
    pub(super) message: Option<Rc<Expr>>,
}

/// A call of a function.
#[derive(Debug)]
pub(super) struct CallExpr {
    pub(super) function: Rc<Expr>,
    pub(super) positional: Vec<Rc<Expr>>,
    pub(super) named: Vec<(Name, Rc<Expr>)>,
    pub(super) is_strict: bool,
}

/// A function.
#[derive(Debug)]
pub(super) struct FunctionExpr {
    pub(super) parameters: Vec<(Name, Option<Rc<Expr>>)>,
    pub(super) body: Rc<Expr>,
}

/// An object.
#[derive(Debug)]
pub(super) struct ObjectExpr {
    pub(super) locals: Rc<[Bind]>,
    pub(super) assertions: Vec<Rc<Assertion>>,
    pub(super) fields: Vec<FieldExpr>,
    /// The clauses of a comprehension, which has exactly one field.
    pub(super) clauses: Option<Rc<[Clause]>>,
}

/// A field of an object.
#[derive(Debug)]
pub(super) struct FieldExpr {
    pub(super) name: Rc<Expr>,
    pub(super) adds: bool,
    pub(super) visibility: Visibility,
    pub(super) body: Rc<Expr>,
}

/// Whether a field is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visibility {
    /// As in the object below, and rendered if there is none.
    Inherited,
    Hidden,
    Shown,
}

/// The operators with one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnaryOperator {
    Not,
    Complement,
    Plus,
    Minus,
}

/// The operators with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BinaryOperator {
    Multiply,
    Divide,
    Remainder,
    Add,
    Subtract,
    ShiftLeft,
    ShiftRight,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Equal,
    Unequal,
    BitAnd,
    BitXor,
    BitOr,
    And,
    Or,
}

impl BinaryOperator {
    /// Returns the operator that is written like this, and how tightly it binds: lower numbers bind tighter.
    pub(super) fn of(text: &str) -> Option<(Self, u8)> {
        Some(match text {
            "*" => (Self::Multiply, 1),
            "/" => (Self::Divide, 1),
            "%" => (Self::Remainder, 1),
            "+" => (Self::Add, 2),
            "-" => (Self::Subtract, 2),
            "<<" => (Self::ShiftLeft, 3),
            ">>" => (Self::ShiftRight, 3),
            "<" => (Self::Less, 4),
            "<=" => (Self::LessOrEqual, 4),
            ">" => (Self::Greater, 4),
            ">=" => (Self::GreaterOrEqual, 4),
            "in" => (Self::In, 4),
            "==" => (Self::Equal, 5),
            "!=" => (Self::Unequal, 5),
            "&" => (Self::BitAnd, 6),
            "^" => (Self::BitXor, 7),
            "|" => (Self::BitOr, 8),
            "&&" => (Self::And, 9),
            "||" => (Self::Or, 10),
            _ => return None,
        })
    }

    /// The number of the operators that bind least tightly.
    pub(super) const LOOSEST: u8 = 10;
}

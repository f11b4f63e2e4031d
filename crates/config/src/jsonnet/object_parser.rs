//! Objects from words.

use std::rc::Rc;

use super::failure::{Failure, Outcome};
use super::lexer::TokenKind;
use super::parser::{Parser, expr};
use super::source::At;
use super::syntax::{Bind, Expr, ExprKind, FieldExpr, FunctionExpr, Name, ObjectExpr, Visibility};

/// The parts of an object that have been read.
#[derive(Default)]
struct Parts {
    locals: Vec<Bind>,
    assertions: Vec<Rc<super::syntax::Assertion>>,
    fields: Vec<FieldExpr>,
    names: std::collections::HashSet<Name>,
}

impl Parser {
    /// Reads an object behind its `{`.
    pub(super) fn parse_object(&mut self, at: At) -> Outcome<Rc<Expr>> {
        self.objects += 1;
        let object = self.parse_members(at);
        self.objects -= 1;
        Ok(expr(at, ExprKind::Object(Rc::new(object?))))
    }

    fn parse_members(&mut self, at: At) -> Outcome<ObjectExpr> {
        let mut parts = Parts::default();
        let mut clauses = None;
        while !self.take_symbol("}") {
            if self.take(TokenKind::Keyword, "local") {
                self.parse_bind(&mut parts.locals)?;
            } else if self.take(TokenKind::Keyword, "assert") {
                parts.assertions.push(Rc::new(self.parse_assertion()?));
            } else {
                self.parse_field(&mut parts)?;
            }
            let has_comma = self.take_symbol(",");
            if self.is_at(TokenKind::Keyword, "for") {
                check_comprehension(self.peek().at, &parts)?;
                clauses = Some(self.parse_clauses()?);
                self.expect_symbol("}")?;
                break;
            }
            if !has_comma && !self.is_at(TokenKind::Symbol, "}") {
                return Err(self.unexpected(", or }"));
            }
        }
        if self.objects == 1 {
            parts.locals.push(Bind { name: "$".into(), value: expr(at, ExprKind::This) });
        }
        let Parts { locals, assertions, fields, names: _ } = parts;
        Ok(ObjectExpr { locals: locals.into(), assertions, fields, clauses })
    }

    fn parse_field(&mut self, parts: &mut Parts) -> Outcome<()> {
        let token = self.next();
        let at = token.at;
        let name = match token.kind {
            TokenKind::Identifier | TokenKind::Text | TokenKind::TextBlock => {
                if !parts.names.insert(Rc::clone(&token.text)) {
                    return Err(Failure::at(at, format!("the field {} is given twice", token.text)));
                }
                expr(at, ExprKind::Text(token.text))
            }
            TokenKind::Symbol if &*token.text == "[" => {
                let name = self.parse_expression()?;
                self.expect_symbol("]")?;
                // The place of a field is that of its bracket.
                expr(at, ExprKind::Local { binds: Rc::new([]), body: name })
            }
            TokenKind::Keyword | TokenKind::Number | TokenKind::Operator | TokenKind::Symbol | TokenKind::End => {
                let hint = if token.kind == TokenKind::Keyword { "; quote it if it is one" } else { "" };
                return Err(Failure::at(at, format!("{} is found where a field is expected{hint}", show(&token.text))));
            }
        };
        let parameters = if self.take_symbol("(") { Some(self.parse_parameters()?) } else { None };
        let operator = self.next();
        let found = if operator.kind == TokenKind::Operator { &*operator.text } else { "" };
        let (adds, colons) = found.strip_prefix('+').map_or((false, found), |colons| (true, colons));
        let visibility = match colons {
            ":" => Visibility::Inherited,
            "::" => Visibility::Hidden,
            ":::" => Visibility::Shown,
            _ => {
                return Err(Failure::at(operator.at, format!("{} is found where : is expected", show(&operator.text))));
            }
        };
        if adds && parameters.is_some() {
            return Err(Failure::at(operator.at, "a function cannot be added with +:"));
        }
        let mut body = self.parse_expression()?;
        if let Some(parameters) = parameters {
            body = expr(at, ExprKind::Function(Rc::new(FunctionExpr { parameters, body })));
        }
        parts.fields.push(FieldExpr { name, adds, visibility, body });
        Ok(())
    }
}

fn show(text: &str) -> &str {
    if text.is_empty() { "the end of the file" } else { text }
}

fn check_comprehension(at: At, parts: &Parts) -> Outcome<()> {
    let reason = match parts.fields.as_slice() {
        _ if !parts.assertions.is_empty() => "must not have assertions",
        [field] if matches!(field.name.kind, ExprKind::Text(_)) => "must have a computed name: [NAME]",
        [field] if field.visibility == Visibility::Hidden => "must not have a hidden field",
        [_] => return Ok(()),
        _ => "must have exactly one field",
    };
    Err(Failure::at(at, format!("an object with \"for\" {reason}")))
}

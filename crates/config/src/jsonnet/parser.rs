//! Expressions from words.

use std::rc::Rc;

use super::failure::{Failure, Outcome};
use super::lexer::{Token, TokenKind};
use super::source::At;
use super::syntax::{
    Assertion, BinaryOperator, Bind, CallExpr, Clause, Expr, ExprKind, FunctionExpr, ImportKind, Name, UnaryOperator,
};

/// The most expressions that may lie in each other. Each takes some of the stack, here and where it is evaluated.
const MAX_NESTING: usize = 3000;

/// Reads a whole file. The file has at least the word that ends it.
pub(super) fn parse(tokens: Vec<Token>) -> Outcome<Rc<Expr>> {
    let Some(end) = tokens.last().cloned() else {
        return Err(Failure::at(At::new(0, 0), "there is no expression"));
    };
    let mut parser = Parser { tokens, position: 0, end, nesting: 0, objects: 0 };
    let expr = parser.parse_expression()?;
    if parser.peek().kind != TokenKind::End {
        return Err(parser.unexpected("the end of the file"));
    }
    Ok(expr)
}

pub(super) struct Parser {
    tokens: Vec<Token>,
    position: usize,
    end: Token,
    nesting: usize,
    /// The number of objects around the next word.
    pub(super) objects: usize,
}

impl Parser {
    pub(super) fn peek(&self) -> &Token {
        self.tokens.get(self.position).unwrap_or(&self.end)
    }

    pub(super) fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.position += 1;
        token
    }

    pub(super) fn is_at(&self, kind: TokenKind, text: &str) -> bool {
        let token = self.peek();
        token.kind == kind && &*token.text == text
    }

    pub(super) fn take(&mut self, kind: TokenKind, text: &str) -> bool {
        let found = self.is_at(kind, text);
        if found {
            self.position += 1;
        }
        found
    }

    pub(super) fn take_symbol(&mut self, text: &str) -> bool {
        self.take(TokenKind::Symbol, text)
    }

    fn take_keyword(&mut self, text: &str) -> bool {
        self.take(TokenKind::Keyword, text)
    }

    pub(super) fn expect(&mut self, kind: TokenKind, text: &str) -> Outcome<()> {
        if self.take(kind, text) { Ok(()) } else { Err(self.unexpected(text)) }
    }

    pub(super) fn expect_symbol(&mut self, text: &str) -> Outcome<()> {
        self.expect(TokenKind::Symbol, text)
    }

    pub(super) fn expect_identifier(&mut self) -> Outcome<Name> {
        if self.peek().kind == TokenKind::Identifier { Ok(self.next().text) } else { Err(self.unexpected("a name")) }
    }

    /// Makes the failure of the next word, which is not what is wanted.
    pub(super) fn unexpected(&self, wanted: &str) -> Box<Failure> {
        let token = self.peek();
        let found = match token.kind {
            TokenKind::End => return Failure::at(token.at, format!("the file ends where {wanted} is expected")),
            TokenKind::Text | TokenKind::TextBlock => "a text".to_owned(),
            TokenKind::Identifier
            | TokenKind::Keyword
            | TokenKind::Number
            | TokenKind::Operator
            | TokenKind::Symbol => token.text.to_string(),
        };
        Failure::at(token.at, format!("{found} is found where {wanted} is expected"))
    }

    pub(super) fn parse_expression(&mut self) -> Outcome<Rc<Expr>> {
        self.nested(|parser| parser.parse_binary(BinaryOperator::LOOSEST))
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        if self.nesting >= MAX_NESTING {
            return Err(Failure::at(self.peek().at, format!("more than {MAX_NESTING} expressions lie in each other")));
        }
        self.nesting += 1;
        let outcome = parse(self);
        self.nesting -= 1;
        outcome
    }

    /// Reads operands with operators that bind at least as tightly as `loosest`.
    fn parse_binary(&mut self, loosest: u8) -> Outcome<Rc<Expr>> {
        let mut left = self.parse_unary()?;
        loop {
            let token = self.peek();
            let at = token.at;
            let is_operator = token.kind == TokenKind::Operator || self.is_at(TokenKind::Keyword, "in");
            if !is_operator || matches!(&*token.text, ":" | "::") {
                return Ok(left);
            }
            let Some((operator, tightness)) = BinaryOperator::of(&token.text) else {
                return Err(self.unexpected("an operator with two operands"));
            };
            if tightness > loosest {
                return Ok(left);
            }
            self.position += 1;
            if operator == BinaryOperator::In && self.is_at(TokenKind::Keyword, "super") && !self.continues_super() {
                self.position += 1;
                left = expr(at, ExprKind::InSuper(left));
                continue;
            }
            let right = self.nested(|parser| parser.parse_binary(tightness - 1))?;
            left = expr(at, ExprKind::Binary { operator, left, right });
        }
    }

    /// Returns whether `super` is followed by the name of a field.
    fn continues_super(&self) -> bool {
        let next = self.tokens.get(self.position + 1);
        next.is_some_and(|token| token.kind == TokenKind::Symbol && matches!(&*token.text, "." | "["))
    }

    fn parse_unary(&mut self) -> Outcome<Rc<Expr>> {
        let token = self.peek();
        let at = token.at;
        if token.kind != TokenKind::Operator {
            return self.parse_postfix();
        }
        let operator = match &*token.text {
            "!" => UnaryOperator::Not,
            "~" => UnaryOperator::Complement,
            "+" => UnaryOperator::Plus,
            "-" => UnaryOperator::Minus,
            _ => return Err(self.unexpected("an expression")),
        };
        self.position += 1;
        let operand = self.nested(Self::parse_unary)?;
        Ok(expr(at, ExprKind::Unary { operator, operand }))
    }

    /// Reads an expression with fields, elements, calls and objects behind it.
    fn parse_postfix(&mut self) -> Outcome<Rc<Expr>> {
        let (mut target, is_open) = self.parse_primary()?;
        // What begins with a word such as `if` or `local` reaches as far as it can.
        if is_open {
            return Ok(target);
        }
        loop {
            let at = self.peek().at;
            if self.take_symbol(".") {
                let field = self.peek().at;
                let name = self.expect_identifier()?;
                let index = expr(field, ExprKind::Text(name));
                target = expr(field, ExprKind::Index { target, index });
            } else if self.take_symbol("[") {
                target = self.parse_brackets(at, target)?;
            } else if self.take_symbol("(") {
                target = self.parse_call(target)?;
            } else if self.take_symbol("{") {
                let right = self.parse_object(at)?;
                target = expr(at, ExprKind::Binary { operator: BinaryOperator::Add, left: target, right });
            } else {
                return Ok(target);
            }
        }
    }

    fn parse_brackets(&mut self, at: At, target: Rc<Expr>) -> Outcome<Rc<Expr>> {
        let mut bounds = [None, None, None];
        let mut colons = 0;
        while !self.take_symbol("]") {
            let bound = bounds.get(colons).and_then(Option::as_ref);
            if self.take(TokenKind::Operator, ":") {
                colons += 1;
            } else if self.take(TokenKind::Operator, "::") {
                colons += 2;
            } else if bound.is_none() && colons < 3 {
                let value = self.parse_expression()?;
                if let Some(bound) = bounds.get_mut(colons) {
                    *bound = Some(value);
                }
            } else {
                return Err(self.unexpected("]"));
            }
            if colons > 2 {
                return Err(Failure::at(at, "a slice has more than three parts"));
            }
        }
        match (colons, bounds) {
            (0, [Some(index), _, _]) => Ok(expr(at, ExprKind::Index { target, index })),
            (0, _) => Err(Failure::at(at, "there is no expression between [ and ]")),
            (_, bounds) => Ok(expr(at, ExprKind::Slice { target, bounds })),
        }
    }

    fn parse_call(&mut self, function: Rc<Expr>) -> Outcome<Rc<Expr>> {
        let at = function.at;
        let (mut positional, mut named) = (Vec::new(), Vec::<(Name, Rc<Expr>)>::new());
        while !self.take_symbol(")") {
            let next = self.tokens.get(self.position + 1);
            let is_named = self.peek().kind == TokenKind::Identifier
                && next.is_some_and(|next| next.kind == TokenKind::Operator && &*next.text == "=");
            if is_named {
                let name = self.next().text;
                self.position += 1;
                named.push((name, self.parse_expression()?));
            } else if named.is_empty() {
                positional.push(self.parse_expression()?);
            } else {
                return Err(Failure::at(self.peek().at, "an argument without a name follows one with a name"));
            }
            if !self.is_at(TokenKind::Symbol, ")") {
                self.expect_symbol(",")?;
            }
        }
        let is_strict = self.take_keyword("tailstrict");
        Ok(expr(at, ExprKind::Call(Rc::new(CallExpr { function, positional, named, is_strict }))))
    }

    /// Reads an expression that does not begin with another one, and returns whether it reaches as far as it can.
    fn parse_primary(&mut self) -> Outcome<(Rc<Expr>, bool)> {
        let token = self.next();
        let at = token.at;
        let kind = match token.kind {
            TokenKind::Number => match token.text.parse::<f64>() {
                Ok(number) if number.is_finite() => ExprKind::Number(number),
                Ok(_) | Err(_) => return Err(Failure::at(at, "the number is too large")),
            },
            TokenKind::Text | TokenKind::TextBlock => ExprKind::Text(token.text),
            TokenKind::Identifier => ExprKind::Variable(token.text),
            TokenKind::Keyword => return self.parse_keyword(&token),
            TokenKind::Symbol => match &*token.text {
                "$" => ExprKind::Variable("$".into()),
                "(" => {
                    let inner = self.parse_expression()?;
                    self.expect_symbol(")")?;
                    return Ok((inner, false));
                }
                "[" => return Ok((self.parse_array(at)?, false)),
                "{" => return Ok((self.parse_object(at)?, false)),
                _ => return Err(self.unexpected_before("an expression")),
            },
            TokenKind::Operator | TokenKind::End => return Err(self.unexpected_before("an expression")),
        };
        Ok((expr(at, kind), false))
    }

    fn unexpected_before(&mut self, wanted: &str) -> Box<Failure> {
        self.position -= 1;
        self.unexpected(wanted)
    }

    fn parse_keyword(&mut self, token: &Token) -> Outcome<(Rc<Expr>, bool)> {
        let at = token.at;
        let kind = match &*token.text {
            "null" => return Ok((expr(at, ExprKind::Null), false)),
            "true" => return Ok((expr(at, ExprKind::Bool(true)), false)),
            "false" => return Ok((expr(at, ExprKind::Bool(false)), false)),
            "self" => return Ok((expr(at, ExprKind::This), false)),
            "super" => return Ok((self.parse_super()?, false)),
            "import" => self.parse_import(ImportKind::Code)?,
            "importstr" => self.parse_import(ImportKind::Text)?,
            "importbin" => self.parse_import(ImportKind::Bytes)?,
            "if" => {
                let condition = self.parse_expression()?;
                self.expect(TokenKind::Keyword, "then")?;
                let then = self.parse_expression()?;
                let otherwise = if self.take_keyword("else") { Some(self.parse_expression()?) } else { None };
                ExprKind::If { condition, then, otherwise }
            }
            "local" => {
                let mut binds = Vec::new();
                loop {
                    self.parse_bind(&mut binds)?;
                    if self.take_symbol(";") {
                        break;
                    }
                    self.expect_symbol(",")?;
                }
                ExprKind::Local { binds: binds.into(), body: self.parse_expression()? }
            }
            "function" => {
                self.expect_symbol("(")?;
                let parameters = self.parse_parameters()?;
                ExprKind::Function(Rc::new(FunctionExpr { parameters, body: self.parse_expression()? }))
            }
            "assert" => {
                let assertion = Rc::new(self.parse_assertion()?);
                self.expect_symbol(";")?;
                ExprKind::Assert { assertion, body: self.parse_expression()? }
            }
            "error" => ExprKind::Error(self.parse_expression()?),
            _ => return Err(self.unexpected_before("an expression")),
        };
        Ok((expr(at, kind), true))
    }

    fn parse_super(&mut self) -> Outcome<Rc<Expr>> {
        let at = self.peek().at;
        let index = if self.take_symbol(".") {
            let at = self.peek().at;
            expr(at, ExprKind::Text(self.expect_identifier()?))
        } else {
            self.expect_symbol("[")?;
            let index = self.parse_expression()?;
            self.expect_symbol("]")?;
            index
        };
        Ok(expr(at, ExprKind::SuperIndex(index)))
    }

    fn parse_import(&mut self, kind: ImportKind) -> Outcome<ExprKind> {
        let (at, start) = (self.peek().at, self.position);
        let is_text = self.peek().kind == TokenKind::Text;
        let path = self.parse_expression()?;
        match &path.kind {
            ExprKind::Text(path) if is_text && self.position == start + 1 => {
                Ok(ExprKind::Import(kind, Rc::clone(path)))
            }
            _ => Err(Failure::at(at, "the path of an import must be a plain text")),
        }
    }

    pub(super) fn parse_assertion(&mut self) -> Outcome<Assertion> {
        let condition = self.parse_expression()?;
        let message = if self.take(TokenKind::Operator, ":") { Some(self.parse_expression()?) } else { None };
        Ok(Assertion { condition, message })
    }

    /// Reads a variable with its value, and adds it to `binds`.
    pub(super) fn parse_bind(&mut self, binds: &mut Vec<Bind>) -> Outcome<()> {
        let at = self.peek().at;
        let name = self.expect_identifier()?;
        if binds.iter().any(|bind| bind.name == name) {
            return Err(Failure::at(at, format!("the variable {name} is given twice")));
        }
        let parameters = if self.take_symbol("(") { Some(self.parse_parameters()?) } else { None };
        self.expect(TokenKind::Operator, "=")?;
        let mut value = self.parse_expression()?;
        if let Some(parameters) = parameters {
            value = expr(at, ExprKind::Function(Rc::new(FunctionExpr { parameters, body: value })));
        }
        binds.push(Bind { name, value });
        Ok(())
    }

    /// Reads parameters up to `)`.
    pub(super) fn parse_parameters(&mut self) -> Outcome<Vec<(Name, Option<Rc<Expr>>)>> {
        let mut parameters = Vec::<(Name, _)>::new();
        while !self.take_symbol(")") {
            let at = self.peek().at;
            let name = self.expect_identifier()?;
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(Failure::at(at, format!("the parameter {name} is given twice")));
            }
            let default = if self.take(TokenKind::Operator, "=") { Some(self.parse_expression()?) } else { None };
            parameters.push((name, default));
            if !self.is_at(TokenKind::Symbol, ")") {
                self.expect_symbol(",")?;
            }
        }
        Ok(parameters)
    }

    fn parse_array(&mut self, at: At) -> Outcome<Rc<Expr>> {
        let mut elements = Vec::new();
        while !self.take_symbol("]") {
            elements.push(self.parse_expression()?);
            let has_comma = self.take_symbol(",");
            if self.is_at(TokenKind::Keyword, "for") && elements.len() == 1 {
                let clauses = self.parse_clauses()?;
                self.expect_symbol("]")?;
                let element = elements.remove(0);
                return Ok(expr(at, ExprKind::ArrayComprehension { element, clauses }));
            }
            if !has_comma && !self.is_at(TokenKind::Symbol, "]") {
                return Err(self.unexpected(", or ]"));
            }
        }
        Ok(expr(at, ExprKind::Array(elements)))
    }

    /// Reads the clauses of a comprehension, which begin with `for`.
    pub(super) fn parse_clauses(&mut self) -> Outcome<Rc<[Clause]>> {
        let mut clauses = Vec::new();
        loop {
            if self.take_keyword("for") {
                let name = self.expect_identifier()?;
                self.expect(TokenKind::Keyword, "in")?;
                clauses.push(Clause::For(name, self.parse_expression()?));
            } else if !clauses.is_empty() && self.take_keyword("if") {
                clauses.push(Clause::If(self.parse_expression()?));
            } else {
                return Ok(clauses.into());
            }
        }
    }
}

/// Makes an expression.
pub(super) fn expr(at: At, kind: ExprKind) -> Rc<Expr> {
    Rc::new(Expr { at, kind })
}

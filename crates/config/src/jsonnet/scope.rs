//! Checks that variables, `self` and `super` stand where they mean something.

use std::collections::HashMap;
use std::rc::Rc;

use super::failure::{Failure, Outcome};
use super::source::At;
use super::syntax::{Assertion, Bind, Clause, Expr, ExprKind, FunctionExpr, Name, ObjectExpr};

/// Checks a whole file, which may use the variables in `known`.
pub(super) fn check_scopes(expr: &Expr, known: &[&str]) -> Outcome<()> {
    let known = known.iter().map(|name| (Name::from(*name), 1)).collect();
    Scope { known, is_in_object: false }.check(expr)
}

struct Scope {
    /// How often each name is known, in scopes around each other.
    known: HashMap<Name, usize>,
    is_in_object: bool,
}

impl Scope {
    fn within<T>(&mut self, names: impl IntoIterator<Item = Name>, check: impl FnOnce(&mut Self) -> T) -> T {
        let names: Vec<_> = names.into_iter().collect();
        for name in &names {
            self.enter(name);
        }
        let outcome = check(self);
        for name in &names {
            self.leave(name);
        }
        outcome
    }

    fn enter(&mut self, name: &Name) {
        *self.known.entry(Rc::clone(name)).or_default() += 1;
    }

    fn leave(&mut self, name: &Name) {
        if let Some(count) = self.known.get_mut(name) {
            *count = count.saturating_sub(1);
        }
    }

    fn check_all<'a>(&mut self, exprs: impl IntoIterator<Item = &'a Rc<Expr>>) -> Outcome<()> {
        exprs.into_iter().try_for_each(|expr| self.check(expr))
    }

    fn check(&mut self, mut expr: &Expr) -> Outcome<()> {
        // Additions may be many thousands, one to the left of the other.
        while let ExprKind::Binary { operator: _, left, right } = &expr.kind {
            self.check(right)?;
            expr = left;
        }
        match &expr.kind {
            ExprKind::Null
            | ExprKind::Bool(_)
            | ExprKind::Number(_)
            | ExprKind::Text(_)
            | ExprKind::Import(..)
            | ExprKind::Binary { .. } => Ok(()),
            ExprKind::This => self.check_object(expr.at, "self"),
            ExprKind::Variable(name) => self.check_variable(expr.at, name),
            ExprKind::Array(elements) => self.check_all(elements),
            ExprKind::ArrayComprehension { element, clauses } => {
                self.check_clauses(clauses, &mut |scope| scope.check(element))
            }
            ExprKind::Object(object) => self.check_members(object),
            ExprKind::Index { target, index } => self.check_all([target, index]),
            ExprKind::Slice { target, bounds } => {
                self.check(target)?;
                self.check_all(bounds.iter().flatten())
            }
            ExprKind::SuperIndex(index) | ExprKind::InSuper(index) => {
                self.check_object(expr.at, "super")?;
                self.check(index)
            }
            ExprKind::Call(call) => {
                self.check(&call.function)?;
                self.check_all(&call.positional)?;
                self.check_all(call.named.iter().map(|(_, value)| value))
            }
            ExprKind::Function(function) => self.check_function(function),
            ExprKind::Local { binds, body } => self.check_local(binds, |scope| scope.check(body)),
            ExprKind::If { condition, then, otherwise } => {
                self.check_all([condition, then])?;
                self.check_all(otherwise)
            }
            ExprKind::Assert { assertion, body } => {
                self.check_assertion(assertion)?;
                self.check(body)
            }
            ExprKind::Error(message) => self.check(message),
            ExprKind::Unary { operator: _, operand } => self.check(operand),
        }
    }

    fn check_variable(&self, at: At, name: &Name) -> Outcome<()> {
        if self.known.get(name).is_some_and(|count| *count > 0) {
            Ok(())
        } else if &**name == "$" {
            Err(Failure::at(at, "$ must stand in an object"))
        } else {
            Err(Failure::at(at, format!("the variable {name} is not known")))
        }
    }

    fn check_object(&self, at: At, word: &str) -> Outcome<()> {
        if self.is_in_object { Ok(()) } else { Err(Failure::at(at, format!("{word} must stand in an object"))) }
    }

    fn check_assertion(&mut self, assertion: &Assertion) -> Outcome<()> {
        self.check(&assertion.condition)?;
        self.check_all(&assertion.message)
    }

    fn check_function(&mut self, function: &FunctionExpr) -> Outcome<()> {
        let names = function.parameters.iter().map(|(name, _)| Rc::clone(name));
        self.within(names, |scope| {
            scope.check_all(function.parameters.iter().filter_map(|(_, default)| default.as_ref()))?;
            scope.check(&function.body)
        })
    }

    fn check_local(&mut self, binds: &[Bind], check: impl FnOnce(&mut Self) -> Outcome<()>) -> Outcome<()> {
        self.within(binds.iter().map(|bind| Rc::clone(&bind.name)), |scope| {
            scope.check_all(binds.iter().map(|bind| &bind.value))?;
            check(scope)
        })
    }

    fn check_clauses(&mut self, clauses: &[Clause], check: &mut dyn FnMut(&mut Self) -> Outcome<()>) -> Outcome<()> {
        let mut entered = Vec::new();
        let outcome = clauses.iter().try_for_each(|clause| match clause {
            Clause::For(name, list) => {
                self.check(list)?;
                self.enter(name);
                entered.push(name);
                Ok(())
            }
            Clause::If(condition) => self.check(condition),
        });
        let outcome = outcome.and_then(|()| check(self));
        for name in entered {
            self.leave(name);
        }
        outcome
    }

    fn check_members(&mut self, object: &ObjectExpr) -> Outcome<()> {
        match &object.clauses {
            None => self.check_fields(object),
            Some(clauses) => self.check_clauses(clauses, &mut |scope| scope.check_fields(object)),
        }
    }

    fn check_fields(&mut self, object: &ObjectExpr) -> Outcome<()> {
        self.check_all(object.fields.iter().map(|field| &field.name))?;
        let was_in_object = std::mem::replace(&mut self.is_in_object, true);
        let outcome = self.check_local(&object.locals, |scope| {
            object.assertions.iter().try_for_each(|assertion| scope.check_assertion(assertion))?;
            scope.check_all(object.fields.iter().map(|field| &field.body))
        });
        self.is_in_object = was_in_object;
        outcome
    }
}

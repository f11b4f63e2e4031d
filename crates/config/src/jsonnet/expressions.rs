//! The value of each kind of expression.

use std::rc::Rc;

use super::failure::{Failure, Outcome};
use super::machine::{Machine, Step, Tail};
use super::operators::operate_on_one;
use super::source::At;
use super::syntax::{Assertion, BinaryOperator, CallExpr, Clause, Expr, ExprKind, FunctionExpr, Name};
use super::value::{Env, Function, Thunk, ThunkId, Value};

impl Machine<'_> {
    /// Evaluates an expression, or finds the one that takes its place.
    pub(super) fn step(
        &mut self,
        expr: &Rc<Expr>,
        env: &Rc<Env>,
        tail: &mut Tail,
        call: &mut Option<At>,
    ) -> Outcome<Step> {
        let at = expr.at;
        let value = match &expr.kind {
            ExprKind::Null => Value::Null,
            ExprKind::Bool(value) => Value::Bool(*value),
            ExprKind::Number(number) => Value::Number(*number),
            ExprKind::Text(text) => Value::Text(Rc::clone(text)),
            ExprKind::This => match env.this() {
                Some(this) => Value::Object(Rc::clone(&this.object)),
                None => return Err(Failure::at(at, "self must stand in an object")),
            },
            ExprKind::Variable(name) => {
                self.work(env.variables.len() / 16, at)?;
                let id = lookup(env, name, at)?;
                self.force(id, at)?
            }
            ExprKind::Array(elements) => self.evaluate_array(elements, env, at)?,
            ExprKind::ArrayComprehension { element, clauses } => {
                let mut elements = Vec::new();
                self.for_each(clauses, env, at, &mut |machine, env| {
                    let id = machine.delay(element, env)?;
                    elements.push(id);
                    Ok(())
                })?;
                self.array(elements, at)?
            }
            ExprKind::Object(object) => self.evaluate_object(object, env, at)?,
            ExprKind::Index { target, index } => {
                let target = self.evaluate(target, env)?;
                let index = self.evaluate(index, env)?;
                self.index(&target, &index, at)?
            }
            ExprKind::Slice { target, bounds } => self.evaluate_slice(target, bounds, env, at)?,
            ExprKind::SuperIndex(index) => self.evaluate_super(index, env, at)?,
            ExprKind::InSuper(index) => {
                let name = self.evaluate_name(index, env)?;
                let this = env.this().ok_or_else(|| Failure::at(at, "super must stand in an object"))?;
                Value::Bool(this.object.find(&name, this.layer).is_some())
            }
            ExprKind::Call(called) => return self.step_into_call(called, env, at, tail, call),
            ExprKind::Function(function) => {
                self.charge(64, at)?;
                Value::Function(Rc::new(Function::Closure(Rc::clone(function), Rc::clone(env))))
            }
            ExprKind::Local { binds, body } if binds.is_empty() => {
                return Ok(Step::Next(Rc::clone(body), Rc::clone(env)));
            }
            ExprKind::Local { binds, body } => {
                let parent = Env { parent: Some(Rc::clone(env)), ..Env::default() };
                return Ok(Step::Next(Rc::clone(body), self.env_of_binds(binds, parent, at)?));
            }
            ExprKind::If { condition, then, otherwise } => {
                let condition_at = condition.at;
                let condition = self.evaluate(condition, env)?;
                let branch = if to_bool(&condition, condition_at)? { Some(then) } else { otherwise.as_ref() };
                match branch {
                    Some(branch) => return Ok(Step::Next(Rc::clone(branch), Rc::clone(env))),
                    None => Value::Null,
                }
            }
            ExprKind::Assert { assertion, body } => {
                self.check_assertion(assertion, env)?;
                return Ok(Step::Next(Rc::clone(body), Rc::clone(env)));
            }
            ExprKind::Error(message) => {
                let message = self.evaluate(message, env)?;
                let message = self.text_of(&message, at)?;
                return Err(Failure::at(at, &*message));
            }
            ExprKind::Binary { .. } => self.evaluate_binary(expr, env, *tail)?,
            ExprKind::Unary { operator, operand } => {
                let operand = self.evaluate_as(operand, env, *tail)?;
                operate_on_one(*operator, &operand, at)?
            }
            ExprKind::Import(kind, path) => self.import(*kind, path, at)?,
        };
        Ok(Step::Done(value))
    }

    /// Makes a thunk of an expression. What needs no evaluation is evaluated at once.
    pub(super) fn delay(&mut self, expr: &Rc<Expr>, env: &Rc<Env>) -> Outcome<ThunkId> {
        let value = match &expr.kind {
            ExprKind::Null => Value::Null,
            ExprKind::Bool(value) => Value::Bool(*value),
            ExprKind::Number(number) => Value::Number(*number),
            ExprKind::Text(text) => Value::Text(Rc::clone(text)),
            ExprKind::Variable(name) => return lookup(env, name, expr.at),
            _ => return self.thunk(Thunk::Expr(Rc::clone(expr), Rc::clone(env)), expr.at),
        };
        self.done(value, expr.at)
    }

    fn evaluate_array(&mut self, elements: &[Rc<Expr>], env: &Rc<Env>, at: At) -> Outcome<Value> {
        let mut ids = Vec::with_capacity(elements.len());
        for element in elements {
            ids.push(self.delay(element, env)?);
        }
        self.array(ids, at)
    }

    /// Runs `body` in the environment of each round of a comprehension.
    pub(super) fn for_each(
        &mut self,
        clauses: &[Clause],
        env: &Rc<Env>,
        at: At,
        body: &mut dyn FnMut(&mut Self, &Rc<Env>) -> Outcome<()>,
    ) -> Outcome<()> {
        self.work(1, at)?;
        match clauses.split_first() {
            None => body(self, env),
            Some((Clause::If(condition), rest)) => {
                let condition_at = condition.at;
                let condition = self.evaluate(condition, env)?;
                if to_bool(&condition, condition_at)? { self.for_each(rest, env, at, body) } else { Ok(()) }
            }
            Some((Clause::For(name, list), rest)) => {
                let list_at = list.at;
                let list = self.evaluate(list, env)?;
                let Value::Array(elements) = list else {
                    let found = list.type_name();
                    return Err(Failure::at(
                        list_at,
                        format!("an array is needed after \"in\", not a value of type {found}"),
                    ));
                };
                for element in elements.iter() {
                    let variables = vec![(Rc::clone(name), *element)];
                    let env = self.env(Env { parent: Some(Rc::clone(env)), variables, this: None }, at)?;
                    self.in_level(at, |machine| machine.for_each(rest, &env, at, body))?;
                }
                Ok(())
            }
        }
    }

    fn step_into_call(
        &mut self,
        called: &CallExpr,
        env: &Rc<Env>,
        at: At,
        tail: &mut Tail,
        call: &mut Option<At>,
    ) -> Outcome<Step> {
        let function = self.evaluate(&called.function, env)?;
        let Value::Function(function) = function else {
            let found = function.type_name();
            return Err(Failure::at(at, format!("only functions can be called, not a value of type {found}")));
        };
        let mut arguments = Vec::with_capacity(called.positional.len());
        for argument in &called.positional {
            arguments.push(self.delay(argument, env)?);
        }
        let mut named = Vec::with_capacity(called.named.len());
        for (name, argument) in &called.named {
            named.push((Rc::clone(name), self.delay(argument, env)?));
        }
        match &*function {
            Function::Closure(closure, defined_in) => {
                let env = self.bind(closure, defined_in, &arguments, &named, at)?;
                if called.is_strict {
                    for (_, id) in &env.variables {
                        self.force(*id, at)?;
                    }
                }
                self.enter_call(at, tail, called.is_strict)?;
                *call = Some(at);
                Ok(Step::Next(Rc::clone(&closure.body), env))
            }
            Function::Native(native) => {
                for parameter in native.parameters.iter().skip(arguments.len()) {
                    let found = named.iter().position(|(name, _)| &**name == *parameter);
                    let (_, id) = found.map(|index| named.swap_remove(index)).ok_or_else(|| {
                        Failure::at(at, format!("std.{} needs the argument {parameter}", native.name))
                    })?;
                    arguments.push(id);
                }
                if let Some((name, _)) = named.first() {
                    return Err(Failure::at(
                        at,
                        format!("std.{} has no parameter {name}, or it is given twice", native.name),
                    ));
                }
                Ok(Step::Done(self.call(&function, &arguments, at)?))
            }
        }
    }

    /// Makes the environment in which the body of a function is evaluated.
    pub(super) fn bind(
        &mut self,
        function: &FunctionExpr,
        defined_in: &Rc<Env>,
        positional: &[ThunkId],
        named: &[(Name, ThunkId)],
        at: At,
    ) -> Outcome<Rc<Env>> {
        let parameters = &function.parameters;
        if positional.len() > parameters.len() {
            let (takes, given) = (parameters.len(), positional.len());
            return Err(Failure::at(at, format!("the function takes {takes} arguments, not {given}")));
        }
        for (index, (name, _)) in named.iter().enumerate() {
            let Some(position) = parameters.iter().position(|(parameter, _)| parameter == name) else {
                return Err(Failure::at(at, format!("the function has no parameter {name}")));
            };
            let is_repeated = named.iter().take(index).any(|(known, _)| known == name);
            if position < positional.len() || is_repeated {
                return Err(Failure::at(at, format!("the argument {name} is given twice")));
            }
        }
        self.work(parameters.len().saturating_mul(1 + named.len()) / 16, at)?;
        let mut variables = Vec::with_capacity(parameters.len());
        let mut defaults = Vec::new();
        for (index, (parameter, default)) in parameters.iter().enumerate() {
            let given = named.iter().find(|(name, _)| name == parameter).map(|(_, id)| id);
            let id = match (positional.get(index).or(given), default) {
                (Some(id), _) => *id,
                (None, Some(default)) => {
                    let id = self.thunk(Thunk::Running, default.at)?;
                    defaults.push((id, default));
                    id
                }
                (None, None) => return Err(Failure::at(at, format!("the argument {parameter} is required"))),
            };
            variables.push((Rc::clone(parameter), id));
        }
        let env = self.env(Env { parent: Some(Rc::clone(defined_in)), variables, this: None }, at)?;
        for (id, default) in defaults {
            self.fill(id, Thunk::Expr(Rc::clone(default), Rc::clone(&env)));
        }
        Ok(env)
    }

    fn evaluate_binary(&mut self, expr: &Rc<Expr>, env: &Rc<Env>, tail: Tail) -> Outcome<Value> {
        // Thousands of operators may stand one behind the other, and then each is the left operand of the next.
        let mut pending = Vec::new();
        let mut first = expr;
        while let ExprKind::Binary { operator, left, right } = &first.kind {
            pending.push((*operator, right, first.at));
            first = left;
        }
        let mut value = self.evaluate(first, env)?;
        while let Some((operator, right, at)) = pending.pop() {
            let tail = if pending.is_empty() { tail } else { Tail::No };
            let skips = match operator {
                BinaryOperator::And => !to_bool(&value, at)?,
                BinaryOperator::Or => to_bool(&value, at)?,
                _ => false,
            };
            if skips {
                continue;
            }
            let right = self.evaluate_as(right, env, tail)?;
            value = self.operate(operator, &value, &right, at)?;
        }
        Ok(value)
    }

    fn evaluate_slice(
        &mut self,
        target: &Rc<Expr>,
        bounds: &[Option<Rc<Expr>>; 3],
        env: &Rc<Env>,
        at: At,
    ) -> Outcome<Value> {
        let target = self.evaluate(target, env)?;
        let mut values = [Value::Null, Value::Null, Value::Null];
        for (bound, value) in bounds.iter().zip(&mut values) {
            if let Some(bound) = bound {
                *value = self.evaluate(bound, env)?;
            }
        }
        self.slice(&target, &values, at)
    }

    /// Evaluates the name of a field.
    fn evaluate_name(&mut self, expr: &Rc<Expr>, env: &Rc<Env>) -> Outcome<Name> {
        match self.evaluate(expr, env)? {
            Value::Text(name) => Ok(name),
            other => Err(Failure::at(
                expr.at,
                format!("the name of a field must be a string, not of type {}", other.type_name()),
            )),
        }
    }

    fn evaluate_super(&mut self, index: &Rc<Expr>, env: &Rc<Env>, at: At) -> Outcome<Value> {
        let name = self.evaluate_name(index, env)?;
        let this = env.this().ok_or_else(|| Failure::at(at, "super must stand in an object"))?;
        match this.object.find(&name, this.layer) {
            Some(layer) => {
                let object = Rc::clone(&this.object);
                self.field_of_layer(&object, layer, &name, at)
            }
            None if this.layer == 0 => Err(Failure::at(at, "there is no object for super")),
            None => Err(Failure::at(at, format!("the object for super has no field {name}"))),
        }
    }

    /// Ends the evaluation unless an assertion holds.
    pub(super) fn check_assertion(&mut self, assertion: &Assertion, env: &Rc<Env>) -> Outcome<()> {
        let at = assertion.condition.at;
        let condition = self.evaluate(&assertion.condition, env)?;
        if to_bool(&condition, at)? {
            return Ok(());
        }
        let message = match &assertion.message {
            Some(message) => {
                let message = self.evaluate(message, env)?;
                self.text_of(&message, at)?
            }
            None => "an assertion does not hold".into(),
        };
        Err(Failure::at(at, &*message))
    }
}

fn lookup(env: &Env, name: &str, at: At) -> Outcome<ThunkId> {
    env.lookup(name).ok_or_else(|| Failure::at(at, format!("the variable {name} is not known")))
}

/// Returns a value that must be a boolean.
pub(super) fn to_bool(value: &Value, at: At) -> Outcome<bool> {
    match value {
        Value::Bool(value) => Ok(*value),
        other => Err(Failure::at(at, format!("a boolean is needed, not a value of type {}", other.type_name()))),
    }
}

//! Evaluates expressions, within limits of depth, work and memory.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::environment::Environment;
use super::failure::{Failure, Outcome};
use super::imports::Imports;
use super::source::{At, Sources};
use super::syntax::{Bind, Expr, Name};
use super::value::{Env, Function, Layer, Object, Thunk, ThunkId, Value};

/// The most expressions that may be evaluated inside each other. Each takes some of the stack.
const MAX_LEVELS: usize = 6000;

/// How much memory is counted for an environment or an object, besides its variables, layers and fields.
const OVERHEAD: usize = 128;

/// A thunk, and where it was written.
#[derive(Debug)]
struct Slot {
    thunk: Thunk,
    at: At,
}

/// Whether an expression gives a function its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    No,
    /// It does, and the frame of the function stays.
    Fixed,
    /// It does, and a call in its place takes over the frame, as the function was called with `tailstrict`.
    Replaceable,
}

/// The state of an evaluation.
///
/// Nothing is given back before the end: memory is counted as it is taken.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    pub(super) environment: &'a Environment,
    pub(super) sources: Sources,
    pub(super) imports: Imports,
    pub(super) layer_envs: Vec<Option<Rc<Env>>>,
    pub(super) root: Rc<Env>,
    slots: Vec<Slot>,
    frames: usize,
    levels: usize,
    steps: u64,
    bytes: u64,
}

impl<'a> Machine<'a> {
    pub(super) fn new(environment: &'a Environment) -> Self {
        Self {
            environment,
            sources: Sources::default(),
            imports: Imports::default(),
            layer_envs: Vec::new(),
            root: Rc::default(),
            slots: Vec::new(),
            frames: 0,
            levels: 0,
            steps: 0,
            bytes: 0,
        }
    }

    /// Counts work: one step for an expression, or for an element or a character that the library looks at.
    pub(super) fn work(&mut self, steps: usize, at: At) -> Outcome<()> {
        self.steps = self.steps.saturating_add(u64::try_from(steps).unwrap_or(u64::MAX));
        let limit = self.environment.limits().steps();
        if self.steps > limit {
            return Err(Failure::at(at, format!("the evaluation takes more than {limit} steps")));
        }
        Ok(())
    }

    /// Counts memory that is about to be taken.
    pub(super) fn charge(&mut self, bytes: usize, at: At) -> Outcome<()> {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let limit = self.environment.limits().memory();
        if self.bytes > limit {
            return Err(Failure::at(at, format!("the evaluation takes more than {limit} bytes of memory")));
        }
        Ok(())
    }

    /// Counts memory for `count` values of `size` bytes, and the work of making them.
    pub(super) fn charge_many(&mut self, count: usize, size: usize, at: At) -> Outcome<()> {
        self.charge(count.saturating_mul(size), at)?;
        self.work(count, at)
    }

    /// Runs `body` in a frame of its own.
    pub(super) fn in_frame<T>(&mut self, at: At, body: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        self.push_frame(at)?;
        let outcome = body(self);
        self.frames -= 1;
        outcome
    }

    fn push_frame(&mut self, at: At) -> Outcome<()> {
        let limit = self.environment.limits().frames();
        if self.frames >= limit {
            return Err(Failure::at(
                at,
                format!("more than {limit} frames: values or calls lie too deep in each other"),
            ));
        }
        self.frames += 1;
        Ok(())
    }

    /// Makes a thunk that was written at `at`.
    pub(super) fn thunk(&mut self, thunk: Thunk, at: At) -> Outcome<ThunkId> {
        self.charge(size_of::<Slot>(), at)?;
        let id = u32::try_from(self.slots.len()).map_err(|_| Failure::at(at, "there are too many values"))?;
        self.slots.push(Slot { thunk, at });
        Ok(ThunkId(id))
    }

    /// Makes a thunk of a value.
    pub(super) fn done(&mut self, value: Value, at: At) -> Outcome<ThunkId> {
        self.thunk(Thunk::Done(value), at)
    }

    fn slot(&mut self, id: ThunkId) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(id.0).ok()?)
    }

    pub(super) fn fill(&mut self, id: ThunkId, thunk: Thunk) {
        if let Some(slot) = self.slot(id) {
            slot.thunk = thunk;
        }
    }

    /// Returns where a thunk was written.
    pub(super) fn place(&self, id: ThunkId) -> Option<At> {
        self.slots.get(usize::try_from(id.0).ok()?).map(|slot| slot.at)
    }

    /// Returns the value of a thunk.
    pub(super) fn force(&mut self, id: ThunkId, at: At) -> Outcome<Value> {
        let Some(slot) = self.slot(id) else { return Err(Failure::at(at, "a value is missing")) };
        if let Thunk::Done(value) = &slot.thunk {
            return Ok(value.clone());
        }
        let value = match std::mem::replace(&mut slot.thunk, Thunk::Running) {
            Thunk::Done(value) => value,
            Thunk::Running => return Err(Failure::at(at, "the value depends on itself")),
            Thunk::Expr(expr, env) => {
                self.in_frame(expr.at, |machine| machine.evaluate_as(&expr, &env, Tail::Fixed))?
            }
            Thunk::Call(function, arguments) => self.call(&function, &arguments, at)?,
            Thunk::Field(object, layer, name) => self.evaluate_field(&object, layer, &name, at)?,
        };
        self.fill(id, Thunk::Done(value.clone()));
        Ok(value)
    }

    /// Evaluates an expression in the frame that is on top.
    pub(super) fn evaluate(&mut self, expr: &Rc<Expr>, env: &Rc<Env>) -> Outcome<Value> {
        self.evaluate_as(expr, env, Tail::No)
    }

    pub(super) fn evaluate_as(&mut self, expr: &Rc<Expr>, env: &Rc<Env>, tail: Tail) -> Outcome<Value> {
        let frames = self.frames;
        let mut call = None;
        let outcome = self.in_level(expr.at, |machine| machine.run(expr, env, tail, &mut call));
        self.frames = frames;
        outcome.map_err(|mut failure| {
            if let Some(at) = call {
                failure.called_at(at);
            }
            failure
        })
    }

    /// Runs `body` one level deeper in the stack of the thread.
    pub(super) fn in_level<T>(&mut self, at: At, body: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        if self.levels >= MAX_LEVELS {
            return Err(Failure::at(at, format!("more than {MAX_LEVELS} expressions are evaluated in each other")));
        }
        self.levels += 1;
        let outcome = body(self);
        self.levels -= 1;
        outcome
    }

    /// Evaluates an expression, and those that take its place, one after the other.
    fn run(&mut self, expr: &Rc<Expr>, env: &Rc<Env>, mut tail: Tail, call: &mut Option<At>) -> Outcome<Value> {
        let mut next = (Rc::clone(expr), Rc::clone(env));
        loop {
            self.work(1, next.0.at)?;
            match self.step(&next.0, &next.1, &mut tail, call)? {
                Step::Done(value) => return Ok(value),
                Step::Next(expr, env) => next = (expr, env),
            }
        }
    }

    /// Notes that a call takes the place of the expression that is run.
    pub(super) fn enter_call(&mut self, at: At, tail: &mut Tail, is_strict: bool) -> Outcome<()> {
        if *tail == Tail::Replaceable {
            self.frames = self.frames.saturating_sub(1);
        }
        *tail = if is_strict { Tail::Replaceable } else { Tail::Fixed };
        self.push_frame(at)
    }

    /// Calls a function with arguments by position.
    pub(super) fn call(&mut self, function: &Rc<Function>, arguments: &[ThunkId], at: At) -> Outcome<Value> {
        match &**function {
            Function::Native(native) if native.parameters.len() == arguments.len() => {
                self.in_level(at, |machine| (native.body)(machine, arguments, at))
            }
            Function::Native(native) => Err(Failure::at(
                at,
                format!("std.{} takes {} arguments, not {}", native.name, native.parameters.len(), arguments.len()),
            )),
            Function::Closure(closure, env) => {
                let env = self.bind(closure, env, arguments, &[], at)?;
                let outcome = self.in_frame(at, |machine| machine.evaluate_as(&closure.body, &env, Tail::Fixed));
                outcome.map_err(|mut failure| {
                    failure.called_at(at);
                    failure
                })
            }
        }
    }

    /// Makes an environment.
    pub(super) fn env(&mut self, env: Env, at: At) -> Outcome<Rc<Env>> {
        self.charge(OVERHEAD + env.variables.len() * size_of::<(Name, ThunkId)>(), at)?;
        Ok(Rc::new(env))
    }

    /// Makes an environment in which each of `binds` may use all of them.
    pub(super) fn env_of_binds(&mut self, binds: &[Bind], mut env: Env, at: At) -> Outcome<Rc<Env>> {
        for bind in binds {
            let id = self.thunk(Thunk::Running, bind.value.at)?;
            env.variables.push((Rc::clone(&bind.name), id));
        }
        let env = self.env(env, at)?;
        for (bind, (_, id)) in binds.iter().zip(&env.variables) {
            self.fill(*id, Thunk::Expr(Rc::clone(&bind.value), Rc::clone(&env)));
        }
        Ok(env)
    }

    /// Makes an object of layers.
    pub(super) fn object(&mut self, layers: Vec<Rc<Layer>>, at: At) -> Outcome<Value> {
        let count = layers.len();
        self.charge(OVERHEAD + count.saturating_mul(2 * size_of::<usize>()), at)?;
        self.work(count / 8, at)?;
        let first_env = self.layer_envs.len();
        self.layer_envs.extend(std::iter::repeat_n(None, count));
        let (thunks, is_asserted) = (RefCell::new(HashMap::new()), Cell::new(false));
        Ok(Value::Object(Rc::new(Object { layers, first_env, thunks, is_asserted })))
    }

    /// Makes a text.
    pub(super) fn text(&mut self, text: &str, at: At) -> Outcome<Value> {
        self.charge(text.len() + 2 * size_of::<usize>(), at)?;
        self.work(text.len() / 16, at)?;
        Ok(Value::text(text))
    }

    /// Makes an array.
    pub(super) fn array(&mut self, elements: Vec<ThunkId>, at: At) -> Outcome<Value> {
        self.charge(elements.len() * size_of::<ThunkId>() + 2 * size_of::<usize>(), at)?;
        self.work(elements.len() / 8, at)?;
        Ok(Value::Array(elements.into()))
    }

    /// Makes an array of values.
    pub(super) fn array_of(&mut self, values: impl IntoIterator<Item = Value>, at: At) -> Outcome<Value> {
        let mut elements = Vec::new();
        for value in values {
            elements.push(self.done(value, at)?);
        }
        self.array(elements, at)
    }
}

/// The result of a step.
#[derive(Debug)]
pub(super) enum Step {
    Done(Value),
    /// The expression whose value is that of the one before.
    Next(Rc<Expr>, Rc<Env>),
}

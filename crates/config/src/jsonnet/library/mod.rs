//! The library `std`.

mod arrays;
mod encodings;
mod format;
mod manifest;
mod numbers;
mod objects;
mod parse;
mod texts;
mod toml;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use super::failure::{Failure, Outcome};
use super::lexer::lex;
use super::machine::Machine;
use super::number;
use super::parser::parse;
use super::scope::check_scopes;
use super::source::At;
use super::syntax::Visibility;
use super::value::{Env, Field, FieldBody, Function, Native, Object, Thunk, ThunkId, Value};

/// The functions of the library that are made of others.
const STD: &str = include_str!("std.jsonnet");

impl Machine<'_> {
    /// Loads the library, makes it the variable `std`, and returns it.
    pub(super) fn load_library(&mut self) -> Outcome<ThunkId> {
        let text = STD.into();
        let file = self.sources.add("std", &text, PathBuf::new(), true);
        let at = At::new(file, 0);
        let native = self.load_natives(at)?;
        let library = self.thunk(Thunk::Running, at)?;
        let expr = parse(lex(file, &text)?)?;
        check_scopes(&expr, &["std", "native"])?;
        let variables = vec![("std".into(), library), ("native".into(), native)];
        let env = self.env(Env { parent: None, variables, this: None }, at)?;
        self.fill(library, Thunk::Expr(expr, env));
        Ok(library)
    }

    fn load_natives(&mut self, at: At) -> Outcome<ThunkId> {
        let tables = [
            arrays::NATIVES,
            encodings::NATIVES,
            manifest::NATIVES,
            numbers::NATIVES,
            objects::NATIVES,
            parse::NATIVES,
            texts::NATIVES,
        ];
        let mut fields = BTreeMap::new();
        for native in tables.into_iter().flatten() {
            let id = self.done(Value::Function(Rc::new(Function::Native(native))), at)?;
            fields.insert(native.name.into(), hidden(FieldBody::Thunk(id), at));
        }
        let layer = self.layer_of(fields, at);
        let object = self.object(vec![layer], at)?;
        self.done(object, at)
    }

    /// Makes the variable `std` of a file, which knows the file's name.
    pub(super) fn library_of(&mut self, file_name: &str, at: At) -> Outcome<Rc<Env>> {
        let Some(id) = self.root.lookup("std") else { return Ok(Rc::clone(&self.root)) };
        let Value::Object(library) = self.force(id, at)? else { return Ok(Rc::clone(&self.root)) };
        let name = self.text(file_name, at)?;
        let name = self.done(name, at)?;
        let fields = BTreeMap::from([("thisFile".into(), hidden(FieldBody::Thunk(name), at))]);
        let mut layers = library.layers.clone();
        layers.push(self.layer_of(fields, at));
        let object = self.object(layers, at)?;
        let id = self.done(object, at)?;
        self.env(Env { parent: None, variables: vec![("std".into(), id)], this: None }, at)
    }

    pub(super) fn force_text(&mut self, id: ThunkId, at: At) -> Outcome<Rc<str>> {
        match self.force(id, at)? {
            Value::Text(text) => {
                self.work(text.len() / 16, at)?;
                Ok(text)
            }
            other => Err(mismatch("a string", &other, at)),
        }
    }

    pub(super) fn force_number(&mut self, id: ThunkId, at: At) -> Outcome<f64> {
        match self.force(id, at)? {
            Value::Number(number) => Ok(number),
            other => Err(mismatch("a number", &other, at)),
        }
    }

    pub(super) fn force_bool(&mut self, id: ThunkId, at: At) -> Outcome<bool> {
        match self.force(id, at)? {
            Value::Bool(value) => Ok(value),
            other => Err(mismatch("a boolean", &other, at)),
        }
    }

    pub(super) fn force_object(&mut self, id: ThunkId, at: At) -> Outcome<Rc<Object>> {
        match self.force(id, at)? {
            Value::Object(object) => Ok(object),
            other => Err(mismatch("an object", &other, at)),
        }
    }

    pub(super) fn force_function(&mut self, id: ThunkId, at: At) -> Outcome<Rc<Function>> {
        match self.force(id, at)? {
            Value::Function(function) => Ok(function),
            other => Err(mismatch("a function", &other, at)),
        }
    }

    pub(super) fn force_array(&mut self, id: ThunkId, at: At) -> Outcome<Rc<[ThunkId]>> {
        match self.force(id, at)? {
            Value::Array(elements) => {
                self.work(elements.len() / 8, at)?;
                Ok(elements)
            }
            other => Err(mismatch("an array", &other, at)),
        }
    }

    /// Returns the elements of an array, or the characters of a string.
    pub(super) fn force_elements(&mut self, id: ThunkId, at: At) -> Outcome<Rc<[ThunkId]>> {
        match self.force(id, at)? {
            Value::Text(text) => {
                let mut elements = Vec::new();
                for character in text.chars() {
                    let character = self.text(character.encode_utf8(&mut [0; 4]), at)?;
                    elements.push(self.done(character, at)?);
                }
                Ok(elements.into())
            }
            Value::Array(elements) => {
                self.work(elements.len() / 8, at)?;
                Ok(elements)
            }
            other => Err(mismatch("an array or a string", &other, at)),
        }
    }

    /// Returns a number that must be whole and not negative.
    pub(super) fn force_length(&mut self, id: ThunkId, at: At) -> Outcome<usize> {
        let number = self.force_number(id, at)?;
        number::to_length(number).ok_or_else(|| Failure::at(at, format!("{number} is not a whole number from 0")))
    }

    /// Calls a function that is given as an argument.
    pub(super) fn apply(&mut self, function: &Rc<Function>, arguments: &[ThunkId], at: At) -> Outcome<Value> {
        self.work(1, at)?;
        self.in_level(at, |machine| machine.call(function, arguments, at))
    }
}

fn hidden(body: FieldBody, at: At) -> Field {
    Field { body, adds: false, visibility: Visibility::Hidden, at, env: None }
}

/// Returns the arguments of a native function.
fn arguments<const N: usize>(given: &[ThunkId], at: At) -> Outcome<[ThunkId; N]> {
    given.try_into().map_err(|_| Failure::at(at, format!("{N} arguments are needed, not {}", given.len())))
}

fn mismatch(wanted: &str, found: &Value, at: At) -> Box<Failure> {
    Failure::at(at, format!("{wanted} is needed, not a value of type {}", found.type_name()))
}

/// Makes the entry of a native function.
const fn native(
    name: &'static str,
    parameters: &'static [&'static str],
    body: fn(&mut Machine<'_>, &[ThunkId], At) -> Outcome<Value>,
) -> Native {
    Native { name, parameters, body }
}

//! Values of Jsonnet, and what they are made from.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::failure::Outcome;
use super::machine::Machine;
use super::source::At;
use super::syntax::{Assertion, Bind, Expr, FunctionExpr, Name, Visibility};

/// A value.
///
/// Elements, fields and variables are numbers of thunks in the machine. So no value owns another, and what is nested
/// deeply, or in a circle, is dropped without recursion and without a leak.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(Rc<str>),
    Array(Rc<[ThunkId]>),
    Object(Rc<Object>),
    Function(Rc<Function>),
}

impl Value {
    /// Returns the name of the value's type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
            Self::Function(_) => "function",
        }
    }

    pub(super) fn text(text: impl Into<Rc<str>>) -> Self {
        Self::Text(text.into())
    }
}

/// The number of a thunk: a value that may not have been asked for yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ThunkId(pub(super) u32);

/// A value that may not have been asked for yet.
#[derive(Debug)]
pub(super) enum Thunk {
    /// It is being evaluated, or its parts are still being made.
    Running,
    Done(Value),
    Expr(Rc<Expr>, Rc<Env>),
    Call(Rc<Function>, Rc<[ThunkId]>),
    /// The field of an object, as the layer with this number has it.
    Field(Rc<Object>, usize, Name),
}

/// The variables that an expression may use.
#[derive(Debug, Default)]
pub(super) struct Env {
    pub(super) parent: Option<Rc<Self>>,
    pub(super) variables: Vec<(Name, ThunkId)>,
    pub(super) this: Option<This>,
}

/// The object that `self` stands for, and the number of the layer that `super` is below.
#[derive(Debug)]
pub(super) struct This {
    pub(super) object: Rc<Object>,
    pub(super) layer: usize,
}

impl Env {
    pub(super) fn lookup(&self, name: &str) -> Option<ThunkId> {
        let mut env = self;
        loop {
            if let Some((_, id)) = env.variables.iter().rev().find(|(known, _)| &**known == name) {
                return Some(*id);
            }
            env = env.parent.as_deref()?;
        }
    }

    pub(super) fn this(&self) -> Option<&This> {
        let mut env = self;
        loop {
            if let Some(this) = &env.this {
                return Some(this);
            }
            env = env.parent.as_deref()?;
        }
    }
}

/// A function.
#[derive(Debug)]
pub(super) enum Function {
    Closure(Rc<FunctionExpr>, Rc<Env>),
    Native(&'static Native),
}

/// A function of the library. All of its parameters are required.
pub(super) struct Native {
    pub(super) name: &'static str,
    pub(super) parameters: &'static [&'static str],
    pub(super) body: fn(&mut Machine<'_>, &[ThunkId], At) -> Outcome<Value>,
}

impl std::fmt::Debug for Native {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Native").field("name", &self.name).finish_non_exhaustive()
    }
}

/// An object: layers of fields, from the one below to the one on top.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) layers: Vec<Rc<Layer>>,
    /// The number of the environment of the first layer in the machine.
    pub(super) first_env: usize,
    /// The thunks of the fields that have been asked for.
    pub(super) thunks: RefCell<HashMap<(Name, usize), ThunkId>>,
    pub(super) is_asserted: Cell<bool>,
}

/// The fields of one object expression.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) fields: BTreeMap<Name, Field>,
    pub(super) locals: Rc<[Bind]>,
    pub(super) assertions: Vec<Rc<Assertion>>,
    pub(super) env: Rc<Env>,
    pub(super) at: At,
}

/// A field of a layer.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) body: FieldBody,
    pub(super) adds: bool,
    pub(super) visibility: Visibility,
    /// The place of the field's name.
    pub(super) at: At,
    /// The variables of a comprehension.
    pub(super) env: Option<Rc<Env>>,
}

#[derive(Debug)]
pub(super) enum FieldBody {
    Expr(Rc<Expr>),
    Thunk(ThunkId),
    /// The field is there no more, even if a layer below has it.
    Removed,
}

impl Object {
    /// Returns the topmost of the lowest `below` layers that has a field.
    pub(super) fn find(&self, name: &str, below: usize) -> Option<usize> {
        let layers = self.layers.get(..below)?;
        let index = layers.iter().rposition(|layer| layer.fields.contains_key(name))?;
        let field = layers.get(index)?.fields.get(name)?;
        if matches!(field.body, FieldBody::Removed) { None } else { Some(index) }
    }

    /// Returns the field that gives a name its value.
    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        self.layers.get(self.find(name, self.layers.len())?)?.fields.get(name)
    }

    /// Returns whether a field is rendered, or `None` if there is no such field.
    pub(super) fn is_shown(&self, name: &str) -> Option<bool> {
        self.find(name, self.layers.len())?;
        let fields = self.layers.iter().rev().filter_map(|layer| layer.fields.get(name));
        let mut known = fields.take_while(|field| !matches!(field.body, FieldBody::Removed));
        let decided = known.find(|field| field.visibility != Visibility::Inherited);
        Some(decided.is_none_or(|field| field.visibility != Visibility::Hidden))
    }

    /// Returns how many layers and fields there are, also those below others.
    pub(super) fn size(&self) -> usize {
        self.layers.iter().map(|layer| 1 + layer.fields.len()).sum()
    }

    /// Returns all fields in the order of their names, and whether they are rendered.
    pub(super) fn names(&self) -> BTreeMap<Name, bool> {
        let mut names = BTreeMap::<Name, Visibility>::new();
        for layer in &self.layers {
            for (name, field) in &layer.fields {
                match field.body {
                    FieldBody::Removed => drop(names.remove(name)),
                    FieldBody::Expr(_) | FieldBody::Thunk(_) => {
                        let known = names.entry(Rc::clone(name)).or_insert(Visibility::Inherited);
                        if field.visibility != Visibility::Inherited {
                            *known = field.visibility;
                        }
                    }
                }
            }
        }
        names.into_iter().map(|(name, visibility)| (name, visibility != Visibility::Hidden)).collect()
    }

    /// Returns the names of the fields, in their order. Hidden ones are left out unless they are asked for.
    pub(super) fn shown_names(&self, with_hidden: bool) -> Vec<Name> {
        self.names().into_iter().filter(|(_, is_shown)| *is_shown || with_hidden).map(|(name, _)| name).collect()
    }

    /// Returns the place of the topmost object expression.
    pub(super) fn at(&self) -> Option<At> {
        self.layers.last().map(|layer| layer.at)
    }
}

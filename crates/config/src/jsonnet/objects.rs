//! Objects: how they are made, and the values of their fields.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::failure::{Failure, Outcome};
use super::machine::{Machine, Tail};
use super::number;
use super::source::At;
use super::syntax::{BinaryOperator, Bind, ExprKind, FieldExpr, Name, ObjectExpr, Visibility};
use super::value::{Env, Field, FieldBody, Layer, Object, This, Thunk, ThunkId, Value};

/// How much memory is counted for a field.
const FIELD_BYTES: usize = size_of::<(Name, Field)>() * 2;

impl Machine<'_> {
    /// Makes the object of an object expression. The names of its fields are evaluated, their values are not.
    pub(super) fn evaluate_object(&mut self, object: &Rc<ObjectExpr>, env: &Rc<Env>, at: At) -> Outcome<Value> {
        let mut fields = BTreeMap::new();
        match &object.clauses {
            None => {
                for field in &object.fields {
                    self.add_field(&mut fields, field, env, None)?;
                }
            }
            Some(clauses) => self.for_each(clauses, env, at, &mut |machine, env| {
                let fields = &mut fields;
                object.fields.iter().try_for_each(|field| machine.add_field(fields, field, env, Some(Rc::clone(env))))
            })?,
        }
        let (locals, assertions) = (Rc::clone(&object.locals), object.assertions.clone());
        self.object(vec![Rc::new(Layer { fields, locals, assertions, env: Rc::clone(env), at })], at)
    }

    fn add_field(
        &mut self,
        fields: &mut BTreeMap<Name, Field>,
        field: &FieldExpr,
        env: &Rc<Env>,
        own_env: Option<Rc<Env>>,
    ) -> Outcome<()> {
        let at = field.name.at;
        let name = match &field.name.kind {
            ExprKind::Text(name) => Rc::clone(name),
            _ => match self.evaluate(&field.name, env)? {
                Value::Text(name) => name,
                Value::Null => return Ok(()),
                other => {
                    let found = other.type_name();
                    return Err(Failure::at(at, format!("the name of a field must be a string, not of type {found}")));
                }
            },
        };
        self.charge(FIELD_BYTES, at)?;
        if fields.contains_key(&name) {
            return Err(Failure::at(at, format!("the field {name} is given twice")));
        }
        let body = FieldBody::Expr(Rc::clone(&field.body));
        fields.insert(name, Field { body, adds: field.adds, visibility: field.visibility, at, env: own_env });
        Ok(())
    }

    /// Makes an object of fields whose values are known or delayed.
    pub(super) fn object_of(
        &mut self,
        entries: impl IntoIterator<Item = (Name, ThunkId, Visibility)>,
        at: At,
    ) -> Outcome<Value> {
        let mut fields = BTreeMap::new();
        for (name, id, visibility) in entries {
            self.charge(FIELD_BYTES, at)?;
            let at = self.place(id).unwrap_or(at);
            fields.insert(name, Field { body: FieldBody::Thunk(id), adds: false, visibility, at, env: None });
        }
        let layer = self.layer_of(fields, at);
        self.object(vec![layer], at)
    }

    /// Makes a layer of fields that use no variables.
    pub(super) fn layer_of(&self, fields: BTreeMap<Name, Field>, at: At) -> Rc<Layer> {
        Rc::new(Layer { fields, locals: Rc::new([]), assertions: Vec::new(), env: Rc::clone(&self.root), at })
    }

    /// Returns the environment in which a layer of an object evaluates its fields.
    fn layer_env(&mut self, object: &Rc<Object>, layer: usize, own: Option<&Rc<Env>>, at: At) -> Outcome<Rc<Env>> {
        let number = object.first_env + layer;
        if own.is_none()
            && let Some(Some(env)) = self.layer_envs.get(number)
        {
            return Ok(Rc::clone(env));
        }
        let Some(found) = object.layers.get(layer) else { return Err(Failure::at(at, "a layer is missing")) };
        let parent = Some(Rc::clone(own.unwrap_or(&found.env)));
        let this = Some(This { object: Rc::clone(object), layer });
        let binds: &[Bind] = &found.locals;
        let env = self.env_of_binds(binds, Env { parent, variables: Vec::new(), this }, at)?;
        if own.is_none()
            && let Some(slot) = self.layer_envs.get_mut(number)
        {
            *slot = Some(Rc::clone(&env));
        }
        Ok(env)
    }

    /// Evaluates a field as a layer has it.
    pub(super) fn evaluate_field(&mut self, object: &Rc<Object>, layer: usize, name: &Name, at: At) -> Outcome<Value> {
        let field = object.layers.get(layer).and_then(|layer| layer.fields.get(name));
        let Some(field) = field else { return Err(Failure::at(at, format!("there is no field {name}"))) };
        if !field.adds {
            return self.evaluate_body(object, layer, field, at);
        }
        self.in_frame(at, |machine| {
            let right = machine.evaluate_body(object, layer, field, at)?;
            let Some(lower) = object.find(name, layer) else { return Ok(right) };
            let left = machine.field_of_layer(object, lower, name, at)?;
            machine.operate(BinaryOperator::Add, &left, &right, field.at)
        })
    }

    fn evaluate_body(&mut self, object: &Rc<Object>, layer: usize, field: &Field, at: At) -> Outcome<Value> {
        match &field.body {
            FieldBody::Thunk(id) => self.force(*id, at),
            FieldBody::Removed => Err(Failure::at(at, "the field was removed")),
            FieldBody::Expr(body) => {
                let env = self.layer_env(object, layer, field.env.as_ref(), at)?;
                self.in_frame(body.at, |machine| machine.evaluate_as(body, &env, Tail::Fixed))
            }
        }
    }

    /// Returns the thunk of a field as a layer has it.
    pub(super) fn thunk_of_field(
        &mut self,
        object: &Rc<Object>,
        layer: usize,
        name: &Name,
        at: At,
    ) -> Outcome<ThunkId> {
        let key = (Rc::clone(name), layer);
        if let Some(id) = object.thunks.borrow().get(&key) {
            return Ok(*id);
        }
        self.charge(4 * size_of::<(Name, usize, ThunkId)>(), at)?;
        let place = match object.layers.get(layer).and_then(|layer| layer.fields.get(name)) {
            Some(Field { body: FieldBody::Expr(body), .. }) => body.at,
            Some(Field { body: FieldBody::Thunk(id), .. }) => self.place(*id).unwrap_or(at),
            Some(Field { body: FieldBody::Removed, .. }) | None => at,
        };
        let id = self.thunk(Thunk::Field(Rc::clone(object), layer, Rc::clone(name)), place)?;
        object.thunks.borrow_mut().insert(key, id);
        Ok(id)
    }

    pub(super) fn field_of_layer(&mut self, object: &Rc<Object>, layer: usize, name: &Name, at: At) -> Outcome<Value> {
        let id = self.thunk_of_field(object, layer, name, at)?;
        self.force(id, at)
    }

    /// Returns the thunk of a field, or `None` if the object has no such field.
    pub(super) fn find_field(&mut self, object: &Rc<Object>, name: &Name, at: At) -> Outcome<Option<ThunkId>> {
        self.work(object.layers.len() / 8, at)?;
        match object.find(name, object.layers.len()) {
            Some(layer) => Ok(Some(self.thunk_of_field(object, layer, name, at)?)),
            None => Ok(None),
        }
    }

    /// Returns the value of a field. The assertions of the object are checked once.
    pub(super) fn field(&mut self, object: &Rc<Object>, name: &Name, at: At) -> Outcome<Value> {
        self.check_assertions(object, at)?;
        match self.find_field(object, name, at)? {
            Some(id) => self.force(id, at),
            None => Err(Failure::at(at, format!("the object has no field {name}"))),
        }
    }

    /// Checks the assertions of an object, unless that has been done.
    pub(super) fn check_assertions(&mut self, object: &Rc<Object>, at: At) -> Outcome<()> {
        if object.is_asserted.replace(true) {
            return Ok(());
        }
        for (index, layer) in object.layers.iter().enumerate() {
            for assertion in &layer.assertions {
                let env = self.layer_env(object, index, None, at)?;
                self.in_frame(at, |machine| machine.in_level(at, |machine| machine.check_assertion(assertion, &env)))?;
            }
        }
        Ok(())
    }

    /// Puts the layers of one object on those of another.
    pub(super) fn merge(&mut self, below: &Rc<Object>, above: &Rc<Object>, at: At) -> Outcome<Value> {
        let layers = below.layers.iter().chain(&above.layers).map(Rc::clone).collect();
        self.object(layers, at)
    }

    /// Returns the element of an array, the character of a string, or the field of an object.
    pub(super) fn index(&mut self, target: &Value, index: &Value, at: At) -> Outcome<Value> {
        match (target, index) {
            (Value::Object(object), Value::Text(name)) => self.field(object, name, at),
            (Value::Array(elements), Value::Number(number)) => {
                let position = usize::try_from(number::truncate(*number)).ok();
                match position.and_then(|position| elements.get(position)) {
                    Some(id) => self.force(*id, at),
                    None => Err(out_of_bounds(*number, elements.len(), at)),
                }
            }
            (Value::Text(text), Value::Number(number)) => {
                self.work(text.len() / 16, at)?;
                let position = usize::try_from(number::truncate(*number)).ok();
                match position.and_then(|position| text.chars().nth(position)) {
                    Some(character) => self.text(character.encode_utf8(&mut [0; 4]), at),
                    None => Err(out_of_bounds(*number, text.chars().count(), at)),
                }
            }
            (Value::Object(_), other) => {
                let found = other.type_name();
                Err(Failure::at(at, format!("the name of a field must be a string, not of type {found}")))
            }
            (Value::Array(_) | Value::Text(_), other) => {
                let found = other.type_name();
                Err(Failure::at(at, format!("an index must be a number, not of type {found}")))
            }
            (other, _) => {
                let found = other.type_name();
                Err(Failure::at(
                    at,
                    format!("only objects, arrays and strings have parts, not a value of type {found}"),
                ))
            }
        }
    }
}

fn out_of_bounds(index: f64, length: usize, at: At) -> Box<Failure> {
    Failure::at(at, format!("the index {index} is outside of the {length} that there are"))
}

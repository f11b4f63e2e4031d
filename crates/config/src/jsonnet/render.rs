//! JSON from values, with the places where they were written.

use std::rc::Rc;

use super::failure::{Failure, Outcome, Step};
use super::machine::Machine;
use super::number;
use super::source::At;
use super::value::{ThunkId, Value};
use crate::json::{JsonField, JsonKind, JsonValue};

impl Machine<'_> {
    /// Renders a value that was written at `at`.
    pub(super) fn render(&mut self, value: &Value, at: At) -> Outcome<JsonValue> {
        self.in_frame(at, |machine| machine.in_level(at, |machine| machine.render_parts(value, at)))
    }

    /// Returns where a value was written, unless that is in the library.
    fn known_place(&self, id: ThunkId) -> Option<At> {
        self.place(id).filter(|at| self.sources.position(*at).is_some())
    }

    fn render_parts(&mut self, value: &Value, at: At) -> Outcome<JsonValue> {
        self.charge_many(1, size_of::<JsonField>(), at)?;
        let mut at = at;
        let kind = match value {
            Value::Null => JsonKind::Null,
            Value::Bool(value) => JsonKind::Bool(*value),
            Value::Number(number) => JsonKind::Number(number::render(*number)),
            Value::Text(text) => {
                self.charge(text.len(), at)?;
                JsonKind::Text(text.to_string())
            }
            Value::Array(elements) => {
                let mut list = Vec::with_capacity(elements.len());
                for (index, id) in elements.iter().enumerate() {
                    let element = self.force(*id, at).and_then(|element| {
                        let at = self.known_place(*id).unwrap_or(at);
                        self.render(&element, at)
                    });
                    list.push(element.map_err(|failure| failure.within(Step::Element(index)))?);
                }
                JsonKind::List(list)
            }
            Value::Object(object) => {
                // An object is where its fields are.
                at = object.at().filter(|at| self.sources.position(*at).is_some()).unwrap_or(at);
                self.check_assertions(object, at)?;
                self.work(object.size(), at)?;
                let names = object.shown_names(false);
                let mut fields = Vec::with_capacity(names.len());
                for name in names {
                    self.charge(name.len(), at)?;
                    let position = object.field(&name).and_then(|field| self.sources.position(field.at));
                    let value = self.find_field(object, &name, at).and_then(|id| match id {
                        Some(id) => {
                            let value = self.force(id, at)?;
                            let at = self.known_place(id).unwrap_or(at);
                            self.render(&value, at)
                        }
                        None => Err(Failure::at(at, "a field is missing")),
                    });
                    let value = value.map_err(|failure| failure.within(Step::Field(name.to_string())))?;
                    let position = position.or_else(|| value.position.clone());
                    fields.push(JsonField { name: Rc::as_ref(&name).to_owned(), position, value });
                }
                JsonKind::Object(fields)
            }
            Value::Function(_) => return Err(Failure::at(at, "a function cannot be rendered")),
        };
        Ok(JsonValue { kind, position: self.sources.position(at) })
    }
}

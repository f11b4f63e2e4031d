//! Values as TOML, in strings.

use std::rc::Rc;

use super::super::failure::{Failure, Outcome};
use super::super::machine::Machine;
use super::super::source::At;
use super::super::value::{Object, ThunkId, Value};
use super::manifest::write_quoted;
use super::{arguments, mismatch};

pub(super) fn write_toml(machine: &mut Machine<'_>, given: &[ThunkId], at: At) -> Outcome<Value> {
    let [value, indent] = arguments(given, at)?;
    let (object, indent) = (machine.force_object(value, at)?, machine.force_text(indent, at)?);
    let text = Toml { machine, indent, at }.write_table(&object, "", "")?;
    machine.text(&text, at)
}

struct Toml<'m, 'a> {
    machine: &'m mut Machine<'a>,
    indent: Rc<str>,
    at: At,
}

impl Toml<'_, '_> {
    /// Writes the fields of a table, and then the tables in it.
    fn write_table(&mut self, object: &Rc<Object>, path: &str, margin: &str) -> Outcome<String> {
        let (mut fields, mut sections) = (Vec::new(), vec![String::new()]);
        for name in self.machine.names_to_write(object, self.at)? {
            let value = self.machine.field(object, &name, self.at)?;
            let key = write_key(&name);
            let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let deeper = format!("{margin}{}", self.indent);
            match &value {
                Value::Object(table) => {
                    let body = self.nested(|toml| toml.write_table(table, &inner, &deeper))?;
                    let newline = if table.shown_names(false).is_empty() { "" } else { "\n" };
                    sections.push(format!("{margin}[{inner}]{newline}{body}"));
                }
                Value::Array(elements) => {
                    if let Some(tables) = self.tables_of(elements)? {
                        let mut parts = Vec::with_capacity(tables.len());
                        for table in tables {
                            let body = self.nested(|toml| toml.write_table(&table, &inner, &deeper))?;
                            let newline = if table.shown_names(false).is_empty() { "" } else { "\n" };
                            parts.push(format!("{margin}[[{inner}]]{newline}{body}"));
                        }
                        sections.push(parts.join("\n\n"));
                    } else {
                        let value = self.write_value(&value, false)?;
                        fields.extend(format!("{key} = {value}").split('\n').map(str::to_owned));
                    }
                }
                _ => {
                    let value = self.write_value(&value, false)?;
                    fields.extend(format!("{key} = {value}").split('\n').map(str::to_owned));
                }
            }
        }
        let lead = if fields.is_empty() { "" } else { margin };
        let text = format!("{lead}{}{}", fields.join(&format!("\n{margin}")), sections.join("\n\n"));
        self.machine.charge_many(text.len(), 1, self.at)?;
        Ok(text)
    }

    /// Returns the elements of an array if all of them are objects and there is one.
    fn tables_of(&mut self, elements: &[ThunkId]) -> Outcome<Option<Vec<Rc<Object>>>> {
        let mut tables = Vec::with_capacity(elements.len());
        for id in elements {
            let Value::Object(table) = self.machine.force(*id, self.at)? else { return Ok(None) };
            tables.push(table);
        }
        Ok(Some(tables).filter(|tables| !tables.is_empty()))
    }

    fn write_value(&mut self, value: &Value, is_inline: bool) -> Outcome<String> {
        match value {
            Value::Array(elements) if elements.is_empty() => Ok("[]".to_owned()),
            Value::Array(elements) => {
                let (separator, margin) = if is_inline { (" ", "".into()) } else { ("\n", Rc::clone(&self.indent)) };
                let mut parts = Vec::with_capacity(elements.len());
                for id in elements.iter() {
                    let element = self.machine.force(*id, self.at)?;
                    let element = self.nested(|toml| toml.write_value(&element, true))?;
                    parts.push(format!("{margin}{element}"));
                }
                Ok(format!("[{separator}{}{separator}]", parts.join(&format!(",{separator}"))))
            }
            Value::Object(object) => {
                let mut parts = Vec::new();
                for name in self.machine.names_to_write(object, self.at)? {
                    let value = self.machine.field(object, &name, self.at)?;
                    let value = self.nested(|toml| toml.write_value(&value, true))?;
                    parts.push(format!("{} = {value}", write_key(&name)));
                }
                Ok(format!("{{ {} }}", parts.join(", ")))
            }
            Value::Null => Err(Failure::at(self.at, "TOML has no null")),
            Value::Function(_) => Err(mismatch("a value other than a function", value, self.at)),
            Value::Bool(_) | Value::Number(_) | Value::Text(_) => {
                let mut text = String::new();
                self.machine.write_line(value, &mut text, self.at)?;
                Ok(text)
            }
        }
    }

    fn nested(&mut self, write: impl FnOnce(&mut Toml<'_, '_>) -> Outcome<String>) -> Outcome<String> {
        let (at, indent) = (self.at, Rc::clone(&self.indent));
        let text = self
            .machine
            .in_frame(at, |machine| machine.in_level(at, |machine| write(&mut Toml { machine, indent, at })))?;
        self.machine.charge_many(text.len(), 1, at)?;
        Ok(text)
    }
}

fn write_key(name: &str) -> String {
    if name.is_empty() {
        return "''".to_owned();
    }
    let is_bare = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if is_bare {
        return name.to_owned();
    }
    let mut text = String::new();
    write_quoted(name, &mut text);
    text
}

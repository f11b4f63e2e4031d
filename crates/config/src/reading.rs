//! Faults and notices that come to light while a configuration is read.

use std::cell::{Cell, RefCell};

use crate::fault::MAX_FAULTS;
use crate::field_path::FieldPath;
use crate::message::{Field, FieldValue, Message, Value};
use crate::{Fault, Faults, Notice, Position};

/// Collects the faults and notices of one configuration.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The faults of the text itself, such as unknown fields.
    malformed: Vec<(FieldPath, Fault)>,
    faults: RefCell<Vec<(FieldPath, Fault)>>,
    /// The number of faults that are not noted any more.
    left_out: Cell<usize>,
    notices: RefCell<Vec<Notice>>,
}

impl Reading {
    /// Makes a reading of a configuration whose text has the faults `malformed`. Later faults that may follow from one
    /// of these, since they are at, above or below its path, are not reported.
    pub(crate) fn new(malformed: Vec<(FieldPath, Fault)>) -> Self {
        Self { malformed, ..Self::default() }
    }

    /// Notes a fault at `path`. One fault is noted for each path, and those beyond [`MAX_FAULTS`] are
    /// counted.
    pub(crate) fn note_fault(&self, path: &FieldPath, position: Option<Position>, message: String) {
        if self.faults.borrow().len() >= MAX_FAULTS {
            self.left_out.set(self.left_out.get() + 1);
            return;
        }
        let follows = self.malformed.iter().any(|(known, _)| known.is_within(path) || path.is_within(known));
        let mut faults = self.faults.borrow_mut();
        if !follows && faults.iter().all(|(known, _)| known != path) {
            faults.push((path.clone(), Fault { path: path.to_string(), position, message }));
        }
    }

    /// Notes that a field has no effect, or another than the reader may expect.
    pub(crate) fn note_notice(&self, path: &FieldPath, position: Option<Position>, message: String) {
        self.notices.borrow_mut().push(Notice { path: path.to_string(), position, message });
    }

    /// Returns whether this notice was given for a field that is called `name`.
    pub(crate) fn has_notice(&self, name: &str, message: &str) -> bool {
        let notices = self.notices.borrow();
        notices.iter().any(|notice| notice.message == message && notice.path.rsplit('.').next() == Some(name))
    }

    /// Returns the notices that were noted so far.
    #[cfg(test)]
    pub(crate) fn notices_so_far(&self) -> Vec<Notice> {
        self.notices.borrow().clone()
    }

    /// Ends the reading of `root`, and returns the notices.
    ///
    /// # Errors
    ///
    /// All faults that were noted, and one for each field that is set and that nobody has asked for, unless a fault in
    /// the same message may be the reason.
    pub(crate) fn finish(self, root: &Message) -> Result<Vec<Notice>, Faults> {
        let mut unread = Vec::new();
        self.find_unread(root, &FieldPath::default(), &mut unread);
        for (path, position) in unread {
            self.note_fault(&path, position, "is not supported".to_owned());
        }
        let faults = self.malformed.into_iter().chain(self.faults.into_inner());
        let left_out = Fault::of_left_out(self.left_out.get());
        match Faults::of(faults.map(|(_, fault)| fault).chain(left_out).collect()) {
            Some(faults) => Err(faults),
            None => Ok(self.notices.into_inner()),
        }
    }

    fn find_unread(&self, message: &Message, path: &FieldPath, unread: &mut Vec<(FieldPath, Option<Position>)>) {
        let is_faulty = self.faults.borrow().iter().any(|(known, _)| known.is_within(path));
        for field in &message.fields {
            let path = path.field(field.descriptor.json_name());
            if field.was_read.get() {
                self.find_unread_below(field, &path, unread);
            } else if !is_faulty {
                unread.push((path, field.position.clone()));
            }
        }
    }

    fn find_unread_below(&self, field: &Field, path: &FieldPath, unread: &mut Vec<(FieldPath, Option<Position>)>) {
        // Whoever asks for JSON gets all of it.
        if field.descriptor.kind().as_message().is_some_and(|of| of.package_name() == "google.protobuf") {
            return;
        }
        let mut descend = |value: &Value, path: FieldPath| {
            if let Value::Message(message) = value {
                self.find_unread(message, &path, unread);
            }
        };
        match &field.value {
            FieldValue::One(value) => descend(value, path.clone()),
            FieldValue::List(values) => {
                for (index, value) in values.iter().enumerate() {
                    descend(value, path.index(index));
                }
            }
            FieldValue::Map(entries) => {
                for (key, value) in entries {
                    descend(value, path.key(&key.to_string()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::descriptor;

    #[test]
    fn faults_beyond_the_maximum_are_counted() {
        let reading = Reading::default();
        for number in 0..MAX_FAULTS + 5 {
            reading.note_fault(&FieldPath::default().index(number), None, "is wrong".to_owned());
        }
        let descriptor = descriptor("buildbarn.configuration.blobstore.BlobAccessConfiguration").unwrap();
        let root = Message { descriptor, fields: Vec::new(), position: None };
        let faults = reading.finish(&root).unwrap_err();
        assert_eq!(faults.as_slice().len(), MAX_FAULTS + 1);
        assert_eq!(faults.as_slice().last().unwrap().message, "5 further faults are left out");
    }
}

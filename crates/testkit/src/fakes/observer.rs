//! An observer that keeps what it is notified of.

use std::mem::take;
use std::sync::{Mutex, PoisonError};

use blobaccess::{Call, Event, Observer};

/// An [`Observer`] that keeps the calls and events that it is notified of, until they are taken.
#[derive(Debug, Default)]
pub struct RecordingObserver {
    calls: Mutex<Vec<Call>>,
    events: Mutex<Vec<Event>>,
}

impl RecordingObserver {
    /// Makes an observer that was not notified of anything yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the calls since the last time, in the order in which they ended.
    pub fn take_calls(&self) -> Vec<Call> {
        take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the events since the last time, in the order in which they happened.
    pub fn take_events(&self) -> Vec<Event> {
        take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer for RecordingObserver {
    fn call_ended(&self, call: &Call) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call.clone());
    }

    fn event(&self, event: &Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
    }
}

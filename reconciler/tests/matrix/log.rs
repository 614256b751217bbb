//! What the reconciler tells the log in this process, as fields. Tests run beside one another, so each looks for its
//! own order's events.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, Once, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

pub(crate) type Fields = BTreeMap<String, String>;

static EVENTS: Mutex<Vec<Fields>> = Mutex::new(Vec::new());

/// Listens from now on, however often it is called.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(Listener).expect("nobody else listens");
    });
}

/// Everything that was told so far.
pub(crate) fn all() -> Vec<Fields> {
    EVENTS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// The terminal events of one order's attempts, oldest first.
pub(crate) fn attempts(order: &str) -> Vec<Fields> {
    let mut events = all();
    events.retain(|event| {
        event.contains_key("event_name") && event.get("agent_vm_name").is_some_and(|vm| vm == order)
    });
    events
}

struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Told::default();
        span.record(&mut fields);
        keep(fields);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut fields = Told::default();
        values.record(&mut fields);
        keep(fields);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Told::default();
        event.record(&mut fields);
        keep(fields);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn keep(told: Told) {
    EVENTS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(told.0);
}

#[derive(Default)]
struct Told(Fields);

impl Visit for Told {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().into(), format!("{value:?}"));
    }
}

//! What is answered about records.

use serde_json::{Value, json};

use super::answers::{Answer, good, refused};
use super::state::State;
use super::{Said, Verb, ZONE_NAME};

impl State {
    /// The records that a listing asks for, or all when it is deaf to that.
    pub(super) fn filter_records(&self, said: &Said) -> Vec<Value> {
        let wanted = |record: &&Value| {
            said.query
                .iter()
                .all(|(name, value)| fits(record, name, value))
        };
        let found = self
            .records
            .iter()
            .filter(|record| self.deaf || wanted(record));
        found.cloned().collect()
    }

    pub(super) fn make_record(&mut self, said: &Said) -> Answer {
        let body = said.body.clone().unwrap_or_default();
        let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
        let (kind, name, content) = (text("type"), text("name"), text("content"));
        if kind.is_empty() || content.is_empty() || !name.ends_with(ZONE_NAME) {
            return refused(400, 1004, "DNS Validation Error");
        }
        if let Some(there) = self.records.iter().find(|record| record["name"] == *name) {
            return match (there["type"] == *kind, there["content"] == *content) {
                (true, true) => refused(400, 81058, "An identical record already exists."),
                (true, false) => refused(
                    400,
                    81053,
                    "An A, AAAA, or CNAME record with that host already exists.",
                ),
                _ => refused(400, 81054, "A CNAME record with that host already exists."),
            };
        }
        self.put_record(&kind, &name, &content, body["comment"].as_str());
        let made = self.records.last_mut().expect("made");
        made["proxied"] = json!(body["proxied"] == true);
        good(made.clone())
    }

    /// A request about one record.
    pub(super) fn record(&mut self, verb: Verb, id: &str, said: &Said) -> Answer {
        let Some(at) = self.records.iter().position(|record| record["id"] == *id) else {
            return refused(404, 81044, "Record does not exist.");
        };
        match verb {
            Verb::DeleteRecord => {
                self.records.remove(at);
                good(json!({"id": id}))
            }
            Verb::ChangeRecord => {
                let changes = said.body.as_ref().and_then(Value::as_object).cloned();
                for (field, value) in changes.unwrap_or_default() {
                    self.records[at][field] = value;
                }
                good(self.records[at].clone())
            }
            _ => good(self.records[at].clone()),
        }
    }
}

/// Whether a record is what a part of a query asks for; filters have no case.
fn fits(record: &Value, name: &str, value: &str) -> bool {
    let (field, how) = name.split_once('.').unwrap_or((name, "exact"));
    if !["type", "name", "content", "comment"].contains(&field) {
        return true;
    }
    let has = record[field]
        .as_str()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let value = value.to_ascii_lowercase();
    match how {
        "exact" => has == value,
        "startswith" => has.starts_with(&value),
        "contains" => has.contains(&value),
        "endswith" => has.ends_with(&value),
        "absent" => record[field].is_null(),
        _ => !record[field].is_null(),
    }
}

//! Which request is which, and the envelope that every answer has.

use serde_json::{Value, json};

use super::state::{Hold, State};
use super::{ACCOUNT, Fault, Said, Verb, ZONE};

/// What the paths of the API begin with.
pub(super) const BASE: &str = "/client/v4";

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<u64>,
    pub(super) body: Value,
    /// Nobody hears of it.
    pub(super) lost: bool,
}

/// An answer with a result.
pub(super) fn good(result: Value) -> Answer {
    Answer {
        status: 200,
        retry_after: None,
        body: json!({"success": true, "errors": [], "messages": [], "result": result}),
        lost: false,
    }
}

/// An answer without.
pub(super) fn refused(status: u16, code: u64, message: &str) -> Answer {
    let errors = json!([{"code": code, "message": message}]);
    Answer {
        status,
        retry_after: None,
        body: json!({"success": false, "errors": errors, "messages": [], "result": null}),
        lost: false,
    }
}

/// What a request is about: its kind, and the id of a tunnel or record where it has one.
struct Matter<'a> {
    verb: Verb,
    id: &'a str,
}

fn matter<'a>(state: &State, method: &str, path: &'a str) -> Option<Matter<'a>> {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let is = |of: &str, known: &str| state.lenient || of == known;
    let (verb, id) = match (method, parts.as_slice()) {
        (_, ["accounts", account, "cfd_tunnel", rest @ ..]) if is(account, ACCOUNT) => {
            match (method, rest) {
                ("GET", []) => (Verb::ListTunnels, ""),
                ("POST", []) => (Verb::MakeTunnel, ""),
                ("GET", [id]) => (Verb::GetTunnel, *id),
                ("PATCH", [id]) => (Verb::ChangeTunnel, *id),
                ("DELETE", [id]) => (Verb::DeleteTunnel, *id),
                ("GET", [id, "token"]) => (Verb::Token, *id),
                ("GET", [id, "configurations"]) => (Verb::GetRules, *id),
                ("PUT", [id, "configurations"]) => (Verb::SetRules, *id),
                ("GET", [id, "connections"]) => (Verb::GetConnections, *id),
                ("DELETE", [id, "connections"]) => (Verb::DropConnections, *id),
                _ => return None,
            }
        }
        (_, ["zones", zone, "dns_records", rest @ ..]) if is(zone, ZONE) => match (method, rest) {
            ("GET", []) => (Verb::ListRecords, ""),
            ("POST", []) => (Verb::MakeRecord, ""),
            ("GET", [id]) => (Verb::GetRecord, *id),
            ("PATCH", [id]) => (Verb::ChangeRecord, *id),
            ("DELETE", [id]) => (Verb::DeleteRecord, *id),
            _ => return None,
        },
        _ => return None,
    };
    Some(Matter { verb, id })
}

/// The page that a request asks for.
fn page(said: &Said) -> usize {
    let page = said.query("page").and_then(|page| page.parse().ok());
    page.unwrap_or(1)
}

impl State {
    /// What keeps a request waiting.
    pub(super) fn hold(&mut self, said: &Said) -> Option<Hold> {
        let verb = matter(self, &said.method, &said.path)?.verb;
        let is_met = |hold: &Hold| hold.verb == verb && hold.page == page(said);
        let at = self.holds.iter().position(is_met)?;
        Some(self.holds.remove(at))
    }

    /// Answers a request of somebody who is known or not.
    pub(super) fn answer(&mut self, said: &Said, is_known: bool) -> Answer {
        if !is_known && !self.lenient {
            return refused(401, 10000, "Authentication error");
        }
        if self.limit.is_some_and(|limit| self.said.len() >= limit) {
            return refused(
                429,
                971,
                "Please wait and consider throttling your request speed",
            );
        }
        let Some(Matter { verb, id }) = matter(self, &said.method, &said.path) else {
            return refused(
                404,
                7003,
                "Could not route to this path, perhaps your object identifier is invalid?",
            );
        };
        let fault = self.fault(verb, page(said));
        match fault {
            Some(Fault::Refused(_, status, code)) => refused(status, code, "told to refuse"),
            Some(Fault::NoSecondPage(_)) => refused(500, 0, "told to break"),
            Some(Fault::TooMany(_, retry_after)) => Answer {
                retry_after,
                ..refused(
                    429,
                    10000,
                    "More than 1200 requests per 300 seconds reached",
                )
            },
            Some(Fault::Garbage(_)) => Answer {
                body: json!("<html>"),
                ..good(Value::Null)
            },
            Some(Fault::LostAnswer(_)) => Answer {
                lost: true,
                ..self.act(verb, id, said, false)
            },
            fault => {
                let short = self.short || matches!(fault, Some(Fault::Short(_)));
                self.act(verb, id, said, short)
            }
        }
    }

    fn act(&mut self, verb: Verb, id: &str, said: &Said, short: bool) -> Answer {
        match verb {
            Verb::ListTunnels => {
                let found = self.filter_tunnels(said);
                self.page_of(said, found, short)
            }
            Verb::ListRecords => {
                let found = self.filter_records(said);
                self.page_of(said, found, short)
            }
            Verb::MakeTunnel => self.make_tunnel(said),
            Verb::MakeRecord => self.make_record(said),
            Verb::GetRecord | Verb::ChangeRecord | Verb::DeleteRecord => {
                self.record(verb, id, said)
            }
            _ => self.tunnel(verb, id, said),
        }
    }

    /// A page of what was found.
    fn page_of(&self, said: &Said, found: Vec<Value>, short: bool) -> Answer {
        let number = |name: &str| {
            said.query(name)
                .and_then(|value| value.parse::<usize>().ok())
        };
        let (page, size) = (
            number("page").unwrap_or(1).max(1),
            number("per_page").unwrap_or(20),
        );
        let size = size.clamp(1, self.page);
        let total = found.len();
        let mut entries: Vec<Value> = found
            .into_iter()
            .skip((page - 1) * size)
            .take(size)
            .collect();
        let count = entries.len();
        if short {
            entries.pop();
        }
        let mut answer = good(json!(entries));
        answer.body["result_info"] = json!({
            "page": page, "per_page": size, "count": if short { entries_len(&answer) } else { count },
            "total_count": total, "total_pages": total.div_ceil(size),
        });
        answer
    }
}

fn entries_len(answer: &Answer) -> usize {
    answer.body["result"].as_array().map_or(0, Vec::len)
}

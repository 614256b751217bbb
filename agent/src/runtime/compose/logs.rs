//! Logs of services, as the engine keeps them: bounded by the overlay there, and by lines and bytes here. A cursor is the
//! engine's time of the last line of each container: they print past each other.

use std::collections::BTreeMap;
use std::time::Duration;

use easyenclave_engine::{Container, Engine, EngineError, Line};
use easyenclave_schemas::DeploymentId;
use easyenclave_schemas::wire::{LOG_BYTES, LogPage};
use tokio::time::timeout;

use super::project::Ground;
use crate::runtime::process::Place;

/// How long a page may take to be read.
const DEADLINE: Duration = Duration::from_secs(4);

/// Of one container the engine keeps more than this, in bytes; where so much has come, there may have been more.
const KEPT: usize = 512 * 1024;

/// A longer line is cut, in bytes, as those of processes are.
const LINE: usize = 4096;

/// Characters of a container's id that stand for it in a cursor.
const ID: usize = 12;

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// Whose output: what another deployment's containers print is none of it.
    pub(crate) of: DeploymentId,
    /// One service; all when none is named.
    pub(crate) service: Option<String>,
    /// The most lines, the newest ones.
    pub(crate) lines: usize,
    /// Only those after this cursor; whatever there is, where it is empty.
    pub(crate) after: String,
}

/// A line and its service.
type Printed = (Line, String);

/// The last lines of services, oldest first: each with its service where several are asked for.
pub(crate) async fn page(place: &Place, page: &Page) -> Result<LogPage, EngineError> {
    let ground = Ground::of(place);
    let reading = read(&ground, page);
    match timeout(DEADLINE, reading).await {
        Ok(read) => read,
        Err(_) => Err(EngineError::Late {
            what: "logs".into(),
            seconds: DEADLINE.as_secs(),
        }),
    }
}

async fn read(ground: &Ground, page: &Page) -> Result<LogPage, EngineError> {
    let engine = ground.traces.engine(&ground.at).await?;
    let containers = engine.containers(&ground.owner).await?;
    let of = page.of.to_string();
    let is_asked = |found: &Container| {
        let service = page.service.as_deref();
        found.deployment.as_ref() == Some(&of) && service.is_none_or(|asked| asked == found.service)
    };
    let mut known = times(&page.after);
    let (mut lines, mut seen, mut missed) = (Vec::new(), BTreeMap::new(), false);
    for container in containers.iter().filter(|found| is_asked(found)) {
        let id = container.id.get(..ID).unwrap_or(&container.id);
        // One more than is given tells whether there are more.
        let before = known.get(id).copied();
        let found = match engine.log(&container.id, page.lines + 1, before).await {
            // It stays among those that are known, if it was there.
            Err(error) if is_gone(&engine, ground, &container.id, &error).await => continue,
            found => found?,
        };
        known.remove(id);
        let bytes: usize = found.iter().map(|line| line.text.len()).sum();
        missed |= bytes > KEPT;
        let last = found.last().map(|line| line.at.as_str()).or(before);
        seen.extend(last.map(|last| (id.to_owned(), last.to_owned())));
        let found = found.into_iter();
        lines.extend(found.map(|line| (line, container.service.clone())));
    }
    // What a container has printed that is gone was perhaps not all read.
    missed |= !known.is_empty();
    let (text, cut) = written(lines, page);
    Ok(LogPage {
        text,
        cursor: cursor(&seen),
        missed: !page.after.is_empty() && (missed || cut),
    })
}

/// Whether a container has no log because it is there no more: an update makes it anew between a listing and a look.
async fn is_gone(engine: &Engine, ground: &Ground, id: &str, error: &EngineError) -> bool {
    let found = match error {
        EngineError::Failed { .. } => engine.containers(&ground.owner).await,
        _ => return false,
    };
    found.is_ok_and(|found| found.iter().all(|other| other.id != id))
}

/// The newest lines within the bounds, and whether there were others.
fn written(mut lines: Vec<Printed>, page: &Page) -> (String, bool) {
    lines.sort();
    let all = lines.len();
    let texts = lines.into_iter().rev().take(page.lines);
    let mut bytes = 0;
    let mut texts: Vec<_> = texts
        .map(|(line, service)| match &page.service {
            Some(_) => format!("{}\n", cut(&line.text)),
            None => format!("{service} | {}\n", cut(&line.text)),
        })
        .take_while(|text| {
            bytes += text.len();
            bytes <= LOG_BYTES
        })
        .collect();
    texts.reverse();
    (texts.concat(), texts.len() < all)
}

fn cut(text: &str) -> String {
    match text.len() > LINE {
        true => format!("{} [cut]", &text[..text.floor_char_boundary(LINE)]),
        false => text.to_owned(),
    }
}

/// `<id>=<time>`, with commas between them, and a point that stands for none.
fn cursor(seen: &BTreeMap<String, String>) -> String {
    let times = seen.iter().map(|(id, at)| format!(",{id}={at}"));
    format!(".{}", times.collect::<String>())
}

fn times(cursor: &str) -> BTreeMap<&str, &str> {
    let times = cursor.split(',').filter_map(|one| one.split_once('='));
    times.collect()
}

#[cfg(test)]
mod tests {
    use easyenclave_schemas::wire::is_cursor;

    use super::*;

    fn printed(at: &str, text: &str, service: &str) -> Printed {
        let line = Line {
            at: at.into(),
            text: text.into(),
        };
        (line, service.into())
    }

    #[test]
    fn lines_of_all_services_are_sorted_and_the_newest_are_given_within_bounds() {
        let page = |lines, service: Option<&str>| Page {
            of: "acme/web".parse().expect("a name"),
            service: service.map(str::to_owned),
            lines,
            after: String::new(),
        };
        let lines = || {
            vec![
                printed("2026-01-01T00:00:02Z", "two", "web"),
                printed("2026-01-01T00:00:01Z", "one", "db"),
            ]
        };
        let all = ("db | one\nweb | two\n".to_owned(), false);
        assert_eq!(written(lines(), &page(2, None)), all);
        let newest = ("two\n".to_owned(), true);
        assert_eq!(written(lines(), &page(1, Some("web"))), newest);
        let long = "ä".repeat(10_000);
        let long = (0..200).map(|_| printed("2026-01-01T00:00:01Z", &long, "web"));
        let (text, cut) = written(long.collect(), &page(1000, Some("web")));
        assert!(cut && text.len() <= LOG_BYTES && text.len() > LOG_BYTES - 2 * LINE);
        assert!(text.lines().all(|line| line.ends_with("ä [cut]")));
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let seen = [
            ("0123456789ab", "2026-01-01T00:00:01.000000002Z"),
            ("b", "2"),
        ];
        let seen: BTreeMap<_, _> = seen.map(|(id, at)| (id.to_owned(), at.to_owned())).into();
        for seen in [seen, BTreeMap::new()] {
            let cursor = cursor(&seen);
            assert!(is_cursor(&cursor) && !cursor.is_empty(), "{cursor}");
            let read = times(&cursor).into_iter();
            let read = read.map(|(id, at)| (id.to_owned(), at.to_owned()));
            assert_eq!(read.collect::<BTreeMap<_, _>>(), seen);
        }
        assert!(times("1f3a.77").is_empty());
    }
}

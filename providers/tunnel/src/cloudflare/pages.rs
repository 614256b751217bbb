//! Complete listings, or none: pages are read to the end, and what came has to be as much as Cloudflare says there is. Nothing is
//! concluded from anything else.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use super::call::{Api, Ask, Envelope, Info};
use crate::TunnelError;

/// How many entries a page is asked for. Cloudflare may give fewer.
pub(crate) const PAGE: usize = 100;

/// The most pages: ten times the tunnels that an account may have.
const PAGES: usize = 100;

/// Something that is listed.
pub(crate) trait Entry: DeserializeOwned {
    /// What tells it from all others.
    fn id(&self) -> &str;
}

/// All entries that a question has; `ask` makes it anew for each page. Pages are read one after the other, and what is removed
/// meanwhile moves all that comes behind it up, past the page that is next: several pages count when they come twice alike.
pub(crate) async fn all<'a, T: Entry>(
    api: &Api,
    ask: impl Fn() -> Ask<'a>,
) -> Result<Vec<T>, TunnelError> {
    let first = once(api, &ask).await?;
    if first.pages == 1 {
        return Ok(first.entries);
    }
    let again = once(api, &ask).await?;
    match again.ids == first.ids {
        true => Ok(again.entries),
        false => Err(incomplete(&ask, CHANGED)),
    }
}

/// Why a listing that was overtaken does not count.
const CHANGED: &str = "it changed while it was read";

/// Reads all pages once.
async fn once<'a, T: Entry>(
    api: &Api,
    ask: &impl Fn() -> Ask<'a>,
) -> Result<Whole<T>, TunnelError> {
    let mut whole = Whole::default();
    for page in 1..=PAGES {
        let mut asked = ask();
        asked.query.push(("page", page.to_string()));
        asked.query.push(("per_page", PAGE.to_string()));
        let envelope = api.ask::<Vec<T>>(asked).await?;
        match whole.add(page, envelope) {
            Ok(true) => return Ok(whole),
            Ok(false) => {}
            Err(why) => return Err(incomplete(ask, why)),
        }
    }
    Err(incomplete(ask, "it does not come to an end"))
}

fn incomplete<'a>(ask: &impl Fn() -> Ask<'a>, why: &str) -> TunnelError {
    let why = format!("the listing is not complete: {why}");
    TunnelError::retry(ask().what, why)
}

/// What has come so far.
struct Whole<T> {
    entries: Vec<T>,
    ids: BTreeSet<String>,
    total: Option<usize>,
    /// How many pages it came in.
    pages: usize,
}

impl<T> Default for Whole<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            ids: BTreeSet::new(),
            total: None,
            pages: 0,
        }
    }
}

impl<T: Entry> Whole<T> {
    /// Takes a page in, and says whether it was the last.
    fn add(&mut self, page: usize, envelope: Envelope<Vec<T>>) -> Result<bool, &'static str> {
        let entries = envelope.result.ok_or("a page has no entries")?;
        let info = envelope
            .result_info
            .ok_or("a page does not say how many there are")?;
        let total = self.agree(page, entries.len(), info)?;
        self.pages = page;
        if entries.is_empty() && self.entries.len() < total {
            return Err("fewer came than there are");
        }
        for entry in entries {
            if !self.ids.insert(entry.id().to_owned()) {
                return Err("an entry came twice");
            }
            self.entries.push(entry);
        }
        match self.entries.len() {
            came if came > total => Err("more came than there are"),
            came => Ok(came == total),
        }
    }

    /// How many there are, by this page and by those before.
    fn agree(&mut self, page: usize, came: usize, info: Info) -> Result<usize, &'static str> {
        let total = info
            .total_count
            .ok_or("a page does not say how many there are")?;
        if info.page.is_some_and(|says| says != page) {
            return Err("another page came than was asked for");
        }
        if info.count.is_some_and(|says| says != came) {
            return Err("a page lacks some of its entries");
        }
        match self.total.replace(total) {
            Some(before) if before != total => Err(CHANGED),
            _ => Ok(total),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Entry for String {
        fn id(&self) -> &str {
            self
        }
    }

    fn page(page: usize, entries: &[&str], count: usize, total: usize) -> Envelope<Vec<String>> {
        Envelope {
            success: true,
            errors: Vec::new(),
            result: Some(entries.iter().map(ToString::to_string).collect()),
            result_info: Some(Info {
                page: Some(page),
                count: Some(count),
                total_count: Some(total),
            }),
        }
    }

    #[test]
    fn a_listing_is_over_when_all_have_come() {
        let mut whole = Whole::default();
        assert_eq!(whole.add(1, page(1, &["a", "b"], 2, 3)), Ok(false));
        assert_eq!(whole.add(2, page(2, &["c"], 1, 3)), Ok(true));
        assert_eq!(whole.entries, ["a", "b", "c"]);
        assert_eq!(
            Whole::<String>::default().add(1, page(1, &[], 0, 0)),
            Ok(true)
        );
    }

    #[test]
    fn whatever_may_lack_something_is_no_listing() {
        let without = |change: fn(&mut Envelope<Vec<String>>)| {
            let mut one = page(1, &["a"], 1, 1);
            change(&mut one);
            one
        };
        for wrong in [
            page(1, &["a"], 2, 2),
            page(1, &["a", "b"], 2, 1),
            page(1, &["a", "a"], 2, 2),
            page(1, &[], 0, 1),
            page(2, &["a"], 1, 1),
            without(|it| it.result = None),
            without(|it| it.result_info = None),
            without(|it| it.result_info.as_mut().expect("info").total_count = None),
        ] {
            let shown = format!("{wrong:?}");
            assert!(Whole::default().add(1, wrong).is_err(), "{shown}");
        }
        let mut changed = Whole::default();
        assert_eq!(changed.add(1, page(1, &["a"], 1, 2)), Ok(false));
        assert!(changed.add(2, page(2, &["b"], 1, 3)).is_err());
        let mut empty = Whole::default();
        assert_eq!(empty.add(1, page(1, &["a"], 1, 2)), Ok(false));
        assert!(empty.add(2, page(2, &[], 0, 2)).is_err());
    }
}

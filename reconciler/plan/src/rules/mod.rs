//! The rules, one a file. Each reads the view and what the rules before it decided, and adds to the draft.
//! A rule never takes back what another decided.

pub(crate) mod expose;
pub(crate) mod front;
pub(crate) mod place;
pub(crate) mod provision;
pub(crate) mod quarantine;
pub(crate) mod replace;
pub(crate) mod retire;
pub(crate) mod roll;

use crate::draft::Draft;
use crate::view::View;

/// A rule.
pub(crate) type Rule = fn(&View, &mut Draft);

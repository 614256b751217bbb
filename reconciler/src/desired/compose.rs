//! Compose files of deployments, beside them or within them. What is checked is what agents run: the document that a text
//! comes to takes the text's place in the deployment, with all variables filled in.

use std::collections::BTreeSet;

use easyenclave_schemas::compose;
use easyenclave_schemas::decode::{Located, Problem, did_you_mean};
use easyenclave_schemas::documents::{
    ComposeSource, ComposeWorkload, Document, Workload, WorkloadRules,
};

use super::blobs::Part;
use super::web;

/// What no fleet asks more than.
const STRICTEST: WorkloadRules = WorkloadRules {
    pinned: true,
    host_network: false,
};

/// What every fleet asks. The rest depends on the fleet's document, which is held against a deployment's like any other.
const LEAST: WorkloadRules = WorkloadRules {
    pinned: false,
    host_network: true,
};

/// Where a deployment's Compose file is in its own document.
const INLINE: &str = "/spec/workload/compose/source/inline";

/// What a Compose file comes to beyond the document that runs.
#[derive(Debug, Default)]
pub(super) struct Composed {
    /// What a strict fleet would refuse.
    pub(super) strict: Vec<(Part, Problem)>,
    /// What its author may not expect.
    pub(super) warnings: Vec<(Part, Problem)>,
}

/// What a document wants as a part of it.
pub(super) enum Wants {
    Nothing,
    /// A file of this name in its folder.
    File(String),
    /// The Compose file that is within it.
    Text(String),
}

/// The places of a document without which its Compose file says nothing.
const NEEDED: [&str; 2] = [
    "/spec/workload/compose/source",
    "/spec/workload/compose/env",
];

pub(super) fn wants(located: &Located) -> Wants {
    if !NEEDED.iter().all(|pointer| located.knows(pointer)) {
        return Wants::Nothing;
    }
    let Document::Deployment(object) = &located.document else {
        return Wants::Nothing;
    };
    match &object.spec.workload {
        Workload::Process(_) => Wants::Nothing,
        Workload::Compose(compose) => match &compose.source {
            ComposeSource::File(name) => Wants::File(name.clone()),
            ComposeSource::Inline(text) => Wants::Text(text.clone()),
        },
    }
}

/// What a Compose file comes to, and what is wrong with it.
type Found = (Composed, Vec<(Part, Problem)>);

/// Reads the Compose file that stands within a deployment. Its problems stand where the text does.
pub(super) fn within(located: &mut Located, document: &[u8], text: &str) -> Found {
    let block = Block::of(located, document, text);
    let place = |problem| (Part::Document, block.place(problem));
    read(located, text.as_bytes(), place)
}

/// Reads the Compose file that stands beside a deployment.
pub(super) fn beside(located: &mut Located, text: &[u8]) -> Found {
    read(located, text, |problem| (Part::Beside, problem))
}

fn read(located: &mut Located, text: &[u8], place: impl Fn(Problem) -> (Part, Problem)) -> Found {
    let placed = |problems: Vec<Problem>| problems.into_iter().map(&place).collect::<Vec<_>>();
    let Some(workload) = workload(&mut located.document) else {
        return Found::default();
    };
    let composition = compose::read(text, &LEAST, &workload.env);
    let strict = compose::read(text, &STRICTEST, &workload.env).err();
    let mut composed = Composed {
        strict: placed(strict.unwrap_or_default()),
        warnings: Vec::new(),
    };
    let composition = match composition {
        Ok(composition) => composition,
        Err(problems) => return (composed, placed(problems)),
    };
    workload.source = ComposeSource::Inline(composition.document.clone());
    workload.env.clear();
    let web = web::unreachable(located, &composition).into_iter();
    let mut wrong: Vec<_> = web.map(|problem| (Part::Document, problem)).collect();
    wrong.extend(unknown(located, &composition));
    composed.warnings = placed(composition.warnings);
    (composed, wrong)
}

fn workload(document: &mut Document) -> Option<&mut ComposeWorkload> {
    let Document::Deployment(object) = document else {
        return None;
    };
    match &mut object.spec.workload {
        Workload::Compose(workload) => Some(workload),
        Workload::Process(_) => None,
    }
}

/// What a deployment names of its Compose file and that is not there.
fn unknown(located: &Located, composition: &compose::Composition) -> Vec<(Part, Problem)> {
    let Document::Deployment(object) = &located.document else {
        return Vec::new();
    };
    let Workload::Compose(ComposeWorkload { profiles, web, .. }) = &object.spec.workload else {
        return Vec::new();
    };
    let services: BTreeSet<_> = composition.services.keys().map(String::as_str).collect();
    let all = composition.services.values();
    let known: BTreeSet<_> = all
        .flat_map(|it| it.profiles.iter().map(String::as_str))
        .collect();
    let mut found = Vec::new();
    let mut look = |names: &BTreeSet<&str>, what: &str, name: &str, pointer: String| {
        if names.contains(name) || !located.knows(&pointer) {
            return;
        }
        let (line, column) = located.position(&pointer);
        let problem = Problem {
            line,
            column,
            pointer,
            code: "unknown-name",
            message: format!("the Compose file has no {what} named {name}"),
            suggestion: did_you_mean(name, names.iter().copied()).map(str::to_owned),
        };
        found.push((Part::Document, problem));
    };
    if let Some(web) = web {
        let pointer = "/spec/workload/compose/web/service".to_owned();
        look(&services, "service", &web.service, pointer);
    }
    for (index, profile) in profiles.iter().enumerate() {
        let pointer = format!("/spec/workload/compose/profiles/{index}");
        look(&known, "profile", profile, pointer);
    }
    for (index, one) in object.spec.secrets.iter().enumerate() {
        for (service, name) in one.services.iter().enumerate() {
            let pointer = format!("/spec/secrets/{index}/services/{service}");
            look(&services, "service", name, pointer);
        }
    }
    found
}

/// Where a text stands that is a value in a document.
struct Block {
    /// The value: in a literal block, where its first line with something in it begins.
    at: (u32, u32),
    /// The number of that line in the text, if the text is a literal block (`|`): only there are lines where they were.
    first: Option<u32>,
}

impl Block {
    fn of(located: &Located, document: &[u8], text: &str) -> Self {
        let at = located.position(INLINE);
        let blank = text.len() - text.trim_start_matches('\n').len();
        let header = usize::try_from(at.0).ok();
        let header = header.and_then(|line| line.checked_sub(blank + 2));
        let is_literal = header.is_some_and(|header| is_literal(document, header));
        let first = u32::try_from(blank + 1).ok();
        Self {
            at,
            first: first.filter(|_| is_literal),
        }
    }

    fn place(&self, problem: Problem) -> Problem {
        let (line, column) = self.at;
        let pointer = INLINE.to_owned();
        match self.first {
            Some(first) => Problem {
                line: (line + problem.line).saturating_sub(first),
                column: problem.column + column.saturating_sub(1),
                pointer,
                ..problem
            },
            None => Problem {
                line,
                column,
                pointer,
                message: format!("{} (line {} of the text)", problem.message, problem.line),
                ..problem
            },
        }
    }
}

/// Whether a line of a document, counted from 0, ends with the sign of a literal block that tells its indentation by itself.
fn is_literal(document: &[u8], line: usize) -> bool {
    let text = std::str::from_utf8(document).unwrap_or_default();
    let line = text.lines().nth(line).unwrap_or_default();
    let line = line.split(" #").next().unwrap_or_default();
    let sign = line.split_whitespace().next_back();
    sign.is_some_and(|sign| ["|", "|-", "|+"].contains(&sign))
}

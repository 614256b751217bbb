//! The grammar of what may stand at a place of a Compose file, as data: the tables under `fields/` are written in it.
//! A union of Compose is always told apart by the kind of node, so no choice is ever tried out.

use crate::compose::WorkloadRules;

/// What may stand at a place.
#[derive(Debug)]
pub(super) enum Shape {
    /// Anything.
    Any,
    /// A text of this form.
    Text(Form),
    /// A number of this form, or a text; one that is a whole number is taken for it.
    Number(Form),
    /// A text or a number of this form, each of which stays what it is.
    Scalar(Form),
    /// True or false.
    Bool,
    /// False; true is refused.
    Off(Refusal),
    List(&'static Shape),
    /// Fields of any name of this form.
    Named(Form, &'static Shape),
    /// Known fields, and those of users: `x-…`.
    Fields(&'static [Field]),
    /// Names and scalars: a mapping, or a list of `NAME=VALUE`. The form is the names'.
    Pairs(Form),
    /// Nothing, or the other.
    Optional(&'static Shape),
    /// One of these, by the kind of node.
    ByKind {
        scalar: Option<&'static Shape>,
        list: Option<&'static Shape>,
        map: Option<&'static Shape>,
    },
}

/// Whether a text has a form, and is let through.
pub(super) type Form = fn(&str, &WorkloadRules) -> Result<(), Fault>;

/// Why a text is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not what was expected.
    Expected(&'static str),
    /// It is well formed, and refused by a rule of ours.
    Refused(Refusal),
}

/// A rule of ours: its stable code, and why, with what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) why: &'static str,
}

/// A known field.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) take: Take,
    pub(super) is_required: bool,
    /// What people should know of it, for the table of fields.
    pub(super) note: &'static str,
}

/// What becomes of a field.
#[derive(Debug)]
pub(super) enum Take {
    Shape(&'static Shape),
    Refuse(Refusal),
}

/// A field that is taken.
pub(super) const fn field(name: &'static str, shape: &'static Shape) -> Field {
    noted(name, shape, "")
}

/// A field that is taken, with a note for people.
pub(super) const fn noted(name: &'static str, shape: &'static Shape, note: &'static str) -> Field {
    Field {
        name,
        take: Take::Shape(shape),
        is_required: false,
        note,
    }
}

/// A field that has to be there.
pub(super) const fn required(name: &'static str, shape: &'static Shape) -> Field {
    Field {
        is_required: true,
        ..field(name, shape)
    }
}

/// A field that is refused whatever it holds.
pub(super) const fn refused(name: &'static str, code: &'static str, why: &'static str) -> Field {
    Field {
        name,
        take: Take::Refuse(Refusal { code, why }),
        is_required: false,
        note: "",
    }
}

impl Shape {
    /// What is expected, in words.
    pub(super) fn expected(&self) -> String {
        match self {
            // Only where nothing but a scalar is taken is there something that it is not.
            Self::Any => "a text, a number, true, false or nothing".into(),
            Self::Text(_) => "a text".into(),
            Self::Number(_) => "a number".into(),
            Self::Scalar(_) => "a text or a number".into(),
            Self::Bool | Self::Off(_) => "true or false".into(),
            Self::List(_) => "a list".into(),
            Self::Named(..) | Self::Fields(_) => "a mapping".into(),
            Self::Pairs(_) => "a mapping, or a list of NAME=VALUE".into(),
            Self::Optional(shape) => shape.expected(),
            Self::ByKind { scalar, list, map } => {
                let shapes = [scalar, list, map].into_iter().flatten();
                let words: Vec<_> = shapes.map(|shape| shape.expected()).collect();
                words.join(" or ")
            }
        }
    }

    /// The known fields of this shape, if it is a mapping of such.
    pub(super) fn fields(&self) -> Option<&'static [Field]> {
        match self {
            Self::Fields(fields) => Some(fields),
            Self::Optional(shape) | Self::List(shape) | Self::Named(_, shape) => shape.fields(),
            Self::ByKind { list, map, .. } => {
                let shapes = [map, list].into_iter().flatten();
                shapes.filter_map(|shape| shape.fields()).next()
            }
            _ => None,
        }
    }
}

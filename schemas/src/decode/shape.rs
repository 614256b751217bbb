//! What may stand at a place of a document: a JSON Schema, compiled once into what the walker needs.
//! Knows exactly the keywords that our schemas use; any other one fails to compile, so none is overlooked.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::pattern::{self, Pattern};
use super::schema::json_schema;
use super::tree::Node;
use crate::documents::{API_VERSION, Kind};

/// What may stand at a place.
#[derive(Debug)]
pub(super) enum Shape {
    /// Anything.
    Any,
    /// Nothing: the field has no place in this kind of document.
    Refused,
    Bool,
    Integer {
        min: i64,
        max: i64,
    },
    Text {
        shortest: usize,
        longest: usize,
        pattern: Option<&'static Pattern>,
    },
    /// A text that is never quoted: what stands there by mistake may be a secret.
    Hidden,
    /// A whole number, or a text of a pattern.
    IntegerOr {
        min: i64,
        max: i64,
        pattern: &'static Pattern,
    },
    /// One of these texts.
    Choice(Vec<String>),
    List {
        items: Box<Shape>,
        fewest: usize,
        most: usize,
    },
    /// Fields of any name.
    Free(Box<Shape>),
    /// Known fields.
    Fields(Vec<Field>),
    /// Exactly one of these fields.
    OneOf(Vec<Field>),
}

/// A known field.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) shape: Shape,
    pub(super) required: bool,
}

/// The shape that a document claims to have by its kind. Without a kind, only the frame can be held
/// against it.
pub(super) fn of(root: &Node<'_>) -> &'static Shape {
    let name = root.field("kind").and_then(Node::text);
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| name == Some(kind.as_str()));
    kind.map_or(&FRAME, shape)
}

static FRAME: LazyLock<Shape> = LazyLock::new(|| {
    let field = |name: &str, shape| Field {
        name: name.into(),
        shape,
        required: true,
    };
    let kinds = Kind::ALL.iter().map(ToString::to_string).collect();
    Shape::Fields(vec![
        field("apiVersion", Shape::Choice(vec![API_VERSION.into()])),
        field("kind", Shape::Choice(kinds)),
        field("metadata", Shape::Any),
        field("spec", Shape::Any),
    ])
});

/// The shape of a kind of document.
fn shape(kind: Kind) -> &'static Shape {
    static SHAPES: LazyLock<Vec<Shape>> = LazyLock::new(|| {
        let compile = |kind: &Kind| {
            let schema = json_schema(*kind);
            let defs = schema["$defs"]
                .as_object()
                .expect("schemas have definitions");
            Compiler { defs }.shape(&schema)
        };
        Kind::ALL.iter().map(compile).collect()
    });
    let index = Kind::ALL
        .iter()
        .position(|other| *other == kind)
        .expect("every kind is listed");
    &SHAPES[index]
}

struct Compiler<'a> {
    defs: &'a Map<String, Value>,
}

/// Keywords that say nothing about what is accepted.
const NOTES: [&str; 6] = ["$schema", "$id", "$defs", "title", "description", "default"];

impl Compiler<'_> {
    fn shape(&self, schema: &Value) -> Shape {
        let Some(schema) = schema.as_object() else {
            assert_eq!(
                schema,
                &Value::Bool(false),
                "a schema is an object or false"
            );
            return Shape::Refused;
        };
        let mut schema = schema.clone();
        schema.retain(|keyword, _| !NOTES.contains(&keyword.as_str()));
        let shape = self.shape_of(&mut schema);
        assert!(
            schema.is_empty(),
            "unknown keywords in a schema: {schema:?}"
        );
        shape
    }

    fn shape_of(&self, schema: &mut Map<String, Value>) -> Shape {
        if let Some(reference) = schema.remove("$ref") {
            let name = reference
                .as_str()
                .and_then(|path| path.strip_prefix("#/$defs/"));
            return self.shape(&self.defs[name.expect("references lead into $defs")]);
        }
        if let Some(choices) = schema.remove("oneOf") {
            return self.one_of(choices.as_array().expect("oneOf is a list"));
        }
        let choices = schema.remove("const").map(|only| vec![only]);
        if let Some(choices) = choices.or_else(|| list(schema.remove("enum"))) {
            schema.remove("type");
            let texts = choices
                .iter()
                .map(|choice| choice.as_str().expect("choices are texts"));
            return Shape::Choice(texts.map(str::to_owned).collect());
        }
        let kind = schema.remove("type").expect("a schema has a type");
        if kind == serde_json::json!(["integer", "string"]) {
            return integer_or(schema);
        }
        match kind.as_str().expect("a type is one name") {
            "boolean" => Shape::Bool,
            "integer" => integer(schema),
            "string" => text(schema),
            "array" => self.items(schema),
            "object" => self.object(schema),
            other => panic!("no field has the type {other}"),
        }
    }

    fn one_of(&self, choices: &[Value]) -> Shape {
        let mut texts = Vec::new();
        let mut fields = Vec::new();
        for choice in choices {
            match self.shape(choice) {
                Shape::Choice(more) => texts.extend(more),
                Shape::Fields(more) => fields.extend(more),
                other => panic!("no choice is {other:?}"),
            }
        }
        assert!(
            texts.is_empty() || fields.is_empty(),
            "choices are texts or fields, not both"
        );
        if fields.is_empty() {
            Shape::Choice(texts)
        } else {
            Shape::OneOf(fields)
        }
    }

    fn items(&self, schema: &mut Map<String, Value>) -> Shape {
        let items = schema
            .remove("items")
            .expect("a list's schema tells its items");
        Shape::List {
            items: Box::new(self.shape(&items)),
            fewest: size(schema.remove("minItems")).unwrap_or(0),
            most: size(schema.remove("maxItems")).unwrap_or(usize::MAX),
        }
    }

    fn object(&self, schema: &mut Map<String, Value>) -> Shape {
        let required = list(schema.remove("required")).unwrap_or_default();
        let properties = schema.remove("properties").unwrap_or_default();
        let properties = properties.as_object().cloned().unwrap_or_default();
        let others = schema
            .remove("additionalProperties")
            .expect("objects are closed");
        if others != Value::Bool(false) {
            assert!(
                properties.is_empty(),
                "an object with free names has no known ones"
            );
            return Shape::Free(Box::new(self.shape(&others)));
        }
        let field = |(name, schema): (String, Value)| Field {
            shape: self.shape(&schema),
            required: required.iter().any(|required| *required == name),
            name,
        };
        Shape::Fields(properties.into_iter().map(field).collect())
    }
}

fn integer(schema: &mut Map<String, Value>) -> Shape {
    let bound = |value: Option<Value>| value.expect("numbers are bounded").as_i64();
    Shape::Integer {
        min: bound(schema.remove("minimum")).expect("bounds are whole"),
        max: bound(schema.remove("maximum")).expect("bounds are whole"),
    }
}

fn integer_or(schema: &mut Map<String, Value>) -> Shape {
    match (integer(schema), text(schema)) {
        (
            Shape::Integer { min, max },
            Shape::Text {
                pattern: Some(pattern),
                ..
            },
        ) => Shape::IntegerOr { min, max, pattern },
        other => panic!("a text beside a number has a pattern: {other:?}"),
    }
}

fn text(schema: &mut Map<String, Value>) -> Shape {
    if schema.remove("writeOnly").is_some() {
        return Shape::Hidden;
    }
    let rule = schema.remove("pattern").or_else(|| schema.remove("format"));
    let rule = rule.map(|rule| rule.as_str().expect("patterns are texts").to_owned());
    Shape::Text {
        shortest: size(schema.remove("minLength")).unwrap_or(0),
        longest: size(schema.remove("maxLength")).unwrap_or(usize::MAX),
        pattern: rule.map(|rule| pattern::named(&rule).expect("the pattern is in the table")),
    }
}

fn list(value: Option<Value>) -> Option<Vec<Value>> {
    value.and_then(|value| value.as_array().cloned())
}

fn size(value: Option<Value>) -> Option<usize> {
    value?.as_u64().and_then(|size| usize::try_from(size).ok())
}

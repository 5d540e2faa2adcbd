//! Parses the YAML text of the file into a tree that keeps the line of each value. Every scalar stays text until the code that
//! needs the value interprets it. Does no I/O.

use std::{collections::BTreeSet, fmt::Display};

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::{file_watch::FileErrors, suggest::nearest};

/// The largest size of the file, and of each file that it names.
pub(super) const MAX_BYTES: u64 = 1024 * 1024;

/// How deeply lists and maps may be nested. The format needs three levels. Dropping a very deep tree would overflow the stack.
const MAX_DEPTH: usize = 32;

impl FileErrors {
    /// Adds an error about a field.
    pub(super) fn add(&mut self, field: &Field<'_>, explanation: impl Display) {
        self.push(format!("line {}: {}: {explanation}", field.value.line, field.path));
    }

    /// Returns a field's value, or adds an error about the field.
    pub(super) fn keep<T>(&mut self, field: &Field<'_>, reading: Result<T, impl Display>) -> Option<T> {
        reading.map_err(|explanation| self.add(field, explanation)).ok()
    }
}

/// A value in the file, with its line.
#[derive(Debug)]
pub(super) struct Value {
    line: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// An empty value, `~` or `null`.
    Null,
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

/// A list or map that is being parsed. For a map, also the key whose value comes next, with its line.
struct Open {
    value: Value,
    key: Option<(String, usize)>,
}

/// Parses the text. An empty file gives `None`.
pub(super) fn parse(text: &str) -> Result<Option<Value>, String> {
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| match (error.marker().line(), error.info()) {
            // The parser looks for the end of a possible key before it reports the start of the key.
            (line, "recursion limit exceeded") => too_deep(line),
            (line, info) => format!("line {line}: this is not valid YAML: {info}"),
        })?;
        let line = span.start.line();
        let done = match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return Err(format!("line {line}: a second document begins here; keep one"));
                }
                continue;
            }
            Event::Alias(_) => {
                return Err(format!("line {line}: YAML aliases are not supported; write the value instead"));
            }
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                if open.len() == MAX_DEPTH {
                    return Err(too_deep(line));
                }
                let is_list = matches!(event, Event::SequenceStart(..));
                let kind = if is_list { Kind::List(Vec::new()) } else { Kind::Map(Vec::new()) };
                open.push(Open { value: Value { line, kind }, key: None });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(done) => done.value,
                None => continue,
            },
            Event::Scalar(text, style, ..) => {
                let is_key = open.last().is_some_and(|open| open.key.is_none() && open.value.is_map());
                let is_null =
                    style == ScalarStyle::Plain && ["", "~", "null", "Null", "NULL"].contains(&&*text);
                let kind = if is_null && !is_key { Kind::Null } else { Kind::Text(text.into_owned()) };
                Value { line, kind }
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => continue,
        };
        match open.last_mut() {
            None => root = Some(done),
            Some(outer) => outer.take(done)?,
        }
    }
    Ok(root.filter(|root| !matches!(root.kind, Kind::Null)))
}

fn too_deep(line: usize) -> String {
    format!(
        "line {line}: this is nested too deeply; keep at most {MAX_DEPTH} lists and maps within each other"
    )
}

impl Open {
    fn take(&mut self, value: Value) -> Result<(), String> {
        match (&mut self.value.kind, self.key.take()) {
            (Kind::Map(fields), Some((key, line))) => fields.push((key, Value { line, ..value })),
            (Kind::Map(_), None) => match value.kind {
                Kind::Text(key) => self.key = Some((key, value.line)),
                _ => return Err(format!("line {}: the name of a field must be a text", value.line)),
            },
            (Kind::List(values), _) => values.push(value),
            (Kind::Null | Kind::Text(_), _) => {}
        }
        Ok(())
    }
}

impl Value {
    fn is_map(&self) -> bool {
        matches!(self.kind, Kind::Map(_))
    }

    fn what(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Text(_) => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }
}

/// A position in the file and its value.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    /// The keys from the top of the file, joined by dots.
    path: String,
    name: &'a str,
    value: &'a Value,
}

impl<'a> Field<'a> {
    /// The whole file.
    pub(super) fn root(value: &'a Value) -> Self {
        Self { path: String::new(), name: "", value }
    }

    /// The last key of the path.
    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// The text of the field, if it is not empty.
    pub(super) fn text(&self, errors: &mut FileErrors) -> Option<&'a str> {
        match &self.value.kind {
            Kind::Text(text) => Some(text.as_str()).filter(|text| !text.is_empty()),
            Kind::Null => None,
            _ => {
                errors.add(self, format_args!("this is {}; write a text", self.value.what()));
                None
            }
        }
    }

    /// The items of a list.
    pub(super) fn list(&self, errors: &mut FileErrors) -> Vec<Self> {
        match &self.value.kind {
            Kind::List(values) => values.iter().map(|value| Self { value, ..self.clone() }).collect(),
            Kind::Null => Vec::new(),
            _ => {
                errors.add(self, format_args!("this is {}; write a list", self.value.what()));
                Vec::new()
            }
        }
    }

    /// The fields of a map with any keys. Each key may appear only once.
    pub(super) fn map(&self, errors: &mut FileErrors) -> Vec<Self> {
        let fields = match &self.value.kind {
            Kind::Map(fields) => fields.as_slice(),
            Kind::Null => &[],
            _ => {
                let place = if self.path.is_empty() { "the file" } else { &self.path };
                let what = self.value.what();
                errors.push(format!("line {}: {place}: this is {what}; write a map", self.value.line));
                &[]
            }
        };
        let (mut found, mut names) = (Vec::new(), BTreeSet::new());
        for (name, value) in fields {
            let shown = name.escape_debug();
            let path =
                if self.path.is_empty() { shown.to_string() } else { format!("{}.{shown}", self.path) };
            let field = Self { path, name, value };
            if names.insert(name) {
                found.push(field);
            } else {
                errors.add(&field, "this is written twice; keep one");
            }
        }
        found
    }

    /// The fields of a map, whose keys must be among `known`.
    pub(super) fn section(&self, known: &[&str], errors: &mut FileErrors) -> Section<'a> {
        let mut fields = self.map(errors);
        fields.retain(|field| {
            let is_known = known.contains(&field.name);
            if !is_known {
                let nearest = nearest(field.name, known.iter().copied()).unwrap_or_default();
                errors.add(field, format_args!("unknown field; the closest is {nearest}"));
            }
            is_known
        });
        Section(fields)
    }
}

/// The fields of a map whose allowed keys are known.
#[derive(Debug, Default)]
pub(super) struct Section<'a>(Vec<Field<'a>>);

impl<'a> Section<'a> {
    /// A field that is written and is not null.
    pub(super) fn field(&self, name: &str) -> Option<&Field<'a>> {
        self.0.iter().find(|field| field.name == name && !matches!(field.value.kind, Kind::Null))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Field<'a>> {
        self.0.iter()
    }

    /// Whether the field is written and not empty.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.field(name)
            .is_some_and(|field| !matches!(&field.value.kind, Kind::Text(text) if text.is_empty()))
    }

    /// A field that holds text, and its text.
    pub(super) fn text(&self, name: &str, errors: &mut FileErrors) -> Option<(&Field<'a>, &'a str)> {
        let field = self.field(name)?;
        Some((field, field.text(errors)?))
    }

    /// A boolean, in any of the words of YAML 1.1.
    pub(super) fn boolean(&self, name: &str, default: bool, errors: &mut FileErrors) -> bool {
        let Some((field, text)) = self.text(name, errors) else {
            return default;
        };
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "y" | "on" => true,
            "false" | "no" | "n" | "off" => false,
            _ => {
                errors.add(field, format_args!("{text:?} is neither; write true or false"));
                default
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(text: &str) -> String {
        let mut errors = FileErrors::default();
        let value = match parse(text) {
            Ok(value) => value.unwrap(),
            Err(error) => return error,
        };
        Field::root(&value).section(&["one", "other"], &mut errors);
        errors.none_or(()).unwrap_err().join("\n")
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_the_cure() {
        for (text, expected) in [
            ("one: 1\nothr: 2\n", "line 2: othr: unknown field; the closest is other"),
            ("one: 1\none: 2\n", "line 2: one: this is written twice; keep one"),
            ("junk", "line 1: the file: this is a text; write a map"),
            ("- one", "line 1: the file: this is a list; write a map"),
            ("one: &a 1\nother: *a\n", "line 2: YAML aliases are not supported; write the value instead"),
            ("one: 1\n---\none: 2\n", "line 2: a second document begins here; keep one"),
            ("? [one]\n: 1\n", "line 1: the name of a field must be a text"),
        ] {
            assert_eq!(faults_of(text), expected, "{text}");
        }
        assert!(faults_of("one: [").contains("this is not valid YAML"));
    }

    #[test]
    fn nothing_is_nothing_and_a_text_stays_as_it_is_written() {
        for text in ["", "# a comment\n", "---\n", "~"] {
            assert!(parse(text).unwrap().is_none(), "{text:?}");
        }
        let value = parse("one: 1\nother: |\n  a\n  b\n").unwrap().unwrap();
        let mut errors = FileErrors::default();
        let section = Field::root(&value).section(&["one", "other"], &mut errors);
        assert_eq!(section.text("one", &mut errors).unwrap().1, "1");
        assert_eq!(section.text("other", &mut errors).unwrap().1, "a\nb\n");
    }
}

//! Parses the text of one of AWS's shared files into sections. It reads what botocore reads. The rules are those of Python's
//! `configparser`, except that sections and properties may be repeated. The later property wins.
//!
//! A line is a comment if it starts with `#` or `;`. A line that is indented more than the property before it continues that
//! property. Any other line is a section or a property, whatever its indentation.

use std::collections::BTreeMap;

/// The maximum file size in bytes. Real files have a few thousand bytes.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// The maximum number of lines.
const MAX_LINES: usize = 20_000;

/// The contents of all sections whose headers have the same text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// The line number of the first header, starting at 1.
    pub line: usize,
    /// The properties by name, in lower case.
    pub properties: BTreeMap<String, Property>,
}

/// The value of a property, with its line numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// The line number of the property's name, starting at 1.
    pub line: usize,
    first: String,
    /// The continuation lines with their line numbers. Blank lines are left out.
    rest: Vec<(usize, String)>,
}

/// Why a file cannot be parsed. It quotes nothing from the file, because the file may contain secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct SyntaxError {
    /// The line number, starting at 1.
    pub line: usize,
    /// What is wrong with the line, and what to write instead.
    pub problem: &'static str,
}

impl Property {
    /// The whole value, as botocore reads it.
    pub fn verbatim(&self) -> String {
        let rest = self.rest.iter().map(|(_, text)| text.as_str());
        let lines: Vec<_> = std::iter::once(self.first.as_str()).chain(rest).collect();
        lines.join("\n").trim_end().to_owned()
    }

    /// The value without a trailing comment, as AWS's newer SDKs read it. A comment starts with `#` or `;` after white space.
    /// Only commands among AWS's values contain these characters.
    pub fn value(&self) -> String {
        without_comment(&self.verbatim()).trim().to_owned()
    }

    /// Returns a nested property and its line number.
    pub fn nested(&self, name: &str) -> Option<(String, usize)> {
        if !self.first.is_empty() {
            return None;
        }
        let mut entries = self.rest.iter().filter_map(|(line, text)| Some((text.split_once('=')?, *line)));
        let found = entries.rfind(|((key, _), _)| key.trim().eq_ignore_ascii_case(name));
        found.map(|((_, value), line)| (without_comment(value.trim()).to_owned(), line))
    }
}

fn without_comment(value: &str) -> &str {
    let mut after_space = true;
    for (at, c) in value.char_indices() {
        if after_space && matches!(c, '#' | ';') {
            return value[..at].trim_end();
        }
        after_space = c.is_whitespace();
    }
    value
}

/// Parses a file. The sections are keyed by the text of their headers.
pub fn parse(bytes: &[u8]) -> Result<BTreeMap<String, Section>, SyntaxError> {
    if bytes.len() > MAX_BYTES {
        return Err(SyntaxError {
            line: 1,
            problem: "the file is larger than 1 MiB; check that it is the right one",
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        SyntaxError { line, problem: "the line is not UTF-8; save the file as UTF-8" }
    })?;
    let mut parser = Parser::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    for (at, line) in text.split(['\n', '\r']).enumerate() {
        if at == MAX_LINES {
            let problem = "the file has more than 20,000 lines; check that it is the right one";
            return Err(SyntaxError { line: at + 1, problem });
        }
        parser.read(at + 1, line)?;
    }
    Ok(parser.sections)
}

#[derive(Default)]
struct Parser {
    sections: BTreeMap<String, Section>,
    /// The last header that was read.
    section: Option<String>,
    /// The property that the next line may continue.
    property: Option<String>,
    /// The indentation of the last line that is not a continuation.
    indent: usize,
}

impl Parser {
    fn read(&mut self, number: usize, line: &str) -> Result<(), SyntaxError> {
        let content = line.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            return Ok(());
        }
        let indent = line.len() - line.trim_start().len();
        if indent > self.indent
            && let Some(property) = self.open_property()
        {
            property.rest.push((number, content.to_owned()));
            return Ok(());
        }
        self.indent = indent;
        if let Some(rest) = content.strip_prefix('[') {
            let header = header(rest).map_err(|problem| SyntaxError { line: number, problem })?;
            self.sections
                .entry(header.to_owned())
                .or_insert_with(|| Section { line: number, properties: BTreeMap::new() });
            self.section = Some(header.to_owned());
            self.property = None;
            return Ok(());
        }
        let wrong = |problem| SyntaxError { line: number, problem };
        let Some(section) = self.section.as_ref().and_then(|name| self.sections.get_mut(name)) else {
            return Err(wrong(
                "the line is before the first section; write a line such as [default] above it",
            ));
        };
        let Some((name, value)) = content.split_once(['=', ':']) else {
            return Err(wrong(
                "the line is neither a [section] nor a property; write name = value, or # before a comment",
            ));
        };
        let name = name.trim_end().to_lowercase();
        if name.is_empty() {
            return Err(wrong("the property has no name; write name = value"));
        }
        let property = Property { line: number, first: value.trim().to_owned(), rest: Vec::new() };
        section.properties.insert(name.clone(), property);
        self.property = Some(name);
        Ok(())
    }

    fn open_property(&mut self) -> Option<&mut Property> {
        let section = self.sections.get_mut(self.section.as_ref()?)?;
        section.properties.get_mut(self.property.as_ref()?)
    }
}

/// The text of a header, up to the first `]` outside quotes. Text after it is ignored.
fn header(rest: &str) -> Result<&str, &'static str> {
    let mut quote = None;
    let end = rest.char_indices().find_map(|(at, c)| {
        match (quote, c) {
            (None, ']') => return Some(at),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
        None
    });
    let end = end
        .or_else(|| rest.find(']'))
        .ok_or("the section has no closing bracket; write a line such as [default]")?;
    match rest.get(..end).unwrap_or_default() {
        "" => Err("the section has no name; write a line such as [default]"),
        header => Ok(header),
    }
}

/// Splits a text into words like Python's `shlex`, which treats quotes and backslashes as a shell does. Returns `None` if a
/// quote is not closed.
pub(crate) fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, section: &str, name: &str) -> Option<String> {
        let sections = parse(text.as_bytes()).unwrap();
        sections.get(section)?.properties.get(name).map(Property::value)
    }

    #[test]
    fn what_botocore_reads_is_read() {
        for text in [
            "[default]\nregion = eu-west-1\n",
            "\u{feff}[default]\r\nregion=eu-west-1\r\n",
            "[default]\rregion: eu-west-1",
            "  [default] # text after the bracket\n  Region = eu-west-1\n  output = json",
            "# comment\n; comment\n\n[default]\n\t# comment\n\tregion = eu-west-1",
            "[other]\n  region = x\n  s3 =\n    a = b\n[default]\nregion = eu-west-1",
            "[default]\nregion = x\n[default]\nregion = eu-west-1",
            "[default]\nregion = eu-west-1 # comment\n",
            "[default]\nregion =\n  eu-west-1\n",
        ] {
            assert_eq!(
                value(text, "default", "region").as_deref().map(str::trim),
                Some("eu-west-1"),
                "{text:?}"
            );
        }
    }

    #[test]
    fn values_may_hold_the_characters_of_comments() {
        let text = "[a]\nkey = a#b;c=d:e\ncommand = x '# y' ; z\nempty = # nothing\n";
        assert_eq!(value(text, "a", "key").as_deref(), Some("a#b;c=d:e"));
        assert_eq!(value(text, "a", "empty").as_deref(), Some(""));
        let command = &parse(text.as_bytes()).unwrap()["a"].properties["command"];
        assert_eq!(command.verbatim(), "x '# y' ; z");
    }

    #[test]
    fn nested_properties_have_their_own_line() {
        let text =
            "[services local]\npinpoint =\n  # comment\n  endpoint_url = http://localhost:1 # here\nsts = \n";
        let section = &parse(text.as_bytes()).unwrap()["services local"];
        let nested = |name: &str| section.properties[name].nested("endpoint_url");
        assert_eq!(nested("pinpoint"), Some(("http://localhost:1".to_owned(), 4)));
        assert_eq!(nested("sts"), None);
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_line() {
        for (text, line, words) in [
            ("region = x\n[default]", 1, "before the first section"),
            ("[default]\nregion", 2, "neither"),
            ("[default]\n\n= x", 3, "no name"),
            ("[default]\na = b\n[profile x\n", 3, "closing bracket"),
            ("[]", 1, "no name"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.line, line, "{text:?}");
            assert!(error.to_string().contains(words), "{error}");
        }
        assert_eq!(parse(b"[default]\n\xff").unwrap_err().line, 2);
        assert!(parse(&vec![b' '; MAX_BYTES]).is_ok());
        assert!(parse(&vec![b' '; MAX_BYTES + 1]).is_err());
        assert!(parse(&vec![b'\n'; MAX_LINES - 1]).is_ok());
        assert_eq!(parse(&vec![b'\n'; MAX_LINES]).unwrap_err().line, MAX_LINES + 1);
    }

    #[test]
    fn commands_are_split_as_python_does() {
        for (text, expected) in [
            ("a  b\tc", &["a", "b", "c"][..]),
            ("a 'b c' \"d \\\" \\x\" e\\ f", &["a", "b c", "d \" \\x", "e f"]),
            ("a'b'\"c\" ''", &["abc", ""]),
            ("a # b", &["a", "#", "b"]),
            ("", &[]),
        ] {
            assert_eq!(words(text).unwrap(), expected, "{text}");
        }
        for text in ["'a", "\"a", "a\\", "\"a\\"] {
            assert_eq!(words(text), None, "{text}");
        }
    }
}

//! A strict parser for Prometheus's text format 0.0.4. It is written from the specification and shares no code with the
//! exporter. It rejects what Prometheus would accept: duplicate series, a family in two pieces or without HELP or TYPE, samples
//! with a timestamp, and blank lines.

use std::collections::{BTreeMap, BTreeSet};

/// The families of a scrape, in their order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scrape {
    pub families: Vec<Family>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Family {
    pub name: String,
    pub help: String,
    pub kind: String,
    pub samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Scrape {
    pub(crate) fn family(&self, name: &str) -> Option<&Family> {
        self.families.iter().find(|family| family.name == name)
    }

    /// The samples of this name whose labels include `labels`.
    pub(crate) fn samples<'a>(&'a self, name: &str, labels: &'a [(&'a str, &'a str)]) -> Vec<&'a Sample> {
        let has = |sample: &Sample| {
            labels.iter().all(|(name, value)| sample.labels.get(*name).is_some_and(|v| v == value))
        };
        let all = self.families.iter().flat_map(|family| &family.samples);
        let name = name.to_owned();
        all.filter(|sample| sample.name == name && has(sample)).collect()
    }

    /// The value of the only sample of this name whose labels include `labels`.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let samples = self.samples(name, labels);
        assert!(samples.len() <= 1, "{name} {labels:?} means {} series", samples.len());
        samples.first().map(|sample| sample.value)
    }

    /// The sum of the counters of this name whose labels include `labels`.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters of a test")]
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.samples(name, labels).iter().map(|sample| sample.value as u64).sum()
    }
}

/// Parses a scrape.
pub(crate) fn parse(text: &str) -> Result<Scrape, String> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("the last line does not end".to_owned());
    }
    let mut families: Vec<Family> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut lines = text.split_terminator('\n').enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let wrong = |what: &str| format!("line {}: {what}: {line}", number + 1);
        let fail = |what: &str| Err(wrong(what));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            if families.iter().any(|family| family.name == name) {
                return fail("a second HELP of the family");
            }
            let Some(kind) = lines.next().and_then(|(_, l)| l.strip_prefix(&format!("# TYPE {name} ")))
            else {
                return fail("no TYPE after HELP");
            };
            if !["counter", "gauge", "histogram"].contains(&kind) {
                return fail("an unexpected TYPE");
            }
            if lines.peek().is_none_or(|(_, next)| next.starts_with('#')) {
                return fail("a family without samples");
            }
            if help.trim().is_empty() {
                return fail("an empty HELP");
            }
            families.push(Family {
                name: name.to_owned(),
                help: help.to_owned(),
                kind: kind.to_owned(),
                samples: Vec::new(),
            });
        } else if line.starts_with('#') || line.is_empty() {
            return fail("neither HELP, nor TYPE after HELP, nor a sample");
        } else {
            let sample = sample(line).map_err(|what| wrong(&what))?;
            let Some(family) = families.last_mut() else {
                return fail("a sample before any family");
            };
            let own = match family.kind.as_str() {
                "histogram" => ["_bucket", "_sum", "_count"]
                    .iter()
                    .any(|suffix| sample.name.strip_suffix(suffix) == Some(&family.name)),
                _ => sample.name == family.name,
            };
            if !own {
                return fail("a sample outside its family");
            }
            if !seen.insert((sample.name.clone(), sample.labels.clone())) {
                return fail("a series that was there before");
            }
            family.samples.push(sample);
        }
    }
    Ok(Scrape { families })
}

fn sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    let valid = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if !valid(name) {
        return Err("not a metric's name".to_owned());
    }
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").ok_or("no label")?;
            if !valid(label) {
                return Err(format!("not a label's name: {label:?}"));
            }
            let (value, after) = quoted(after)?;
            if labels.insert(label.to_owned(), value).is_some() {
                return Err(format!("label {label} twice"));
            }
            match after.split_at_checked(1) {
                Some((",", more)) => rest = more,
                Some(("}", more)) => {
                    rest = more;
                    break;
                }
                _ => return Err("labels do not end".to_owned()),
            }
        }
    }
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    if value.contains(' ') {
        return Err("a timestamp, or spaces".to_owned());
    }
    let value = value.parse().map_err(|_| "not a number".to_owned())?;
    Ok(Sample { name: name.to_owned(), labels, value })
}

/// A label value up to its closing quote, and the text after it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => value.push('\n'),
                Some(c @ ('\\' | '"')) => value.push(c),
                other => return Err(format!("a wrong escape: {other:?}")),
            },
            c => value.push(c),
        }
    }
    Err("a label's value does not end".to_owned())
}

#[test]
fn the_reader_refuses_what_breaks_the_format() {
    let good = "# HELP a A.\n# TYPE a gauge\na{l=\"x\\\\y\\\"\\n\"} 1\na 2.5\n";
    let scrape = parse(good).unwrap();
    assert_eq!(scrape.value("a", &[("l", "x\\y\"\n")]), Some(1.0));
    for (bad, why) in [
        ("a 1\n", "a sample before any family"),
        ("# HELP a A.\na 1\n", "no TYPE"),
        ("# TYPE a gauge\na 1\n", "neither HELP"),
        ("# HELP a A.\n# TYPE a gauge\n", "without samples"),
        ("# HELP a A.\n# TYPE a gauge\na 1\na 1\n", "was there before"),
        ("# HELP a A.\n# TYPE a gauge\na{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 1\n", "was there before"),
        ("# HELP a A.\n# TYPE a gauge\na 1 123\n", "timestamp"),
        ("# HELP a A.\n# TYPE a gauge\na 1", "does not end"),
        ("# HELP a A.\n# TYPE a gauge\na one\n", "not a number"),
        ("# HELP a A.\n# TYPE a gauge\nb 1\n", "outside its family"),
        ("# HELP a A.\n# TYPE a gauge\na{l=\"\\t\"} 1\n", "wrong escape"),
        ("# HELP a A.\n# TYPE a gauge\na{l=\"x} 1\n", "does not end"),
        ("# HELP a A.\n# TYPE a gauge\na 1\n\n", "neither HELP"),
        (
            "# HELP a A.\n# TYPE a gauge\na 1\n# HELP b B.\n# TYPE b gauge\nb 1\n# HELP a A.\n# TYPE a gauge\na{x=\"1\"} 1\n",
            "second HELP",
        ),
    ] {
        let error = parse(bad).unwrap_err();
        assert!(error.contains(why), "{bad:?}: {error}");
    }
}

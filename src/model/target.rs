//! The targets: the grammar of `PINPOINT_EXPORTER_TARGETS` and `PINPOINT_EXPORTER_TARGETS_FILE`. Values only.
//!
//! [`parse`] returns [`TargetPattern`]s, and the conflicts between them. A pattern without a wildcard is a [`Target`], which is
//! one listing to refresh. A pattern with a wildcard stands for the targets that discovery finds.

use std::{collections::BTreeMap, fmt};

use percent_encoding::{percent_decode_str, utf8_percent_encode};

use super::path_segment::ESCAPED;

/// One listing to refresh. The order of the fields is the order of targets in the exposition. All four fields together identify
/// the target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The account of the ARN, or `""` for a target without an ARN.
    pub account_id: String,
    /// The region of the ARN, or the configured region.
    pub region: String,
    /// The application, percent-decoded.
    pub application_id: String,
    /// The segment, percent-decoded. It is read with `GetSegmentExportJobs`. `None` for the whole application, which is read
    /// with one listing (`GetExportJobs`).
    pub segment_id: Option<String>,
}

/// What one entry of `TARGETS` asks for. Without a segment pattern, the whole application is read with one listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetPattern {
    /// The account of the ARN, or `""` for an entry without an ARN.
    pub account_id: String,
    /// The region of the ARN, or the configured region.
    pub region: String,
    /// The application, or all applications.
    pub application: IdPattern,
    /// The segment, or all segments. There is no `*/SEGMENT`, because a segment belongs to one application.
    pub segment: Option<IdPattern>,
}

/// An id, or `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdPattern {
    /// `*`: all ids that discovery finds.
    Any,
    /// One id, percent-decoded.
    Id(String),
}

impl fmt::Display for TargetPattern {
    /// Writes the pattern without an ARN, with the escapes that its ids need.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.application)?;
        self.segment.iter().try_for_each(|segment| write!(f, "/{segment}"))
    }
}

impl fmt::Display for IdPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Id(id) => utf8_percent_encode(id, ESCAPED).fmt(f),
        }
    }
}

impl IdPattern {
    /// Whether the pattern is `*`.
    pub fn covers_all(&self) -> bool {
        *self == Self::Any
    }

    /// Whether the pattern matches this id.
    pub fn covers(&self, id: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Id(own) => own == id,
        }
    }
}

/// An entry of a list of targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The text as written.
    pub text: String,
    /// The line number in `TARGETS_FILE`. `None` for an entry of `TARGETS`.
    pub line: Option<usize>,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.text.chars().take(80).collect();
        match self.line {
            None => write!(f, "{text:?}"),
            Some(line) => write!(f, "{text:?} (line {line} of TARGETS_FILE)"),
        }
    }
}

/// Formats an entry for an error about another entry.
fn beside(entry: &Entry, other: &Entry) -> String {
    let in_variable = if entry.line.is_none() && other.line.is_some() { " (in TARGETS)" } else { "" };
    format!("{entry}{in_variable}")
}

/// Why an entry is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The list has no entry.
    #[error("it names no target; write APP/SEGMENT for a segment or APP for a whole application")]
    Empty,
    /// The list has too many entries.
    #[error(
        "there are more than {MAX_ENTRIES} targets; share them among several exporters, or name their applications instead"
    )]
    TooMany {
        /// The first entry beyond the limit.
        entry: Entry,
    },
    /// An entry that does not follow the grammar.
    #[error("{reason}")]
    Malformed {
        entry: Entry,
        /// What is wrong with the entry, and what to write instead.
        reason: String,
    },
    /// An application is read both as a whole and by segment.
    #[error(
        "it reads the whole application, and {} reads it by segment; keep one of the two, because jobs would be shown twice",
        beside(by_segment, whole)
    )]
    ReadTwice {
        /// The entry that reads the whole application.
        whole: Entry,
        /// The entry that reads it by segment.
        by_segment: Entry,
    },
    /// An ARN in the configured region, together with a target without an ARN.
    #[error(
        "it is in the configured region {region}, as is {}, which has no ARN; both could be in the same account, so write all \
         targets of that region as ARNs, or none",
        beside(without_arn, arn)
    )]
    Mixed {
        arn: Entry,
        /// The target without an ARN.
        without_arn: Entry,
        region: String,
    },
}

impl Error {
    /// The entry with the error. `None` if the error concerns the whole list.
    pub fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Empty => None,
            Self::TooMany { entry } | Self::Malformed { entry, .. } => Some(entry),
            Self::ReadTwice { whole, .. } => Some(whole),
            Self::Mixed { arn, .. } => Some(arn),
        }
    }
}

/// The maximum number of entries in a list. Each target takes a few kilobytes. Refreshing this many targets once takes half an
/// hour at the default rate.
pub const MAX_ENTRIES: usize = 100_000;

/// A longer entry is a mistake. An ARN with two long ids is shorter, even if every character is escaped.
const MAX_ENTRY_BYTES: usize = 4096;

/// The patterns of a list, and its errors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The patterns without duplicates, each with the first entry that names it.
    pub patterns: BTreeMap<TargetPattern, Entry>,
    /// The first entry without an ARN, if no region is configured. `patterns` then contains such entries with the region `""`.
    pub without_region: Option<Entry>,
    /// All errors. The errors of single entries come first, in the order of the text.
    pub errors: Vec<Error>,
}

/// Parses a list of targets, separated by commas and white space. Targets without an ARN are in `region`.
pub fn parse(text: &str, region: Option<&str>) -> Parsed {
    parse_with_file(text, "", region)
}

/// Parses a list of targets, and another from a file, in which `#` starts a comment.
pub fn parse_with_file(text: &str, file: &str, region: Option<&str>) -> Parsed {
    // Windows editors start text files with a byte order mark.
    let lines = file.strip_prefix('\u{feff}').unwrap_or(file).lines().zip(1..);
    let of_file = lines.flat_map(|(line, number)| {
        let targets = line.split('#').next().unwrap_or_default();
        split(targets).map(move |entry| (entry, Some(number)))
    });
    let entries = split(text).map(|entry| (entry, None)).chain(of_file);
    parse_entries(entries, region)
}

fn split(list: &str) -> impl Iterator<Item = &str> {
    list.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty())
}

fn parse_entries<'a>(
    entries: impl Iterator<Item = (&'a str, Option<usize>)>,
    region: Option<&str>,
) -> Parsed {
    let mut parsed = Parsed::default();
    let mut without_arn: Option<Entry> = None;
    let mut arns_in_region = Vec::new();
    let mut entries = entries.enumerate().peekable();
    if entries.peek().is_none() {
        parsed.errors.push(Error::Empty);
    }
    for (number, (text, line)) in entries {
        let entry = || Entry { text: text.to_owned(), line };
        if number == MAX_ENTRIES {
            parsed.errors.push(Error::TooMany { entry: entry() });
            break;
        }
        let pattern = match Parts::parse(text) {
            Ok(Parts { location: Some((region_of_arn, account_id)), application, segment }) => {
                if Some(region_of_arn.as_str()) == region {
                    arns_in_region.push((text, line));
                }
                TargetPattern { account_id, region: region_of_arn, application, segment }
            }
            Ok(Parts { location: None, application, segment }) => {
                without_arn.get_or_insert_with(entry);
                let region = region.unwrap_or_default().into();
                TargetPattern { account_id: String::new(), region, application, segment }
            }
            Err(reason) => {
                parsed.errors.push(Error::Malformed { entry: entry(), reason });
                continue;
            }
        };
        parsed.patterns.entry(pattern).or_insert_with(entry);
    }
    match (without_arn, region) {
        (Some(entry), None) => parsed.without_region = Some(entry),
        (Some(without_arn), Some(region)) => {
            parsed.errors.extend(arns_in_region.into_iter().map(|(text, line)| Error::Mixed {
                arn: Entry { text: text.to_owned(), line },
                without_arn: without_arn.clone(),
                region: region.into(),
            }));
        }
        (None, _) => {}
    }
    let read_twice = read_twice(&parsed.patterns);
    parsed.errors.extend(read_twice);
    parsed
}

/// For each pattern that reads whole applications, the first pattern that reads one of them by segment.
fn read_twice(patterns: &BTreeMap<TargetPattern, Entry>) -> Vec<Error> {
    type AccountAndRegion<'a> = (&'a str, &'a str);
    let mut by_segment: BTreeMap<AccountAndRegion<'_>, BTreeMap<&IdPattern, &Entry>> = BTreeMap::new();
    for (pattern, entry) in patterns.iter().filter(|(pattern, _)| pattern.segment.is_some()) {
        by_segment
            .entry((&pattern.account_id, &pattern.region))
            .or_default()
            .entry(&pattern.application)
            .or_insert(entry);
    }
    let mut errors = Vec::new();
    for (pattern, whole) in patterns.iter().filter(|(pattern, _)| pattern.segment.is_none()) {
        let Some(applications) = by_segment.get(&(pattern.account_id.as_str(), pattern.region.as_str()))
        else {
            continue;
        };
        let other = match &pattern.application {
            IdPattern::Any => applications.values().next(),
            id @ IdPattern::Id(_) => applications.get(id).or_else(|| applications.get(&IdPattern::Any)),
        };
        errors.extend(
            other.map(|by_segment| Error::ReadTwice {
                whole: whole.clone(),
                by_segment: (*by_segment).clone(),
            }),
        );
    }
    errors
}

/// The parts of an entry. An ARN has a location: its region and account.
struct Parts {
    location: Option<(String, String)>,
    application: IdPattern,
    segment: Option<IdPattern>,
}

impl Parts {
    fn parse(entry: &str) -> Result<Self, String> {
        if entry.len() > MAX_ENTRY_BYTES {
            return Err(format!(
                "it is longer than {MAX_ENTRY_BYTES} bytes; write commas or white space between targets"
            ));
        }
        let scheme = entry.get(..4).unwrap_or_default();
        if scheme.eq_ignore_ascii_case("arn:") {
            return Self::parse_arn(entry);
        }
        let mut parts = entry.split('/');
        let application = IdPattern::parse("application", parts.next().unwrap_or_default())?;
        let segment = parts.next().map(|id| IdPattern::parse("segment", id)).transpose()?;
        if parts.next().is_some() {
            return Err(
                "it has more than two parts; write APP or APP/SEGMENT, and a / within an id as %2F".into()
            );
        }
        Self { location: None, application, segment }.checked()
    }

    fn parse_arn(entry: &str) -> Result<Self, String> {
        let parts: Vec<_> = entry.splitn(6, ':').collect();
        let [scheme, partition, service, region, account_id, resource] = parts[..] else {
            return Err(format!("this ARN has too few parts; write {ARN_FORM}"));
        };
        if scheme != "arn" {
            return Err("an ARN begins with arn: in lower case".into());
        }
        if !is_partition(partition) {
            return Err(format!(
                "{partition:?} is not an AWS partition; write one of {}",
                PARTITIONS.join(", ")
            ));
        }
        if service != "mobiletargeting" {
            return Err(format!("{service:?} is not Pinpoint's service in ARNs, which is mobiletargeting"));
        }
        if !is_region(region) {
            return Err(format!("{region:?} is not a valid region; write one such as us-east-1"));
        }
        if !is_account_id(account_id) {
            return Err(format!("{account_id:?} is not a valid account id; write its 12 digits"));
        }
        let (application, segment) = match resource.split('/').collect::<Vec<_>>()[..] {
            ["apps", application] => (application, None),
            ["apps", application, "segments", segment] => (application, Some(segment)),
            _ => {
                return Err(format!(
                    "{resource:?} is not a resource that the exporter can read; write apps/APP or apps/APP/segments/SEGMENT, and a / \
                     within an id as %2F"
                ));
            }
        };
        Self {
            location: Some((region.into(), account_id.into())),
            application: IdPattern::parse("application", application)?,
            segment: segment.map(|id| IdPattern::parse("segment", id)).transpose()?,
        }
        .checked()
    }

    fn checked(self) -> Result<Self, String> {
        match (&self.application, &self.segment) {
            (IdPattern::Any, Some(IdPattern::Id(_))) => {
                Err("a segment belongs to one application; write APP/SEGMENT, or */* for every segment"
                    .into())
            }
            _ => Ok(self),
        }
    }
}

const ARN_FORM: &str = "arn:aws:mobiletargeting:REGION:ACCOUNT:apps/APP/segments/SEGMENT or …:apps/APP";

impl IdPattern {
    /// `kind` names the id in errors: `application` or `segment`.
    fn parse(kind: &str, text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if text.is_empty() {
            return Err(format!("the {kind} id is empty; write APP/SEGMENT or APP"));
        }
        if text.contains('*') {
            return Err(format!(
                "the {kind} id contains a * beside other characters; a * stands only for a whole id (write %2A for a literal one)"
            ));
        }
        let mut escapes = text.split('%').skip(1);
        if !escapes.all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit())) {
            return Err(format!(
                "a % in the {kind} id is not followed by two hex digits; write a literal one as %25"
            ));
        }
        let id = percent_decode_str(text).decode_utf8().map_err(|_| {
            format!("the percent-encoded bytes of the {kind} id are not valid UTF-8; write é, for example, as %C3%A9")
        })?;
        if !is_usable_id(&id) {
            return Err(format!(
                "{id:?} is not a usable {kind} id, because URLs treat it as a relative path; write the id itself"
            ));
        }
        Ok(Self::Id(id.into_owned()))
    }
}

/// Whether the id can be used in a request path. An empty id, `.` and `..` would address another resource.
pub(crate) fn is_usable_id(id: &str) -> bool {
    !matches!(id, "" | "." | "..")
}

/// AWS's partitions.
const PARTITIONS: [&str; 8] =
    ["aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc"];

pub(crate) fn is_partition(text: &str) -> bool {
    PARTITIONS.contains(&text)
}

pub(crate) fn is_account_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether the text has the form of a region: a DNS label in lower case. The region becomes part of a host name and of every
/// signature.
pub(crate) fn is_region(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

impl fmt::Display for Target {
    /// Formats the target for people: `application/segment`, or the application.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.application_id)?;
        self.segment_id.iter().try_for_each(|segment| write!(f, "/{segment}"))
    }
}

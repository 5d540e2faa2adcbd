//! Faults that tests ask for: what goes wrong, for which requests, and how often.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::operation::Operation;

/// A rule that applies a fault to matching requests. An absent field matches every request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(default)]
    pub operation: Option<Operation>,
    #[serde(default)]
    pub application: Option<String>,
    #[serde(default)]
    pub segment: Option<String>,
    /// The page of a listing, from 1.
    #[serde(default)]
    pub page: Option<usize>,
    /// How many matching requests pass before the rule applies.
    #[serde(default)]
    pub skip: usize,
    /// How many requests get the fault. If absent, all of them.
    #[serde(default)]
    pub times: Option<usize>,
    pub fault: Fault,
}

/// What happens to a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// An error in AWS's format.
    Error {
        /// The name of the error. It may include a namespace or a URL. An empty name gives an error without a name.
        name: String,
        /// If absent, the usual status of the name.
        #[serde(default)]
        status: Option<u16>,
        /// Where the response has the name.
        #[serde(default)]
        place: Place,
        #[serde(default)]
        message: Option<String>,
        /// Additional headers.
        #[serde(default)]
        headers: BTreeMap<String, String>,
    },
    /// Any response with a text body.
    Answer {
        status: u16,
        /// Additional headers.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        body: String,
    },
    /// Any response with a body of bytes, which need not be text.
    AnswerBytes {
        status: u16,
        /// Additional headers.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        body: Vec<u8>,
    },
    /// The correct response, late.
    Delay {
        milliseconds: u64,
    },
    /// No response.
    Hang,
    /// Half of the body, and then nothing.
    HangInBody,
    /// The connection is reset before the response.
    Reset,
    /// The connection is reset after half of the body.
    ResetInBody,
    /// The connection ends after half of the body.
    Truncated,
    /// A body of this size, valid to its end.
    Oversized {
        /// The size before compression, in MiB.
        mebibytes: usize,
        /// Whether the body is compressed.
        #[serde(default)]
        gzip: bool,
    },
    /// The correct response with copies of an element before its items.
    Padded {
        /// The element. It need not be valid JSON.
        element: String,
        /// The number of copies.
        times: usize,
        /// Whether the response is compressed.
        #[serde(default)]
        gzip: bool,
    },
    /// An HTML page with status 200.
    Html,
    /// The correct body, wrapped in another object.
    Wrapped,
    /// An empty body with status 200.
    Empty,
    /// `{}`.
    NoItem,
    /// The same token after every page.
    RepeatedToken,
    /// A new token after every page.
    EndlessTokens,
    /// The correct response with a wrong `Date`.
    Date {
        /// How far the date is off, in milliseconds.
        offset: i64,
    },
    /// The correct response without a `Date`.
    NoDate,
    /// The correct response with an `Age` header, as from a cache.
    Age {
        seconds: u64,
    },
    /// The correct response, compressed.
    Gzip,
    /// The correct response, compressed and corrupted.
    CorruptGzip,
    /// The correct response without a length.
    Chunked,
    /// The correct response in small pieces.
    Drip {
        /// The size of a piece.
        bytes: usize,
        /// The time between two pieces.
        milliseconds: u64,
    },
    Redirect {
        location: String,
    },
}

/// Where a response has the name of an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the header `x-amzn-ErrorType`.
    #[default]
    Header,
    /// In the body's `__type`.
    Type,
    /// In the body's `code`.
    Code,
}

impl Fault {
    /// An error of this name with its usual status.
    pub fn error(name: &str) -> Self {
        Self::Error {
            name: name.to_owned(),
            status: None,
            place: Place::Header,
            message: None,
            headers: BTreeMap::new(),
        }
    }

    /// A rule that applies this fault to every request.
    pub fn always(self) -> Rule {
        Rule {
            operation: None,
            application: None,
            segment: None,
            page: None,
            skip: 0,
            times: None,
            fault: self,
        }
    }

    /// A rule that applies this fault to `times` requests.
    pub fn times(self, times: usize) -> Rule {
        Rule { times: Some(times), ..self.always() }
    }

    /// A rule that applies this fault to one page of a listing.
    pub fn on_page(self, page: usize) -> Rule {
        Rule { page: Some(page), ..self.always() }
    }

    pub(crate) fn name(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        value["kind"].as_str().unwrap_or_default().to_owned()
    }
}

impl Rule {
    /// Limits the rule to requests for one segment.
    #[must_use]
    pub fn of_segment(self, segment: &str) -> Self {
        Self { segment: Some(segment.to_owned()), ..self }
    }

    /// Lets this number of requests pass first.
    #[must_use]
    pub fn after(self, requests: usize) -> Self {
        Self { skip: requests, ..self }
    }
}

/// The parts of a request that rules match.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) operation: Option<Operation>,
    pub(crate) application: Option<&'a str>,
    pub(crate) segment: Option<&'a str>,
    pub(crate) page: Option<usize>,
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Rule>>);

impl Faults {
    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, rule: Rule) {
        self.rules().push(rule);
    }

    pub(crate) fn clear(&self) {
        self.rules().clear();
    }

    /// Returns the fault of the first rule that matches the request, and counts one use of the rule.
    pub(crate) fn take(&self, seen: &Seen<'_>) -> Option<Fault> {
        let meets = |rule: &Rule| {
            rule.operation.is_none_or(|operation| seen.operation == Some(operation))
                && rule.application.as_deref().is_none_or(|id| seen.application == Some(id))
                && rule.segment.as_deref().is_none_or(|id| seen.segment == Some(id))
                && rule.page.is_none_or(|page| seen.page == Some(page))
                && rule.times != Some(0)
        };
        let mut rules = self.rules();
        let rule = rules.iter_mut().filter(|rule| meets(rule)).find_map(|rule| {
            let spared = rule.skip > 0;
            rule.skip = rule.skip.saturating_sub(1);
            (!spared).then_some(rule)
        })?;
        rule.times = rule.times.map(|times| times - 1);
        Some(rule.fault.clone())
    }
}

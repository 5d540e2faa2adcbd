//! Faults on demand: what goes wrong, for which requests, how often.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::operation::Operation;

/// Which requests a fault meets. What is absent does not matter.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The operation.
    #[serde(default)]
    pub operation: Option<Operation>,
    /// The application.
    #[serde(default)]
    pub application: Option<String>,
    /// The segment.
    #[serde(default)]
    pub segment: Option<String>,
    /// The page of a listing, from 1.
    #[serde(default)]
    pub page: Option<usize>,
    /// So many requests are spared first.
    #[serde(default)]
    pub skip: usize,
    /// So many requests it meets; all of them if it is absent.
    #[serde(default)]
    pub times: Option<usize>,
    /// What happens.
    pub fault: Fault,
}

/// What happens to a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// An error as AWS answers it.
    Error {
        /// The name as it is written, with a namespace or a URL if wanted; empty for an error without a name.
        name: String,
        /// The status; the usual one of the name if it is absent.
        #[serde(default)]
        status: Option<u16>,
        /// Where the name is.
        #[serde(default)]
        place: Place,
        /// The message.
        #[serde(default)]
        message: Option<String>,
        /// More headers.
        #[serde(default)]
        headers: BTreeMap<String, String>,
    },
    /// Any answer.
    Answer {
        /// The status.
        status: u16,
        /// More headers.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// The body.
        #[serde(default)]
        body: String,
    },
    /// Any answer, of bytes that need not be text.
    AnswerBytes {
        /// The status.
        status: u16,
        /// More headers.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// The body.
        body: Vec<u8>,
    },
    /// The right answer, late.
    Delay {
        /// How late.
        milliseconds: u64,
    },
    /// No answer.
    Hang,
    /// Half of an answer, and then nothing.
    HangInBody,
    /// The connection is reset.
    Reset,
    /// The connection is reset after half of the body.
    ResetInBody,
    /// The connection ends after half of the body.
    Truncated,
    /// A body of that size in MiB, valid to its end, compressed if so wanted.
    Oversized {
        /// The size before compression.
        mebibytes: usize,
        /// Whether it is compressed.
        #[serde(default)]
        gzip: bool,
    },
    /// The right answer, with copies of an element before its items.
    Padded {
        /// The element, in JSON or not.
        element: String,
        /// How many copies of it.
        times: usize,
        /// Whether the answer is compressed.
        #[serde(default)]
        gzip: bool,
    },
    /// A page of HTML with status 200.
    Html,
    /// The right body within another object.
    Wrapped,
    /// No body, with status 200.
    Empty,
    /// `{}`.
    NoItem,
    /// The same token after every page.
    RepeatedToken,
    /// A new token after every page.
    EndlessTokens,
    /// The right answer with a wrong `Date`.
    Date {
        /// How wrong, in milliseconds.
        offset: i64,
    },
    /// The right answer without a `Date`.
    NoDate,
    /// The right answer, from a cache.
    Age {
        /// Its age.
        seconds: u64,
    },
    /// The right answer, compressed.
    Gzip,
    /// The right answer, compressed, with an error in it.
    CorruptGzip,
    /// The right answer without a length.
    Chunked,
    /// The right answer in small pieces.
    Drip {
        /// The size of a piece.
        bytes: usize,
        /// The time between two.
        milliseconds: u64,
    },
    /// A redirect.
    Redirect {
        /// Where to.
        location: String,
    },
}

/// Where the name of an error is.
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
    /// An error of that name, with its usual status.
    pub fn error(name: &str) -> Self {
        Self::Error {
            name: name.to_owned(),
            status: None,
            place: Place::Header,
            message: None,
            headers: BTreeMap::new(),
        }
    }

    /// For every request.
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

    /// For so many requests.
    pub fn times(self, times: usize) -> Rule {
        Rule { times: Some(times), ..self.always() }
    }

    /// For the page of that number.
    pub fn on_page(self, page: usize) -> Rule {
        Rule { page: Some(page), ..self.always() }
    }

    pub(crate) fn name(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        value["kind"].as_str().unwrap_or_default().to_owned()
    }
}

impl Rule {
    /// For requests of that segment only.
    #[must_use]
    pub fn of_segment(self, segment: &str) -> Self {
        Self { segment: Some(segment.to_owned()), ..self }
    }

    /// After so many requests.
    #[must_use]
    pub fn after(self, requests: usize) -> Self {
        Self { skip: requests, ..self }
    }
}

/// A request as rules see it.
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

    /// The fault of the first rule that meets the request, which is then used up by one.
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

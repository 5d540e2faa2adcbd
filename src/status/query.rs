//! Parses the query string of `/` and `/api/v1/jobs`. Does no I/O.

use std::fmt::Write as _;

use url::form_urlencoded;

use crate::{model::job_status::JobStatus, suggest::nearest};

/// The number of rows on a page.
pub(super) const ROWS: usize = 100;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query {
    /// `application`: only this application.
    pub(super) application: Option<String>,
    /// `segment`: only this segment. `segment_id` means the same and may be empty, because exports of all endpoints have no
    /// segment.
    pub(super) segment: Option<String>,
    /// `name`: only applications or segments whose name contains this text in any case.
    pub(super) name: Option<String>,
    /// `status`, which may be repeated: only jobs with one of these statuses. If empty, all jobs.
    pub(super) statuses: Vec<JobStatus>,
    /// `sort`: the order of the jobs.
    pub(super) sort: Sort,
    /// `page`: the page of jobs, from 1.
    pub(super) page: Number,
    pub(super) segments_page: Number,
    pub(super) targets_page: Number,
    pub(super) lists_page: Number,
}

/// A page number, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number(pub(super) usize);

impl Default for Number {
    fn default() -> Self {
        Self(1)
    }
}

/// The order of the jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sort {
    pub(super) key: Key,
    /// Written as `-` before the key.
    pub(super) descending: bool,
}

impl Default for Sort {
    fn default() -> Self {
        Self { key: Key::Created, descending: true }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Created,
    Completed,
    Application,
    Segment,
    Status,
    Processed,
    Failed,
}

impl Key {
    pub(super) const ALL: [(Self, &'static str); 7] = [
        (Self::Created, "created"),
        (Self::Completed, "completed"),
        (Self::Application, "application"),
        (Self::Segment, "segment"),
        (Self::Status, "status"),
        (Self::Processed, "processed"),
        (Self::Failed, "failed"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(key, _)| *key == self).map_or("", |(_, name)| name)
    }
}

const PARAMETERS: [&str; 10] = [
    "application",
    "segment",
    "segment_id",
    "name",
    "status",
    "sort",
    "page",
    "segments_page",
    "targets_page",
    "lists_page",
];

impl Query {
    /// Parses a query string. An empty value counts as absent, because forms send empty fields. An error names the mistake and
    /// a correct value.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut query = Self::default();
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            let Some(parameter) = PARAMETERS.iter().find(|parameter| **parameter == name) else {
                let closest = nearest(&name, PARAMETERS).unwrap_or_default();
                return Err(format!("unknown parameter {name:?}; the closest is {closest}"));
            };
            if value.is_empty() && *parameter != "segment_id" {
                continue;
            }
            if *parameter != "status" && seen.contains(parameter) {
                return Err(format!("{parameter} is given twice; write it once"));
            }
            if parameter.starts_with("segment") && !parameter.ends_with("page") && query.segment.is_some() {
                return Err("segment and segment_id are both there; write one of them".to_owned());
            }
            seen.push(*parameter);
            match *parameter {
                "application" => query.application = Some(value.into_owned()),
                "segment" | "segment_id" => query.segment = Some(value.into_owned()),
                "name" => query.name = Some(name_part(&value)?),
                "status" => query.statuses.push(status(&value)?),
                "sort" => query.sort = sort(&value)?,
                "page" => query.page = number(parameter, &value)?,
                "segments_page" => query.segments_page = number(parameter, &value)?,
                "targets_page" => query.targets_page = number(parameter, &value)?,
                _ => query.lists_page = number(parameter, &value)?,
            }
        }
        Ok(query)
    }

    /// A relative link to the query after a change. If the filter or order changes, the link leads to the first page.
    pub(super) fn link(&self, change: impl FnOnce(&mut Self)) -> String {
        let mut changed = self.clone();
        change(&mut changed);
        let filter = |query: &Self| (query.application.clone(), query.segment.clone(), query.name.clone());
        if filter(&changed) != filter(self) {
            (changed.segments_page, changed.targets_page, changed.lists_page) = Default::default();
        }
        let of_jobs = |query: &Self| (filter(query), query.statuses.clone(), query.sort);
        if of_jobs(&changed) != of_jobs(self) {
            changed.page = Number::default();
        }
        changed.to_string()
    }
}

impl std::fmt::Display for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = form_urlencoded::Serializer::for_suffix("?".to_owned(), 1);
        text.extend_pairs(self.application.iter().map(|id| ("application", id)));
        let segment = |id: &String| if id.is_empty() { "segment_id" } else { "segment" };
        text.extend_pairs(self.segment.iter().map(|id| (segment(id), id)));
        text.extend_pairs(self.name.iter().map(|name| ("name", name)));
        text.extend_pairs(self.statuses.iter().map(|status| ("status", status.as_str())));
        if self.sort != Sort::default() {
            text.append_pair("sort", &self.sort.to_string());
        }
        for (name, Number(page)) in [
            ("page", self.page),
            ("segments_page", self.segments_page),
            ("targets_page", self.targets_page),
            ("lists_page", self.lists_page),
        ] {
            if page > 1 {
                text.append_pair(name, &page.to_string());
            }
        }
        f.write_str(&text.finish())
    }
}

impl std::fmt::Display for Sort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.descending {
            f.write_char('-')?;
        }
        f.write_str(self.key.name())
    }
}

/// Names are cut at 256 characters, so a longer part cannot match.
const MAX_NAME_CHARACTERS: usize = 256;

fn name_part(text: &str) -> Result<String, String> {
    match text.chars().count() {
        ..=MAX_NAME_CHARACTERS => Ok(text.to_owned()),
        count => Err(format!(
            "name has {count} characters; write a part of a name, of at most {MAX_NAME_CHARACTERS}"
        )),
    }
}

fn status(text: &str) -> Result<JobStatus, String> {
    let name = text.to_ascii_uppercase();
    match JobStatus::from_name(&name) {
        JobStatus::Unknown if name != JobStatus::Unknown.as_str() => {
            let names = JobStatus::ALL.into_iter().map(JobStatus::as_str);
            Err(format!(
                "unknown status {text:?}; the closest is {}",
                nearest(&name, names).unwrap_or_default()
            ))
        }
        status => Ok(status),
    }
}

fn sort(text: &str) -> Result<Sort, String> {
    let (descending, name) = text.strip_prefix('-').map_or((false, text), |name| (true, name));
    let key = Key::ALL.iter().find(|(_, known)| *known == name).map(|(key, _)| *key);
    key.map(|key| Sort { key, descending }).ok_or_else(|| {
        let names = Key::ALL.map(|(_, name)| name).join(", ");
        format!(
            "jobs are not sorted by {name:?}; write one of {names}, with - before it for descending order"
        )
    })
}

fn number(parameter: &str, text: &str) -> Result<Number, String> {
    match text.parse() {
        Ok(page) if (1..=1_000_000).contains(&page) => Ok(Number(page)),
        _ => Err(format!("{parameter} is not a page number: {text:?}; write one from 1 to 1000000")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in [
            "?",
            "?application=a%2Fb+c&segment=%3Cscript%3E&status=FAILED&status=UNKNOWN&sort=failed&page=3",
            "?segment_id=&status=FAILED",
            "?application=a&name=%3Cb%3E+%C3%A9&page=2",
            "?sort=-status&segments_page=2&targets_page=4&lists_page=5",
        ] {
            assert_eq!(Query::parse(&text[1..]).unwrap().to_string(), text);
        }
        assert_eq!(Query::parse("application=&status=&page=&sort=-created").unwrap(), Query::default());
        assert_eq!(Query::parse("segment_id=a").unwrap(), Query::parse("segment=a&application=").unwrap());
        assert_eq!(Query::parse("segment_id=&segment=").unwrap().segment.as_deref(), Some(""));
        assert_eq!(Query::parse("status=failed").unwrap().statuses, [JobStatus::Failed]);
        for status in JobStatus::ALL {
            let query = format!("status={}", status.as_str());
            assert_eq!(Query::parse(&query).unwrap().statuses, [status]);
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        for (text, expected) in [
            ("aplication=x", "unknown parameter \"aplication\"; the closest is application"),
            ("status=FAIL", "unknown status \"FAIL\"; the closest is FAILED"),
            ("sort=age", "write one of created, completed"),
            ("name=a&name=b", "name is given twice"),
            (&format!("name={}", "%C3%A9".repeat(257)), "name has 257 characters"),
            ("page=0", "page is not a page number: \"0\""),
            ("page=-1", "write one from 1"),
            ("page=1&page=2", "page is given twice"),
            ("segment_id=&segment=a", "segment and segment_id are both there"),
            ("targets_page=99999999999999999999", "targets_page is not a page number"),
        ] {
            let problem = Query::parse(text).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }

    #[test]
    fn another_filter_begins_at_the_first_page() {
        let query = Query::parse("page=3&segments_page=2&status=FAILED").unwrap();
        assert_eq!(query.link(|it| it.segments_page = Number(3)), "?status=FAILED&page=3&segments_page=3");
        assert_eq!(query.link(|it| it.statuses.clear()), "?segments_page=2");
        let by_name = query.link(|it| it.name = Some("a".to_owned()));
        assert_eq!(by_name, "?name=a&status=FAILED");
        assert_eq!(query.link(|it| it.application = Some("a".to_owned())), "?application=a&status=FAILED");
    }
}

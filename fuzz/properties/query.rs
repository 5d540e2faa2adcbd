//! The query string of the status page and its JSON, over a fixed view: rows are those that were asked for, links lead on, and
//! what is wrong is named without becoming markup.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
    time::Duration,
};

use percent_encoding::percent_decode;
use pinpoint_exporter::{
    model::{
        job::ExportJob,
        job_status::JobStatus,
        names::NamedResource,
        overview::{KnownNames, LastRead, Overview, TargetState},
        snapshot::{FinishedJobLimits, SnapshotBuilder},
        target::Target,
        timestamp::Timestamp,
    },
    status,
};
use serde_json::Value;

const NOW: i64 = 1_769_904_000_123;
const ROWS: usize = 100;

/// Three applications with names that need care, and more jobs than a page has rows.
static OVERVIEW: LazyLock<Overview> = LazyLock::new(|| {
    let target = |(number, application_id): (i64, &&str)| {
        let mut builder = SnapshotBuilder::begin(FinishedJobLimits::default(), Timestamp(NOW), None);
        builder.add((0..75).map(|index| job(number * 100 + index)));
        TargetState {
            target: Target {
                account_id: String::new(),
                region: "eu-west-1".to_owned(),
                application_id: (*application_id).to_owned(),
                segment_id: None,
            },
            names: names(number),
            reading: Some(LastRead {
                began: Timestamp(NOW - 1000),
                took: Duration::from_millis(20),
                next: Timestamp(NOW + 49_000),
                error: None,
            }),
            data: Some((Timestamp(NOW - 1000), Some(Arc::new(builder.finish())))),
        }
    };
    let applications = ["a", "a&b=<script>", "é %2F+"];
    Overview {
        now: Timestamp(NOW),
        lists: Vec::new(),
        targets: (0..).zip(&applications).map(target).collect(),
    }
});

/// Two applications and two segments of each have names.
fn names(number: i64) -> KnownNames {
    let segment =
        |id: &str, name: &str| NamedResource { name: Some(name.into()), ..NamedResource::unnamed(id) };
    let applications = [Some("Shop <b>"), Some("shop\u{202e}\""), None];
    KnownNames {
        application: applications[usize::try_from(number).expect("small")].map(Into::into),
        segments: [segment("s", "News & more"), segment("s\"'>", "<script>é")].into(),
    }
}

fn job(number: i64) -> ExportJob {
    let place = usize::try_from(number).expect("small");
    ExportJob {
        id: format!("job-{number}").into(),
        segment_id: ["s", "s\"'>", ""][place % 3].into(),
        status: JobStatus::ALL[place % JobStatus::ALL.len()],
        total_pieces: Some(4),
        completed_pieces: Some(number % 5),
        total_processed: (number % 7 != 0).then_some(number * 37 % 1000),
        total_failures: (number % 4 != 0).then_some(number % 9),
        creation_date: (number % 11 != 0).then_some(Timestamp(NOW - number * 7_777_777 % 1_000_000_000)),
        completion_date: (number % 3 != 0).then_some(Timestamp(NOW - number * 3_333_333 % 1_000_000_000)),
        ..ExportJob::default()
    }
}

pub(crate) fn check(data: &[u8]) {
    // What a request line may hold.
    let Some(query) = std::str::from_utf8(data).ok().filter(|text| text.is_ascii()) else { return };
    let json = status::json(&OVERVIEW, &[], query);
    let page = status::page(&OVERVIEW, &[], query);
    assert_eq!(json, status::json(&OVERVIEW, &[], query), "the same data are the same bytes");
    match (Asked::read(query), json, page) {
        (Some(asked), Ok(json), Ok(page)) => {
            asked.check(&serde_json::from_str(&json).expect("JSON"));
            check_links(&page);
            assert_eq!(tags_unknown(&page), None, "a value became markup");
        }
        (None, Err(json), Err(page)) => {
            let json: Value = serde_json::from_str(&json).expect("JSON");
            let problem = json["error"].as_str().expect("an error");
            assert!(!problem.is_empty() && !problem.chars().any(char::is_control), "{problem:?}");
            let parameters = [
                "application",
                "segment",
                "name",
                "status",
                "sort",
                "page",
                "segments_page",
                "targets_page",
                "jobs are not sorted",
            ];
            assert!(
                parameters.iter().any(|name| problem.contains(name)),
                "what is wrong is not named: {problem}"
            );
            assert_eq!(tags_unknown(&page), None, "a value became markup");
        }
        (asked, json, page) => {
            panic!("{query:?}: expected {asked:?}, JSON {:?}, page {:?}", json.is_ok(), page.is_ok())
        }
    }
}

/// What the query asks for, read anew: form data as browsers send them.
#[derive(Debug, Default)]
struct Asked {
    application: Option<String>,
    segment: Option<String>,
    name: Option<String>,
    statuses: Vec<String>,
    sort: Option<String>,
    pages: [Option<usize>; 4],
}

impl Asked {
    /// `None` for what is to be refused.
    fn read(query: &str) -> Option<Self> {
        let mut asked = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let [name, value] = [name, value].map(decoded);
            let once = |place: &mut Option<String>| {
                value.is_empty() || place.is_none() && place.replace(value.clone()).is_none()
            };
            let page = |place: &mut Option<usize>| {
                let number = value.strip_prefix('+').unwrap_or(&value);
                let number = number.parse().ok().filter(|number| (1..=1_000_000).contains(number));
                value.is_empty() || number.is_some() && std::mem::replace(place, number).is_none()
            };
            let accepted = match name.as_str() {
                "application" => once(&mut asked.application),
                "segment" => once(&mut asked.segment),
                // It may be empty: exports of all endpoints have no segment.
                "segment_id" => asked.segment.replace(value.clone()).is_none(),
                "name" => value.chars().count() <= 256 && once(&mut asked.name),
                "sort" => {
                    let keys =
                        ["created", "completed", "application", "segment", "status", "processed", "failed"];
                    let key = value.strip_prefix('-').unwrap_or(&value);
                    (value.is_empty() || keys.contains(&key)) && once(&mut asked.sort)
                }
                "status" => {
                    let name = value.to_ascii_uppercase();
                    let known = JobStatus::from_name(&name) != JobStatus::Unknown || name == "UNKNOWN";
                    if !value.is_empty() {
                        asked.statuses.push(name);
                    }
                    value.is_empty() || known
                }
                "page" => page(&mut asked.pages[0]),
                "segments_page" => page(&mut asked.pages[1]),
                "targets_page" => page(&mut asked.pages[2]),
                "lists_page" => page(&mut asked.pages[3]),
                _ => false,
            };
            accepted.then_some(())?;
        }
        Some(asked)
    }

    fn check(&self, document: &Value) {
        let wanted = |pattern: &Option<String>, id: &str| pattern.as_ref().is_none_or(|wanted| wanted == id);
        let (mut jobs, mut segments, mut targets) = (0, 0, 0);
        for state in &OVERVIEW.targets {
            let snapshot =
                state.data.as_ref().and_then(|(_, snapshot)| snapshot.as_ref()).expect("it has one");
            let of_it: Vec<_> = snapshot
                .segments
                .iter()
                .filter(|it| {
                    wanted(&self.application, &state.target.application_id)
                        && wanted(&self.segment, &it.id)
                        && self.is_named(&state.names, &it.id)
                })
                .collect();
            targets += usize::from(!of_it.is_empty());
            segments += of_it.len();
            let shown = of_it.iter().flat_map(|segment| &segment.jobs);
            jobs += shown
                .filter(|job| {
                    self.statuses.is_empty() || self.statuses.iter().any(|it| it == job.status.as_str())
                })
                .count();
        }
        for ((name, total), page) in
            [("jobs", jobs), ("segments", segments), ("targets", targets), ("lists", 0)]
                .into_iter()
                .zip(self.pages)
        {
            let (rows, page) = (&document[name], page.unwrap_or(1));
            assert_eq!(rows["total"], total, "{name}");
            assert_eq!(rows["page"], page, "{name}");
            assert_eq!(rows["pages"], total.div_ceil(ROWS).max(1), "{name}");
            let there = total.saturating_sub((page - 1) * ROWS).min(ROWS);
            assert_eq!(rows["items"].as_array().map(Vec::len), Some(there), "{name}");
        }
        let rows = document["jobs"]["items"].as_array().expect("a list");
        for row in rows {
            let is = |name: &str, wanted: &Option<String>| {
                wanted.as_ref().is_none_or(|wanted| row[name] == **wanted)
            };
            assert!(is("application_id", &self.application) && is("segment_id", &self.segment), "{row}");
            assert!(
                self.statuses.is_empty() || self.statuses.iter().any(|status| row["status"] == **status),
                "{row}"
            );
        }
        self.check_order(rows);
    }

    fn is_named(&self, names: &KnownNames, segment_id: &str) -> bool {
        let Some(part) = &self.name else { return true };
        let segment = names.segments.iter().find(|segment| segment.id == segment_id);
        let names = [names.application.as_ref(), segment.and_then(|segment| segment.name.as_ref())];
        names.into_iter().flatten().any(|name| name.to_lowercase().contains(&part.to_lowercase()))
    }

    fn check_order(&self, rows: &[Value]) {
        let sort = self.sort.as_deref().filter(|sort| !sort.is_empty()).unwrap_or("-created");
        let (descending, key) = sort.strip_prefix('-').map_or((false, sort), |key| (true, key));
        let member = match key {
            "application" => "application_id",
            "segment" => "segment_id",
            "processed" => "processed_endpoints",
            "failed" => "failed_endpoints",
            key => key,
        };
        let states = JobStatus::ALL.map(JobStatus::as_str);
        let ordered = |a: &Value, b: &Value| {
            let order = match (&a[member], &b[member]) {
                (_, Value::Null) => return true,
                (Value::Number(a), Value::Number(b)) => a.as_i64().cmp(&b.as_i64()),
                (Value::String(a), Value::String(b)) if key == "status" => {
                    let place = |text: &String| states.iter().position(|state| state == text);
                    place(a).cmp(&place(b))
                }
                (Value::String(a), Value::String(b)) => a.cmp(b),
                // What lacks the value comes last.
                _ => return false,
            };
            if descending { order.is_ge() } else { order.is_le() }
        };
        assert!(rows.is_sorted_by(ordered), "not sorted by {sort}");
    }
}

fn decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    let bytes: Cow<'_, [u8]> = percent_decode(text.as_bytes()).into();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Every link of the page to itself is a query that is understood.
fn check_links(page: &str) {
    let links = page.split("href=\"").skip(1).filter_map(|rest| rest.split(['"', '#']).next());
    for link in links.filter_map(|link| link.strip_prefix('?')) {
        let query =
            link.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        assert!(Asked::read(&query).is_some(), "a link that is not understood: {link}");
    }
}

/// The first tag that the page's templates do not write.
fn tags_unknown(page: &str) -> Option<&str> {
    page.split('<').skip(1).find(|rest| {
        let name =
            rest.split(|c: char| !(c.is_ascii_alphanumeric() || "/!".contains(c))).next().unwrap_or_default();
        matches!(name.trim_start_matches('/'), "" | "script" | "img" | "iframe" | "object" | "x" | "svg")
    })
}

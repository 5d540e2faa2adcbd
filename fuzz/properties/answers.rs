//! The decoder of listings, against a second reading of the contract. The two share the check of JSON's syntax and nothing
//! else: this one finds the ends of values by counting brackets.

use std::sync::Arc;

use pinpoint_exporter::{
    model::{
        job::ExportJob,
        job_status::JobStatus,
        names::{NamedResource, TagLabels},
        timestamp::Timestamp,
    },
    pinpoint::fuzzing::{self, Page},
};
use serde::de::IgnoredAny;

use super::dates;

/// The body, as the listing of an application, of a segment, and as a list of applications or segments.
pub(crate) fn check(body: &[u8]) {
    let page = fuzzing::export_jobs(body, None);
    assert_eq!(page, fuzzing::export_jobs(body, None), "the same body is the same page");
    let own = fuzzing::export_jobs(body, Some("own"));
    let tags = TagLabels { keys: TAGS.map(str::to_owned).into(), labels: Vec::new() };
    let list = fuzzing::resources(body, &tags);
    for error in [page.as_ref().err(), own.as_ref().err(), list.as_ref().err()].into_iter().flatten() {
        assert!(error.len() < 200, "an error quotes the body: {error}");
    }
    let Some(expected) = expected(body) else {
        assert!(page.is_err() && own.is_err() && list.is_err(), "a body that is not the structure is read");
        return;
    };
    let [page, own] = [page, own].map(|page| page.expect("a body that is the structure"));
    bounds(&page, body);
    assert_eq!(page, expected);
    assert!(own.items.iter().all(|job| &*job.segment_id == "own"), "the request's id counts");
    assert_eq!((own.skipped, own.bad_members), (page.skipped, page.bad_members));
    assert_eq!(list.ok(), expected_list(body), "the same structure");
}

/// The keys of the tags that are shown.
const TAGS: [&str; 2] = ["team", "Cost Centre"];

/// The same body as a list of applications or segments.
fn expected_list(body: &[u8]) -> Option<Page<NamedResource>> {
    let (items, next_token) = structure(body)?;
    let mut page = Page { items: Vec::new(), skipped: 0, bad_members: 0, next_token };
    for item in items {
        match Members::of(item).and_then(|item| resource(&item, &mut page.bad_members)) {
            Some(resource) => page.items.push(resource),
            None => page.skipped += 1,
        }
    }
    Some(page)
}

fn resource(item: &Members<'_>, bad: &mut u64) -> Option<NamedResource> {
    let id = text(item.get("Id")?).filter(|id| !["", ".", ".."].contains(&id.as_str()))?;
    let tags = member(item, "tags", bad, Members::of).unwrap_or_default();
    Some(NamedResource {
        id,
        name: member(item, "Name", bad, name),
        segment_type: member(item, "SegmentType", bad, name),
        tags: TAGS.map(|key| member(&tags, key, bad, name)).into(),
    })
}

/// A name of more than 256 characters is cut, and ends in an ellipsis.
fn name(value: &str) -> Option<Arc<str>> {
    let characters: Vec<char> = text(value)?.chars().collect();
    let kept: String = match characters.get(..255) {
        Some(first) if characters.len() > 256 => first.iter().chain(&['…']).collect(),
        _ => characters.iter().collect(),
    };
    Some(kept.into())
}

/// What holds for any page.
fn bounds(page: &Page<ExportJob>, body: &[u8]) {
    let size = body.len() as u64;
    assert!(
        page.items.len() as u64 + page.skipped + page.bad_members <= size,
        "more is counted than is there"
    );
    assert_ne!(page.next_token.as_deref(), Some(""));
    for job in &page.items {
        assert!(!job.id.is_empty());
        assert_eq!(job.failures.len(), job.failure_samples.unwrap_or_default().min(100));
        let texts = [&job.job_type, &job.s3_url_prefix, &job.role_arn].into_iter().flatten();
        let texts: usize = texts.map(|text| text.len()).chain(job.failures.iter().map(String::len)).sum();
        assert!(texts <= body.len(), "text that was not there");
        let counts = [job.total_pieces, job.completed_pieces, job.failed_pieces, job.total_processed];
        let counts = counts.into_iter().chain([job.total_failures, job.segment_version]).flatten();
        assert!(counts.into_iter().all(|count| count >= 0));
    }
}

/// The items and the token, or `None` for a body that is refused.
fn structure(body: &[u8]) -> Option<(Vec<&str>, Option<String>)> {
    let body = std::str::from_utf8(body).ok()?;
    serde_json::from_str::<IgnoredAny>(body).ok()?;
    let body = Members::of(body.trim_matches(SPACE))?;
    // A body with two lists is refused.
    if body.0.iter().filter(|(name, _)| name.as_deref() == Some("Item")).count() != 1 {
        return None;
    }
    let next_token = body.get("NextToken").map(|token| text(token).ok_or(())).transpose().ok()?;
    let next_token = next_token.filter(|token| !token.is_empty());
    Some((elements(body.get("Item")?)?, next_token))
}

/// The page, or `None` for a body that is refused.
fn expected(body: &[u8]) -> Option<Page<ExportJob>> {
    let (items, next_token) = structure(body)?;
    let mut page = Page { items: Vec::new(), skipped: 0, bad_members: 0, next_token };
    for item in items {
        match Members::of(item).and_then(|item| job(&item, &mut page.bad_members)) {
            Some(job) => page.items.push(job),
            None => page.skipped += 1,
        }
    }
    Some(page)
}

fn job(item: &Members<'_>, bad: &mut u64) -> Option<ExportJob> {
    let id = text(item.get("Id")?).filter(|id| !id.is_empty())?;
    let definition = member(item, "Definition", bad, Members::of).unwrap_or_default();
    member(item, "ApplicationId", bad, text);
    let failures: Option<Vec<String>> =
        member(item, "Failures", bad, |value| elements(value)?.into_iter().map(text).collect());
    Some(ExportJob {
        id: id.into(),
        segment_id: member(&definition, "SegmentId", bad, text).unwrap_or_default().into(),
        status: member(item, "JobStatus", bad, text)
            .map_or(JobStatus::Unknown, |name| JobStatus::from_name(&name)),
        total_pieces: member(item, "TotalPieces", bad, whole),
        completed_pieces: member(item, "CompletedPieces", bad, whole),
        failed_pieces: member(item, "FailedPieces", bad, whole),
        total_processed: member(item, "TotalProcessed", bad, whole),
        total_failures: member(item, "TotalFailures", bad, whole),
        failure_samples: failures.as_ref().map(Vec::len),
        failures: failures.unwrap_or_default().into_iter().take(100).collect(),
        creation_date: member(item, "CreationDate", bad, date),
        completion_date: member(item, "CompletionDate", bad, date),
        job_type: member(item, "Type", bad, text).map(Into::into),
        segment_version: member(&definition, "SegmentVersion", bad, whole),
        s3_url_prefix: member(&definition, "S3UrlPrefix", bad, text).map(Into::into),
        role_arn: member(&definition, "RoleArn", bad, text).map(Into::into),
    })
}

/// A member that may be absent; of another type it is bad, and counts as absent.
fn member<'a, T>(
    of: &Members<'a>,
    name: &str,
    bad: &mut u64,
    read: impl Fn(&'a str) -> Option<T>,
) -> Option<T> {
    let read = read(of.get(name)?);
    *bad += u64::from(read.is_none());
    read
}

fn text(value: &str) -> Option<String> {
    serde_json::from_str(value).ok()
}

/// What the dates' own property reads.
fn date(value: &str) -> Option<Timestamp> {
    dates::milliseconds(text(value)?.trim()).map(Timestamp)
}

/// A whole number, by writing all its digits out.
fn whole(value: &str) -> Option<i64> {
    if !value.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return None;
    }
    let value = value.to_ascii_lowercase();
    let (mantissa, exponent) = value.split_once('e').unwrap_or((&value, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{}{fraction}", whole.trim_start_matches('-'));
    let significant = digits.trim_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    let exponent: i64 = exponent.parse().ok()?;
    // Zeros between the last significant digit and the point.
    let length = |text: &str| i64::try_from(text.len()).ok();
    let trailing = length(&digits)? - length(digits.trim_end_matches('0'))?;
    let zeros = exponent.checked_add(trailing)?.checked_sub(length(fraction)?)?;
    let zeros = usize::try_from(zeros).ok().filter(|zeros| *zeros < 20 && significant.len() < 20)?;
    format!("{significant}{}", "0".repeat(zeros)).parse().ok().filter(|_| !mantissa.starts_with('-'))
}

/// The members of an object that are not `null`, by name; of a member met twice the later one.
#[derive(Default)]
struct Members<'a>(Vec<(Option<String>, &'a str)>);

impl<'a> Members<'a> {
    fn of(value: &'a str) -> Option<Self> {
        value.starts_with('{').then(|| {
            let mut parts = parts(value).into_iter();
            let mut members = Vec::new();
            while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
                members.push((text(name), value));
            }
            Self(members)
        })
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.0.iter().rev().find(|(known, _)| known.as_deref() == Some(name))?;
        Some(*value).filter(|value| *value != "null")
    }
}

fn elements(value: &str) -> Option<Vec<&str>> {
    value.starts_with('[').then(|| parts(value))
}

const SPACE: [char; 4] = [' ', '\n', '\t', '\r'];

/// The values in an object or array, names among them: what stands between commas and colons, but those in strings and deeper.
fn parts(value: &str) -> Vec<&str> {
    let inner = &value[1..value.len() - 1];
    let (mut parts, mut start, mut depth, mut in_string, mut escaped) = (Vec::new(), 0, 0_u32, false, false);
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b',' | b':' if depth == 0 => {
                parts.push(inner[start..at].trim_matches(SPACE));
                start = at + 1;
            }
            _ => {}
        }
    }
    let last = inner[start..].trim_matches(SPACE);
    parts.extend(Some(last).filter(|last| !last.is_empty()));
    parts
}

//! The decoder of listings, against a second reading of the contract that shares nothing with it but the JSON lexer.

use pinpoint_exporter::{
    job::{ExportJob, JobStatus, Timestamp},
    pinpoint::fuzzing::{self, Page},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::dates;

/// The body, as the listing of an application, of a segment, and as a list of ids.
pub(crate) fn check(body: &[u8]) {
    let page = fuzzing::export_jobs(body, None);
    assert_eq!(page, fuzzing::export_jobs(body, None), "the same body is the same page");
    let own = fuzzing::export_jobs(body, Some("own"));
    let ids = fuzzing::ids(body);
    assert_eq!(page.is_ok(), own.is_ok());
    let expected = expected(body);
    let (Ok(page), Ok(own), Ok(ids)) = (page, own, ids) else {
        assert!(!matches!(expected, Expected::Page(_)), "a body that is the structure is refused");
        return;
    };
    bounds(&page, body);
    assert!(own.items.iter().all(|job| &*job.segment_id == "own"), "the request's id counts");
    assert_eq!((own.skipped, own.bad_members), (page.skipped, page.bad_members));
    let named: Vec<_> = page.items.iter().map(|job| job.id.to_string()).collect();
    assert_eq!((ids.items, ids.skipped, ids.next_token), (named, page.skipped, page.next_token.clone()));
    match expected {
        Expected::Page(expected) => assert_eq!(page, expected),
        Expected::Refused => panic!("a body that is not the structure is read: {page:?}"),
        // What the whole tree cannot hold is in a part that counts for nothing, or costs one member.
        Expected::Unsure => {}
    }
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
        assert!(job.failure_samples.unwrap_or_default() == job.failures.len());
        let texts = [&job.job_type, &job.s3_url_prefix, &job.role_arn].into_iter().flatten();
        let texts: usize = texts.map(|text| text.len()).chain(job.failures.iter().map(String::len)).sum();
        assert!(texts <= body.len(), "text that was not there");
    }
}

enum Expected {
    Page(Page<ExportJob>),
    Refused,
    /// A number beyond 64 bits, half a surrogate, a depth of 128, a member of the body twice: the decoder looks no closer
    /// than it must, the tree holds none of them.
    Unsure,
}

fn expected(body: &[u8]) -> Expected {
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "Item")]
        items: Option<Value>,
        #[serde(rename = "NextToken")]
        next_token: Option<Value>,
    }
    let Body { items, next_token } = match serde_json::from_slice(body) {
        Ok(Value::Object(_)) => match serde_json::from_slice(body) {
            Ok(body) => body,
            Err(_) => return Expected::Unsure,
        },
        Ok(_) => return Expected::Refused,
        Err(_) => return Expected::Unsure,
    };
    let next_token = match next_token {
        None | Some(Value::Null) => None,
        Some(Value::String(token)) => Some(token).filter(|token| !token.is_empty()),
        Some(_) => return Expected::Refused,
    };
    let Some(Value::Array(items)) = items else {
        return Expected::Refused;
    };
    let mut page = Page { items: Vec::new(), skipped: 0, bad_members: 0, next_token };
    for item in &items {
        match item.as_object().and_then(|item| job(item, &mut page.bad_members)) {
            Some(job) => page.items.push(job),
            None => page.skipped += 1,
        }
    }
    Expected::Page(page)
}

fn job(item: &Map<String, Value>, bad: &mut u64) -> Option<ExportJob> {
    let id = item.get("Id")?.as_str().filter(|id| !id.is_empty())?;
    let empty = Map::new();
    let definition = member(item, "Definition", bad, Value::as_object).unwrap_or(&empty);
    let text = |of: &Map<String, Value>, name, bad: &mut u64| {
        member(of, name, bad, Value::as_str).map(str::to_owned)
    };
    text(item, "ApplicationId", bad);
    let failures: Option<Vec<String>> = member(item, "Failures", bad, |value| {
        value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
    });
    Some(ExportJob {
        id: id.into(),
        segment_id: text(definition, "SegmentId", bad).unwrap_or_default().into(),
        status: text(item, "JobStatus", bad).map_or(JobStatus::Unknown, |name| JobStatus::from_name(&name)),
        total_pieces: member(item, "TotalPieces", bad, whole),
        completed_pieces: member(item, "CompletedPieces", bad, whole),
        failed_pieces: member(item, "FailedPieces", bad, whole),
        total_processed: member(item, "TotalProcessed", bad, whole),
        total_failures: member(item, "TotalFailures", bad, whole),
        failure_samples: failures.as_ref().map(Vec::len),
        failures: failures.unwrap_or_default(),
        creation_date: member(item, "CreationDate", bad, date),
        completion_date: member(item, "CompletionDate", bad, date),
        job_type: text(item, "Type", bad).map(Into::into),
        segment_version: member(definition, "SegmentVersion", bad, whole),
        s3_url_prefix: text(definition, "S3UrlPrefix", bad).map(Into::into),
        role_arn: text(definition, "RoleArn", bad).map(Into::into),
    })
}

/// A member that may be absent or `null`; of another type it is bad, and counts as absent.
fn member<'a, T>(
    of: &'a Map<String, Value>,
    name: &str,
    bad: &mut u64,
    read: impl Fn(&'a Value) -> Option<T>,
) -> Option<T> {
    let value = of.get(name).filter(|value| !value.is_null())?;
    let read = read(value);
    *bad += u64::from(read.is_none());
    read
}

#[expect(clippy::cast_possible_truncation, reason = "whole, and below 2^53")]
fn whole(value: &Value) -> Option<i64> {
    let float =
        || value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= (1_u64 << 53) as f64);
    value.as_i64().or_else(|| float().map(|number| number as i64))
}

/// What the dates' own property reads.
fn date(value: &Value) -> Option<Timestamp> {
    dates::milliseconds(value.as_str()?.trim()).map(Timestamp)
}

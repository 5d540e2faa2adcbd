//! Parses AWS's JSON, such as a page of `ExportJobsResponse`, into jobs and resources. Does no I/O. Only this module knows the
//! member names of AWS's listings.
//!
//! A bad member is dropped but its item is kept. A bad item is dropped but the rest of its page is kept. AWS's own SDKs drop
//! the whole page. A body of another structure is rejected, where the SDKs would see an empty listing. Each item is passed on
//! before the next one is parsed, so parsing a page needs memory only for what is kept.

use std::{borrow::Cow, sync::Arc};

use serde::de::Error as _;
use serde_json::value::RawValue;

use super::{
    date,
    json::{self, Members},
};
use crate::model::{
    job::ExportJob,
    job_status::JobStatus,
    names::{self, NamedResource, TagLabels},
    target::is_usable_id,
    timestamp::Timestamp,
};

/// The result of parsing a page, without its items.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// Items that are not an object or have no usable `Id`. They are left out.
    pub(super) skipped: u64,
    /// Members of a wrong type, and dates that cannot be parsed. They count as absent.
    pub(super) bad_members: u64,
    /// The token of the next page. If it is absent, `null` or `""`, the listing ends.
    pub(super) next_token: Option<String>,
}

impl Page {
    /// Whether every item was parsed completely.
    pub(super) fn is_clean(&self) -> bool {
        self.skipped == 0 && self.bad_members == 0
    }
}

/// Parses a body of export jobs. With `segment_id` every job belongs to that segment. Without `failures` their messages are only
/// counted. If it returns an error, `sink` may have received some of the jobs.
pub(super) fn export_jobs(
    body: &[u8],
    segment_id: Option<&Arc<str>>,
    failures: bool,
    sink: &mut dyn FnMut(ExportJob),
) -> Result<Page, serde_json::Error> {
    let kept = if failures { Failures::KEPT } else { 0 };
    page(body, |item: Item<'_>, bad_members| item.into_job(segment_id, kept, bad_members), sink)
}

/// Parses a body of applications or segments: their ids and, with `tags`, their names, types and tags. If it returns an error,
/// `sink` may have received some of them.
pub(super) fn resources(
    body: &[u8],
    tags: Option<&TagLabels>,
    sink: &mut dyn FnMut(NamedResource),
) -> Result<Page, serde_json::Error> {
    page(body, |item: Resource<'_>, bad_members| item.into_resource(tags, bad_members), sink)
}

/// Parses a body item by item. Skips an item if `make` returns `None`.
fn page<'a, I: Members<'a>, T>(
    body: &'a [u8],
    make: impl Fn(I, &mut u64) -> Option<T>,
    sink: &mut dyn FnMut(T),
) -> Result<Page, serde_json::Error> {
    let (mut page, mut others) = (Page::default(), OtherMembers::default());
    json::parse_list(body, "Item", &mut others, |item: Option<I>| {
        match item.and_then(|item| make(item, &mut page.bad_members)) {
            Some(item) => sink(item),
            None => page.skipped += 1,
        }
    })?;
    if let Some(token) = others.next_token {
        // Without its token the rest of the listing is unreachable, and a partial listing is never shown.
        let token = json::text(token)
            .ok_or_else(|| serde_json::Error::custom("the member `NextToken` is not a string"))?;
        page.next_token = Some(token.into_owned()).filter(|token| !token.is_empty());
    }
    Ok(page)
}

json::object! {
    /// The other members of `ExportJobsResponse`, `SegmentsResponse` or `ApplicationsResponse`. It is the body itself, without a
    /// wrapper.
    OtherMembers {
        next_token: "NextToken",
    }
}

json::object! {
    /// `ExportJobResponse`
    Item {
        application_id: "ApplicationId",
        completed_pieces: "CompletedPieces",
        completion_date: "CompletionDate",
        creation_date: "CreationDate",
        definition: "Definition",
        failed_pieces: "FailedPieces",
        failures: "Failures",
        id: "Id",
        job_status: "JobStatus",
        total_failures: "TotalFailures",
        total_pieces: "TotalPieces",
        total_processed: "TotalProcessed",
        job_type: "Type",
    }
}

json::object! {
    /// `SegmentResponse` or `ApplicationResponse`. In both, the name of `tags` is in lower case.
    Resource {
        id: "Id",
        name: "Name",
        segment_type: "SegmentType",
        tags: "tags",
    }
}

json::object! {
    /// `ExportJobResource`
    Definition {
        role_arn: "RoleArn",
        s3_url_prefix: "S3UrlPrefix",
        segment_id: "SegmentId",
        segment_version: "SegmentVersion",
    }
}

impl Item<'_> {
    /// Converts the item, or returns `None` without a usable `Id`. Counts unusable members.
    fn into_job(
        self,
        segment_id: Option<&Arc<str>>,
        kept_failures: usize,
        bad_members: &mut u64,
    ) -> Option<ExportJob> {
        let id = id(self.id)?.into();
        let mut bad = 0;
        let definition: Definition<'_> = note(&mut bad, self.definition, json::members).unwrap_or_default();
        // Parsed only to check its type. The application is known from the request.
        note(&mut bad, self.application_id, json::text);
        let listed_segment = note(&mut bad, definition.segment_id, text);
        let status = note(&mut bad, self.job_status, json::text);
        let failures = note(&mut bad, self.failures, |failures| Failures::read(failures, kept_failures));
        let job = ExportJob {
            id,
            segment_id: match segment_id {
                Some(segment_id) => Arc::clone(segment_id),
                None => listed_segment.unwrap_or_default(),
            },
            status: status.map_or(JobStatus::Unknown, |name| JobStatus::from_name(&name)),
            total_pieces: note(&mut bad, self.total_pieces, json::whole_number),
            completed_pieces: note(&mut bad, self.completed_pieces, json::whole_number),
            failed_pieces: note(&mut bad, self.failed_pieces, json::whole_number),
            total_processed: note(&mut bad, self.total_processed, json::whole_number),
            total_failures: note(&mut bad, self.total_failures, json::whole_number),
            failure_samples: failures.as_ref().map(|failures| failures.count),
            failures: failures.map(|failures| failures.first).unwrap_or_default(),
            creation_date: note(&mut bad, self.creation_date, timestamp),
            completion_date: note(&mut bad, self.completion_date, timestamp),
            job_type: note(&mut bad, self.job_type, text),
            segment_version: note(&mut bad, definition.segment_version, json::whole_number),
            s3_url_prefix: note(&mut bad, definition.s3_url_prefix, text),
            role_arn: note(&mut bad, definition.role_arn, text),
        };
        *bad_members += bad;
        Some(job)
    }
}

impl Resource<'_> {
    /// Converts the item, or returns `None` without a usable `Id`. Counts unusable members. Tags that are not shown are
    /// ignored, like unknown members.
    fn into_resource(self, tags: Option<&TagLabels>, bad_members: &mut u64) -> Option<NamedResource> {
        let id = id(self.id).filter(|id| is_usable_id(id))?.into_owned();
        let Some(TagLabels { keys, .. }) = tags else { return Some(NamedResource::unnamed(id)) };
        let mut bad = 0;
        let mut shown = vec![None; keys.len()];
        note(&mut bad, self.tags, |tags| {
            json::each_member(tags, |key, value| {
                if let Some(at) = keys.iter().position(|shown| shown == key) {
                    shown[at] = value;
                }
            })
        });
        let tags = shown.into_iter().map(|tag| note(&mut bad, tag, name)).collect();
        let resource = NamedResource {
            id,
            name: note(&mut bad, self.name, name),
            segment_type: note(&mut bad, self.segment_type, name),
            tags,
        };
        *bad_members += bad;
        Some(resource)
    }
}

/// The `Id` of an item, the only required member.
fn id(member: Option<&RawValue>) -> Option<Cow<'_, str>> {
    json::text(member?).filter(|id| !id.is_empty())
}

/// Reads a member, and counts it if it is unusable.
fn note<'a, T>(
    bad_members: &mut u64,
    member: Option<&'a RawValue>,
    read: impl FnOnce(&'a RawValue) -> Option<T>,
) -> Option<T> {
    let value = read(member?);
    *bad_members += u64::from(value.is_none());
    value
}

fn text(value: &RawValue) -> Option<Arc<str>> {
    json::text(value).map(Into::into)
}

fn name(value: &RawValue) -> Option<Arc<str>> {
    json::text(value).map(|text| names::bounded(&text))
}

fn timestamp(value: &RawValue) -> Option<Timestamp> {
    date::parse(&json::text(value)?)
}

/// `Failures`
struct Failures {
    count: usize,
    first: Vec<String>,
}

impl Failures {
    /// The API promises at most 100 messages. Further ones are only counted.
    const KEPT: usize = 100;

    fn read(value: &RawValue, kept: usize) -> Option<Self> {
        let mut failures = Self { count: 0, first: Vec::new() };
        json::each_text(value, |message| {
            failures.count += 1;
            if failures.count <= kept {
                failures.first.push(message.into_owned());
            }
        })?;
        Some(failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pinpoint::fuzzing::{Page, export_jobs, resources};

    fn page(body: &str) -> Page<ExportJob> {
        export_jobs(body.as_bytes(), None).unwrap()
    }

    /// Parses a page of one item with an id and this member.
    fn with(member: &str) -> Page<ExportJob> {
        page(&format!(r#"{{"Item":[{{"Id":"j",{member}}}]}}"#))
    }

    #[test]
    fn all_thirteen_members_and_the_four_of_the_definition_are_read() {
        let page = page(
            r#"{"Item":[{"ApplicationId":"a","CompletedPieces":2,"CompletionDate":"2018-06-04T22:04:20.585Z",
            "CreationDate":"2018-06-04T22:04:00Z","Definition":{"RoleArn":"r","S3UrlPrefix":"s3://b/","SegmentId":"s",
            "SegmentVersion":3},"FailedPieces":1,"Failures":["x","y"],"Id":"j","JobStatus":"FAILED","TotalFailures":4,
            "TotalPieces":5,"TotalProcessed":9007199254740993,"Type":"EXPORT"}],"NextToken":"t"}"#,
        );
        let job = ExportJob {
            id: "j".into(),
            segment_id: "s".into(),
            status: JobStatus::Failed,
            total_pieces: Some(5),
            completed_pieces: Some(2),
            failed_pieces: Some(1),
            total_processed: Some(9_007_199_254_740_993),
            total_failures: Some(4),
            failure_samples: Some(2),
            failures: vec!["x".to_owned(), "y".to_owned()],
            creation_date: Some(Timestamp(1_528_149_840_000)),
            completion_date: Some(Timestamp(1_528_149_860_585)),
            job_type: Some("EXPORT".into()),
            segment_version: Some(3),
            s3_url_prefix: Some("s3://b/".into()),
            role_arn: Some("r".into()),
        };
        let token = Some("t".to_owned());
        assert_eq!(page, Page { items: vec![job], skipped: 0, bad_members: 0, next_token: token });
    }

    #[test]
    fn a_body_that_is_not_the_structure_is_refused() {
        for body in [
            "",
            "{}",
            "null",
            "[]",
            r#"{"Item":null}"#,
            r#"{"Item":{}}"#,
            r#"{"item":[]}"#,
            r#"{"ExportJobsResponse":{"Item":[]}}"#,
            "<html></html>",
            r#"{"Item":[]} x"#,
            r#"{"Item":[],"NextToken":5}"#,
            r#"{"Item":[],"NextToken":1e999}"#,
            r#"{"Item":[],"NextToken":"\ud800"}"#,
            r#"{"Item":[{"Id":"a"}],"NextToken":["a"]}"#,
            r#"{"Item":"text"}"#,
            r#"{"Item":[{"Id":"a"} {"Id":"b"}]}"#,
            r#"{"Item":[{"Id":"a"},]}"#,
            r#"{"Item":[{"Id":"a",}]}"#,
            r#"{"Item":[{"Id":"a"}],"x":"#,
            r#"["Item",[]]"#,
            r#""{\"Item\":[]}""#,
            r#"{"Item":[{"Id":"j"}"#,
            r#"{"Item":[{"Id":"a"}],"Item":[{"Id":"b"}]}"#,
            r#"{"Item":[],"Item":null}"#,
            r#"{"Item":null,"Item":[]}"#,
        ] {
            assert!(export_jobs(body.as_bytes(), None).is_err(), "{body}");
        }
        assert!(export_jobs(br#"{"Item":[]}"#, None).is_ok());
    }

    #[test]
    fn members_that_are_not_known_are_ignored_whatever_their_name_or_value() {
        let deep = "{\"a\":[".repeat(1000) + &"]}".repeat(1000);
        for value in ["1e999", r#""\ud800""#, r#"{"\ud800":"\udfff"}"#, "null", &deep] {
            for name in ["unknown", r"\ud800", r"\u0000", "item", "id", ""] {
                let body = format!(
                    r#"{{"{name}":{value},"Item":[{{"{name}":{value},"Id":"a","Definition":{{"{name}":{value}}}}}],"{name}":1}}"#
                );
                let page = page(&body);
                assert_eq!((page.items.len(), page.skipped, page.bad_members), (1, 0, 0), "{name}: {value}");
            }
        }
    }

    #[test]
    fn of_a_long_list_of_failures_a_hundred_are_kept_and_all_are_counted() {
        let failures = |last: &str| format!(r#""Failures":[{}{last}]"#, "\"a\",".repeat(250));
        let page = with(&failures("\"b\""));
        assert_eq!((page.items[0].failure_samples, page.items[0].failures.len()), (Some(251), 100));
        assert_eq!(with(&failures("7")).bad_members, 1, "one that is no text makes the member unusable");
    }

    #[test]
    fn an_absent_null_or_empty_token_ends_the_listing() {
        for body in [r#"{"Item":[]}"#, r#"{"Item":[],"NextToken":null}"#, r#"{"Item":[],"NextToken":""}"#] {
            assert_eq!(page(body).next_token, None, "{body}");
        }
    }

    #[test]
    fn an_item_that_is_no_object_or_has_no_id_is_skipped_and_its_neighbours_survive() {
        for item in [
            "null",
            "5",
            "-1.5",
            "true",
            r#""text""#,
            r#"[{"Id":"x"}]"#,
            "{}",
            r#"{"Id":null}"#,
            r#"{"Id":7}"#,
            r#"{"Id":""}"#,
            "1e999",
            "-1e999999999999999999999",
            r#""\ud800""#,
            r#"["\ud800", 1e999, {"\udfff": "\ud800"}]"#,
            r#"{"\ud800":1}"#,
            r#"{"Id":"\ud800"}"#,
            r#"{"Id":1e999}"#,
            &("[".repeat(1000) + &"]".repeat(1000)),
        ] {
            let page = page(&format!(r#"{{"Item":[{{"Id":"a"}},{item},{{"Id":"b"}}]}}"#));
            let ids: Vec<&str> = page.items.iter().map(|job| &*job.id).collect();
            assert_eq!((ids, page.skipped, page.bad_members), (vec!["a", "b"], 1, 0), "{item}");
        }
    }

    #[test]
    fn a_member_of_a_wrong_type_counts_as_absent_and_the_item_stays() {
        let bare = with(r#""Unknown":{"a":[1]}"#);
        assert_eq!((bare.skipped, bare.bad_members), (0, 0));
        for member in [
            r#""ApplicationId":5"#,
            r#""CompletedPieces":"3""#,
            r#""CompletionDate":"yesterday""#,
            r#""CompletionDate":1528149840"#,
            r#""CreationDate":"""#,
            r#""CreationDate":"2018-02-30T00:00:00Z""#,
            r#""Definition":"text""#,
            r#""Definition":[]"#,
            r#""Definition":{"RoleArn":1}"#,
            r#""Definition":{"S3UrlPrefix":{}}"#,
            r#""Definition":{"SegmentId":5}"#,
            r#""Definition":{"SegmentVersion":"1"}"#,
            r#""FailedPieces":3.5"#,
            r#""FailedPieces":1e999"#,
            r#""Failures":"text""#,
            r#""Failures":["a",null]"#,
            r#""JobStatus":9"#,
            r#""TotalFailures":true"#,
            r#""TotalPieces":[1]"#,
            r#""TotalProcessed":99999999999999999999"#,
            r#""TotalPieces":-1"#,
            r#""TotalPieces":"\ud800""#,
            r#""CreationDate":"\ud800""#,
            r#""CompletionDate":1e999"#,
            r#""Definition":1e999"#,
            r#""Definition":"\ud800""#,
            r#""Definition":{"S3UrlPrefix":"\ud800"}"#,
            r#""Failures":["a","\udfff"]"#,
            r#""Failures":["a",1e999]"#,
            r#""Failures":{"a":"b"}"#,
            r#""JobStatus":"\ud800""#,
            r#""Type":"\ud800""#,
        ] {
            let page = with(member);
            assert_eq!((page.bad_members, page.skipped), (1, 0), "{member}");
            assert_eq!(page.items, bare.items, "{member}");
        }
    }

    #[test]
    fn null_means_absent_everywhere_but_in_the_id() {
        let bare = with(r#""Unknown":1"#);
        for member in [
            "ApplicationId",
            "CompletedPieces",
            "CompletionDate",
            "CreationDate",
            "Definition",
            "FailedPieces",
            "Failures",
            "JobStatus",
            "TotalFailures",
            "TotalPieces",
            "TotalProcessed",
            "Type",
        ] {
            assert_eq!(with(&format!(r#""{member}":null"#)), bare, "{member}");
        }
        let definition =
            r#""Definition":{"RoleArn":null,"S3UrlPrefix":null,"SegmentId":null,"SegmentVersion":null}"#;
        assert_eq!(with(definition), bare);
    }

    #[test]
    fn counts_are_kept_up_to_two_to_the_63rd_and_count_as_absent_beyond_and_below_0() {
        for (text, count) in [
            ("0", Some(0)),
            ("2147483648", Some(2_147_483_648)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9007199254740993.0", Some(9_007_199_254_740_993)),
            ("1e3", Some(1000)),
            ("9223372036854775808", None),
            ("-1", None),
        ] {
            let page = with(&format!(r#""TotalPieces":{text},"Definition":{{"SegmentVersion":{text}}}"#));
            let job = &page.items[0];
            assert_eq!((job.total_pieces, job.segment_version), (count, count), "{text}");
            assert_eq!(page.bad_members, if count.is_some() { 0 } else { 2 }, "{text}");
        }
    }

    #[test]
    fn an_unknown_state_is_kept_as_unknown_and_is_no_fault() {
        let page = with(r#""JobStatus":"RESTING""#);
        assert_eq!((page.items[0].status, page.bad_members), (JobStatus::Unknown, 0));
    }

    #[test]
    fn of_a_member_met_twice_the_later_counts() {
        let page = with(r#""TotalPieces":"x","TotalPieces":2"#);
        assert_eq!((page.items[0].total_pieces, page.bad_members), (Some(2), 0));
    }

    #[test]
    fn a_segments_listing_takes_the_segment_from_the_request() {
        let body = br#"{"Item":[{"Id":"j","Definition":{"SegmentId":"other"}}]}"#;
        assert_eq!(&*export_jobs(body, Some("asked")).unwrap().items[0].segment_id, "asked");
        assert_eq!(&*export_jobs(body, None).unwrap().items[0].segment_id, "other");
    }

    #[test]
    fn names_written_with_escapes_are_the_same_names() {
        assert_eq!(with(r#""T\u006ftalPieces":2"#).items[0].total_pieces, Some(2));
    }

    #[test]
    fn an_id_that_a_path_cannot_hold_is_skipped_in_a_list_and_kept_in_a_job() {
        let body = br#"{"Item":[{"Id":".."},{"Id":"a"},{"Id":"."},{"Id":""},{"Id":"\u002e."},{"Id":"..."}]}"#;
        let list = resources(body, &TagLabels::default()).unwrap();
        assert_eq!((ids(&list), list.skipped), (vec!["a", "..."], 4));
        assert_eq!(export_jobs(body, None).unwrap().items.len(), 5);
    }

    #[test]
    fn of_applications_and_segments_ids_names_types_and_the_tags_that_are_shown_are_read() {
        let body = br#"{"Item":[{"Id":"a","Name":"x","SegmentType":"IMPORT","tags":{"stage":"prod","team":"\u00e9","t":1}},
            {"Id":5},null,{"Id":"b","Dimensions":{"Name":"y","tags":{"team":"z"}},"Tags":{"team":"z"}}],"NextToken":"t"}"#;
        let page = resources(body, &tags()).unwrap();
        let named = NamedResource {
            id: "a".to_owned(),
            name: Some("x".into()),
            segment_type: Some("IMPORT".into()),
            tags: [Some("é".into()), None].into(),
        };
        let unnamed = NamedResource { tags: [None, None].into(), ..NamedResource::unnamed("b") };
        assert_eq!((page.items, page.skipped, page.bad_members), (vec![named, unnamed], 2, 0));
        assert_eq!(page.next_token.as_deref(), Some("t"));
        assert!(resources(br#"{"ApplicationsResponse":{"Item":[]}}"#, &tags()).is_err());
    }

    #[test]
    fn names_are_read_only_if_they_are_wanted() {
        let body = br#"{"Item":[{"Id":"a","Name":5,"tags":[]}]}"#;
        let mut read = Vec::new();
        let page = super::resources(body, None, &mut |resource| read.push(resource)).unwrap();
        assert_eq!((read, page.bad_members), (vec![NamedResource::unnamed("a")], 0));
    }

    #[test]
    fn a_name_a_type_or_a_tag_of_a_wrong_type_counts_as_absent_and_the_segment_stays() {
        let read = |member: &str| {
            resources(format!(r#"{{"Item":[{{"Id":"a",{member}}}]}}"#).as_bytes(), &tags()).unwrap()
        };
        let bare = read(r#""Unknown":1"#);
        for member in [
            r#""Name":5"#,
            r#""Name":"\ud800""#,
            r#""Name":{"a":"b"}"#,
            r#""SegmentType":[]"#,
            r#""SegmentType":1e999"#,
            r#""tags":"team""#,
            r#""tags":["team"]"#,
            r#""tags":1e999"#,
            r#""tags":{"team":true}"#,
            r#""tags":{"team":"\udfff"}"#,
            r#""tags":{"team":{"team":"a"}}"#,
            r#""tags":{"team":"a","team":7}"#,
        ] {
            let page = read(member);
            assert_eq!((page.bad_members, page.skipped), (1, 0), "{member}");
            assert_eq!(page.items, bare.items, "{member}");
        }
        for member in [
            r#""Name":null"#,
            r#""SegmentType":null"#,
            r#""tags":null"#,
            r#""tags":{}"#,
            r#""tags":{"team":null,"another":5,"\ud800":"x"}"#,
            r#""tags":{"team":"a","team":null}"#,
        ] {
            assert_eq!(read(member), bare, "{member}");
        }
        assert_eq!(read(r#""tags":{"team":7,"team":"a"}"#).items[0].tags[0].as_deref(), Some("a"));
    }

    #[test]
    fn a_hostile_name_is_kept_as_text_and_a_long_one_is_cut() {
        for name in ["", " ", "\u{202e}\u{0}\n\"<script>'\\", "日本", &"x".repeat(256)] {
            let body = serde_json::json!({"Item": [{"Id": "a", "Name": name, "tags": {"team": name}}]});
            let page = resources(body.to_string().as_bytes(), &tags()).unwrap();
            assert_eq!((page.items[0].name.as_deref(), page.bad_members), (Some(name), 0));
            assert_eq!(page.items[0].tags[0].as_deref(), Some(name));
        }
        let body = format!(r#"{{"Item":[{{"Id":"a","Name":"{}"}}]}}"#, "x".repeat(10_000));
        let page = resources(body.as_bytes(), &tags()).unwrap();
        assert_eq!(page.items[0].name.as_deref(), Some(&*("x".repeat(255) + "…")));
    }

    fn tags() -> TagLabels {
        TagLabels { keys: ["team", "stage of life"].map(str::to_owned).into(), labels: Vec::new() }
    }

    fn ids(page: &Page<NamedResource>) -> Vec<&str> {
        page.items.iter().map(|resource| resource.id.as_str()).collect()
    }

    #[test]
    fn reading_a_body_takes_no_more_than_its_size_again_beyond_what_is_kept() {
        const SIZE: usize = 1 << 20;
        let filled = |begin: &str, part: &str, end: &str| {
            let parts = part.repeat((SIZE - begin.len() - end.len()) / part.len());
            [begin, &parts, end].concat()
        };
        let half = SIZE / 4;
        for body in [
            filled(r#"{"Item":[0"#, ",0", "]}"),
            filled(r#"{"Item":[0"#, ",{}", "]}"),
            filled(r#"{"Item":[0"#, r#",{"Id":"a"}"#, "]}"),
            filled(r#"{"Item":[""#, r"abcdefg\n", r#""]}"#),
            filled(r#"{"Item":[{"Id":"a","ApplicationId":""#, r"abcdefg\n", r#""}]}"#),
            filled(r#"{"Item":[{"Id":"a","ApplicationId":""#, r"\u0001", r#""}]}"#),
            filled(r#"{"Item":[{"Id":"a",""#, r"abcdefg\n", r#"":0}]}"#),
            filled(r#"{"Item":[{"Id":"a","Failures":["""#, r#","""#, "]}]}"),
            filled(r#"{"Item":[{"Id":"a","Failures":["""#, r#","abcdefg\n""#, "]}]}"),
            filled(r#"{"Item":[{"Id":"a","TotalPieces":1"#, "0", "}]}"),
            filled(r#"{"Item":[]"#, r#","Item":[]"#, "}"),
            filled(r#"{"Item":[{"Id":"a","Name":""#, r"abcdefg\n", r#""}]}"#),
            filled(r#"{"Item":[{"Id":"a","tags":{"team":""#, r"\u0001", r#""}}]}"#),
            filled(r#"{"Item":[{"Id":"a","tags":{""#, r"\u0001", r#"":"b"}}]}"#),
            filled(r#"{"Item":[{"Id":"a","tags":{"team":"b""#, r#","team":"b""#, "}}]}"),
            filled(r#"{"Item":[{"Id":"a","tags":{"a":"b""#, r#","a":[]"#, "}}]}"),
            filled("\"", r"\u0001", "\""),
            filled("{\"", r"\u0001", "\":0}"),
            filled(r#"{"Item":[0"#, ",0", ","),
            // serde_json uses a byte for each level of nesting.
            ["{\"Item\":[", &"[".repeat(half), &"]".repeat(half), "]}"].concat(),
        ] {
            let begin = &body[..body.floor_char_boundary(40)];
            for decode in [
                |body: &[u8]| _ = super::export_jobs(body, None, true, &mut drop),
                |body: &[u8]| _ = super::resources(body, Some(&tags()), &mut drop),
                |body: &[u8]| _ = crate::pinpoint::fuzzing::failure(400, None, body, &credentials()),
            ] {
                let most = allocation_counter::measure(|| decode(body.as_bytes())).bytes_max;
                assert!(most <= SIZE as u64 + 16 * 1024, "{most} bytes for {begin}…");
            }
        }
    }

    fn credentials() -> aws_credential_types::Credentials {
        aws_credential_types::Credentials::new("AKIDEXAMPLE", "secret", None, None, "test")
    }
}

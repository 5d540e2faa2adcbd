//! The mirror of AWS's JSON: a page of `ExportJobsResponse` → jobs. Pure, and the only room that knows the wire's names.
//!
//! It reads what is there and loses as little as it can: one bad member costs that member, one bad item that item
//! (AWS's own SDKs lose the whole page). Only a body that is not the structure at all is refused, which is where the SDKs
//! see an empty listing.

use std::{borrow::Cow, fmt, marker::PhantomData, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::job::{ExportJob, JobStatus, Timestamp};

/// One page of a listing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// Items left out: no object, or without an `Id`.
    pub(super) skipped: u64,
    /// Members of a wrong type, and dates that cannot be read: they count as absent.
    pub(super) bad_members: u64,
    /// Absent, `null` and `""` all end the listing.
    pub(super) next_token: Option<String>,
}

impl<T> Page<T> {
    /// Whether every item was understood whole.
    pub(super) fn is_clean(&self) -> bool {
        self.skipped == 0 && self.bad_members == 0
    }
}

/// Reads a body of export jobs. With `segment_id` the listing is that segment's, and so is every job in it.
pub(super) fn export_jobs(
    body: &[u8],
    segment_id: Option<&Arc<str>>,
) -> Result<Page<ExportJob>, serde_json::Error> {
    page(body, |item: Item<'_>, bad_members| item.into_job(segment_id, bad_members))
}

/// Reads a body of applications or segments, of which only the ids are of use.
pub(super) fn ids(body: &[u8]) -> Result<Page<String>, serde_json::Error> {
    page(body, |item: Named<'_>, _bad_members| id(item.id))
}

/// Reads a body item by item; an item of which nothing can be made is skipped.
fn page<'a, I: Members<'a>, T>(
    body: &'a [u8],
    mut make: impl FnMut(I, &mut u64) -> Option<T>,
) -> Result<Page<T>, serde_json::Error> {
    let Body { items, next_token } = serde_json::from_slice(body)?;
    let next_token = next_token.filter(|token| !token.is_empty());
    let mut page = Page { items: Vec::with_capacity(items.len()), skipped: 0, bad_members: 0, next_token };
    for item in items {
        match item.and_then(|item| make(item, &mut page.bad_members)) {
            Some(item) => page.items.push(item),
            None => page.skipped += 1,
        }
    }
    Ok(page)
}

/// `ExportJobsResponse`, `SegmentsResponse`, `ApplicationsResponse`. It is the payload itself: the body has no wrapper around
/// it.
struct Body<I> {
    items: Vec<Option<I>>,
    next_token: Option<String>,
}

impl<'de, I: Members<'de>> Deserialize<'de> for Body<I> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BodyVisitor<I>(PhantomData<I>);

        impl<'de, I: Members<'de>> Visitor<'de> for BodyVisitor<I> {
            type Value = Body<I>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with the member `Item`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut items, mut next_token) = (None, None);
                while let Some(Key(key)) = map.next_key()? {
                    match &*key {
                        "Item" => items = Some(map.next_value::<Items<I>>()?.0),
                        "NextToken" => next_token = map.next_value()?,
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                let items = items.ok_or_else(|| serde::de::Error::missing_field("Item"))?;
                Ok(Body { items, next_token })
            }
        }

        deserializer.deserialize_map(BodyVisitor(PhantomData))
    }
}

struct Items<I>(Vec<Option<I>>);

impl<'de, I: Members<'de>> Deserialize<'de> for Items<I> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemsVisitor<I>(PhantomData<I>);

        impl<'de, I: Members<'de>> Visitor<'de> for ItemsVisitor<I> {
            type Value = Items<I>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the list `Item`")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(Lenient(item)) = items.next_element()? {
                    all.push(item);
                }
                Ok(Items(all))
            }
        }

        deserializer.deserialize_seq(ItemsVisitor(PhantomData))
    }
}

/// A member's name, borrowed from the body unless it holds an escape.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The members of an object that are of use, each still in the bytes of the body. Of a member met twice the later counts.
trait Members<'a>: Default {
    /// Where the member of that name goes.
    fn member(&mut self, name: &str) -> Option<&mut Option<&'a RawValue>>;
}

/// Declares an object of the wire with its members' names.
macro_rules! object {
    ($(#[$doc:meta])* $object:ident { $($field:ident: $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Default)]
        struct $object<'a> { $($field: Option<&'a RawValue>,)* }

        impl<'a> Members<'a> for $object<'a> {
            fn member(&mut self, name: &str) -> Option<&mut Option<&'a RawValue>> {
                match name {
                    $($name => Some(&mut self.$field),)*
                    _ => None,
                }
            }
        }
    };
}

object! {
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

object! {
    /// `SegmentResponse` or `ApplicationResponse`
    Named {
        id: "Id",
    }
}

object! {
    /// `ExportJobResource`
    Definition {
        role_arn: "RoleArn",
        s3_url_prefix: "S3UrlPrefix",
        segment_id: "SegmentId",
        segment_version: "SegmentVersion",
    }
}

impl Item<'_> {
    /// The job, or `None` without a usable `Id`. Counts members that cannot be used.
    fn into_job(self, segment_id: Option<&Arc<str>>, bad_members: &mut u64) -> Option<ExportJob> {
        let id = id(self.id)?;
        let mut bad = 0;
        let definition: Definition<'_> = note(&mut bad, object(self.definition)).unwrap_or_default();
        // Read for its type alone: the request knows the application.
        let _: Option<String> = note(&mut bad, read(self.application_id));
        let listed_segment: Option<String> = note(&mut bad, read(definition.segment_id));
        let status: Option<String> = note(&mut bad, read(self.job_status));
        let failures: Option<Vec<String>> = note(&mut bad, read(self.failures));
        let job = ExportJob {
            id: id.into(),
            segment_id: match segment_id {
                Some(segment_id) => Arc::clone(segment_id),
                None => listed_segment.unwrap_or_default().into(),
            },
            status: status.map_or(JobStatus::Unknown, |name| JobStatus::from_name(&name)),
            total_pieces: note(&mut bad, count(self.total_pieces)),
            completed_pieces: note(&mut bad, count(self.completed_pieces)),
            failed_pieces: note(&mut bad, count(self.failed_pieces)),
            total_processed: note(&mut bad, count(self.total_processed)),
            total_failures: note(&mut bad, count(self.total_failures)),
            failure_samples: failures.as_ref().map(Vec::len),
            failures: failures.unwrap_or_default(),
            creation_date: note(&mut bad, date(self.creation_date)),
            completion_date: note(&mut bad, date(self.completion_date)),
            job_type: note(&mut bad, text(self.job_type)),
            segment_version: note(&mut bad, count(definition.segment_version)),
            s3_url_prefix: note(&mut bad, text(definition.s3_url_prefix)),
            role_arn: note(&mut bad, text(definition.role_arn)),
        };
        *bad_members += bad;
        Some(job)
    }
}

/// The one member that an item cannot do without.
fn id(member: Option<&RawValue>) -> Option<String> {
    read(member).ok().flatten().filter(|id: &String| !id.is_empty())
}

fn text(member: Option<&RawValue>) -> Result<Option<Arc<str>>, Unreadable> {
    Ok(read(member)?.map(|text: String| text.into()))
}

/// A member of a wrong type, or a date that is none.
struct Unreadable;

fn note<T>(bad: &mut u64, member: Result<Option<T>, Unreadable>) -> Option<T> {
    member.unwrap_or_else(|Unreadable| {
        *bad += 1;
        None
    })
}

/// The members of an object.
fn object<'a, T: Members<'a>>(member: Option<&'a RawValue>) -> Result<Option<T>, Unreadable> {
    match member.map(RawValue::get) {
        None | Some("null") => Ok(None),
        Some(text) => match serde_json::from_str(text) {
            Ok(Lenient(Some(members))) => Ok(Some(members)),
            _ => Err(Unreadable),
        },
    }
}

fn read<T: DeserializeOwned>(member: Option<&RawValue>) -> Result<Option<T>, Unreadable> {
    member.map_or(Ok(None), |value| serde_json::from_str(value.get()).map_err(|_| Unreadable))
}

/// A whole number; `3.0` is one too, as both of AWS's reference clients have it.
fn count(member: Option<&RawValue>) -> Result<Option<i64>, Unreadable> {
    let Some(text) = member.map(RawValue::get) else {
        return Ok(None);
    };
    if let Ok(count) = serde_json::from_str(text) {
        return Ok(count);
    }
    let number: f64 = serde_json::from_str(text).map_err(|_| Unreadable)?;
    // Beyond 2^53 a fraction cannot be told from none.
    if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within range")]
        return Ok(Some(number as i64));
    }
    Err(Unreadable)
}

/// The model calls dates plain strings; every sample of AWS's is RFC 3339, mostly with milliseconds and `Z`.
fn date(member: Option<&RawValue>) -> Result<Option<Timestamp>, Unreadable> {
    let text: Option<String> = read(member)?;
    text.map(|text| OffsetDateTime::parse(text.trim(), &Rfc3339).map(Timestamp::from).map_err(|_| Unreadable))
        .transpose()
}

/// An object's members, or `None` for a value that is no object.
struct Lenient<T>(Option<T>);

impl<'de, T: Members<'de>> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LenientVisitor<T>(PhantomData<T>);

        impl<'de, T: Members<'de>> Visitor<'de> for LenientVisitor<T> {
            type Value = Option<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = T::default();
                while let Some(Key(key)) = map.next_key()? {
                    match members.member(&key) {
                        Some(member) => *member = Some(map.next_value()?),
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Some(members))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(None)
            }

            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(None)
            }
        }

        deserializer.deserialize_any(LenientVisitor(PhantomData)).map(Lenient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(body: &str) -> Page<ExportJob> {
        export_jobs(body.as_bytes(), None).unwrap()
    }

    /// The page of one item with this member beside its id.
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
            r#"{"Item":[{"Id":"j"}"#,
        ] {
            assert!(export_jobs(body.as_bytes(), None).is_err(), "{body}");
        }
        assert!(export_jobs(br#"{"Item":[]}"#, None).is_ok());
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
        ] {
            let page = page(&format!(r#"{{"Item":[{{"Id":"a"}},{item},{{"Id":"b"}}]}}"#));
            let ids: Vec<&str> = page.items.iter().map(|job| &*job.id).collect();
            assert_eq!((ids, page.skipped, page.bad_members), (vec!["a", "b"], 1, 0), "{item}");
        }
    }

    #[test]
    fn a_member_of_a_wrong_type_counts_as_absent_and_the_item_stays() {
        let bare = with(r#""Unknown":{"a":[1]}"#);
        assert!(bare.is_clean());
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
    fn counts_are_whole_numbers_of_64_bits_also_when_written_with_a_fraction_of_zero() {
        for (text, count) in [
            ("2147483648", 2_147_483_648),
            ("9223372036854775807", i64::MAX),
            ("-1", -1),
            ("3.0", 3),
            ("1e3", 1000),
        ] {
            let page = with(&format!(r#""TotalPieces":{text}"#));
            assert_eq!((page.items[0].total_pieces, page.is_clean()), (Some(count), true), "{text}");
        }
    }

    #[test]
    fn dates_are_read_with_any_offset_and_any_fraction() {
        for (text, date) in [
            ("2018-06-04T22:04:20.585Z", 1_528_149_860_585),
            ("2018-06-04T22:04:20Z", 1_528_149_860_000),
            ("2018-06-05T00:04:20.585+02:00", 1_528_149_860_585),
            ("2018-06-04t22:04:20.585999z", 1_528_149_860_585),
            ("1969-12-31T23:59:59.999Z", -1),
        ] {
            let page = with(&format!(r#""CreationDate":"{text}""#));
            assert_eq!(page.items[0].creation_date, Some(Timestamp(date)), "{text}");
        }
    }

    #[test]
    fn an_unknown_state_is_kept_as_unknown_and_is_no_fault() {
        let page = with(r#""JobStatus":"RESTING""#);
        assert_eq!((page.items[0].status, page.is_clean()), (JobStatus::Unknown, true));
    }

    #[test]
    fn of_a_member_met_twice_the_later_counts() {
        let page = with(r#""TotalPieces":"x","TotalPieces":2"#);
        assert_eq!((page.items[0].total_pieces, page.is_clean()), (Some(2), true));
    }

    #[test]
    fn a_segments_listing_takes_the_segment_from_the_request() {
        let segment: Arc<str> = "asked".into();
        let body = br#"{"Item":[{"Id":"j","Definition":{"SegmentId":"other"}}]}"#;
        assert_eq!(&*export_jobs(body, Some(&segment)).unwrap().items[0].segment_id, "asked");
        assert_eq!(&*export_jobs(body, None).unwrap().items[0].segment_id, "other");
    }

    #[test]
    fn names_written_with_escapes_are_the_same_names() {
        assert_eq!(with(r#""T\u006ftalPieces":2"#).items[0].total_pieces, Some(2));
    }

    #[test]
    fn of_applications_and_segments_the_ids_are_read() {
        let body = br#"{"Item":[{"Id":"a","Name":"x"},{"Id":5},null,{"Id":"b"}],"NextToken":"t"}"#;
        let page = ids(body).unwrap();
        assert_eq!(
            (page.items, page.skipped, page.next_token),
            (vec!["a".into(), "b".into()], 2, Some("t".into()))
        );
        assert!(ids(br#"{"ApplicationsResponse":{"Item":[]}}"#).is_err());
    }
}

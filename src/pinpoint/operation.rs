//! The operations of the API as values: name, path and query. Does no I/O.

use percent_encoding::utf8_percent_encode;
use url::Url;

use crate::model::path_segment::ESCAPED;

/// The API operations that the exporter uses, named as in [the API reference] and in IAM.
///
/// [the API reference]: https://docs.aws.amazon.com/pinpoint/latest/apireference/operations.html
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    GetSegmentExportJobs,
    GetExportJobs,
    GetSegments,
    GetApps,
}

impl Operation {
    pub const ALL: [Self; 4] =
        [Self::GetSegmentExportJobs, Self::GetExportJobs, Self::GetSegments, Self::GetApps];

    /// The name in AWS's documentation and of the IAM action.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GetSegmentExportJobs => "GetSegmentExportJobs",
            Self::GetExportJobs => "GetExportJobs",
            Self::GetSegments => "GetSegments",
            Self::GetApps => "GetApps",
        }
    }
}

/// A paginated listing of the API: an operation on a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) operation: Operation,
    /// A description of the resource for messages.
    pub(super) resource: String,
    path: String,
}

impl Listing {
    /// `GetSegmentExportJobs`: the export jobs of one segment.
    pub(super) fn segment_export_jobs(application_id: &str, segment_id: &str) -> Self {
        Self {
            operation: Operation::GetSegmentExportJobs,
            resource: format!("segment {segment_id:?} of application {application_id:?}"),
            path: format!("/v1/apps/{}/segments/{}/jobs/export", escape(application_id), escape(segment_id)),
        }
    }

    /// `GetExportJobs`: every export job of one application.
    pub(super) fn export_jobs(application_id: &str) -> Self {
        Self {
            operation: Operation::GetExportJobs,
            resource: format!("application {application_id:?}"),
            path: format!("/v1/apps/{}/jobs/export", escape(application_id)),
        }
    }

    /// `GetSegments`: the segments of one application.
    pub(super) fn segments(application_id: &str) -> Self {
        Self {
            operation: Operation::GetSegments,
            resource: format!("application {application_id:?}"),
            path: format!("/v1/apps/{}/segments", escape(application_id)),
        }
    }

    /// `GetApps`: the applications of the region.
    pub(super) fn applications() -> Self {
        Self { operation: Operation::GetApps, resource: "the region".to_owned(), path: "/v1/apps".to_owned() }
    }

    /// The URL of one page. It keeps the path of `endpoint` as a prefix, without a trailing slash.
    pub(super) fn url(
        &self,
        endpoint: &Url,
        page_size: u32,
        token: Option<&str>,
    ) -> Result<Url, UnusableAddress> {
        let mut url = endpoint.clone();
        // The path and the token are already escaped. `set_path` and `set_query` keep `%` and unreserved characters.
        url.set_path(&format!("{}{}", endpoint.path().trim_end_matches('/'), self.path));
        let token = token.map(|token| format!("&token={}", escape(token))).unwrap_or_default();
        url.set_query(Some(&format!("page-size={page_size}{token}")));
        // `set_path` resolves `.` and `..`, even when escaped, so the path would name another resource.
        if !url.path().ends_with(&self.path) || self.path.contains("//") {
            return Err(UnusableAddress::OtherResource);
        }
        if url.as_str().len() > MAX_URL_BYTES {
            return Err(UnusableAddress::TooLong);
        }
        Ok(url)
    }
}

/// The maximum length of a URL. The HTTP client rejects longer ones, and servers reject much shorter ones.
const MAX_URL_BYTES: usize = 60_000;

/// Why a page has no valid URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnusableAddress {
    /// An id cannot be part of a path.
    #[error("an id is empty, `.` or `..`, so the URL would name another resource; nothing was sent")]
    OtherResource,
    /// An id has many thousands of characters.
    #[error("the URL with these ids is longer than {MAX_URL_BYTES} bytes; nothing was sent")]
    TooLong,
}

fn escape(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, ESCAPED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url_of(application: &str, segment: &str, token: Option<&str>) -> String {
        let endpoint = Url::parse("http://localhost:1/").unwrap();
        Listing::segment_export_jobs(application, segment).url(&endpoint, 100, token).unwrap().to_string()
    }

    #[test]
    fn everything_but_unreserved_characters_is_escaped_once() {
        assert_eq!(
            url_of("a/b+c %2F", "日-._~", Some("eyJ+/x==&a=b")),
            "http://localhost:1/v1/apps/a%2Fb%2Bc%20%252F/segments/%E6%97%A5-._~/jobs/export\
             ?page-size=100&token=eyJ%2B%2Fx%3D%3D%26a%3Db"
        );
    }

    #[test]
    fn the_path_of_an_endpoint_is_kept_without_a_double_slash() {
        for endpoint in ["http://localhost/base", "http://localhost/base/"] {
            let url = Listing::export_jobs("app").url(&Url::parse(endpoint).unwrap(), 5, None);
            assert_eq!(url.unwrap().as_str(), "http://localhost/base/v1/apps/app/jobs/export?page-size=5");
        }
    }

    #[test]
    fn an_id_that_a_path_cannot_hold_has_no_address() {
        let endpoint = Url::parse("http://localhost/v1/apps/..a/").unwrap();
        let url = |listing: Listing| listing.url(&endpoint, 5, None);
        for id in ["", ".", ".."] {
            for listing in [
                Listing::export_jobs(id),
                Listing::segments(id),
                Listing::segment_export_jobs(id, "s"),
                Listing::segment_export_jobs("a", id),
            ] {
                assert_eq!(url(listing), Err(UnusableAddress::OtherResource), "{id:?}");
            }
        }
        for id in ["...", "%2e%2e", "..%2f", "/..", "../", "a..", ". ", "\\", "?", "#"] {
            assert!(url(Listing::segment_export_jobs(id, id)).is_ok(), "{id:?}");
        }
        assert_eq!(url(Listing::segments(&"é".repeat(10_000))), Err(UnusableAddress::TooLong));
    }
}

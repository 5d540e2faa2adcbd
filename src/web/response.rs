//! Creates responses with the headers that all of them have.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};

use super::{body::Body, exporter::Content};

pub(super) fn response(
    status: StatusCode,
    content_type: &'static str,
    text: impl Into<Bytes>,
) -> Response<Body> {
    with_content(status, content_type, vec![text.into()].into())
}

pub(super) fn with_content(
    status: StatusCode,
    content_type: &'static str,
    content: Content,
) -> Response<Body> {
    let mut response = Response::new(Body::from(content));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Makes a response to `HEAD`, which says how long the body would be. hyper leaves the body out over HTTP/1 only.
pub(super) fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    // Some responses to GET have no body and no length, such as 304.
    if body.length() > 0 {
        head.headers.insert(CONTENT_LENGTH, body.length().into());
    }
    Response::from_parts(head, Content::from(Vec::new()).into())
}

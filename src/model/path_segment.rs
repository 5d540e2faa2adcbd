//! Percent-encoding of an id as one segment of a URL path.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// The characters that are escaped in an id, in settings and in requests: all but the unreserved characters of
/// [RFC 3986, section 2.3](https://www.rfc-editor.org/rfc/rfc3986#section-2.3). AWS's own clients do the same.
pub(crate) const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

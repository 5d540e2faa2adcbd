//! Percent-encoding of an id as one segment of a path.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// What is escaped in an id, by users and on the wire: everything but the unreserved characters of
/// [RFC 3986, section 2.3](https://www.rfc-editor.org/rfc/rfc3986#section-2.3), as AWS's own clients do.
pub(crate) const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

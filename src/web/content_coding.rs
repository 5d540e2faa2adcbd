//! Decides whether a response is compressed, from `Accept-Encoding` as [RFC 9110, section 12.5.3] defines it. Does no I/O.
//!
//! [RFC 9110, section 12.5.3]: https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3

use http::{HeaderMap, header::ACCEPT_ENCODING};

/// Whether the client accepts gzip and prefers it at least as much as no compression. Parts that cannot be parsed are ignored.
/// A client without the header gets no compression.
pub(super) fn prefers_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for part in values.flat_map(|value| value.split(',')) {
        let (coding, weight) =
            part.split_once(';').map_or((part, None), |(coding, rest)| (coding, Some(rest)));
        let Some(quality) = weight.map_or(Some(1.0), quality) else {
            continue;
        };
        let coding = coding.trim();
        let is = |name: &str| coding.eq_ignore_ascii_case(name);
        if is("gzip") || is("x-gzip") {
            gzip = Some(quality);
        } else if is("identity") {
            identity = Some(quality);
        } else if coding == "*" {
            any = Some(quality);
        }
    }
    let gzip = gzip.or(any).unwrap_or(0.0);
    // If the header does not name `identity`, no compression is the last choice.
    let identity = identity.or(any.filter(|any| *any == 0.0)).unwrap_or(0.0);
    gzip > 0.0 && gzip >= identity
}

/// Parses a weight such as `q=0.5`, from 0 to 1 with at most three decimals.
fn quality(weight: &str) -> Option<f32> {
    let (name, value) = weight.split_once('=')?;
    let value = value.trim();
    let well_formed =
        name.trim().eq_ignore_ascii_case("q") && value.len() <= 5 && value.starts_with(['0', '1']);
    value.parse().ok().filter(|quality| well_formed && (0.0..=1.0).contains(quality))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_chosen_by_its_weight() {
        for (lines, expected) in [
            (&[][..], false),
            (&[""], false),
            (&["gzip"], true),
            (&["GZip"], true),
            (&["x-gzip"], true),
            (&["*"], true),
            (&["deflate, br"], false),
            (&["identity"], false),
            (&["gzip, identity"], true),
            (&["gzip;q=0"], false),
            (&["gzip;q=0.000"], false),
            (&["gzip;q=0, *"], false),
            (&["*;q=0"], false),
            (&["gzip;q=0.5, identity;q=0.9"], false),
            (&["gzip;q=0.5, identity;q=0.5"], true),
            (&["gzip;q=0.1, identity;q=0"], true),
            (&["identity;q=0"], false),
            (&["identity;q=0, *;q=0.5"], true),
            (&["deflate;q=1.0, gzip ; q=0.001"], true),
            (&["gzip;q=2"], false),
            (&["gzip;q=x"], false),
            (&["gzip;q=-1"], false),
            (&["gzip;q=NaN"], false),
            (&["gzip;level=1"], false),
            (&["br", "gzip"], true),
            (&["gzip", "gzip;q=0"], false),
            (&[",,gzip,,"], true),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(ACCEPT_ENCODING, line.parse().unwrap());
            }
            assert_eq!(prefers_gzip(&headers), expected, "{lines:?}");
        }
    }
}

//! Pages of a listing. Tokens are opaque and contain every character that a careless client would encode incorrectly.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;

use crate::error::AwsError;

/// The page size if the query sets none.
const DEFAULT_PAGE_SIZE: usize = 100;

/// Decodes a name or value of a query. A `+` is a space, as in every query. If a client does not escape the `+` in a token, it
/// asks for another page, and its signature does not match.
pub(crate) fn form_decoded(text: &str) -> Vec<u8> {
    percent_decode_str(&text.replace('+', " ")).collect()
}

/// The decoded parameters of a query.
pub(crate) fn query(text: &str) -> HashMap<String, String> {
    let decode = |text: &str| String::from_utf8_lossy(&form_decoded(text)).into_owned();
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(k, v)| (decode(k), decode(v)))
        .collect()
}

/// The token for the items from `from` on. If `instant` is set, the next page shows the items of that instant.
pub(crate) fn token(from: usize, instant: Option<i64>) -> String {
    let instant = instant.map(|instant| format!(".{instant:x}")).unwrap_or_default();
    format!("eyJ{from:x}{instant}/+ &=%2B{:x}==", checksum(from))
}

fn checksum(from: usize) -> usize {
    from.wrapping_mul(0x9e37_79b9).rotate_left(7) & 0xffff
}

fn read_token(token: &str) -> Option<(usize, Option<i64>)> {
    let (position, _) = token.strip_prefix("eyJ")?.split_once('/')?;
    let (from, instant) = match position.split_once('.') {
        Some((from, instant)) => (from, Some(i64::from_str_radix(instant, 16).ok()?)),
        None => (position, None),
    };
    let from = usize::from_str_radix(from, 16).ok()?;
    (self::token(from, instant) == token).then_some((from, instant))
}

/// The page that a query asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    /// The index of the first item.
    pub(crate) from: usize,
    /// The most items on the page.
    pub(crate) size: usize,
    /// The instant in the token.
    pub(crate) instant: Option<i64>,
}

/// Reads the page from a query.
pub(crate) fn page(query: &HashMap<String, String>) -> Result<Page, AwsError> {
    let bad = |text: String| AwsError::new("BadRequestException", text);
    let size = match query.get("page-size") {
        None => DEFAULT_PAGE_SIZE,
        Some(size) => size
            .parse()
            .ok()
            .filter(|size| *size > 0)
            .ok_or_else(|| bad(format!("The page size {size:?} is not a positive number.")))?,
    };
    let (from, instant) = match query.get("token") {
        None => (0, None),
        Some(token) => {
            read_token(token).ok_or_else(|| bad("The token is not one that was given.".to_owned()))?
        }
    };
    Ok(Page { from, size, instant })
}
